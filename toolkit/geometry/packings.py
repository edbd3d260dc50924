"""Equal spheres on the simple, body-centred or face-centred cubic lattice.

    |spheres| / length³ = n (4/3) π r³     for r up to half the distance of neighbours

with n = 1, 2, 4 spheres in the cell; the radius of spheres that overlap is found by sampling. Solid
spheres in a fluid are the bed of Zick & Homsy 1982, doi:10.1017/S0022112082000627; spherical voids
in a solid are closed pores until they overlap, and an open foam beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_below, require_positive
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.lattices import fold
from toolkit.geometry.threshold import at_threshold, require_porosity, threshold

__all__ = ["sphere_packing"]


class _Packing(NamedTuple):
    """Centres within the corner ½ ≥ x ≥ y ≥ z ≥ 0 of a cube of edge 1, and three radii.

    Spheres touch at `touching`; the space between them falls to pieces at `pieces` (the widest
    radius at the necks of that space) and is gone at `covering`.
    """

    centres: tuple[tuple[float, float, float], ...]
    number: int
    touching: float
    pieces: float
    covering: float


_PACKINGS = {
    "sc": _Packing(((0, 0, 0),), 1, 1 / 2, sqrt(1 / 2), sqrt(3 / 4)),
    "bcc": _Packing(((0, 0, 0), (0.5, 0.5, 0.5)), 2, sqrt(3 / 16), sqrt(9 / 32), sqrt(5 / 16)),
    "fcc": _Packing(((0, 0, 0), (0.5, 0.5, 0)), 4, sqrt(1 / 8), sqrt(1 / 6), 1 / 2),
}


def sphere_packing(
    arrangement: Literal["sc", "bcc", "fcc"],
    *,
    porosity: float | None = None,
    radius: float | None = None,
    solid: Literal["spheres", "matrix"] = "spheres",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Solid spheres or spherical voids; one of `porosity` and `radius` is given.

    Args:
        arrangement: lattice of the centres, one of which is the origin.
        porosity: the pore space's share of the volume.
        radius: of the spheres, in the unit of `length`; they may overlap.
        solid: "spheres" in a fluid, or the "matrix" around spherical voids.
        length: edge of the cubic cell.
        repeats: cells along each axis.

    Raises:
        ValueError: an arrangement or `solid` is unknown, both or none of `porosity` and `radius`
            are given, a dimension is not positive, or the spheres overlap so far that no fluid is
            left between them or the matrix around them falls to pieces.
    """
    if arrangement not in _PACKINGS:
        raise ValueError(f"arrangement = {arrangement!r} is unknown. Give 'sc', 'bcc' or 'fcc'.")
    if solid not in ("spheres", "matrix"):
        raise ValueError(f"solid = {solid!r} is unknown. Give 'spheres' or 'matrix'.")
    if (porosity is None) == (radius is None):
        raise ValueError("sphere_packing: give either porosity or radius.")
    require_positive(length=length)
    packing = _PACKINGS[arrangement]
    if porosity is not None:
        r = _radius(arrangement, packing, porosity, solid)
    else:
        assert radius is not None
        require_positive(radius=radius)
        high, why = _largest(packing, solid)
        require_below("radius", radius, high * length, why=why)
        r = radius / length
    sign = 1 if solid == "spheres" else -1
    return at_threshold(
        f"{arrangement} packing, solid {solid}",
        lambda x: -sign * length * _distance(packing, fold(x, length)),
        (length,) * 3,
        threshold=-sign * length * r,
        repeats=repeats,
        steepness=1.0,
    )


def _distance(packing: _Packing, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """From points (3, n) of the corner to the nearest centre."""
    apart = [y - np.array(centre)[:, None] for centre in packing.centres]
    return np.sqrt(np.minimum.reduce([np.einsum("in,in->n", a, a) for a in apart]))


def _largest(packing: _Packing, solid: str) -> tuple[float, str]:
    """The first radius that is too large, and why."""
    if solid == "spheres":
        return packing.covering, "no fluid is left"
    return packing.pieces, "the matrix falls to pieces"


def _radius(arrangement: str, packing: _Packing, porosity: float, solid: str) -> float:
    """Radius of the spheres at a porosity, in a cell of edge 1."""
    require_porosity(porosity, of=f"an {arrangement} packing")
    share = 1 - porosity if solid == "spheres" else porosity
    r = float(np.cbrt(3 * share / (4 * pi * packing.number)))
    if r > packing.touching:
        r = -threshold(
            lambda x: -_distance(packing, fold(x, 1.0)), (1.0,) * 3, fraction=share, steepness=1.0
        )
    high, why = _largest(packing, solid)
    if not r < high:
        raise ValueError(
            f"porosity = {porosity:g} needs spheres of radius {r:.4g} length, so large that {why}. "
            f"Give a porosity with a radius below {high:.4g} length."
        )
    return r
