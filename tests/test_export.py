"""Fields, tables and run files come back exactly as they were written, on any number of ranks."""

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import basix.ufl
import h5py
import numpy as np
import pytest
import pyvista
from dolfinx import fem
from mpi4py import MPI
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkIOHDF import vtkHDFReader

from toolkit import checkpoint, export
from toolkit.cell import Cell
from toolkit.density import Density
from toolkit.domain import Domain
from toolkit.errors import InputError, ToolkitError
from toolkit.optimize import History, Result
from toolkit.sealed import sealed

COMM = MPI.COMM_WORLD
BOXES = {
    "triangle": ((2.0, 1.0), (4, 3)),
    "quadrilateral": ((2.0, 1.0), (4, 3)),
    "tetrahedron": ((2.0, 1.0, 1.5), (3, 2, 2)),
    "hexahedron": ((2.0, 1.0, 1.5), (3, 2, 2)),
}


@pytest.fixture
def folder(tmp_path):
    """One folder for all ranks."""
    return COMM.bcast(tmp_path)


@pytest.fixture(params=BOXES)
def domain(request):
    return Domain.box(*BOXES[request.param], shape=request.param)


def numbers(domain):
    """One value a cell that no rounding survives."""
    return np.random.default_rng(1).random(domain.num_cells)


def on_first(check):
    """Run a check of files on rank 0."""
    if COMM.rank == 0:
        check()


def midpoints(domain):
    """Cell midpoints in mesh-file order, from DOLFINx's own geometry."""
    mesh = domain.mesh
    nodes = mesh.geometry.x[mesh.geometry.dofmaps[0][: len(domain.cells)]]
    return np.stack([domain.gather_cells(nodes[:, :, i].mean(axis=1)) for i in range(3)], axis=1)


@pytest.mark.parallel
@pytest.mark.short
def test_cells_are_read_back_in_order_to_the_last_bit(domain, folder):
    values, centres = numbers(domain), midpoints(domain)
    path = export.write_vtkhdf(folder / "a.vtkhdf", domain, {"density": values})
    volume = domain.volume

    def check():
        mesh = pyvista.read(path)
        assert mesh.n_cells == domain.num_cells
        assert np.array_equal(mesh.cell_data["density"], values)
        assert np.allclose(mesh.cell_centers().points, centres, atol=1e-14)
        sizes = mesh.compute_cell_sizes()
        measure = "Volume" if domain.dimension == 3 else "Area"
        # inverted hexahedra and quadrilaterals would not sum to the volume
        assert np.abs(sizes[measure]).sum() == pytest.approx(volume, rel=1e-12)

    on_first(check)


@pytest.mark.parallel
def test_functions_of_degree_one_are_exact_at_the_points(domain, folder):
    d = domain.dimension
    linear = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 2)))
    linear.interpolate(lambda x: 1 + 2 * x[0] - 3 * x[1])
    vector = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1, (d,))))
    vector.interpolate(lambda x: np.stack([(i + 1) * x[i] + x[0] for i in range(d)]))
    constant = fem.Function(domain.cellwise)
    constant.x.array[domain.cell_dofs] = domain.mesh.comm.rank
    ranks = domain.gather_cells(np.full(len(domain.cells), COMM.rank))
    fields = {"p": linear, "u": vector, "rank": constant}
    path = export.write_vtkhdf(folder / "f.vtkhdf", domain, fields)

    def check():
        mesh = pyvista.read(path)
        x = mesh.points.T
        assert np.allclose(mesh.point_data["p"], 1 + 2 * x[0] - 3 * x[1], atol=1e-13)
        expected = np.zeros((mesh.n_points, 3))
        expected[:, :d] = np.stack([(i + 1) * x[i] + x[0] for i in range(d)], axis=1)
        assert np.allclose(mesh.point_data["u"], expected, atol=1e-13)
        assert np.array_equal(mesh.cell_data["rank"], ranks)

    on_first(check)


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("periodic", [False, True])
def test_a_file_does_not_depend_on_the_ranks(periodic, folder):
    """Points, cells and fields by cell to the last bit, values by point to round-off."""
    make = Cell.box if periodic else Domain.box
    files = []
    for comm, name in ((COMM, "together"), (MPI.COMM_SELF, f"alone{COMM.rank}")):
        domain = make((2.0, 1.0, 1.5), (4, 3, 5), shape="tetrahedron", comm=comm)
        wave = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 2)))
        wave.interpolate(lambda x: np.sin(np.pi * x[0]) * np.cos(2 * np.pi * x[1]))
        steps = [{"density": numbers(domain), "wave": wave}] * 2
        files.append(export.write_vtkhdf(folder / f"{name}.vtkhdf", domain, steps))

    def check():
        together, alone = (h5py.File(file)["VTKHDF"] for file in files)
        for name in ("Points", "Connectivity", "Offsets", "Types", "CellData/density"):
            assert np.array_equal(together[name], alone[name]), name
        assert together["PointData/wave"][:] == pytest.approx(alone["PointData/wave"][:], abs=1e-13)

    on_first(check)


