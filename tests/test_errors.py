"""Wrong input ends in one message that names the thing, the value given and the way out.

Each case is run on all ranks: none may be left waiting.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import gmsh
import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from shapes import square

from toolkit import (
    Density,
    Domain,
    Functional,
    InputError,
    Reduced,
    SolverError,
    State,
    ToolkitError,
    darcy,
    elasticity,
    p_norm,
    perimeter,
    stokes,
)
from toolkit.errors import agree, together

MESHES = Path(__file__).parents[1] / "meshes"
pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def plane():
    return Domain.box((2, 1), (4, 3))


@pytest.fixture(scope="module")
def block():
    return Domain.box((2, 1, 1), (3, 2, 2))


def refused(call, *words: str, error: type[Exception] = InputError) -> None:
    with pytest.raises(error) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# ---- meshes -------------------------------------------------------------------------------------


def unnamed() -> None:
    gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
    gmsh.model.occ.synchronize()
    gmsh.model.mesh.generate(2)


def only_boundary_named() -> None:
    unnamed()
    gmsh.model.addPhysicalGroup(1, [1], name="rim")


def half_named() -> None:
    unnamed()
    gmsh.model.occ.addRectangle(2, 0, 0, 1, 1)
    gmsh.model.occ.synchronize()
    gmsh.model.mesh.generate(2)
    gmsh.model.addPhysicalGroup(2, [1], name="bone")


def shell() -> None:
    gmsh.model.occ.addSphere(0, 0, 0, 1)
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(2, [1], name="skin")
    gmsh.model.mesh.generate(2)


def wire() -> None:
    gmsh.model.occ.addLine(*(gmsh.model.occ.addPoint(x, 0, 0) for x in (0, 1)))
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(1, [1], name="wire")
    gmsh.model.mesh.generate(1)


def elements(*kinds: tuple[int, list[int]]) -> None:
    """Some elements on a row of six points, (0, 0), (1, 0), (2, 0) and those above, tags 1 to 6."""
    surface = gmsh.model.addDiscreteEntity(2)
    points = [(x, y, 0.0) for y in (0.0, 1.0) for x in (0.0, 1.0, 2.0)]
    gmsh.model.mesh.addNodes(2, surface, range(1, 7), np.ravel(points))
    for tag, (kind, nodes) in enumerate(kinds, start=1):
        gmsh.model.mesh.addElementsByType(surface, kind, [tag], nodes)
    gmsh.model.addPhysicalGroup(2, [surface], name="sheet")


TRIANGLE, QUADRANGLE = 2, 3
MODELS = {
    "no physical groups": (unnamed, ["unnamed", "no physical groups", "addPhysicalGroup"]),
    "no physical surface": (only_boundary_named, ["no physical surface", "rim (curve)", "Add"]),
    "untagged cells": (half_named, ["cells", "belong to no physical surface", "delete it"]),
    "a curved shell": (shell, ["do not lie in a plane", "volume"]),
    "curves only": (wire, ["wire", "no surface or volume elements"]),
    "mixed cells": (
        partial(elements, (TRIANGLE, [1, 2, 4]), (QUADRANGLE, [2, 3, 6, 5])),
        ["mixes", "Triangle", "Quadrilateral", "one shape"],
    ),
    "a cell without area": (
        partial(elements, (TRIANGLE, [1, 2, 4]), (TRIANGLE, [1, 2, 3])),
        ["without volume", "position 1", "mesh it again"],
    ),
    "an error of gmsh": (lambda: gmsh.model.occ.fuse([(3, 1)], [(3, 2)]), []),
}


@pytest.mark.short
@pytest.mark.parametrize("name", MODELS)
def test_models_that_are_no_mesh_of_named_parts(name):
    model, words = MODELS[name]
    refused(lambda: Domain.build(model), *words, error=ToolkitError if words else Exception)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.msh", None, ["no mesh file", "absent.msh"]),
        ("mesh.stl", b"solid", ["neither .msh", "mesh.stl", "convert"]),
        ("empty.msh", b"", ["empty.msh"]),
        ("words.msh", b"this is no mesh\n", ["words.msh"]),
        ("truncated.msh", (MESHES / "beam.msh").read_bytes()[:40_000], ["truncated.msh"]),
        ("text.h5", b"no HDF5", ["text.h5", "damaged"]),
    ],
)
def test_files_that_are_no_mesh(name, content, words, tmp_path, comm):
    path = Path(comm.bcast(str(tmp_path / name)))
    if comm.rank == 0 and content is not None:
        path.write_bytes(content)
    comm.barrier()
    refused(lambda: Domain.read(path), *words)


# ---- everything else, on a rectangle and a block ------------------------------------------------

SOLID = {"modulus": 1.0, "poisson": 0.3}
HELD = SOLID | {"displacement": ["xmin"]}
FLOW = {"viscosity": 1.0, "velocity": ["ymin", "ymax", "xmin"]}
OPEN = FLOW | {"pressure": {"xmax": 0}}
N = 12  # cells of the rectangle

RECTANGLE = {
    # names
    "surface misspelt": (lambda d: d.area("xmim"), ["xmim", "xmin, ", "ymax"]),
    "volume misspelt": (lambda d: d.dx("bone"), ["no surface named 'bone'", "none"]),
    "a name of another dimension": (
        lambda d: d.dx("xmin"),
        ["no surface named 'xmin'", "There is a curve of that name"],
    ),
    "name taken": (lambda d: d.name("xmin", 1, lambda x: x[0] < 1), ["xmin", "already"]),
    "empty predicate": (lambda d: d.name("far", 1, lambda x: x[0] > 9), ["far", "predicate"]),
    "curves in 2D": (lambda d: d.dl, ["use ds"]),
    "dS on the boundary": (lambda d: d.dS("xmin"), ["xmin", "use ds"]),
    "box without extent": (lambda d: Domain.box((1, 0), (2, 2)), ["(1, 0)", "positive"]),
    "box of one dimension": (lambda d: Domain.box((1,), (2,)), ["two or three"]),
    "box of a wrong shape": (
        lambda d: Domain.box((1, 1), (2, 2), shape="hexahedron"),
        ["hexahedron", "quadrilateral"],
    ),
    # density
    "radius zero": (lambda d: Density(d, radius=0, start=0.5), ["radius = 0", "radius=None"]),
    "radius negative": (lambda d: Density(d, radius=-1, start=0.5), ["radius = -1"]),
    "radius nan": (lambda d: Density(d, radius=np.nan, start=0.5), ["radius = nan"]),
    "bounds crossed": (
        lambda d: Density(d, radius=1, start=0.5, bounds=(0.8, 0.2)),
        ["(0.8, 0.2)", "lower < upper"],
    ),
    "bounds outside": (
        lambda d: Density(d, radius=1, start=0.5, bounds=(0, 2)),
        ["bounds = (0, 2)", "<= 1"],
    ),
    "start outside": (
        lambda d: Density(d, radius=1, start=0.9, bounds=(0.2, 0.8)),
        ["start = 0.9", "(0.2, 0.8)"],
    ),
    "start nan": (lambda d: Density(d, radius=1, start=np.nan), ["start = nan"]),
    "start of wrong size": (
        lambda d: Density(d, radius=1, start=np.full(N + 1, 0.5)),
        [f"({N + 1},)", f"({N},)"],
    ),
    "design of wrong size": (
        lambda d: Density(d, radius=1, start=0.5).update(np.zeros(3)),
        ["(3,)", f"({N},)"],
    ),
    "threshold outside": (
        lambda d: Density(d, radius=1, start=0.5, threshold=1.0),
        ["threshold = 1.0", "between 0 and 1"],
    ),
    "steepness negative": (lambda d: Density(d, radius=1, start=0.5).sharpen(-1), ["-1"]),
    "solid misspelt": (
        lambda d: Density(d, radius=1, start=0.5, solid=["screw"]),
        ["no surface named 'screw'"],
    ),
    "solid not a list": (
        lambda d: Density(d, radius=1, start=0.5, solid="screw"),
        ["lists of names", "['screw']"],
    ),
    # elasticity
    "incompressible": (
        lambda d: elasticity(d, **HELD | {"poisson": 0.5}),
        ["Poisson ratio 0.5", "at most 0.49"],
    ),
    "displacement misspelt": (
        lambda d: elasticity(d, **SOLID, displacement=["base"]),
        ["no curve named 'base'", "xmin"],
    ),
    "displacement not a list": (
        lambda d: elasticity(d, **SOLID, displacement="xmin"),
        ["list of names", "['xmin']"],
    ),
    "traction misspelt": (
        lambda d: elasticity(d, **HELD, traction={"hed": (0, 1)}),
        ["no curve named 'hed'", "xmax"],
    ),
    "traction of 3D": (
        lambda d: elasticity(d, **HELD, traction={"xmax": (0, 0, 1)}),
        ["traction on 'xmax'", "(3,)", "2-dimensional", "2 components"],
    ),
    "traction nan": (
        lambda d: elasticity(d, **HELD, traction={"xmax": (0, np.nan)}),
        ["traction on 'xmax'", "nan", "finite"],
    ),
    "no load case": (lambda d: elasticity(d, **HELD, traction=[]), ["no load case", "dict"]),
    "displacement of 3D": (
        lambda d: elasticity(d, **SOLID, displacement={"xmin": (0, 0, 0)}),
        ["displacement on 'xmin'", "2-dimensional"],
    ),
    "roller of 3D": (
        lambda d: elasticity(d, **SOLID, displacement={"xmin": (0, None, None)}),
        ["displacement on 'xmin'", "2 components"],
    ),
    "nothing held by name": (
        lambda d: elasticity(d, **SOLID, displacement={"xmin": (None, None)}),
        ["displacement on 'xmin'", "every component free"],
    ),
    "no supports": (
        lambda d: elasticity(d, **SOLID),
        ["rigid body motion", "every motion", "xmin"],
    ),
    "a roller only": (
        lambda d: elasticity(d, **SOLID, displacement={"xmin": (0, None)}),
        ["rigid body motion", "translation along y"],
    ),
    "displacement by a state": (
        lambda d: elasticity(
            d,
            **SOLID,
            displacement={"xmin": ufl.grad(darcy(d, permeability=1, pressure={"xmin": 1}))},
        ),
        ["displacement on 'xmin'", "the state 'pressure'", "must be data"],
    ),
    # darcy
    "no pressure": (
        lambda d: darcy(d, permeability=1.0, pressure={}),
        ["no boundary has a prescribed pressure", "xmin, "],
    ),
    "pressure misspelt": (
        lambda d: darcy(d, permeability=1.0, pressure={"left": 1}),
        ["no curve named 'left'"],
    ),
    "pressure a vector": (
        lambda d: darcy(d, permeability=1.0, pressure={"xmin": (1, 0)}),
        ["pressure on 'xmin'", "(1, 0)", "one"],
    ),
    "permeability a word": (
        lambda d: darcy(d, permeability="high", pressure={"xmin": 1}),
        ["permeability", "'high'"],
    ),
    "source a vector": (
        lambda d: darcy(d, permeability=1.0, pressure={"xmin": 1}, source=ufl.as_vector((1, 0))),
        ["source", "scalar"],
    ),
    # stokes
    "bare boundary": (
        lambda d: stokes(d, viscosity=1.0, velocity=["ymin"], pressure={"xmax": 0}),
        ["7 boundary facets", "no condition", "no-slip"],
    ),
    "unbalanced inflow": (
        lambda d: stokes(
            d, viscosity=1.0, velocity={"xmin": (1, 0), "ymin": 0, "ymax": 0, "xmax": 0}
        ),
        ["out of the domain", "Balance them"],
    ),
    "wall misspelt": (
        lambda d: stokes(d, viscosity=1.0, velocity=["wall"], pressure={"xmax": 0}),
        ["no curve named 'wall'"],
    ),
    "unknown pair": (lambda d: stokes(d, **OPEN, pair="mini"), ["mini", "taylor-hood"]),
    "velocity of 3D": (
        lambda d: stokes(d, **OPEN | {"velocity": {"xmin": (1, 0, 0), "ymin": 0, "ymax": 0}}),
        ["velocity on 'xmin'", "2-dimensional"],
    ),
    "drag a vector": (lambda d: stokes(d, **OPEN, drag=ufl.as_vector((1, 1))), ["drag", "scalar"]),
    # responses
    "smoothing zero": (
        lambda d: perimeter(Density(d, radius=None, start=0.5), smoothing=0),
        ["smoothing = 0"],
    ),
    "power below one": (
        lambda d: p_norm(fem.Constant(d.mesh, 1.0), d, power=0.5),
        ["power = 0.5", "at least 1"],
    ),
}


@pytest.mark.parametrize("name", RECTANGLE)
def test_wrong_values_on_a_rectangle(plane, name):
    call, words = RECTANGLE[name]
    refused(lambda: call(plane), *words)


BLOCK = {
    "traction of 2D": (
        lambda d: elasticity(d, **HELD, traction={"xmax": (0, 1)}),
        ["traction on 'xmax'", "3-dimensional", "3 components"],
    ),
    "plane stress in 3D": (lambda d: elasticity(d, **HELD, plane="stress"), ["stress", "3D"]),
    "hinged along an edge": (
        lambda d: [
            d.name("hinge", 1, lambda x: (x[0] < 1e-9) & (x[2] < 1e-9)),
            elasticity(d, **SOLID, displacement=["hinge"]),
        ],
        ["rigid body motion", "rotation about y"],
    ),
    "held at a point": (
        lambda d: [
            d.name("pin", 0, lambda x: (x[0] < 1e-9) & (x[1] < 1e-9) & (x[2] < 1e-9)),
            elasticity(d, **SOLID, displacement=["pin"]),
        ],
        ["rigid body motion", "rotation"],
    ),
    "line load misspelt": (
        lambda d: elasticity(d, **HELD, line={"edge": (0, 0, 1)}),
        ["no curve named 'edge'"],
    ),
    "point load misspelt": (
        lambda d: elasticity(d, **HELD, point={"tip": (0, 0, 1)}),
        ["no point named 'tip'"],
    ),
    "a surface inside": (
        lambda d: d.dS("zmax"),
        ["zmax", "use ds"],
    ),
}


@pytest.mark.parametrize("name", BLOCK)
def test_wrong_values_on_a_block(block, name):
    call, words = BLOCK[name]
    refused(lambda: call(block), *words)


def test_ds_over_an_interface_inside():
    def model() -> None:
        square(size=0.4)
        gmsh.model.mesh.clear()
        line = gmsh.model.geo.addLine(
            *(gmsh.model.geo.addPoint(x, 0.5, 0, 0.4) for x in (0.2, 0.8))
        )
        gmsh.model.geo.synchronize()
        gmsh.model.mesh.embed(1, [line], 2, 1)
        gmsh.model.addPhysicalGroup(1, [line], name="joint")
        gmsh.model.mesh.generate(2)

    domain = Domain.build(model)
    one = fem.Constant(domain.mesh, 1.0)
    assert domain.integrate(one * domain.dS("joint")) == pytest.approx(0.6)
    refused(lambda: domain.ds("joint"), "joint", "use dS")


# ---- states and functionals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "residual",
    [
        lambda u, v, dx: (1 + u**2) * ufl.inner(ufl.grad(u), ufl.grad(v)) * dx,
        lambda u, v, dx: v * dx,
    ],
)
def test_residuals_that_are_not_affine(plane, residual):
    space = fem.functionspace(plane.mesh, ("Lagrange", 1))
    refused(
        lambda: State(space, lambda u, v: residual(u, v, plane.dx), name="heat"),
        "heat",
        "affine",
    )


@pytest.mark.short
def test_two_states_of_one_name(plane):
    design = Density(plane, radius=None, start=0.5)
    p, q = (darcy(plane, permeability=design.physical, pressure={"xmin": 1}) for _ in range(2))
    refused(lambda: Reduced(Functional(p * q * plane.dx), over=design), "one name", "pressure")


@pytest.mark.short
def test_a_solver_that_stops_early_names_the_state_and_what_to_try():
    """Direct: the matrix is singular. Iterative: the limit was reached."""
    from petsc4py import PETSc

    domain = Domain.box((2, 1, 1), (6, 3, 3))
    options = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-10, "ksp_max_it": 1}
    for key, value in options.items():
        PETSc.Options()[f"hurried_{key}"] = value
    u = elasticity(domain, **HELD, traction={"xmax": (0, 0, 1)}, name="hurried")
    refused(
        u.solve,
        *("'hurried'", "iteration limit", "residual", "1e-10", "-hurried_ksp_max_it"),
        error=SolverError,
    )
    for key in options:
        PETSc.Options().delValue(f"hurried_{key}")


@pytest.mark.short
def test_a_singular_matrix_is_an_error_and_not_a_number(plane):
    κ = fem.Function(plane.cellwise)
    p = darcy(plane, permeability=κ, pressure={"xmin": 1}, source=1.0, name="blocked")
    refused(p.solve, "'blocked'", "singular", error=SolverError)
    κ.x.array[:] = 1.0  # and the state recovers
    p.solve()
    assert Functional(p * plane.dx).value > 0


# ---- agreement of ranks -------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("failing", ["first", "last", "all"])
def test_an_error_of_one_rank_is_raised_on_all(comm, failing):
    here = {"first": comm.rank == 0, "last": comm.rank == comm.size - 1, "all": True}[failing]
    with pytest.raises(InputError, match="file is bad"), together(comm):
        if here:
            raise InputError("the file is bad")
    with pytest.raises((ToolkitError, KeyError), match="missing"):
        agree(comm, KeyError("missing") if here else None)
    agree(comm, None)
    assert comm.allreduce(1, op=MPI.SUM) == comm.size


def test_springs_hold_what_they_stiffen():
    domain = Domain.box((1, 1), (2, 2))
    for stiffness in ((1.0, 0.0), 0.0):
        with pytest.raises(InputError, match="rigid body motion"):
            elasticity(domain, **SOLID, spring={"xmin": stiffness})
    with pytest.raises(InputError, match=r"xmin.*negative"):
        elasticity(domain, **SOLID, spring={"xmin": -1.0})


def test_an_operator_of_another_equation():
    domain = Domain.box((1, 1), (2, 2))
    u = elasticity(domain, **SOLID, displacement=["xmin"])
    with pytest.raises(InputError, match=r"stiffer.*another equation"):
        State(
            u.function_space,
            lambda w, v: 5 * ufl.inner(ufl.grad(w), ufl.grad(v)) * domain.dx,
            name="stiffer",
            operator=u.operator,
        )


def test_prescribed_values_are_seen_to_change():
    domain = Domain.box((1, 1), (4, 4))
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    level = fem.Function(space)
    level.x.array[:] = 1.0
    dofs = fem.locate_dofs_topological(space, 1, domain.entities(1, "xmin"))
    p = State(
        space,
        lambda p, v: ufl.inner(ufl.grad(p), ufl.grad(v)) * domain.dx,
        name="level",
        conditions=[fem.dirichletbc(level, dofs)],
    )
    mean = Functional(p * domain.dx)
    assert float(mean) == pytest.approx(1.0)
    level.x.array[:] = 2.0
    assert float(mean) == pytest.approx(2.0)


def test_a_named_facet_beside_no_cell(tmp_path):
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        plate = gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
        screw = gmsh.model.occ.addBox(3, 0, 0, 1, 1, 1)
        gmsh.model.occ.synchronize()
        head = gmsh.model.getBoundary([(3, screw)], oriented=False)[0][1]
        gmsh.model.addPhysicalGroup(3, [plate], name="plate")
        gmsh.model.addPhysicalGroup(2, [head], name="head")
        gmsh.model.mesh.generate(3)
        gmsh.write(str(tmp_path / "loose.msh"))
    finally:
        gmsh.finalize()
    with pytest.raises(InputError, match=r"'head'.*no cell"):
        Domain.read(tmp_path / "loose.msh")


@pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")
@pytest.mark.parametrize("chosen", [None, "2"])
def test_one_thread_a_rank_whatever_was_imported_before(chosen):
    """NumPy's BLAS has one thread though it was loaded first, unless the user chose."""
    code = (
        "import numpy, toolkit, threadpoolctl; "
        "print(max(pool['num_threads'] for pool in threadpoolctl.threadpool_info() "
        "if pool['user_api'] == 'blas'))"
    )
    bare = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    bare |= {} if chosen is None else {"OPENBLAS_NUM_THREADS": chosen}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True)
    expected = min(int(chosen or 1), os.cpu_count() or 1)
    assert done.stdout.strip() == str(expected), done.stderr
