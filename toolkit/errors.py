"""The few exceptions a user meets, and how ranks agree on them.

A rank that raises alone leaves the others waiting in their next collective call. So whatever can
fail on one rank only (reading a file, building a gmsh model, a callback) runs inside `together`,
which is collective and raises the same error on every rank.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from mpi4py import MPI

__all__ = [
    "EvaluationError",
    "InputError",
    "Interrupted",
    "SolverError",
    "ToolkitError",
    "agree",
    "together",
]

REQUEUE = 75  # exit code of a run that can go on; EX_TEMPFAIL of sysexits.h


class ToolkitError(Exception):
    """A failure whose message is written for the user and is the same on every rank."""


class InputError(ToolkitError, ValueError):
    """A mistake in a name, a value or a file: names the thing, the value and the way out."""


class SolverError(ToolkitError, RuntimeError):
    """A linear system that was not solved: names the state, the residual and what to try."""


class EvaluationError(ToolkitError, RuntimeError):
    """A functional or a gradient that is not a finite number."""


class Interrupted(SystemExit):
    """A run that was asked to stop and can go on later: ends the program with code 75."""

    def __init__(self, message: str) -> None:
        super().__init__(REQUEUE)
        self.message = message

    def __str__(self) -> str:
        return self.message


def agree(comm: MPI.Comm, error: BaseException | None) -> None:
    """Raise on every rank if any rank brings an error; collective.

    The rank that failed raises its own exception, the others one of the same class (a
    `ToolkitError` if the class is not one of ours) with the text of the first rank that failed.
    """
    ours = (EvaluationError, InputError, Interrupted, SolverError)
    kind = type(error) if type(error) in ours else None
    told_as_is = isinstance(error, ToolkitError | Interrupted)
    text = str(error) if told_as_is else f"{type(error).__name__}: {error}"
    told = comm.allgather(None if error is None else (kind, text))
    first = next((entry for entry in told if entry is not None), None)
    if first is None:
        return
    if error is not None:
        raise error
    raise (first[0] or ToolkitError)(first[1])


@contextmanager
def together(comm: MPI.Comm) -> Iterator[None]:
    """A block that may fail on one rank and then raises on all; collective at its end."""
    error: BaseException | None = None
    try:
        yield
    except (Exception, Interrupted) as caught:
        error = caught
    agree(comm, error)


def _stop_all_ranks(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught error once and end every rank, so that none is left waiting."""
    rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    time.sleep(1.0 if rank else 0.0)  # when all ranks raise, rank 0 speaks and ends the others
    if issubclass(kind, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        text = "Interrupted.\n"
    elif issubclass(kind, ToolkitError) and "TOOLKIT_TRACEBACK" not in os.environ:
        text = f"{kind.__name__}: {error}\n"
    else:
        where = f" on rank {rank} of {size}" if size > 1 else ""
        lines = traceback.format_exception(kind, error, trace)
        text = f"Uncaught exception{where}:\n{''.join(lines)}"
    print(f"\n{text}", file=sys.stderr, end="", flush=True)
    if size > 1:
        time.sleep(0.3)  # until the launcher has passed the text on, which it drops when aborted
        MPI.COMM_WORLD.Abort(1)


def install_excepthook() -> None:
    """Make an uncaught exception on any rank end all of them (`TOOLKIT_TRACEBACK=1` shows all)."""
    sys.excepthook = _stop_all_ranks
