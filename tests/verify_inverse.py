"""The tables of docs/verification.md that are of designed cells; `tests.verify` makes them.

Lengths are in periods, moduli in those of the solid. A design is cut at equal volume along a level
set of its filtered density, freed of islands, meshed along its surface and computed again: these
are the numbers of the rows.
"""

from functools import partial
from typing import NamedTuple

import toolkit  # first: MPI and PETSc's options  # noqa: F401  # isort: skip
import numpy as np
from numpy.typing import NDArray

from tests.table import Row, Rows
from toolkit import (
    Cell,
    Density,
    Functional,
    brinkman,
    conductivity,
    minimize,
    permeability,
    simp,
    stiffness,
)
from toolkit.bounds import cross_property, hashin_shtrikman
from toolkit.geometry import body_fitted, morphology, remove_islands, schwarz_p, voxel_body
from toolkit.moduli import bulk, smallest_eigenvalue

NU = 0.3
DISC = {0.4: 0.902, 0.5: 0.962, 0.7: 0.997}  # share of the bound of a circular hole
LEAST = {0.4: 0.95, 0.5: 0.975, 0.7: 0.997}


class Body(NamedTuple):
    """What a designed cell is found to be on its body-fitted mesh."""

    volume: float
    bulk: float
    permeability: NDArray[np.float64]
    conductivity: NDArray[np.float64]
    voxels: NDArray[np.float64]


def fitted(design: Density, fraction: float, *, resolution: int) -> Body:
    """The tensors of a design's body, solid and fluid meshed along the surface between them."""
    cell = design.domain
    assert isinstance(cell, Cell)
    d, n = cell.dimension, round(cell.num_cells ** (1 / cell.dimension))
    filtered = cell.gather_cells(design.filtered.x.array[cell.cell_dofs[: len(cell.cells)]])
    voxels = remove_islands(filtered.reshape((n,) * d)).solid
    body = voxel_body(np.asarray(voxels, dtype=float), cell.lengths, porosity=1 - fraction)
    mesh = partial(body_fitted, body, resolution=resolution)
    solid = Cell.build(partial(mesh, phase="solid"), lengths=cell.lengths)
    plane = "stress" if d == 2 else None
    C = stiffness(solid, modulus=1.0, poisson=NU, plane=plane, degree=2, name="again").value
    k = D = np.zeros((d, d))
    if d == 3:
        fluid = Cell.build(partial(mesh, phase="fluid"), lengths=cell.lengths)
        k = permeability(fluid, walls=["interface"], name="flow_again").value
        D = conductivity(fluid, degree=2, name="diffusion_again").value
    return Body(solid.meshed, bulk(C), k, D, body.voxels((32,) * d))


def stiff_planes() -> Rows:
    """Plane cells (64² voxels, plane stress) of the largest bulk modulus at three densities.

    The starts are a shallow round dent, denser outside: the uniform start is a stationary trap. The
    last column has the share of the bound that a circular hole has.
    """
    rows = []
    n = 64
    x = (np.arange(n) + 0.5) / n - 0.5
    far = np.add.outer(x**2, x**2)
    for fraction, least in LEAST.items():
        cell = Cell.box((1, 1), (n, n))
        design = Density(cell, radius=0.06, start=fraction, symmetry="cubic")
        design.update(np.clip(fraction + far / (8 * far.std()), 0.02, 0.98).ravel())
        ρ = design.physical
        C = stiffness(
            cell,
            modulus=simp(ρ, full=1, empty=1e-6),
            poisson=NU,
            plane="stress",
            symmetry="cubic",
            name=f"strain{round(10 * fraction)}",
        )
        volume = Functional(ρ * cell.dx) / cell.volume
        minimize(
            -C.map(bulk),
            over=design,
            subject_to=[volume <= fraction],
            sharpen=(4, 12),
            iterations=60,
            watch=(),
        )
        found = fitted(design, fraction, resolution=96)
        bound = hashin_shtrikman(found.volume, modulus=1, poisson=NU, plane="stress").bulk.upper
        share = found.bulk / float(bound)
        words = f"Hashin–Shtrikman bound; a circular hole has {DISC[fraction]}"
        rows += at_least(f"bulk modulus at density {fraction}, share of the bound", share, least)
        rows[-1] = rows[-1]._replace(source=f"{words}; here {share:.4f}")
    return rows


