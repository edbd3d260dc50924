"""A hip stem of graded porous titanium: the bone about it is to feel what it felt before.

    min over ρ   ( (⅐ Σₖ sₖ²)^½ ,  ∫ t·u ds )            shielding of Gruen's zones, compliance
    where        sₖ = 1 − ∫ U dx / ∫ U₀ dx over zone k,  U = ½ σ:ε,  U₀ that of the intact bone
                 −∇·σ(u; ρ) = 0       u = 0 at the distal end,  σn = t on head and trochanter
                 −∇·κ(ρ)/μ ∇p = q     p = 0 at the bone,  q = 1 in the coat
    subject to   (∫ q dx)² / ∫ q p dx ≥ that of a stem of ρ = ½,   0.2 ≤ ρ ≤ 1

The stem's body is the design, with a porous coat of 2 mm on its upper third that every part of has
to exchange fluid with the bone, as q says; neck and ball are solid. Stance in gait: 2300 N on the
head and the abductors' pull on the trochanter, in the ratio of Heller et al. 2005,
doi:10.1016/j.jbiomech.2004.05.022. Where sₖ < 0 bone carries more than before, which counts as
well, else the softest stem were the best. No stem is stiffer than the solid one, through whose coat
nothing flows; the front is to dominate those that let as much through: a solid core in a coat of
one density, and a stem of one density. The stiffness is measured as by Naghavi et al. 2023,
doi:10.3389/fbioe.2023.1092361: in the pot of ISO 7206-4, in cement of 3 GPa, under 2300 N.

Run:  mpirun -n 2 python problems/hip_stem.py     (--size 4 for finer meshes)
"""

from argparse import ArgumentParser
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
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
)
from toolkit.bone import FLUIDS, GRUEN, SOLIDS, IntactBone, shielding, strain_energy
from toolkit.bone.carry import carried
from toolkit.elasticity import stress
from toolkit.export import gather_mesh
from toolkit.geometry import femur_with_stem, iso_7206_4, potted_stem
from toolkit.pictures import section_figure
from toolkit.responses import largest

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=5.0, help="of cells [mm]")
parser.add_argument("--degree", type=int, default=1, help="of the displacement in the bone")
parser.add_argument("--points", type=int, default=7, help="of the front")
parser.add_argument("--iterations", type=int, default=15, help="for each of them")
options, _ = parser.parse_known_args()  # the rest is PETSc's
size, folder = options.size, Path("results/hip_stem")

bone = {"cortical": 17e3, "cancellous": 500, "marrow": 1}  # [MPa]
titanium, peek = (SOLIDS[name] for name in ("Ti-6Al-4V L-PBF", "PEEK"))
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


held = partial(elasticity, poisson=ν, displacement=["distal"], degree=options.degree)
before = Domain.build(partial(femur_with_stem, size=size, stem=False))  # mm, N, MPa, s
E0 = before.by_region(bone)
u0 = held(before, modulus=E0, traction=tractions(before, forces), name="intact")
intact = IntactBone(strain_energy(u0, modulus=E0, poisson=ν))

domain = Domain.build(partial(femur_with_stem, size=size, coat=2.0))
dx, ds = domain.dx, domain.ds
part = partial(dict.fromkeys, (*bone, "stem", "coat", "ball"))
near = ("gruen 1", "gruen 7", "coat")  # the coat and the bone beside it, which the filter sees


def cells(values):
    """A number for each cell by its region, in the order of the mesh file."""
    f = domain.by_region(part(1.0) | values)
    return domain.gather_cells(f.x.array[domain.cell_dofs[: len(domain.cells)]])


start = cells(dict.fromkeys(near, 0.4))
design = Density(
    domain, radius=4, start=start, bounds=(0.2, 1), solid=["neck", "ball"], void=[*bone]
)
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
work = [inner(t[name], u) * ds(name) for name in t]
compliance = Functional(*work, of=lambda head, muscle: head + muscle, unit="N mm")
permeance = domain.integrate(q * dx) ** 2 / Functional(q * p * dx)  # [mm³/(s MPa)]

