"""minimize: the best design for one objective under constraints, the same on every rank.

    min J(x)   subject to   gᵢ(x) = ± (Jᵢ(x) − bᵢ) / max(|bᵢ|, |Jᵢ(x₀)|) ≤ 0,   l ≤ x ≤ u

Each stage, one steepness of the projection, is run by one of the methods of `METHODS`: nlopt's
algorithms (callbacks.py), the method of moving asymptotes on local slices (mma.py), optimality
criteria (criteria.py) and SiMPL (mirror.py). They share what counts as an iteration and as an end
(stage.py), and the rows that they see (program.py). A point that a method accepts is an outer
iteration. An error on one rank ends the run on all of them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.adjoint import Reduced
from toolkit.callbacks import Callbacks
from toolkit.checkpoint import Run, from_result
from toolkit.criteria import Criteria
from toolkit.density import Density
from toolkit.errors import EvaluationError, InputError, SolverError, together
from toolkit.evaluator import Evaluator
from toolkit.functional import Constraint, Functional, everyone
from toolkit.identity import identity
from toolkit.journal import Journal, checkpointing
from toolkit.memory import Memory
from toolkit.mirror import Mirror
from toolkit.mma import MovingAsymptotes
from toolkit.program import FEASIBLE, Goal, Program, Single
from toolkit.progress import Bounded, Iteration, progress
from toolkit.share import Share
from toolkit.slices import Sliced, Whole
from toolkit.stage import Best, Ending, Method, Request, Stage

__all__ = ["History", "Result", "check_settings", "minimize", "recalled", "solve", "takeover"]

Array = npt.NDArray[np.float64]
Watcher = Callable[[Iteration], None]

METHODS: dict[str, Method] = {
    "mma": Callbacks("mma"),
    "ccsa": Callbacks("ccsa"),
    "slsqp": Callbacks("slsqp"),
    "mma-distributed": MovingAsymptotes(),
    "oc": Criteria(),
    "simpl": Mirror(),
}

takeover: Callable[[Sequence[Functional], Density], None] | None = None
"""If set, called with the functionals and the density in place of optimising; then exit."""


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


@dataclass(frozen=True, kw_only=True)
class Result:
    """The best design found, and why the search ended.

    Attributes:
        design: (size,) the best feasible design at the last steepness, in mesh-file order; the
            least infeasible one if none is feasible. The density is left at it. Of an optimizer
            that works on slices it is gathered when first asked for, which is then collective.
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

    design: Whole = Whole()  # noqa: RUF009
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
    move: float = 0.2,
    checkpoint: str | Path | None = None,
    resume: bool | None = None,
    wall_time: float | None = None,
    reproducible: bool = False,
    watch: Iterable[Watcher] = (progress,),
    label: str = "",
) -> Result:
    """Minimise a functional over a density, from its present design; collective.

    Args:
        J: the objective.
        over: the density; it is left at the best design.
        subject_to: a constraint or several, such as `volume <= 0.45`.
        sharpen: steepnesses β of the projection, one stage each, begun from the best design so far;
            none is one stage at the density's present steepness.
        iterations: largest number of outer iterations in a stage.
        optimizer: nlopt's "mma", "ccsa" (quadratic approximations) or "slsqp" (at most 500
            variables); "mma-distributed", whose ranks hold a slice of the design each; for one
            linear constraint that grows with the design, such as a volume, also "oc" (optimality
            criteria, for objectives that material makes better) and "simpl".
        tolerance: relative change of the objective, or change of every variable relative to its
            range, that counts as none; three outer iterations running end a stage.
        move: largest step of a variable in an iteration relative to its range, for
            "mma-distributed" and "oc".
        checkpoint: the folder of the run's results, in which every evaluation is kept, so that the
            run can be killed at any instant and resumed; see docs/reliability.md.
        resume: whether to go on with the run in that folder, if there is one, on any number of
            ranks; by default where the environment has TOOLKIT_RESUME=1. It must be of the same
            problem.
        wall_time: seconds after the start of the program at which the run stops, resumable; so it
            does at SIGTERM and SIGUSR1. The program then ends with code 75.
        reproducible: solve each design from zero with preconditioners of its own, so that a resumed
            run is bit by bit the undisturbed one on as many ranks.
        watch: called with every accepted point, on every rank.
        label: begins its printed lines, to tell runs apart that print side by side.

    Raises:
        InputError: bounds that no design meets, a start outside them, an unknown optimizer, an
            objective that does not depend on the design, a checkpoint of another problem.
        EvaluationError: a functional that is not a number at the start.
        SolverError: a state that cannot be solved at the start.
        Interrupted: the run was asked to stop.
    """
    constraints = constraint_list(subject_to)
    functionals = [J, *(c.functional for c in constraints)]
    hand_over(functionals, over)
    check_settings(over, iterations, optimizer, tolerance, move)
    options = {
        "sharpen": _steepnesses(sharpen, over),
        "iterations": iterations,
        "optimizer": optimizer,
        "tolerance": tolerance,
        "move": move,
        "reproducible": reproducible,
    }
    problem = None if checkpoint is None else identity([J], constraints, over, options)
    comm = everyone(functionals, over.comm)
    with checkpointing(checkpoint, comm, problem, resume=resume, wall_time=wall_time) as kept:
        if kept is not None and kept.done is not None:
            return _take_up(kept.done, over)
        result = solve(
            Single(J),
            over=over,
            constraints=constraints,
            sharpen=sharpen,
            iterations=iterations,
            optimizer=optimizer,
            tolerance=tolerance,
            move=move,
            journal=None if kept is None else kept.journal(1, comm, over.slices),
            reproducible=reproducible,
            watch=watch,
            label=label,
        )
        if kept is not None:
            kept.fold(from_result(result, over, name=J.label))
    return result


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
    move: float = 0.2,
    journal: Journal | None = None,
    reproducible: bool = False,
    label: str = "",
    reduced: dict[Functional, Reduced] | None = None,
) -> Result:
    """Minimise a goal, stage by stage; what `minimize` and `pareto` share. Collective.

    `reduced` keeps what was derived and compiled for each functional from one call to the next.
    """
    began = time.perf_counter()
    watchers = (watch,) if callable(watch) else tuple(watch)
    method = METHODS[optimizer]
    known = {} if reduced is None else reduced
    run = _Run(goal, over, constraints, watchers, label, known, method.whole)
    run.evaluator.journal, run.evaluator.reproducible = journal, reproducible
    ending = Ending("converged", "")
    betas = _steepnesses(sharpen, over)
    if run.evaluator.wide and not method.whole:
        able = ", ".join(name for name, other in METHODS.items() if other.whole)
        raise InputError(
            f"optimizer='{optimizer}' works on slices of one mesh, and a functional is a total "
            f"over groups, which hold a mesh each. For totals there is: {able}."
        )
    method.check(run.request(betas))
    memory = None
    if journal is not None:
        memory = journal.memory() if method.remembers else None
        evaluations, vectors = 2 * len(betas) * (iterations + 1), 1 + len(run.evaluator.reduced)
        journal.announce(evaluations, vectors, remembers=method.remembers)
    for beta in betas if memory is None else betas[memory.integer("stage") :]:
        over.sharpen(beta)
        ending = run.stage(
            method, beta, iterations=iterations, tolerance=tolerance, move=move, memory=memory
        )
        memory = None
        run.settle()
        if ending.reason == "evaluation failed":
            break
    seconds = time.perf_counter() - began if journal is None else journal.elapsed
    return run.result(ending, seconds)


