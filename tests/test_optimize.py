"""Problems with known optima, the ways in which a run may end, and ranks that must agree."""

import gc
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeDensity, FakeFunctional, FakeReduced, FakeState, distance, linear
from mpi4py import MPI

from toolkit.errors import EvaluationError, InputError, SolverError
from toolkit.optimize import minimize
from toolkit.progress import progress

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def numpy_only(monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)


def beam(start, **options):
    """Svanberg's cantilever of five boxes (1987, section 5.1): weight under a deflection bound.

    With weight w Σx and deflection Σ c/x³ = 1, Lagrange gives x = (3 c λ/w)^¼, in closed form.
    """
    w, c = 0.0624, np.array([61.0, 37, 19, 7, 1])
    design = FakeDensity(5 * [start], 0.1, 10)
    weight = linear(design, w, "weight")
    deflection = FakeFunctional(
        design, lambda x: np.sum(c / x**3), lambda x: -3 * c / x**4, name="deflection"
    )
    exact = c**0.25 * np.sum(c**0.25) ** (1 / 3)
    options = {"watch": (), "tolerance": 1e-9, "iterations": 100} | options
    return minimize(weight, over=design, subject_to=deflection <= 1, **options), exact, w


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("optimizer", ["mma", "ccsa", "slsqp", "mma-distributed"])
@pytest.mark.parametrize("start", [2.0, 5.0, 9.0])
def test_cantilever_of_svanberg(optimizer, start):
    result, exact, w = beam(start, optimizer=optimizer)
    assert result.objective == pytest.approx(w * exact.sum(), rel=1e-5)
    assert result.objective == pytest.approx(1.340, abs=1e-3)  # as published
    np.testing.assert_allclose(result.design, exact, rtol=5e-3)
    assert result.reason == "converged" and result.feasible
    assert result.constraints["deflection <= 1"] <= 1 + 2e-5


@pytest.mark.parametrize("optimizer", ["mma", "ccsa", "slsqp", "mma-distributed"])
def test_truss_of_svanberg(optimizer):
    """Two bars (1987, section 5.2): weight x₁ √(1 + x₂²) under two stress bounds, 1.51 published.

    With the first bound active the optimum is where 16 x₂³ + x₂² = 1.
    """
    design = FakeDensity([1.5, 0.5], [0.2, 0.1], [4.0, 1.6])

    def stress(sign):
        def value(x):
            return 0.124 * np.hypot(1, x[1]) * (8 / x[0] + sign / (x[0] * x[1]))

        def gradient(x):
            h, bracket = np.hypot(1, x[1]), 8 / x[0] + sign / (x[0] * x[1])
            return [
                -value(x) / x[0],
                0.124 * (x[1] / h * bracket - h * sign / (x[0] * x[1] ** 2)),
            ]

        return FakeFunctional(design, value, gradient, name=f"stress {sign:+d}")

    weight = FakeFunctional(
        design,
        lambda x: x[0] * np.hypot(1, x[1]),
        lambda x: [np.hypot(1, x[1]), x[0] * x[1] / np.hypot(1, x[1])],
        name="weight",
    )
    result = minimize(
        weight,
        over=design,
        subject_to=[stress(1) <= 1, stress(-1) <= 1],
        optimizer=optimizer,
        tolerance=1e-9,
        watch=(),
    )
    x2 = np.roots([16, 1, 0, -1]).real.max()
    assert result.objective == pytest.approx(0.124 * (1 + x2**2) * (8 + 1 / x2), rel=1e-5)
    np.testing.assert_allclose(result.design, [1.41, 0.38], atol=6e-3)


TARGET = np.linspace(0.1, 0.9, 20)


@pytest.mark.parametrize("optimizer", ["mma", "ccsa", "slsqp", "mma-distributed"])
@pytest.mark.parametrize("start", [0.05, 0.6])
def test_quadratic_with_linear_constraint(optimizer, start):
    """|x − a|² under mean x ≤ b: the projection x = a − (mean a − b), start feasible or not."""
    design = FakeDensity(20 * [start], -1, 2)
    result = minimize(
        distance(design, TARGET, "J"),
        over=design,
        subject_to=linear(design, 1 / 20, "mean") <= 0.3,
        optimizer=optimizer,
        tolerance=1e-9,
        iterations=200,
        watch=(),
    )
    np.testing.assert_allclose(result.design, TARGET - 0.2, atol=2e-3)
    assert result.objective == pytest.approx(20 * 0.2**2, rel=1e-5)


