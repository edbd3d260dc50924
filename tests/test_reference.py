"""The toolkit beside independent codes and published numbers, on meshes small enough for every day.

docs/verification.md has the long versions.
"""

import numpy as np
import numpy.typing as npt
import pytest
from dolfinx import mesh
from ufl import as_vector, grad, inner

from tests.reference import compliance as reference
from tests.reference.stokes import dissipation
from toolkit import (
    Density,
    Domain,
    Functional,
    Reduced,
    brinkman,
    elasticity,
    minimize,
    simp,
    stokes,
)
from toolkit.state import State

Array = npt.NDArray[np.float64]


def grid_places(domain: Domain, h: float) -> npt.NDArray[np.int64]:
    """Position in the reference's grid of each cell of a box, in mesh-file order."""
    d, cells = domain.dimension, np.arange(len(domain.cells), dtype=np.int32)
    middle = mesh.compute_midpoints(domain.mesh, d, cells)[:, :d]
    index = np.stack([domain.gather_cells(column) for column in (middle / h - 0.5).T])
    index = np.rint(index).astype(np.int64)
    return np.ravel_multi_index(tuple(index), tuple(index.max(axis=1) + 1))


def cantilever(
    n: int, *, empty: float = 1e-9, radius: float | None = 0.2
) -> tuple[Density, Functional, State]:
    """The 3D cantilever on 2n × n × n cells, its compliance and its displacement."""
    domain = Domain.box((2, 1, 1), (2 * n, n, n))
    domain.name("edge", 1, lambda x: (x[0] > 2 - 1e-9) & (x[2] < 1e-9))
    design = Density(domain, radius=radius, start=0.12)
    q = as_vector((0, 0, -0.001 * n))
    E = simp(design.physical, full=1, empty=empty)
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], line={"edge": q})
    return design, Functional(inner(q, u) * domain.dl("edge"), name="compliance"), u


def half_mbb(nx: int, ny: int, radius: float) -> tuple[Density, Functional]:
    """Half an MBB beam on unit cells: symmetry at x = 0, a roller at the right lower corner."""
    domain = Domain.box((nx, ny), (nx, ny))
    domain.name("load", 0, lambda x: (x[0] < 1e-9) & (x[1] > ny - 1e-9))
    domain.name("roller", 0, lambda x: (x[0] > nx - 1e-9) & (x[1] < 1e-9))
    design = Density(domain, radius=radius, start=0.5)
    P = as_vector((0, -1))
    u = elasticity(
        domain,
        modulus=simp(design.physical, full=1, empty=1e-9),
        poisson=0.3,
        displacement={"xmin": (0, None), "roller": (None, 0)},
        point={"load": P},
        plane="stress",
    )
    return design, Functional(inner(P, u) * domain.dP("load"), name="compliance")


def agree(J: Functional, design: Density, value: float, gradient: Array, tolerance: float) -> None:
    """Value and gradient at the present design, against a reference's."""
    reduced = Reduced(J, over=design)
    assert reduced.value(design.vector) == pytest.approx(value, rel=tolerance)
    difference = np.abs(reduced.gradient(design.vector) - gradient).max()
    assert difference <= tolerance * np.abs(gradient).max()


@pytest.mark.parametrize(
    ("problem", "published"),
    [
        (reference.half_mbb((60, 20), np.asarray, 0.5), 1007.0221),
        (reference.half_mbb((150, 50), np.asarray, 0.5), 1033.0446),
        (reference.cantilever_2d((60, 20), np.asarray, 0.5), 982.41505),
        (reference.cantilever_3d(8, np.asarray), 1.50913675),
        (reference.cantilever_3d(16, np.asarray), 6.30143440),
    ],
)
def test_the_reference_code_gives_the_published_start(
    problem: reference.Grid, published: float
) -> None:
    x = np.full(np.prod(problem.cells), problem.volume)
    assert problem.compliance(x)[0] == pytest.approx(published, rel=1e-7)


@pytest.mark.parametrize(("n", "published"), [(8, 1.50913675), (16, 6.30143440)])
@pytest.mark.parallel
def test_the_cantilever_starts_at_the_published_compliance(n: int, published: float) -> None:
    """Factorised at n = 8, iterative at n = 16."""
    _, compliance, _ = cantilever(n)
    assert float(compliance) == pytest.approx(published, rel=1e-6)


