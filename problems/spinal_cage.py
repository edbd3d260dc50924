"""A graded porous spinal cage: stiff under compression, permeable from graft to surroundings.

    min over ρ   ( ∫ t·u ds ,  −∫ κ(ρ)/μ |∇p|² dx )       compliance, permeance
    where        −∇·σ(u; ρ) = 0        u = 0 on base,     σn = t on head
                 −∇·κ(ρ)/μ ∇p = 0      p = 1 in window,   p = 0 outside
    subject to   ∫ ρ dx ≤ 0.45 |Ω|,    0.2 ≤ ρ ≤ 0.8      what a lattice can be printed at

An anterior lumbar cage of 38.1 × 25.4 × 9.9 mm stands on a rigid block and carries 1 kN of axial
compression under a vertebra's endplate, in the manner of ASTM F2077. Marrow seeps from the bone
graft in its window through the porous wall to the tissue around it. The wall is a sheet gyroid of
Ti-6Al-4V whose density is the design.

Run:  mpirun -n 2 python problems/spinal_cage.py          (--fine for the publication mesh)
"""

import sys
from functools import partial

from ufl import as_vector, grad, inner

from toolkit import (
    Density,
    Domain,
    Functional,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    pareto,
)
from toolkit.geometry import spinal_cage

viscosity = 4e-5  # of marrow [kPa s], 40 mPa s
period = 3  # of the gyroid [mm]; its sheet wets 6.2 / period of surface per volume

if "--fine" in sys.argv:
    domain = Domain.build(partial(spinal_cage, size=0.35))
else:
    domain = Domain.read("meshes/spinal_cage.msh")  # mm
dx, ds = domain.dx, domain.ds

design = Density(domain, radius=3, start=0.4, bounds=(0.2, 0.8))
ρ = design.physical

E = gibson_ashby(ρ, full=114e3)  # of Ti-6Al-4V [MPa]
κ = kozeny_carman(ρ, surface=6.2 / period) / viscosity  # [mm² / (kPa s)]

t = as_vector((0, 0, -1000 / domain.area("head")))  # 1 kN [MPa]

u = elasticity(domain, modulus=E, poisson=0.34, displacement=["base"], traction={"head": t})
p = darcy(domain, permeability=κ, pressure={"window": 1, "outside": 0})

compliance = Functional(inner(t, u) * ds("head"), unit="N mm")
permeance = Functional(κ * inner(grad(p), grad(p)) * dx, unit="mm³/(s kPa)")
volume = Functional(ρ * dx) / domain.volume

front = pareto(
    compliance,
    -permeance,
    over=design,
    subject_to=[volume <= 0.45],
    limits={compliance: 2.5},
    points=9,
    checkpoint="results/spinal_cage",
).against([0.2, 0.25, 0.3, 0.35, 0.4, 0.45])
folder = front.write("results/spinal_cage", cell=period)
if domain.comm.rank == 0:
    print(f"{front.table()}\n\nResults in {folder}")
