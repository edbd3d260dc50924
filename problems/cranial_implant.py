"""A porous cranial implant: from a CT of the head to a patch, its design, and the part to print.

    patch Ω      mirrored healthy side, fitted to the rim of the defect, 5 mm thick, 0.5 mm free
    min over ρ   ∫ t·u ds                                  compliance under a blow of 50 N
    where        −∇·σ(u; ρ) = 0        u = 0 on rim,       σn = t on hit
                 −∇·κ(ρ)/μ ∇p = 0      p = 1 on rim,       p = 0 on inner
    subject to   ∫ κ(ρ)/μ |∇p|² dx ≥ 3/2 K₀,   ∫ ρ dx ≤ V₀,   0.2 ≤ ρ ≤ 0.8,   ρ = 1 in the skin

The skin, the outer 1.5 mm under the scalp, is solid; what lies under it is a sheet gyroid
of Ti-6Al-4V, open to the bone at the rim and to the dura on the inner face, for tissue to grow in.
K₀ and V₀ are those of the uniform core of density 0.4: the design lets half as much again through
and needs no more metal. Without an image a synthetic head with a round hole is taken.

Run:  mpirun -n 2 python problems/cranial_implant.py [ct: DICOM folder, .nii, .nrrd, .inv3]
"""

import time
from argparse import ArgumentParser

import numpy as np
from ufl import as_vector, grad, inner

from toolkit import (
    Density,
    Functional,
    darcy,
    elasticity,
    gibson_ashby,
    kozeny_carman,
    minimize,
    write_result,
)
from toolkit.bone import contour, cranial_patch, craniectomy, read, synthetic_head, threshold
from toolkit.pictures import bodies_figure
from toolkit.surface import write_stl

parser = ArgumentParser()
parser.add_argument("ct", nargs="?", help="image of a head with a defect; synthetic without")
parser.add_argument("--threshold", type=float, default=226, help="bone begins here [HU]")
parser.add_argument("--size", type=float, default=1.0, help="edge length of the tetrahedra [mm]")
parser.add_argument("--iterations", type=int, default=30)
options, _ = parser.parse_known_args()  # the rest is PETSc's

began = time.perf_counter()
if options.ct:
    skull = threshold(read(options.ct), options.threshold).cleaned(closing=1, fill=False)
else:
    head = synthetic_head(semi_axes=(70, 88, 78))
    skull = craniectomy(threshold(head, 520), at=(50, -30, 45), diameter=40)
patch = cranial_patch(skull, thickness=5, gap=0.5)  # mm
domain = patch.domain(size=options.size)
made = time.perf_counter() - began

middle, axis = patch.mask.centroid, patch.outwards


def hit(x):
    """Within 6 mm of the axis through the middle of the patch, on its outer face."""
    across = np.cross(x.T - middle, axis)
    return (np.linalg.norm(across, axis=1) < 6) & (patch.part(x.T) == "outer")


domain.name("hit", 2, hit, midpoint=True)
skin = 1.5 * options.size  # all cells that touch the outer face, and some below
domain.name("skin", 3, lambda x: patch.parts["outer"].at(x.T) < skin, midpoint=True)
dx, ds = domain.dx, domain.ds

design = Density(domain, radius=1.5, start=0.4, bounds=(0.2, 0.8), solid=["skin"])
ρ = design.physical

E = gibson_ashby(ρ, full=114e3)  # of Ti-6Al-4V [MPa]
k = kozeny_carman(ρ, surface=6.2 / 3) + 1e-8  # of sheets of period 3 mm; the skin's is 1e-8 [mm²]
κ = k / 4e-5  # by the viscosity of marrow [mm² / (kPa s)]
t = as_vector((-50 / domain.area("hit") * axis).tolist())  # 50 N inwards [MPa]

u = elasticity(domain, modulus=E, poisson=0.34, displacement=["rim"], traction={"hit": t})
p = darcy(domain, permeability=κ, pressure={"rim": 1, "inner": 0})

compliance = Functional(inner(t, u) * ds("hit"), unit="N mm")
permeance = Functional(κ * inner(grad(p), grad(p)) * dx, unit="mm³/(s kPa)")
volume = Functional(ρ * dx) / domain.volume
uniform = float(compliance)

result = minimize(
    compliance,
    over=design,
    subject_to=[permeance >= 1.5 * float(permeance), volume <= float(volume)],
    iterations=options.iterations,
)
folder = write_result(
    result,
    design,
    "results/cranial_implant",
    name="compliance",
    functionals=[compliance, permeance],
)
write_stl(folder / "patch.stl", surface := patch.surface(), domain)
if domain.comm.rank == 0:
    bodies_figure(folder / "skull.png", {"bone": contour(skull), "metal": surface}, view=axis)
    print(f"patch of {surface.volume / 1e3:.2f} cm³ in {made:.0f} s, {domain.num_cells} cells")
    print(f"compliance: {uniform:.4g} N mm uniform, {result.objective:.4g} N mm designed")
    print(f"{result.message}\n\nResults in {folder}")
