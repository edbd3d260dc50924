"""Scaffolds side by side: how stiff, how permeable, how open, and can they be printed?

    C = 1/|Y| ∫ (eᵢ + ε(χᵢ)) : E ℂ : (eⱼ + ε(χⱼ)) dx     E, G, ν, Zener's ratio; over the solid's E
    k = 1/|Y| ∫ w dx,     −Δw + α w + ∇p = e,  ∇·w = 0    permeability, over the period squared
    D = 1/|Y| ∫ D₀ (e + ∇θ) dx                            diffusivity, over the free fluid's

for every family of periodic bodies at some porosities, from voxels that know their share of solid.
E, ν, k and D are taken along z, where the channels of the lotus root run, and "k across" along x.
Pores, walls and surface are those of a period of 2 mm (in the lotus root, a spacing of 2 mm) and
are held against the limits of printing and of bone. The columns "pores" and "solid" count the
directions in which each is connected; a permeability below 1e-4 L² is within the voxels' error.

Run:  mpirun -n 2 python problems/tpms_catalogue.py        (--fine for 48³ voxels, more porosities)
"""

from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
from mpi4py import MPI

from toolkit import geometry as g
from toolkit.catalogue import catalogue, stiffness_permeability_figure, table, write_table
from toolkit.geometry import morphology, printable

parser = ArgumentParser()
parser.add_argument("--fine", action="store_true")
parser.add_argument("--resolution", type=int, help="voxels along the period")
parser.add_argument("--families", type=int, help="only the first so many")
options, _ = parser.parse_known_args()  # the rest is PETSc's
n = options.resolution or (48 if options.fine else 20)
period, ν = 2.0, 0.3  # [mm], Poisson's ratio of the solid
folder = Path("results/tpms_catalogue")


def between(low, high):
    """Porosities of a family."""
    return np.linspace(low, high, 5 if options.fine else 3).tolist()


surfaces = {
    "P": g.schwarz_p,
    "gyroid": g.gyroid,
    "diamond": g.diamond,
    "I-WP": g.iwp,
    "Neovius": g.neovius,
}
lattices = {"cubic": g.cubic, "bcc": g.bcc, "octet": g.octet, "Kelvin": g.kelvin}
voids = {"sc": (0.6, 0.8), "bcc": (0.75, 0.85), "fcc": (0.76, 0.82)}
families = {f"{name} network": (f, between(0.45, 0.6)) for name, f in surfaces.items()}
families |= {
    f"{name} sheet": (partial(f, form="sheet"), between(0.5, 0.75)) for name, f in surfaces.items()
}
families |= {f"{name} lattice": (f, between(0.6, 0.85)) for name, f in lattices.items()}
families |= {
    f"{name} voids": (partial(g.sphere_packing, name, solid="matrix"), between(*ends))
    for name, ends in voids.items()
}
families |= {
    "sc spheres": (partial(g.sphere_packing, "sc"), between(0.25, 0.45)),
    "lotus root, square": (g.lotus_root, between(0.5, 0.7)),
    "lotus root, hexagonal": (partial(g.lotus_root, arrangement="hexagonal"), between(0.5, 0.7)),
    "Voronoi struts": (g.voronoi_struts, between(0.6, 0.8)),
    "random field": (g.random_field, between(0.5, 0.75)),
    "mixed porosity": (g.mixed_porosity, between(0.6, 0.75)),
}
families = dict(list(families.items())[: options.families])

cells = catalogue(
    families,
    measure=lambda voxels, lengths: morphology(voxels, lengths=period * np.array(lengths)),
    resolution=n,
    poisson=ν,
)
bone = {"porosity", "mean pore size [mm]"}  # what bone asks of a cell, not the printer
rows = []
for cell in cells:
    shape = cell.measures
    misses = [finding.what for finding in printable(shape) if not finding.ok]
    rows.append(
        cell.row()
        | {
            "pore [mm]": shape.pore.mean,
            "passing [mm]": shape.passing[2],
            "wall [mm]": shape.wall.mean,
            "surface [1/mm]": shape.surface,
            "pores": sum(shape.pores.percolates),
            "solid": sum(shape.solid.percolates),
            "printable": "no" if set(misses) - bone else "yes",
            "misses": "; ".join(misses) or "none",
        }
    )
write_table(folder / "catalogue.csv", rows)
stiffness_permeability_figure(folder / "catalogue.png", cells, poisson=ν)
if MPI.COMM_WORLD.rank == 0:
    shown = [{name: value for name, value in row.items() if name != "misses"} for row in rows]
    print(f"{table(shown)}\n\nResults in {folder}")
