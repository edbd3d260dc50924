"""Stage: one steepness as an optimizer sees it, and the rules that end it.

A method evaluates designs, hands over those that it accepts, and stops where it is told to. What
counts as an outer iteration, as convergence and as a limit is said here, once for all methods.
Everything is collective and the same on every rank.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.accuracy import Accuracy
from toolkit.adjoint import Reduced
from toolkit.density import Density
from toolkit.errors import together
from toolkit.evaluator import Evaluator
from toolkit.functional import Constraint
from toolkit.memory import Memory
from toolkit.program import FEASIBLE, Goal, Program
from toolkit.progress import Iteration
from toolkit.share import Share

__all__ = ["Best", "Ending", "Ledger", "Method", "Request", "Stage"]

Array = npt.NDArray[np.float64]

CALM = 3  # consecutive outer iterations below the tolerance that make convergence
REJECTED = 12  # consecutive trial points without an acceptable one: only round-off is left


class Ending(NamedTuple):
    """Why a stage ended."""

    reason: str
    message: str


class Best(NamedTuple):
    """The best design of a stage; the smaller key is the better one."""

    key: tuple[bool, float]
    design: Array
    values: Array
    violation: float
    beta: float


class Request(NamedTuple):
    """What a run asks for, before its first evaluation.

    Attributes:
        over: the design.
        goal: what is minimised.
        constraints: each with its functional in reduced form.
        betas: steepness of each stage.
    """

    over: Density
    goal: Goal
    constraints: tuple[tuple[Constraint, Reduced], ...]
    betas: tuple[float, ...]


class Ledger(Protocol):
    """Who keeps the accepted points."""

    @property
    def best(self) -> "Best":
        """The best design of the stage so far."""

    def record(self, x: Array, memory: Memory | None) -> Iteration:
        """Keep the design evaluated last as an outer iteration; collective."""


class Method(Protocol):
    """An optimizer: runs a stage from its start to its end."""

    @property
    def whole(self) -> bool:
        """Whether its ranks hold whole designs; the records of its points are then whole too."""

    @property
    def remembers(self) -> bool:
        """Whether it can go on from a memory, and hands one over with each point."""

    def check(self, request: Request) -> None:
        """Refuse what it is not made for; collective.

        Raises:
            InputError: a run that is not for this optimizer.
        """

    def __call__(self, stage: "Stage") -> Ending:
        """Accept points of a stage until one of them ends it; collective.

        Raises:
            EvaluationError: a value or a gradient that is not finite.
            SolverError: a state or an adjoint that was not solved.
        """


class Stage:
    """The evaluations and accepted points of one steepness.

    Attributes:
        over: the design.
        program: the rows that are minimised and held.
        evaluator: values and gradients.
        share: the free variables of this rank.
        move: the largest step of a variable that a method with move limits takes, of its range.
        ledger: who keeps the accepted points.
        accuracy: how exactly the states are solved.
        x: (own,) this rank's slice of the last accepted design.
        rejected: trial points since then.
        memory: where a run that was interrupted goes on, else None.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        program: Program,
        ledger: Ledger,
        *,
        iterations: int,
        tolerance: float,
        move: float,
        memory: Memory | None = None,
    ) -> None:
        """Begin at the best design of the ledger, which is told every accepted one after it."""
        self.evaluator, self.program, self.over = evaluator, program, evaluator.over
        self.comm, self.share = evaluator.comm, Share(self.over)
        self.limit, self.tolerance, self.move = iterations, tolerance, move
        self.ledger, self.memory = ledger, memory
        solved = 0 if memory is None else memory.integer("adjoints")
        self.accuracy = Accuracy(evaluator, program, solved=solved)
        self._steps = 0
        if memory is None:
            self.restart()
        else:
            self.x, self.rejected = memory.vectors["design"].copy(), 0
            self._steps = memory.integer("steps")
            self._merits = memory.numbers["merits"].tolist()
            self._moves = memory.numbers["moves"].tolist()
            self._ask()

    def restart(self) -> Array:
        """Go back to the best design and forget the way to it; its values (k,)."""
        self.x, self.rejected = self.ledger.best.design.copy(), 0
        values = self.evaluator.at(self.x)
        self._merits, self._moves = [self.program.merit(values)], list[float]()
        return values

    def accept(self, x: Array, memory: Memory | None = None) -> Ending | None:
        """Count the design evaluated last as an outer iteration, and say whether it is the last.

        The memory is what the method needs to go on from there.
        """
        share = self.share
        move = share.max(np.abs(share.take(x - self.x)) / share.span)
        if not move > 0:
            return None
        self.x, self.rejected = x.copy(), 0
        self._steps += 1
        self._moves.append(move)
        self._merits.append(self.program.merit(self.evaluator.values))
        if memory is not None:
            merits, moves = self._merits[-CALM - 1 :], self._moves[-CALM:]
            solved = self.accuracy.solved
            memory = memory.beside(steps=self._steps, merits=merits, moves=moves, adjoints=solved)
        with together(self.comm):
            entry = self.ledger.record(x, memory)
        self._ask()
        if self._calm():
            return Ending(
                "converged", f"The last {CALM} iterations changed less than the tolerance."
            )
        if self._steps >= self.limit:
            state = "" if entry.infeasibility <= FEASIBLE else " before a feasible design"
            return Ending("iterations", f"The limit of {self.limit} iterations was reached{state}.")
        return None

    def exhausted(self) -> Ending | None:
        """The end of a search that finds no better point."""
        if self.rejected > REJECTED:
            return Ending("converged", "No step that round-off can tell from none is better.")
        return None

    def _ask(self) -> None:
        """Ask for the accuracy that a step like the last one needs."""
        if len(self._merits) > 1:
            before, now = self._merits[-2:]
            self.accuracy.ask(abs(now - before) / max(abs(now), 1e-30))

    def _calm(self) -> bool:
        """Whether the last iterations changed next to nothing, and the others promise no more.

        Gains that grow from one iteration to the next, as they do while a design leaves a saddle,
        are not an end: those of the iterations left, at the rate seen, count too.
        """
        if len(self._moves) < CALM:
            return False
        gains = np.abs(np.diff(self._merits))[-CALM:]
        flat = gains <= self.tolerance * np.abs(self._merits[-CALM:])
        still = np.array(self._moves[-CALM:]) <= self.tolerance
        if np.all(still) or not np.all(flat | still):
            return bool(np.all(still))
        rate = min(gains[-1] / gains[0], 1.0) ** (1 / (CALM - 1)) if gains[0] > 0 else 1.0
        promised = gains[-1] * np.sum(rate ** np.arange(1, self.limit - self._steps + 1))
        return bool(promised <= CALM * self.tolerance * abs(self._merits[-1]))
