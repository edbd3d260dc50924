"""The Taylor table of every state × law × functional, in 2D and 3D, with projection at β = 8.

A table passes at second order (or for a functional that is linear), and must fail with a gradient
that is wrong by 1e-4. The number of adjoint solves is part of the claim: none for a compliance, a
dissipation, a permeance.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import ufl
from dolfinx import fem

from toolkit import (
    Density,
    Domain,
    Functional,
    InputError,
    Reduced,
    State,
    brinkman,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    p_norm,
    perimeter,
    ramp,
    simp,
    stokes,
    stress,
    taylor_test,
)
from toolkit.adjoint import taylor_table

pytestmark = pytest.mark.parallel
SHAPES = {
    "quadrilaterals": ((2, 1), (6, 4), "quadrilateral"),
    "triangles": ((2, 1), (5, 3), "triangle"),
    "tetrahedra": ((2, 1, 1), (3, 2, 2), "tetrahedron"),
    "hexahedra": ((2, 1, 1), (4, 2, 2), "hexahedron"),
}
STIFFNESS = {
    "simp": lambda ρ: simp(ρ, full=1.0, empty=1e-3),
    "ramp": lambda ρ: ramp(ρ, full=1.0, empty=1e-3),
    "gibson_ashby": lambda ρ: gibson_ashby(ρ, full=1.0, coefficient=0.9),
}
PERMEABILITY = {
    "kozeny_carman": lambda ρ: kozeny_carman(ρ, surface=1.0),
    "grains": lambda ρ: kozeny_carman(ρ, grain=5.0),
    "ramp": lambda ρ: ramp(1 - ρ, full=1.0, empty=1e-3),
}
DRAG = {"brinkman": lambda ρ: brinkman(ρ, drag=200.0, q=0.1)}


class Case(NamedTuple):
    """A functional and the adjoint systems that one gradient of it solves."""

    J: Functional
    solves: int


Cases = dict[str, Case]


def of_elasticity(design: Density, law: Callable) -> Cases:
    domain, d = design.domain, design.domain.dimension
    E, dx, ds = law(design.physical), domain.dx, domain.ds
    t, s = (ufl.as_vector(v[:d]) for v in ((0.0, -0.2, 0.1), (0.3, 0.1, 0.0)))
    u, w = elasticity(
        domain,
        modulus=E,
        poisson=0.3,
        displacement=["xmin"],
        traction=[{"xmax": t}, {"ymax": s}],
    )
    deviator = ufl.dev(stress(u, modulus=E, poisson=0.3))
    compliance = Functional(ufl.inner(t, u) * ds("xmax"))
    other = Functional(ufl.inner(s, w) * ds("ymax"))
    tip, elsewhere = Functional(u[1] * ds("xmax")), Functional(u[0] * ds("ymax"))
    volume = Functional(design.physical * dx) / domain.volume
    return {
        "compliance": Case(compliance, 0),
        "two load cases": Case(compliance + 2 * other, 0),
        "displacement": Case(tip, 0 if d == 2 else 1),  # in 2D the load itself asks for u_y
        "displacement elsewhere": Case(elsewhere, 1),
        "stress": Case(p_norm(ufl.inner(deviator, deviator), domain, power=3), 1),
        "mixed": Case((elsewhere / volume).map(lambda q: q**2 + q) * other, 1),
    }


def of_darcy(design: Density, law: Callable) -> Cases:
    domain = design.domain
    κ, dx, ds = law(design.physical), domain.dx, domain.ds
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0}, source=0.0)
    n = ufl.FacetNormal(domain.mesh)
    permeance = Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * dx)
    speed = κ**2 * ufl.inner(ufl.grad(p), ufl.grad(p))
    outflow = Functional(-κ * ufl.dot(ufl.grad(p), n) * ds("xmax"))
    return {
        "permeance": Case(permeance, 0),
        "pressure": Case(Functional(p**2 * dx), 1),
        "flow rate": Case(outflow, 1),
        "speed": Case(p_norm(speed, domain, power=2), 1),
        "mixed": Case((permeance / Functional(p * ds("ymax"))).map(np.exp), 1),
    }


def of_stokes(pair: str) -> Callable[[Density, Callable], Cases]:
    def make(design: Density, law: Callable) -> Cases:
        domain, d = design.domain, design.domain.dimension
        α, dx, ds = law(design.physical), domain.dx, domain.ds
        inflow = lambda x: np.stack([x[1] * (1 - x[1])] + [0 * x[0]] * (d - 1))  # noqa: E731
        flow = stokes(
            domain,
            viscosity=0.5,
            velocity={"xmin": inflow, "ymin": 0},
            pressure={"xmax": 0, "ymax": 0.1},
            slip=["zmin", "zmax"] if d == 3 else [],
            drag=α,
            pair=pair,
        )
        v, p = flow.velocity, flow.pressure
        n = ufl.FacetNormal(domain.mesh)
        power = 0.5 * (0.5 * ufl.inner(ufl.grad(v), ufl.grad(v)) + α * ufl.inner(v, v)) * dx
        dissipation, drop = Functional(power), Functional(p * ds("xmin"))
        return {
            "dissipation": Case(dissipation, 1),
            "pressure drop": Case(drop, 1),
            "flow rate": Case(Functional(ufl.dot(v, n) * ds("xmax")), 1),
            "uniformity": Case(p_norm(v[0] ** 2, domain, power=2), 1),
            "mixed": Case((drop / dissipation).map(np.log), 1),
        }

    return make


def of_coupled(design: Density, law: Callable) -> Cases:
    """A fluid's pressure loads the solid: two states, the second mentions the first."""
    domain, ρ = design.domain, design.physical
    κ, E = law(ρ), simp(ρ, full=1.0, empty=1e-3)
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0})
    n = ufl.FacetNormal(domain.mesh)
    u = elasticity(
        domain,
        modulus=E,
        poisson=0.3,
        displacement=["xmin"],
        traction={"ymax": -p * n},
        body=-ufl.grad(p),
    )
    work = Functional(ufl.inner(stress(u, modulus=E, poisson=0.3), ufl.grad(u)) * domain.dx)
    return {
        "work": Case(work, 1),
        "displacement": Case(Functional(u[1] * domain.ds("xmax")), 2),
        "pressure alone": Case(Functional(p**2 * domain.dx), 1),
        "mixed": Case((work / Functional(p * domain.ds("ymax"))).map(np.sqrt), 1),
    }


