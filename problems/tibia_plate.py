"""A bone plate that loses three quarters of its volume, and what the fractured tibia then feels.

    min over ρ   ⅓ Σᵢ ∫ tᵢ·uᵢ ds                          compliance, twice the strain energy
    where        −∇·σ(uᵢ; E(ρ)) = 0      uᵢ = 0 at the distal end,  σn = tᵢ at the proximal one
                 E(ρ) = E₀ (10⁻³ + ρ³ (1 − 10⁻³)) in the plate, that of the tissue elsewhere
    subject to   ∫ ρ dx ≤ V |plate|,     V = 75, 50, 25 %  ρ = 1 about the screws and between
                                                           those of a fragment

A locking plate of titanium bridges a gap of 3 mm, after Al-Tamimi 2022, doi:10.3390/app122010569,
who found that bone is stressed the more the less is left of the plate. The loads are a tenth of the
peaks of gait, as if muscles fell with the weight borne: an axial force of 4.7 times the body's
weight and a sagittal moment of 71.6 mm times it (Wehner et al. 2009,
doi:10.1016/j.clinbiomech.2008.12.007), and a torque of 20 mm times it, about the least of the peaks
of Heyland et al. 2023, doi:10.3389/fbioe.2023.1284091. The plate is designed for each by itself and
looked at under all at once, over a fresh callus of 3 MPa and over one that is healed to bone.
Perren's theory wants a strain between the fragments of 2 to 10 % for callus to form. The bone
carries the load past the outer screws, so that compliance alone would cut them off and leave them
rings that hold nothing: a bar joins them to the inner ones in every plate.

Run:  mpirun -n 2 python problems/tibia_plate.py           (--plate-size 1.1 for a finer plate)
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
from ufl import SpatialCoordinate, as_vector, conditional, dev, inner, sqrt

from toolkit import Density, Domain, Functional, elasticity, minimize, simp, stress, write_result
from toolkit.bone import load_share, solid
from toolkit.catalogue import table, write_table
from toolkit.geometry import tibia_with_plate
from toolkit.pictures import embedded_figure
from toolkit.surface import solid_surface

parser = ArgumentParser()
parser.add_argument("--size", type=float, default=4.5, help="of cells [mm]")
parser.add_argument("--plate-size", type=float, default=1.5, help="of cells in the plate [mm]")
parser.add_argument("--iterations", type=int, default=10, help="for each steepness")
options, _ = parser.parse_known_args()  # the rest is PETSc's
sizes = {"size": options.size, "plate_size": options.plate_size}

domain = Domain.build(partial(tibia_with_plate, **sizes))  # mm, N, MPa
dx, ds = domain.dx, domain.ds
x = SpatialCoordinate(domain.mesh)
screws = (-54, -36, -18, 18, 36, 54)  # their heights


def held(x):
    """In the plate, within 1.5 mm of a hole or of the line between those of a fragment."""
    near = [np.hypot(x[1], x[2] - z) < 2.2 + 1.5 for z in screws]
    near += [(abs(x[1]) < 1.5) & (abs(abs(x[2]) - 36) < 18)]
    return (x[0] > 13.9) & np.any(near, axis=0)


domain.name("seats", 3, held, midpoint=True)
rest = ["bone", "marrow", "callus", "screws"]
design = Density(domain, radius=3, start=0.75, solid=["seats"], void=rest)
ρ = design.physical

titanium, ν = solid("Ti-6Al-4V").modulus.value, 0.3
bone = solid("cortical bone").modulus.value
tissue = {"bone": bone, "marrow": 1, "screws": titanium, "plate": 0}
fresh, healed = (domain.by_region({**tissue, "callus": E}) for E in (3, bone))
callus = domain.by_region({**tissue, "callus": 3})
plate = domain.by_region({**dict.fromkeys(rest, 0), "plate": titanium})
E = callus + simp(ρ, full=plate, empty=1e-3 * plate)

weight = 75 * 9.81 / 10  # a tenth of it is borne [N]
force, moment, torque = 4.7 * weight, 71.6 * weight, 20 * weight
A = domain.area("proximal")
Ix, Iy = (domain.integrate(x[i] ** 2 * ds("proximal")) for i in (1, 0))
loads = [
    as_vector((0, 0, -force / A)),
    as_vector((0, 0, moment * x[1] / Ix)),
    as_vector((-torque * x[1] / (Ix + Iy), torque * x[0] / (Ix + Iy), 0)),
]
traction = [{"proximal": t} for t in loads]
states = elasticity(domain, modulus=E, poisson=ν, displacement=["distal"], traction=traction)

work = [Functional(inner(t, u) * ds("proximal")) for t, u in zip(loads, states, strict=True)]
compliance = (work[0] + work[1] + work[2]) / 3
volume = Functional(ρ * dx("plate")) / domain.integrate(1 * dx("plate"))

u = sum(states)
σ = dev(stress(u, modulus=E, poisson=ν))
between = conditional(abs(x[2]) < 18, 1.0, 0.0)  # the inner screws
strain = Functional(-u[2].dx(2) * dx("callus")) / domain.integrate(1 * dx("callus"))
stressed = Functional(between * sqrt(1.5 * inner(σ, σ)) * dx("bone"))
stressed = stressed / domain.integrate(between * dx("bone"))
parts = ["bone", "callus", "marrow", "plate"]
axial = stress(states[0], modulus=E, poisson=ν)
share = load_share(axial, over=parts, axis=(0, 0, 1), at=0, width=30)


def body():
    """The present plate's surface."""
    cells = domain.gather_cells(ρ.x.array[domain.cell_dofs[: len(domain.cells)]])
    return solid_surface(domain, cells, region="plate")


def row(name):
    """What the present plate does."""
    numbers = {"plate": name, "volume": volume.value}
    for age, moduli in (("healed", healed), ("fresh", fresh)):
        callus.x.array[:] = moduli.x.array
        numbers[f"N/mm, {age}"] = force**2 / work[0].value
        numbers[f"bone MPa, {age}"] = stressed.value
        numbers[f"plate's share, {age}"] = share.value[-1]
    return numbers | {"callus strain": strain.value, "N mm": compliance.value}


folder = Path("results/tibia_plate")
design.update(np.ones(design.size))
rows, plates = [row("whole")], {"whole": body()}
design.update(np.full(design.size, 0.75))
for left in (0.75, 0.5, 0.25):
    result = minimize(
        compliance,
        over=design,
        subject_to=[volume <= left],
        sharpen=[0, 4, 8],
        iterations=options.iterations,
        label=f"{left:.0%}",
    )
    name = f"{left:.0%}"
    rows.append(row(name))
    plates[name] = body()
    write_result(result, design, folder / name[:-1], functionals=[compliance], part="plate")
write_table(folder / "plates.csv", rows)
around = solid_surface(domain, np.ones(domain.num_cells), region="bone")
if domain.comm.rank == 0:
    embedded_figure(folder / "plates.png", plates, around)
    print(f"{table(rows)}\n\nResults in {folder}")
