"""Straight parallel channels in a block, the structure of the lotus root.

    solid = { distance to the nearest channel axis > r },     porosity = n π r² / A

for n channels in the cross-section A of the cell, so the radius follows in closed form as long as
the channels stay apart. Metals with such pores are cast (Nakajima 2019,
doi:10.2320/matertrans.MT-M2019182) and printed; the permeability along the channels is that of
tubes, porosity r² / 8, and nothing flows across.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_below, require_positive
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.threshold import require_porosity

__all__ = ["lotus_root"]


def lotus_root(
    *,
    porosity: float | None = None,
    radius: float | None = None,
    spacing: float = 1.0,
    channels: tuple[int, int] = (1, 1),
    arrangement: Literal["square", "hexagonal"] = "square",
    direction: Literal["x", "y", "z"] = "z",
    length: float | None = None,
) -> Implicit:
    """Parallel round channels in a solid block; one of `porosity` and `radius` is given.

    The axes across `direction` = z are x and y, and so on in cyclic order. A square cell is
    spacing × spacing with one channel; a hexagonal one is spacing × √3 spacing with two.

    Args:
        porosity: the channels' share of the volume, below π/4 (square) or π/(2√3) (hexagonal).
        radius: of the channels.
        spacing: between the axes of neighbours.
        channels: cells of the arrangement along the two axes across the channels.
        arrangement: of the axes in the cross-section.
        direction: of the channels.
        length: period along the channels; `spacing` by default.

    Raises:
        ValueError: both or none of `porosity` and `radius` are given, a dimension is not positive,
            the channels touch, or an arrangement or direction is unknown.
    """
    if direction not in ("x", "y", "z"):
        raise ValueError(f"direction = {direction!r} is unknown. Give 'x', 'y' or 'z'.")
    if min(channels) < 1:
        raise ValueError(f"channels = {channels} leaves none. Give two positive numbers.")
    cell, axes = _arrangement(arrangement, spacing)
    depth = spacing if length is None else length
    require_positive(spacing=spacing, length=depth)
    r = _radius(porosity, radius, spacing, len(axes) * pi / (cell[0] * cell[1]))
    along = "xyz".index(direction)
    across = [(along + 1) % 3, (along + 2) % 3]
    lengths = np.full(3, depth)
    lengths[across] = cell * channels

    def level(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = x[across]
        return np.minimum.reduce([_periodic_distance(y, axis, cell) for axis in axes]) - r

    return Implicit(f"lotus root, {arrangement}", tuple(lengths.tolist()), level, 1.0)


def _arrangement(
    name: str, spacing: float
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Sides of the rectangle that repeats, and the axes of the channels in it."""
    if name == "square":
        cell = np.array([spacing, spacing])
        return cell, [cell / 2]
    if name == "hexagonal":
        cell = np.array([spacing, sqrt(3) * spacing])
        return cell, [cell / 4, 3 * cell / 4]
    raise ValueError(f"arrangement = {name!r} is unknown. Give 'square' or 'hexagonal'.")


def _radius(porosity: float | None, radius: float | None, spacing: float, per_area: float) -> float:
    """The radius r of channels with porosity = per_area r²."""
    if (porosity is None) == (radius is None):
        raise ValueError("lotus_root: give either porosity or radius.")
    if porosity is not None:
        high = per_area * spacing**2 / 4
        require_porosity(porosity, of="round channels that do not touch", high=high)
        return sqrt(porosity / per_area)
    assert radius is not None
    require_positive(radius=radius)
    require_below("radius", radius, spacing / 2, why="the channels touch")
    return radius


def _periodic_distance(
    y: NDArray[np.float64], axis: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    apart = y - axis[:, None]
    apart -= cell[:, None] * np.rint(apart / cell[:, None])
    return np.hypot(*apart)