@pytest.mark.parallel
@pytest.mark.short
def test_rank_0_that_fails_while_writing_tells_the_others(folder, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    domain = Domain.box((1.0, 1.0), (6, 6))
    monkeypatch.setattr(h5py.Dataset, "__setitem__", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left"):
        export.write_vtkhdf(folder / "f.vtkhdf", domain, {"density": numbers(domain)})


@pytest.mark.parallel
def test_a_mixed_function_gives_its_parts(folder):
    domain = Domain.box((1.0, 1.0), (3, 3), shape="triangle")
    cell = domain.mesh.basix_cell()
    pair = basix.ufl.mixed_element(
        [basix.ufl.element("P", cell, 2, shape=(2,)), basix.ufl.element("P", cell, 1)]
    )
    w = fem.Function(fem.functionspace(domain.mesh, pair))
    w.sub(0).interpolate(lambda x: np.stack([x[1], 2 * x[0]]))
    w.sub(1).interpolate(lambda x: 5 - x[0])
    path = export.write_vtkhdf(folder / "m.vtkhdf", domain, {"flow": w})

    def check():
        mesh = pyvista.read(path)
        x, y, _ = mesh.points.T
        assert np.allclose(mesh["flow_0"], np.stack([y, 2 * x, 0 * x], axis=1), atol=1e-13)
        assert np.allclose(mesh["flow_1"], 5 - x, atol=1e-13)

    on_first(check)


@pytest.mark.parallel
def test_steps_share_the_mesh(folder):
    domain = Domain.box((1.0, 1.0, 1.0), (2, 2, 2), shape="tetrahedron")
    p = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1)))
    p.interpolate(lambda x: x[2])
    values = [numbers(domain) + k for k in range(3)]
    steps = [{"density": value, "p": p} for value in values]
    path = export.write_vtkhdf(folder / "s.vtkhdf", domain, steps, times=[1.0, 2.0, 5.0])

    def check():
        reader = vtkHDFReader()
        reader.SetFileName(str(path))
        reader.UpdateInformation()
        told = reader.GetOutputInformation(0)
        assert told.Get(vtkStreamingDemandDrivenPipeline.TIME_STEPS()) == (1.0, 2.0, 5.0)
        for step, value in enumerate(values):
            reader.SetStep(step)
            reader.Update()
            mesh = pyvista.wrap(reader.GetOutput())
            assert mesh.n_cells == domain.num_cells
            assert np.array_equal(mesh.cell_data["density"], value)
            assert np.allclose(mesh.point_data["p"], mesh.points[:, 2], atol=1e-14)

    on_first(check)


