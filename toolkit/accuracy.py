"""Accuracy: states solved as exactly as the optimizer needs while its steps are large.

A functional whose adjoint lies in the span of its states, as a compliance or a tensor of a cell
has it, is stationary in them: a relative residual ε changes its value by O(ε²). Of a step that
gains the share g of the objective, an error of 10⁻³ g is not noticed, so the next states are
solved to

    ε = 0.01 √g,   at most 10⁻³ and 100 ε₀,   at least ε₀,

ε₀ being what their solvers are set to, which knows how well the physics is conditioned.

That holds for states on which no constraint depends, since a constraint is to hold to 10⁻⁶, and
not where an adjoint had to be solved: there a value is wrong by O(ε). Those are solved as exactly
as their solvers are set to. Steps become small before a run ends, and its result is evaluated
exactly.
"""

from math import sqrt

import numpy as np

from toolkit.adjoint import Reduced
from toolkit.evaluator import Evaluator
from toolkit.program import Program
from toolkit.solver import LinearSolver
from toolkit.state import State, with_upstream

__all__ = ["Accuracy"]

SHARE = 0.01
COARSEST = 1e-3
LOOSEST = 100  # times the relative residual that a solver is set to


class Accuracy:
    """The relative residuals of an objective's states in one stage."""

    def __init__(self, evaluator: Evaluator, program: Program, *, solved: int = 0) -> None:
        """Look whose states may be less exact; `solved` adjoints were solved in the stage."""
        self._evaluator = evaluator
        minimised, bounded = (
            [r for r, weight in zip(evaluator.reduced, rows.T, strict=True) if np.any(weight != 0)]
            for rows in np.split(program.weights, [program.hard])
        )
        self._reduced = [] if evaluator.wide else minimised
        exact = {state.operator.solver for state in _states(bounded)}
        self._states = [s for s in _states(self._reduced) if s.operator.solver not in exact]
        solvers: set[LinearSolver] = {state.operator.solver for state in self._states}
        self._base = {solver: solver.rtol for solver in solvers if not solver.direct}
        self._before = self._adjoints() - solved

    @property
    def solved(self) -> int:
        """How many linear systems were solved for adjoints in this stage."""
        return self._adjoints() - self._before

    def ask(self, gain: float) -> None:
        """Solve from now on as exactly as a step of this relative gain needs."""
        ε = 0.0 if self.solved else min(SHARE * sqrt(gain), COARSEST)
        for solver, base in self._base.items():
            solver.rtol = max(min(ε, LOOSEST * base), base)

    def restore(self) -> bool:
        """Solve as exactly as the solvers would; whether states are now to be solved again."""
        loose = any(solver.rtol > base for solver, base in self._base.items())
        for solver, base in self._base.items():
            solver.rtol = base
        if loose:
            for state in self._states:
                state.forget()
            self._evaluator.forget()
        return loose

    def _adjoints(self) -> int:
        """How many linear systems were solved for adjoints so far."""
        return sum(reduced.adjoint_solves for reduced in self._reduced if reduced.functional.states)


def _states(reduced: list[Reduced]) -> list[State]:
    """The states that some functionals need."""
    return with_upstream(state for r in reduced for state in r.functional.states)
