"""The density: bounds kept by the filter, exact transposes, moments, passive regions."""

from functools import partial

import numpy as np
import pytest
from dolfinx import fem, la, mesh
from mpi4py import MPI
from scipy.integrate import quad
from shapes import cube, square

from toolkit import Density, Domain

H = 0.25  # edge length of the gmsh meshes
OBTUSE = partial(cube, size=H, squash=0.15)
GMSH = {"tetrahedra": OBTUSE, "triangles": partial(square, size=0.15)}
RADII = [0.1 * H, H, 10 * H]
pytestmark = pytest.mark.parallel


def owned(density: Density, f: fem.Function) -> np.ndarray:
    return f.x.array[density.domain.cell_dofs[: len(density.domain.cells)]]


def whole(density: Density, f: fem.Function) -> np.ndarray:
    """A cell-wise function in mesh-file order, on every rank."""
    return density.domain.gather_cells(owned(density, f))


def as_dual(density: Density, values: np.ndarray) -> la.Vector:
    """A cell-wise dual vector with given values, mesh-file order."""
    f = fem.Function(density.domain.cellwise)
    f.x.array[density.domain.cell_dofs[: len(density.domain.cells)]] = values[density.domain.cells]
    f.x.scatter_forward()
    return f.x


def centres(domain: Domain) -> np.ndarray:
    every = np.arange(len(domain.cells), dtype=np.int32)
    points = mesh.compute_midpoints(domain.mesh, domain.dimension, every)
    return np.stack([domain.gather_cells(column) for column in points.T], axis=1)


def volumes(domain: Domain) -> np.ndarray:
    return domain.gather_cells(domain.cell_volumes)


def obtuse_fraction(domain: Domain) -> float:
    """Fraction of this rank's tetrahedra with a dihedral angle beyond 90 degrees.

    That is, with two gradients of barycentric coordinates at an acute angle.
    """
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][: len(domain.cells)]]
    slopes = np.linalg.inv(x[:, 1:] - x[:, :1]).transpose(0, 2, 1)
    slopes = np.concatenate([slopes, -slopes.sum(axis=1, keepdims=True)], axis=1)
    products = np.einsum("cik,cjk->cij", slopes, slopes)
    return float((products[:, *np.triu_indices(4, 1)].max(axis=1) > 0).mean())


@pytest.fixture(scope="module", params=GMSH)
def domain(request):
    return Domain.build(GMSH[request.param])


def test_the_tetrahedra_of_these_tests_are_obtuse():
    assert obtuse_fraction(Domain.build(OBTUSE)) > 0.9


