"""Optimality criteria: a known optimum, and the programs that are refused by both such methods."""

import numpy as np
import pytest
from fakes import FakeDensity, FakeFunctional, FakeReduced, distance, linear

from toolkit.errors import InputError
from toolkit.optimize import minimize

N = 200
C = np.linspace(0.5, 1.5, N)


@pytest.fixture(autouse=True)
def numpy_only(monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)


def reciprocal(design):
    return FakeFunctional(design, lambda x: np.sum(C / x), lambda x: -C / x**2, name="compliance")


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("optimizer", ["oc", "simpl"])
@pytest.mark.parametrize("start", [0.25, 0.5, 0.9])
def test_sum_of_reciprocals(optimizer, start):
    """Σ c/x under mean x ≤ b, from feasible and infeasible starts: x = b √c / mean √c."""
    design = FakeDensity(N * [start], 1e-3, 1)
    result = minimize(
        reciprocal(design),
        over=design,
        subject_to=linear(design, 1 / N, "volume") <= 0.5,
        optimizer=optimizer,
        tolerance=1e-9,
        iterations=200,
        watch=(),
    )
    exact = 0.5 * np.sqrt(C) / np.mean(np.sqrt(C))
    np.testing.assert_allclose(result.design, exact, rtol=1e-3)
    assert result.objective == pytest.approx(np.sum(C / exact), rel=1e-5)
    assert result.feasible and result.reason == "converged"


@pytest.mark.parametrize("optimizer", ["oc", "simpl", "mma-distributed"])
def test_passive_cells_are_left_alone(optimizer):
    design = FakeDensity(N * [0.4], 1e-3, 1, passive=(0, 7))
    result = minimize(
        reciprocal(design),
        over=design,
        subject_to=linear(design, 1 / N, "volume") <= 0.5,
        optimizer=optimizer,
        watch=(),
    )
    assert result.design[0] == result.design[7] == 0.4
    assert result.design.mean() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["oc", "mma-distributed"])
def test_no_step_is_longer_than_the_move_limit(optimizer):
    design = FakeDensity(N * [0.5], 1e-3, 1)
    result = minimize(
        reciprocal(design),
        over=design,
        subject_to=linear(design, 1 / N, "volume") <= 0.5,
        optimizer=optimizer,
        move=0.02,
        watch=(),
    )
    assert result.history.change.max() <= 0.02 * (1 + 1e-9)


@pytest.mark.parametrize("optimizer", ["oc", "simpl"])
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (lambda d: [], "there are 0"),
        (lambda d: [linear(d, 1, "mass") <= 150, linear(d, 2, "cost") <= 300], "there are 2"),
        (lambda d: linear(d, 1, "mass") >= 20, "mass >= 20 is not"),
        (lambda d: distance(d, N * [-1.0], "work", ("u",)) <= 1e4, "work <= 10000 is not"),
        (lambda d: linear(d, np.linspace(-1, 1, N), "tilt") <= 1, "tilt <= 1 does not grow"),
        (lambda d: distance(d, N * [-1.0], "gap") <= 1e4, "gap <= 10000 does not grow"),
    ],
)
def test_other_programs_are_refused_before_anything_is_solved(optimizer, bounds, message):
    design = FakeDensity(N * [0.5], 1e-3, 1)
    J = reciprocal(design)
    with pytest.raises(InputError, match=message):
        minimize(J, over=design, subject_to=bounds(design), optimizer=optimizer, watch=())
    assert J.calls == 0


@pytest.mark.parametrize("move", [0, -0.1, 1.5, np.nan])
def test_a_move_limit_is_a_share_of_the_range(move):
    design = FakeDensity(N * [0.5], 1e-3, 1)
    with pytest.raises(InputError, match="0 < move <= 1"):
        minimize(reciprocal(design), over=design, move=move)
