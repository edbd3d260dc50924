"""pareto: designs of which none can be improved in one objective but at the cost of another.

The ends of the front minimise one objective each, under the user's constraints and `limits` on the
others. Between them, with f̄ᵢ = (fᵢ − idealᵢ) / (nadirᵢ − idealᵢ) taken from the ends,

    "epsilon"       min f̄₁           subject to   f̄ⱼ ≤ εⱼ           (Haimes, Lasdon & Wismer 1971)
    "tchebycheff"   min t + ρ Σ f̄ᵢ   subject to   wᵢ f̄ᵢ ≤ t

where the slack t replaces the maximum of the augmented Tchebycheff norm, so that all is smooth, and
reaches the concave parts of a front too (Steuer & Choo, Math. Program. 26, 326–344, 1983,
doi:10.1007/BF02591870). With two objectives every point goes into the widest gap that either
objective shows at the time: as a bound in its middle, or by the norm of the box that the neighbours
span. Six bisections suffice to leave no gap above a quarter of either range. With three, the
targets are spread over the triangle between the ends. Each point starts from the nearest design
that satisfies its bounds. Designs to begin from, `seeds`, are a baseline too: an end that starts
from the best of them is at least as good in its objective as any that meets the constraints.

The hypervolume is that between the non-dominated points and a stated reference point, and the knee
is the non-dominated point that lies furthest from the chord between the ends (Das, Struct. Optim.
18, 107–115, 1999, doi:10.1007/BF01195985); with three objectives, the one nearest to the ideal.
Every rank computes the same front. With k groups of ranks k points are computed at a time: the
ends, then one in each of the k widest gaps, as far as there are that many. The designs found depend
on k, not on the number of ranks.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import batched, pairwise
from pathlib import Path
from typing import NamedTuple

import moocore
import numpy as np
import numpy.typing as npt

from toolkit.checkpoint import Run, from_points
from toolkit.density import Density
from toolkit.errors import InputError, SolverError
from toolkit.functional import Constraint, Functional, everyone
from toolkit.groups import Groups
from toolkit.identity import identity
from toolkit.journal import Checkpoint, checkpointing
from toolkit.optimize import (
    Result,
    check_settings,
    constraint_list,
    hand_over,
    recalled,
    solve,
)
from toolkit.program import Goal, Rows, Single
from toolkit.progress import Iteration, progress

__all__ = ["Front", "Point", "Tchebycheff", "pareto"]

Array = npt.NDArray[np.float64]

AUGMENTATION = 1e-3  # ρ: weight of the sum, which rules out weakly efficient points
DEGENERATE = 1e3  # growth of the other objective that makes an end of the front meaningless
NEAR = 1e-4  # share of a bound by which a seed may miss it; the first iteration makes up for it
MARGIN = 0.1  # the reference point lies this part of the range beyond the worst end


class Point(NamedTuple):
    """A design of the front.

    Attributes:
        result: what its optimisation returned.
        values: (k,) the objectives there.
        dominated: whether another point is as good in all objectives, or it is infeasible.
        label: what it was made for.
    """

    result: Result
    values: Array
    dominated: bool
    label: str


@dataclass(frozen=True)
class Front:
    """The designs found, the first ones the ends of the front, and how good they are together.

    Attributes:
        objectives: (k,) names with units; all are minimised.
        points: the points, dominated ones included and marked.
        reference: (k,) the point up to which the hypervolume is measured.
        ideal: (k,) least value of each objective among the non-dominated points.
        nadir: (k,) largest value of each objective among the non-dominated points.
        hypervolume: volume between the non-dominated points and the reference.
        knee: index of the point of best compromise.
        over: the density; it is left at the knee.
        functionals: (k,) the objectives.
        constraints: the user's constraints.
        seconds: wall time.
        baseline: (n, k) objectives of designs to compare with, which the report draws beside the
            front; `against` adds them.
        groups: those that computed it side by side; every one holds the whole front.
    """

    objectives: tuple[str, ...]
    points: tuple[Point, ...]
    reference: Array
    ideal: Array
    nadir: Array
    hypervolume: float
    knee: int
    over: Density
    functionals: tuple[Functional, ...]
    constraints: tuple[Constraint, ...]
    seconds: float
    baseline: Array | None = None
    groups: Groups | None = None

    @property
    def values(self) -> Array:
        """(points, k) objectives."""
        return np.array([point.values for point in self.points])

    def against(self, designs: Iterable[float | Array]) -> "Front":
        """The same front beside other designs, for example uniform ones; collective.

        Args:
            designs: numbers for uniform designs, or vectors (cells,).

        Raises:
            InputError: a design outside the density's bounds.
        """
        over, values = self.over, []
        before = over.vector
        for x in _vectors(designs, over):
            over.update(x)
            values.append([float(functional) for functional in self.functionals])
        over.update(before)
        return replace(self, baseline=np.array(values))

    @property
    def gain(self) -> float:
        """Hypervolume over that of the baseline; infinite if no baseline reaches the reference."""
        if self.baseline is None:
            raise InputError("This front has no baseline to compare with: use front.against(...).")
        below = self.baseline[np.all(self.baseline < self.reference, axis=1)]
        other = float(moocore.hypervolume(below, ref=self.reference)) if len(below) else 0.0
        return self.hypervolume / other if other > 0 else float("inf")

    def table(self) -> str:
        """The front in plain text, one point a line."""
        widths = [max(12, len(name)) for name in self.objectives]
        head = "  ".join(f"{n:>{w}}" for n, w in zip(self.objectives, widths, strict=True))
        lines = [f"point  {head}  iterations  evaluations  remarks"]
        for k, point in enumerate(self.points):
            cells = "  ".join(f"{v:>{w}.5g}" for v, w in zip(point.values, widths, strict=True))
            result = point.result
            lines.append(
                f"{k + 1:>5}  {cells}  {result.iterations:>10}  {result.evaluations:>11}  "
                f"{', '.join(self._remarks(k))}"
            )
        reference = ", ".join(f"{value:.5g}" for value in self.reference)
        total = sum(point.result.evaluations for point in self.points)
        lines.append(
            f"hypervolume {self.hypervolume:.5g} up to ({reference}), "
            f"{total} evaluations, {self.seconds:.0f} s"
        )
        if self.baseline is not None:
            lines.append(f"{self.gain:.3g} times the hypervolume of the designs compared with")
        return "\n".join(lines)

    def _remarks(self, k: int) -> list[str]:
        point = self.points[k]
        remarks = [point.label]
        if k == self.knee:
            remarks.append("knee")
        if not point.result.feasible:
            remarks.append("infeasible")
        elif point.dominated:
            remarks.append("dominated")
        if point.result.reason == "evaluation failed":
            remarks.append("evaluation failed")
        return remarks

    def write(
        self,
        folder: str | Path,
        *,
        cell: float | None = None,
        part: str | Sequence[str] | None = None,
        figures: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the report, tables, designs and pictures into a folder; collective.

        Args:
            folder: made if it is not there.
            cell: period of the lattice that the design is written as, in units of the mesh.
            part: the named volume or volumes that are written to print; else all of the domain.
            figures: pictures that the script has drawn into the folder, for the report: caption by
                file name.

        Returns:
            The folder.

        Raises:
            InputError: a folder that cannot be written, on every rank; the front stays usable.
        """
        from toolkit import report  # the report room draws fronts, so it stands above this one

        def written() -> Path:
            return report.write(self, folder, cell=cell, part=part, figures=figures)

        return written() if self.groups is None else Path(self.groups.first(written))


