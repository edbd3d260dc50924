"""What may befall a run, done to real processes: killed, warned, out of room, out of numbers.

Started from a serial pytest, so these tests are not run under mpirun themselves. The long form,
with twenty kills, is `make torture`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from toolkit.checkpoint import read_run
from toolkit.sealed import opened

ROOT = Path(__file__).parents[1]
MPIRUN = Path(sys.executable).with_name("mpirun")
PATIENCE = 100


def environment(**more):
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("PMI", "MPI"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [mine.get("PYTHONPATH")])])
    return mine | {"PYTHONPATH": path} | more


def start(folder, *arguments, ranks=1, resume=False):
    """Start the problem of survivor.py."""
    launcher = [MPIRUN, "-n", str(ranks)] if ranks > 1 else []
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "tests.survivor", str(folder), *arguments],
        env=environment(TOOLKIT_RESUME="1" if resume else "0"),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Exit code and everything printed."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out + err


def run(folder, *arguments, **options):
    return finish(start(folder, *arguments, **options))


def await_evaluation(folder, process, number):
    """Until an evaluation is on file."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(path.stem) >= number for path in folder.glob("checkpoint/*/0*.h5")):
            return
        time.sleep(0.002)
    pytest.fail(f"no evaluation {number}: {process.communicate()}")


def ranks_of(folder):
    """The processes of the job in a folder, without its launcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            if words[0] == sys.executable and str(folder) in words:
                found.append(int(path.parent.name))
    return found


def end(folder):
    with np.load(folder / "end.npz") as file:
        return file["design"], file["objective"]


def test_kills_at_random_instants_change_nothing(tmp_path):
    """One rank of two, then all, then the only one: a front that is bit by bit the undisturbed one.

    The kills come anywhere: while a file is written, between two points, in a solve.
    """
    options = ("--points", "3", "--iterations", "4", "--reproducible")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, *options)[0] == 0
    chance = random.Random(6)
    for number in (2, 8, 3):
        process = start(killed, *options, "--slow", "0.1", resume=True)
        await_evaluation(killed, process, number)
        time.sleep(0.2 * chance.random())
        process.kill()
        process.communicate()
        assert not (killed / "end.npz").exists()
    assert run(killed, *options, resume=True)[0] == 0
    for mine, other in zip(end(killed), end(whole), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_ranks_that_are_killed(tmp_path):
    """One of two, then both."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, "--reproducible", ranks=2)[0] == 0
    for number, victims in ((2, 1), (6, 2)):
        process = start(killed, "--reproducible", "--slow", "0.1", ranks=2, resume=True)
        await_evaluation(killed, process, number)
        for rank in ranks_of(killed)[:victims]:
            os.kill(rank, signal.SIGKILL)
        assert finish(process)[0] != 0
    code, text = run(killed, "--reproducible", ranks=2, resume=True)
    assert code == 0 and "values equal to 0e+00" in text
    for mine, other in zip(end(killed), end(whole), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(("name", "ranks"), [("SIGTERM", 1), ("SIGUSR1", 2)])
def test_a_signal_ends_the_run_after_the_evaluation(name, ranks, tmp_path):
    """To the process, or to the launcher, which passes it on."""
    process = start(tmp_path, "--slow", "0.1", ranks=ranks)
    await_evaluation(tmp_path, process, 3)
    process.send_signal(getattr(signal, name))
    code, text = finish(process)
    assert code == 75
    assert f"Stopped by {name} after" in text and "TOOLKIT_RESUME=1" in text
    assert "Traceback" not in text


def test_a_signal_to_one_rank_is_one_to_all(tmp_path):
    code, text = run(tmp_path, "--fault", "signal SIGTERM", ranks=2)
    assert code == 75 and text.count("Stopped by SIGTERM after 6 evaluations") == 1
    assert len(list(tmp_path.glob("checkpoint/1/*.h5"))) == 6


def test_a_second_signal_ends_at_once(tmp_path):
    code, text = run(tmp_path, "--fault", "two signals")
    assert code == -signal.SIGTERM and "Stopped" not in text


def test_wall_time_leaves_the_program_with_the_same_code(tmp_path):
    code, text = run(tmp_path, "--slow", "0.5", "--iterations", "99", "--wall-time", "6")
    assert code == 75 and "wall time of 6 s" in text
    with opened(max(tmp_path.glob("checkpoint/1/*.h5"))) as file:
        assert file.attrs["elapsed"] < 6


def test_a_disk_that_is_full_stops_the_run_with_what_it_has(tmp_path):
    code, text = run(tmp_path, "--fault", "disk full")
    assert code == 1 and "File too large. Those before it are on file: make room" in text
    files = sorted(path.name for path in (tmp_path / "checkpoint" / "1").iterdir())
    assert files == [f"{k:06d}.h5" for k in range(1, 7)]
    code, text = run(tmp_path, resume=True)
    assert code == 0 and "evaluations up to 6 from file" in text


def test_a_number_that_is_none_keeps_the_best_design(tmp_path):
    code, text = run(tmp_path, "--fault", "nan")
    assert code == 0 and "evaluation failed compliance is nan at evaluation 7" in text
    kept = read_run(tmp_path / "checkpoint" / "run.h5")
    assert kept.feasible[0] and kept.minima[0] == kept.history[0]["objective"].min()
    np.testing.assert_array_equal(kept.design, end(tmp_path)[0])


def test_two_runs_in_one_folder(tmp_path):
    process = start(tmp_path, "--slow", "9")
    await_evaluation(tmp_path, process, 1)
    code, text = run(tmp_path)
    assert code == 1 and "Another run is using the folder" in text
    assert f"process {process.pid} on " in text
    process.kill()
    process.communicate()