def stiff_and_permeable() -> Rows:
    """Cells of 16³ voxels, half solid, cubic: the stiffest, the most permeable, and between.

    Voxels rank designs; the rows are of the bodies cut from them. Nodal P has K = 0.155 and
    k = 0.00325, G 0.157 and 0.00225, D 0.158 and 0.00140; the body between, which started from a
    sheet, is better than all three in both.
    """
    n = 16
    cell = Cell.box((1, 1, 1), (n, n, n))
    design = Density(cell, radius=2 / n, start=0.5, symmetry="cubic")
    design.sharpen(8)
    ρ = design.physical
    C = stiffness(
        cell, modulus=simp(ρ, full=1, empty=1e-4), poisson=NU, symmetry="cubic", name="strain"
    )
    κ = permeability(cell, drag=brinkman(ρ, drag=1e4), symmetry="cubic", name="seepage")
    K, k = C.map(bulk), κ.map(lambda κ: κ[0, 0])
    volume = Functional(ρ * cell.dx)
    half = [volume <= 0.5, volume >= 0.499]

    def made(form: str, J: Functional, *bounds: object) -> Body:
        start = 0.1 + 0.8 * schwarz_p(form=form).voxels((n, n, n))  # type: ignore[arg-type]
        design.update(start.ravel())
        minimize(J, over=design, subject_to=[*half, *bounds], iterations=60, watch=())
        return fitted(design, 0.5, resolution=n)

    stiff = made("sheet", -K, k >= 0.0006)
    open_ = made("network", -k, K >= 0.145)
    between = made("sheet", -k, K >= 0.148)
    rows = at_least("stiffest: bulk modulus, share of the bound", _share(stiff), 0.90)
    rows += at_least(
        "most permeable: smallest eigenvalue of k", smallest_eigenvalue(open_.permeability), 0.0031
    )
    k_axes = np.diag(open_.permeability)
    gap = float(np.ptp(k_axes) / k_axes.mean())
    rows.append(Row("its k along the axes, largest gap", gap, 0.0, 0.01, "cubic symmetry", True))
    rows += at_least("its bulk modulus", open_.bulk, 0.15)
    network = morphology(open_.voxels, lengths=(1, 1, 1))
    through = sum(int(np.all(phase.percolates)) for phase in (network.solid, network.pores))
    rows.append(Row("its phases that percolate along all axes", through, 2, 0.0, "both", True))
    P, G, D = (0.155, 0.0032470), (0.157, 0.0022489), (0.158, 0.0014011)
    for name, other in (("nodal P", P), ("G", G), ("D", D)):
        rows += at_least(f"between, against {name}: bulk modulus", between.bulk, other[0])
        k_least = smallest_eigenvalue(between.permeability)
        rows += at_least(f"between, against {name}: permeability", k_least, other[1])
    for name, body in (("stiffest", stiff), ("most permeable", open_), ("between", between)):
        bound = cross_property(
            body.volume, float(np.trace(body.conductivity) / 3), modulus=1, poisson=NU
        )
        over = max(0.0, body.bulk / float(bound) - 1)
        words = f"cross-property bound at its diffusivity, {float(bound):.4f}"
        rows.append(Row(f"{name}: K beyond the bound by", over, 0.0, 1e-3, words, True))
    return rows


def _share(body: Body) -> float:
    bound = hashin_shtrikman(body.volume, modulus=1, poisson=NU).bulk.upper
    return body.bulk / float(bound)


def at_least(quantity: str, value: float, least: float) -> Rows:
    """A row whose difference is by how much the value falls short of the least that will do."""
    short = max(0.0, 1 - value / least)
    return [Row(f"{quantity}: short of {least:g} by", short, 0.0, 0.0, f"it is {value:.5g}", True)]


TABLES = {"stiff_planes": stiff_planes, "stiff_and_permeable": stiff_and_permeable}
