"""A small design problem as a script, for tests that kill it: python -m tests.survivor FOLDER …

It ends with its designs and histories in FOLDER/end.npz, which only a run that is done has.
"""

import os
import signal
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import ufl

from toolkit import Density, Domain, Functional, darcy, elasticity, minimize, pareto, progress, simp

parser = ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--resolution", type=int, default=8)
parser.add_argument("--iterations", type=int, default=8)
parser.add_argument("--points", type=int, default=0, help="of a front; 0 is one minimisation")
parser.add_argument("--optimizer", default="mma")
parser.add_argument("--reproducible", action="store_true")
parser.add_argument("--slow", type=float, default=0.0, help="seconds of sleep an iteration")
parser.add_argument("--wall-time", type=float)
parser.add_argument("--fault", default="", help="what goes wrong at iteration 5")
options, _ = parser.parse_known_args()

domain = Domain.box((2, 1), (2 * options.resolution, options.resolution))
comm = domain.comm
design = Density(domain, radius=0.2, start=0.4)
ρ = design.physical
E, t = simp(ρ, full=1, empty=1e-4), ufl.as_vector((0, -1))
u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], traction={"xmax": t})
κ = (1 - ρ) ** 2 + 0.01
p = darcy(domain, permeability=κ, pressure={"ymin": 1, "ymax": 0})
spoiled = [1.0]
compliance = Functional(
    ufl.inner(t, u) * domain.ds("xmax"), of=lambda c: c * spoiled[0], name="compliance"
)
permeance = Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx, name="permeance")
volume = Functional(ρ * domain.dx, name="volume") / domain.volume


resident = []


def watch(iteration):
    """Go slowly, note the resident memory, and bring about the fault."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    time.sleep(options.slow)
    if iteration.index != 5:
        return
    if options.fault == "nan":
        spoiled[0] = np.nan
    elif options.fault == "disk full" and iteration.rank == 0:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    elif options.fault.startswith("signal") and iteration.rank == comm.size - 1:
        os.kill(os.getpid(), getattr(signal, options.fault.split()[1]))
    elif options.fault == "two signals" and iteration.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)


given = {
    "over": design,
    "subject_to": volume <= 0.4,
    "iterations": options.iterations,
    "optimizer": options.optimizer,
    "tolerance": 1e-9,
    "checkpoint": options.folder,
    "wall_time": options.wall_time,
    "reproducible": options.reproducible,
    "watch": (progress, watch),
}
if options.points:
    front = pareto(compliance, -permeance, points=options.points, limits={compliance: 400}, **given)
    results = [point.result for point in front.points]
else:
    results = [minimize(compliance, **given)]
designs = np.array([result.design for result in results])
objective = np.concatenate([result.history.objective for result in results])
if comm.rank == 0:
    np.savez(options.folder / "end.npz", design=designs, objective=objective, resident=resident)
    print(results[-1].reason, results[-1].message, file=sys.stderr)
