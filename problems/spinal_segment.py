"""A spinal cage between two vertebrae: how far it sinks in, and what it leaves the graft to carry.

    min over ρ   ( ∫ σᵥ⁸ dx / |Ωₑ| )^⅛                    near the largest stress in endplates Ωₑ
    where        −∇·σ(u; E(ρ)) = 0      u = 0 on inferior,  σn = t on superior
                 E(ρ) = 110 GPa ρ² in the cage, that of the tissue elsewhere
    subject to   ∫ t·u ds ≤ that with a cage of ρ = 0.45,   0.2 ≤ ρ ≤ 0.8

The cage of spinal_cage.py stands on the endplates of two lumbar bodies, bone graft in its window,
and 1 kN presses on the upper one. A stiff cage takes the load off the graft, which bone is to grow
through, and presses itself into the endplates. Beside cages of solid titanium and PEEK and the
graded one stands one that is matched: a lattice of PEEK whose modulus Eₚ ρ² is the mean modulus of
the vertebral body between its endplates. Of titanium it would have a density that cannot be
printed. The graft is shielded by s = 1 − ∫U dx / ∫U₀ dx, U = ½ σ:ε, with U₀ that beside bone.

Shell and endplates are 1 mm thick here, about thrice as thick as they are, so their moduli are low:
5 GPa and 1 GPa; cancellous bone has 300 MPa and graft 100 MPa.

Run:  mpirun -n 2 python problems/spinal_segment.py        (--size 1.5 for a finer mesh)
"""

from argparse import ArgumentParser
from functools import partial

import numpy as np
from ufl import as_vector, dev, inner, sqrt

from toolkit import (
    Density,
    Domain,
    Functional,
    elasticity,
    gibson_ashby,
    minimize,
    p_norm,
    stress,
    write_result,
)
from toolkit.bone import IntactBone, load_share, shielding, solid, strain_energy
from toolkit.catalogue import table, write_table
from toolkit.geometry import vertebrae_with_cage

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=2.5, help="of cells [mm]")
parser.add_argument("--iterations", type=int, default=30)
options, _ = parser.parse_known_args()  # the rest is PETSc's

domain = Domain.build(partial(vertebrae_with_cage, size=options.size))  # mm, N, MPa
dx, ds = domain.dx, domain.ds
tissue = {"endplates": 1e3, "cortical": 5e3, "cancellous": 300, "graft window": 100}
design = Density(domain, radius=2, start=0.45, bounds=(0.2, 0.8), void=[*tissue])
ρ, ν = design.physical, 0.3

titanium, peek = (solid(name).modulus.value for name in ("Ti-6Al-4V L-PBF", "PEEK"))
full = domain.by_region({**dict.fromkeys(tissue, 0), "cage": titanium})
bone = domain.by_region({**tissue, "cage": 0})
E = bone + gibson_ashby(ρ, full=full)

t = as_vector((0, 0, -1000 / domain.area("superior")))  # 1 kN [MPa]
pressed = partial(elasticity, domain, poisson=ν, displacement=["inferior"])
u = pressed(modulus=E, traction={"superior": t})
σ = stress(u, modulus=E, poisson=ν)
U = strain_energy(u, modulus=E, poisson=ν)

between = dx("cortical", "cancellous")
vertebral = domain.integrate(bone * between) / domain.integrate(1 * between)  # [MPa]
E0 = domain.by_region({**tissue, "cage": vertebral})
u0 = pressed(modulus=E0, traction={"superior": t}, name="beside_bone")
beside_bone = IntactBone(strain_energy(u0, modulus=E0, poisson=ν))

compliance = Functional(inner(t, u) * ds("superior"), unit="N mm")
mises = sqrt(1.5 * inner(dev(σ), dev(σ)))
subsidence = p_norm(mises, domain, power=8, region="endplates")
energy = Functional(U * dx("endplates")) / domain.integrate(1 * dx("endplates"))
share = load_share(σ, over=["cage", "graft window"], axis=(0, 0, 1), at=4.95, width=9.9)
shielded = shielding(U, beside_bone, over="graft window")


def row(name, modulus, x):
    """What a cage does to endplates and graft."""
    full.x.array[:] = np.where(full.x.array > 0, modulus, 0)
    design.update(np.broadcast_to(x, design.size))
    return {
        "cage": name,
        "kN/mm": 1000 / compliance.value,
        "endplates, MPa": subsidence.value,
        "energy, kPa": 1e3 * energy.value,
        "graft's share": share.value[1],
        "graft shielded": shielded.value,
    }


reference = row("uniform titanium, 0.45", titanium, 0.45)
result = minimize(
    subsidence,
    over=design,
    subject_to=[compliance <= compliance.value],
    iterations=options.iterations,
)
folder = write_result(
    result,
    design,
    "results/spinal_segment",
    name="subsidence",
    functionals=[compliance],
    part="cage",
)
matched = (vertebral / peek) ** 0.5
rows = [
    row("solid titanium", titanium, 1),
    reference,
    row("graded titanium", titanium, result.design),
    row("solid PEEK", peek, 1),
    row(f"matched PEEK, {matched:.2f}", peek, matched),
]
write_table(folder / "cages.csv", rows)
if domain.comm.rank == 0:
    printable = (vertebral / titanium) ** 0.5
    print(f"{table(rows)}\n\nVertebral body: {vertebral:.0f} MPa; titanium of {printable:.2f}")
    print(f"Results in {folder}")
