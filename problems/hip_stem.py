"""A hip stem of graded porous titanium: the bone about it is to feel what it felt before.

    min over ρ   ( (⅐ Σₖ sₖ²)^½ ,  ∫ t·u ds )            shielding of Gruen's zones, compliance
    where        sₖ = 1 − ∫ U dx / ∫ U₀ dx over zone k,  U = ½ σ:ε,  U₀ that of the intact bone
                 −∇·σ(u; ρ) = 0       u = 0 at the distal end,  σn = t on head and trochanter
                 −∇·κ(ρ)/μ ∇p = −q    p = 0 at the bone,  q = 1 in the coat:  what cells take up
    subject to   q² |coat|² / ∫ −q p dx ≥ its value for a coat of ρ = ½,   0.2 ≤ ρ ≤ 1

The stem's body is the design, with a porous coat of 2 mm on its upper third; neck and ball are
solid. Stance in gait: 2300 N on the head and the abductors' pull on the trochanter, in the ratio of
Heller et al. 2005, doi:10.1016/j.jbiomech.2004.05.022. sₖ < 0 is bone that carries more than
before, which counts as well: else the softest stem were the best. No stem is stiffer than a solid
one; the front is to dominate those that let as much fluid through, with a solid core or uniform.
The stiffness is that of the stem in the pot of ISO 7206-4, in cement of 3 GPa under 2300 N, as
Naghavi et al. 2023, doi:10.3389/fbioe.2023.1092361, measured it.

Run:  mpirun -n 2 python problems/hip_stem.py     (--size 4 for finer meshes, --degree 2 for both)
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
from toolkit.geometry import femur_with_stem, iso_7206_4, potted_stem
from toolkit.responses import largest

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=5.0, help="of cells [mm]")
parser.add_argument("--degree", type=int, default=1, help="of the displacement in the bone")
parser.add_argument("--points", type=int, default=6, help="of the front")
parser.add_argument("--iterations", type=int, default=12, help="for each of them")
options, _ = parser.parse_known_args()  # the rest is PETSc's
size, folder = options.size, Path("results/hip_stem")


coat, ν, cement = 2.0, 0.3, 3e3  # [mm], [MPa]
titanium, peek = (SOLIDS[name] for name in ("Ti-6Al-4V L-PBF", "PEEK"))
bone = {"cortical": 17e3, "cancellous": 500, "marrow": 1}  # [MPa]
gait = {"head": (-54.0, -32.8, -229.2), "abductor": (58.0, 4.3, 86.5)}  # medial, anterior, up


def tractions(domain, forces):
    """Uniform tractions that add up to the forces [N]."""
    return {name: as_vector(np.array(F) / domain.area(name)) for name, F in forces.items()}


def von_mises(u, modulus):
    """Of the homogenised stress [MPa]."""
    σ = dev(stress(u, modulus=modulus, poisson=ν))
    return sqrt(1.5 * inner(σ, σ))


def cells(values):
    """A number for each cell by its region, in the order of the mesh file."""
    f = domain.by_region(values)
    return domain.gather_cells(f.x.array[domain.cell_dofs[: len(domain.cells)]])


forces = {name: 2300 / np.linalg.norm(gait["head"]) * np.array(F) for name, F in gait.items()}
held = partial(elasticity, poisson=ν, displacement=["distal"], degree=options.degree)

before = Domain.build(partial(femur_with_stem, size=size, stem=False))  # mm, N, MPa, s
E0 = before.by_region(bone)
u0 = held(before, modulus=E0, traction=tractions(before, forces), name="intact")
intact = IntactBone(strain_energy(u0, modulus=E0, poisson=ν))

domain = Domain.build(partial(femur_with_stem, size=size, coat=coat))
dx, ds = domain.dx, domain.ds
part = partial(dict.fromkeys, (*bone, "stem", "coat", "ball"))
near = {"gruen 1": 0.5, "gruen 7": 0.5}  # bone beside the coat: the filter sees it, void or not
start = cells({**part(1), **near, "stem": 0.5, "coat": 0.5})
solid = ["neck", "ball"]
design = Density(domain, radius=4, start=start, bounds=(0.2, 1), solid=solid, void=[*bone])
ρ = design.physical

metal = domain.by_region(part(titanium.modulus.value))
E = domain.by_region({**part(0), **bone}) + gibson_ashby(ρ, full=metal)
t = tractions(domain, forces)
u = held(domain, modulus=E, traction=t)
U = strain_energy(u, modulus=E, poisson=ν)

μ = FLUIDS["marrow"].viscosity.value
κ = kozeny_carman(0.99 * ρ, surface=6.2 / 1.5)  # a sheet gyroid of 1.5 mm [mm²]
q = domain.by_region({**part(0), "coat": 1})
p = darcy(domain, permeability=κ / μ, pressure=["interface"], source=q)

zones = shielding(U, intact, over=GRUEN)
lost = zones.map(lambda s: (s @ s / 7) ** 0.5, name="shielding")
compliance = Functional(
    *(inner(t[name], u) * ds(name) for name in t), of=lambda head, muscle: head + muscle
)
compliance.unit = "N mm"
taken = domain.integrate(q * dx)  # [mm³/s]
permeance = taken**2 / Functional(q * p * dx)
permeance.unit = "mm³/(s MPa)"


def fluid(x):
    """The permeance of a stem."""
    design.update(x)
    return float(permeance)


uniform = partial(np.full, design.size)
least = fluid(uniform(0.5))

pot = Domain.build(partial(potted_stem, size=size, coat=coat))
E_pot = pot.by_region(dict.fromkeys(("stem", "coat", "ball", "cement"), cement))
push = np.array(iso_7206_4(2300))
u_pot = elasticity(
    pot,
    modulus=E_pot,
    poisson=ν,
    displacement=["pot"],
    traction=tractions(pot, {"head": push}),
    degree=2,
    name="potted",
)
sunk = Functional(inner(as_vector(push / 2300), u_pot) * pot.ds("head")) / pot.area("head")


def row(name, material, x):
    """What a stem does in the bone and in the pot."""
    metal.x.array[:] = material.modulus.value
    design.update(x)
    f = np.nan_to_num(carried(ρ, domain, pot, degree=1).x.array[: len(pot.cell_dofs)])
    E_pot.x.array[pot.cell_dofs] = np.where(f > 0, material.modulus.value * f**2, cement)
    E_pot.x.scatter_forward()
    numbers = [float(J) for J in (permeance / least, lost, compliance, 2.3 / sunk)]
    bent = largest(von_mises(u_pot, E_pot), pot, over=["neck"])
    strength = material.strength.value * ρ**1.5  # of a lattice [MPa]
    used = largest(von_mises(u, E) / strength, domain, over=["stem", "coat"])
    return name, np.array([*numbers, bent, used, *zones.value])


design.update(start)
front = pareto(
    lost,
    compliance,
    over=design,
    subject_to=[permeance >= least],
    points=options.points,
    iterations=options.iterations,
)
found = [point.result.design for point in front.points]
coated = cells({**part(0.0), "coat": 1.0, **dict.fromkeys(near, 1.0)}) > 0


def cored(c):
    """A solid stem with a coat of one density."""
    return np.where(coated, c, 1.0)


c = brentq(lambda c: fluid(cored(c)) / least - 1, 0.2, 0.9, xtol=1e-4)
stems = [
    row("solid Ti", titanium, uniform(1.0)),
    row("solid PEEK", peek, uniform(1.0)),
    row(f"solid Ti, coat of {c:.2f}", titanium, cored(c)),
    *(row(f"uniform Ti of {x:g}", titanium, uniform(x)) for x in (0.5, 0.45, 0.4, 0.35, 0.3)),
    *(row(f"graded Ti, point {i + 1}", titanium, x) for i, x in enumerate(found)),
]
design.update(found[front.knee])
baseline = np.array([values[1:3] for _, values in stems[2:8]])  # those that let enough through
replace(front, baseline=baseline).write(folder, cell=3.0)

if domain.comm.rank == 0:
    print(front.table())
    columns = ["permeance", "shielding", "work", "kN/mm", "neck MPa", "yield", *GRUEN]
    print(f"{'':22}" + "".join(f"{column:>10}" for column in columns))
    for name, values in stems:
        print(f"{name:22}" + "".join(f"{value:10.3g}" for value in values))
    knee = 8 + front.knee
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for i, (name, values) in enumerate(stems[k] for k in (0, 1, 2, 5, knee)):
        axes.bar(np.arange(1, 8) + 0.16 * (i - 2), values[6:], 0.15, label=name)
    axes.axhline(0, color="0.3", lw=0.8)
    axes.set(xlabel="Gruen zone", ylabel="shielding 1 − U/U₀")
    axes.legend(fontsize=8)
    figure.savefig(folder / "zones.png", dpi=150)
    print(f"Results in {folder}")
