"""A minimisation that can be killed at any instant and goes on later: what it leaves in its folder.

    checkpoint/run.json       what the run is: command line, ranks, and the problem by `identity`
    checkpoint/run.h5         the points of a front that are done (`checkpoint`)
    checkpoint/3/000017.h5    evaluation 17 of point 3, which is not: design, values, gradients
    checkpoint/3/memory.h5    what "mma-distributed" needs instead of evaluations that are past
    checkpoint/stop           made by anyone, it ends the run as a signal does

An optimizer is a function of the values and gradients that it is given. So a run that was
interrupted is started again, and is given what is on file in place of what would be solved, until
the file ends: it goes on where it was, in the state it was in. Each design that it asks for must be
that on file, and the last evaluation on file is computed again; if they differ, the files are of
another problem. Rank 0 reads and writes.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.checkpoint import Run, read_memory, read_run, write_memory, write_run
from toolkit.errors import InputError, Interrupted, agree, together
from toolkit.identity import Identity, differences
from toolkit.interruption import Interruption
from toolkit.memory import Memory
from toolkit.sealed import opened, replace, sealed
from toolkit.slices import Slices

__all__ = ["Checkpoint", "Journal", "Record", "checkpointing"]

Array = npt.NDArray[np.float64]

FORMAT = "implant-toolkit checkpoint"
SAME = 1e-6  # of the design on file and the one asked for; on the same ranks they are equal
AGREES = 1e-4  # of the values on file and those computed again, to the tolerance of the solvers
_locks: dict[Path, int] = {}
_done: dict[Path, Identity] = {}


class Record(NamedTuple):
    """An evaluation on file.

    Attributes:
        values: (k,) the functionals.
        slopes: (k, own) their gradients, None if they were not asked for.
        adjoints: (k,) how many adjoints were solved for each.
        last: whether it is the last one on file.
    """

    values: Array
    slopes: Array | None
    adjoints: list[int]
    last: bool


class Checkpoint:
    """The folder of a run.

    Attributes:
        folder: where its files are.
        comm: all ranks of the run.
        done: its points that are done, or None.
        interruption: what may end it.
    """

    def __init__(
        self,
        folder: Path,
        comm: MPI.Comm,
        problem: Identity,
        interruption: Interruption,
        *,
        resume: bool,
    ) -> None:
        """Take the folder into possession; collective.

        Raises:
            InputError: it cannot be written, another run has it, or it is of another problem.
        """
        self.folder, self.comm = folder / "checkpoint", comm
        self._problem, self.interruption = problem, interruption
        self.resumed, done = False, None
        with together(comm):
            if comm.rank == 0:
                done = self._take(folder, resume=resume)
        self.resumed, self.done = comm.bcast((self.resumed, done))

    def _take(self, folder: Path, *, resume: bool) -> Run | None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _lock(folder)
            (self.folder / "stop").unlink(missing_ok=True)
            self.resumed = resume and (self.folder / "run.json").exists()
            if not self.resumed:
                self._begin()
        except OSError as failure:
            raise InputError(
                f"A checkpoint cannot be written to the folder {folder}: {failure}. Give another "
                "folder."
            ) from failure
        if self.resumed:
            self._compare()
        path = self.folder / "run.h5"
        return read_run(path) if path.exists() else None

    def _begin(self) -> None:
        """An empty folder; what an earlier run has left is moved out of the way."""
        folder = self.folder.parent
        if folder in _done and differences(_done[folder], self._problem):
            raise InputError(
                f"The folder {folder} has the checkpoint of another minimisation of "
                "this program: give each a folder of its own."
            )
        if any(self.folder.glob("**/*.h5")):
            earlier = self.folder.with_name("checkpoint.earlier")
            shutil.rmtree(earlier, ignore_errors=True)
            self.folder.rename(earlier)
            _say(f"{self.folder} had an earlier run, which is in {earlier} now.")
        self.ensure(self.folder)

    def _compare(self) -> None:
        """Refuse to go on with another problem."""
        path = self.folder / "run.json"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            earlier = dict(told["problem"]) if told["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError) as failure:
            raise InputError(f"{path} is damaged: {failure!r}.") from failure
        if earlier is None:
            raise InputError(f"{path} is not of a checkpoint.")
        if lines := differences(earlier, self._problem):
            raise InputError(
                f"The checkpoint in {self.folder} is of another problem:\n    "
                + "\n    ".join(lines)
                + "\nChange that back, or start anew without resume."
            )

    def ensure(self, folder: Path) -> None:
        """Make a folder inside, and say what the run is if that is not there; on rank 0."""
        folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "run.json"
        if path.exists():
            return
        told = {
            "format": FORMAT,
            "command": sys.argv,
            "ranks": self.comm.size,
            "problem": self._problem,
        }
        handle, name = tempfile.mkstemp(prefix=".run.json.", dir=self.folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=1)
            file.flush()
            os.fsync(handle)
        replace(Path(name), path)

    def journal(self, point: int, comm: MPI.Comm, slices: Slices) -> "Journal":
        """The evaluations of a point of a front; collective over those who find it."""
        return Journal(self, self.folder / str(point), comm, slices)

    def fold(self, run: Run) -> None:
        """Keep the points that are done and forget their evaluations; collective.

        Args:
            run: all points that are done.

        Raises:
            InputError: they cannot be written; the evaluations are kept then.
        """
        with together(self.comm):
            if self.comm.rank == 0:
                try:
                    self.ensure(self.folder)
                except OSError as failure:
                    raise InputError(f"{self.folder} cannot be made: {failure}") from failure
        write_run(self.folder / "run.h5", run, comm=self.comm)
        with together(self.comm):
            if self.comm.rank == 0:
                for point in range(1, len(run.design) + 1):
                    shutil.rmtree(self.folder / str(point), ignore_errors=True)


class Journal:
    """The evaluations of one minimisation: those on file, and those to come.

    Attributes:
        last: number of the last evaluation on file, 0 without.
    """

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, comm: MPI.Comm, slices: Slices
    ) -> None:
        """Look what is on file; collective."""
        self._checkpoint, self._folder = checkpoint, folder
        self._comm, self._slices = comm, slices
        self._before, self._began = 0.0, time.perf_counter()
        self._gap, self._scale = 0.0, np.zeros(1)
        self.last = 0
        with together(comm):
            if comm.rank == 0:
                self.last = self._scan(self._first())
        self.last = comm.bcast(self.last)

    def _first(self) -> int:
        """The evaluation that the replay begins with; on rank 0."""
        path = self._folder / "memory.h5"
        if not path.exists():
            return 1
        try:
            with opened(path) as file:
                return int(file["numbers/evaluations"][()])
        except InputError as damage:
            _say(f"{damage} This point begins anew.")
            path.unlink()
            return 1

    def _scan(self, first: int) -> int:
        """The number up to which all are on file; what else there is goes; on rank 0."""
        last = first - 1
        while self._path(last + 1).exists():
            last += 1
        for path in self._folder.glob("*.h5*"):
            stem = path.name.removesuffix(".h5")
            if stem[0] == "." or (stem.isdigit() and not first <= int(stem) <= last):
                path.unlink(missing_ok=True)
        return last

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.h5"

    @property
    def elapsed(self) -> float:
        """Seconds that the minimisation has taken, those before an interruption included."""
        return self._before + time.perf_counter() - self._began

    def announce(self, evaluations: int, vectors: int, *, remembers: bool) -> None:
        """Say how much the files of an unfinished point will be, before the first one."""
        if self._comm.rank or self.last or self._folder.name != "1":
            return
        size = 8 * self._slices.size * vectors
        free = shutil.disk_usage(self._checkpoint.folder).free
        much = (
            f"{_bytes(6 * 8 * self._slices.size)} and those since the last accepted one"
            if remembers
            else f"about {_bytes(evaluations * size)} for {evaluations} of them"
        )
        _say(
            f"{self._folder}: {_bytes(size)} an evaluation ({self._slices.size} variables x "
            f"{vectors} x 8 bytes), {much}; {_bytes(free)} are free."
        )

    # ---- what is on file --------------------------------------------------------------------

    def memory(self) -> Memory | None:
        """What an optimizer had kept of its last accepted point; collective."""
        path = self._folder / "memory.h5"
        if not self._comm.bcast(path.exists()):
            return None
        return read_memory(path, self._slices)

    def recall(self, number: int, x: Array, beta: float) -> Record | None:
        """An evaluation on file, if there is one of that number; collective.

        Args:
            number: of the evaluation, from 1.
            x: (own,) the design that is asked for.
            beta: the steepness.

        Raises:
            InputError: it is of another design.
        """
        if number > self.last:
            return None
        head, whole, gradients = self._read(number)
        if head is None:
            return None
        far = float(np.max(np.abs(self._share(whole) - x), initial=0.0))
        far = self._comm.allreduce(max(far, abs(head["beta"] - beta)), op=MPI.MAX)
        if not far <= SAME:
            raise InputError(
                f"Evaluation {number} in {self._folder} is of another problem: its design differs "
                f"by {far:.1g} from the one that is asked for. Start anew without resume."
            )
        self._gap = max(self._gap, far)
        self._before = head["elapsed"] - (time.perf_counter() - self._began)
        rows = [
            self._share(None if gradients is None else gradients[k]) for k in range(head["rows"])
        ]
        values = np.array(head["values"])
        self._scale = np.maximum(np.abs(values), self._scale)
        slopes = np.array(rows) if rows else None
        return Record(values, slopes, head["adjoints"], number == self.last)

    def _read(self, number: int) -> tuple[dict[str, Any] | None, Array | None, Array | None]:
        """Numbers for all ranks, arrays for rank 0; a damaged file and those after it go."""
        head, design, slopes = None, None, None
        if self._comm.rank == 0:
            try:
                with opened(self._path(number)) as file:
                    design = file["design"][0]
                    slopes = file["gradients"][:] if "gradients" in file else None
                    head = {name: float(file.attrs[name]) for name in ("beta", "elapsed")}
                    head |= {"values": file["values"][:].tolist()}
                    head |= {"rows": 0 if slopes is None else len(slopes)}
                    head |= {"adjoints": file["adjoints"][:].tolist()}
            except InputError as damage:
                _say(f"{damage} It is computed again, and what came after it.")
                for later in range(number, self.last + 1):
                    self._path(later).unlink(missing_ok=True)
        head = self._comm.bcast(head)
        if head is None:
            self.last = number - 1
        return head, design, slopes

    def _share(self, whole: Array | None) -> Array:
        """This rank's part of a vector on rank 0; collective."""
        buffer = np.empty(self._slices.size) if self._comm.rank else np.ascontiguousarray(whole)
        self._comm.Bcast(buffer)
        return self._slices.take(buffer)

    def verify(self, number: int, told: Array, computed: Array) -> None:
        """Compare the last evaluation on file with the same one computed again.

        Raises:
            InputError: they differ by more than the solvers' tolerance.
        """
        scale = np.maximum(self._scale, 1e-300)
        error = float(np.max(np.abs(told - computed) / scale))
        if not error <= AGREES:
            raise InputError(
                f"Evaluation {number} in {self._folder} is of another problem: computed again, its "
                f"values differ by {error:.1g} of their size. Start anew without resume."
            )
        if self._comm.rank == 0:
            _say(
                f"{self._folder}: evaluations up to {number} from file, designs equal to "
                f"{self._gap:.0e}, the last one computed again, values equal to {error:.0e}."
            )

    # ---- what comes -------------------------------------------------------------------------

    def keep(
        self,
        number: int,
        x: Array,
        beta: float,
        values: Array,
        slopes: Array | None = None,
        adjoints: Sequence[int] = (),
    ) -> None:
        """Put an evaluation on file, whole or not at all; collective.

        Args:
            number: of the evaluation, from 1.
            x: (own,) the design.
            beta: the steepness.
            values: (k,) the functionals.
            slopes: (k, own) their gradients, once they are known.
            adjoints: (k,) how many adjoints were solved for each.

        Raises:
            InputError: it cannot be written.
        """
        error: Exception | None = None
        with ExitStack() as stack:
            file = None
            if self._comm.rank == 0:
                try:
                    file = stack.enter_context(self._writing(number))
                    file.attrs.update(beta=beta, elapsed=self.elapsed)
                    file["values"] = values
                    file["adjoints"] = np.array(adjoints or [0] * len(values))
                    rows = {"design": 1, "gradients": 0 if slopes is None else len(slopes)}
                    for name, count in rows.items():
                        if count:
                            shape = (count, self._slices.size)
                            file.create_dataset(name, shape, dtype=float, fletcher32=True)
                except Exception as failure:
                    error = failure
            for row, own in enumerate([x, *(() if slopes is None else slopes)]):
                every = self._slices.collect(own)
                if file is not None and every is not None and error is None:
                    try:
                        name, place = ("gradients", row - 1) if row else ("design", 0)
                        file[name][place] = every
                    except Exception as failure:
                        error = failure
            try:
                stack.close()
            except Exception as failure:
                error = error or failure
        agree(self._comm, error)
        self.last = max(self.last, number)

    @contextmanager
    def _writing(self, number: int) -> Iterator[Any]:
        """The file of an evaluation, whose errors are told in our words; on rank 0."""
        path = self._path(number)
        try:
            self._look(number)
            with sealed(path) as file:
                yield file
        except OSError as failure:
            raise InputError(
                f"The evaluation cannot be written to {path}: {failure}. Those before it are on "
                "file: make room, and go on with TOOLKIT_RESUME=1."
            ) from failure

    def _look(self, number: int) -> None:
        """Make the folder; say so if it was there before."""
        if number > 1 and not self._folder.exists():
            _say(
                f"{self._folder} was removed. It is made again, but without its evaluations up to "
                f"{number - 1} this point cannot go on from file."
            )
        self._checkpoint.ensure(self._folder)

    def remember(self, memory: Memory) -> None:
        """Put an optimizer's memory on file; evaluations before it are not needed; collective."""
        write_memory(self._folder / "memory.h5", memory)
        if self._comm.rank == 0:
            for number in range(memory.integer("evaluations") - 1, 0, -1):
                if not self._path(number).exists():
                    break
                self._path(number).unlink(missing_ok=True)

    # ---- the end before the end -------------------------------------------------------------

    def asked(self) -> bool:
        """Whether this rank knows of a reason to stop."""
        interruption, stop = self._checkpoint.interruption, self._checkpoint.folder / "stop"
        interruption.lap()
        if interruption.asked():
            if self._checkpoint.comm.size > self._comm.size:
                _touch(stop)  # for the other groups
            return True
        if self._comm.rank == 0 and stop.exists():
            interruption.reason = f"the file {stop}"
        return bool(interruption.reason)

    def stop(self) -> NoReturn:
        """End the run on all ranks; collective.

        Raises:
            Interrupted: always.
        """
        reasons = self._comm.allgather(self._checkpoint.interruption.reason)
        reason = next(filter(None, reasons))
        folder = self._checkpoint.folder.parent
        message = (
            f"Stopped by {reason} after {self.last} evaluations, which are in {folder}. The same "
            "command with TOOLKIT_RESUME=1 goes on from there."
        )
        if self._comm.rank == 0:
            _say(message)
        raise Interrupted(message)