def test_quadratic_geometry_gives_its_corners(tmp_path):
    gmsh = pytest.importorskip("gmsh")

    def ball():
        sphere = gmsh.model.occ.addSphere(0, 0, 0, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(3, [sphere], name="ball")
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.5)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(2)

    domain = Domain.build(ball, comm=MPI.COMM_SELF)
    assert domain.mesh.geometry.cmaps[0].degree == 2
    mesh = pyvista.read(export.write_vtkhdf(tmp_path / "b.vtkhdf", domain, {"x": numbers(domain)}))
    assert set(mesh.celltypes) == {pyvista.CellType.TETRA}
    corners = np.linalg.norm(mesh.extract_surface(algorithm="dataset_surface").points, axis=1)
    assert np.allclose(corners, 1.0, atol=1e-6)


@pytest.mark.parallel
def test_the_file_does_not_depend_on_the_ranks(folder):
    lengths, cells = (2.0, 1.0, 1.5), (4, 3, 2)
    domain = Domain.box(lengths, cells)
    values = np.arange(domain.num_cells, dtype=float)
    export.write_vtkhdf(folder / "many.vtkhdf", domain, {"density": values})

    def check():
        alone = Domain.box(lengths, cells, comm=MPI.COMM_SELF)
        export.write_vtkhdf(folder / "one.vtkhdf", alone, {"density": values})
        one, many = (pyvista.read(folder / f"{name}.vtkhdf") for name in ("one", "many"))
        assert np.array_equal(one.points, many.points)
        assert np.array_equal(one.cells, many.cells)

    on_first(check)


@pytest.mark.parallel
def test_mistakes_are_named_on_every_rank(folder):
    domain = Domain.box((1.0, 1.0), (2, 2))
    with pytest.raises(InputError, match="one row for each of the 4 cells"):
        export.write_vtkhdf(folder / "a.vtkhdf", domain, {"density": np.ones(3)})
    with pytest.raises(InputError, match="without a slash"):
        export.write_vtkhdf(folder / "a.vtkhdf", domain, {"a/b": np.ones(4)})
    with pytest.raises(InputError, match="same fields"):
        export.write_vtkhdf(folder / "a.vtkhdf", domain, [{"a": np.ones(4)}, {"b": np.ones(4)}])
    with pytest.raises(InputError, match="cannot be written"):
        export.write_vtkhdf(folder / "none" / "a.vtkhdf", domain, {"a": np.ones(4)})


# ---- run.h5 and front.csv ---------------------------------------------------------------------


def result(design, objective, *, feasible=True):
    """What an optimisation of four outer points would return."""
    steps = np.arange(4.0)
    history = History(
        objective=objective + 1 / (1 + steps),
        constraints=np.stack([steps / 7, steps / 3], axis=1),
        infeasibility=10.0**-steps,
        change=steps / 11,
        greyness=steps / 13,
        evaluations=np.arange(4) * 2,
        beta=np.ones(4),
    )
    return Result(
        design=design,
        objective=objective,
        constraints={"volume <= 0.45": 0.1 + 0.2, "drop >= 1": 1 / 3},
        feasible=feasible,
        reason="converged",
        message="calm",
        history=history,
        iterations=3,
        evaluations=6,
        seconds=0.5,
    )


def front(over):
    """Three points with values that no rounding survives."""
    rng = np.random.default_rng(2)
    designs = rng.random((3, over.size))
    values = rng.random((3, 2))
    points = tuple(
        SimpleNamespace(
            result=result(designs[i], values[i, 0], feasible=i != 1),
            values=values[i],
            dominated=i == 1,
            label=f"made so, {i}",
        )
        for i in range(3)
    )
    return SimpleNamespace(
        objectives=("compliance", "-permeance"),
        points=points,
        reference=np.array([1.1, 1.3]),
        ideal=values.min(axis=0),
        nadir=values.max(axis=0),
        hypervolume=1 / 7,
        knee=2,
        over=over,
        functionals=(),
        constraints=(SimpleNamespace(name="volume <= 0.45", bound=0.45, sense=1),),
        groups=None,
        seconds=2.5,
    )


@pytest.fixture
def over():
    return Density(Domain.box((2.0, 1.0), (4, 3)), radius=None, start=0.5)


