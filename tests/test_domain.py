"""Domains: measures of named parts, mesh-file order on any number of ranks, conversion."""

import warnings
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from shapes import cube, skew_block, square

from toolkit import Domain, meshfile
from toolkit.exchange import share

MESHES = Path(__file__).parents[1] / "meshes"
BOXES = [
    ((2.0, 1.0), (5, 3), "quadrilateral"),
    ((2.0, 1.0), (5, 3), "triangle"),
    ((2.0, 1.0, 0.5), (4, 3, 2), "hexahedron"),
    ((2.0, 1.0, 0.5), (4, 3, 2), "tetrahedron"),
]
pytestmark = pytest.mark.parallel


def midpoints(domain: Domain) -> np.ndarray:
    """Midpoint of every cell in mesh-file order, (cells, 3)."""
    owned = np.arange(len(domain.cells), dtype=np.int32)
    points = mesh.compute_midpoints(domain.mesh, domain.dimension, owned)
    return np.stack([domain.gather_cells(column) for column in points.T], axis=1)


@pytest.mark.parametrize(("lengths", "cells", "shape"), BOXES)
def test_box_measures(lengths, cells, shape):
    domain = Domain.box(lengths, cells, shape=shape)
    assert domain.volume == pytest.approx(np.prod(lengths), rel=1e-13)
    for axis, letter in enumerate("xyz"[: len(lengths)]):
        for side in ("min", "max"):
            area = np.prod(lengths) / lengths[axis]
            assert domain.area(letter + side) == pytest.approx(area, rel=1e-13)
    x = ufl.SpatialCoordinate(domain.mesh)
    n = ufl.FacetNormal(domain.mesh)
    flux = domain.integrate(ufl.dot(x, n) * domain.ds)
    assert flux == pytest.approx(domain.dimension * domain.volume, rel=1e-13)


@pytest.mark.short
def test_named_points_curves_surfaces_and_unions():
    domain = Domain.read(MESHES / "beam.msh")
    one, x = fem.Constant(domain.mesh, 1.0), ufl.SpatialCoordinate(domain.mesh)
    integrals = {
        "volume": (one * domain.dx("beam"), 6000.0),
        "faces": (one * domain.ds("fixed", "tip"), 200.0),
        "edge": (one * domain.dl("edge"), 10.0),
        "moment of the edge": (x[0] * x[1] * domain.dl("edge"), 60 * 50.0),
        "corner": ((x[0] + 1) * domain.dP("corner"), 61.0),
    }
    for name, (form, exact) in integrals.items():
        assert domain.integrate(form) == pytest.approx(exact, rel=1e-12), name


def test_overlapping_regions_and_an_interface_by_predicate():
    domain = Domain.box((2, 1), (8, 4))
    domain.name("left half", 2, lambda x: x[0] < 1 + 1e-9)
    domain.name("lower left", 2, lambda x: (x[0] < 1 + 1e-9) & (x[1] < 0.5 + 1e-9))
    domain.name("middle", 2 - 1, lambda x: np.isclose(x[0], 2))
    one = fem.Constant(domain.mesh, 1.0)
    assert domain.integrate(one * domain.dx("left half")) == pytest.approx(1.0)
    assert domain.integrate(one * domain.dx("lower left")) == pytest.approx(0.5)
    assert domain.integrate(one * domain.ds("middle")) == pytest.approx(1.0)


@pytest.mark.short
@pytest.mark.parametrize("name", ["beam", "plate_with_hole"])
def test_cells_keep_the_order_of_the_file(name):
    domain = Domain.read(MESHES / f"{name}.msh")
    arrays = meshfile.read_msh(MESHES / f"{name}.msh")
    exact = arrays.points[arrays.cells].mean(axis=1)
    assert midpoints(domain)[:, : domain.dimension] == pytest.approx(exact, abs=1e-12)
    assert domain.fingerprint == arrays.fingerprint


@pytest.mark.parametrize(("lengths", "cells", "shape"), BOXES)
def test_cells_of_a_box_keep_their_order_on_any_number_of_ranks(lengths, cells, shape):
    domain, alone = (
        Domain.box(lengths, cells, shape=shape, comm=c) for c in (MPI.COMM_WORLD, MPI.COMM_SELF)
    )
    assert midpoints(domain) == pytest.approx(midpoints(alone), abs=1e-13)
    assert domain.fingerprint == alone.fingerprint
    whole = np.arange(domain.num_cells, dtype=float)
    assert np.array_equal(domain.gather_cells(domain.scatter_cells(whole)), whole)