@pytest.mark.parametrize("radius", RADII)
def test_filter_keeps_the_bounds_and_the_mean(domain, radius):
    density = Density(domain, radius=radius, start=0.5)
    random, V = np.random.default_rng(0), volumes(domain)
    for fraction in (0.05, 0.5, 0.95):
        x = (random.random(density.size) < fraction).astype(float)
        density.update(x)
        ρ = whole(density, density.filtered)
        assert ρ.min() >= -1e-12
        assert ρ.max() <= 1 + 1e-12
        assert V @ ρ == pytest.approx(V @ x, rel=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("radius", RADII)
def test_transpose_is_exact_and_the_filter_symmetric(domain, radius):
    """⟨F x, y⟩ = ⟨x, Fᵀ y⟩ for dual vectors y, and V F = Fᵀ V."""
    density = Density(domain, radius=radius, start=0.5)
    random, V = np.random.default_rng(1), volumes(domain)
    x, y = random.random((2, density.size))
    density.update(x)
    Fx = whole(density, density.filtered)
    back = density.pullback(filtered=as_dual(density, y))
    assert Fx @ y == pytest.approx(x @ back, rel=1e-12)
    density.update(y)
    Fy = whole(density, density.filtered)
    assert density.pullback(filtered=as_dual(density, V * y)) == pytest.approx(V * Fy, rel=1e-10)


@pytest.mark.parametrize("radius", RADII)
def test_constants_are_kept(domain, radius):
    density = Density(domain, radius=radius, start=0.3)
    assert whole(density, density.filtered) == pytest.approx(0.3, rel=1e-12)


def test_no_filter_is_the_identity(domain):
    density = Density(domain, radius=None, start=0.5)
    x = np.random.default_rng(2).random(density.size)
    density.update(x)
    assert np.array_equal(whole(density, density.physical), x)
    y = x[::-1].copy()
    assert np.array_equal(density.pullback(physical=as_dual(density, y)), y)


def cone_moment(d: int) -> float:
    """Second moment per axis of the cone filter's weight R − |x| of radius R = 1."""
    top, bottom = (quad(lambda s, k=k: s**k * (1 - s), 0, 1)[0] for k in (d + 1, d - 1))
    return top / bottom / d


@pytest.mark.parametrize("cells", [(61, 3), (61, 3, 3)])
def test_second_moment_on_a_grid_is_that_of_the_cone(cells):
    """The Green's function of ρ̃ − r² Δρ̃ has the moment 2 r² per axis, on a grid exactly so."""
    domain = Domain.box(cells, cells)
    R = 3.0
    density = Density(domain, radius=R, start=0.0)
    x = centres(domain)
    source = int(np.abs(x[:, 0] - 30.5).argmin())
    density.update(np.eye(1, density.size, source)[0])
    ρ = whole(density, density.filtered)
    assert ρ @ (x[:, 0] - x[source, 0]) ** 2 == pytest.approx(
        R**2 * cone_moment(len(cells)), rel=1e-9
    )


def test_second_moment_on_tetrahedra_is_near_that_of_the_cone():
    """The mean of T_f |d|² is right on every mesh; its scatter slows spreading by a few percent."""
    domain = Domain.build(partial(cube, size=0.055))
    R = 0.16
    density = Density(domain, radius=R, start=0.0)
    x, V = centres(domain), volumes(domain)
    traces = []
    for source in np.argsort(np.linalg.norm(x - 0.5, axis=1))[:12]:
        density.update(np.eye(1, density.size, source)[0])
        ρ = whole(density, density.filtered) * V / V[source]
        traces.append(ρ @ ((x - x[source]) ** 2).sum(axis=1))
    assert np.mean(traces) == pytest.approx(3 * R**2 * cone_moment(3), rel=0.06)


@pytest.mark.short
@pytest.mark.parametrize("radius", [None, 0.5])
def test_passive_regions_overwrite_and_have_no_slope(radius):
    domain = Domain.box((2, 1), (8, 4))
    domain.name("skin", 2, lambda x: x[0] < 0.5 + 1e-9)
    domain.name("hole", 2, lambda x: x[0] > 1.5 - 1e-9)
    density = Density(domain, radius=radius, start=0.4, solid=["skin"], void=["hole"])
    density.sharpen(4)
    x = centres(domain)[:, 0]
    ρ = whole(density, density.physical)
    assert np.all(ρ[x < 0.5] == 1) and np.all(ρ[x > 1.5] == 0)
    assert np.array_equal(density.free, (x > 0.5) & (x < 1.5))
    passive = as_dual(density, np.where(density.free, 0.0, 1.0))
    assert np.all(density.pullback(physical=passive) == 0)
    grey = 4 * ρ * (1 - ρ)
    assert density.greyness() == pytest.approx(grey[density.free].mean(), rel=1e-12)


@pytest.mark.parametrize("beta", [0, 1, 8, 64])
def test_projection_keeps_the_ends_and_its_slope_is_the_derivative(beta):
    domain = Domain.box((1, 1), (6, 5))
    density = Density(domain, radius=0.4, start=0.5, threshold=0.4)
    density.sharpen(beta)
    for end in (0.0, 1.0):
        density.update(np.full(density.size, end))
        assert whole(density, density.physical) == pytest.approx(end, abs=1e-12)
    random, h = np.random.default_rng(3), 1e-6
    x, d, y = random.uniform(0.3, 0.6, density.size), *random.random((2, density.size))
    density.update(x + h * d)
    ahead = whole(density, density.physical)
    density.update(x - h * d)
    behind = whole(density, density.physical)
    density.update(x)
    slope = density.pullback(physical=as_dual(density, y)) @ d
    assert slope == pytest.approx((ahead - behind) @ y / (2 * h), rel=1e-6)


@pytest.mark.short
def test_the_same_design_gives_the_same_field_on_any_number_of_ranks():
    fields = []
    for c in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = Domain.build(OBTUSE, comm=c)
        density = Density(domain, radius=H, start=0.5)
        density.sharpen(8)
        x = centres(domain)
        density.update(0.5 + 0.3 * np.sin(7 * x[:, 0]) * np.cos(5 * x[:, 1]) + 0.5 * x[:, 2])
        fields.append(whole(density, density.physical))
    assert fields[0] == pytest.approx(fields[1], abs=1e-11)