@pytest.mark.parallel
@pytest.mark.short
def test_a_run_comes_back_as_it_was(over, folder):
    written = checkpoint.from_front(front(over))
    path = checkpoint.write_run(folder / "run.h5", written)
    read = checkpoint.read_run(path)
    for name in ("design", "values", "dominated", "reference", "ideal", "nadir", "feasible"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
    for name in ("objectives", "labels", "knee", "hypervolume", "constraints", "reasons"):
        assert getattr(read, name) == getattr(written, name), name
    for name in ("iterations", "evaluations", "seconds"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
    for mine, theirs in zip(read.history, written.history, strict=True):
        assert set(mine) == set(theirs) == set(checkpoint.HISTORY)
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    assert read.provenance == written.provenance
    assert read.provenance["mesh fingerprint"] == over.domain.fingerprint
    over.update(read.design[1])
    assert np.array_equal(over.vector, written.design[1])


def test_provenance_says_where_a_run_is_from(over):
    found = checkpoint.provenance(over, options={"optimizer": "mma"})
    assert found["numpy"] == np.__version__
    assert found["dolfinx"].startswith("0.11")
    assert found["optimizer"] == "mma"
    assert {"nlopt", "petsc", "python", "date", "command line"} <= set(found)
    assert found["ranks"] == str(COMM.size)


@pytest.mark.parallel
def test_a_failing_write_leaves_the_old_file(over, folder, monkeypatch):
    run = checkpoint.from_front(front(over))
    path = checkpoint.write_run(folder / "run.h5", run)
    before = COMM.bcast(path.read_bytes() if COMM.rank == 0 else None)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolkitError, match="No space left"):
        checkpoint.write_run(path, run)
    assert path.read_bytes() == before
    assert [entry.name for entry in folder.iterdir()] == ["run.h5"]


def test_other_files_are_refused(over, tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        checkpoint.read_run(tmp_path / "run.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(InputError, match="not one that a run wrote"):
        checkpoint.read_run(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(InputError, match="not one that a run wrote"):
        checkpoint.read_run(other)


@pytest.mark.parametrize("part", ["design", "front/values", "points/1", "history/2/objective"])
def test_a_run_without_a_part_is_refused(over, tmp_path, part):
    path = checkpoint.write_run(
        tmp_path / "run.h5", checkpoint.from_front(front(over)), comm=MPI.COMM_SELF
    )
    with h5py.File(path, "r") as whole, sealed(tmp_path / "less.h5") as file:
        file.attrs.update(whole.attrs)
        for name in whole:
            whole.copy(name, file)
        del file[part]
    path = tmp_path / "less.h5"
    with pytest.raises(InputError, match="not a whole file of a run"):
        checkpoint.read_run(path)


def test_damage_is_noticed(over, tmp_path):
    run = checkpoint.from_front(front(over))
    path = checkpoint.write_run(tmp_path / "run.h5", run, comm=MPI.COMM_SELF)
    with h5py.File(path, "r") as file:
        where = file["design"].id.get_chunk_info(0).byte_offset
    data = bytearray(Path(path).read_bytes())
    data[where + 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged: it is not the file that was written"):
        checkpoint.read_run(path)


@pytest.mark.parallel
def test_the_table_holds_all_digits(over, folder):
    shown = front(over)
    path = export.write_csv(folder / "front.csv", shown, fractions=[0.1, 0.2, 1 / 3])
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["point"] for row in rows] == ["1", "2", "3"]
    assert [float(row["-permeance"]) for row in rows] == [p.values[1] for p in shown.points]
    assert [row["dominated"] for row in rows] == ["False", "True", "False"]
    assert [row["knee"] for row in rows] == ["False", "False", "True"]
    assert float(rows[2]["mean density"]) == 1 / 3
    assert float(rows[0]["volume <= 0.45"]) == 0.1 + 0.2
    assert rows[1]["label"] == "made so, 1"
