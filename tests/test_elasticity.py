"""Elasticity against closed forms: patch, rigid motion, slopes, bars, beams, laminates, Kirsch."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from shapes import cube, skew_block, square

from toolkit import Domain, elasticity, stress

MESHES = Path(__file__).parents[1] / "meshes"
BODIES = {
    "triangles": partial(square, size=0.3, angle=0.3),
    "tetrahedra": partial(cube, size=0.4, squash=0.4),
    "hexahedra": partial(skew_block, cells=3),
}
pytestmark = pytest.mark.parallel


def body(name: str) -> Domain:
    """A distorted mesh with all of its boundary named `boundary`."""
    domain = Domain.build(BODIES[name])
    if domain.dimension == 2:
        domain.name("boundary", 1, lambda x: np.ones(x.shape[1], dtype=bool))
    return domain


def norm(domain: Domain, v, degree: int | None = None) -> float:
    """L2 norm of a UFL expression."""
    return np.sqrt(domain.integrate(ufl.inner(v, v) * domain.dx(degree=degree)))


def materials(domain: Domain, values: dict[str, float]) -> fem.Function:
    """A cell-wise constant with the given value in each named region."""
    f = fem.Function(domain.cellwise)
    for name, value in values.items():
        f.x.array[domain.cell_dofs[domain.entities(domain.dimension, name)]] = value
    return f


@pytest.mark.short
@pytest.mark.parametrize("name", BODIES)
def test_patch(name):
    """A linear field prescribed on all of a distorted boundary is found inside."""
    domain = body(name)
    d = domain.dimension
    A = np.array([[1.0, 0.5, -0.2], [0.1, -0.7, 0.3], [0.4, 0.2, 0.6]])[:d, :d]
    u = elasticity(domain, modulus=3.0, poisson=0.3, displacement={"boundary": lambda x: A @ x[:d]})
    u.solve()
    exact = ufl.dot(ufl.as_matrix(A.tolist()), ufl.SpatialCoordinate(domain.mesh))
    assert norm(domain, u - exact) <= 1e-10 * norm(domain, exact)
    assert norm(domain, ufl.grad(u) - ufl.grad(exact)) <= 1e-10 * norm(domain, ufl.grad(exact))


@pytest.mark.parametrize("name", BODIES)
def test_rigid_motion_is_free_of_stress(name):
    """The boundary turned and moved as a rigid body leaves no stress."""
    domain = body(name)
    d = domain.dimension
    W = np.array([[0.0, 0.3, -0.2], [-0.3, 0.0, 0.5], [0.2, -0.5, 0.0]])[:d, :d]
    motion = lambda x: W @ x[:d] + np.arange(1, d + 1)[:, None]  # noqa: E731
    u = elasticity(domain, modulus=3.0, poisson=0.3, displacement={"boundary": motion})
    u.solve()
    assert norm(domain, stress(u, modulus=3.0, poisson=0.3)) <= 1e-10 * norm(domain, u)


SLOPES = [  # shape, degree, coarse and fine resolution
    ("triangle", 1, (8, 16, 32)),
    ("triangle", 2, (4, 8, 16)),
    ("quadrilateral", 1, (8, 16, 32)),
    ("tetrahedron", 1, (6, 12)),
    ("tetrahedron", 2, (3, 6)),
    ("hexahedron", 1, (5, 10)),
]


@pytest.mark.parametrize(("shape", "degree", "levels"), SLOPES)
def test_slopes_of_the_error(shape, degree, levels):
    """Order p + 1 in L2 and p in H1 for a smooth solution."""
    d = 2 if shape in ("triangle", "quadrilateral") else 3
    errors = np.array([manufactured(shape, d, degree, n) for n in levels])
    slopes = np.log(errors[-2] / errors[-1]) / np.log(levels[-1] / levels[-2])
    assert slopes == pytest.approx([degree + 1, degree], abs=0.1)


def manufactured(shape: str, d: int, degree: int, n: int) -> tuple[float, float]:
    """Errors in L2 and H1 for u = sin-shaped, with the body force that it needs."""
    domain = Domain.box((1.0,) * d, (n,) * d, shape=shape)
    x = ufl.SpatialCoordinate(domain.mesh)
    wave = ufl.sin(2 * x[0] + 0.3) * ufl.cos(1.5 * x[1])
    exact = ufl.as_vector([wave, x[d - 1] ** 2 * wave, ufl.exp(x[0] - x[1])][:d])
    σ = stress(exact, modulus=1.0, poisson=0.3)
    u = elasticity(
        domain,
        modulus=1.0,
        poisson=0.3,
        displacement={letter + side: exact for letter in "xyz"[:d] for side in ("min", "max")},
        body=-ufl.div(σ),
        degree=degree,
    )
    u.operator.solver.rtol = 1e-12
    u.solve()
    quadrature = 2 * degree + 2
    e = u - exact
    return norm(domain, e, quadrature), norm(domain, ufl.grad(e), quadrature)


@pytest.mark.parametrize("shape", ["quadrilateral", "triangle"])
@pytest.mark.parametrize("plane", ["stress", "strain"])
def test_uniaxial_tension_on_rollers(plane, shape):
    """ε = (1 − ν²) t/E and −ν (1 + ν) t/E in plane strain, t/E and −ν t/E in plane stress."""
    E, ν, t = 5.0, 0.3, 0.2
    domain = Domain.box((2, 1), (4, 3), shape=shape)
    u = elasticity(
        domain,
        modulus=E,
        poisson=ν,
        displacement={"xmin": (0, None), "ymin": (None, 0)},
        traction={"xmax": (t, 0)},
        plane=plane,
    )
    u.solve()
    along, across = (1, -ν) if plane == "stress" else (1 - ν**2, -ν * (1 + ν))
    x = ufl.SpatialCoordinate(domain.mesh)
    exact = ufl.as_vector([along * t / E * x[0], across * t / E * x[1]])
    assert norm(domain, u - exact) <= 1e-12


@pytest.mark.parametrize("shape", ["hexahedron", "tetrahedron"])
def test_hydrostatic_pressure_in_3d(shape):
    """u = −p (1 − 2ν)/E x between three rollers."""
    E, ν, p = 5.0, 0.3, 0.7
    domain = Domain.box((2, 1, 1), (3, 2, 2), shape=shape)
    held = {"xmin": (0, None, None), "ymin": (None, 0, None), "zmin": (None, None, 0)}
    n = ufl.FacetNormal(domain.mesh)
    u = elasticity(
        domain,
        modulus=E,
        poisson=ν,
        displacement=held,
        traction={face: -p * n for face in ("xmax", "ymax", "zmax")},
    )
    u.solve()
    exact = -p * (1 - 2 * ν) / E * ufl.SpatialCoordinate(domain.mesh)
    assert norm(domain, u - exact) <= 1e-12


def test_bar_on_springs():
    """u = t/k + t x/E for ν = 0: the springs carry the load, the bar stretches."""
    E, k, t = 5.0, 2.0, 0.3
    domain = Domain.box((4, 1), (5, 2))
    u = elasticity(
        domain,
        modulus=E,
        poisson=0.0,
        displacement={"ymin": (None, 0)},
        spring={"xmin": (k, 0)},
        traction={"xmax": (t, 0)},
    )
    u.solve()
    x = ufl.SpatialCoordinate(domain.mesh)
    assert norm(domain, u - ufl.as_vector([t / k + t * x[0] / E, 0])) <= 1e-12


def test_bar_under_its_own_weight():
    """u = b (L x − x²/2)/E for ν = 0, which is in the space of degree 2."""
    E, b, L = 5.0, 0.3, 4.0
    domain = Domain.box((L, 1), (5, 2), shape="triangle")
    u = elasticity(
        domain,
        modulus=E,
        poisson=0.0,
        displacement={"xmin": (0, None), "ymin": (None, 0)},
        body=(b, 0),
        degree=2,
    )
    u.solve()
    x = ufl.SpatialCoordinate(domain.mesh)
    assert norm(domain, u - ufl.as_vector([b * (L * x[0] - x[0] ** 2 / 2) / E, 0])) <= 1e-11


@pytest.mark.short
@pytest.mark.parametrize("kind", ["traction", "line", "point", "body"])
def test_springs_carry_every_load_with_its_moment(kind):
    """∫k u ds and ∫k x × u ds over the supports equal the load's force and moment."""
    domain = Domain.read(MESHES / "beam.msh")
    F, k = np.array([0.2, -0.3, 1.0]), 4.0
    extent, place = {  # measure of what is loaded, and its centre
        "traction": (100.0, (60.0, 5.0, 5.0)),
        "line": (10.0, (60.0, 5.0, 10.0)),
        "point": (1.0, (60.0, 0.0, 10.0)),
        "body": (6000.0, (30.0, 5.0, 5.0)),
    }[kind]
    where = {"traction": "tip", "line": "edge", "point": "corner"}
    load = {kind: F / extent if kind == "body" else {where[kind]: F / extent}}
    u = elasticity(domain, modulus=100.0, poisson=0.3, spring={"fixed": k}, **load)
    u.solve()
    ds, x = domain.ds("fixed"), ufl.SpatialCoordinate(domain.mesh)
    arm = ufl.cross(x, u)
    force = [domain.integrate(k * u[i] * ds) for i in range(3)]
    moment = [domain.integrate(k * arm[i] * ds) for i in range(3)]
    assert force == pytest.approx(F, abs=1e-9)
    assert moment == pytest.approx(np.cross(place, F), abs=1e-7)


