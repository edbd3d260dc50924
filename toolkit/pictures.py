"""Pictures of a run: the front, its designs, its convergence, and the part to print.

Everything here works on plain arrays and runs on one rank. Plots are matplotlib's without a
window; 3D views are rendered by VTK off-screen, which needs EGL, and set into a plot so that
titles and the colour bar are the same everywhere.
"""

from __future__ import annotations

import ctypes.util
import os
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyvista
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toolkit.export import VTK_TYPE, Grid
from toolkit.surface import Surface

if "DISPLAY" not in os.environ:
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

type Array = NDArray[np.float64]

BLUE, RED, GREY, INK = "#1f5f8b", "#c0392b", "#8a9299", "#22282d"
COLOURS = "YlGnBu"
INKED = LinearSegmentedColormap.from_list("solid", ["#e9edf0", "#1c2226"])
STYLE: dict[str, Any] = {"dpi": 160, "facecolor": "white", "bbox_inches": "tight"}
METAL = "#c9ced3"
MARROW = "#f3ead2"
SHADES = {"bone": "#efe6d2", "metal": "#7f95ab"}


class Marks(NamedTuple):
    """What a front's picture shows beside the points.

    Attributes:
        dominated: whether each point is dominated, (points,).
        knee: number of the knee point, or -1.
        baseline: objectives of uniform densities, (rows, objectives), or None.
    """

    dominated: NDArray[np.bool_]
    knee: int
    baseline: Array | None


def missing_renderer() -> str | None:
    """Why no 3D view can be made, with the way out; None if it can."""
    if ctypes.util.find_library("EGL") or os.environ.get("DISPLAY"):
        return None
    return (
        "No 3D picture was drawn: the library libEGL is missing. Install it (Debian and Ubuntu: "
        "apt install libegl1) and write the results again; the fields and surfaces are complete."
    )


def shown(name: str) -> tuple[str, float]:
    """The name and the factor by which an objective is shown: a maximised one is positive."""
    return (name[1:].strip("()"), -1.0) if name.startswith("-") else (name, 1.0)


def readable(text: str) -> str:
    """A label or constraint in which what is maximised stands without its minus.

    "least -q" becomes "most q" and "-q <= -3" becomes "q >= 3".
    """
    text = re.sub(r"^least -(.+)$", r"most \1", text)
    text = re.sub(r"^-(.+) <= -([\d.e+-]+)$", r"\1 >= \2", text)
    return re.sub(r"^-(.+) >= -([\d.e+-]+)$", r"\1 <= \2", text)


def front_figure(path: Path, names: Sequence[str], values: Array, marks: Marks) -> None:
    """The front, one panel for each pair of objectives.

    Args:
        path: the PNG file.
        names: objectives; a leading minus marks one that is maximised.
        values: objectives of the points, (points, objectives).
        marks: what to mark.
    """
    pairs = list(combinations(range(len(names)), 2))
    figure = Figure(figsize=(6.4 if len(pairs) == 1 else 4.4 * len(pairs), 4.4))
    figure.subplots_adjust(wspace=0.32)
    for i, (first, second) in enumerate(pairs):
        axes = figure.add_subplot(1, len(pairs), i + 1)
        _front_panel(axes, names, values, marks, first, second)
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, **STYLE)


def _front_panel(
    axes: Axes, names: Sequence[str], values: Array, marks: Marks, first: int, second: int
) -> None:
    """Points of the front in the plane of two objectives."""
    labels, signs = zip(*(shown(names[k]) for k in (first, second)), strict=True)
    xy = values[:, [first, second]] * signs
    good = xy[~marks.dominated]
    if marks.baseline is not None:
        uniform = np.asarray(marks.baseline)[:, [first, second]] * signs
        axes.plot(*uniform.T, "x--", color=GREY, lw=1.2, ms=6, label="compared with", zorder=1)
    if values.shape[1] == 2:
        axes.plot(*good[np.argsort(good[:, 0])].T, color=BLUE, lw=1.2, alpha=0.5, zorder=2)
    axes.plot(*good.T, "o", color=BLUE, ms=7, label="non-dominated", zorder=3)
    if marks.dominated.any():
        axes.plot(
            *xy[marks.dominated].T, "o", mfc="none", mec=GREY, ms=7, label="dominated", zorder=3
        )
    if marks.knee >= 0:
        axes.plot(*xy[marks.knee], "o", mfc="none", mec=RED, mew=1.8, ms=14, label="knee", zorder=4)
    for i, point in enumerate(xy):
        axes.annotate(
            str(i + 1), point, xytext=(7, 7), textcoords="offset points", fontsize=8, color=INK
        )
    arrows = ["→ better" if sign < 0 else "← better" for sign in signs]
    axes.set_xlabel(f"{labels[0]}   {arrows[0]}")
    axes.set_ylabel(f"{labels[1]}   {arrows[1]}")
    plain_axes(axes)


