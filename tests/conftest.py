"""Tests under mpirun: every rank runs the same tests, and all fail together.

PETSc reads the command line when toolkit is imported, so the import here hides pytest's own words
from it (PETSC_OPTIONS still works). After each phase of a test the ranks agree on its outcome, as
a rank that went on alone would wait for ever in its next collective call. PETSc objects are
destroyed collectively, hence the collection of garbage at one place on all ranks.
"""

import gc
import sys
import time
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from mpi4py import MPI

with patch.object(sys, "argv", sys.argv[:1]):
    import toolkit  # noqa: F401

PATIENCE = 60.0  # seconds that a failed rank waits for the others, which it may have left stuck
COMM = MPI.COMM_WORLD.Dup()


@pytest.fixture
def comm() -> MPI.Comm:
    """The communicator of all ranks."""
    return MPI.COMM_WORLD


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    if COMM.size == 1:
        return report
    failed = _ranks_that_failed(report)
    if failed and not report.failed:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {call.when} failed on rank(s) {failed}"
    if call.when == "teardown":
        gc.collect()
        COMM.barrier()
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop at once when the ranks have not collected the same tests."""
    found = COMM.allgather([item.nodeid for item in session.items])
    if any(other != found[0] for other in found):
        pytest.exit("The ranks have collected different tests.", returncode=3)


def _ranks_that_failed(report: pytest.TestReport) -> list[int]:
    """Who failed; ends the job when the others do not come to tell; collective."""
    mine = np.array([report.failed], dtype=np.int32)
    every = np.zeros(COMM.size, dtype=np.int32)
    request = COMM.Iallgather(mine, every)
    if report.failed:
        text = f"\n{report.nodeid}: {report.when} on rank {COMM.rank}\n{report.longreprtext}\n"
        print(text, file=sys.__stderr__, flush=True)
        _await(request)
    request.Wait()
    return [int(rank) for rank in np.flatnonzero(every)]


def _await(request: MPI.Request) -> None:
    deadline = time.monotonic() + PATIENCE
    while not request.Test():
        if time.monotonic() > deadline:
            print("Other ranks wait in a collective call; ending all.", file=sys.__stderr__)
            MPI.COMM_WORLD.Abort(1)
        time.sleep(0.01)