def test_cantilever_of_timoshenko():
    """Tip deflection P L³/3EI + P L/κGA with κ = 10 (1 + ν)/(12 + 11 ν) (Cowper 1966)."""
    E, ν, L, P = 100.0, 0.3, 8.0, 0.01
    domain = Domain.box((L, 1), (32, 4))
    u = elasticity(
        domain,
        modulus=E,
        poisson=ν,
        displacement=["xmin"],
        traction={"xmax": (0, -P)},
        plane="stress",
        degree=2,
    )
    u.solve()
    tip = -domain.integrate(u[1] * domain.ds("xmax"))
    κ, G = 10 * (1 + ν) / (12 + 11 * ν), E / (2 * (1 + ν))
    assert tip == pytest.approx(P * L**3 / (3 * E / 12) + P * L / (κ * G), rel=0.005)


@pytest.mark.short
def test_load_cases_share_one_operator_and_superpose():
    domain = Domain.box((2, 1), (6, 3))
    given = {"modulus": 3.0, "poisson": 0.3, "displacement": ["xmin"]}
    cases = {"xmax": (0.0, 1.0)}, {"ymax": (0.5, -0.2)}
    u, v = elasticity(domain, **given, traction=list(cases))
    both = elasticity(domain, **given, traction=cases[0] | cases[1], name="both")
    for state in (u, v, both):
        state.solve()
    assert u.operator is v.operator
    assert (u.name, v.name) == ("displacement_1", "displacement_2")
    assert norm(domain, both - 2 * u - v + u) <= 1e-12 * norm(domain, both)