def of_design(design: Density, law: Callable) -> Cases:
    domain = design.domain
    mean = Functional(design.physical * domain.dx) / domain.volume
    filtered = Functional(design.filtered**2 * domain.dx)
    return {
        "volume": Case(mean, 0),
        "perimeter": Case(perimeter(design, smoothing=0.05), 0),
        "law": Case(Functional(law(design.physical) * domain.dx), 0),
        "filtered and physical": Case(filtered * mean, 0),
        "design": Case(Functional(design.value**3 * domain.dx) + mean, 0),
    }


FAMILIES = {
    "elasticity": (of_elasticity, STIFFNESS, ("quadrilaterals", "tetrahedra", "hexahedra")),
    "darcy": (of_darcy, PERMEABILITY, ("quadrilaterals", "tetrahedra")),
    "taylor-hood": (of_stokes("taylor-hood"), DRAG, ("triangles", "tetrahedra")),
    "stabilised": (of_stokes("stabilised"), DRAG, ("triangles", "tetrahedra")),
    "coupled": (of_coupled, {"ramp": PERMEABILITY["ramp"]}, ("quadrilaterals", "tetrahedra")),
    "design": (of_design, STIFFNESS, ("triangles", "hexahedra")),
}
ALL = [
    (family, law, shape)
    for family, (_, laws, shapes) in FAMILIES.items()
    for law in laws
    for shape in shapes
]


def make(family: str, law: str, shape: str) -> tuple[Density, Cases]:
    """A design on a small box and the functionals of a family over it."""
    lengths, cells, kind = SHAPES[shape]
    domain = Domain.box(lengths, cells, shape=kind)
    design = Density(domain, radius=0.6, start=0.5)
    design.sharpen(8)
    build, laws, _ = FAMILIES[family]
    return design, build(design, laws[law])


@pytest.mark.parametrize(("family", "law", "shape"), ALL)
def test_taylor(family, law, shape):
    design, cases = make(family, law, shape)
    faults, x = [], np.random.default_rng(4).uniform(0.2, 0.8, design.size)
    for name, case in cases.items():
        table = taylor_table(case.J, over=design)
        wrong = taylor_table(case.J, over=design, gradient_error=1e-4)
        reduced = Reduced(case.J, over=design)
        reduced.gradient(x)
        if not table.passed or wrong.passed or reduced.adjoint_solves != case.solves:
            faults.append(f"{name}: {reduced.adjoint_solves} solves\n{table}\nwrong: {wrong}")
    assert not faults, "\n".join(faults)


@pytest.mark.short
@pytest.mark.parametrize("family", FAMILIES)
def test_order_on_more_ranks(family):
    _, laws, shapes = FAMILIES[family]
    design, cases = make(family, next(iter(laws)), shapes[0])
    for case in cases.values():
        assert taylor_test(case.J, over=design, seed=1) >= 1.95


@pytest.mark.parametrize(
    ("family", "name"),
    [("elasticity", "two load cases"), ("darcy", "permeance"), ("taylor-hood", "dissipation")],
)
def test_the_span_gives_the_gradient_of_a_full_adjoint_solve(family, name, monkeypatch):
    _, laws, shapes = FAMILIES[family]
    design, cases = make(family, next(iter(laws)), shapes[0])
    x = np.random.default_rng(4).uniform(0.2, 0.8, design.size)
    short = Reduced(cases[name].J, over=design)
    g = short.gradient(x)
    full = Reduced(cases[name].J, over=design)
    for adjoint in full._adjoints:
        monkeypatch.setattr(
            adjoint, "_in_span_of_state", lambda b: (np.zeros_like(b), float("inf"))
        )
    h = full.gradient(x)
    assert full.adjoint_solves == len(full.functional.states)
    assert np.linalg.norm(g - h) <= 1e-9 * np.linalg.norm(h)