@contextmanager
def checkpointing(
    folder: str | Path | None,
    comm: MPI.Comm,
    problem: Identity | None,
    *,
    resume: bool | None,
    wall_time: float | None,
) -> Iterator[Checkpoint | None]:
    """A block that keeps its run in a folder, or nowhere if that is None; collective.

    Args:
        folder: of the run's results.
        comm: all ranks.
        problem: what the run is of.
        resume: whether to go on with a run in it; if None, as TOOLKIT_RESUME=1 says.
        wall_time: seconds from the start of the program after which it ends.

    Raises:
        InputError: see `Checkpoint`; a wall time or a resume without a folder.
    """
    if folder is None or problem is None:
        if wall_time is not None or resume:
            raise InputError(
                "resume and wall_time need a folder that keeps what was computed: checkpoint=…"
            )
        yield None
        return
    wanted = os.environ.get("TOOLKIT_RESUME", "0") == "1" if resume is None else resume
    with Interruption(wall_time) as interruption:
        yield Checkpoint(Path(folder), comm, problem, interruption, resume=comm.bcast(wanted))
    _done[Path(folder)] = problem


def _lock(folder: Path) -> None:
    """Take the folder for this process, until it ends.

    Raises:
        InputError: another process has it.
    """
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    held = _locks.get(folder.resolve())
    if held is not None and os.path.sameopenfile(held, handle):
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.read(handle, 200).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise InputError(
            f"Another run is using the folder {folder} ({who}). Wait for it, or give another "
            "folder."
        ) from None
    except OSError as failure:
        _say(f"{folder} cannot be locked ({failure}): start no second run in it.")
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {gethostname()}".encode(), 0)
    _locks[folder.resolve()] = handle


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as failure:
        _say(f"{path} cannot be made, so other groups go on: {failure}")


def _bytes(size: float) -> str:
    """A size in the largest unit that fits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _say(text: str) -> None:
    print(text, flush=True)