def plain_axes(axes: Axes) -> None:
    """Light grid, no box, margins for the labels."""
    axes.grid(color="#e6e9eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.margins(0.08)


def property_figure(
    path: Path,
    labels: tuple[str, str],
    series: Mapping[str, Array],
    curves: Mapping[str, Array],
) -> None:
    """Two properties against each other, both axes logarithmic.

    Args:
        path: the PNG file; its folder exists.
        labels: of the two axes.
        series: points by name, (points, 2), joined in their order; a name is a colour, and marks
            change from one round of the colours to the next.
        curves: lines to compare with, by name, (points, 2).
    """
    figure = Figure(figsize=(9.2, 5.6))
    axes = figure.add_subplot()
    for (name, xy), dashes in zip(curves.items(), cycle(("-", "--", ":", "-.")), strict=False):
        axes.plot(*np.asarray(xy).T, dashes, color=INK, lw=1.3, label=name, zorder=1)
    for i, (name, xy) in enumerate(series.items()):
        style = f"C{i % 10}{'osD^v'[i // 10 % 5]}-"
        axes.plot(*np.asarray(xy).T, style, lw=0.8, ms=5.5, label=name, zorder=2)
    axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    plain_axes(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, **STYLE)


def convergence_figure(
    path: Path, histories: Sequence[Mapping[str, Array]], labels: Sequence[str]
) -> None:
    """Objective and infeasibility of every point against the outer iterations."""
    figure = Figure(figsize=(9.2, 3.6))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.25)
    shades = _shades(len(histories))
    for history, label, colour in zip(histories, labels, shades, strict=True):
        objective = np.asarray(history["objective"], dtype=float)
        steps = np.arange(len(objective))
        start = np.abs(objective[0]) if len(objective) and objective[0] else 1.0
        left.plot(steps, (objective - objective[:1]) / start, color=colour, lw=1.4, label=label)
        violation = np.maximum(np.asarray(history["infeasibility"], dtype=float), 1e-10)
        right.semilogy(np.arange(len(violation)), violation, color=colour, lw=1.4)
        _mark_stages(left, np.asarray(history["beta"]), colour)
    left.set_ylabel("change of objective / |first value|")
    right.set_ylabel("largest normalised violation")
    right.axhline(1e-6, color=GREY, lw=1, ls="--")
    right.annotate(
        "feasible below",
        (0.99, 1e-6),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="top",
        fontsize=8,
        color=GREY,
    )
    for axes in (left, right):
        axes.set_xlabel("outer iteration")
        plain_axes(axes)
    if len(histories) > 1:
        left.legend(frameon=False, fontsize=7, ncols=2)
    figure.savefig(path, **STYLE)


def _shades(count: int) -> list[Any]:
    """A colour for each of the points of a front, from one end to the other."""
    scale = ScalarMappable(Normalize(0, max(count - 1, 1) * 1.15), "viridis")
    return [BLUE] if count == 1 else list(scale.to_rgba(np.arange(count)))


def _mark_stages(axes: Axes, beta: Array, colour: Any) -> None:
    """A tick on the axis where the projection was sharpened."""
    for i in np.flatnonzero(np.diff(beta)):
        axes.axvline(i + 0.5, color=colour, lw=0.6, ls=":")


