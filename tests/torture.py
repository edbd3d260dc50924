"""The tables of docs/reliability.md: python -m tests.torture prints them in Markdown.

Twenty kills at random instants, each fault of test_faults.py, what a resumed run differs by, sizes
on the disk, and a soak of 500 evaluations. Ten minutes at most on two idle cores.
"""

import contextlib
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests import test_faults as faults
from tests.test_faults import await_evaluation, end, ranks_of, run, start

KILLS = 20
EVALUATIONS = 500
FAULTS = {
    "SIGTERM to the process; SIGUSR1 to the launcher of two ranks": [
        (faults.test_a_signal_ends_the_run_after_the_evaluation, ("SIGTERM", 1)),
        (faults.test_a_signal_ends_the_run_after_the_evaluation, ("SIGUSR1", 2)),
    ],
    "SIGTERM to one rank of two": [(faults.test_a_signal_to_one_rank_is_one_to_all, ())],
    "a second signal": [(faults.test_a_second_signal_ends_at_once, ())],
    "wall time up": [(faults.test_wall_time_leaves_the_program_with_the_same_code, ())],
    "disk full during a write": [
        (faults.test_a_disk_that_is_full_stops_the_run_with_what_it_has, ())
    ],
    "NaN from a functional": [(faults.test_a_number_that_is_none_keeps_the_best_design, ())],
    "two runs in one folder": [(faults.test_two_runs_in_one_folder, ())],
}


