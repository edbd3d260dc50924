"""minimize: the best design for one objective under constraints, the same on every rank.

    min J(x)   subject to   gᵢ(x) = ± (Jᵢ(x) − bᵢ) / max(|bᵢ|, |Jᵢ(x₀)|) ≤ 0,   l ≤ x ≤ u

nlopt's conservative method of moving asymptotes (K. Svanberg, SIAM J. Optim. 12, 555–573, 2002,
doi:10.1137/S1052623499362822) replaces J and g at the last accepted point by convex separable
upper approximations, and accepts their minimiser once it is better than the last point; trial
points that are not cost an evaluation but no gradients. An accepted point is an outer iteration.
nlopt's damping of the approximations has an absolute floor, so that rows reach it in a unit in
which their slope by one variable is a fixed multiple of that floor, however many variables.
SLSQP asks for gradients at its full steps too, so there each of those counts as one. The rows that
nlopt sees, with the variable that lets an infeasible start in, are in program.py.

In parallel every rank runs the same nlopt. The point of rank 0 is broadcast before each evaluation
and so are the values and gradients, so that processors that round differently see one trajectory.
An error on one rank ends the run on all of them. The optimizers are deterministic, but an accept or
reject decision amplifies differences of round-off between numbers of ranks.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import nlopt
import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.adjoint import Reduced
from toolkit.density import Density
from toolkit.errors import EvaluationError, InputError, SolverError, ToolkitError, together
from toolkit.functional import Constraint, Functional
from toolkit.program import FEASIBLE, Extra, Goal, Program, Single
from toolkit.progress import Bounded, Iteration, progress

__all__ = ["History", "Recorder", "Result", "minimize", "solve", "takeover"]

Array = npt.NDArray[np.float64]
Watcher = Callable[[Iteration], None]

ALGORITHMS = {"mma": nlopt.LD_MMA, "ccsa": nlopt.LD_CCSAQ, "slsqp": nlopt.LD_SLSQP}
SLSQP_LIMIT = 500  # its dense quadratic programs cost the cube of the number of variables
CALM = 3  # consecutive outer iterations below the tolerance that make convergence
REJECTED = 12  # consecutive trial points without an acceptable one: only round-off is left
DAMPING = 1e-3  # nlopt's first damping of rows whose slopes are about 1e-3; its floor is 1e-5
BROKEN = (nlopt.INVALID_ARGS, nlopt.OUT_OF_MEMORY)
ELASTIC = (1e2, 1e4, 1e6)  # weights c of the elastic variable, one after the other

takeover: Callable[[Sequence[Functional], Density], None] | None = None
"""If set, called with the functionals and the density in place of optimising; then exit."""


class Recorder(Protocol):
    """What a checkpoint is: told every accepted point, on every rank."""

    def record(self, iteration: Iteration) -> None:
        """Keep an accepted point."""


@dataclass(frozen=True)
class History:
    """An optimisation's accepted points, the start of each stage included.

    Attributes:
        objective: (k,) objective in the user's units.
        constraints: (k, m) values of the constraints' functionals in the user's units.
        infeasibility: (k,) largest normalised violation.
        change: (k,) largest change of a design variable.
        greyness: (k,) 4 ∫ρ(1−ρ)/|Ω|.
        evaluations: (k,) designs evaluated up to this point.
        beta: (k,) steepness of the projection.
    """

    objective: Array
    constraints: Array
    infeasibility: Array
    change: Array
    greyness: Array
    evaluations: npt.NDArray[np.int64]
    beta: Array


@dataclass(frozen=True)
class Result:
    """The best design found, and why the search ended.

    Attributes:
        design: (size,) the best feasible design at the last steepness, in mesh-file order; the
            least infeasible one if none is feasible. The density is left at it.
        objective: the objective there, in the user's units.
        constraints: name of each constraint → value of its functional there.
        feasible: whether every constraint holds to 1e-6 of its scale.
        reason: "converged", "iterations", "infeasible" or "evaluation failed".
        message: the reason in a sentence.
        history: the accepted points.
        iterations: outer iterations in all stages.
        evaluations: designs evaluated in all stages.
        seconds: wall time.
    """

    design: Array
    objective: float
    constraints: dict[str, float]
    feasible: bool
    reason: str
    message: str
    history: History
    iterations: int
    evaluations: int
    seconds: float


def minimize(
    J: Functional,
    *,
    over: Density,
    subject_to: Constraint | Iterable[Constraint] = (),
    sharpen: Sequence[float] = (),
    iterations: int = 60,
    optimizer: str = "mma",
    tolerance: float = 1e-5,
    checkpoint: Recorder | None = None,
    watch: Iterable[Watcher] = (progress,),
) -> Result:
    """Minimise a functional over a density, from its present design; collective.

    Args:
        J: the objective.
        over: the density; it is left at the best design.
        subject_to: a constraint or several, such as `volume <= 0.45`.
        sharpen: steepnesses β of the projection, one stage each, begun from the best design so far;
            none is one stage at the density's present steepness.
        iterations: largest number of outer iterations in a stage.
        optimizer: "mma", "ccsa" (quadratic approximations) or "slsqp" (at most 500 variables).
        tolerance: relative change of the objective, or change of every variable relative to its
            range, that counts as none; three outer iterations running end a stage.
        checkpoint: told every accepted point.
        watch: called with every accepted point, on every rank.

    Raises:
        InputError: bounds that no design meets, a start outside them, an unknown optimizer, an
            objective that does not depend on the design.
        EvaluationError: a functional that is not a number at the start.
        SolverError: a state that cannot be solved at the start.
    """
    constraints = constraint_list(subject_to)
    hand_over([J, *(c.functional for c in constraints)], over)
    return solve(
        Single(J),
        over=over,
        constraints=constraints,
        sharpen=sharpen,
        iterations=iterations,
        optimizer=optimizer,
        tolerance=tolerance,
        checkpoint=checkpoint,
        watch=watch,
    )


def hand_over(functionals: Iterable[Functional], over: Density) -> None:
    """Call `takeover` and exit, if it is set."""
    if takeover is not None:
        takeover(_distinct(functionals), over)
        raise SystemExit(0)


def constraint_list(given: Constraint | Iterable[Constraint]) -> tuple[Constraint, ...]:
    """The constraints as a tuple, from one or several.

    Raises:
        InputError: something that is not a constraint.
    """
    constraints = tuple(given) if isinstance(given, Iterable) else (given,)
    for constraint in constraints:
        if not isinstance(constraint, Constraint):
            raise InputError(
                f"subject_to holds {constraint!r}, which is not a constraint: write it as "
                "functional <= number or functional >= number."
            )
    return constraints


def solve(
    goal: Goal,
    *,
    over: Density,
    constraints: tuple[Constraint, ...],
    sharpen: Sequence[float],
    iterations: int,
    optimizer: str,
    tolerance: float,
    watch: Iterable[Watcher],
    checkpoint: Recorder | None = None,
    label: str = "",
    reduced: dict[Functional, Reduced] | None = None,
) -> Result:
    """Minimise a goal, stage by stage; what `minimize` and `pareto` share. Collective.

    `reduced` keeps what was derived and compiled for each functional from one call to the next.
    """
    began = time.perf_counter()
    _check_settings(over, iterations, optimizer, tolerance)
    watchers = ((watch,) if callable(watch) else tuple(watch)) + (
        (checkpoint.record,) if checkpoint is not None else ()
    )
    run = _Run(goal, over, constraints, watchers, label, {} if reduced is None else reduced)
    ending = _Ending("converged", "")
    betas = (sharpen,) if isinstance(sharpen, int | float) else tuple(sharpen)
    for beta in betas or (over.beta,):
        over.sharpen(beta)
        ending = run.stage(beta, iterations, optimizer, tolerance)
        run.settle()
        if ending.reason == "evaluation failed":
            break
    return run.result(ending, time.perf_counter() - began)


def _check_settings(over: Density, iterations: int, optimizer: str, tolerance: float) -> None:
    """Refuse settings that cannot work, before anything is solved."""
    free = int(np.count_nonzero(over.free))
    if optimizer not in ALGORITHMS:
        raise InputError(
            f"There is no optimizer {optimizer!r}. There are: {', '.join(ALGORITHMS)}."
        )
    if optimizer == "slsqp" and free > SLSQP_LIMIT:
        raise InputError(
            f"optimizer='slsqp' is for at most {SLSQP_LIMIT} variables and the design has {free}: "
            "its cost grows with their cube. Use optimizer='mma'."
        )
    if not free:
        raise InputError("The design has no free cell: all are in its solid or void regions.")
    if iterations < 1 or not tolerance >= 0:
        raise InputError(
            f"minimize needs iterations >= 1 (it is {iterations}) and tolerance >= 0 "
            f"(it is {tolerance})."
        )
    _check_box(over)


def _check_box(over: Density) -> None:
    """Refuse crossed bounds and a start outside them."""
    x, lower, upper = (a[over.free] for a in (over.vector, over.lower, over.upper))
    if np.any(lower > upper):
        worst = int(np.argmax(lower - upper))
        raise InputError(
            f"The design's bounds leave nothing: a lower bound of {lower[worst]:g} is above its "
            f"upper bound of {upper[worst]:g}."
        )
    outside = np.maximum(lower - x, x - upper)
    if not np.all(outside <= 1e-12):
        worst = int(np.argmax(outside))
        raise InputError(
            f"The design starts outside its bounds: it is {x[worst]:g} where it may be "
            f"{lower[worst]:g} to {upper[worst]:g}. Change start or bounds of the density."
        )


def _distinct(functionals: Iterable[Functional]) -> tuple[Functional, ...]:
    """The functionals without repetitions, by identity, in order."""
    return tuple({id(functional): functional for functional in functionals}.values())


class _Ending(NamedTuple):
    """Why a stage ended."""

    reason: str
    message: str


class _Best(NamedTuple):
    """The best design of a stage; the smaller key is the better one."""

    key: tuple[bool, float]
    design: Array
    values: Array
    violation: float
    beta: float


@dataclass
class _Evaluator:
    """Values and gradients of the functionals at a design, cached at the last one; collective."""

    reduced: list[Reduced]
    over: Density
    count: int = 0
    design: Array | None = None
    values: Array = field(default_factory=lambda: np.empty(0))
    slopes: Array | None = None

    def forget(self) -> None:
        """Evaluate again at the next call, since the projection has changed."""
        self.design = None

    def at(self, x: Array) -> Array:
        """Values (k,) at a design (size,).

        Raises:
            EvaluationError: a value that is not finite.
        """
        if self.design is None or not np.array_equal(x, self.design):
            self.design, self.slopes = None, None
            self.count += 1
            with together(self.over.comm):
                self.values = np.array([float(reduced.value(x)) for reduced in self.reduced])
            self.over.comm.Bcast(self.values)
            self._check(np.isfinite(self.values), "is", self.values)
            self.design = x.copy()
        return self.values

    def gradients(self) -> Array:
        """Gradients (k, size) at the last design.

        Raises:
            EvaluationError: a gradient that is not finite.
        """
        if self.design is None:
            raise ToolkitError("A gradient was asked for before a value.")
        if self.slopes is None:
            slopes = np.empty((len(self.reduced), len(self.design)))
            with together(self.over.comm):
                for row, reduced in zip(slopes, self.reduced, strict=True):
                    row[:] = reduced.gradient(self.design)
            self.over.comm.Bcast(slopes)
            self._check(np.isfinite(slopes).all(axis=1), "has a gradient with", np.sum(slopes, 1))
            self.slopes = slopes
        return self.slopes

    def _check(self, finite: npt.NDArray[np.bool_], verb: str, shown: Array) -> None:
        for reduced, good, number in zip(self.reduced, finite, shown, strict=True):
            if not good:
                raise EvaluationError(
                    f"{reduced.functional.name} {verb} {number} at evaluation {self.count}. Look "
                    "for a division by zero, a power of a negative number, or a void that is too "
                    "soft."
                )


class _Run:
    """One minimisation: its evaluations, accepted points and best design."""

    def __init__(
        self,
        goal: Goal,
        over: Density,
        constraints: tuple[Constraint, ...],
        watchers: tuple[Watcher, ...],
        label: str,
        reduced: dict[Functional, Reduced],
    ) -> None:
        self.goal, self.over, self.constraints = goal, over, constraints
        self.watchers, self.label = watchers, label
        extra = _distinct(c.functional for c in constraints)
        functionals = goal.functionals + tuple(
            f for f in extra if all(f is not g for g in goal.functionals)
        )
        self.where = [
            next(j for j, f in enumerate(functionals) if f is c.functional) for c in constraints
        ]
        for functional in functionals:
            if functional not in reduced:
                reduced[functional] = Reduced(functional, over=over)
        self.evaluator = _Evaluator([reduced[functional] for functional in functionals], over)
        self.log: list[tuple[float, Array, float, float, float, int, float]] = []
        self.best: _Best
        self.iterations = 0

    def stage(self, beta: float, iterations: int, optimizer: str, tolerance: float) -> _Ending:
        """Optimise at one steepness, from the present design."""
        first = not self.log
        try:
            self._begin()
        except (EvaluationError, SolverError) as error:
            if first:
                raise
            return _Ending("evaluation failed", str(error))
        if first:
            self._check_start()
        with together(self.over.comm):
            self.accept(self.start, beta)
        stage = _Stage(self, beta, iterations, tolerance)
        for weight in ELASTIC:
            ending = stage.run(optimizer, weight)
            if ending is not None:
                break
        else:
            ending = _Ending("infeasible", "No step reduces the violation of the constraints.")
        return self._judge(ending)

    def _begin(self) -> None:
        """Evaluate the start of a stage and scale the program there."""
        self.evaluator.forget()
        x = self.over.vector.copy()
        self.over.comm.Bcast(x)
        values = self.evaluator.at(x)
        norms = np.linalg.norm(self.evaluator.gradients()[:, self.over.free], axis=1)
        self.start = x
        self.program = Program.of(self.goal, self.constraints, self.where, values, norms)
        self.previous, self.clock, self.fresh = x, time.perf_counter(), True

    def _check_start(self) -> None:
        """Refuse constraints that no design meets and objectives that no design changes."""
        for constraint, j in zip(self.constraints, self.where, strict=True):
            _check_reachable(constraint, self.evaluator.reduced[j], self.over)
        for j, functional in enumerate(self.goal.functionals):
            if not self.evaluator.gradients()[j, self.over.free].any():
                self._check_dependence(functional, j)
        self.over.update(self.start)

    def _check_dependence(self, functional: Functional, j: int) -> None:
        """Look at one other design, since a gradient may be zero at the start alone."""
        reduced, span = self.evaluator.reduced[j], self.over.upper - self.over.lower
        shift = 0.1 + 0.2 * np.modf(np.arange(len(span)) * 0.6180339887)[0]
        down = self.start - self.over.lower > 0.5 * span
        probe = np.where(
            self.over.free, self.start + np.where(down, -shift, shift) * span, self.start
        )
        value = reduced.value(probe)
        if value == self.evaluator.values[j] and not reduced.gradient(probe)[self.over.free].any():
            raise InputError(
                f"{functional.name} does not depend on the design: its value is {value:g} and its "
                "gradient 0 everywhere. Build it from the density's .physical."
            )

    def accept(self, x: Array, beta: float) -> Iteration:
        """Keep an accepted point and tell the watchers."""
        values, now = self.evaluator.values, time.perf_counter()
        violation = self.program.violation(values)
        entry = Iteration(
            label=self.label,
            index=self.iterations,
            evaluations=self.evaluator.count,
            name=self.goal.name,
            objective=self.goal.objective(values),
            constraints=tuple(
                Bounded(c.functional.name, float(values[j]), "<=" if c.sense > 0 else ">=", c.bound)
                for c, j in zip(self.constraints, self.where, strict=True)
            ),
            infeasibility=violation,
            change=float(np.max(np.abs(x - self.previous))),
            greyness=self.over.greyness(),
            beta=beta,
            seconds=now - self.clock,
            design=x.copy(),
            gradients=self.evaluator.gradients(),
            rank=self.over.comm.rank,
        )
        infeasible = violation > FEASIBLE
        key = (infeasible, violation if infeasible else self.program.merit(values))
        if self.fresh or key < self.best.key:
            self.best, self.fresh = _Best(key, x.copy(), values.copy(), violation, beta), False
        self.log.append(
            (
                entry.objective,
                values[self.where],
                violation,
                entry.change,
                entry.greyness,
                entry.evaluations,
                beta,
            )
        )
        self.previous, self.clock = x.copy(), now
        for watcher in self.watchers:
            watcher(entry)
        return entry

    def _judge(self, ending: _Ending) -> _Ending:
        """Say infeasible where the best design is."""
        if self.best.violation <= FEASIBLE or ending.reason == "evaluation failed":
            return ending
        rows = self.program.rows(self.best.values)[self.program.hard :]
        worst = self.constraints[int(np.argmax(rows))]
        value = self.best.values[self.where[int(np.argmax(rows))]]
        return _Ending(
            "infeasible",
            f"No feasible design was found: {worst.name} is {value:.6g} at the best one. "
            f"{ending.message}",
        )

    def settle(self) -> None:
        """Leave the density at the best design."""
        self.over.sharpen(self.best.beta)
        self.over.update(self.best.design)

    def result(self, ending: _Ending, seconds: float) -> Result:
        """The outcome."""
        best, names = self.best, _unique([c.name for c in self.constraints])
        objective, constraints, infeasibility, change, greyness, evaluations, beta = zip(
            *self.log, strict=True
        )
        return Result(
            design=best.design,
            objective=self.goal.objective(best.values),
            constraints={n: float(best.values[j]) for n, j in zip(names, self.where, strict=True)},
            feasible=best.violation <= FEASIBLE,
            reason=ending.reason,
            message=ending.message,
            history=History(
                np.array(objective),
                np.array(constraints),
                np.array(infeasibility),
                np.array(change),
                np.array(greyness),
                np.array(evaluations),
                np.array(beta, dtype=float),
            ),
            iterations=self.iterations,
            evaluations=self.evaluator.count,
            seconds=seconds,
        )


def _unique(names: list[str]) -> list[str]:
    """The names, numbered where one occurs again."""
    seen = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if n == 1 else f"{name} ({n})" for name, n in zip(names, seen, strict=True)]


def _check_reachable(constraint: Constraint, reduced: Reduced, over: Density) -> None:
    """Refuse a bound outside the range of a linear functional such as the volume.

    One of no state, whose gradient is the same at both bounds and has one sign, lies between its
    values there.
    """
    if constraint.functional.states:
        return
    ends, slopes = [], []
    for bounds in (over.lower, over.upper):
        x = np.where(over.free, bounds, over.vector)
        with np.errstate(all="ignore"):
            ends.append(float(reduced.value(x)))
            if not np.isfinite(ends[-1]):
                return
            slopes.append(reduced.gradient(x)[over.free])
    linear = np.allclose(slopes[0], slopes[1], rtol=1e-9, atol=0)
    one_sign = np.all(slopes[0] >= 0) or np.all(slopes[0] <= 0)
    violations = [constraint.sense * (end - constraint.bound) for end in ends]
    if linear and one_sign and min(violations) > 1e-12:
        raise InputError(
            f"{constraint.name} cannot be met: it is {ends[0]:.6g} at the lower bounds of the "
            f"design and {ends[1]:.6g} at the upper ones."
        )


class _Stage:
    """nlopt's callbacks at one steepness, and the rules that end it."""

    def __init__(self, run: _Run, beta: float, iterations: int, tolerance: float) -> None:
        self.owner, self.beta, self.limit, self.tolerance = run, beta, iterations, tolerance
        self.over, self.program, self.comm = run.over, run.program, run.over.comm
        free = self.over.free
        self.lower, self.upper = self.over.lower[free], self.over.upper[free]
        self.steps = 0
        self.ending: _Ending | None = None
        self.error: BaseException | None = None

    def run(self, optimizer: str, weight: float) -> _Ending | None:
        """Run nlopt from the last accepted point; None asks for a larger elastic weight."""
        self.x = self.owner.best.design.copy()
        values = self.owner.evaluator.at(self.x)
        self.extra = Extra.of(self.program, values, weight)
        self.merits: list[float] = [self.program.merit(values)]
        self.moves: list[float] = []
        self.ending, self.rejected = None, 0
        self.opt = self._nlopt(optimizer)
        z = np.concatenate([self.x[self.over.free], self.extra.start])
        self.opt.optimize(np.clip(z, self.opt.get_lower_bounds(), self.opt.get_upper_bounds()))
        code = self.opt.last_optimize_result()
        del self.opt  # it holds this object's methods where the garbage collector does not look
        if isinstance(self.error, EvaluationError | SolverError):
            return _Ending("evaluation failed", str(self.error))
        if self.error is not None:
            raise self.error
        if self.ending is None and code in BROKEN:
            raise ToolkitError(
                f"nlopt gave up with code {code}: its memory or its arguments do not suffice. Try "
                "another optimizer."
            )
        resting = self.ending is None or self.ending.reason == "converged"
        if resting and self.owner.best.violation > FEASIBLE:
            return None
        return self.ending or _Ending("converged", "The optimizer found no better point.")

    def _nlopt(self, optimizer: str) -> nlopt.opt:
        opt = nlopt.opt(ALGORITHMS[optimizer], len(self.lower) + len(self.extra.start))
        opt.set_lower_bounds(np.concatenate([self.lower, self.extra.lower]))
        opt.set_upper_bounds(np.concatenate([self.upper, self.extra.upper]))
        if optimizer != "slsqp":
            opt.set_param("inner_gradients", 0)
            opt.set_param("rho_init", DAMPING)
        opt.set_exceptions_enabled(False)
        opt.set_min_objective(self._objective)
        if len(self.program.offsets) > 1:
            opt.add_inequality_mconstraint(self._rows, np.zeros(len(self.program.offsets) - 1))
        return opt

    def _objective(self, z: Array, gradient: Array) -> float:
        """The minimised row; every evaluation happens here, at the point of rank 0."""
        if self.error is not None:
            return 0.0
        try:
            with together(self.comm):
                self._visit(z, gradient.size > 0)
        except BaseException as error:
            self.error = error
            self.opt.force_stop()
            return 0.0
        if gradient.size:
            gradient[:] = self.jacobian[0]
        return float(self.values[0])

    def _rows(self, result: Array, z: Array, gradient: Array) -> None:
        """The other rows at the point that the objective was called with."""
        result[:] = self.values[1:]
        if gradient.size:
            gradient[:] = self.jacobian[1:]

    def _visit(self, z: Array, wanted: bool) -> None:
        """Evaluate the rows, and accept the point if nlopt wants its gradients."""
        message = np.append(z, float(wanted))
        self.comm.Bcast(message)
        if self.comm.allreduce(bool(message[-1]) != wanted, op=MPI.LOR):
            raise ToolkitError(
                "The ranks' optimizers have come apart by round-off: run on processors of one kind."
            )
        z, free, evaluator = message[:-1], self.over.free, self.owner.evaluator
        x = self.x.copy()
        x[free] = np.clip(z[: len(self.lower)], self.lower, self.upper)
        values, unit = evaluator.at(x), DAMPING * len(self.lower)
        self.values = unit * (self.program.rows(values) + self.extra.columns @ z[len(self.lower) :])
        self.rejected += 1
        if wanted:
            slopes = self.program.weights @ evaluator.gradients()[:, free]
            self.jacobian = unit * np.concatenate([slopes, self.extra.columns], axis=1)
            self._accept(x)
        if self.rejected > REJECTED:
            self._end("converged", "No step that round-off can tell from none is better.")

    def _accept(self, x: Array) -> None:
        """Count an outer iteration and see whether it is the last one."""
        if np.array_equal(x, self.x):
            return
        self.rejected = 0
        span = self.upper - self.lower
        moves = np.abs(x - self.x)[self.over.free] / np.where(span > 0, span, 1.0)
        self.x, self.steps = x, self.steps + 1
        self.owner.iterations += 1
        entry = self.owner.accept(x, self.beta)
        self.moves.append(float(np.max(moves)))
        self.merits.append(self.program.merit(self.owner.evaluator.values))
        if self._calm():
            self._end("converged", f"The last {CALM} iterations changed less than the tolerance.")
        elif self.steps >= self.limit:
            state = "" if entry.infeasibility <= FEASIBLE else " before a feasible design"
            self._end("iterations", f"The limit of {self.limit} iterations was reached{state}.")

    def _calm(self) -> bool:
        """Whether the last iterations changed neither the objective nor the design."""
        if len(self.moves) < CALM:
            return False
        gains = np.abs(np.diff(self.merits))[-CALM:]
        flat = gains <= self.tolerance * np.abs(self.merits[-CALM:])
        still = np.array(self.moves[-CALM:]) <= self.tolerance
        return bool(np.all(flat | still))

    def _end(self, reason: str, message: str) -> None:
        self.ending = _Ending(reason, message)
        self.opt.force_stop()
