"""Pictures of what implants do to the bone, side by side: zones, shares of the load, and the bone.

Functions are collective; rank 0 draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI
from ufl.core.expr import Expr

from toolkit.bone.intact import IntactBone
from toolkit.domain import Domain, completed
from toolkit.errors import InputError, together
from toolkit.export import Grid, gather_mesh
from toolkit.functional import Functional
from toolkit.pictures import INK, INKED, MARROW, METAL, STYLE, body_view, plain_axes

__all__ = ["gruen_chart", "load_chart", "shielded_cells", "shielding_map"]

type Array = npt.NDArray[np.float64]

DESIGNS = ["#1f5f8b", "#7fb0cf", "#e0a458", "#a61b1b", "#8a9299", "#4f8a5b"]
PARTS = ["#d9c9a3", "#8a9299", "#1f5f8b", "#e0a458", "#a61b1b"]
SCALE = "RdBu_r"


class _View(NamedTuple):
    """A bone with its implant: the whole mesh; shielding, whether metal, and density by cell."""

    title: str
    grid: Grid
    shielding: Array
    metal: npt.NDArray[np.bool_]
    density: Array | None

    def values(self) -> dict[str, Array]:
        """What cells are coloured by."""
        density = {} if self.density is None else {"density": self.density}
        return {"shielding": self.shielding} | density

    def parts(self) -> list[tuple[npt.NDArray[np.bool_], dict[str, Any]]]:
        """Bone, metal and the rest, each in its look."""
        bone = np.isfinite(self.shielding)
        graded = {"scalars": "density", "cmap": INKED, "clim": (0, 1)}
        return [
            (bone, {"scalars": "shielding", "cmap": SCALE, "clim": (-1, 1)}),
            (self.metal, {"color": METAL} if self.density is None else graded),
            (~bone & ~self.metal, {"color": MARROW}),
        ]


def gruen_chart(
    path: str | Path, shielding: Mapping[str, Sequence[float] | Array], *, comm: Any = None
) -> Path:
    """Shielding of Gruen's zones, 1 to 7, a bar for each design.

    Args:
        path: The PNG file; its folder exists.
        shielding: By the name of the design, as `shielding(…, over=GRUEN).value`, (7,).
        comm: The ranks, of which the first draws; all ranks of the run unless given.

    Raises:
        InputError: A design has not seven numbers, or none is given.
    """
    rows = {name: np.asarray(values, dtype=float) for name, values in shielding.items()}
    for name, values in rows.items():
        if values.shape != (7,):
            raise InputError(
                f"gruen_chart: '{name}' has values of shape {values.shape}; there are 7 zones."
            )
    if not rows:
        raise InputError("gruen_chart: give the zones of one design at least.")
    with together(comm or MPI.COMM_WORLD):
        if (comm or MPI.COMM_WORLD).rank == 0:
            figure = Figure(figsize=(7.2, 3.8))
            _draw_zones(figure.add_subplot(), rows)
            figure.savefig(path, **STYLE)
    return Path(path)


def _draw_zones(axes: Axes, rows: Mapping[str, Array]) -> None:
    width = 0.8 / len(rows)
    for i, (name, values) in enumerate(rows.items()):
        at = np.arange(1, 8) + (i - (len(rows) - 1) / 2) * width
        axes.bar(at, 100 * values, width, label=name, color=DESIGNS[i % len(DESIGNS)])
    axes.axhline(0, color=INK, lw=0.8)
    sides = ["", "lateral", "", "tip", "", "medial", ""]
    axes.set_xticks(range(1, 8), [f"{k}\n{side}" for k, side in enumerate(sides, 1)])
    axes.set_xlabel("Gruen's zone")
    axes.set_ylabel("shielding [%]")
    plain_axes(axes)
    axes.grid(visible=False, axis="x")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def load_chart(
    path: str | Path, shares: Mapping[str, Mapping[str, float]], *, comm: Any = None
) -> Path:
    """Who carries how much of a load, a bar for each design.

    Args:
        path: The PNG file; its folder exists.
        shares: By the name of the design, the share of each part by its name, as
            `load_share(…).value` has them; they add up to 1.
        comm: The ranks, of which the first draws; all ranks of the run unless given.

    Raises:
        InputError: The designs have different parts, or none is given.
    """
    parts = list(next(iter(shares.values()), {}))
    if not parts or any(set(row) != set(parts) for row in shares.values()):
        raise InputError("load_chart: give each design the shares of the same parts, one at least.")
    with together(comm or MPI.COMM_WORLD):
        if (comm or MPI.COMM_WORLD).rank == 0:
            figure = Figure(figsize=(6.4, 0.8 + 0.5 * len(shares)))
            _draw_shares(figure.add_subplot(), shares, parts)
            figure.savefig(path, **STYLE)
    return Path(path)


def _draw_shares(
    axes: Axes, shares: Mapping[str, Mapping[str, float]], parts: Sequence[str]
) -> None:
    """Bars to the right of 0 for what carries, to its left for what pushes back."""
    names = list(shares)
    ends = {1: np.zeros(len(names)), -1: np.zeros(len(names))}
    for k, part in enumerate(parts):
        values = np.array([100 * shares[name][part] for name in names])
        starts = np.where(values < 0, ends[-1], ends[1])
        bars = axes.barh(names, values, left=starts, color=PARTS[k % len(PARTS)], label=part)
        words = [f"{value:.0f} %" if abs(value) >= 6 else "" for value in values]
        axes.bar_label(bars, words, label_type="center", fontsize=8, color=INK)
        for sign, end in ends.items():
            end += np.where(sign * values > 0, values, 0)
    axes.axvline(0, color=INK, lw=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("share of the load [%]")
    plain_axes(axes)
    axes.margins(x=0)
    axes.grid(visible=False, axis="y")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def shielding_map(
    path: str | Path,
    shielding: Mapping[str, fem.Function],
    *,
    implant: Sequence[str],
    density: Mapping[str, fem.Function] | None = None,
    normal: tuple[float, float, float] = (0, 1, 0),
) -> Path:
    """Shielding on the bone from outside, and cut in half with the implant in it; collective.

    Colours go from −1, twice what it was before, to 1, nothing left.

    Args:
        path: The PNG file; its folder exists.
        shielding: By the name of the design, what `shielded_cells` has returned.
        implant: Names of the volumes that are drawn as metal; what is neither, such as marrow, is
            pale.
        density: By the name of the design, a cell-wise density that the implant is coloured by.
        normal: Of the plane through the origin that the bone is cut along, seen against it.

    Raises:
        InputError: A mesh has no such volume, no design is given, or one has no density.
    """
    if not shielding:
        raise InputError("shielding_map: give one design at least.")
    if density is not None and (missing := [name for name in shielding if name not in density]):
        raise InputError(f"shielding_map: '{missing[0]}' has no density. Give one of each design.")
    views = []
    for name, cells in shielding.items():
        domain = Domain.of(cells)
        metal = np.zeros(len(domain.cell_dofs))
        for region in implant:
            metal[domain.entities(domain.dimension, region)] = 1.0
        values = domain.gather_cells(cells)
        inside = domain.gather_cells(metal[: len(domain.cells)]) > 0
        filled = None if density is None else domain.gather_cells(density[name])
        grid = gather_mesh(domain)
        if grid is not None:
            views.append(_View(name, grid, values, inside, filled))
    comm = Domain.of(next(iter(shielding.values()))).comm
    with together(comm):
        if comm.rank == 0:
            _draw_map(Path(path), views, np.asarray(normal, dtype=float))
    return Path(path)


def shielded_cells(stimulus: Expr, intact: IntactBone, *, over: Sequence[str]) -> fem.Function:
    """1 − ⟨S⟩/⟨S₀⟩ about each cell at the present design, for a map; collective.

    The means are over the cells of the same volume that share a node with it, weighted by the nodes
    in common: two meshes of one bone differ by more from cell to cell. Not a number elsewhere.

    Args:
        stimulus: S of the operated bone, UFL, formed as that of `intact`.
        intact: The bone before.
        over: Names of the volumes that are bone.

    Raises:
        InputError: A mesh has no such volume.
    """
    domain = Domain.of(stimulus)
    for state in Functional(stimulus * domain.dx).states:
        state.solve()
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    nodes, test = space.dofmap.list, ufl.TestFunction(space)
    cells = fem.Function(domain.cellwise, name="shielding")
    cells.x.array[:] = np.nan
    for region in over:
        own = domain.entities(domain.dimension, region)
        about = []
        for S in (stimulus, intact.on(domain)):
            total = fem.assemble_vector(fem.form(completed(S * test * domain.dx(region, degree=2))))
            total.scatter_reverse(InsertMode.add)
            total.scatter_forward()
            about.append(total.array[nodes[own]].sum(axis=1))
        cells.x.array[domain.cell_dofs[own]] = 1 - about[0] / about[1]
    cells.x.scatter_forward()
    return cells


def _draw_map(path: Path, views: Sequence[_View], normal: Array) -> None:
    figure = Figure(figsize=(2.6 * len(views), 8.0))
    figure.subplots_adjust(hspace=0.04, wspace=0.02)
    rows = figure.subplots(2, len(views), squeeze=False)
    for i, view in enumerate(views):
        for axes, cut in zip(rows[:, i], (False, True), strict=True):
            axes.imshow(body_view(view.grid, view.parts(), view.values(), normal=normal, cut=cut))
            axes.set_axis_off()
        rows[0, i].set_title(view.title, fontsize=10, color=INK)
    bar = partial(figure.colorbar, fraction=0.03, pad=0.03)
    shielding = ScalarMappable(Normalize(-1, 1), SCALE)
    if all(view.density is None for view in views):
        bar(shielding, ax=rows, label="shielding, 1 − S/S₀", shrink=0.5)
    else:
        bar(shielding, ax=rows[0], label="shielding, 1 − S/S₀", shrink=0.9)
        density = ScalarMappable(Normalize(0, 1), INKED)
        bar(density, ax=rows[1], label="density of the implant", shrink=0.9)
    figure.savefig(path, **STYLE)
