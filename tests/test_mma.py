"""The method of moving asymptotes on slices: against a dense MMA, mmapy, and itself resumed."""

from dataclasses import asdict

import numpy as np
import pytest
from fakes import FakeDensity, FakeFunctional, FakeReduced, distance, linear
from mpi4py import MPI
from scipy.optimize import brentq
from test_reference import half_mbb

from toolkit import Cell, Density, Domain, Functional, minimize, pareto, simp, stiffness
from toolkit.adjoint import Reduced
from toolkit.asymptotes import Asymptotes
from toolkit.evaluator import Evaluator
from toolkit.moduli import bulk
from toolkit.separable import Elastic, Separable
from toolkit.share import Share

N, STEPS, MOVE, RAA = 30, 12, 0.5, 1e-5
LOWER, UPPER = np.full(N, 0.1), np.linspace(1, 3, N)
TARGET = np.linspace(-1, 2, N)
C = np.linspace(0.5, 1.5, N)
ELASTIC = Elastic(1.0, np.zeros(2), np.full(2, 1000.0), np.ones(2))


def functions(x):
    """Rows and slopes of a convex objective and two constraints, one of them nonlinear."""
    rows = [np.sum((x - TARGET) ** 2 + C / x), np.mean(x) - 0.7, np.mean(C / x) - 2.2]
    slopes = [2 * (x - TARGET) - C / x**2, np.full(N, 1 / N), -C / x**2 / N]
    return np.array(rows), np.array(slopes)


def model_of(design, share, state):
    rows, slopes = functions(whole_of(design, share, state.last))
    slopes = local_of(design, share, slopes)
    box = state.box(share.lower, share.upper, share.span, MOVE)
    ends = (state.low, state.upp)
    return Separable.of(share, state.last, ends, box, rows, slopes, np.full(3, RAA))


def local_of(design, share, whole):
    """The free variables of this rank."""
    return share.take(design.slices.take(whole))


def whole_of(design, share, local):
    """All variables, from the free ones of each rank."""
    return design.slices.gather(share.put(local, design.slices.take(design.start)))


def trajectory(state=None, steps=STEPS):
    """Designs of plain MMA, and what it remembers at the end."""
    design = FakeDensity(0.5 * (LOWER + UPPER), LOWER, UPPER)
    share, found = Share(design), []
    state = state or Asymptotes.about(local_of(design, share, design.start), share.span)
    for _ in range(steps):
        x = model_of(design, share, state).solve(ELASTIC).x
        state = state.follow(x, share.span)
        found.append(whole_of(design, share, x))
    return np.array(found), state


def dense(steps=STEPS):
    """MMA on whole vectors, its subproblems solved by bisection of the dual, exactly."""
    x = older = oldest = 0.5 * (LOWER + UPPER)
    low, upp, found = x, x, []
    for k in range(steps):
        rows, slopes = functions(x)
        for j, range_ in enumerate(UPPER - LOWER):
            down = up = 0.5 * range_
            if k >= 2:
                turn = (x[j] - older[j]) * (older[j] - oldest[j])
                factor = 1.0 if turn == 0 else (1.2 if turn > 0 else 0.7)
                down = min(max(factor * (older[j] - low[j]), 0.01 * range_), 10 * range_)
                up = min(max(factor * (upp[j] - older[j]), 0.01 * range_), 10 * range_)
            low, upp = low.copy(), upp.copy()
            low[j], upp[j] = x[j] - down, x[j] + up
        step = MOVE * (UPPER - LOWER)
        α = np.max([LOWER, x - step, low + 0.1 * (x - low)], axis=0)
        β = np.min([UPPER, x + step, upp - 0.1 * (upp - x)], axis=0)
        damp = 0.001 * np.abs(slopes) + RAA / (UPPER - LOWER)
        p = (np.clip(slopes, 0, None) + damp) * (upp - x) ** 2
        q = (np.clip(-slopes, 0, None) + damp) * (x - low) ** 2
        r = rows - np.sum(p / (upp - x) + q / (x - low), axis=1)
        oldest, older, x = older, x, exact(p, q, r, low, upp, α, β)
        found.append(x)
    return np.array(found)