def test_objective_of_zero_at_the_start():
    """|x − x₀|² from x₀ under mean x ≥ b: x = x₀ + b − mean x₀; value and gradient start at 0."""
    design = FakeDensity(TARGET, -1, 2)
    result = minimize(
        distance(design, TARGET, "J"),
        over=design,
        subject_to=linear(design, 1 / 20, "mean") >= 0.7,
        tolerance=1e-9,
        iterations=200,
        watch=(),
    )
    np.testing.assert_allclose(result.design, TARGET + 0.2, atol=2e-3)


def test_start_at_the_optimum_converges_there():
    design = FakeDensity(TARGET)
    result = minimize(distance(design, TARGET, "J"), over=design, watch=())
    assert result.reason == "converged" and result.objective == 0.0 and result.iterations == 0
    np.testing.assert_array_equal(result.design, TARGET)


def reciprocal(design, c):
    return FakeFunctional(design, lambda x: np.sum(c / x), lambda x: -c / x**2, name="compliance")


@pytest.mark.parametrize("start", [0.25, 0.5, 0.9])
def test_many_variables_from_feasible_and_infeasible_starts(start):
    """Σ c/x under mean x ≤ b: x = b √c / mean √c, what compliance and volume are like."""
    c = np.linspace(0.5, 1.5, 2000)
    design = FakeDensity(2000 * [start], 1e-3, 1)
    result = minimize(
        reciprocal(design, c),
        over=design,
        subject_to=linear(design, 1 / 2000, "volume") <= 0.5,
        tolerance=1e-7,
        watch=(),
    )
    exact = 0.5 * np.sqrt(c) / np.mean(np.sqrt(c))
    assert result.objective == pytest.approx(np.sum(c / exact), rel=1e-4)
    assert result.feasible and result.history.infeasibility[-1] <= 1e-6
    assert result.iterations <= 40


def test_passive_cells_are_left_alone():
    design = FakeDensity([1.0, 0.5, 0.5, 0.0], passive=(0, 3))
    result = minimize(
        distance(design, [0, 0.2, 0.8, 1], "J"), over=design, tolerance=1e-9, watch=()
    )
    np.testing.assert_allclose(result.design, [1, 0.2, 0.8, 0], atol=1e-4)
    assert result.design[0] == 1.0 and result.design[3] == 0.0


@pytest.mark.parametrize("optimizer", ["mma", "ccsa"])
def test_iterations_are_accepted_points_and_gradients_are_asked_only_there(optimizer):
    design = FakeDensity([-1.0, 1.0], [-1.5, -0.5], 2.0)
    asked = []

    def gradient(x):
        asked.append(x.copy())
        a, b = x
        return [-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)]

    rosenbrock = FakeFunctional(
        design, lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, gradient, name="J"
    )
    seen = []
    result = minimize(
        rosenbrock, over=design, iterations=12, optimizer=optimizer, watch=(seen.append,)
    )
    assert result.reason == "iterations" and result.iterations == 12
    assert len(result.history.objective) == len(asked) == len(seen) == 13
    assert result.evaluations == rosenbrock.calls > 13
    assert np.all(np.diff(result.history.objective) < 0)
    np.testing.assert_array_equal(result.design, seen[-1].design)
    np.testing.assert_array_equal(result.design, asked[-1])
    np.testing.assert_allclose(
        result.history.change[1:], np.abs(np.diff(asked, axis=0)).max(axis=1)
    )


def test_the_best_feasible_design_is_returned_and_left_in_the_density():
    design = FakeDensity(20 * [0.6], -1, 2)
    seen = []
    result = minimize(
        distance(design, TARGET, "J"),
        over=design,
        subject_to=linear(design, 1 / 20, "mean") <= 0.3,
        iterations=4,
        watch=(seen.append,),
    )
    feasible = [i for i in seen if i.infeasibility <= 1e-6]
    assert result.objective == min(i.objective for i in feasible) and result.feasible
    np.testing.assert_array_equal(design.vector, result.design)
    assert np.sum((result.design - TARGET) ** 2) == result.objective


def test_a_bound_out_of_reach_is_refused_before_the_first_step():
    design = FakeDensity(4 * [0.5], 0.2, 0.8)
    J, volume = distance(design, 4 * [0.5], "J"), linear(design, 0.25, "volume")
    with pytest.raises(InputError, match=r"volume <= 0.1 cannot be met: it is 0.2 at the lower"):
        minimize(J, over=design, subject_to=volume <= 0.1)
    with pytest.raises(InputError, match=r"volume >= 0.9 cannot be met.*0.8 at the upper"):
        minimize(J, over=design, subject_to=[volume >= 0.9])


