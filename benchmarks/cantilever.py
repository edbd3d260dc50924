"""CPU seconds of a design iteration of the 3D cantilever of problems/cantilever.py, by phases.

The mean over the iterations 1 to N, all ranks summed. Linear solves end at a relative residual of
1e-5, from the last solution, as in TopOpt in PETSc; `-displacement_ksp_rtol` asks for another. The
filter's second moment per axis is that of a cone of radius 0.08, so the optimum differs a little
from the cone's. With --peers, pymoto_cantilever.py of another folder runs afterwards, by the
interpreter --python, for as many of the same iterations as --peer-iterations says; both are
quoted over those.

Run:  python benchmarks/cantilever.py --resolution 32 --iterations 50 --json out.json
      [--optimizer mma] [--emin 1e-9] [--peers FOLDER --python PYTHON --peer-iterations 10]
"""

import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from ufl import as_vector, inner

from toolkit import Density, Domain, Functional, elasticity, minimize, simp

from benchmarks.clock import Clock  # after the toolkit, which loads MPI  # isort: skip
from petsc4py import PETSc

RADIUS = 0.08


def run_peer(python, script, resolution, iterations):
    """CPU seconds of each iteration after a peer's first, and its objectives."""
    done = subprocess.run(
        [python, str(script), str(resolution), str(iterations)],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = re.findall(r"RES wall \S+ cpu (\S+) C (\S+) rssGB (\S+)", done.stdout)
    if done.returncode or len(rows) < 2:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    seconds, objectives, memory = zip(*((float(v) for v in row) for row in rows), strict=True)
    return {
        "code": script.stem,
        "cpu_seconds": seconds[1:],
        "cpu_seconds_per_iteration": sum(seconds[1:]) / len(seconds[1:]),
        "objectives": objectives,
        "peak_memory_gb": memory[-1],
    }


parser = ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--resolution", type=int, default=32, help="cells per unit of length")
parser.add_argument("--iterations", type=int, default=50)
parser.add_argument("--json", type=Path)
parser.add_argument("--optimizer", default="mma")
parser.add_argument("--emin", type=float, default=1e-9)
parser.add_argument("--peers", type=Path)
parser.add_argument("--python", default=sys.executable)
parser.add_argument("--peer-iterations", type=int, default=10)
given, _ = parser.parse_known_args()  # the rest is PETSc's
n = given.resolution
petsc = PETSc.Options("displacement_")
if not petsc.hasName("ksp_rtol"):
    petsc["ksp_rtol"] = 1e-5

domain = Domain.box((2, 1, 1), (2 * n, n, n))
domain.name("edge", 1, lambda x: (x[0] > 2 - 1e-9) & (x[2] < 1e-9))
design = Density(domain, radius=RADIUS, start=0.12)
ρ = design.physical

E = simp(ρ, full=1, empty=given.emin, power=3)
q = as_vector((0, 0, -0.001 * n))
u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], line={"edge": q})
compliance = Functional(inner(q, u) * domain.dl("edge"))
volume = Functional(ρ * domain.dx) / domain.volume

clock = Clock()
result = minimize(
    compliance,
    over=design,
    subject_to=[volume <= 0.12],
    iterations=given.iterations,
    optimizer=given.optimizer,
    tolerance=0,
    watch=clock.watch,
)
peer = {}
if given.peers and domain.comm.rank == 0:
    script = given.peers / "pymoto_cantilever.py"
    peer = run_peer(given.python, script, n, given.peer_iterations)
clock.report(
    given.json,
    domain.comm,
    benchmark="cantilever",
    objective=result.objective,
    objectives=[float(value) for value in result.history.objective],
    evaluations=result.evaluations,
    krylov_iterations=u.operator.solver.iterations,
    cells=domain.num_cells,
    dofs=u.function_space.dofmap.index_map.size_global * 3,
    filter_second_moment=2 * RADIUS**2 * 4 / (2 * 5 * 6),
    settings={"emin": given.emin, "optimizer": given.optimizer, "rtol": u.operator.solver.rtol},
    peer=peer,
)