def recalled(run: Run, over: Density, point: int) -> Result:
    """A point's result as a file has it, with the density at its steepness; collective."""
    history = run.history[point]
    over.sharpen(float(history["beta"][-1]))
    return Result(
        design=run.design[point],
        objective=float(run.minima[point]),
        constraints=run.constraints[point],
        feasible=bool(run.feasible[point]),
        reason=run.reasons[point],
        message=run.messages[point],
        history=History(**history | {"evaluations": history["evaluations"].astype(int)}),
        iterations=int(run.iterations[point]),
        evaluations=int(run.evaluations[point]),
        seconds=float(run.seconds[point]),
    )


def _take_up(run: Run, over: Density) -> Result:
    """The result of a minimisation that was done, with the density left at it; collective."""
    result = recalled(run, over, 0)
    over.update(result.design)
    return result


def _steepnesses(sharpen: Sequence[float] | float, over: Density) -> tuple[float, ...]:
    """The steepness of each stage."""
    return ((sharpen,) if isinstance(sharpen, int | float) else tuple(sharpen)) or (over.beta,)


def check_settings(
    over: Density, iterations: int, optimizer: str, tolerance: float, move: float = 0.2
) -> None:
    """Refuse settings that cannot work, before anything is solved."""
    free = over.comm.allreduce(int(np.count_nonzero(over.own_free)))
    if optimizer not in METHODS:
        raise InputError(f"There is no optimizer {optimizer!r}. There are: {', '.join(METHODS)}.")
    if not free:
        raise InputError("The design has no free cell: all are in its solid or void regions.")
    if iterations < 1 or not tolerance >= 0:
        raise InputError(
            f"minimize needs iterations >= 1 (it is {iterations}) and tolerance >= 0 "
            f"(it is {tolerance})."
        )
    if not 0 < move <= 1:
        raise InputError(f"minimize needs 0 < move <= 1, a share of each range (it is {move}).")
    _check_box(over)


