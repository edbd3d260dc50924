"""Functionals that are asked for often, against geometry and closed forms."""

from functools import partial
from math import pi

import numpy as np
import pytest
import ufl
from dolfinx import mesh
from shapes import square

from toolkit import Density, Domain, p_norm, perimeter
from toolkit.responses import largest

MESHES = {
    "quadrilaterals": lambda: Domain.box((1, 1), (40, 40)),
    "gmsh triangles": lambda: Domain.build(partial(square, size=1 / 40)),
    "hexahedra": lambda: Domain.box((1, 1, 1), (24, 24, 24)),
}


def ball(domain: Domain, radius: float) -> Density:
    """Solid in a disc or sphere about the middle of the unit box."""
    design = Density(domain, radius=None, start=0.5)
    cells = np.arange(len(domain.cells), dtype=np.int32)
    x = mesh.compute_midpoints(domain.mesh, domain.dimension, cells)[:, : domain.dimension]
    inside = ((x - 0.5) ** 2).sum(axis=1) < radius**2
    design.update(domain.gather_cells(inside.astype(float)))
    return design


@pytest.mark.parallel
@pytest.mark.parametrize("kind", MESHES)
def test_perimeter_of_a_ball(kind):
    domain, R = MESHES[kind](), 0.3
    exact = 2 * pi * R if domain.dimension == 2 else 4 * pi * R**2
    assert float(perimeter(ball(domain, R))) == pytest.approx(exact, rel=0.10)


def test_grid_bias_of_the_perimeter():
    """A line across an axis is π/4 of its length, as the docstring says."""
    domain = Domain.box((1, 1), (20, 20))
    design = Density(domain, radius=None, start=0.5)
    cells = np.arange(len(domain.cells), dtype=np.int32)
    x = mesh.compute_midpoints(domain.mesh, 2, cells)
    design.update(domain.gather_cells((x[:, 0] < 0.5).astype(float)))
    assert float(perimeter(design, smoothing=1e-6)) == pytest.approx(pi / 4, rel=1e-5)
    design.update(np.full(design.size, 0.3))
    assert float(perimeter(design)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parallel
def test_p_norm_of_a_coordinate():
    domain = Domain.box((1, 1), (6, 6))
    x = ufl.SpatialCoordinate(domain.mesh)
    for p in (2, 6):
        exact = (1 / (p + 1)) ** (1 / p)  # (∫ xᵖ dx)^(1/p)
        assert float(p_norm(x[0], domain, power=p)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parallel
@pytest.mark.short
def test_largest_of_a_coordinate(comm):
    """At the midpoints of cells: x of the last ones, and of the last in a region."""
    domain = Domain.box((1, 1), (10, 4), comm=comm)
    domain.name("left", 2, lambda x: x[0] < 0.5 + 1e-9)
    x = ufl.SpatialCoordinate(domain.mesh)
    domain.name("right", 2, lambda x: x[0] > 0.5 - 1e-9)
    assert largest(x[0], domain, over=["left", "right"]) == pytest.approx(0.95)
    assert largest(x[0], domain, over=["left"]) == pytest.approx(0.45)
    assert largest(-x[0], domain, over=["right"]) == pytest.approx(-0.55)