def exact(p, q, r, low, upp, α, β):
    """The minimiser under two constraints."""

    def at(λ):
        P, Q = (np.sqrt(v[0] + λ @ v[1:]) for v in (p, q))
        return np.clip((P * low + Q * upp) / (P + Q), α, β)

    def held(i, λ):
        x = at(λ)
        return r[i] + np.sum(p[i] / (upp - x) + q[i] / (x - low)) - max(0, λ[i - 1] - 1000)

    def root(function):
        high = 1e5
        if function(0.0) <= 0:
            return 0.0
        return brentq(function, 0.0, high, xtol=1e-15, rtol=1e-15, maxiter=500)

    def second(first):
        return root(lambda λ: held(2, np.array([first, λ])))

    first = root(lambda λ: held(1, np.array([λ, second(λ)])))
    return at(np.array([first, second(first)]))


@pytest.mark.parallel
@pytest.mark.short
def test_designs_are_those_of_a_dense_mma():
    found, _ = trajectory()
    np.testing.assert_allclose(found, dense(), atol=1e-8)


@pytest.mark.parallel
@pytest.mark.short
def test_designs_are_those_of_mmapy():
    mmapy = pytest.importorskip("mmapy")
    x = older = oldest = low = upp = 0.5 * (LOWER + UPPER)[:, None]
    found, reference = trajectory()[0], []
    columns = [np.reshape(v, (-1, 1)) for v in (ELASTIC.a, ELASTIC.c, ELASTIC.d)]
    for k in range(STEPS):
        rows, slopes = functions(x[:, 0])
        answer = mmapy.mmasub(
            2, N, k + 1, x, LOWER[:, None], UPPER[:, None], older, oldest, rows[0],
            slopes[:1].T, rows[1:, None], slopes[1:], low, upp, 1.0, *columns, move=MOVE,
        )  # fmt: skip
        oldest, older, x, low, upp = older, x, answer[0], answer[9], answer[10]
        reference.append(x[:, 0])
    np.testing.assert_allclose(found, reference, atol=1e-9)


def subproblem(kind, comm=MPI.COMM_WORLD):
    """A design of 60 variables, a model of one of the KINDS and the weights of y and z."""
    n, m = 60, 10 if kind == "ten" else 3
    random = np.random.default_rng(4)
    decades = {"four decades": 4, "eight decades": 8}.get(kind, 1)
    slopes = random.choice([-1, 1], (1 + m, n)) * 10 ** random.uniform(-decades, 0, (1 + m, n))
    slopes[0] = -np.abs(slopes[0])
    rows = np.append(1, 0.02 * np.abs(slopes[1:]).sum(axis=1))
    x = random.uniform(0.2, 0.8, n)
    ends = x - random.uniform(0.1, 0.6, n), x + random.uniform(0.1, 0.6, n)
    a, affine = np.zeros(m), np.zeros(1 + m, dtype=bool)
    if kind == "infeasible":
        rows[1:] += 100
    elif kind == "twice the same":
        rows[2], slopes[2] = rows[1], slopes[1]
    elif kind == "a constant row":
        slopes[1] = 0
    elif kind == "a constant objective":
        slopes[0], affine[0] = 0, True
    elif kind == "unused variables":
        slopes[:, ::2] = 0
    elif kind == "affine":
        affine[1:] = True
    elif kind == "all affine":
        affine[:] = True
    elif kind == "slack":
        a[:2], affine[2] = 2, True
    design = FakeDensity(x, comm=comm)
    share = Share(design)
    x, slopes, *ends = (local_of(design, share, v) for v in (x, slopes, *ends))
    box = Asymptotes(*ends, x, x).box(share.lower, share.upper, share.span, 0.3)
    raa = 1e-3 * np.maximum(share.sum(np.abs(slopes).sum(axis=1)) / n, 1e-12)
    model = Separable.of(share, x, tuple(ends), box, rows, slopes, raa, affine)
    return design, model, Elastic(1.0, a, np.full(m, 1000.0), np.ones(m))