def test_a_bound_between_the_ends_of_a_functional_that_is_not_monotone_is_tried():
    """Greyness is 0 at both ends and 1 between them."""
    design = FakeDensity(4 * [0.1])
    grey = FakeFunctional(
        design, lambda x: 4 * np.mean(x * (1 - x)), lambda x: 1 - 2 * x, name="grey"
    )
    result = minimize(
        linear(design, 1, "J"), over=design, subject_to=grey >= 0.75, tolerance=1e-8, watch=()
    )
    assert result.feasible and result.objective == pytest.approx(1.0, rel=1e-3)


def test_no_feasible_design_is_the_reason():
    design = FakeDensity(4 * [0.5])
    result = minimize(
        distance(design, 4 * [0.0], "J"),
        over=design,
        subject_to=distance(design, 4 * [2.0], "gap", states=(FakeState(),)) <= 3,
        watch=(),
        iterations=200,
    )
    assert result.reason == "infeasible" and not result.feasible
    assert "gap <= 3" in result.message
    np.testing.assert_allclose(result.design, 1, atol=1e-6)  # the least violation: 4 (2 − 1)²


def test_infeasible_within_the_iterations():
    design = FakeDensity(4 * [0.9], 1e-3, 1)
    result = minimize(
        reciprocal(design, 1.0),
        over=design,
        subject_to=linear(design, 0.25, "volume") <= 0.01,
        iterations=1,
        watch=(),
    )
    assert result.reason == "infeasible" and "limit of 1 iterations" in result.message


def failing(design, after, kind):
    """Σ 1/x, which fails from a number of calls on."""

    def value(x):
        if failing.calls >= after:
            if kind is not None:
                raise kind("the displacement was not solved")
            return np.nan
        failing.calls += 1
        return np.sum(1 / x)

    failing.calls = 0
    return FakeFunctional(design, value, lambda x: -1 / x**2, name="compliance")


@pytest.mark.parallel
@pytest.mark.parametrize("kind", [None, SolverError, EvaluationError])
def test_failure_in_the_middle_keeps_the_best_design(kind):
    design = FakeDensity(10 * [0.2], 1e-3, 1)
    volume = linear(design, 0.1, "volume")
    result = minimize(failing(design, 4, kind), over=design, subject_to=volume <= 0.9, watch=())
    assert result.reason == "evaluation failed" and result.feasible
    assert (
        "compliance is nan at evaluation 5" if kind is None else "displacement"
    ) in result.message
    assert result.objective == result.history.objective.min() < 50
    np.testing.assert_array_equal(design.vector, result.design)


def test_failure_at_the_start_is_raised():
    design = FakeDensity(10 * [0.2], 1e-3, 1)
    with pytest.raises(EvaluationError, match="compliance is nan at evaluation 1"):
        minimize(failing(design, 0, None), over=design)
    with pytest.raises(SolverError, match="displacement"):
        minimize(failing(design, 0, SolverError), over=design)


def test_infinite_gradient_at_the_start_is_raised():
    design = FakeDensity([0.0, 0.5])
    root = FakeFunctional(
        design, lambda x: np.sum(np.sqrt(x)), lambda x: [np.inf, 1.0], name="root"
    )
    with pytest.raises(EvaluationError, match="root has a gradient with inf"):
        minimize(root, over=design)


def staged(design, fails_at=None):
    """Σ (x − 1/β)², or not a number at one steepness."""

    def value(x):
        return np.nan if design.beta == fails_at else np.sum((x - 1 / design.beta) ** 2) + 1

    return FakeFunctional(design, value, lambda x: 2 * (x - 1 / design.beta), name="J")


def test_stages_start_from_the_last_best_design_and_the_last_one_counts():
    design = FakeDensity(3 * [0.9])
    result = minimize(staged(design), over=design, sharpen=(1, 2, 4), tolerance=1e-9, watch=())
    np.testing.assert_allclose(result.design, 0.25, atol=1e-4)
    assert design.beta == 4 and result.reason == "converged"
    β, J = result.history.beta, result.history.objective
    assert sorted(set(β)) == [1, 2, 4] and np.all(np.diff(β) >= 0)
    assert J[np.searchsorted(β, 2)] == pytest.approx(1 + 3 * 0.5**2, rel=1e-3)
    assert result.iterations == len(J) - 3