@dataclass(frozen=True)
class Tchebycheff:
    """The augmented Tchebycheff norm of normalised objectives, by a slack variable.

    Attributes:
        functionals: (k,) the objectives.
        weights: (k,) wᵢ > 0.
        ideal: (k,) where f̄ᵢ = 0.
        spans: (k,) nadir − ideal.
    """

    functionals: tuple[Functional, ...]
    weights: Array
    ideal: Array
    spans: Array

    @property
    def name(self) -> str:
        """Its name in progress lines."""
        return "tchebycheff"

    def rows(self, start: Array, norms: Array) -> Rows:
        """Minimise t + ρ Σ f̄ᵢ under wᵢ f̄ᵢ − t ≤ 0."""
        k = len(self.weights)
        weights = np.vstack([AUGMENTATION / self.spans, np.diag(self.weights / self.spans)])
        return Rows(weights, -weights @ self.ideal, np.array([1.0] + k * [-1.0]))

    def objective(self, values: Array) -> float:
        """The norm at the objectives' values."""
        scaled = (values[: len(self.weights)] - self.ideal) / self.spans
        return float(np.max(self.weights * scaled) + AUGMENTATION * np.sum(scaled))


def pareto(
    f: Functional,
    g: Functional,
    *more: Functional,
    over: Density,
    subject_to: Constraint | Iterable[Constraint] = (),
    limits: Mapping[Functional, float] | None = None,
    seeds: Iterable[float | Array] = (),
    points: int = 9,
    method: str = "epsilon",
    iterations: int = 25,
    optimizer: str = "mma",
    sharpen: Sequence[float] = (),
    tolerance: float = 1e-4,
    checkpoint: str | Path | None = None,
    resume: bool | None = None,
    wall_time: float | None = None,
    reproducible: bool = False,
    watch: Iterable[Callable[[Iteration], None]] = (progress,),
    groups: Groups | None = None,
) -> Front:
    """The front of two or three objectives, each minimised; collective over all groups.

    Args:
        f: first objective.
        g: second objective; one to be maximised is passed with a minus.
        more: a third objective.
        over: the density; its present design starts the ends. It is left at the knee.
        subject_to: constraints that every point satisfies.
        limits: objective → largest value that is of use. Bounds the ends of the front.
        seeds: other designs to begin from, numbers or vectors (cells,): an end starts from the
            best in its objective, of these and the present one, that meets constraints and limits.
        points: number of points, the ends included.
        method: "epsilon" or "tchebycheff".
        iterations: largest number of outer iterations in a stage of an interior point; an end of
            the front gets twice as many, since it starts from further away.
        optimizer: as in `minimize`.
        sharpen: as in `minimize`, for every point.
        tolerance: as in `minimize`; an end of the front gets a tenth of it.
        checkpoint: as in `minimize`; once a point is done, its evaluations are replaced by it.
        resume: as in `minimize`.
        wall_time: as in `minimize`.
        reproducible: as in `minimize`.
        watch: as in `minimize`.
        groups: compute as many points at a time as there are groups, each of which holds the mesh
            (`comm=groups.comm`) and states the problem.

    Raises:
        InputError: settings that cannot work, a seed outside the bounds, constraints that no
            design meets, an end that needs a limit on the other objective, a mesh that does not
            lie whole on each group, or a checkpoint of another problem.
        Interrupted: the run was asked to stop.
    """
    objectives, constraints = (f, g, *more), constraint_list(subject_to)
    functionals = [*objectives, *(c.functional for c in constraints)]
    hand_over(functionals, over)
    _check(objectives, points, method, iterations)
    if groups is not None:
        _check_groups(groups, over, functionals)
    check_settings(over, iterations, optimizer, tolerance)
    bounds = _limits(objectives, limits or {})
    starts = _vectors(seeds, over)
    options = {
        "limits": bounds,
        "seeds": len(starts),
        "points": points,
        "method": method,
        "iterations": iterations,
        "optimizer": optimizer,
        "sharpen": sharpen,
        "tolerance": tolerance,
        "reproducible": reproducible,
        "groups": 1 if groups is None else groups.number,
    }
    problem = None if checkpoint is None else identity(objectives, constraints, over, options)
    comm = everyone(functionals, over.comm) if groups is None else groups.world
    began = time.perf_counter()
    with checkpointing(checkpoint, comm, problem, resume=resume, wall_time=wall_time) as kept:
        search = _Search(
            objectives=objectives,
            over=over,
            constraints=constraints,
            limits=bounds,
            seeds=starts,
            total=points,
            iterations=iterations,
            solver=partial(
                solve,
                over=over,
                optimizer=optimizer,
                sharpen=sharpen,
                reproducible=reproducible,
                watch=watch,
                reduced={},
            ),
            tolerance=tolerance,
            checkpoint=kept,
            reproducible=reproducible,
            groups=groups,
        )
        search.ends()
        if np.all(search.spans > 0):
            _fill(search, method)
        return search.front(began)


