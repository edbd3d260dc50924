"""Stokes–Brinkman flow against closed forms: channels, drag, slip, balance, a pipe of gmsh."""

from functools import partial
from math import pi
from pathlib import Path

import numpy as np
import pytest
import ufl
from shapes import square

from toolkit import Domain, stokes

MESHES = Path(__file__).parents[1] / "meshes"
MU, G = 2.0, 3.0  # viscosity and pressure gradient
WALLS = {"ymin": 0, "ymax": 0}
PAIRS = ("taylor-hood", "stabilised")
pytestmark = pytest.mark.parallel


def norm(domain: Domain, v, degree: int | None = None) -> float:
    return np.sqrt(domain.integrate(ufl.inner(v, v) * domain.dx(degree=degree)))


def rate(domain: Domain, flow, *names: str) -> float:
    """Flow out through named boundaries, or through all."""
    n = ufl.FacetNormal(domain.mesh)
    ds = domain.ds(*names) if names else domain.ds
    return domain.integrate(ufl.dot(flow.velocity, n) * ds)


def channel(n: int, shape: str = "quadrilateral", **given):
    """A channel 1 wide and 1 long, driven by the pressure G at its inlet."""
    domain = Domain.box((1, 1), (n, n), shape=shape)
    pressure = {"xmin": G, "xmax": 0}
    flow = stokes(domain, viscosity=MU, velocity=WALLS, pressure=pressure, **given)
    flow.solve()
    return domain, flow


@pytest.mark.short
@pytest.mark.parametrize("shape", ["quadrilateral", "triangle"])
def test_poiseuille_is_exact_with_taylor_hood(shape):
    """u = G y (1 − y)/2μ, p = G (1 − x), Q = G/12μ."""
    domain, flow = channel(4, shape)
    x, y = ufl.SpatialCoordinate(domain.mesh)
    exact = ufl.as_vector([G / (2 * MU) * y * (1 - y), 0])
    assert norm(domain, flow.velocity - exact) <= 1e-10
    assert norm(domain, flow.pressure - G * (1 - x)) <= 1e-10
    assert rate(domain, flow, "xmax") == pytest.approx(G / (12 * MU), rel=1e-10)
    assert rate(domain, flow) == pytest.approx(0, abs=1e-10)


def test_poiseuille_in_three_dimensions():
    """Between two plates, with slip on the sides across the axis."""
    domain = Domain.box((1, 1, 1), (2, 2, 2), shape="tetrahedron")
    flow = stokes(
        domain,
        viscosity=MU,
        velocity=["ymin", "ymax"],
        slip=["zmin", "zmax"],
        pressure={"xmin": G, "xmax": 0},
    )
    flow.solve()
    y = ufl.SpatialCoordinate(domain.mesh)[1]
    exact = ufl.as_vector([G / (2 * MU) * y * (1 - y), 0, 0])
    assert norm(domain, flow.velocity - exact) <= 1e-10


@pytest.mark.parametrize("shape", ["quadrilateral", "triangle"])
def test_poiseuille_with_the_stabilised_pair(shape):
    """Second order in the profile, and in the flow rate."""
    errors = []
    for n in (8, 16):
        domain, flow = channel(n, shape, pair="stabilised")
        y = ufl.SpatialCoordinate(domain.mesh)[1]
        exact = ufl.as_vector([G / (2 * MU) * y * (1 - y), 0])
        Q = rate(domain, flow, "xmax")
        errors.append([norm(domain, flow.velocity - exact, 4), abs(Q - G / (12 * MU))])
    assert np.all(np.log2(np.array(errors[0]) / errors[1]) >= 1.9)


@pytest.mark.parametrize(("pair", "order"), [("taylor-hood", 3), ("stabilised", 2)])
def test_brinkman_channel(pair, order):
    """u = G/α (1 − cosh m(y − ½)/cosh ½m), Q = G/α (1 − tanh(½m)/½m), m² = α/μ."""
    α, levels, errors = 200.0, (16, 32), []
    m = np.sqrt(α / MU)
    Q = G / α * (1 - np.tanh(m / 2) / (m / 2))
    for n in levels:
        domain, flow = channel(n, drag=α, pair=pair)
        y = ufl.SpatialCoordinate(domain.mesh)[1]
        profile = G / α * (1 - ufl.cosh(m * (y - 0.5)) / np.cosh(m / 2))
        e = norm(domain, flow.velocity - ufl.as_vector([profile, 0]), 8)
        errors.append([e, abs(rate(domain, flow, "xmax") - Q)])
    assert errors[-1][1] <= 0.01 * Q
    assert np.all(np.log2(np.array(errors[0]) / errors[1]) >= order - 0.25)


