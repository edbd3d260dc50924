"""The diffuser of Borrvall & Petersson: a wide inflow led to a narrow outflow.

    min over ρ   ½ ∫ μ |∇u|² + α(ρ) |u|² dx                dissipated power (halved)
    where        −μ Δu + α(ρ) u + ∇p = 0,   ∇·u = 0        u given on the whole boundary
                 α(ρ) = ᾱ + (α₀ − ᾱ) ε (1 + q) / (ε + q),  ε = 1 − ρ
    subject to   ∫ ε dx ≤ |Ω| / 2,          0 ≤ ρ ≤ 1      ρ = 1 is solid, ε = 1 is fluid

on the unit square. A parabola of height 1 enters over the whole left side; one of height 3 leaves
through the middle third of the right side. The drag is made convex first, q = 0.01, then q = 0.1,
begun from the first design. Borrvall & Petersson 2003, doi:10.1002/fld.426, found 30.46.

Run:  mpirun -n 2 python problems/diffuser.py
"""

from argparse import ArgumentParser

import numpy as np
from ufl import grad, inner

from toolkit import Density, Domain, Functional, brinkman, minimize, stokes, write_result

parser = ArgumentParser()
parser.add_argument("--resolution", type=int, default=48, help="cells along a side; use 6 k")
parser.add_argument("--iterations", type=int, default=80, help="for each q")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n, μ = options.resolution, 1.0


def inflow(x):
    """A parabola of height 1 and width 1."""
    return 1 - (2 * x[1] - 1) ** 2, 0 * x[0]


def outflow(x):
    """A parabola of height 3 and width 1/3 about y = 1/2."""
    return 3 * np.maximum(0, 1 - (6 * x[1] - 3) ** 2), 0 * x[0]


domain = Domain.box((1, 1), (n, n))
design = Density(domain, radius=None, start=0.5)
ρ = design.physical
fluid = Functional((1 - ρ) * domain.dx) / domain.volume

for q in (0.01, 0.1):
    α = brinkman(ρ, drag=2.5e4 * μ, empty=2.5e-4 * μ, q=q)
    flow = stokes(
        domain,
        viscosity=μ,
        velocity={"xmin": inflow, "xmax": outflow, "ymin": 0, "ymax": 0},
        drag=α,
    )
    u = flow.velocity
    dissipation = Functional((μ / 2 * inner(grad(u), grad(u)) + α / 2 * inner(u, u)) * domain.dx)
    result = minimize(
        dissipation,
        over=design,
        subject_to=[fluid <= 0.5],
        iterations=options.iterations,
    )

folder = write_result(result, design, "results/diffuser", name="power", functionals=[dissipation])
if domain.comm.rank == 0:
    print(f"power {result.objective:.4f}: {result.message}\n\nResults in {folder}")
