"""From a scalar field to a body of given porosity: solid where field(x) > t.

    |{ x : f(x) > t }| / |period| = 1 − porosity

So t is the quantile of f at the porosity. The centres of a coarse grid bracket it; the cells that
the surface can touch, told by a bound of the slope |f(x) − f(y)| ≤ steepness |x − y|, are sampled
finely and settle it. There the part of a cell about a point is cut by a plane whose ramp has a
width; the thresholds of that width and of its double are extrapolated to width zero, which takes
away the error of second order that a curved surface leaves.

A graded body follows the quantile map from porosity to threshold point by point, solid where
f(x) > t(porosity(x)), with t a monotone interpolant (Fritsch & Carlson 1980, doi:10.1137/0717021)
of sampled quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import map_coordinates
from scipy.optimize import brentq

from toolkit.geometry.implicit import (
    Implicit,
    ScalarField,
    cell_centres,
    cubic_resolution,
    offsets_within,
    sampled_about,
    solid_share,
    values_at_centres,
)

__all__ = [
    "Porosity",
    "at_porosity",
    "at_threshold",
    "grid_field",
    "require_porosity",
    "threshold",
]

type Porosity = float | ScalarField | NDArray[np.float64]


def require_porosity(
    porosity: float | NDArray[np.float64], *, of: str, low: float = 0.0, high: float = 1.0
) -> None:
    """Refuse a porosity that a family cannot have.

    Args:
        porosity: the pore space's share of the volume, one value or many.
        of: the family as the caller knows it.
        low: the porosity that must be exceeded.
        high: the porosity that must not be reached.

    Raises:
        ValueError: a porosity is not between the two.
    """
    values = np.ravel(porosity)
    outside = values[~((values > low) & (values < high))]
    if outside.size:
        raise ValueError(
            f"porosity = {outside[0]:g} cannot be had by {of}. "
            f"Give {low:.4g} < porosity < {high:.4g}."
        )


def threshold(
    field: ScalarField,
    lengths: Sequence[float],
    *,
    fraction: float,
    steepness: float | None = None,
    resolution: int = 64,
    samples: int | None = None,
) -> float:
    """The value t that a periodic field exceeds in the given share of its period.

    The error in the fraction is of the order of 1e-4 or below with the default grids, for features
    that the coarse grid resolves.

    Args:
        field: x of shape (d, n) ↦ (n,).
        lengths: period along each axis.
        fraction: share of the volume where field > t, in (0, 1).
        steepness: a bound of the slope of `field`; with None every cell is sampled finely.
        resolution: cells of the coarse grid along the edge of a cube of the period's volume.
        samples: fine points along each edge of a cell that the surface can touch; by default 3, and
            5 where one phase has less than a quarter and so is thin.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction = {fraction:g} is no share. Give 0 < fraction < 1.")
    edge = float(np.prod(lengths)) ** (1 / len(lengths))
    if samples is None:
        samples = 3 if 0.25 <= fraction <= 0.75 else 5
    shape = cubic_resolution(lengths, round(resolution * max(lengths) / edge))
    coarse = values_at_centres(field, lengths, shape)
    first = float(np.quantile(coarse, 1 - fraction))
    reach = np.inf
    if steepness is not None:  # half the diagonal of a cell, and a fifth more for t − first
        reach = 0.6 * steepness * float(np.linalg.norm(np.asarray(lengths) / shape))
    touched = np.flatnonzero(np.abs(coarse - first) <= reach)
    centres = cell_centres(touched, lengths, shape)
    pairs = sampled_about(field, centres, offsets_within(lengths, shape, samples))
    values, change = (np.concatenate(parts).ravel() for parts in zip(*pairs, strict=True))
    wanted = fraction * coarse.size - np.count_nonzero(coarse > first + reach)
    narrow, wide = (
        _level_of_share(values, width, wanted / touched.size, first)
        for width in (change, 2 * change)
    )
    return (4 * narrow - wide) / 3