KINDS = (
    *("plain", "four decades", "eight decades", "infeasible", "ten", "twice the same"),
    *("a constant row", "a constant objective", "unused variables", "affine", "all affine"),
    "slack",
)


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("kind", KINDS)
def test_the_minimiser_is_that_of_its_lagrangian(kind):
    """By bisection, and no smaller value is possible: the Lagrangian's is the same."""
    _, model, (a0, a, c, d) = subproblem(kind)
    x, y, z, λ = model.solve(Elastic(a0, a, c, d))
    weight = np.append(1, λ)
    p, q, s = (weight @ v for v in (model.p, model.q, model.s))
    low, high = model.α.copy(), model.β.copy()
    for _ in range(60):
        middle = (low + high) / 2
        up = p / (model.U - middle) ** 2 - q / (middle - model.L) ** 2 + s > 0
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    found = model.values(x)
    bound = weight @ model.values(high) - np.sum(np.maximum(λ - c, 0) ** 2 / (2 * d))
    value = found[0] + a0 * z + c @ y + d @ y**2 / 2
    size = np.abs(weight) @ (np.abs(model.r) + np.abs(found))
    assert np.all(λ >= 0) and np.all(y >= 0) and z >= 0 and a @ λ <= a0 * (1 + 1e-12)
    np.testing.assert_allclose(x, high, atol=1e-9)
    assert np.all(found[1:] - a * z - y <= 1e-10 * size)
    assert abs(value - bound) <= 1e-10 * size
    assert (np.max(y) > 1) == (kind == "infeasible") and (z > 0) == (kind == "slack")


@pytest.mark.parallel
@pytest.mark.short
def test_the_minimiser_is_the_same_on_one_rank():
    """But for round-off, with slopes that differ by eight decades."""
    found = []
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        design, model, elastic = subproblem("eight decades", comm)
        x, _, _, multipliers = model.solve(elastic)
        found.append(np.append(whole_of(design, model.share, x), multipliers))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-13)


@pytest.mark.parallel
def test_an_affine_row_is_its_own_approximation():
    """Such as the second one here; the step then uses all of it."""
    design = FakeDensity(0.5 * (LOWER + UPPER), LOWER, UPPER)
    share = Share(design)
    state = Asymptotes.about(local_of(design, share, design.start), share.span)
    rows, slopes = functions(design.start)
    box = state.box(share.lower, share.upper, share.span, 1.0)
    foreseen = []
    for affine in (None, np.array([False, True, False])):
        model = Separable.of(
            share, state.last, (state.low, state.upp), box, rows,
            local_of(design, share, slopes), np.full(3, RAA), affine,
        )  # fmt: skip
        x = model.solve(ELASTIC).x
        foreseen.append((model.values(x)[1], functions(whole_of(design, share, x))[0][1]))
    (bent, true), (straight, same) = foreseen
    assert true < bent - 1e-3
    assert same == pytest.approx(straight, abs=1e-12)


@pytest.mark.parallel
def test_what_is_affine_is_found_out():
    """Of a volume, its square, and one after projection."""
    domain = Domain.box((1, 1), (6, 6))
    design = Density(domain, radius=0.3, start=0.5)
    volume = Functional(design.physical * domain.dx)
    reduced = [Reduced(J, over=design) for J in (volume, volume**2, 3 * volume - 1)]
    evaluator = Evaluator(reduced, design)
    assert evaluator.affine().tolist() == [True, False, True]
    np.testing.assert_array_equal(design.vector, design.start)
    design.sharpen(2)
    assert not evaluator.affine().any()


def test_a_saddle_is_not_the_end():
    """A uniform grey cell is stationary in its bulk modulus; the search comes close and leaves."""
    n = 20
    cell = Cell.box((1, 1), (n, n))
    x = (np.arange(n) + 0.5) / n
    hole = np.hypot(*np.meshgrid(x - 0.5, x - 0.5)) < 0.25
    start = np.where(hole, 0.25, (0.5 - 0.25 * hole.mean()) / (1 - hole.mean()))
    design = Density(cell, radius=2 / n, start=start.ravel(), symmetry="orthotropic")
    C = stiffness(cell, modulus=simp(design.physical, full=1, empty=1e-4), poisson=0.3)
    J = C.map(bulk, name="bulk modulus")
    volume = Functional(design.physical * cell.dx) / cell.volume
    result = minimize(
        -J,
        over=design,
        subject_to=volume <= 0.5,
        iterations=60,
        optimizer="mma-distributed",
        watch=(),
    )
    design.update(np.full(design.size, 0.5))
    found, saddle = -result.history.objective, float(J)
    near = np.flatnonzero(np.abs(found / saddle - 1) < 1e-3)
    assert len(near) >= 3  # it was there
    assert found[-1] > 1.02 * saddle


