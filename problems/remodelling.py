"""A femur two years after each of three stems: where the bone goes.

    −∇·σ(u; ρ) = 0     u = 0 on distal,   σn = hip force on head, abductors' pull on the trochanter
    dρ/dt = B (S − (1 ∓ s) S₀)            where S leaves the lazy zone (1 ∓ s) S₀;  else 0
    S = ½ σ(u):ε(u) / ρ,   E = C ρ³,      0.01 ≤ ρ ≤ 1.74 g/cm³

S₀ is the stimulus of the same femur before the operation, under the same load (Huiskes et al.
1987, doi:10.1016/0021-9290(87)90030-3): bone that the stem relieves of more than the share s
resorbs. The modulus is that of Carter & Hayes, the bounds those of Weinans et al. 1992. B sets the
pace alone and is not known well: what is predicted is which zones lose, and how the stems compare.
The load is one instant of level walking, as recalled from Heller et al. 2005, J. Biomech. 38,
1155–1163, in parts of the body's weight. Bone and stems are bonded.

Run:  mpirun -n 2 python problems/remodelling.py          (--size 3.5 for a finer mesh [mm])
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

from ufl import as_vector

from toolkit import Domain, elasticity, gibson_ashby
from toolkit.bone import (
    GRUEN,
    IntactBone,
    Remodelling,
    bone_mass_chart,
    density_change_map,
    solid,
    strain_energy,
)
from toolkit.geometry import femur_with_stem

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=4.5, help="edge length [mm]")
parser.add_argument("--radius", type=float, default=8.0, help="that bone senses within [mm]")
parser.add_argument("--months", type=int, default=24)
parser.add_argument("--steps", type=int, default=1, help="a month")
parser.add_argument("--stems", type=int, default=3, help="only the first so many")
options, _ = parser.parse_known_args()  # the rest is PETSc's
folder = Path("results/remodelling")

C, g, s, ν = 3790, 3, 0.6, 0.3  # [MPa (cm³/g)³], –, –, –
B = 60  # [(g/cm³)/(J/g) a month]
weight = 75 * 9.81  # of the body [N]
hip = (-0.540, -0.328, -2.292)  # in weights: medial, anterior, up
abductors = (0.580, 0.043, 0.865)
tissue = ["cortical", "cancellous"]
titanium = float(solid("Ti-6Al-4V").modulus)
stems = {
    "solid titanium": titanium,
    "porous titanium": gibson_ashby(0.3, full=titanium),  # 30 % of solid
    "solid PEEK": float(solid("PEEK").modulus),
}


def femur(stem):
    """The femur under its load: mesh, density, energy; with a stem of a modulus, or without."""
    domain = Domain.build(partial(femur_with_stem, size=options.size, stem=stem is not None))
    implant = {} if stem is None else {"stem": stem, "ball": 220e3}
    none = dict.fromkeys(implant, 0.0)
    ρ = domain.by_region({"cortical": 1.74, "cancellous": 0.6, "marrow": 0.05} | none)
    E = C * ρ**g + domain.by_region(dict.fromkeys((*tissue, "marrow"), 0.0) | implant)
    load = {
        name: as_vector([weight * part / domain.area(name) for part in force])
        for name, force in {"head": hip, "abductor": abductors}.items()
    }
    u = elasticity(domain, modulus=E, poisson=ν, displacement=["distal"], traction=load)
    return domain, ρ, strain_energy(u, modulus=E, poisson=ν)


_, ρ, U = femur(None)
intact = IntactBone(U / ρ)

courses = {}
for name, modulus in list(stems.items())[: options.stems]:
    domain, ρ, U = femur(modulus)
    bone = Remodelling(
        domain,
        density=ρ,
        energy=U,
        power=g,
        reference=intact.on(domain),
        lazy=s,
        rate=B,
        tissue=tissue,
        radius=options.radius,
    )
    steps = options.steps * options.months
    courses[name] = bone.run(options.months, steps=steps, regions=GRUEN)
    courses[name].write(folder / name.replace(" ", "_"))

bone_mass_chart(folder / "bone_mass.png", courses, unit="months")
density_change_map(folder / "density_change.png", courses)
if domain.comm.rank == 0:
    print(f"Change of bone mass [%] in {options.months} months, zones 1 to 7 and all")
    for name, course in courses.items():
        change = [100 * course.change(zone)[-1] for zone in (*GRUEN, "all")]
        print(f"{name:16}", *(f"{each:7.2f}" for each in change))
    print(f"\nResults in {folder}")