LAYERS = {"soft": 0.1, "stiff": 1.0}


def laminate(displacement, *, component: tuple[int, int]) -> float:
    """Mean stress of a square of two layers (normal x) whose edges move as given."""
    domain = Domain.box((1, 1), (4, 3))
    domain.name("soft", 2, lambda x: x[0] < 0.5 + 1e-9)
    domain.name("stiff", 2, lambda x: x[0] > 0.5 - 1e-9)
    E = materials(domain, LAYERS)
    law = {"modulus": E, "poisson": 0.3, "plane": "stress"}
    u = elasticity(domain, **law, displacement=displacement)
    u.solve()
    return domain.integrate(stress(u, **law)[component] * domain.dx)


def test_laminate():
    """Series across the layers, parallel along them, exactly: the field is linear in each."""
    ν, E = 0.3, np.array(list(LAYERS.values()))
    harmonic = 1 / np.mean(1 / E)
    across = {"xmin": (0, None), "xmax": (1, None), "ymin": (None, 0), "ymax": (None, 0)}
    along = {"xmin": (0, None), "xmax": (0, None), "ymin": (None, 0), "ymax": (None, 1)}
    shear = {"xmin": 0, "xmax": (0, 1), "ymin": (0, None), "ymax": (0, None)}
    C11 = harmonic / (1 - ν**2)
    C22 = E.mean() + ν**2 * C11
    assert laminate(across, component=(0, 0)) == pytest.approx(C11, rel=1e-11)
    assert laminate(across, component=(1, 1)) == pytest.approx(ν * C11, rel=1e-11)
    assert laminate(along, component=(1, 1)) == pytest.approx(C22, rel=1e-11)
    assert laminate(shear, component=(0, 1)) == pytest.approx(harmonic / (2 * (1 + ν)), rel=1e-11)


def test_stress_concentration_of_kirsch():
    """Three times the tension at a small hole, 3.03 for one of a tenth of the width (Howland)."""
    domain = Domain.read(MESHES / "plate_with_hole.msh")
    law = {"modulus": 1000.0, "poisson": 0.3, "plane": "stress"}
    u = elasticity(
        domain,
        **law,
        displacement={"left": (0, None), "bottom": (None, 0)},
        traction={"right": (1, 0)},
        degree=2,
    )
    u.solve()
    space = fem.functionspace(domain.mesh, ("DG", 1))
    σ = fem.Function(space)
    σ.interpolate(fem.Expression(stress(u, **law)[0, 0], space.element.interpolation_points))
    points = space.tabulate_dof_coordinates()
    top = np.linalg.norm(points - [0, 5, 0], axis=1) < 1e-6
    found = domain.comm.allreduce(σ.x.array[top].max(initial=0.0), op=MPI.MAX)
    assert found == pytest.approx(3.03, rel=0.05)
