"""The double pipe of Borrvall & Petersson: two flows that may join on their way.

    min over ρ   ½ ∫ μ |∇u|² + α(ρ) |u|² dx                dissipated power (halved)
    where        −μ Δu + α(ρ) u + ∇p = 0,   ∇·u = 0        u given on the whole boundary
                 α(ρ) = ᾱ + (α₀ − ᾱ) ε (1 + q) / (ε + q),  ε = 1 − ρ
    subject to   ∫ ε dx ≤ |Ω| / 3,          0 ≤ ρ ≤ 1      ρ = 1 is solid, ε = 1 is fluid

on a box δ × 1. Parabolic flow of height 1 enters on the left and leaves on the right through
pipes of width 1/6 at y = 1/4 and y = 3/4. The drag is made convex first, q = 0.01, then q = 0.1,
begun from the first design. For δ = 1.5 the pipes join (a wrench); two straight pipes are a local
minimum only. Borrvall & Petersson 2003, doi:10.1002/fld.426.

Run:  mpirun -n 2 python problems/double_pipe.py           (--length 1 keeps the pipes apart)
"""

from argparse import ArgumentParser

import numpy as np
from ufl import grad, inner

from toolkit import Density, Domain, Functional, brinkman, minimize, stokes, write_result

parser = ArgumentParser()
parser.add_argument("--resolution", type=int, default=48, help="cells per unit of length; use 12 k")
parser.add_argument("--iterations", type=int, default=80, help="for each q")
parser.add_argument("--length", type=float, default=1.5)
options, _ = parser.parse_known_args()  # the rest is PETSc's
n, δ, μ = options.resolution, options.length, 1.0


def pipes(x):
    """Parabolas of height 1 and width 1/6 at y = 1/4 and y = 3/4."""
    return sum(np.maximum(0, 1 - (12 * (x[1] - y)) ** 2) for y in (0.25, 0.75)), 0 * x[0]


domain = Domain.box((δ, 1), (round(δ * n), n))
design = Density(domain, radius=None, start=2 / 3)
ρ = design.physical
fluid = Functional((1 - ρ) * domain.dx) / domain.volume

for q in (0.01, 0.1):
    α = brinkman(ρ, drag=2.5e4 * μ, empty=2.5e-4 * μ, q=q)
    flow = stokes(
        domain,
        viscosity=μ,
        velocity={"xmin": pipes, "xmax": pipes, "ymin": 0, "ymax": 0},
        drag=α,
    )
    u = flow.velocity
    dissipation = Functional((μ / 2 * inner(grad(u), grad(u)) + α / 2 * inner(u, u)) * domain.dx)
    result = minimize(
        dissipation,
        over=design,
        subject_to=[fluid <= 1 / 3],
        iterations=options.iterations,
    )

folder = write_result(
    result, design, "results/double_pipe", name="power", functionals=[dissipation]
)
if domain.comm.rank == 0:
    print(f"power {result.objective:.4f}: {result.message}\n\nResults in {folder}")
