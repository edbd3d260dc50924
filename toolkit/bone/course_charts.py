"""Pictures of prognoses side by side: bone mass of each zone by month, and where density changed.

Functions are collective; rank 0 draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from toolkit.bone.prognosis import Prognosis
from toolkit.errors import together
from toolkit.export import gather_mesh
from toolkit.pictures import GREY, INK, MARROW, METAL, STYLE, body_view, plain_axes

__all__ = ["bone_mass_chart", "density_change_map"]

ZONES = ["#1f5f8b", "#4a90c2", "#8fb8d6", "#8a9299", "#e3b19b", "#d9734e", "#a61b1b"]
SCALE = "RdBu"


def bone_mass_chart(path: str | Path, courses: Mapping[str, Prognosis], *, unit: str) -> Path:
    """Change of bone mass over time, a panel for each course, and at the end by zone; collective.

    Args:
        path: The PNG file; its folder exists.
        courses: By name, with the same regions.
        unit: Of time, such as "months".
    """
    comm = next(iter(courses.values())).domain.comm
    with together(comm):
        if comm.rank == 0:
            _draw_chart(Path(path), courses, unit)
    return Path(path)


def _draw_chart(path: Path, courses: Mapping[str, Prognosis], unit: str) -> None:
    figure = Figure(figsize=(3.2 * (len(courses) + 1), 3.8))
    panels = figure.subplots(1, len(courses) + 1, sharey=True)
    figure.subplots_adjust(wspace=0.12)
    regions = next(iter(courses.values())).regions
    zones = [name for name in regions if name != "all"] or ["all"]
    for axes, (name, course) in zip(panels, courses.items(), strict=False):
        for zone, colour in zip(zones, ZONES * len(zones), strict=False):
            change = 100 * course.change(zone)
            axes.plot(course.times, change, color=colour, lw=1.8, label=zone)
        axes.plot(course.times, 100 * course.change(), color=INK, ls="--", lw=1.2, label="all bone")
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel(unit)
        axes.axhline(0, color=GREY, lw=0.8)
        plain_axes(axes)
    panels[0].set_ylabel("change of bone mass [%]")
    panels[0].legend(frameon=False, fontsize=7, ncols=2)
    width = 0.8 / len(courses)
    for i, (name, course) in enumerate(courses.items()):
        ends = [100 * course.change(zone)[-1] for zone in zones]
        at = np.arange(len(zones)) + (i - (len(courses) - 1) / 2) * width
        panels[-1].bar(at, ends, width, label=name, color=["#1f5f8b", "#7fb0cf", "#e0a458"][i % 3])
    panels[-1].set_xticks(range(len(zones)), [zone.split()[-1] for zone in zones])
    panels[-1].set_xlabel("zone")
    panels[-1].set_title(f"after {course.times[-1]:g} {unit}", fontsize=10, color=INK)
    panels[-1].legend(frameon=False, fontsize=7)
    panels[-1].axhline(0, color=GREY, lw=0.8)
    plain_axes(panels[-1])
    figure.savefig(path, **STYLE)


def density_change_map(
    path: str | Path,
    courses: Mapping[str, Prognosis],
    *,
    normal: tuple[float, float, float] = (0, 1, 0),
) -> Path:
    """The change of density on the body cut in half; collective.

    What does not remodel is grey where it has no density, as an implant, and pale elsewhere.

    Args:
        path: The PNG file; its folder exists.
        courses: By name.
        normal: Of the plane through the origin at which bodies are cut.
    """
    views = []
    for name, course in courses.items():
        cells = course.domain.cell_dofs[: len(course.domain.cells)]
        ends = [course.densities[i].x.array[cells] for i in (0, -1)]
        own = np.array([ends[1] - ends[0], course.tissue.astype(float), ends[0]])
        change, tissue, first = (course.domain.gather_cells(values) for values in own)
        views.append((name, gather_mesh(course.domain), change, tissue > 0, first > 0))
    comm = next(iter(courses.values())).domain.comm
    with together(comm):
        if comm.rank == 0:
            _draw_map(Path(path), views, normal)
    return Path(path)


def _draw_map(path: Path, views: list[Any], normal: tuple[float, float, float]) -> None:
    largest = max(float(np.abs(change[tissue]).max()) for _, _, change, tissue, _ in views) or 1.0
    coloured: dict[str, Any] = {"scalars": "change", "cmap": SCALE, "clim": (-largest, largest)}
    figure = Figure(figsize=(3.0 * len(views), 5.2))
    for i, (name, grid, change, tissue, dense) in enumerate(views):
        looks: list[tuple[Any, dict[str, Any]]] = [
            (tissue, coloured),
            (~tissue & dense, {"color": MARROW}),
            (~tissue & ~dense, {"color": METAL}),
        ]
        axes = figure.add_subplot(1, len(views), i + 1)
        axes.imshow(body_view(grid, looks, {"change": change}, normal=normal))
        axes.set_axis_off()
        axes.set_title(name, fontsize=10, color=INK)
    figure.colorbar(
        ScalarMappable(Normalize(-largest, largest), SCALE),
        ax=figure.axes,
        label="change of density [g/cm³]",
        fraction=0.02,
        pad=0.02,
        shrink=0.7,
    )
    figure.savefig(path, **STYLE)