def _check(objectives: tuple[Functional, ...], points: int, method: str, iterations: int) -> None:
    """Refuse settings that cannot work, before anything is solved."""
    k = len(objectives)
    if k > 3:
        raise InputError(f"pareto takes two or three objectives, not {k}. Make some constraints.")
    if len({id(functional) for functional in objectives}) < k:
        raise InputError("pareto was given one objective twice.")
    if method not in ("epsilon", "tchebycheff"):
        raise InputError(f"There is no method {method!r}. There are: epsilon, tchebycheff.")
    if points < k or iterations < 1:
        raise InputError(
            f"pareto needs points >= {k}, the ends of the front (it is {points}), and "
            f"iterations >= 1 (it is {iterations})."
        )


def _check_groups(groups: Groups, over: Density, functionals: Iterable[Functional]) -> None:
    """Refuse a problem that a group cannot solve on its own."""
    groups.check_domain(over.domain)
    for functional in functionals:
        if functional.wide:
            raise InputError(
                f"'{functional.name}' is a total over groups, which needs them all, and "
                "pareto(groups=…) gives each a point of its own. Leave one of the two out."
            )


def _limits(objectives: tuple[Functional, ...], given: Mapping[Functional, float]) -> list[float]:
    """The limit of each objective, infinite without one.

    Raises:
        InputError: a limit on something that is not an objective.
    """
    found = [np.inf] * len(objectives)
    names = ", ".join(functional.name for functional in objectives)
    for functional, value in given.items():
        places = [j for j, objective in enumerate(objectives) if objective is functional]
        if not places:
            raise InputError(
                f"limits holds {functional.name!r}, which is not an objective. The objectives "
                f"are: {names}. Give pareto and limits the same object."
            )
        found[places[0]] = float(value)
    return found