@contextlib.contextmanager
def folders() -> Iterator[Path]:
    """A folder for the runs of one table."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def kills() -> None:
    """A front on one rank and a minimisation on two, each killed ten times."""
    chance = random.Random(1)
    print("\n| Killed | times | evaluations lost | designs differ by |")
    print("|---|---|---|---|")
    for what, ranks, options in (
        ("a front of 3 points, its one rank", 1, ("--points", "3", "--iterations", "6")),
        ("a minimisation on 2 ranks, one of them or both", 2, ("--iterations", "24")),
    ):
        with folders() as folder:
            common = (*options, "--reproducible")
            assert run(folder / "whole", *common, ranks=ranks)[0] == 0
            killed, times, lost, before = folder / "killed", 0, 0, 0
            while times < KILLS // 2 and not (killed / "end.npz").exists():
                process = start(killed, *common, "--slow", "0.1", ranks=ranks, resume=True)
                await_more(killed, process, chance)
                victims = ranks_of(killed)
                times += bool(victims)
                for rank in victims[: 1 + chance.randrange(ranks)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(rank, signal.SIGKILL)
                out, err = process.communicate(timeout=60)
                told = re.search(r"evaluations up to (\d+) from file", out + err)
                lost += max(0, before - int(told[1])) if told else 0
                before = highest(killed)
            assert run(killed, *common, ranks=ranks, resume=True)[0] == 0
            pairs = zip(end(killed), end(folder / "whole"), strict=True)
            worst = max(float(np.abs(mine - other).max()) for mine, other in pairs)
            print(f"| {what} | {times} | {lost} | {worst:g} |", flush=True)


def await_more(folder: Path, process: Any, chance: random.Random) -> None:
    """A random instant: from the first import to some evaluations later."""
    before, patience = highest(folder), 30 * chance.random()
    wanted = before + chance.randrange(3)
    deadline = time.monotonic() + max(3.0, patience)
    while process.poll() is None and time.monotonic() < deadline and highest(folder) <= wanted:
        time.sleep(0.002)
    time.sleep(0.2 * chance.random())


def highest(folder: Path) -> int:
    """The number of the last evaluation on file."""
    return max((int(path.stem) for path in folder.glob("checkpoint/*/0*.h5")), default=0)


def done_to_it() -> None:
    """Each fault once more."""
    print("\n| Fault | injected | survived |\n|---|---|---|")
    for name, trials in FAULTS.items():
        survived = 0
        for test, given in trials:
            with folders() as folder:
                try:
                    test(*given, folder)
                    survived += 1
                except (AssertionError, OSError) as failure:
                    print(f"{name}: {failure}")
        print(f"| {name} | {len(trials)} | {survived} |", flush=True)


def differences() -> None:
    """What a resumed run differs by from an undisturbed one, on these and other ranks."""
    print(
        "\n| Optimizer | ranks | reproducible | first evaluation | last objective | last design |"
    )
    print("|---|---|---|---|---|---|")
    for optimizer, before, after, exact in (
        ("mma", 1, 1, True),
        ("mma", 2, 2, True),
        ("mma", 1, 2, False),
        ("mma", 2, 1, False),
        ("mma-distributed", 2, 2, True),
        ("mma-distributed", 2, 1, False),
    ):
        with folders() as folder:
            options = ["--optimizer", optimizer, *(["--reproducible"] if exact else [])]
            whole, broken = folder / "whole", folder / "broken"
            assert run(whole, *options, ranks=before)[0] == 0
            assert run(broken, *options, "--fault", "signal SIGTERM", ranks=before)[0] == 75
            code, text = run(broken, *options, ranks=after, resume=True)
            first = re.search(r"values equal to (\S+)\.", text)
            assert code == 0 and first is not None
            (x, J), (y, K) = end(broken), end(whole)
            gap, far = abs(J[-1] / K[-1] - 1), np.abs(x - y).max()
            yes = "yes" if exact else "no"
            print(
                f"| {optimizer} | {before} → {after} | {yes} | {float(first[1]):.0e} | {gap:.0e} "
                f"| {far:.0e} |",
                flush=True,
            )


def sizes() -> None:
    """Bytes of an unfinished point and of run.h5."""
    print("\n| Variables | evaluations | said | on the disk | run.h5 when done |")
    print("|---|---|---|---|---|")
    for resolution, iterations in ((16, 10), (16, 20), (32, 20)):
        with folders() as folder:
            options = ("--resolution", str(resolution), "--iterations", str(iterations))
            process = start(folder, *options, "--slow", "0.02")
            await_evaluation(folder, process, iterations - 1)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            files = list(folder.glob("checkpoint/1/*.h5"))
            much, said = sum(path.stat().st_size for path in files), len(files) * 8 * 3
            said *= 2 * resolution**2
            assert run(folder, *options, resume=True)[0] == 0
            left = (folder / "checkpoint" / "run.h5").stat().st_size
            print(
                f"| {2 * resolution**2} | {len(files)} | {said / 1e3:.0f} kB | {much / 1e3:.0f} kB "
                f"| {left / 1e3:.0f} kB |",
                flush=True,
            )


def soak() -> None:
    """A front of many points, reproducible, so that solvers are made anew at each evaluation."""
    print("\n| Evaluations | resident memory then | PETSc objects made | left at the end |")
    print("|---|---|---|---|")
    for points in (6, 30):
        with folders() as folder:
            log = folder / "log.txt"
            options = ("--points", str(points), "--iterations", "17", "--reproducible")
            code, text = run(folder, *options, "-log_view", f":{log}")
            assert code == 0, text
            with np.load(folder / "end.npz") as file:
                resident = file["resident"]
            made, gone = objects(log.read_text())
            shown = ", ".join(
                f"{int(resident[int(s * (len(resident) - 1))])}" for s in (0.1, 0.5, 1)
            )
            print(f"| {len(resident)} | {shown} MB | {made} | {made - gone} |", flush=True)


def objects(log: str) -> tuple[int, int]:
    """PETSc objects created and destroyed, from the end of its log."""
    lines = re.findall(r"^ +[A-Z][A-Za-z ]+?\s+(\d+)\s+(\d+)$", log.split("Object Type")[1], re.M)
    made, gone = np.array(lines, dtype=int).sum(axis=0)
    return int(made), int(gone)


if __name__ == "__main__":
    began = time.monotonic()
    for table in (kills, done_to_it, differences, sizes, soak):
        table()
    print(f"\n{time.monotonic() - began:.0f} s")
