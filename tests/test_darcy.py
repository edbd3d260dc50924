"""Darcy flow against closed forms: linear field, layers, tensors, fluxes, slopes, coupling."""

import numpy as np
import pytest
import ufl
from dolfinx import fem

from toolkit import Domain, darcy, elasticity

SHAPES = [((2, 1), (4, 3), "triangle"), ((2, 1, 1), (4, 3, 2), "hexahedron")]
pytestmark = pytest.mark.parallel


def norm(domain: Domain, v, degree: int | None = None) -> float:
    return np.sqrt(domain.integrate(ufl.inner(v, v) * domain.dx(degree=degree)))


@pytest.mark.short
@pytest.mark.parametrize(("lengths", "cells", "shape"), SHAPES)
def test_linear_field_and_its_flow_rate(lengths, cells, shape):
    """p = 1 − x/L, Q = κ A/L, and as much leaves as enters."""
    domain, κ = Domain.box(lengths, cells, shape=shape), 0.3
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0})
    p.solve()
    x, n = ufl.SpatialCoordinate(domain.mesh), ufl.FacetNormal(domain.mesh)
    assert norm(domain, p - (1 - x[0] / 2)) <= 1e-12
    for face, sign in (("xmin", -1), ("xmax", 1), ("ymin", 0)):
        rate = domain.integrate(-κ * ufl.dot(ufl.grad(p), n) * domain.ds(face))
        assert rate == pytest.approx(sign * κ / 2, abs=1e-12)


@pytest.mark.short
def test_layers_in_series():
    """Q = Δp / Σ h/κ."""
    domain = Domain.box((1, 1), (6, 4))
    domain.name("open", 2, lambda x: x[0] < 1 / 3 + 1e-9)
    domain.name("tight", 2, lambda x: x[0] > 1 / 3 - 1e-9)
    κ = fem.Function(domain.cellwise)
    for name, value in (("open", 1.0), ("tight", 0.01)):
        κ.x.array[domain.cell_dofs[domain.entities(2, name)]] = value
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0})
    p.solve()
    dissipated = domain.integrate(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx)
    assert dissipated == pytest.approx(1 / (1 / 3 / 1.0 + 2 / 3 / 0.01), rel=1e-12)


def test_tensor_permeability():
    """A linear pressure solves −∇·(K ∇p) = 0 for every constant K; its flux is −K ∇p."""
    domain = Domain.box((1, 1), (4, 4), shape="triangle")
    K, g = np.array([[2.0, 0.5], [0.5, 0.7]]), np.array([1.0, -2.0])
    sides = ("xmin", "xmax", "ymin", "ymax")
    p = darcy(
        domain,
        permeability=ufl.as_matrix(K.tolist()),
        pressure=dict.fromkeys(sides, lambda x: g @ x[:2]),
    )
    p.solve()
    x, n = ufl.SpatialCoordinate(domain.mesh), ufl.FacetNormal(domain.mesh)
    assert norm(domain, p - ufl.dot(ufl.as_vector(g), x)) <= 1e-12
    q = -ufl.dot(ufl.as_matrix(K.tolist()), ufl.grad(p))
    rate = domain.integrate(ufl.dot(q, n) * domain.ds("xmax"))
    assert rate == pytest.approx(-(K @ g)[0], rel=1e-12)


def test_prescribed_flux_and_source():
    """−κ p″ = s with p(0) = 0 and outward flux q at x = L: p = (s L − q) x/κ − s x²/(2κ)."""
    domain, κ, s, q = Domain.box((2, 1), (4, 2)), 0.5, 0.3, 0.8
    p = darcy(domain, permeability=κ, pressure={"xmin": 0}, flux={"xmax": q}, source=s, degree=2)
    p.solve()
    x = ufl.SpatialCoordinate(domain.mesh)[0]
    assert norm(domain, p - ((2 * s - q) * x / κ - s * x**2 / (2 * κ))) <= 1e-12


@pytest.mark.parametrize(
    ("shape", "degree"), [("triangle", 1), ("quadrilateral", 1), ("triangle", 2)]
)
def test_slopes_of_the_error(shape, degree):
    levels, errors = (8, 16, 32), []
    for n in levels:
        domain = Domain.box((1, 1), (n, n), shape=shape)
        x = ufl.SpatialCoordinate(domain.mesh)
        exact = ufl.sin(2 * x[0]) * ufl.cos(3 * x[1])
        κ = 1 + x[0] * x[1]
        p = darcy(
            domain,
            permeability=κ,
            pressure=dict.fromkeys(("xmin", "xmax", "ymin", "ymax"), exact),
            source=-ufl.div(κ * ufl.grad(exact)),
            degree=degree,
        )
        p.solve()
        errors.append([norm(domain, e, 2 * degree + 2) for e in (p - exact, ufl.grad(p - exact))])
    slopes = np.log2(np.array(errors[-2]) / errors[-1])
    assert slopes == pytest.approx([degree + 1, degree], abs=0.1)


@pytest.mark.short
def test_pressure_gradient_as_a_load_on_the_solid():
    """One-way coupling by mention: a bar (ν = 0) dragged by −∇p = 1/L stretches by L/(2E)."""
    domain, E = Domain.box((2, 1), (4, 2)), 5.0
    p = darcy(domain, permeability=0.1, pressure={"xmin": 1, "xmax": 0})
    u = elasticity(
        domain,
        modulus=E,
        poisson=0.0,
        displacement={"xmin": (0, None), "ymin": (None, 0)},
        body=-ufl.grad(p),
        degree=2,
    )
    assert u.upstream == (p,)
    u.solve()  # solves p too
    end = domain.integrate(u[0] * domain.ds("xmax"))
    assert end == pytest.approx(0.5 * 2**2 / (2 * E), rel=1e-11)
