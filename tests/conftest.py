"""Tests under mpirun: every rank runs the same tests, and all fail together.

PETSc reads the command line when toolkit is imported, so the import here hides pytest's own words
from it (PETSC_OPTIONS still works). After each phase of a test the ranks agree on its outcome, as
a rank that went on alone would wait for ever in its next collective call. PETSc objects are
destroyed collectively, hence the collection of garbage at one place on all ranks: petsc4py keeps
what Python has dropped until `garbage_cleanup` of its communicator, and MPICH has 2048 of those.
"""

import functools
import gc
import sys
import time
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from mpi4py import MPI

with patch.object(sys, "argv", sys.argv[:1]):
    from toolkit import Domain

from petsc4py import PETSc

PATIENCE = 60.0  # seconds that a failed rank waits for the others, which it may have left stuck
COMM = MPI.COMM_WORLD.Dup()
DOMAINS: list[Domain] = []  # those made since the last clean-up, in the same order on all ranks


@pytest.fixture
def comm() -> MPI.Comm:
    """The communicator of all ranks."""
    return MPI.COMM_WORLD


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    if COMM.size > 1:
        failed = _ranks_that_failed(report)
        if failed and not report.failed:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {call.when} failed on rank(s) {failed}"
    if call.when == "teardown" and (COMM.size > 1 or len(DOMAINS) > 10):
        _clean_up()
    return report


@pytest.fixture(autouse=True, scope="session")
def _remember_domains() -> Iterator[None]:
    made = Domain.__init__

    @functools.wraps(made)
    def remember(self: Domain, *args: object, **options: object) -> None:
        made(self, *args, **options)
        DOMAINS.append(self)

    with patch.object(Domain, "__init__", remember):
        yield


def _clean_up() -> None:
    """Destroy what the test has left, at the same time on all ranks; collective."""
    for method in gc.get_objects() if (3, 13) <= sys.version_info < (3, 13, 2) else ():
        # These releases keep every object that ever called such a method: UFL's traversers, and
        # with them forms, functions and meshes.
        if type(method) is functools.singledispatchmethod:
            method._method_cache.clear()
    gc.collect()
    for domain in DOMAINS:
        PETSc.garbage_cleanup(domain.comm)
    DOMAINS.clear()
    gc.collect()
    COMM.barrier()


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
