"""The stiffest unit cell in bulk, in shear, or along a direction.

    max over ρ   S(C(ρ)),   S = K = (1 : C : 1)/d²,  or  G = C₁₂₁₂,  or  E(n) = 1/(s : C⁻¹ : s)
    where        Cᵢⱼ = 1/|Y| ∫ (eᵢ + ε(χᵢ)) : E(ρ) ℂ : (eⱼ + ε(χⱼ)) dx        s = n ⊗ n
                 −∇·E(ρ) ℂ : (eᵢ + ε(χᵢ)) = 0                                χ periodic
    subject to   ∫ ρ dx ≤ V |Y|

E is 1 in the solid and ν = 0.3; plane cells are in plane stress. The uniform cell is a stationary
trap, so there are several starts, each a few random waves about V, and the best one counts. It is
cut at equal volume, freed of islands, meshed along its surface and computed again: that number is
the result. No cell is stiffer than Hashin and Shtrikman's bound of K, nor than Voigt's of G and
E(n), the share of solid.

Run:  mpirun -n 2 python problems/stiff_cell.py --objective shear
      (--objective bulk | shear | young, --direction 1 1, --volume 0.5, --three for 3D,
      --groups 2 for two starts at a time)
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np

from toolkit import Cell, Density, Functional, Groups, minimize, simp, stiffness, write_result
from toolkit.bounds import hashin_shtrikman, voigt
from toolkit.geometry import body_fitted, remove_islands, voxel_body
from toolkit.moduli import bulk, young

parser = ArgumentParser()
parser.add_argument("--objective", choices=["bulk", "shear", "young"], default="bulk")
parser.add_argument("--direction", type=float, nargs="+", help="of Young's modulus; x unless given")
parser.add_argument("--volume", type=float, default=0.5)
parser.add_argument("--three", action="store_true", help="a cell of three dimensions")
parser.add_argument("--resolution", type=int, help="voxels along the period")
parser.add_argument("--starts", type=int, default=3)
parser.add_argument("--iterations", type=int, default=40, help="for each steepness")
parser.add_argument("--groups", type=int, default=1, help="of ranks, each with a start")
options, _ = parser.parse_known_args()  # the rest is PETSc's
d = 3 if options.three else 2
n = options.resolution or (16 if options.three else 64)
V, plane = options.volume, None if options.three else "stress"
direction = options.direction or [1.0, 0.0, 0.0][:d]
folder = Path("results/stiff_cell")

moduli = {
    "bulk": bulk,
    "shear": lambda C: C[-1, -1],
    "young": lambda C: young(C, direction),
}
measure = moduli[options.objective]

groups = Groups(options.groups)
cell = Cell.box((1,) * d, (n,) * d, comm=groups.comm)
symmetry = None if options.objective == "young" else "cubic"
design = Density(cell, radius=4 / n if d == 2 else 2 / n, start=V, symmetry=symmetry)
ρ = design.physical

E = simp(ρ, full=1, empty=1e-6)
C = stiffness(cell, modulus=E, poisson=0.3, plane=plane, symmetry=symmetry)

S = C.map(measure, name=options.objective)
volume = Functional(ρ * cell.dx, name="volume") / cell.volume


def optimised(seed):
    """The best design from a start of six random waves."""
    random = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * d, indexing="ij"))
    waves = sum(
        random.normal() * np.cos(2 * np.pi * (np.tensordot(k, x, axes=1) + random.random()))
        for k in random.integers(-2, 3, size=(6, d))
    )
    design.update(np.clip(V + 0.4 * waves / waves.std(), 0.05, 0.95).ravel())
    return minimize(
        -S,
        over=design,
        subject_to=[volume <= V],
        sharpen=(4, 12),
        iterations=options.iterations,
        label=f"start {seed + 1}/{options.starts}",
    )


results = groups.map(optimised, range(options.starts))
best = min(results, key=lambda result: result.objective)
design.update(best.design)
groups.first(lambda: write_result(best, design, folder, name=f"minus {S.name}", functionals=[-S]))

voxels = cell.gather_cells(design.filtered.x.array[cell.cell_dofs[: len(cell.cells)]])
whole = remove_islands(voxels.reshape((n,) * d)).solid
body = voxel_body(np.asarray(whole, dtype=float), cell.lengths, porosity=1 - V)
mesh = partial(body_fitted, body, resolution=96 if d == 2 else n, phase="solid")
solid = Cell.build(mesh, lengths=cell.lengths)
again = stiffness(solid, modulus=1.0, poisson=0.3, plane=plane, degree=2, name="again").value

ν, share = 0.3, solid.meshed
bound = {
    "bulk": hashin_shtrikman(share, modulus=1, poisson=ν, plane=plane).bulk.upper,
    "shear": voigt(share, 1 / (2 + 2 * ν)),
    "young": voigt(share, 1.0),
}[options.objective]
if groups.world.rank == 0:
    starts = ", ".join(f"{-result.objective:.5g}" for result in results)
    print(f"{S.name} on voxels, start by start: {starts}")
    print(f"meshed along the surface: {measure(again):.5g} at a volume of {share:.4f}")
    print(f"that is {measure(again) / float(bound):.4f} of the bound, {float(bound):.5g}")
    print(f"Results in {folder}")
