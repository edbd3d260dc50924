"""Lattices of round struts: cubic, body-centred cubic, octet and Kelvin.

    solid = { d(x) < r },     d the distance to the nearest strut's axis

The lattices have all mirror planes of the cube, so d needs only the struts in one of its 48 equal
corners, ½ ≥ x ≥ y ≥ z ≥ 0: folding a point into that corner by reflections never brings it nearer
to a strut than it is. The radius is found from the porosity. Octet: Deshpande, Fleck & Ashby 2001,
doi:10.1016/S0022-5096(01)00010-2; Kelvin: Thomson 1887, doi:10.1080/14786448708628135.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_below, require_positive
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.threshold import Porosity, at_porosity, at_threshold

__all__ = ["bcc", "cubic", "fold", "kelvin", "octet"]

type _Point = tuple[float, float, float]


class _Lattice(NamedTuple):
    """Struts within the corner ½ ≥ x ≥ y ≥ z ≥ 0 of a cube of edge 1.

    `covering` is the largest distance of a point from them: struts of that radius leave no pore.
    """

    name: str
    struts: tuple[tuple[_Point, _Point], ...]
    covering: float


_CUBIC = _Lattice("cubic lattice", (((0, 0, 0), (0.5, 0, 0)),), sqrt(1 / 2))
_BCC = _Lattice("bcc lattice", (((0, 0, 0), (0.5, 0.5, 0.5)),), sqrt(1 / 6))
_OCTET = _Lattice(
    "octet lattice",
    (((0, 0, 0), (0.5, 0.5, 0)), ((0.5, 0.5, 0), (0.5, 0.25, 0.25))),
    sqrt(1 / 8),
)
_KELVIN = _Lattice(
    "Kelvin lattice",
    (((0.5, 0.25, 0), (0.5, 0.125, 0.125)), ((0.5, 0.25, 0), (0.375, 0.375, 0))),
    sqrt(9 / 32),
)


def cubic(
    *,
    porosity: Porosity | None = None,
    radius: float | None = None,
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Struts along the edges of the cube; solid fraction 3π r² − 8√2 r³ for r < length / 2.

    One of `porosity` and `radius` is given.

    Args:
        porosity: the pore space's share, a number or a field (see `at_porosity`).
        radius: of the struts, in the unit of `length`.
        length: edge of the cube.
        repeats: periods along each axis.

    Raises:
        ValueError: both or none of `porosity` and `radius` are given, `porosity` is not between 0
            and 1, the radius leaves no pore, or a dimension is not positive.
    """
    return _lattice(_CUBIC, porosity, radius, length, repeats)


def bcc(
    *,
    porosity: Porosity | None = None,
    radius: float | None = None,
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Struts from the corners of the cube to its centre: 8 of length √3/2.

    Arguments and errors are those of `cubic`.
    """
    return _lattice(_BCC, porosity, radius, length, repeats)


def octet(
    *,
    porosity: Porosity | None = None,
    radius: float | None = None,
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """The octet truss: struts between nearest nodes of the fcc lattice, 24 of length √2/2.

    Arguments and errors are those of `cubic`.
    """
    return _lattice(_OCTET, porosity, radius, length, repeats)


def kelvin(
    *,
    porosity: Porosity | None = None,
    radius: float | None = None,
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Edges of Kelvin's packing of truncated octahedra, two a cell: 24 of length √2/4.

    Arguments and errors are those of `cubic`.
    """
    return _lattice(_KELVIN, porosity, radius, length, repeats)


def fold(x: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Reflect points (3, n) into the corner ½ ≥ x ≥ y ≥ z ≥ 0 of the cube of edge 1."""
    folded = x / length
    folded = np.abs(folded - np.rint(folded))
    return -np.sort(-folded, axis=0)


def _lattice(
    lattice: _Lattice,
    porosity: Porosity | None,
    radius: float | None,
    length: float,
    repeats: Sequence[int],
) -> Implicit:
    if (porosity is None) == (radius is None):
        raise ValueError(f"{lattice.name}: give either porosity or radius.")
    require_positive(length=length)

    def field(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = fold(x, length)
        squares = [_squared_distance(y, *strut) for strut in lattice.struts]
        return -length * np.sqrt(np.minimum.reduce(squares))

    period = (length,) * 3
    if porosity is not None:
        return at_porosity(
            lattice.name, field, period, porosity=porosity, repeats=repeats, steepness=1.0
        )
    assert radius is not None
    require_positive(radius=radius)
    require_below("radius", radius, lattice.covering * length, why="no pore is left")
    return at_threshold(
        lattice.name, field, period, threshold=-radius, repeats=repeats, steepness=1.0
    )


def _squared_distance(y: NDArray[np.float64], start: _Point, end: _Point) -> NDArray[np.float64]:
    """From points (3, n) to the segment between two points."""
    a = np.array(start)[:, None]
    axis = np.array(end) - start
    apart = y - a
    along = np.clip(axis @ apart / (axis @ axis), 0, 1)
    apart -= axis[:, None] * along
    return np.einsum("in,in->n", apart, apart)
