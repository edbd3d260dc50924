"""The program that nlopt solves: rows that are affine in the functionals' values.

    min r₀   subject to   rᵢ ≤ 0,   r = W J(x) + o + a t + e s,   l ≤ x ≤ u

A goal gives the first rows: one functional scaled by its start, or a scalarisation of several with
a slack variable t. Each constraint adds the row ± (Jᵢ − bᵢ) / max(|bᵢ|, |Jᵢ(x₀)|). A start that
violates one by v brings the elastic variable 0 ≤ s ≤ 2v, with weight c in r₀ and −1 in the
constraints' rows: an exact penalty once c exceeds the sum of the multipliers (K. Svanberg, Int. J.
Numer. Meth. Engng 24, 359–373, 1987, doi:10.1002/nme.1620240207). Without it nlopt's own treatment
of an infeasible start, a bound of 1e40 on the multipliers, may overshoot to an empty design.
Everything here is arithmetic on numbers that are the same on every rank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from toolkit.functional import Constraint, Functional

__all__ = ["FEASIBLE", "Extra", "Goal", "Program", "Rows", "Single"]

Array = npt.NDArray[np.float64]

FEASIBLE = 1e-6  # a design whose largest normalised violation is at most this counts as feasible


class Rows(NamedTuple):
    """What a goal asks of nlopt: rows that are affine in the functionals' values and one slack t.

    Row 0 is minimised, the others shall be ≤ 0:   weights @ values + offsets + slack t.
    """

    weights: Array
    offsets: Array
    slack: Array


class Goal(Protocol):
    """What is minimised: one functional, or a scalarisation of several."""

    @property
    def functionals(self) -> tuple[Functional, ...]:
        """The functionals that it needs."""

    @property
    def name(self) -> str:
        """Its name in the user's words."""

    def rows(self, start: Array, norms: Array) -> Rows:
        """Its rows, given the functionals' values and gradient norms at the start of a stage."""

    def objective(self, values: Array) -> float:
        """The number that the history shows, given the functionals' values."""


@dataclass(frozen=True)
class Single:
    """One functional, scaled by its value at the start, or by its gradient's norm if that is 0."""

    functional: Functional

    @property
    def functionals(self) -> tuple[Functional, ...]:
        """The functional."""
        return (self.functional,)

    @property
    def name(self) -> str:
        """The functional's name."""
        return self.functional.name

    def rows(self, start: Array, norms: Array) -> Rows:
        """The row J / |J(x₀)|."""
        scale = abs(start[0]) or norms[0] or 1.0
        return Rows(np.array([[1 / scale]]), np.zeros(1), np.zeros(1))

    def objective(self, values: Array) -> float:
        """The functional's value."""
        return float(values[0])


@dataclass(frozen=True)
class Program:
    """A goal's rows followed by those of the constraints, scaled at the start of a stage."""

    weights: Array
    offsets: Array
    slack: Array
    hard: int

    @classmethod
    def of(
        cls,
        goal: Goal,
        constraints: tuple[Constraint, ...],
        where: list[int],
        start: Array,
        norms: Array,
    ) -> Self:
        """Put a goal and constraints together; where[i] is the functional of constraint i."""
        head, k = goal.rows(start, norms), len(goal.functionals)
        hard, rows = len(head.offsets), len(head.offsets) + len(constraints)
        weights, offsets, slack = np.zeros((rows, len(start))), np.zeros(rows), np.zeros(rows)
        weights[:hard, :k], offsets[:hard], slack[:hard] = head
        for row, (constraint, j) in enumerate(zip(constraints, where, strict=True), start=hard):
            scale = max(abs(constraint.bound), abs(start[j])) or norms[j] or 1.0
            weights[row, j] = constraint.sense / scale
            offsets[row] = -constraint.sense * constraint.bound / scale
        return cls(weights, offsets, slack, hard)

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Array]) -> Self:
        """The program that `numbers` gave."""
        weights, offsets, column = (numbers[name] for name in ("weights", "offsets", "column"))
        return cls(weights, offsets, column, int(numbers["hard"]))

    def numbers(self) -> dict[str, object]:
        """What it consists of, by name."""
        return {
            "weights": self.weights,
            "offsets": self.offsets,
            "column": self.slack,
            "hard": self.hard,
        }

    def rows(self, values: Array) -> Array:
        """All rows at t = 0."""
        return self.weights @ values + self.offsets

    def tightest(self, values: Array) -> float:
        """The smallest slack t that the goal's rows allow."""
        return self._tightest(self.rows(values))

    def merit(self, values: Array) -> float:
        """The minimised row at the smallest slack."""
        return self.merit_of(self.rows(values))

    def merit_of(self, rows: Array) -> float:
        """The same for rows (1 + m,) at t = 0."""
        return float(rows[0] + self.slack[0] * self._tightest(rows))

    def _tightest(self, rows: Array) -> float:
        held = self.slack < 0
        return float(np.max(rows[held] / -self.slack[held])) if held.any() else 0.0

    def affine(self, functionals: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows (1 + m,) mention only functionals (k,) that are affine in the design."""
        return ~np.any((self.weights != 0) & ~functionals, axis=1)

    def violation(self, values: Array) -> float:
        """The largest normalised violation of a constraint, 0 where all hold."""
        return max(0.0, float(np.max(self.rows(values)[self.hard :], initial=0.0)))


class Extra(NamedTuple):
    """The variables beside the design: the goal's slack t, the elastic s; one column each."""

    columns: Array
    lower: Array
    upper: Array
    start: Array

    @classmethod
    def of(cls, program: Program, values: Array, weight: float) -> Self:
        """The extra variables that a start with these values needs."""
        columns, boxes = [], []
        if program.slack.any():
            t = program.tightest(values)
            columns.append(program.slack)
            boxes.append((min(t, 0.0) - 1, max(t, 1.0) + 1, t))
        violation = program.violation(values)
        if violation > 0:
            elastic = np.zeros(len(program.offsets))
            elastic[program.hard :] = -1
            elastic[0] = weight
            columns.append(elastic)
            boxes.append((0.0, max(2 * violation, FEASIBLE), violation))
        box = np.array(boxes).reshape(-1, 3)
        shape = (len(columns), len(program.offsets))
        return cls(np.reshape(columns, shape).T, box[:, 0], box[:, 1], box[:, 2])
