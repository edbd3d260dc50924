"""Where the CPU seconds of a design loop go, measured from outside: no room knows of it.

A `Clock` wraps the methods that make a phase. The time of a call counts for its own phase less what
calls of other phases inside it take, so that the phases add up to the loop.

    assembly         matrices and load vectors, and the question whether anything has changed
    preconditioner   what is built anew for a new matrix: PETSc's preconditioner, coarser grids
    krylov           linear solves, those of adjoints included
    adjoint          the gradient: right-hand sides of adjoints, ∂L/∂ρ
    filter           x → ρ and its transpose, the linear solves of the filter included
    optimizer        nlopt, and the program it sees
    io               the line printed for each iteration
    other            the values of the functionals
"""

import json
import resource
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from mpi4py import MPI

from toolkit import Density, Reduced, State
from toolkit.elementwise import Elementwise
from toolkit.multigrid import Multigrid
from toolkit.progress import Iteration, progress
from toolkit.solver import LinearSolver, Operator

PHASES = (
    "assembly",
    "preconditioner",
    "krylov",
    "adjoint",
    "filter",
    "optimizer",
    "io",
    "other",
)


class Clock:
    """CPU and wall seconds of a loop's phases, from the start to the last accepted design.

    Attributes:
        seconds: CPU seconds of each phase so far, on this rank.
    """

    def __init__(self) -> None:
        """Wrap the toolkit's methods; for the rest of the process."""
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._running = ["optimizer"]
        self._last = time.process_time()
        self._marks: list[tuple[float, dict[str, float]]] = []
        for owner, name, phase in (
            (State, "solve", "assembly"),
            (Operator, "update", "assembly"),
            (Elementwise, "update", "assembly"),
            (Elementwise, "solve_all", "krylov"),
            (Multigrid, "update", "preconditioner"),
            (LinearSolver, "solve", "krylov"),
            (Reduced, "value", "other"),
            (Reduced, "slope", "adjoint"),
            (Density, "assign", "filter"),
            (Density, "own_pullback", "filter"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name), phase))
        LinearSolver.solve = self._prepared(LinearSolver.solve)  # type: ignore[method-assign]

    def watch(self, iteration: Iteration) -> None:
        """Print the line of an accepted design and take a reading; for `minimize`'s `watch`."""
        self._timed(progress, "io")(iteration)
        self._read()
        self._marks.append((time.perf_counter(), dict(self.seconds)))

    def report(self, path: Path | None, comm: MPI.Comm, **facts: Any) -> None:
        """Write what an iteration takes, all ranks summed, as JSON, and print it; collective.

        Args:
            path: Where to; nowhere if None.
            comm: The ranks of the loop.
            facts: What else the file is to hold.
        """
        (began, before), (ended, after) = self._marks[0], self._marks[-1]
        count = len(self._marks) - 1
        phases = {phase: comm.allreduce(after[phase] - before[phase]) / count for phase in PHASES}
        found = {
            "cpu_seconds_per_iteration": sum(phases.values()),
            "wall_seconds_per_iteration": comm.allreduce(ended - began, op=MPI.MAX) / count,
            "peak_memory_gb": comm.allreduce(
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            ),
            "iterations": count,
            "ranks": comm.size,
            "phases": phases,
        } | facts
        if comm.rank == 0:
            text = json.dumps(found, indent=1)
            print(text)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + "\n")

    def _timed(self, call: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """The same call, counted for a phase; within the filter all is the filter's."""

        @wraps(call)
        def timed(*given: Any, **named: Any) -> Any:
            self._read()
            filtering = self._running[-1] == "filter"
            self._running.append("filter" if filtering else phase)
            try:
                return call(*given, **named)
            finally:
                self._read()
                self._running.pop()

        return timed

    def _prepared(self, solve: Callable[..., Any]) -> Callable[..., Any]:
        """A linear solve whose preconditioner is brought up to date before the clock starts."""
        prepare = self._timed(lambda solver: solver._ksp.getPC().setUp(), "preconditioner")

        @wraps(solve)
        def prepared(solver: LinearSolver, *given: Any, **named: Any) -> Any:
            prepare(solver)
            return solve(solver, *given, **named)

        return prepared

    def _read(self) -> None:
        """Give what has passed since the last reading to the phase that is running."""
        now = time.process_time()
        self.seconds[self._running[-1]] += now - self._last
        self._last = now
