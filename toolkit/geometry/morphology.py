"""What an engineer asks of a scaffold cell: porosity, surface, pores, walls, and can it be printed.

    ε = 1 − ⟨f⟩      S_V = |{f = ½}| / |Y|      f the solid fraction of the voxels of the cell Y

Sizes are diameters of inscribed spheres (`thickness`), weighted by the volume that they hold;
connection is periodic (`connectivity`): a network percolates where it meets its own image, not
where it touches two faces. Volumes and the surface use the fractions; sizes and networks belong to
the voxels that are at least half full, and the level ½ between them.

References:
    Hildebrand & Rüegsegger 1997, doi:10.1046/j.1365-2818.1997.1340694.x (local thickness);
    Karageorgiou & Kaplan 2005, doi:10.1016/j.biomaterials.2005.02.002 (pores for bone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry import connectivity, thickness
from toolkit.geometry.connectivity import Components, require_cell

BINS = 32  # of the distribution of sizes


class Sizes(NamedTuple):
    """Local thickness of a phase over its volume, in the unit of the cell's lengths.

    Attributes:
        mean: volume mean of the diameters.
        deviation: their standard deviation.
        smallest: first percentile; what is thinner fills less than 1 % of the phase.
        median: fiftieth percentile.
        largest: diameter of the largest inscribed sphere.
        edges: diameters that bound the bins of the distribution, shape (33,).
        shares: share of the phase's volume in each bin, shape (32,), of sum 1.
    """

    mean: float
    deviation: float
    smallest: float
    median: float
    largest: float
    edges: NDArray[np.float64]
    shares: NDArray[np.float64]


class Network(NamedTuple):
    """How one phase hangs together over all periods.

    Attributes:
        components: number of separate pieces in one period.
        largest: share of the phase's volume in the largest piece.
        percolates: for each axis whether some piece runs on without end along it.
        loose: number of pieces that serve nothing: floating solid, or enclosed pores.
        loose_share: their volume as a share of the cell's.
    """

    components: int
    largest: float
    percolates: tuple[bool, ...]
    loose: int
    loose_share: float


@dataclass(frozen=True)
class Morphology:
    """The measures of one cell; lengths in the unit of `lengths`.

    Attributes:
        lengths: extent of the cell along each axis.
        spacing: extent of a voxel along each axis.
        porosity: share of the cell that is not solid.
        surface: area between solid and pores per volume of the cell, 1/length.
        pore: local thickness of the pores.
        wall: local thickness of the solid.
        passing: diameter of the largest sphere that travels through the pores without end along
            each axis (it may drift aside), 0 where they are closed.
        pores: the pores as a network; loose are enclosed pores, which trap powder.
        solid: the solid as a network; loose are floating islands.
    """

    lengths: tuple[float, ...]
    spacing: tuple[float, ...]
    porosity: float
    surface: float
    pore: Sizes
    wall: Sizes
    passing: tuple[float, ...]
    pores: Network
    solid: Network


@dataclass(frozen=True)
class Limits:
    """What can be printed and what bone grows into; lengths in millimetres.

    The defaults of `wall` and `throat` are practice in laser powder-bed fusion of Ti6Al4V, where
    powder grains are 0.015 to 0.045 mm: walls of 0.4 mm are safe and 0.3 mm take care, struts of
    0.2 mm have been made. The machine's own numbers should replace them. Pores above 0.3 mm favour
    vascularised bone, 0.1 mm is the least for ingrowth (Karageorgiou & Kaplan 2005); 50 to 90 % is
    the porosity of cancellous bone.

    Attributes:
        wall: least wall or strut thickness.
        throat: least diameter of a sphere that leaves the pores in some direction.
        pore: least and largest mean pore size.
        porosity: least and largest porosity.
    """

    wall: float = 0.3
    throat: float = 0.3
    pore: tuple[float, float] = (0.3, 0.6)
    porosity: tuple[float, float] = (0.5, 0.9)


class Finding(NamedTuple):
    """One comparison of a measure with its limits; `str` says it in words.

    Attributes:
        what: the measure in words, with its unit.
        value: what the cell has.
        limit: least and largest value allowed, −inf or inf where there is none.
        ok: whether the value is within them, to one part in a million.
    """

    what: str
    value: float
    limit: tuple[float, float]
    ok: bool

    def __str__(self) -> str:
        low, high = self.limit
        if low == high:
            asked = f"{low:g}"
        elif high == inf:
            asked = f"at least {low:g}"
        elif low == -inf:
            asked = f"at most {high:g}"
        else:
            asked = f"{low:g} to {high:g}"
        return f"{self.what}: {self.value:.3g}, {asked} asked, {'ok' if self.ok else 'NOT ok'}"


def morphology(
    solid: NDArray[np.bool_] | NDArray[np.floating],
    *,
    lengths: Sequence[float],
    periodic: Sequence[bool] | None = None,
) -> Morphology:
    """Measure a voxel cell.

    Diameters are good to a voxel, most to half of one; the surface to 1 % with fractions and to
    2 % with booleans, where features are ten voxels thick. A boolean rod or grain of one or two
    voxels has its thickness but loses most of its surface. A cell of 64³ takes some four seconds,
    of 128³ some 20.

    Args:
        solid: True or the solid fraction (0 to 1) of each voxel; index [i, j, k] runs along
            x, y, z, in two or three dimensions.
        lengths: extent of the cell along each axis, in any unit.
        periodic: for each axis whether its opposite faces are one; all of them by default. At the
            end faces of another axis spheres and networks are cut, and the face is no surface.

    Raises:
        ValueError: the array is no cell, it has no solid or no pores, or `lengths` does not fit.
    """
    fraction, wraps = require_cell(solid, periodic)
    extent = _require_lengths(lengths, fraction.ndim)
    body = fraction >= 0.5
    if body.all():
        raise ValueError(
            f"The cell has no pores: the least fraction of a voxel is {fraction.min():g}. Give an "
            "array in which some voxel is less than half full."
        )
    contour = thickness.surface(fraction, lengths=extent, periodic=wraps)
    radii = thickness.inscribed(fraction, contour.points, lengths=extent, periodic=wraps)
    pore, wall = (
        _sizes(thickness.local_thickness(phase, radii, lengths=extent, periodic=wraps)[phase])
        for phase in (~body, body)
    )
    pores = connectivity.components(~body, periodic=wraps)
    found = connectivity.components(body, periodic=wraps)
    return Morphology(
        lengths=extent,
        spacing=tuple(a / n for a, n in zip(extent, fraction.shape, strict=True)),
        porosity=float(1 - fraction.mean()),
        surface=contour.area / float(np.prod(extent)),
        pore=pore,
        wall=wall,
        passing=tuple(
            thickness.passing(~body, radii.inner, axis, periodic=wraps)
            for axis in range(fraction.ndim)
        ),
        pores=_network(pores, connectivity.enclosed(pores), fraction.size),
        solid=_network(found, connectivity.islands(found), fraction.size),
    )


def printable(cell: Morphology, *, limits: Limits | None = None) -> list[Finding]:
    """Compare a cell, measured in millimetres, with what can be printed and what bone asks.

    Args:
        cell: the measures of the cell.
        limits: what to compare with; `Limits()` by default.

    Returns:
        The findings: wall, throat, loose pieces of both phases, connection, porosity, pore size.
    """
    asked = Limits() if limits is None else limits
    return [
        _finding("wall thickness, first percentile [mm]", cell.wall.smallest, (asked.wall, inf)),
        _finding("sphere that leaves the pores [mm]", max(cell.passing), (asked.throat, inf)),
        _finding("floating pieces of solid", cell.solid.loose, (0, 0)),
        _finding("enclosed pores", cell.pores.loose, (0, 0)),
        _finding(
            "directions in which the solid is connected", sum(cell.solid.percolates), (1, inf)
        ),
        _finding("porosity", cell.porosity, asked.porosity),
        _finding("mean pore size [mm]", cell.pore.mean, asked.pore),
    ]


def _finding(what: str, value: float, limit: tuple[float, float]) -> Finding:
    low, high = limit
    slack = 1e-6 * abs(value)
    return Finding(what, float(value), limit, low - slack <= value <= high + slack)


def _require_lengths(lengths: Sequence[float], dimension: int) -> tuple[float, ...]:
    extent = tuple(float(length) for length in lengths)
    if len(extent) != dimension or not all(0 < length < inf for length in extent):
        raise ValueError(
            f"lengths = {extent} is no extent of a cell of {dimension} dimensions. "
            f"Give {dimension} positive finite lengths."
        )
    return extent


def _sizes(diameters: NDArray[np.float64]) -> Sizes:
    smallest, median = np.percentile(diameters, [1, 50])
    counts, edges = np.histogram(diameters, BINS)
    return Sizes(
        mean=float(diameters.mean()),
        deviation=float(diameters.std()),
        smallest=float(smallest),
        median=float(median),
        largest=float(diameters.max()),
        edges=edges,
        shares=counts / diameters.size,
    )


def _network(found: Components, loose: NDArray[np.bool_], voxels: int) -> Network:
    return Network(
        components=found.sizes.size,
        largest=float(found.sizes.max() / found.sizes.sum()),
        percolates=tuple(bool(axis) for axis in found.percolates.any(axis=0)),
        loose=int(loose.sum()),
        loose_share=float(found.sizes[loose].sum() / voxels),
    )