pot = Domain.build(partial(potted_stem, size=size, coat=2.0))
E_pot = pot.by_region(dict.fromkeys(("stem", "coat", "ball", "cement"), cement))
push = np.array(iso_7206_4(2300))
load = tractions(pot, {"head": push})
u_pot = elasticity(
    pot, modulus=E_pot, poisson=ν, displacement=["pot"], traction=load, degree=2, name="potted"
)
sunk = Functional(inner(load["head"], u_pot) * pot.ds("head")) / 2300  # [mm]


def at(J, x):
    """A functional of a design."""
    design.update(x)
    return float(J)


def stem(material, x):
    """What a stem does in the bone and in the pot."""
    metal.x.array[:] = material.modulus.value
    numbers = [at(permeance, x) / least, float(lost), float(compliance)]
    f = np.nan_to_num(carried(ρ, domain, pot, degree=1).x.array)  # no density in the cement
    E_pot.x.array[pot.cell_dofs] = np.where(f > 0, material.modulus.value * f**2, cement)
    numbers += [2.3 / float(sunk), largest(von_mises(u_pot, E_pot), pot, over=["neck"])]
    strength = material.strength.value * ρ**1.5  # of a lattice
    numbers.append(largest(von_mises(u, E) / strength, domain, over=["stem", "coat"]))
    return np.array([*numbers, *zones.value])


def uniform(density):
    """A stem of one density."""
    return np.full(design.size, density)


def cored(density):
    """A solid stem in a coat of one density."""
    return cells(dict.fromkeys(near, density))


least = at(permeance, uniform(0.5))
c = brentq(lambda c: at(permeance, cored(c)) / least - 1, 0.2, 0.9, xtol=1e-4)
others = {"solid Ti": stem(titanium, uniform(1.0)), "solid PEEK": stem(peek, uniform(1.0))}
others[f"solid Ti in a coat of {c:.2f}"] = core = stem(titanium, cored(c))
others |= {f"uniform Ti of {x:g}": stem(titanium, uniform(x)) for x in (0.5, 0.45, 0.4, 0.35)}

design.update(start)
front = pareto(
    lost,
    compliance,
    over=design,
    subject_to=[permeance >= least],
    limits={lost: core[1]},
    points=options.points,
    iterations=options.iterations,
)
designs = [point.result.design for point in front.points]
graded = {f"graded Ti, point {k}": stem(titanium, x) for k, x in enumerate(designs, 1)}
design.update(designs[front.knee])
evens = np.array([row[1:3] for name, row in others.items() if name.startswith("uniform")])
replace(front, baseline=evens).write(folder, cell=1.5)

shown = [1, front.knee + 1, 2]  # least shielding, the knee, least compliance
densities = []
for x in (cored(c), uniform(0.45), *(designs[k - 1] for k in shown)):
    design.update(x)
    densities.append(domain.gather_cells(ρ.x.array[domain.cell_dofs[: len(domain.cells)]]))
tissue = cells(part(-1.0) | {"cortical": 0.4, "cancellous": 0.2, "marrow": 0.05})
grid = gather_mesh(domain)
if grid is not None:  # on the first rank
    print(front.table())
    head = ("fluid", "shielding", "work", "kN/mm", "neck MPa", "yield", *GRUEN)
    print(" " * 24 + "".join(f"{word:>10}" for word in head))
    for name, row in (others | graded).items():
        print(f"{name:24}" + "".join(f"{value:10.3g}" for value in row))
    titles = ["solid in a coat", "uniform", *(f"point {k}" for k in shown)]
    section_figure(folder / "stems.png", grid, densities, titles, behind=tissue)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, row in (others | graded).items():
        if "PEEK" not in name:
            left.plot(*row[1:3], "o" if name in graded else "x", label=name)
    chosen = ["solid Ti", "solid PEEK", "uniform Ti of 0.5", f"graded Ti, point {front.knee + 1}"]
    for i, name in enumerate(chosen):
        bars = np.arange(1, 8) + 0.2 * (i - 1.5)
        right.bar(bars, (others | graded)[name][-7:], 0.18, label=name)
    left.set(xlabel="shielding", ylabel="compliance [N mm]")
    right.set(xlabel="Gruen's zone", ylabel="1 − U/U₀")
    for axes in (left, right):
        axes.legend(fontsize=7)
    figure.savefig(folder / "zones.png", dpi=150)
    print(f"Results in {folder}")