@pytest.mark.parallel
def test_a_saved_state_goes_on_as_if_nothing_had_been():
    whole, _ = trajectory()
    first, state = trajectory(steps=5)
    again, _ = trajectory(Asymptotes(**asdict(state)), steps=STEPS - 5)
    np.testing.assert_array_equal(np.concatenate([first, again]), whole)


@pytest.mark.parallel
@pytest.mark.short
def test_a_rank_may_hold_nothing():
    """Fewer variables than ranks."""
    design = FakeDensity([0.9], 0.1, 1)
    share = Share(design)
    assert share.size == 1 and share.comm.allreduce(len(share.lower)) == 1
    state = Asymptotes.about(local_of(design, share, design.start), share.span)
    box = state.box(share.lower, share.upper, share.span, 1.0)
    slopes = local_of(design, share, np.array([[1.0]]))
    model = Separable.of(
        share, state.last, (state.low, state.upp), box, np.ones(1), slopes, np.full(1, RAA)
    )
    x = model.solve(Elastic(1.0, *(np.zeros(0) for _ in range(3)))).x
    whole = whole_of(design, share, x)
    assert 0.1 <= whole[0] < 0.9
    assert model.values(x)[0] < 1


def test_many_variables_cost_few_iterations(monkeypatch):
    """Σ c/x under mean x ≤ b from an infeasible start: x = b √c / mean √c."""
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    c = np.linspace(0.5, 1.5, 20000)
    design = FakeDensity(20000 * [0.9], 1e-3, 1)
    J = FakeFunctional(design, lambda x: np.sum(c / x), lambda x: -c / x**2, name="compliance")
    result = minimize(
        J,
        over=design,
        subject_to=linear(design, 1 / 20000, "volume") <= 0.5,
        optimizer="mma-distributed",
        tolerance=1e-7,
        watch=(),
    )
    exact = 0.5 * np.sqrt(c) / np.mean(np.sqrt(c))
    assert result.objective == pytest.approx(np.sum(c / exact), rel=1e-4)
    assert result.feasible and result.iterations <= 40


@pytest.mark.parallel
@pytest.mark.short
def test_a_steep_projection_does_not_oscillate():
    """Half an MBB beam, β from 1 to 32: once feasible, each design is better than the last."""
    design, compliance = half_mbb(60, 20, 2.4)
    volume = Functional(design.physical * design.domain.dx) / design.domain.volume
    result = minimize(
        compliance,
        over=design,
        subject_to=volume <= 0.5,
        sharpen=(1, 4, 16, 32),
        iterations=40,
        optimizer="mma-distributed",
        watch=(),
    )
    history = result.history
    for β in (1, 4, 16, 32):
        J, off = history.objective[history.beta == β], history.infeasibility[history.beta == β]
        feasible = off <= 1e-6
        first = int(np.argmax(feasible))
        assert feasible[first:].all() and np.all(np.diff(J[first:]) <= 1e-9 * J[0])
    assert result.feasible and result.objective < 195
    assert history.greyness[-1] < 1e-3
    assert result.evaluations <= 1.2 * result.iterations


@pytest.mark.parallel
def test_symmetric_designs_have_one_owner_a_variable():
    domain = Domain.box((1, 1), (6, 6))
    design = Density(domain, radius=None, start=0.5, symmetry="orthotropic")
    held = np.concatenate(domain.comm.allgather(design.owned))
    np.testing.assert_array_equal(np.sort(held), np.arange(design.size))


@pytest.mark.parallel
@pytest.mark.parametrize("method", ["epsilon", "tchebycheff"])
def test_a_front_with_slack_variables(monkeypatch, method):
    """|x − a|² against |x − b|²: the segment from a to b, √f + √g = |a − b|."""
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    design = FakeDensity([0.5, 0.5, 0.3, 0.2], -1, 2)
    f, g = distance(design, [1, 0, 0, 0], "f"), distance(design, [0, 1, 0, 0], "g")
    options = {"optimizer": "mma-distributed", "watch": (), "tolerance": 1e-8}
    front = pareto(f, g, over=design, method=method, **options)
    np.testing.assert_allclose(np.sqrt(front.values.clip(0)).sum(axis=1), np.sqrt(2), rtol=5e-3)