def design_figure(
    path: Path, grid: Grid, densities: Sequence[Array], titles: Sequence[str], *, grey: bool
) -> None:
    """Designs side by side.

    Args:
        path: the PNG file.
        grid: the whole mesh.
        densities: density of each cell of each design, in mesh-file order.
        titles: a title for each design.
        grey: in 3D, draw the density on the domain with a quarter cut away, and below it cut in
            half across its shortest axis; else the solid cells alone.
    """
    flat = grid.shape in ("triangle", "quadrilateral")
    low, high = _limits(densities)
    kept = [None] if flat else _sections(grid) if grey else [None]
    height = _height(grid) if flat else 2.6 * len(kept)
    figure = Figure(figsize=(4.2 * len(densities), height))
    for i, (density, title) in enumerate(zip(densities, titles, strict=True)):
        for row, section in enumerate(kept):
            axes = figure.add_subplot(len(kept), len(densities), row * len(densities) + i + 1)
            if flat:
                _plane_design(axes, grid, density, (low, high))
            else:
                cells = density >= 0.5 if section is None else section
                axes.imshow(cropped(_space_design(grid, density, cells, (low, high))))
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=10, color=INK)
    figure.colorbar(
        ScalarMappable(Normalize(low, high), INKED if flat else COLOURS),
        ax=figure.axes,
        label="density",
        fraction=0.02,
        pad=0.02,
        shrink=0.7,
    )
    figure.savefig(path, **STYLE)


def _limits(densities: Sequence[Array]) -> tuple[float, float]:
    """Colour limits: 0 to 1, or the range of a design that keeps away from both."""
    low, high = float(np.min(densities)), float(np.max(densities))
    return (
        (0.0, 1.0)
        if low < 0.1 or high > 0.9
        else (np.floor(low * 10) / 10, np.ceil(high * 10) / 10)
    )


def _height(grid: Grid) -> float:
    """Height of the figure for a plane domain."""
    width, height = np.ptp(grid.points[:, :2], axis=0)
    return float(np.clip(4.2 * height / width + 0.6, 1.6, 8.0))


def _plane_design(axes: Axes, grid: Grid, density: Array, limits: tuple[float, float]) -> None:
    """A plane design, dark where it is solid."""
    cells = PolyCollection(
        list(grid.points[grid.cells][:, :, :2]),
        array=density,
        cmap=INKED,
        clim=limits,
        edgecolor="face",
        linewidth=0.2,
    )
    axes.add_collection(cells)
    axes.autoscale_view()
    axes.set_aspect("equal")


def _sections(grid: Grid) -> list[NDArray[np.bool_]]:
    """The cells left when a quarter is cut away, and when half is, across the shortest axis."""
    low, high = grid.points.min(axis=0), grid.points.max(axis=0)
    centres, middle = grid.points[grid.cells].mean(axis=1), 0.5 * (low + high)
    axis = int(np.argmin(high - low))
    quarter = (centres[:, 0] > middle[0]) & (centres[:, 1] < middle[1])
    return [~quarter, centres[:, axis] <= middle[axis]]


