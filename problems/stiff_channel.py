"""A culvert: one two-phase design that carries a load and lets a creeping flow through.

    min over ρ   ∫ t·u ds                                  compliance
    where        −∇·σ(u; E(ρ)) = 0       u = 0 on zmin,     σn = t on zmax
                 −μ Δv + α(ρ) v + ∇p = 0,   ∇·v = 0         v = v̄ on xmin, xmax;  v = 0 elsewhere
                 E(ρ) = 10⁻⁶ + ρ³ (1 − 10⁻⁶),  α(ρ) drag of the solid with q = 0.1
    subject to   ∫ μ |∇v|² + α(ρ) |v|² dx ≤ D,   ∫ ρ dx ≤ 0.4 |Ω|,   0 ≤ x ≤ 1

on the box 2 × 1 × 1. The same ρ stiffens the solid and stops the fluid: solid where ρ = 1, fluid
where ρ = 0. The flow v̄ crosses through windows of width 1/2 in both ends, one low, one high, so
that the channel has to climb under the loaded roof; D bounds the power, so the pressure, that it
costs. A tanh projection of growing steepness leads to black and white. Equal-order velocity and
pressure, stabilised.

Run:  mpirun -n 2 python problems/stiff_channel.py
"""

from argparse import ArgumentParser

import numpy as np
from ufl import as_vector, grad, inner

from toolkit import (
    Density,
    Domain,
    Functional,
    brinkman,
    elasticity,
    minimize,
    simp,
    stokes,
    write_result,
)

parser = ArgumentParser()
parser.add_argument("--resolution", type=int, default=12, help="cells per unit of length; use 4 k")
parser.add_argument("--iterations", type=int, default=20, help="for each steepness")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n, μ = options.resolution, 1.0


def window(height):
    """Flow along x through a square of side 1/2 about y = 1/2 and the height, zero around it."""

    def bump(s):
        return np.maximum(0, 1 - (4 * s) ** 2)

    return lambda x: np.stack([bump(x[1] - 0.5) * bump(x[2] - height), 0 * x[0], 0 * x[0]])


domain = Domain.box((2, 1, 1), (2 * n, n, n))
dx, ds = domain.dx, domain.ds
design = Density(domain, radius=2.5 / n, start=0.3)
ρ = design.physical

E = simp(ρ, full=1, empty=1e-6)
α = brinkman(ρ, drag=1e4 * μ, q=0.1)
t = as_vector((0, 0, -1))

u = elasticity(domain, modulus=E, poisson=0.3, displacement=["zmin"], traction={"zmax": t})
walls = ["ymin", "ymax", "zmin", "zmax"]
flow = stokes(
    domain,
    viscosity=μ,
    velocity={"xmin": window(0.25), "xmax": window(0.75)} | dict.fromkeys(walls, 0),
    drag=α,
    pair="stabilised",
)
v = flow.velocity

compliance = Functional(inner(t, u) * ds("zmax"))
power = Functional((μ * inner(grad(v), grad(v)) + α * inner(v, v)) * dx)
volume = Functional(ρ * dx) / domain.volume

result = minimize(
    compliance,
    over=design,
    subject_to=[power <= 6, volume <= 0.4],
    sharpen=[0, 2, 4, 8],
    iterations=options.iterations,
)
folder = write_result(
    result, design, "results/stiff_channel", name="compliance", functionals=[compliance, power]
)
if domain.comm.rank == 0:
    for name, value in {"compliance": result.objective, **result.constraints}.items():
        print(f"{name}: {value:.4f}")
    print(f"{result.message}\n\nResults in {folder}")