def _vectors(designs: Iterable[float | Array], over: Density) -> list[Array]:
    """Designs as vectors (cells,); a number leaves what is not free as it is.

    Raises:
        InputError: a design outside the density's bounds.
    """
    found = []
    for design in designs:
        x = np.where(over.free, design, over.vector if np.ndim(design) == 0 else design)
        if not np.all((x >= over.lower) & (x <= over.upper) | ~over.free):
            raise InputError(
                f"A design to compare with lies outside the bounds: {np.min(x):g} to "
                f"{np.max(x):g}, where {over.lower.min():g} to {over.upper.max():g} may be."
            )
        found.append(x)
    return found


class _Aim(NamedTuple):
    """A point to be found: what is minimised, under which bounds on objectives, from where."""

    goal: Goal
    bounds: Mapping[int, float]
    label: str
    start: Array
    end: bool = False


class _Search:
    """The points found so far, and the ways to find more.

    Attributes:
        beside: how many points are found at a time.
    """

    def __init__(
        self,
        *,
        objectives: tuple[Functional, ...],
        over: Density,
        constraints: tuple[Constraint, ...],
        limits: list[float],
        total: int,
        iterations: int,
        tolerance: float,
        solver: Callable[..., Result],
        seeds: Sequence[Array] = (),
        checkpoint: Checkpoint | None = None,
        reproducible: bool = False,
        groups: Groups | None = None,
    ) -> None:
        self.objectives, self.over, self.constraints = objectives, over, constraints
        self.limits, self.seeds, self.total = limits, seeds, total
        self.iterations, self.tolerance, self.solver = iterations, tolerance, solver
        self.checkpoint, self.reproducible = checkpoint, reproducible
        self.groups, self.beside = groups, 1 if groups is None else groups.number
        self.results: list[Result] = []
        self.values: list[Array] = []
        self.labels: list[str] = []

    def ends(self) -> None:
        """Minimise each objective alone, under the limits on the others."""
        start, first = self.over.vector.copy(), self._measure()
        starts = self._starts(start, first)
        for some in batched(range(len(self.objectives)), self.beside):
            self.find([self._end(i, starts[i]) for i in some])
            for i in some:
                self._check_end(i, first)
        corners = np.array(self.values)
        self.ideal, self.nadir = corners.min(axis=0), corners.max(axis=0)
        self.spans = self.nadir - self.ideal
        self.spans[self.spans <= 1e-9 * np.abs(corners).max(axis=0)] = 0.0

    def _end(self, i: int, start: Array) -> _Aim:
        """Minimise one objective under the limits on the others."""
        others = [j for j in range(len(self.objectives)) if j != i]
        bounds = {j: self.limits[j] for j in others if np.isfinite(self.limits[j])}
        objective = self.objectives[i]
        return _Aim(Single(objective), bounds, f"least {objective.name}", start, end=True)

    def _starts(self, start: Array, first: Array) -> list[Array]:
        """For each objective the best of the seeds and the present design that is feasible."""
        best, starts = np.full(len(first), np.inf), [start] * len(first)
        for x in (start, *self.seeds) if self.seeds else ():
            self.over.update(x)
            values, met = self._measure(), self._meets()
            useful = values <= np.array(self.limits) + NEAR * np.abs(values)
            for i, value in enumerate(values):
                if met and value < best[i] and np.delete(useful, i).all():
                    best[i], starts[i] = value, x
        return starts

    def _meets(self) -> bool:
        """Whether the present design satisfies the user's constraints, the same on every rank."""
        met = True
        for constraint in self.constraints:
            excess = np.nan
            with suppress(SolverError):
                excess = constraint.sense * (float(constraint.functional) - constraint.bound)
            met = met and excess <= NEAR * abs(constraint.bound)
        functionals = [*self.objectives, *(c.functional for c in self.constraints)]
        return bool(everyone(functionals, self.over.comm).bcast(met))

    def _check_end(self, i: int, first: Array) -> None:
        """Refuse an end that is infeasible, or at which another objective is lost."""
        result, values, name = self.results[i], self.values[i], self.objectives[i].name
        if result.reason == "infeasible":
            raise InputError(
                f"The front has no end of least {name}. {result.message} Loosen the constraints "
                "or the limits."
            )
        for j, objective in enumerate(self.objectives):
            bounded = j == i or np.isfinite(self.limits[j])
            if not bounded and (result.reason == "evaluation failed" or _lost(values[j], first[j])):
                raise InputError(
                    f"The design of least {name} is of no use: {objective.name} goes from "
                    f"{first[j]:.4g} at the start to {values[j]:.4g}. {result.message} Say how "
                    "much of it is of use, for example "
                    f"limits={{{objective.name}: {first[j] + 9 * abs(first[j]):.3g}}}."
                )

    def _measure(self) -> Array:
        """The objectives at the density's present design, the same on every rank.

        One whose state cannot be solved there is not a number.
        """
        values = np.full(len(self.objectives), np.nan)
        for objective in self.objectives if self.reproducible else ():
            for state in objective.states:
                state.reset()
        for j, objective in enumerate(self.objectives):
            with suppress(SolverError):
                values[j] = float(objective)
        return np.asarray(everyone(self.objectives, self.over.comm).bcast(values))

    def find(self, aims: Sequence[_Aim]) -> None:
        """Add the points of some aims, found side by side by the groups, or from file."""
        numbered = list(enumerate(aims, start=len(self.results) + 1))
        kept, found = self.checkpoint, None
        if kept is not None and kept.done is not None and numbered[-1][0] <= len(kept.done.labels):
            found = [self._recall(kept, kept.done, *aim) for aim in numbered]
        elif self.groups is None:
            found = [self._solve(aim) for aim in numbered]
        else:
            found = self.groups.map(self._solve, numbered)
        for (result, values), aim in zip(found, aims, strict=True):
            self.results.append(result)
            self.labels.append(aim.label)
            self.values.append(values)
        if kept is not None and (kept.done is None or numbered[-1][0] > len(kept.done.labels)):
            names = [objective.label for objective in self.objectives]
            kept.fold(from_points(self.results, self.over, names, self.values, self.labels))

    def _recall(self, kept: Checkpoint, done: Run, number: int, aim: _Aim) -> tuple[Result, Array]:
        """A point that is on file.

        Raises:
            InputError: it was made for another aim.
        """
        label = done.labels[number - 1]
        if label != aim.label:
            raise InputError(
                f"Point {number} in {kept.folder} is of another problem: it was made for "
                f"'{label}', and here it is '{aim.label}'. Start anew without resume."
            )
        return recalled(done, self.over, number - 1), done.values[number - 1]

    def _solve(self, numbered: tuple[int, _Aim]) -> tuple[Result, Array]:
        """Minimise a goal from its start, under bounds on objectives, and measure the design."""
        number, aim = numbered
        self.over.update(aim.start)
        extra = tuple(self.objectives[j] <= bound for j, bound in aim.bounds.items())
        kept, slices = self.checkpoint, self.over.slices
        held = [constraint.functional for constraint in self.constraints]
        comm = everyone([*self.objectives, *held], self.over.comm)
        result = self.solver(
            aim.goal,
            constraints=self.constraints + extra,
            iterations=2 * self.iterations if aim.end else self.iterations,
            tolerance=self.tolerance / 10 if aim.end else self.tolerance,
            journal=None if kept is None else kept.journal(number, comm, slices),
            label=f"point {number}/{self.total}",
        )
        return result, self._measure()

    def normal(self) -> Array:
        """(points, k) objectives, 0 at the ideal and 1 at the nadir of the ends."""
        return (np.array(self.values) - self.ideal) / self.spans

    def front_order(self) -> list[int]:
        """The non-dominated points, in ascending order of the first objective."""
        kept = np.flatnonzero(~self.dominated())
        return sorted(kept, key=lambda k: tuple(self.values[k]))

    def dominated(self) -> npt.NDArray[np.bool_]:
        """Which points are infeasible or no better than another one in any objective."""
        unusable = ~np.isfinite(self.values).all(axis=1)
        lost = unusable | np.array([not result.feasible for result in self.results])
        good = np.flatnonzero(~lost)
        if len(good):
            values = np.array(self.values)[good]
            lost[good] = ~moocore.is_nondominated(values, keep_weakly=False)
        return lost

    def epsilon(self, target: Array, axis: int | None = None) -> _Aim:
        """Minimise one objective under bounds on the others at a normalised target (k,).

        Args:
            target: normalised objectives; those other than the minimised one become bounds.
            axis: with two objectives, the one that is bounded; else the first is minimised.
        """
        k = len(self.objectives)
        minimised = 0 if axis is None else 1 - axis
        bounds = {
            j: float(self.ideal[j] + target[j] * self.spans[j]) for j in range(k) if j != minimised
        }
        label = ", ".join(f"{self.objectives[j].name} <= {b:.4g}" for j, b in bounds.items())
        start = self._near(target, list(bounds))
        return _Aim(Single(self.objectives[minimised]), bounds, label, start)

    def tchebycheff(self, target: Array) -> _Aim:
        """Minimise the Tchebycheff norm along the ray from the ideal through a target (k,)."""
        weights = 1 / np.maximum(target, 1e-2)
        label = f"towards ({', '.join(f'{value:.2f}' for value in target)})"
        return self._towards(target, weights / weights.sum(), self.ideal, self.spans, label)

    def between(self, left: Array, right: Array) -> _Aim:
        """Minimise the Tchebycheff norm of the box that two neighbours (k,) span."""
        corner, box = np.minimum(left, right), np.maximum(np.abs(left - right), 1e-3)
        weights = np.full(len(box), 1 / len(box))
        ideal, spans = self.ideal + corner * self.spans, box * self.spans
        middle = (left + right) / 2
        shown = ", ".join(f"{value:.4g}" for value in self.ideal + middle * self.spans)
        return self._towards(middle, weights, ideal, spans, f"near ({shown})")

    def _towards(
        self, target: Array, weights: Array, ideal: Array, spans: Array, label: str
    ) -> _Aim:
        bounds = {j: b for j, b in enumerate(self.limits) if np.isfinite(b)}
        goal = Tchebycheff(self.objectives, weights, ideal, spans)
        return _Aim(goal, bounds, label, self._near(target, []))

    def _near(self, target: Array, bounded: list[int]) -> Array:
        """Where to begin: the mean of the designs of a target's neighbours, weighted by nearness.

        With three objectives, or outside the front: from the feasible point nearest to the target,
        one within the bounds if there is.
        """
        line = self.front_order()
        if len(self.objectives) == 2 and len(line) > 1:
            along = self.normal()[line]
            for a, b in pairwise(range(len(line))):
                if along[a, 0] <= target[0] <= along[b, 0]:
                    far = np.linalg.norm(along[[a, b]] - target, axis=1)
                    weight = far[1] / far.sum()
                    left, right = self.results[line[a]].design, self.results[line[b]].design
                    return np.asarray(weight * left + (1 - weight) * right)
        normal = self.normal()
        excess = np.maximum(normal[:, bounded] - target[bounded], 0).sum(axis=1)
        distance = np.linalg.norm(normal - target, axis=1)
        feasible = np.array([result.feasible for result in self.results])
        order = np.lexsort([distance, np.maximum(excess - 1e-6, 0), ~feasible])
        return self.results[order[0]].design

    def widest_gaps(self, count: int) -> list[tuple[Array, Array, int]]:
        """The neighbours (k,), normalised, that are furthest apart in one objective, and which."""
        line = self.normal()[self.front_order()]
        if len(line) < 2:
            return []
        gaps = np.abs(np.diff(line, axis=0))
        widest = np.argsort(-gaps.max(axis=1), stable=True)[:count]
        return [(line[i], line[i + 1], int(np.argmax(gaps[i]))) for i in widest]

    def front(self, began: float) -> Front:
        """The front, with the density left at its knee."""
        dominated, values = self.dominated(), np.array(self.values)
        kept = values[~dominated]
        ideal, nadir = kept.min(axis=0), kept.max(axis=0)
        width = np.where(self.spans > 0, self.spans, np.maximum(np.abs(self.nadir), 1.0))
        reference = self.nadir + MARGIN * width
        knee = _knee(values, dominated, ideal, nadir)
        self.over.update(self.results[knee].design)
        return Front(
            objectives=tuple(functional.label for functional in self.objectives),
            points=tuple(
                Point(*entry)
                for entry in zip(
                    self.results, self.values, dominated.tolist(), self.labels, strict=True
                )
            ),
            reference=reference,
            ideal=ideal,
            nadir=nadir,
            hypervolume=float(moocore.hypervolume(kept, ref=reference)),
            knee=knee,
            over=self.over,
            functionals=self.objectives,
            constraints=self.constraints,
            seconds=time.perf_counter() - began,
            groups=self.groups,
        )