def test_without_stages_the_present_steepness_stays():
    design = FakeDensity(3 * [0.9])
    design.sharpen(2)
    result = minimize(staged(design), over=design, tolerance=1e-9, watch=())
    assert design.beta == 2 and set(result.history.beta) == {2.0}
    np.testing.assert_allclose(result.design, 0.5, atol=1e-4)


def test_a_stage_that_cannot_start_leaves_the_one_before():
    design = FakeDensity(3 * [0.9])
    result = minimize(staged(design, 4), over=design, sharpen=(1, 2, 4), tolerance=1e-9, watch=())
    assert result.reason == "evaluation failed" and design.beta == 2
    np.testing.assert_allclose(design.vector, 0.5, atol=1e-4)


def test_an_objective_that_does_not_depend_on_the_design():
    design = FakeDensity([0.5, 0.5])
    J = FakeFunctional(design, lambda x: 3.0, lambda x: 0 * x, name="cost")
    with pytest.raises(InputError, match=r"cost does not depend on the design: its value is 3"):
        minimize(J, over=design)


@pytest.mark.parametrize(
    ("density", "options", "message"),
    [
        (([0.5, 1.5],), {}, r"starts outside its bounds: it is 1.5 where it may be 0 to 1"),
        (([0.5, np.nan],), {}, "starts outside"),
        (([0.5, 0.5], 0.6, 0.4), {}, r"lower bound of 0.6 is above its upper bound of 0.4"),
        (([0.5, 0.5],), {"optimizer": "adam"}, r"no optimizer 'adam'. There are: mma, ccsa, slsqp"),
        ((501 * [0.5],), {"optimizer": "slsqp"}, r"at most 500 variables.*has 501.*mma"),
        (([0.5, 0.5],), {"iterations": 0}, "iterations >= 1"),
        (([0.5, 0.5],), {"tolerance": -1}, "tolerance >= 0"),
        (([0.5, 0.5],), {"subject_to": True}, "True, which is not a constraint"),
        (([0.5, 0.5],), {"subject_to": [0.4]}, "0.4, which is not a constraint"),
    ],
)
def test_mistakes_are_named_before_anything_is_solved(density, options, message):
    design = FakeDensity(*density)
    J = distance(design, design.size * [0.0], "J")
    with pytest.raises(InputError, match=message):
        minimize(J, over=design, **options)
    assert J.calls == 0


def test_no_free_cell():
    design = FakeDensity([0.0, 1.0], passive=(0, 1))
    with pytest.raises(InputError, match="no free cell"):
        minimize(distance(design, [0, 0], "J"), over=design)


def test_interrupt_and_errors_of_watchers_come_out_as_they_are():
    design = FakeDensity(TARGET * 0.5)
    for kind in (KeyboardInterrupt, ZeroDivisionError):

        def stop(iteration, kind=kind):
            if iteration.index == 2:
                raise kind

        with pytest.raises(kind):
            minimize(distance(design, TARGET, "J"), over=design, watch=(stop,))


def test_constraints_of_one_name_are_both_reported():
    design = FakeDensity(TARGET)
    mean = linear(design, 1 / 20, "mean")
    result = minimize(
        distance(design, TARGET * 0.9, "J"),
        over=design,
        subject_to=[mean <= 0.9, mean <= 0.9],
        watch=(),
    )
    assert list(result.constraints) == ["mean <= 0.9", "mean <= 0.9 (2)"]
    assert result.history.constraints.shape == (len(result.history.objective), 2)


def test_a_watcher_is_told_every_accepted_point():
    design, entries = FakeDensity(TARGET * 0.5), []
    J, mean = distance(design, TARGET, "J"), linear(design, 1 / 20, "mean")
    result = minimize(J, over=design, subject_to=mean <= 0.9, watch=(entries.append,))
    assert [entry.index for entry in entries] == list(range(result.iterations + 1))
    last = entries[-1]
    np.testing.assert_allclose(last.gradients, [2 * (last.design - TARGET), 20 * [1 / 20]])


def test_progress_is_one_line_on_rank_0(capsys):
    beam(5.0, watch=(progress,), iterations=3)
    lines = capsys.readouterr().out.splitlines()
    if MPI.COMM_WORLD.rank == 0:
        assert len(lines) == 4 and all(len(line) <= 100 for line in lines)
        assert lines[0].startswith("  0 (  1)  weight 1.5600e+00  deflection 1.000 <= 1")
    else:
        assert not lines


