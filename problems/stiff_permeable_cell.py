"""A scaffold's unit cell at half porosity: as stiff as can be, as permeable as can be.

    min over ρ   ( −K(ρ) ,  −k(ρ) )                                bulk modulus, permeability
    where        K = (C₁₁ + 2 C₁₂) / 3,   Cᵢⱼ = ∫ (eᵢ + ε(χᵢ)) : E(ρ) ℂ : (eⱼ + ε(χⱼ)) dx
                 −∇·E(ρ) ℂ : (eᵢ + ε(χᵢ)) = 0                      χ periodic
                 k = ∫ w·e₁ dx,   −Δw + α(ρ) w + ∇p = e₁,  ∇·w = 0      w, p periodic
    subject to   ∫ ρ dx = ½,   cubic symmetry

Lengths are in periods and E is 1 in the solid: k is in units of L², so a period of 2 mm makes 0.003
into 1.2e-8 m². In 2D a stiff cell is closed to flow, so this is 3D. The chosen designs are then
cut at equal volume, freed of islands, meshed along their surface and computed again: those numbers
are the result. Bulk moduli stay below Hashin and Shtrikman's bound; permeability knows no bound by
porosity, so it is drawn beside the parallel plates and Schwarz's P surface.

Run:  mpirun -n 2 python problems/stiff_permeable_cell.py
      (--fine for 24³ voxels, --groups 2 for two points of a front at a time)
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from toolkit import (
    Cell,
    Density,
    Functional,
    Groups,
    brinkman,
    pareto,
    permeability,
    simp,
    stiffness,
)
from toolkit.bounds import hashin_shtrikman, plate_channel
from toolkit.bounds import schwarz_p as schwarz_p_flow
from toolkit.geometry import body_fitted, remove_islands, schwarz_p, voxel_body
from toolkit.moduli import bulk

parser = ArgumentParser()
parser.add_argument("--fine", action="store_true")
parser.add_argument("--resolution", type=int, help="voxels along the period")
parser.add_argument("--iterations", type=int, default=30, help="for each point")
parser.add_argument("--groups", type=int, default=1, help="of ranks, each with a point")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n = options.resolution or (24 if options.fine else 16)
folder = Path("results/stiff_permeable_cell")

groups = Groups(options.groups)
cell = Cell.box((1, 1, 1), (n, n, n), comm=groups.comm)
dx = cell.dx

design = Density(cell, radius=2 / n, start=0.5, symmetry="cubic")
design.sharpen(8)
ρ = design.physical

C = stiffness(cell, modulus=simp(ρ, full=1, empty=1e-4), poisson=0.3, symmetry="cubic")
κ = permeability(cell, drag=brinkman(ρ, drag=1e4), symmetry="cubic")

K = C.map(bulk, name="bulk modulus")
k = κ.map(lambda κ: κ[0, 0], name="permeability")
volume = Functional(ρ * dx, name="volume")
f, g = -K, -k  # both are minimised

designs = []
for form, least, points in ("network", (0.145, 0.003), 3), ("sheet", (0.15, 0.0006), 5):
    start = 0.1 + 0.8 * schwarz_p(form=form).voxels((n, n, n))  # the uniform cell is a trap
    design.update(start.ravel())
    front = pareto(
        f,
        g,
        over=design,
        subject_to=[volume <= 0.5, volume >= 0.499],
        limits={f: -least[0], g: -least[1]},
        points=points,
        iterations=options.iterations,
        groups=groups,
    )
    front.write(folder / form)
    designs += [(-point.values, point.result.design) for point in front.points]

rows = []
for (K_voxels, k_voxels), x in designs:
    design.update(x)
    voxels = cell.gather_cells(design.filtered.x.array[cell.cell_dofs[: len(cell.cells)]])
    whole = remove_islands(voxels.reshape(n, n, n)).solid
    body = voxel_body(whole, cell.lengths, porosity=0.5)
    solid, fluid = (
        Cell.build(partial(body_fitted, body, resolution=n, phase=phase), lengths=cell.lengths)
        for phase in ("solid", "fluid")
    )
    again = stiffness(solid, modulus=1.0, poisson=0.3, degree=2, symmetry="cubic").value
    flow = permeability(fluid, walls=["interface"], symmetry="cubic").value
    rows.append((K_voxels, k_voxels, bulk(again), flow[0, 0]))

bound = hashin_shtrikman(0.5, modulus=1, poisson=0.3).bulk.upper
if groups.world.rank == 0:
    found = np.array(sorted(rows, key=lambda row: row[2]))
    head = "K of voxels,k of voxels,K meshed,k meshed"
    np.savetxt(folder / "cells.csv", found, delimiter=",", header=head, comments="", fmt="%.6g")
    print(f"{head.replace(',', '   ')}   share of the bound")
    for row in found:
        print("   ".join(f"{value:10.4g}" for value in (*row, row[2] / bound)))
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    axes.plot(found[:, 0], found[:, 1], "o", mfc="none", label="voxels")
    axes.plot(found[:, 2], found[:, 3], "o", label="meshed along the surface")
    axes.axvline(bound, color="0.3", ls="--", label="Hashin–Shtrikman bound of K")
    for reference in (plate_channel(0.5), schwarz_p_flow()):
        axes.axhline(float(reference.value), color="0.6", ls=":")
        place = (0.02, 1.05 * float(reference.value))
        words = f"{reference.name} (no bound)"
        axes.annotate(words, place, xycoords=("axes fraction", "data"), fontsize=8)
    axes.set(xlabel="bulk modulus K / E", ylabel="permeability k / L²", yscale="log")
    axes.legend(fontsize=8)
    figure.savefig(folder / "cells.png", dpi=150)
    print(f"Results in {folder}")
