"""The pipe bend of Borrvall & Petersson: the least loss around a corner is a straight cut.

    min over ρ   ½ ∫ μ |∇u|² + α(ρ) |u|² dx                dissipated power (halved)
    where        −μ Δu + α(ρ) u + ∇p = 0,   ∇·u = 0        u given on the whole boundary
                 α(ρ) = ᾱ + (α₀ − ᾱ) ε (1 + q) / (ε + q),  ε = 1 − ρ
    subject to   ∫ ε dx ≤ 0.08 π,           0 ≤ ρ ≤ 1      ρ = 1 is solid, ε = 1 is fluid

on the unit square. Parabolic flow of height 1 and width 1/5 enters on the left about y = 4/5 and
leaves at the bottom about x = 4/5; the volume is that of a quarter annulus between them. The drag
is made convex first, q = 0.01, then q = 0.1, begun from the first design. Borrvall & Petersson
2003, doi:10.1002/fld.426, found 9.76.

Run:  mpirun -n 2 python problems/pipe_bend.py
"""

from argparse import ArgumentParser

import numpy as np
from ufl import grad, inner

from toolkit import Density, Domain, Functional, brinkman, minimize, stokes, write_result

parser = ArgumentParser()
parser.add_argument("--resolution", type=int, default=50, help="cells along a side; use 10 k")
parser.add_argument("--iterations", type=int, default=80, help="for each q")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n, μ = options.resolution, 1.0


def inflow(x):
    """To the right, a parabola of height 1 about y = 4/5."""
    return np.maximum(0, 1 - (10 * x[1] - 8) ** 2), 0 * x[0]


def outflow(x):
    """Downwards, a parabola of height 1 about x = 4/5."""
    return 0 * x[0], -np.maximum(0, 1 - (10 * x[0] - 8) ** 2)


domain = Domain.box((1, 1), (n, n))
design = Density(domain, radius=None, start=1 - 0.08 * np.pi)
ρ = design.physical
fluid = Functional((1 - ρ) * domain.dx) / domain.volume

for q in (0.01, 0.1):
    α = brinkman(ρ, drag=2.5e4 * μ, empty=2.5e-4 * μ, q=q)
    flow = stokes(
        domain,
        viscosity=μ,
        velocity={"xmin": inflow, "ymin": outflow, "xmax": 0, "ymax": 0},
        drag=α,
    )
    u = flow.velocity
    dissipation = Functional((μ / 2 * inner(grad(u), grad(u)) + α / 2 * inner(u, u)) * domain.dx)
    result = minimize(
        dissipation,
        over=design,
        subject_to=[fluid <= 0.08 * np.pi],
        iterations=options.iterations,
    )

folder = write_result(result, design, "results/pipe_bend", name="power", functionals=[dissipation])
if domain.comm.rank == 0:
    print(f"power {result.objective:.4f}: {result.message}\n\nResults in {folder}")