def test_takeover_gets_the_functionals_once_and_ends_the_script(monkeypatch):
    told = []
    monkeypatch.setattr("toolkit.optimize.takeover", lambda *given: told.append(given))
    design = FakeDensity(TARGET)
    J, mean = distance(design, TARGET, "J"), linear(design, 1 / 20, "mean")
    with pytest.raises(SystemExit) as end:
        minimize(J, over=design, subject_to=[mean <= 0.9, mean >= 0.1, J <= 5])
    assert end.value.code == 0 and J.calls == 0
    functionals, over = told[0]
    assert functionals == (J, mean) and over is design


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("optimizer", ["mma", "ccsa", "slsqp", "mma-distributed"])
def test_ranks_that_round_differently_follow_one_trajectory(optimizer):
    comm = MPI.COMM_WORLD
    design = FakeDensity(20 * [0.6], -1, 2)
    noise = 1e-7 * comm.rank
    J = FakeFunctional(
        design,
        lambda x: np.sum((x - TARGET) ** 2) + noise,
        lambda x: 2 * (x - TARGET) + noise,
        name="J",
    )
    seen = []
    result = minimize(
        J,
        over=design,
        subject_to=linear(design, 1 / 20, "mean") <= 0.3,
        optimizer=optimizer,
        watch=(seen.append,),
    )
    mine = np.array([iteration.design for iteration in seen])
    np.testing.assert_array_equal(mine, comm.bcast(mine))
    assert comm.allgather(result.objective) == comm.size * [result.objective]
    assert comm.allgather(result.evaluations) == comm.size * [result.evaluations]


@pytest.mark.parallel
@pytest.mark.short
@pytest.mark.parametrize("place", ["value", "gradient", "watch"])
def test_one_rank_that_fails_ends_the_run_on_all(place):
    comm, design, count = MPI.COMM_WORLD, FakeDensity(TARGET * 0.5), {}

    def maybe(here):
        count[here] = count.get(here, 0) + 1
        if here == place and count[here] == 3 and comm.rank == comm.size - 1:
            raise ZeroDivisionError(f"in the {here}")

    def value(x):
        maybe("value")
        return np.sum((x - TARGET) ** 2)

    def gradient(x):
        maybe("gradient")
        return 2 * (x - TARGET)

    J = FakeFunctional(design, value, gradient, name="J")
    with pytest.raises(Exception, match=f"in the {place}"):
        minimize(J, over=design, watch=(lambda iteration: maybe("watch"),))


SCRIPT = """
import sys
import numpy as np
from fakes import FakeDensity, FakeFunctional, FakeReduced, MPI
import toolkit.optimize as optimize

optimize.Reduced = FakeReduced
design = FakeDensity(6 * [0.5])
calls = []

def value(x):
    calls.append(1)
    if len(calls) == 3 and MPI.COMM_WORLD.rank == 1:
        raise {kind}("this rank failed")
    return np.sum(x**2)

try:
    J = FakeFunctional(design, value, lambda x: 2 * x, name="J")
    optimize.minimize(J, over=design, watch=())
except BaseException as error:
    with open(f"{{sys.argv[1]}}/{{MPI.COMM_WORLD.rank}}", "w") as file:
        file.write(str(error))
    raise
"""


@pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts its own ranks")
@pytest.mark.parametrize("kind", ["ZeroDivisionError", "KeyboardInterrupt"])
def test_a_script_of_which_one_rank_fails_ends_at_once(kind, tmp_path):
    beside = Path(sys.executable).with_name("mpirun")
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    assert launcher, "mpirun is needed"
    path = os.pathsep.join([str(HERE), *sys.path])
    alone = ("PMI", "PMIX", "OMPI", "MPI", "HYDRA")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(alone)}
    script = SCRIPT.format(kind=kind)
    run = subprocess.run(
        [launcher, "-n", "2", sys.executable, "-c", script, str(tmp_path)],
        env=clean | {"PYTHONPATH": path},
        capture_output=True,
        timeout=60,
    )
    assert run.returncode != 0
    told = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert "this rank failed" in told["1"]
    if kind != "KeyboardInterrupt":  # an interrupted rank ends the others without more words
        assert "this rank failed" in told["0"]


def test_nothing_is_kept_alive():
    """nlopt holds the callbacks out of the garbage collector's sight; a run lets go of it."""
    design = FakeDensity([0.5, 0.5], 0, 1)
    J = distance(design, np.array([0.2, 0.7]), "J")
    kept = weakref.ref(design)
    minimize(J, over=design, watch=())
    del design, J
    gc.collect()
    assert kept() is None