@pytest.mark.parallel
def test_the_cantilever_at_a_random_design() -> None:
    n = 4
    design, compliance, _ = cantilever(n, radius=2.5 / n)
    x = np.random.default_rng(1).uniform(0.1, 1, design.size)
    places = grid_places(design.domain, 1 / n)
    on_grid = np.empty_like(x)
    on_grid[places] = x
    filtered = reference.helmholtz((2 * n, n, n), 1 / n, (2.5 / n) ** 2 / 15)
    c, dc = reference.cantilever_3d(n, filtered).compliance(on_grid)
    design.update(x)
    agree(compliance, design, c, dc[places], 1e-6)  # the reference's CG stops at 1e-7


@pytest.mark.parallel
def test_the_mbb_beam_at_a_random_design() -> None:
    design, compliance = half_mbb(24, 8, 2.4)
    x = np.random.default_rng(2).uniform(0.1, 1, design.size)
    places = grid_places(design.domain, 1.0)
    on_grid = np.empty_like(x)
    on_grid[places] = x
    filtered = reference.helmholtz((24, 8), 1.0, 2.4**2 * 3 / 40)
    c, dc = reference.half_mbb((24, 8), filtered, 0.5).compliance(on_grid)
    design.update(x)
    agree(compliance, design, c, dc[places], 1e-9)


def test_the_mbb_beam_optimised() -> None:
    """Within 1 % of nlopt's MMA on plain vectors with the same filter, at equal iterations."""
    design, compliance = half_mbb(30, 10, 1.8)
    volume = Functional(design.physical * design.domain.dx) / design.domain.volume
    result = minimize(
        compliance,
        over=design,
        subject_to=[volume <= 0.5],
        sharpen=[0],
        iterations=60,
        tolerance=0,
        watch=(),
    )
    filtered = reference.helmholtz((30, 10), 1.0, 1.8**2 * 3 / 40)
    problem = reference.half_mbb((30, 10), filtered, 0.5)
    best, _ = reference.mma(problem, 60)
    assert result.objective == pytest.approx(problem.compliance(best)[0], rel=0.01)


@pytest.mark.parallel
def test_brinkman_flow_at_a_random_design() -> None:
    """Taylor–Hood on squares against Q2/Q1 by tensor products, the drag of Borrvall & Petersson."""
    n = 8

    def through(x: Array) -> Array:
        return np.stack([1 - (2 * x[1] - 1) ** 2, 0 * x[0]])

    domain = Domain.box((1, 1), (n, n))
    design = Density(domain, radius=None, start=0.5)
    α = brinkman(design.physical, drag=2.5e4, empty=2.5e-4, q=0.1)
    sides: dict[str, object] = {"xmin": through, "xmax": through, "ymin": 0, "ymax": 0}
    flow = stokes(domain, viscosity=1, velocity=sides, drag=α)
    u = flow.velocity
    power = Functional((inner(grad(u), grad(u)) + α * inner(u, u)) / 2 * domain.dx)

    x = np.random.default_rng(3).uniform(0, 1, design.size)
    places = grid_places(domain, 1 / n)
    ρ = np.empty_like(x)
    ρ[places] = x
    ε = 1 - ρ
    drag = 2.5e4 - (2.5e4 - 2.5e-4) * ε * 1.1 / (ε + 0.1)
    slope = (2.5e4 - 2.5e-4) * 1.1 * 0.1 / (ε + 0.1) ** 2
    value, by_drag = dissipation((n, n), 1 / n, drag.reshape(n, n), through)
    design.update(x)
    agree(power, design, value, (by_drag.ravel() * slope)[places], 1e-8)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_filters_have_one_second_moment(axis: int) -> None:
    """Helmholtz's with r² = 3R²/40 and the cone of radius R, 1 % for R of ten cells."""
    cells, R = (121, 121), 10.0
    pulse = np.zeros(cells)
    pulse[60, 60] = 1
    ours = reference.helmholtz(cells, 1.0, R**2 * 3 / 40)(pulse.ravel()).reshape(cells)
    cone = (reference.cone(cells, R) @ pulse.ravel()).reshape(cells)
    assert reference.second_moment(ours, 1.0, axis) == pytest.approx(
        reference.second_moment(cone, 1.0, axis), rel=0.01
    )