def _level_of_share(
    values: NDArray[np.float64], change: NDArray[np.float64], share: float, first: float
) -> float:
    """The t at which the mean of solid_share(values − t, change) is `share`, near `first`."""
    spread = 4 * float(change.mean()) + 1e-9 * (1 + abs(first))
    while True:
        close = np.abs(values - first) <= spread + change / 2
        above = np.count_nonzero(values[~close] > first)
        f, w = values[close], change[close]
        ends = [
            float(above + solid_share(f - t, w).sum() - share * values.size)
            for t in (first - spread, first + spread)
        ]
        if ends[0] >= 0 >= ends[1]:
            break
        spread *= 4  # a steep field, or a threshold between two plateaus

    def excess(t: float) -> float:
        return float(above + solid_share(f - t, w).sum() - share * values.size)

    return float(brentq(excess, first - spread, first + spread, xtol=1e-5 * spread))


def at_threshold(
    name: str,
    field: ScalarField,
    period: Sequence[float],
    *,
    threshold: float,
    repeats: Sequence[int] | None = None,
    steepness: float | None = None,
) -> Implicit:
    """The body that is solid where `field` exceeds a threshold; arguments as for `at_porosity`."""
    lengths = _lengths(name, period, repeats)
    return Implicit(name, lengths, lambda x: field(x) - threshold, steepness)


def at_porosity(
    name: str,
    field: ScalarField,
    period: Sequence[float],
    *,
    porosity: Porosity,
    repeats: Sequence[int] | None = None,
    steepness: float | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    resolution: int = 64,
) -> Implicit:
    """The body that is solid where `field` exceeds the threshold of a porosity.

    Args:
        name: what the body is called.
        field: x of shape (d, n) ↦ (n,), with the given period.
        period: of the field, along each axis.
        porosity: the pore space's share of the volume; or the local one, as a function x ↦ (n,) of
            points (d, n), or as an array of values at the centres of a grid of cells over the whole
            body, interpolated linearly and periodically. A function should have the body's period.
        repeats: periods of the field along each axis of the body; one along each by default.
        steepness: a bound of the slope of `field`.
        limits: between which porosities the body is of the family that it is named after.
        resolution: of the search for the threshold of a number, as for `threshold`.

    Raises:
        ValueError: a porosity is outside the limits; that of a function is seen at evaluation.
    """
    check = partial(require_porosity, of=name, low=limits[0], high=limits[1])
    if isinstance(porosity, int | float | np.number):
        check(float(porosity))
        t = threshold(
            field,
            period,
            fraction=1 - float(porosity),
            steepness=steepness,
            resolution=resolution,
        )
        return at_threshold(name, field, period, threshold=t, repeats=repeats, steepness=steepness)
    if not callable(porosity):
        porosity = grid_field(name, porosity, _lengths(name, period, repeats))
    quantile = _quantile_map(field, period)

    def level(x: NDArray[np.float64]) -> NDArray[np.float64]:
        local = porosity(x)
        check(local)
        return field(x) - quantile(local)

    return Implicit(f"{name}, graded", _lengths(name, period, repeats), level)


def _lengths(
    name: str, period: Sequence[float], repeats: Sequence[int] | None
) -> tuple[float, ...]:
    """Periods of the body that repeats a field."""
    counts = tuple(repeats) if repeats is not None else (1,) * len(period)
    if len(counts) != len(period) or min(counts) < 1:
        raise ValueError(
            f"{name}: repeats = {counts} does not fit a field with {len(period)} axes. "
            "Give one positive number of periods for each."
        )
    return tuple(float(n * length) for n, length in zip(counts, period, strict=True))


def _quantile_map(field: ScalarField, period: Sequence[float]) -> PchipInterpolator:
    """Threshold as a monotone function of the porosity."""
    values = values_at_centres(field, period, cubic_resolution(period, 128))
    porosities = (1 - np.cos(np.linspace(0, np.pi, 257))) / 2
    return PchipInterpolator(porosities, np.quantile(values, porosities))


def grid_field(name: str, values: NDArray[np.float64], lengths: Sequence[float]) -> ScalarField:
    """Periodic linear interpolation of values at the centres of a grid of cells."""
    grid = np.asarray(values, dtype=float)
    if grid.ndim != len(lengths):
        raise ValueError(
            f"{name}: the porosity is an array of shape {grid.shape}, the body has {len(lengths)} "
            "axes. Give one axis of the array for each."
        )
    scale = (np.array(grid.shape) / np.asarray(lengths))[:, None]
    return lambda x: map_coordinates(grid, x * scale - 0.5, order=1, mode="grid-wrap")