@pytest.mark.parametrize("name", ["beam", "plate_with_hole"])
def test_converted_file_is_the_same_mesh(name, tmp_path, comm):
    path = Path(comm.bcast(str(tmp_path / "mesh.h5")))
    if comm.rank == 0:
        meshfile.write_h5(meshfile.read_msh(MESHES / f"{name}.msh"), path)
    comm.barrier()
    domain, converted = Domain.read(MESHES / f"{name}.msh"), Domain.read(path)
    assert converted.fingerprint == domain.fingerprint
    assert midpoints(converted) == pytest.approx(midpoints(domain), abs=1e-12)
    for dim in range(4):
        assert converted.names(dim) == domain.names(dim)
    for boundary in domain.names(domain.dimension - 1):
        assert converted.area(boundary) == pytest.approx(domain.area(boundary), rel=1e-12)


@pytest.mark.parametrize("shape", ["triangle", "quadrilateral"])
def test_a_rectangle_in_slices_is_that_of_dolfinx(shape):
    """Nodes, cells and coordinates to the last bit."""
    lengths, cells = (0.3, 1.7), (7, 11)
    ours = Domain.box(lengths, cells, shape=shape, comm=MPI.COMM_SELF).mesh
    theirs = mesh.create_rectangle(
        MPI.COMM_SELF, [np.zeros(2), np.array(lengths)], cells, mesh.CellType[shape]
    )
    for one, other in (
        (ours.geometry.x, theirs.geometry.x),
        (ours.geometry.dofmaps[0], theirs.geometry.dofmaps[0]),
        (ours.topology.original_cell_index, theirs.topology.original_cell_index),
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("shape", ["triangle", "quadrilateral", "tetrahedron", "hexahedron"])
def test_a_box_is_made_in_slices(shape, comm):
    """No rank is given more than its share of cells to distribute."""
    n = (12, 12) if shape in ("triangle", "quadrilateral") else (6, 6, 6)
    given, partitioner = [], mesh.create_cell_partitioner(mesh.GhostMode.shared_facet, 2)

    def counting(comm, parts, shapes, cells):
        given.append(sum(len(each) for each in cells))
        return partitioner(comm, parts, shapes, cells)

    with patch.object(mesh, "create_cell_partitioner", lambda *_: counting):
        Domain.box((1.0,) * len(n), n, shape=shape)
    assert max(given, default=0) <= 1.1 * comm.allreduce(sum(given)) / comm.size


@pytest.mark.short
def test_the_arrays_of_a_gmsh_file_are_dealt_out(comm):
    """Slices of their own, in the order of the file, those of a converted file."""
    path = MESHES / "beam.msh"
    mine, whole = meshfile.read_slices(path, comm), meshfile.read_msh(path)
    assert (mine.cell, mine.fingerprint) == (whole.cell, whole.fingerprint)
    assert list(mine.named) == list(whole.named)
    pairs = [(mine.points, whole.points), (mine.cells, whole.cells)]
    pairs += [(mine.named[key], whole.named[key]) for key in whole.named]
    for part, every in pairs:
        first, last = share(len(every), comm.rank, comm.size)
        assert np.array_equal(part, every[first:last])
        assert comm.size == 1 or part.base is None


def test_a_large_gmsh_file_asks_to_be_converted(comm):
    path = MESHES / "plate_with_hole.msh"
    with patch.object(meshfile, "LARGE", 10), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Domain.read(path)
    ours = [str(each.message) for each in told if "convert" in str(each.message)]
    assert len(ours) == (comm.size > 1 and comm.rank == 0)


@pytest.mark.parametrize(
    ("model", "volume"),
    [
        (partial(square, size=0.3, angle=0.5), 1.0),
        (partial(cube, size=0.4, squash=0.2), 0.2),
        (partial(skew_block, cells=3), None),
    ],
)
def test_models_are_built_on_one_rank_and_distributed(model, volume):
    domain, alone = (Domain.build(model, comm=c) for c in (MPI.COMM_WORLD, MPI.COMM_SELF))
    assert domain.volume == pytest.approx(volume or alone.volume, rel=1e-12)
    assert domain.fingerprint == alone.fingerprint
    assert midpoints(domain) == pytest.approx(midpoints(alone), abs=1e-13)
