"""Fronts that are known in closed form, found with functionals of numpy alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeDensity, FakeFunctional, FakeReduced, FakeState, distance, linear

from toolkit.errors import InputError
from toolkit.pareto import _knee, _Search, pareto

A, B = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0, 0.0])


@pytest.fixture(autouse=True)
def numpy_only(monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)


def spheres(**options):
    """|x − a|² against |x − b|²: the segment from a to b, √f + √g = |a − b|."""
    design = FakeDensity([0.5, 0.5, 0.3, 0.2], -1, 2)
    f, g = distance(design, A, "f"), distance(design, B, "g")
    return pareto(f, g, over=design, watch=(), tolerance=1e-8, **options)


def gaps(front):
    kept = np.array([p.values for p in front.points if not p.dominated])
    kept = kept[np.argsort(kept[:, 0])]
    return np.abs(np.diff(kept, axis=0)).max() / np.ptp(kept, axis=0).max()


@pytest.mark.parallel
@pytest.mark.parametrize("method", ["epsilon", "tchebycheff"])
def test_convex_front(method):
    front = spheres(method=method)
    assert len(front.points) == 9 and not any(point.dominated for point in front.points)
    np.testing.assert_allclose(np.sqrt(front.values.clip(0)).sum(axis=1), np.sqrt(2), rtol=5e-3)
    for point in front.points:
        x = point.result.design
        np.testing.assert_allclose(x[0] + x[1], 1, atol=5e-3)
        np.testing.assert_allclose(x[2:], 0, atol=2e-2)
    assert gaps(front) <= (0.25 if method == "epsilon" else 0.3)
    assert front.objectives == ("f", "g")


def test_hypervolume_is_that_of_the_steps_and_below_that_of_the_front():
    front = spheres(points=13)
    v, r = front.values[np.argsort(front.values[:, 0])], front.reference
    steps = np.sum((r[0] - v[:, 0]) * np.diff(-v[:, 1], prepend=-r[1]))
    assert front.hypervolume == pytest.approx(steps, rel=1e-12)
    # Below the curve g = (√2 − √f)², 0 ≤ f ≤ 2, lies 2/3; the reference is (2.2, 2.2).
    np.testing.assert_allclose(r, 2.2, rtol=1e-3)
    whole = 2.2**2 - 2 / 3
    assert 0.93 * whole < front.hypervolume < whole


def test_knee_of_a_symmetric_front_is_its_middle():
    front = spheres(points=9, method="tchebycheff")
    np.testing.assert_allclose(front.values[front.knee], 0.5, atol=0.12)
    np.testing.assert_allclose(front.over.vector, front.points[front.knee].result.design)


def concave(**options):
    """Fonseca & Fleming: x = t (1, …, 1)/√n, f = 1 − exp(−(t − 1)²), g = 1 − exp(−(t + 1)²)."""
    design, c = FakeDensity([0.1, -0.2, 0.2], -2, 2), 1 / np.sqrt(3)

    def bump(sign, name):
        def e(x):
            return np.exp(-np.sum((x - sign * c) ** 2))

        return FakeFunctional(
            design, lambda x: 1 - e(x), lambda x: 2 * e(x) * (x - sign * c), name=name
        )

    return pareto(bump(1, "f"), bump(-1, "g"), over=design, watch=(), tolerance=1e-8, **options)


@pytest.mark.parametrize("method", ["epsilon", "tchebycheff"])
def test_concave_front(method):
    front = concave(method=method, iterations=40)
    f, g = front.values[:, 0], front.values[:, 1]
    t = 1 - np.sqrt(-np.log1p(-f))
    np.testing.assert_allclose(g, 1 - np.exp(-((t + 1) ** 2)), atol=5e-3)
    inside = np.abs(t) < 0.9
    assert inside.sum() == 7, "a weighted sum would find the ends alone"
    assert gaps(front) <= (0.25 if method == "epsilon" else 0.3) and not any(
        point.dominated for point in front.points
    )


def stiff_against_open(design, power=1.0):
    """Compliance Σ 1/x against minus the permeance Σ (1 − x): nothing at all is the most open."""
    compliance = FakeFunctional(
        design, lambda x: np.sum(1 / x), lambda x: -1 / x**2, name="compliance"
    )
    permeance = FakeFunctional(
        design, lambda x: np.sum(1 - x), lambda x: -np.ones(len(x)), name="permeance"
    )
    return compliance, -permeance


def test_degenerate_end_asks_for_a_limit():
    design = FakeDensity(4 * [0.5], 1e-6, 1)
    with pytest.raises(InputError, match=r"compliance goes from 8 .*limits=\{compliance: 80\}"):
        pareto(*stiff_against_open(design), over=design, watch=(), iterations=100)


def test_limit_bounds_the_end():
    design = FakeDensity(4 * [0.5], 1e-6, 1)
    compliance, closed = stiff_against_open(design)
    front = pareto(
        compliance, closed, over=design, limits={compliance: 40.0}, watch=(), iterations=30
    )
    ends = front.values[:2]
    np.testing.assert_allclose(ends, [[4, 0], [40, -3.6]], rtol=2e-3, atol=2e-3)
    # All x are equal on the front: compliance 4/x, permeance 4 (1 − x).
    c, p = front.values.T
    np.testing.assert_allclose(-p, 4 - 16 / c, rtol=5e-3, atol=5e-3)
    assert gaps(front) <= 0.26


def test_limit_on_something_else_lists_the_objectives():
    design = FakeDensity(4 * [0.5], 1e-6, 1)
    compliance, closed = stiff_against_open(design)
    with pytest.raises(InputError, match=r"'volume'.*compliance, -permeance"):
        pareto(compliance, closed, over=design, limits={linear(design, 1, "volume"): 1.0})


def test_constraints_hold_at_every_point():
    design = FakeDensity(4 * [0.5], 0.01, 1)
    compliance, closed = stiff_against_open(design)
    volume = linear(design, 0.25, "volume")
    front = pareto(
        compliance,
        closed,
        over=design,
        subject_to=volume <= 0.6,
        limits={compliance: 40.0},
        points=5,
        watch=(),
        iterations=30,
    )
    assert all(point.result.constraints["volume <= 0.6"] <= 0.6 + 1e-6 for point in front.points)
    assert front.values[:, 0].min() == pytest.approx(4 / 0.6, rel=1e-3)


def test_infeasible_constraints_are_told():
    design = FakeDensity(4 * [0.5], 0.01, 1)
    compliance, closed = stiff_against_open(design)
    stiff = FakeFunctional(
        design, compliance.function, compliance.slope, name="stiff", states=(FakeState(),)
    )
    with pytest.raises(InputError, match=r"no end of least compliance.*stiff <= 3"):
        pareto(compliance, closed, over=design, subject_to=stiff <= 3, watch=())


def test_objectives_without_conflict_give_one_design():
    design = FakeDensity([0.5, 0.5, 0.3, 0.2], -1, 2)
    f = distance(design, A, "f")
    g = FakeFunctional(design, lambda x: 2 * f.function(x), lambda x: 2 * f.slope(x), name="g")
    front = pareto(f, g, over=design, watch=(), tolerance=0.0, iterations=60)
    np.testing.assert_allclose(front.values[front.knee], 0, atol=1e-6)


def test_three_objectives():
    corners = np.eye(3)
    design = FakeDensity([0.4, 0.3, 0.1], -1, 2)
    objectives = [
        distance(design, corner, name) for corner, name in zip(corners, "fgh", strict=True)
    ]
    front = pareto(
        *objectives,
        over=design,
        points=10,
        watch=(),
        method="tchebycheff",
        tolerance=1e-8,
        iterations=40,
    )
    designs = np.array([point.result.design for point in front.points])
    # The efficient designs are the triangle between the corners.
    np.testing.assert_allclose(designs.sum(axis=1), 1, atol=1e-2)
    assert designs.min() > -1e-2
    assert sum(not point.dominated for point in front.points) >= 9
    np.testing.assert_allclose(designs[front.knee], 1 / 3, atol=0.15)
    np.testing.assert_allclose(front.values[:3], 2 - 2 * corners, atol=1e-3)


def test_three_objectives_by_bounds():
    design = FakeDensity([0.4, 0.3, 0.1], -1, 2)
    f, g, h = (distance(design, c, n) for c, n in zip(np.eye(3), "fgh", strict=True))
    front = pareto(f, g, h, over=design, points=8, watch=(), iterations=40)
    for point in front.points:
        if point.result.feasible and not point.dominated:
            assert point.result.design.sum() == pytest.approx(1, abs=2e-2)
    assert sum(not point.dominated for point in front.points) >= 6


def test_dominated_and_infeasible_points_are_marked():
    design = FakeDensity([0.5])
    f, g = distance(design, [0.0], "f"), distance(design, [1.0], "g")
    search = _Search(
        objectives=(f, g),
        over=design,
        constraints=(),
        limits=[np.inf, np.inf],
        total=4,
        tolerance=1e-4,
        solver=lambda: None,
        iterations=1,
    )
    values = [[0, 4], [4, 0], [2, 2], [3, 3], [2, 2], [0, 0]]
    search.values = [np.array(v, dtype=float) for v in values]
    feasible = [True, True, True, True, True, False]
    search.results = [SimpleNamespace(feasible=ok) for ok in feasible]
    assert search.dominated().tolist() == [False, False, False, True, True, True]


def test_knee_is_furthest_from_the_chord():
    values = np.array([[0, 10], [1, 4], [3, 3], [10, 0], [0.5, 0.5]])
    dominated = np.array([False, False, False, False, True])
    assert _knee(values, dominated, np.zeros(2), np.full(2, 10.0)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "weights"}, "epsilon, tchebycheff"),
        ({"points": 1}, "points >= 2"),
        ({"optimizer": "adam"}, "mma, ccsa, slsqp"),
        ({"iterations": 0}, "iterations >= 1"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(InputError, match=message):
        spheres(**options)


def test_four_objectives_or_the_same_twice():
    design = FakeDensity([0.5, 0.5])
    f = distance(design, [0, 0], "f")
    with pytest.raises(InputError, match="not 4"):
        pareto(f, f, f, f, over=design)
    with pytest.raises(InputError, match="twice"):
        pareto(f, f, over=design)


def test_table_and_takeover(monkeypatch):
    front = spheres(points=4)
    lines = front.table().splitlines()
    assert len(lines) == 6 and "least f" in lines[1] and "knee" in front.table()
    told = []
    monkeypatch.setattr("toolkit.optimize.takeover", lambda *a: told.append(a))
    with pytest.raises(SystemExit):
        spheres()
    assert [f.name for f in told[0][0]] == ["f", "g"]


def test_against_other_designs():
    front = spheres()
    knee = front.over.vector.copy()
    middle = np.array([0.5, 0.5, 0.0, 0.0])
    beside = front.against([0.0, middle])
    # x = 0 has f = g = 1, the middle f = g = 1/2; the reference is (2.2, 2.2).
    np.testing.assert_allclose(beside.baseline, [[1, 1], [0.5, 0.5]], atol=1e-12)
    width = front.reference - 0.5
    assert beside.gain == pytest.approx(front.hypervolume / width.prod(), rel=1e-12)
    assert beside.gain > 1 and f"{beside.gain:.3g} times" in beside.table()
    np.testing.assert_array_equal(front.over.vector, knee)
    with pytest.raises(InputError, match=r"outside the bounds.*-3"):
        front.against([-3.0])
    with pytest.raises(InputError, match="against"):
        _ = front.gain