@pytest.mark.parametrize("passive", [{"solid": ["left"]}, {"void": ["left"]}])
def test_passive_cells_have_no_gradient_without_a_filter(passive):
    domain = Domain.box((2, 1), (6, 4))
    domain.name("left", 2, lambda x: x[0] < 1 + 1e-9)
    design = Density(domain, radius=None, start=0.5, **passive)
    law = lambda ρ: simp(ρ, full=1.0, empty=0.1)  # noqa: E731  contrast would amplify round-off
    J = of_elasticity(design, law)["displacement elsewhere"].J
    gradient = Reduced(J, over=design).gradient(design.start)
    assert np.all(gradient[~design.free] == 0) and np.all(gradient[design.free] != 0)
    assert taylor_table(J, over=design).passed


def test_the_gradient_of_an_affine_functional_is_kept_while_it_is_affine():
    """It follows the projection and the constants of its integrand."""
    domain = Domain.box((2, 1), (6, 3))
    design = Density(domain, radius=0.6, start=0.5)
    price = fem.Constant(domain.mesh, 1.0)
    J = Functional(price * design.physical * domain.dx)
    reduced, x = Reduced(J, over=design), np.linspace(0.3, 0.7, design.size)
    first = reduced.gradient(x)
    assert first.sum() == pytest.approx(2.0) and np.array_equal(reduced.gradient(1 - x), first)
    price.value = 3.0
    assert reduced.gradient(x) == pytest.approx(3 * first)
    design.sharpen(4)
    assert reduced.gradient(x) == pytest.approx(Reduced(J, over=design).gradient(x))
    design.sharpen(0)
    assert reduced.gradient(x) == pytest.approx(3 * first)


@pytest.mark.parallel
def test_load_cases_out_of_step():
    """An adjoint uses its own design's matrix, though another case has filled the shared one."""
    domain = Domain.box((2, 1), (6, 3))
    design = Density(domain, radius=None, start=0.5)
    E = simp(design.physical, full=1.0, empty=1e-3)
    cases = [{"xmax": (0.0, -1.0)}, {"xmax": (1.0, 0.0)}]
    first, second = elasticity(
        domain, modulus=E, poisson=0.3, displacement=["xmin"], traction=cases
    )
    tips = [Functional(u[0] * domain.ds("ymax")) for u in (first, second)]
    one, other = (Reduced(J, over=design) for J in tips)
    x = np.linspace(0.3, 0.7, design.size)
    expected = one.gradient(x)
    other.gradient(1 - x)
    one.value(x)
    other.value(1 - x)
    assert one.gradient(x) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("shape", ["triangle", "tetrahedron"])
def test_integrands_that_are_no_polynomials(shape):
    """The rule of quadrature is settled before differentiation, on simplices too."""
    d = 2 if shape == "triangle" else 3
    domain = Domain.box((1,) * d, (3,) * d, shape=shape)
    design = Density(domain, radius=None, start=0.5)
    E = simp(design.physical, full=1.0, empty=1e-3)
    t = ufl.as_vector([0.0] * (d - 1) + [-1.0])
    u = elasticity(
        domain, modulus=E, poisson=0.3, displacement=["xmin"], traction={"xmax": t}, degree=2
    )
    σ = stress(u, modulus=E, poisson=0.3)
    size = Functional(ufl.sqrt(ufl.inner(σ, σ) + 1e-4) * ufl.dx)  # UFL's own measure will do
    assert taylor_table(size, over=design).passed


def test_an_equation_that_is_not_symmetric():
    """Advection: refused as symmetric, exact once the transpose is asked for."""
    domain = Domain.box((1, 1), (6, 6))
    design = Density(domain, radius=None, start=0.5)
    κ = simp(design.physical, full=1.0, empty=0.1)
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    wind = ufl.as_vector((3.0, 1.0))
    facets = domain.entities(1, "xmin")
    held = fem.dirichletbc(0.0, fem.locate_dofs_topological(space, 1, facets), space)

    def residual(c, v):
        spread = κ * ufl.inner(ufl.grad(c), ufl.grad(v)) + ufl.dot(wind, ufl.grad(c)) * v
        return (spread - v) * domain.dx

    c = State(space, residual, name="nutrient", conditions=[held])
    with pytest.raises(InputError, match=r"nutrient.*not symmetric"):
        c.solve()
    c = State(space, residual, name="nutrient", conditions=[held], symmetric=False)
    assert taylor_table(Functional(c**2 * domain.dx), over=design).passed