def test_pipe_of_poiseuille():
    """Q = A² Δp/(8π μ L) with the area A of the polygon that the mesh has for a circle."""
    domain = Domain.read(MESHES / "pipe.msh")
    flow = stokes(domain, viscosity=MU, velocity=["wall"], pressure={"inlet": G, "outlet": 0})
    flow.operator.solver.rtol = 1e-11
    flow.solve()
    A = domain.area("inlet")
    exact = A**2 * G / (8 * pi * MU * 20)
    assert rate(domain, flow, "outlet") == pytest.approx(exact, rel=0.02)
    assert rate(domain, flow) == pytest.approx(0, abs=1e-7 * exact)


@pytest.mark.short
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_plug_flow_between_slip_walls(pair, angle):
    """A uniform flow is a solution; walls across an axis are held strongly, others by Nitsche."""
    domain = Domain.build(partial(square, size=0.3, angle=angle))
    along = np.array([np.cos(angle), np.sin(angle)])
    flow = stokes(
        domain,
        viscosity=MU,
        velocity={"left": tuple(along)},
        pressure={"right": 0},
        slip=["bottom", "top"],
        pair=pair,
    )
    flow.solve()
    assert norm(domain, flow.velocity - ufl.as_vector(along)) <= 1e-9
    assert norm(domain, flow.pressure) <= 1e-8


def test_half_a_channel_with_a_slip_wall_at_its_axis():
    """Nitsche's wall is a plane of symmetry: Poiseuille in a turned half channel, exactly."""
    angle, walls = 0.5, {"bottom": 0}
    domain = Domain.build(partial(square, size=0.3, angle=angle))
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )

    def profile(x):
        y = across @ x[:2]
        return np.outer(along, y * (2 - y))

    flow = stokes(
        domain,
        viscosity=MU,
        velocity=walls | {"left": profile},
        pressure={"right": 0},
        slip=["top"],
    )
    flow.solve()
    y = ufl.dot(ufl.as_vector(across), ufl.SpatialCoordinate(domain.mesh))
    assert norm(domain, flow.velocity - y * (2 - y) * ufl.as_vector(along)) <= 1e-9


def test_pressure_is_zero_at_one_corner_without_an_opening():
    """Poiseuille prescribed all around: p = −2 μ x, zero at the corner of least coordinates."""
    domain = Domain.box((2, 1), (4, 3))
    parabola = lambda x: np.stack([x[1] * (1 - x[1]), 0 * x[0]])  # noqa: E731
    flow = stokes(domain, viscosity=MU, velocity=WALLS | {"xmin": parabola, "xmax": parabola})
    flow.solve()
    x = ufl.SpatialCoordinate(domain.mesh)[0]
    assert norm(domain, flow.pressure + 2 * MU * x) <= 1e-9


def test_body_force_balances_pressure():
    """A force that is a gradient moves nothing: −μ Δu + ∇p = ∇φ has u = 0, p = φ."""
    domain = Domain.box((1, 1), (4, 4))
    flow = stokes(
        domain, viscosity=MU, velocity=["xmin", "ymin", "ymax"], pressure={"xmax": G}, body=(G, 0)
    )
    flow.solve()
    x = ufl.SpatialCoordinate(domain.mesh)[0]
    assert norm(domain, flow.velocity) <= 1e-12
    assert norm(domain, flow.pressure - G * x) <= 1e-11


def test_mass_is_conserved_through_a_varying_drag():
    """What enters leaves, to round-off, whatever the drag."""
    domain = Domain.box((1, 1), (8, 8))
    x, y = ufl.SpatialCoordinate(domain.mesh)
    drag = 1e4 * ufl.exp(-30 * ((x - 0.5) ** 2 + (y - 0.4) ** 2))
    flow = stokes(
        domain,
        viscosity=1.0,
        velocity={"xmin": lambda x: np.stack([x[1] * (1 - x[1]), 0 * x[0]])} | WALLS,
        pressure={"xmax": 0},
        drag=drag,
    )
    flow.solve()
    assert rate(domain, flow, "xmin") == pytest.approx(-1 / 6, rel=1e-12)
    assert rate(domain, flow, "xmax") == pytest.approx(1 / 6, rel=1e-10)
