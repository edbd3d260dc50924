"""Bodies bounded by triply periodic minimal surfaces, in their nodal approximation.

    network    solid = { φ(X) < t }          one labyrinth is solid, the other is pore
    sheet      solid = { |φ(X)| < t }        a wall between two labyrinths of pore

with X = 2π x / length and φ the leading terms of the Fourier series of the surface (von Schnering
& Nesper 1991, doi:10.1007/BF01313411; the surfaces are Schwarz's P and D, Neovius's C(P), and
Schoen's gyroid and I-WP, Schoen 1970, NASA TN D-5541). The threshold t is found from the porosity.
The nodal surface is close to the minimal one and not the same: the permeability of the nodal P is
3.7 % lower. A network falls to pieces where t passes a saddle of φ; such porosities are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import inf, pi, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_positive
from toolkit.geometry.implicit import Implicit, ScalarField
from toolkit.geometry.threshold import Porosity, at_porosity

__all__ = ["diamond", "gyroid", "iwp", "neovius", "schwarz_p"]

type Form = Literal["network", "sheet"]


def schwarz_p(
    *,
    porosity: Porosity = 0.5,
    form: Form = "network",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Schwarz's primitive surface, φ = cos X + cos Y + cos Z.

    The solid network surrounds the centre of the cell and joins its neighbours through the faces;
    its pore space is the same network moved by half a period. Solid falls to pieces above a
    porosity of 0.79 and the pores are closed below 0.21 (sheet: below 0.43).

    Args:
        porosity: the pore space's share, a number or a field (see `at_porosity`).
        form: "network" or "sheet".
        length: period, in any unit.
        repeats: periods along each axis.

    Raises:
        ValueError: `porosity` is outside the attainable range, `form` is not one of the two, or
            `length` or `repeats` is not positive.
    """
    return _body(_P, porosity, form, length, repeats)


def gyroid(
    *,
    porosity: Porosity = 0.5,
    form: Form = "network",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Schoen's gyroid, φ = sin X cos Y + sin Y cos Z + sin Z cos X.

    The two labyrinths are mirror images. Solid falls to pieces above a porosity of 0.98 and the
    pores are closed below 0.02 (sheet: below 0.03). Arguments and errors are those of `schwarz_p`.
    """
    return _body(_G, porosity, form, length, repeats)


def diamond(
    *,
    porosity: Porosity = 0.5,
    form: Form = "network",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Schwarz's diamond surface, φ = cos X cos Y cos Z − sin X sin Y sin Z, in its fcc cell.

    `length` is the edge of the face-centred cubic cell, in which the surface of area 3.84 length²
    has two labyrinths of eight nodes each, the same up to half a period. Solid falls to pieces
    above a porosity of 0.92 and the pores are closed below 0.08 (sheet: below 0.16). Arguments and
    errors are those of `schwarz_p`.
    """
    return _body(_D, porosity, form, length, repeats)


def iwp(
    *,
    porosity: Porosity = 0.5,
    form: Form = "network",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
    inverse: bool = False,
) -> Implicit:
    """Schoen's I-WP, φ = cos X cos Y + cos Y cos Z + cos Z cos X − ½ (cos 2X + cos 2Y + cos 2Z).

    The labyrinths differ. The network φ < t, solid by default, joins the midpoints of the edges and
    faces and falls to pieces above a porosity of 0.90; at t = 0 its porosity is 0.531. With
    `inverse` the solid is φ > t, nodes on a body-centred cubic lattice joined along its diagonals,
    which holds together at any porosity.

    Args:
        porosity: the pore space's share, a number or a field (see `at_porosity`).
        form: "network" or "sheet".
        length: period, in any unit.
        repeats: periods along each axis.
        inverse: make the network of the body-centred lattice solid; of no use to a sheet.

    Raises:
        ValueError: as for `schwarz_p`, or `inverse` of a sheet.
    """
    return _body(_IWP, porosity, form, length, repeats, inverse)


def neovius(
    *,
    porosity: Porosity = 0.5,
    form: Form = "network",
    length: float = 1.0,
    repeats: Sequence[int] = (1, 1, 1),
) -> Implicit:
    """Neovius's surface C(P), φ = 3 (cos X + cos Y + cos Z) + 4 cos X cos Y cos Z.

    φ changes sign under a shift by half a period along all axes, so the labyrinths are the same.
    Each is a chamber with twelve necks, and the necks are thin: solid falls to pieces above a
    porosity of 0.66 and the pores are closed below 0.34 (sheet: below 0.67). Arguments and
    errors are those of `schwarz_p`.
    """
    return _body(_N, porosity, form, length, repeats)


class _Nodal(NamedTuple):
    """A nodal function, its largest slope, and where its two sides are in one piece.

    { φ < t } is in one piece for t > low and { φ > t } for t < high: the values of φ at the saddle
    points where its necks close.
    """

    name: str
    φ: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    slope: float
    low: float
    high: float


def _p(X: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cos(X).sum(axis=0)


def _g(X: NDArray[np.float64]) -> NDArray[np.float64]:
    (a, b, c), (p, q, r) = np.cos(X), np.sin(X)
    return p * b + q * c + r * a


def _d(X: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cos(X).prod(axis=0) - np.sin(X).prod(axis=0)


def _i(X: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = np.cos(X)
    return a * b + b * c + c * a - (a * a + b * b + c * c) + 1.5


def _n(X: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = np.cos(X)
    return 3 * (a + b + c) + 4 * a * b * c


_P = _Nodal("Schwarz P", _p, sqrt(3), -1, 1)
_G = _Nodal("gyroid", _g, sqrt(3), -sqrt(2), sqrt(2))
_D = _Nodal("Schwarz D", _d, sqrt(1.5), -sqrt(0.5), sqrt(0.5))
_IWP = _Nodal("I-WP", _i, sqrt(6.75), -1.5, inf)
_N = _Nodal("Neovius", _n, 7, -0.75, 0.75)


def _body(
    surface: _Nodal,
    porosity: Porosity,
    form: Form,
    length: float,
    repeats: Sequence[int],
    inverse: bool = False,
) -> Implicit:
    if form not in ("network", "sheet"):
        raise ValueError(f"form = {form!r} is unknown. Give 'network' or 'sheet'.")
    if inverse and form == "sheet":
        raise ValueError("inverse = True is for networks: a sheet has both labyrinths as pores.")
    require_positive(length=length)
    k = 2 * pi / length
    return at_porosity(
        f"{surface.name} {form}{', inverse' if inverse else ''}",
        lambda x: _field(surface, form, inverse)(k * x),
        (length,) * 3,
        porosity=porosity,
        repeats=repeats,
        steepness=k * surface.slope,
        limits=_limits(surface, inverse) if form == "network" else (0.0, 1.0),
    )


def _field(surface: _Nodal, form: Form, inverse: bool) -> ScalarField:
    """A function of X that is larger in the solid."""
    if form == "sheet":
        return lambda X: -np.abs(surface.φ(X))
    return surface.φ if inverse else lambda X: -surface.φ(X)


@cache
def _limits(surface: _Nodal, inverse: bool) -> tuple[float, float]:
    """Porosities between which the network's solid is in one piece."""
    saddle = -surface.high if inverse else surface.low
    if saddle == -inf:
        return 0.0, 1.0
    field = _field(surface, "network", inverse)
    pieces = Implicit(surface.name, (2 * pi,) * 3, lambda X: field(X) + saddle, surface.slope)
    return 0.0, 1 - pieces.fraction(48)
