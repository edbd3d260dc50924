"""A hip stem of graded porous titanium: the bone about it is to feel what it felt before.

    min over ρ   ( (⅐ Σₖ sₖ²)^½ ,  ∫ t·u ds )            shielding of Gruen's zones, compliance
    where        sₖ = 1 − ∫ U dx / ∫ U₀ dx over zone k,  U = ½ σ:ε,  U₀ that of the intact bone
                 −∇·σ(u; ρ) = 0       u = 0 at the distal end,  σn = t on head and trochanter
                 −∇·κ(ρ)/μ ∇p = q     p = 0 at the bone,  q = 1 in the coat
    subject to   (∫ q dx)² / ∫ q p dx ≥ that of a solid core in a coat of 0.4,   0.2 ≤ ρ ≤ 1

The stem's body is the design, with a porous coat of 2 mm on its upper third that every part of has
to exchange fluid with the bone, as q says; neck and ball are solid. Stance in gait: 2300 N on the
head and the abductors' pull on the trochanter, in the ratio of Heller et al. 2005,
doi:10.1016/j.jbiomech.2004.05.022. Where sₖ < 0 bone carries more than before, which counts as
well, else the softest stem were the best. No stem is stiffer than the solid one, through whose coat
nothing flows; the front is to dominate those that let as much through: the solid core in its coat,
and stems of one density. The stiffness is measured as by Naghavi et al. 2023,
doi:10.3389/fbioe.2023.1092361: in the pot of ISO 7206-4, in cement of 3 GPa, under 2300 N.

Run:  mpirun -n 2 python problems/hip_stem.py     (--size 4 for finer meshes)
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
from ufl import as_vector, dev, inner, sqrt

from toolkit import (
    Density,
    Domain,
    Functional,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    pareto,
    stress,
)
from toolkit.bone import (
    FLUIDS,
    GRUEN,
    IntactBone,
    gruen_chart,
    shielded_cells,
    shielding,
    shielding_map,
    solid,
    strain_energy,
)
from toolkit.bone.carry import carried
from toolkit.catalogue import table, write_table
from toolkit.geometry import femur_with_stem, iso_7206_4, potted_stem
from toolkit.responses import largest

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=5.0, help="of cells [mm]")
parser.add_argument("--points", type=int, default=7, help="of the front")
parser.add_argument("--iterations", type=int, default=12, help="for each of them")
options, _ = parser.parse_known_args()  # the rest is PETSc's
size, folder = options.size, Path("results/hip_stem")

bone = {"cortical": 17e3, "cancellous": 500, "marrow": 1}  # [MPa]
titanium, peek = solid("Ti-6Al-4V L-PBF"), solid("PEEK")
ν, cement, μ = 0.3, 3e3, FLUIDS["marrow"].viscosity.value
gait = {"head": (-54.0, -32.8, -229.2), "abductor": (58.0, 4.3, 86.5)}  # medial, anterior, up
forces = {name: 2300 / np.linalg.norm(gait["head"]) * np.array(F) for name, F in gait.items()}


def tractions(domain, forces):
    """Uniform ones that add up to the forces [N]."""
    return {name: as_vector(np.array(F) / domain.area(name)) for name, F in forces.items()}


def von_mises(u, modulus):
    """Of the mean stress in a lattice [MPa]."""
    σ = dev(stress(u, modulus=modulus, poisson=ν))
    return sqrt(1.5 * inner(σ, σ))


held = partial(elasticity, poisson=ν, displacement=["distal"])
before = Domain.build(partial(femur_with_stem, size=size, stem=False))  # mm, N, MPa, s
E0 = before.by_region(bone)
u0 = held(before, modulus=E0, traction=tractions(before, forces), name="intact")
intact = IntactBone(strain_energy(u0, modulus=E0, poisson=ν))

domain = Domain.build(partial(femur_with_stem, size=size, coat=2.0))
dx, ds = domain.dx, domain.ds
part = partial(dict.fromkeys, (*bone, "stem", "coat", "ball"))
design = Density(domain, radius=4, start=0.5, bounds=(0.2, 1), solid=["neck", "ball"], void=[*bone])
ρ = design.physical

metal = domain.by_region(part(titanium.modulus.value))
E = domain.by_region(part(0) | bone) + gibson_ashby(ρ, full=metal)
t = tractions(domain, forces)
u = held(domain, modulus=E, traction=t)
U = strain_energy(u, modulus=E, poisson=ν)

κ = kozeny_carman(0.99 * ρ, surface=6.2 / 1.5)  # of a sheet gyroid of 1.5 mm [mm²]
q = domain.by_region(part(0) | {"coat": 1})
p = darcy(domain, permeability=κ / μ, pressure=["interface"], source=q)

zones = shielding(U, intact, over=GRUEN)
lost = zones.map(lambda s: (s @ s / 7) ** 0.5, name="shielding")
compliance = Functional(sum(inner(t[name], u) * ds(name) for name in t), unit="N mm")
permeance = domain.integrate(q * dx) ** 2 / Functional(q * p * dx)  # [mm³/(s MPa)]

pot = Domain.build(partial(potted_stem, size=size, coat=2.0))
E_pot = pot.by_region(dict.fromkeys(("stem", "coat", "ball", "cement"), cement))
load = tractions(pot, {"head": iso_7206_4(2300)})
u_pot = elasticity(
    pot, modulus=E_pot, poisson=ν, displacement=["pot"], traction=load, degree=2, name="potted"
)
sunk = Functional(inner(load["head"], u_pot) * pot.ds("head")) / 2300  # [mm]


near = dict.fromkeys(("gruen 1", "gruen 7", "coat"), 0.4)  # the bone beside it, for the filter
core = domain.gather_cells(domain.by_region(part(1.0) | near))
design.update(core)
least = float(permeance)

rows, maps, densities = [], {}, {}


def measure(name, x, material=titanium):
    """What a stem does, in the bone and in the pot."""
    metal.x.array[:] = material.modulus.value
    design.update(x)
    f = np.nan_to_num(carried(ρ, domain, pot, degree=1).x.array)  # no density in the cement
    E_pot.x.array[pot.cell_dofs] = np.where(f > 0, material.modulus.value * f**2, cement)
    row = {"stem": name, "fluid": float(permeance) / least, "shielding": float(lost)}
    row |= {"N mm": float(compliance), "kN/mm": 2.3 / float(sunk)}
    strength = material.strength.value * ρ**1.5  # of a lattice
    row["neck, MPa"] = largest(von_mises(u_pot, E_pot), pot, over=["neck"])
    row["of yield"] = largest(von_mises(u, E) / strength, domain, over=["stem", "coat"])
    rows.append(row | dict(zip(GRUEN, zones.value, strict=True)))
    maps[name] = shielded_cells(U, intact, over=["cortical", "cancellous"])
    densities[name] = ρ.copy()


baseline = {f"uniform {x}": np.full(design.size, x) for x in (0.4, 0.45, 0.5)}
baseline["solid core"] = core
measure("solid", np.ones(design.size))
measure("PEEK", np.ones(design.size), peek)
for name, x in baseline.items():
    measure(name, x)

front = pareto(
    lost,
    compliance,
    over=design,
    subject_to=[permeance >= least],
    limits={lost: rows[-1]["shielding"]},  # of the solid core
    seeds=baseline.values(),
    points=options.points,
    iterations=options.iterations,
).against(baseline.values())
for k, point in enumerate(front.points, 1):
    measure(f"point {k}", point.result.design)

write_table(folder / "stems.csv", rows)
knee = f"point {front.knee + 1}"
shown = ["solid", "solid core", "uniform 0.45", "point 1", knee, "point 2"]
by_zone = {row["stem"]: [row[zone] for zone in GRUEN] for row in rows}
bars = {name: by_zone[name] for name in ("solid", "PEEK", "solid core", "uniform 0.45", knee)}
gruen_chart(folder / "zones.png", bars)
shielding_map(
    folder / "bone.png",
    {name: maps[name] for name in shown},
    implant=["stem", "coat", "ball"],
    density=densities,
)
captions = {"bone.png": "The stems in the bone.", "zones.png": "Shielding by Gruen's zones."}
front.write(folder, cell=4, part=["stem", "coat"], figures=captions)
if domain.comm.rank == 0:
    print(f"{front.table()}\n\n{table(rows)}\n\nResults in {folder}")
