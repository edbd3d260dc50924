"""One rank fails, in each stage of a run: the job ends soon, with an error, told once.

The jobs are started from a serial pytest, so these tests are not run under mpirun themselves.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MPIRUN = Path(sys.executable).with_name("mpirun")
TOLD = "the one reason"
HEAD = f"""
import os, sys
import numpy as np
import ufl
from mpi4py import MPI
from toolkit import *
comm = MPI.COMM_WORLD
failing = comm.rank == int(os.environ["FAILING"])
def fail():
    if failing:
        raise ValueError("{TOLD}")
"""
PROBLEM = """
domain = Domain.box((2, 1), (8, 4))
design = Density(domain, radius=0.5, start=0.5)
ρ = design.physical
p = darcy(domain, permeability=1 - ρ / 2, pressure={"xmin": 1, "xmax": 0}, source=1.0)
power = Functional((1 - ρ / 2) * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx, name="power")
volume = Functional(ρ * domain.dx, name="volume")
"""
STAGES = {  # what happens, and the ranks on which it can fail alone
    "reading a mesh": (
        """
from toolkit import meshfile
def read(path, comm, read=meshfile.read):
    fail()
    return read(path, comm)
meshfile.read = read
Domain.read("meshes/beam.msh")
""",
        (0, 1),
    ),
    "building a gmsh model": ("Domain.build(fail)", (0,)),
    "a boundary value": (
        """
domain = Domain.box((2, 1), (8, 4))
def value(x):
    fail()
    return 0 * x[0]
darcy(domain, permeability=1.0, pressure={"xmin": value}).solve()
""",
        (1,),
    ),
    "a predicate": (
        """
def where(x):
    fail()
    return x[0] < 1
Domain.box((2, 1), (8, 4)).name("left", 2, where)
""",
        (1,),
    ),
    "the map of a functional": (
        """
def outer(value):
    fail()
    return value**2
J = power.map(outer)
minimize(J, over=design, subject_to=[volume <= 1.5], iterations=3)
""",
        (1,),
    ),
    "watching": (
        """
def watch(iteration):
    fail()
minimize(power, over=design, subject_to=[volume <= 1.5], iterations=3, watch=[watch])
""",
        (1,),
    ),
    "the script between two steps": ("power.value\nfail()\npower.value\nvolume.value", (0, 1)),
}
NEEDS_PROBLEM = ("the map of a functional", "watching", "the script between two steps")


def job(script: str, *, failing: int, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a script on some ranks; a job that hangs raises TimeoutExpired."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("PMI", "MPI"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [mine.get("PYTHONPATH")])])
    return subprocess.run(
        [MPIRUN, "-n", str(ranks), sys.executable, "-c", script],
        env=mine | {"FAILING": str(failing), "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("stage", "failing"), [(name, rank) for name, (_, ranks) in STAGES.items() for rank in ranks]
)
def test_a_rank_that_fails_ends_all(stage, failing):
    problem = PROBLEM if stage in NEEDS_PROBLEM else ""
    ended = job(HEAD + problem + STAGES[stage][0], failing=failing)
    assert ended.returncode != 0
    assert ended.stderr.count(f": {TOLD}") == 1, ended.stderr


def test_an_error_of_all_ranks_is_told_once():
    ended = job(HEAD + 'Domain.read("absent.msh")', failing=-1)
    assert ended.returncode != 0
    assert ended.stderr.count("There is no mesh file 'absent.msh'") == 1
    assert "Traceback" not in ended.stderr


def test_a_job_without_failure_ends_well():
    ended = job(HEAD + PROBLEM + "power.value\nfail()", failing=-1)
    assert ended.returncode == 0, ended.stderr
