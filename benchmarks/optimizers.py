"""Iterations and state solves of each optimizer to within 1 % of the best objective that any found.

    cantilever   problems/cantilever.py on 16 × 8 × 8 cells, 12 % of volume
    half MBB     60 × 20 cells, filter of 2.4 cells, 50 % of volume
    bulk         a square cell of 40 × 40 cells, bulk modulus at 50 % of volume, orthotropic

Every optimizer has the same start and at most --iterations. A solve is a design evaluated: all
three objectives are self-adjoint. results/optimizers/table.md gets the table.

Run:  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.optimizers [--iterations 100]
"""

import argparse
from pathlib import Path

import toolkit  # first: MPI and PETSc's options  # isort: skip
import numpy as np
from mpi4py import MPI
from ufl import as_vector, inner

from toolkit import Cell, Density, Domain, Functional, elasticity, minimize, simp, stiffness
from toolkit.moduli import bulk

OPTIMIZERS = ("mma", "ccsa", "mma-distributed", "oc", "simpl")


def cantilever(n=8):
    """Design, objective and share of volume."""
    domain = Domain.box((2, 1, 1), (2 * n, n, n))
    domain.name("edge", 1, lambda x: (x[0] > 2 - 1e-9) & (x[2] < 1e-9))
    design = Density(domain, radius=0.08, start=0.12)
    E, q = simp(design.physical, full=1, empty=1e-9, power=3), as_vector((0, 0, -0.001 * n))
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], line={"edge": q})
    return design, Functional(inner(q, u) * domain.dl("edge")), 0.12


def half_mbb(nx=60, ny=20):
    """Design, objective and share of volume."""
    domain = Domain.box((nx, ny), (nx, ny))
    domain.name("load", 0, lambda x: (x[0] < 1e-9) & (x[1] > ny - 1e-9))
    domain.name("roller", 0, lambda x: (x[0] > nx - 1e-9) & (x[1] < 1e-9))
    design = Density(domain, radius=2.4, start=0.5)
    E, P = simp(design.physical, full=1, empty=1e-9, power=3), as_vector((0, -1))
    held = {"xmin": (0, None), "roller": (None, 0)}
    u = elasticity(
        domain, modulus=E, poisson=0.3, displacement=held, point={"load": P}, plane="stress"
    )
    return design, Functional(inner(P, u) * domain.dP("load")), 0.5


def bulk_cell(n=40):
    """Design, objective and share of volume."""
    cell = Cell.box((1, 1), (n, n))
    x = (np.arange(n) + 0.5) / n
    hole = np.hypot(*np.meshgrid(x - 0.5, x - 0.5)) < 0.25
    start = np.where(hole, 0.25, (0.5 - 0.25 * hole.mean()) / (1 - hole.mean()))
    design = Density(cell, radius=2 / n, start=start.ravel(), symmetry="orthotropic")
    C = stiffness(cell, modulus=simp(design.physical, full=1, empty=1e-4), poisson=0.3)
    return design, -C.map(bulk, name="bulk modulus"), 0.5


CASES = {"cantilever": cantilever, "half MBB": half_mbb, "bulk": bulk_cell}


def run(case, optimizer, iterations):
    """A minimisation from the case's start."""
    design, J, share = CASES[case]()
    volume = Functional(design.physical * design.domain.dx) / design.domain.volume
    return minimize(
        J,
        over=design,
        subject_to=volume <= share,
        iterations=iterations,
        optimizer=optimizer,
        tolerance=1e-5,
        watch=(),
    )


def row(case, optimizer, result, best):
    """One line of the table; the goal is 1 % above the best."""
    h = result.history
    near = (h.objective <= best + 0.01 * abs(best)) & (h.infeasibility <= 1e-6)
    first = int(np.argmax(near))
    reach = (str(first), str(h.evaluations[first])) if near.any() else ("–", "–")
    words = [case, optimizer, *reach, f"{result.objective:.5g}", str(result.iterations)]
    words += [str(result.evaluations), result.reason, f"{result.seconds:.1f}"]
    return f"| {' | '.join(words)} |"


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--iterations", type=int, default=100)
given, _ = parser.parse_known_args()
lines = [
    "| case | optimizer | iterations to 1 % | solves to 1 % | objective | iterations | solves "
    "| end | s |",
    "|---|---|---|---|---|---|---|---|---|",
]
for case in CASES:
    found = {optimizer: run(case, optimizer, given.iterations) for optimizer in OPTIMIZERS}
    best = min(result.objective for result in found.values())
    lines += [row(case, optimizer, result, best) for optimizer, result in found.items()]
page = "\n".join(lines) + f"\n\ntoolkit {toolkit.__version__}\n"
if MPI.COMM_WORLD.rank == 0:
    folder = Path("results") / "optimizers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(page)
    print(page)