def _space_design(
    grid: Grid, density: Array, cells: NDArray[np.bool_], limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """A view of some cells of a 3D design from its front, above and right."""
    mesh = pyvista.UnstructuredGrid({VTK_TYPE[grid.shape]: grid.cells}, grid.points)
    mesh.cell_data["density"] = density
    outline = mesh.extract_surface(algorithm="dataset_surface").extract_feature_edges(40.0)
    kept = mesh.extract_cells(np.flatnonzero(cells))
    plotter = off_screen()
    plotter.add_mesh(outline, color=GREY, line_width=1.5)
    if kept.n_cells:
        plotter.add_mesh(
            kept,
            scalars="density",
            clim=limits,
            cmap=COLOURS,
            show_edges=not np.array_equal(cells, density >= 0.5),
            edge_color="#30404a",
            edge_opacity=0.15,
            show_scalar_bar=False,
            lighting=True,
            ambient=0.6,
            diffuse=0.45,
        )
    return _shot(plotter)


def body_view(
    grid: Grid,
    parts: Sequence[tuple[NDArray[np.bool_], Mapping[str, Any]]],
    values: Mapping[str, Array],
    *,
    normal: Any,
    cut: bool = True,
) -> NDArray[np.uint8]:
    """A body in parts, or its half behind a plane through the origin, seen along its normal.

    Args:
        grid: the whole mesh.
        parts: cells and what PyVista's `add_mesh` is told of them, such as their colour.
        values: fields by name, of each cell, that parts may be coloured by.
        normal: of the plane, away from which one looks; z is up.
        cut: whether the half before the plane is taken away.
    """
    mesh = pyvista.UnstructuredGrid({VTK_TYPE[grid.shape]: grid.cells}, grid.points)
    mesh.cell_data.update(values)
    plotter = off_screen()
    for cells, look in parts:
        part = mesh.extract_cells(np.flatnonzero(cells))
        if cut and part.n_cells:
            part = part.clip(tuple(normal), origin=(0, 0, 0), invert=False)
        if part.n_cells:
            plotter.add_mesh(part, show_scalar_bar=False, ambient=0.6, diffuse=0.45, **look)
    plotter.enable_parallel_projection()
    return cropped(_shot(plotter, -np.asarray(normal)))


def surface_figure(path: Path, surface: Surface) -> None:
    """The part to print, as a metal part in daylight."""
    faces = np.pad(surface.triangles, ((0, 0), (1, 0)), constant_values=3)
    plotter = off_screen()
    plotter.add_mesh(
        pyvista.PolyData(surface.points, faces.ravel()),
        color=METAL,
        smooth_shading=True,
        split_sharp_edges=True,
        feature_angle=40.0,
        ambient=0.4,
        diffuse=0.7,
        specular=0.2,
        specular_power=12,
    )
    plotter.enable_ssao(radius=0.03 * float(np.ptp(surface.points, axis=0).max()), kernel_size=32)
    figure = Figure(figsize=(6.4, 4.8))
    axes = figure.add_subplot()
    axes.imshow(cropped(_shot(plotter)))
    axes.set_axis_off()
    figure.savefig(path, **STYLE)


def bodies_figure(path: Path, bodies: Mapping[str, Any], *, view: Array) -> None:
    """Bodies together, as an implant in its bone: from a direction, and from 50° beside it.

    Args:
        path: of the picture.
        bodies: "bone" and "metal", each with points (n, 3) and triangles (m, 3).
        view: direction from the bodies to the eye; z is up.
    """
    up, turned = np.array([0.0, 0.0, 1.0]), np.radians(50)
    beside = np.cos(turned) * view + np.sin(turned) * np.cross(up, view)
    figure = Figure(figsize=(9.6, 4.8))
    for axes, direction in zip(figure.subplots(1, 2), (view, beside), strict=True):
        plotter = off_screen()
        for name, body in bodies.items():
            faces = np.pad(body.triangles, ((0, 0), (1, 0)), constant_values=3)
            plotter.add_mesh(
                pyvista.PolyData(np.asarray(body.points, dtype=np.float32), faces.ravel()),
                color=SHADES[name],
                smooth_shading=True,
                ambient=0.3,
                diffuse=0.75,
            )
        axes.imshow(cropped(_shot(plotter, direction)))
        axes.set_axis_off()
    figure.savefig(path, **STYLE)


def embedded_figure(path: Path, parts: Mapping[str, Surface], around: Surface) -> None:
    """Metal parts side by side, each in what is around it, seen from its right.

    Args:
        path: the PNG file.
        parts: a surface by title.
        around: what is drawn as if of glass.
    """
    figure = Figure(figsize=(2.4 * len(parts), 5.2))
    for i, (title, part) in enumerate(parts.items()):
        plotter = off_screen()
        for surface, look in (
            (around, {"color": "#d9c9a3", "opacity": 0.25}),
            (part, {"color": METAL, "ambient": 0.35, "diffuse": 0.7, "specular": 0.2}),
        ):
            faces = np.pad(surface.triangles, ((0, 0), (1, 0)), constant_values=3)
            plotter.add_mesh(pyvista.PolyData(surface.points, faces.ravel()), **look)
        axes = figure.add_subplot(1, len(parts), i + 1)
        axes.imshow(cropped(_shot(plotter, (1.0, -0.55, 0.25))))
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_axis_off()
    figure.savefig(path, **STYLE)


def off_screen() -> Any:
    """An off-screen view on white."""
    return pyvista.Plotter(off_screen=True, window_size=[1000, 850], border=False)


def _shot(plotter: Any, view: Any = (0.62, -1.0, 0.72)) -> NDArray[np.uint8]:
    """Take the picture and close the view."""
    plotter.set_background("white")
    plotter.view_vector(tuple(view), viewup=(0, 0, 1))
    plotter.enable_anti_aliasing("ssaa")
    image = plotter.screenshot(return_img=True)
    plotter.close()
    return np.asarray(image)


def cropped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without its empty margins."""
    ink = (image[..., :3] < 250).any(axis=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return image
    return image[max(rows[0] - 8, 0) : rows[-1] + 8, max(columns[0] - 8, 0) : columns[-1] + 8]