def _lost(value: float, start: float) -> bool:
    """Whether an objective has grown by orders of magnitude, or is not a number."""
    if start == 0:
        return not np.isfinite(value)
    return not value <= start + DEGENERATE * abs(start)


def _fill(search: _Search, method: str) -> None:
    """Add the interior points; with two objectives, stop early where one end dominates all."""
    interior = search.total - len(search.objectives)
    if len(search.objectives) == 3:
        aim = search.epsilon if method == "epsilon" else search.tchebycheff
        for targets in batched(_spread(interior), search.beside):
            search.find([aim(target) for target in targets])
        return
    while left := search.total - len(search.results):
        gaps = search.widest_gaps(min(search.beside, left))
        if not gaps:
            return
        search.find(
            [search.epsilon((a + b) / 2, axis) for a, b, axis in gaps]
            if method == "epsilon"
            else [search.between(a, b) for a, b, _ in gaps]
        )


def _spread(count: int) -> list[Array]:
    """Points spread evenly over the triangle Σ f̄ᵢ = 1, the golden-ratio sequence folded into it."""
    golden = 1.3247179572447460
    points = []
    for n in range(1, count + 1):
        a, b = np.modf(0.5 + n / np.array([golden, golden**2]))[0]
        a, b = (1 - a, 1 - b) if a + b > 1 else (a, b)
        points.append(np.array([1 - a - b, a, b]))
    return points


def _knee(values: Array, dominated: npt.NDArray[np.bool_], ideal: Array, nadir: Array) -> int:
    """The index of the best compromise among the non-dominated points."""
    kept = np.flatnonzero(~dominated)
    normal = (values[kept] - ideal) / np.where(nadir > ideal, nadir - ideal, 1.0)
    if values.shape[1] == 2:
        return int(kept[np.argmin(normal.sum(axis=1))])
    return int(kept[np.argmin(np.linalg.norm(normal, axis=1))])
