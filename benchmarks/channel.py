"""CPU seconds of a design iteration of a 3D channel in Stokes–Brinkman flow, by phases.

    min over ρ   ∫ μ |∇v|² + α(ρ) |v|² dx                    dissipation
    where        −μ Δv + α(ρ) v + ∇p = 0,   ∇·v = 0          v = v̄ on xmin, xmax;  v = 0 elsewhere
    subject to   ∫ (1 − ρ) dx ≤ 0.4 |Ω|,   0 ≤ ρ ≤ 1

on the box 2 × 1 × 1. The flow v̄ enters low and leaves high, through windows of width 1/2. Equal
order, stabilised, on hexahedra. The mean over the iterations 1 to N, all ranks summed.

Run:  python benchmarks/channel.py --resolution 16 --iterations 10 --json out.json
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from ufl import grad, inner

from toolkit import Density, Domain, Functional, brinkman, minimize, stokes

from benchmarks.clock import Clock  # after the toolkit, which loads MPI  # isort: skip

parser = ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--resolution", type=int, default=16, help="cells per unit of length; 4 k")
parser.add_argument("--iterations", type=int, default=10)
parser.add_argument("--json", type=Path)
parser.add_argument("--optimizer", default="mma")
given, _ = parser.parse_known_args()  # the rest is PETSc's
n, μ = given.resolution, 1.0


def window(height):
    """Flow along x through a square of side 1/2 about y = 1/2 and the height, zero around it."""

    def bump(s):
        return np.maximum(0, 1 - (4 * s) ** 2)

    return lambda x: np.stack([bump(x[1] - 0.5) * bump(x[2] - height), 0 * x[0], 0 * x[0]])


domain = Domain.box((2, 1, 1), (2 * n, n, n))
design = Density(domain, radius=2.5 / n, start=0.6)
ρ = design.physical
α = brinkman(ρ, drag=1e4 * μ, q=0.1)
walls = ["ymin", "ymax", "zmin", "zmax"]
flow = stokes(
    domain,
    viscosity=μ,
    velocity={"xmin": window(0.25), "xmax": window(0.75)} | dict.fromkeys(walls, 0),
    drag=α,
    pair="stabilised",
)
v = flow.velocity
power = Functional((μ * inner(grad(v), grad(v)) + α * inner(v, v)) * domain.dx)
fluid = Functional((1 - ρ) * domain.dx) / domain.volume

clock = Clock()
result = minimize(
    power,
    over=design,
    subject_to=[fluid <= 0.4],
    iterations=given.iterations,
    optimizer=given.optimizer,
    tolerance=0,
    watch=clock.watch,
)
(state,) = power.states
clock.report(
    given.json,
    domain.comm,
    benchmark="channel",
    objective=result.objective,
    evaluations=result.evaluations,
    krylov_iterations=state.operator.solver.iterations,
    cells=domain.num_cells,
    dofs=state.function_space.dofmap.index_map.size_global
    * state.function_space.dofmap.index_map_bs,
    settings={"optimizer": given.optimizer, "rtol": state.operator.solver.rtol},
)