def _check_box(over: Density) -> None:
    """Refuse crossed bounds and a start outside them; collective."""
    x, lower, upper = (a[over.own_free] for a in (over.own, over.own_lower, over.own_upper))
    with together(over.comm):
        if np.any(lower > upper):
            worst = int(np.argmax(lower - upper))
            raise InputError(
                f"The design's bounds leave nothing: a lower bound of {lower[worst]:g} is above "
                f"its upper bound of {upper[worst]:g}."
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


class _Run:
    """One minimisation: its evaluations, accepted points and best design; designs are slices."""

    def __init__(
        self,
        goal: Goal,
        over: Density,
        constraints: tuple[Constraint, ...],
        watchers: tuple[Watcher, ...],
        label: str,
        reduced: dict[Functional, Reduced],
        whole: bool,
    ) -> None:
        self.goal, self.over, self.constraints = goal, over, constraints
        self.watchers, self.label, self.whole = watchers, label, whole
        self.share = Share(over)
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
        self.evaluator = Evaluator([reduced[functional] for functional in functionals], over)
        self.log: list[tuple[Array, float, float, float, float, int, float]] = []
        self.best: Best
        self.iterations, self.number = 0, -1

    def request(self, betas: tuple[float, ...]) -> Request:
        """What a method is asked whether it is made for."""
        reduced = self.evaluator.reduced
        held = zip(self.constraints, (reduced[j] for j in self.where), strict=True)
        return Request(self.over, self.goal, tuple(held), betas)

    def stage(
        self,
        method: Method,
        beta: float,
        *,
        iterations: int,
        tolerance: float,
        move: float,
        memory: Memory | None,
    ) -> Ending:
        """Optimise at one steepness, from the present design or where a memory ends."""
        first, self.beta = not self.log, beta
        self.number += 1
        try:
            if memory is None:
                self._begin()
            else:
                self._recall(memory)
        except (EvaluationError, SolverError) as error:
            if first:
                raise
            return Ending("evaluation failed", str(error))
        if memory is None:
            if first:
                self._check_start()
            with together(self.evaluator.comm):
                self._accept(self.start)
        stage = Stage(
            self.evaluator,
            self.program,
            self,
            iterations=iterations,
            tolerance=tolerance,
            move=move,
            memory=memory,
        )
        try:
            ending = method(stage)
        except (EvaluationError, SolverError) as error:
            ending = Ending("evaluation failed", str(error))
        finally:
            loose = stage.accuracy.restore()
        if loose and ending.reason != "evaluation failed":
            ending = self._evaluate_best(ending)
        return self._judge(ending)

    def record(self, x: Array, memory: Memory | None) -> Iteration:
        """Keep the design evaluated last as an outer iteration."""
        self.iterations += 1
        return self._accept(x, memory)

    def _memory(self, memory: Memory) -> Memory:
        """A method's memory with what the run itself goes on with."""
        best = self.best
        memory = replace(memory, vectors=memory.vectors | {"best": best.design})
        return memory.beside(
            beta=self.beta,
            stage=self.number,
            iterations=self.iterations,
            evaluations=self.evaluator.count,
            log=[[*rest, *constraints] for constraints, *rest in self.log],
            best=[*best.key, best.violation, best.beta, *best.values],
            **self.program.numbers(),
        )

    def _recall(self, memory: Memory) -> None:
        """Go on after the accepted point that a memory is of."""
        x, numbers = memory.vectors["design"], memory.numbers
        self.evaluator.forget()
        self.evaluator.count = memory.integer("evaluations") - 1
        self.evaluator.at(x)
        self.evaluator.gradients()
        self.program = Program.from_numbers(numbers)
        self.number, self.iterations = memory.integer("stage"), memory.integer("iterations")
        self.log = [(row[6:], *row[:4].tolist(), int(row[4]), row[5]) for row in numbers["log"]]
        infeasible, merit, violation, beta = numbers["best"][:4].tolist()
        key, values = (bool(infeasible), merit), numbers["best"][4:]
        self.best, self.fresh = Best(key, memory.vectors["best"], values, violation, beta), False
        self.previous, self.clock = x.copy(), time.perf_counter()

    def _begin(self) -> None:
        """Evaluate the start of a stage and scale the program there."""
        self.evaluator.forget()
        x = self.evaluator.alike(self.over.own.copy())
        values = self.evaluator.at(x)
        slopes = self.share.take(self.evaluator.gradients())
        norms = np.sqrt(self.share.sum(np.sum(slopes**2, axis=1)))
        self.evaluator.comm.Bcast(norms)
        self.start = x
        self.program = Program.of(self.goal, self.constraints, self.where, values, norms)
        self.previous, self.clock, self.fresh = x, time.perf_counter(), True

    def _check_start(self) -> None:
        """Refuse constraints that no design meets and objectives that no design changes."""
        for constraint, j in zip(self.constraints, self.where, strict=True):
            _check_reachable(constraint, self.evaluator.reduced[j], self.over)
        for j, functional in enumerate(self.goal.functionals):
            if not self._slopes(self.evaluator.gradients()[j]):
                self._check_dependence(functional, j)
        self.over.assign(self.start)

    def _slopes(self, gradient: Array) -> bool:
        """Whether a gradient (own,) is other than 0 for a free variable; collective."""
        return self.share.max(np.abs(self.share.take(gradient))) > 0

    def _check_dependence(self, functional: Functional, j: int) -> None:
        """Look at one other design, since a gradient may be zero at the start alone."""
        over, reduced = self.over, self.evaluator.reduced[j]
        span = over.own_upper - over.own_lower
        shift = 0.1 + 0.2 * np.modf(over.owned * 0.6180339887)[0]
        shift = np.where(self.start - over.own_lower > 0.5 * span, -shift, shift)
        over.assign(np.where(over.own_free, self.start + shift * span, self.start))
        value = reduced.value()
        if value == self.evaluator.values[j] and not self._slopes(reduced.slope()):
            raise InputError(
                f"{functional.name} does not depend on the design: its value is {value:g} and its "
                "gradient 0 everywhere. Build it from the density's .physical."
            )

    def _accept(self, x: Array, memory: Memory | None = None) -> Iteration:
        """Keep an accepted point and tell the watchers."""
        values, now = self.evaluator.values, time.perf_counter()
        gradients = self.evaluator.gradients()
        violation = self.program.violation(values)
        objective, grey = self.goal.objective(values), self.over.greyness()
        change, count = self.share.max(np.abs(x - self.previous)), self.evaluator.count
        infeasible = violation > FEASIBLE
        key = (infeasible, violation if infeasible else self.program.merit(values))
        if self.fresh or key < self.best.key:
            self.best, self.fresh = Best(key, x.copy(), values.copy(), violation, self.beta), False
        held = values[self.where]
        self.log.append((held, objective, violation, change, grey, count, self.beta))
        if memory is not None:
            memory = self._memory(memory)
            if self.evaluator.journal is not None:
                self.evaluator.journal.remember(memory)
        entry = Iteration(
            label=self.label,
            index=self.iterations,
            evaluations=count,
            name=self.goal.name,
            objective=objective,
            constraints=tuple(
                Bounded(c.functional.name, float(values[j]), "<=" if c.sense > 0 else ">=", c.bound)
                for c, j in zip(self.constraints, self.where, strict=True)
            ),
            infeasibility=violation,
            change=change,
            greyness=grey,
            beta=self.beta,
            seconds=now - self.clock,
            rank=self.evaluator.comm.rank,
            memory=memory,
            design=self._given(x.copy()),
            gradients=self._given(gradients),
        )
        self.previous, self.clock = x.copy(), now
        for watcher in self.watchers:
            watcher(entry)
        return entry

    def _given(self, own: Array) -> Array | Sliced:
        """A slice for those outside: whole at once where the method holds whole designs anyway."""
        slices = self.over.slices
        return slices.gather(own) if self.whole else Sliced(slices, own)

    def _judge(self, ending: Ending) -> Ending:
        """Say infeasible where the best design is."""
        if self.best.violation <= FEASIBLE or ending.reason == "evaluation failed":
            return ending
        rows = self.program.rows(self.best.values)[self.program.hard :]
        worst = self.constraints[int(np.argmax(rows))]
        value = self.best.values[self.where[int(np.argmax(rows))]]
        return Ending(
            "infeasible",
            f"No feasible design was found: {worst.name} is {value:.6g} at the best one. "
            f"{ending.message}",
        )

    def _evaluate_best(self, ending: Ending) -> Ending:
        """Evaluate the best design as exactly as the solvers do; how the stage ends with that."""
        try:
            values = self.evaluator.at(self.best.design)
        except (EvaluationError, SolverError) as error:
            return Ending("evaluation failed", str(error))
        violation = self.program.violation(values)
        self.best = self.best._replace(values=values.copy(), violation=violation)
        return ending

    def settle(self) -> None:
        """Leave the density at the best design."""
        self.over.sharpen(self.best.beta)
        self.over.assign(self.best.design)

    def result(self, ending: Ending, seconds: float) -> Result:
        """The outcome."""
        best, names = self.best, _unique([c.name for c in self.constraints])
        constraints, objective, infeasibility, change, greyness, evaluations, beta = zip(
            *self.log, strict=True
        )
        return Result(
            design=self._given(best.design),
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
    for bounds in (over.own_lower, over.own_upper):
        over.assign(np.where(over.own_free, bounds, over.own))
        with np.errstate(all="ignore"):
            ends.append(float(reduced.value()))
            if not np.isfinite(ends[-1]):
                return
            slopes.append(reduced.slope()[over.own_free])
    same = np.allclose(slopes[0], slopes[1], rtol=1e-9, atol=0)
    agreed = np.array([same, np.all(slopes[0] >= 0), np.all(slopes[0] <= 0)])
    over.comm.Allreduce(MPI.IN_PLACE, agreed, op=MPI.LAND)
    linear, one_sign = agreed[0], agreed[1] or agreed[2]
    violations = [constraint.sense * (end - constraint.bound) for end in ends]
    if linear and one_sign and min(violations) > 1e-12:
        raise InputError(
            f"{constraint.name} cannot be met: it is {ends[0]:.6g} at the lower bounds of the "
            f"design and {ends[1]:.6g} at the upper ones."
        )
