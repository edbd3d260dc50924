"""The flow preconditioner: same answer as a factorisation, flat in drag and mesh size."""

import sys

import numpy as np
import pytest
import ufl
from dolfinx import mesh

from toolkit import Density, Domain, Functional, brinkman, stokes, taylor_test


@pytest.fixture(autouse=True)
def always_iterative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["toolkit.stokes"], "DIRECT_DOFS", {2: 0, 3: 0})


def obstacle(n: int, shape: str, *, drag: float, pair: str = "stabilised", outlet: bool = True):
    """A channel with a sphere and a baffle of high drag; returns density, flow, dissipation."""
    domain = Domain.box((2, 1, 1), (2 * n, n, n), shape=shape)
    design = Density(domain, radius=None, start=0.5)
    x = mesh.compute_midpoints(domain.mesh, 3, np.arange(len(domain.cells), dtype=np.int32))
    sphere = ((x - [0.7, 0.5, 0.5]) ** 2).sum(axis=1) < 0.3**2
    baffle = (np.abs(x[:, 0] - 1.4) < 0.15) & (x[:, 1] < 0.5)
    design.update(domain.gather_cells((sphere | baffle).astype(float)))
    α = brinkman(design.physical, drag=drag)

    def inflow(x):
        return np.stack([16 * x[1] * (1 - x[1]) * x[2] * (1 - x[2]), 0 * x[0], 0 * x[0]])

    walls = dict.fromkeys(("ymin", "ymax", "zmin", "zmax"), 0)
    ends = {"xmin": inflow} if outlet else {"xmin": inflow, "xmax": inflow}
    flow = stokes(
        domain,
        viscosity=1.0,
        velocity=walls | ends,
        pressure={"xmax": 0} if outlet else None,
        drag=α,
        pair=pair,
    )
    v = flow.velocity
    power = Functional((ufl.inner(ufl.grad(v), ufl.grad(v)) + α * ufl.inner(v, v)) / 2 * domain.dx)
    return design, flow, power


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("outlet", [True, False], ids=["open", "enclosed"])
def test_agrees_with_factorisation(monkeypatch: pytest.MonkeyPatch, outlet: bool) -> None:
    _, flow, power = obstacle(5, "tetrahedron", drag=1e4, outlet=outlet)
    flow.operator.solver.rtol = 1e-11
    iterative = power.value
    monkeypatch.setattr(sys.modules["toolkit.stokes"], "DIRECT_DOFS", {2: 10**9, 3: 10**9})
    _, other, power = obstacle(5, "tetrahedron", drag=1e4, outlet=outlet)
    assert other.operator.solver.direct and not flow.operator.solver.direct
    assert iterative == pytest.approx(power.value, rel=1e-8)


@pytest.mark.parallel
def test_iterations_are_flat_in_drag_and_size() -> None:
    counts = []
    for n, drag in ((6, 1e0), (6, 1e3), (6, 1e9), (12, 1e6)):
        _, flow, _ = obstacle(n, "hexahedron", drag=drag)
        flow.solve()
        counts += flow.operator.solver.iterations
    assert max(counts) <= 30
    assert max(counts) <= 2 * min(counts)


@pytest.mark.parallel
@pytest.mark.parametrize("pair", ["stabilised", "taylor-hood"])
def test_gradient_is_exact(pair: str) -> None:
    design, _, power = obstacle(3, "tetrahedron", drag=1e3, pair=pair)
    assert taylor_test(power, over=design) == pytest.approx(2, abs=0.05)
