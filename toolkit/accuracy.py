"""Accuracy: states solved as exactly as the optimizer needs while its steps are large.

A functional whose adjoint lies in the span of its states, as a compliance or a tensor of a cell
has it, is stationary in them: a relative residual ε changes its value by O(ε²). Of a step that
gains the share g of the objective, an error of 10⁻³ g is not noticed, so the next states are
solved to

    ε = 0.01 √g,   never less exactly than 10⁻³ and never more exactly than their solvers would.

That holds where nothing else depends on the states: a constraint on them is to hold to 10⁻⁶, and an
adjoint that had to be solved says that the value is wrong by O(ε). There every solve is as exact as
its solver is. Steps become small before a run ends, and its result is evaluated exactly.
"""

from math import sqrt

import numpy as np

from toolkit.evaluator import Evaluator
from toolkit.program import Program
from toolkit.solver import LinearSolver
from toolkit.state import with_upstream

__all__ = ["Accuracy"]

COARSEST = 1e-3
SHARE = 0.01


class Accuracy:
    """The relative residuals of an objective's states in one stage."""

    def __init__(self, evaluator: Evaluator, program: Program) -> None:
        self._evaluator = evaluator
        stateful = np.array([bool(reduced.functional.states) for reduced in evaluator.reduced])
        bounded = np.any(program.weights[program.hard :, stateful] != 0)
        self._reduced = [
            reduced
            for reduced, able in zip(evaluator.reduced, stateful, strict=True)
            if able and not bounded and not evaluator.wide
        ]
        self._states = with_upstream(s for r in self._reduced for s in r.functional.states)
        solvers: set[LinearSolver] = {state.operator.solver for state in self._states}
        self._base = {solver: solver.rtol for solver in solvers if not solver.direct}
        self._solved = self._adjoints()

    def ask(self, gain: float) -> None:
        """Solve from now on as exactly as a step of this relative gain needs."""
        stationary = self._adjoints() == self._solved
        ε = min(SHARE * sqrt(gain), COARSEST) if stationary else 0.0
        for solver, base in self._base.items():
            solver.rtol = max(ε, base)

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
        return sum(reduced.adjoint_solves for reduced in self._reduced)
