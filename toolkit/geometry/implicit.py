"""A periodic body given by a function: solid where level(x) > 0.

    solid = { x : level(x) > 0 },     level(x + lengths) = level(x)

The volume fraction of a voxel is the mean over a grid of points inside it, where the part of the
voxel about a point counts as cut by the plane that the level has there: second order in the
distance of the points, and free of the bias that counting points has along a lattice plane. A level
that comes with a bound of its slope, |level(x) − level(y)| ≤ steepness |x − y|, decides a
voxel by its centre alone wherever no corner can reach the surface, so that only the voxels near the
surface are sampled. Everything here is numpy, the same on every rank, in any unit of length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_positive

__all__ = [
    "Implicit",
    "ScalarField",
    "cell_centres",
    "cubic_resolution",
    "offsets_within",
    "sampled_about",
    "solid_share",
    "values_at_centres",
]

type ScalarField = Callable[[NDArray[np.float64]], NDArray[np.float64]]

POINTS_AT_ONCE = 2**17  # bounds the memory of one evaluation and keeps it in the cache


@dataclass(frozen=True)
class Implicit:
    """A periodic body given by a function: solid where level(x) > 0.

    Attributes:
        name: what the body is called in messages and files.
        lengths: period along each axis (2 or 3), any unit of length.
        level: x of shape (d, n) ↦ (n,), periodic and continuous, positive in the solid.
        steepness: a bound of the slope of `level`, 1 / length for a `level` without unit; None
            where none is known, and then every voxel is sampled.
    """

    name: str
    lengths: tuple[float, ...]
    level: ScalarField
    steepness: float | None = None

    def __post_init__(self) -> None:
        if len(self.lengths) not in (2, 3):
            raise ValueError(
                f"{self.name}: lengths = {self.lengths} gives {len(self.lengths)} periods. "
                "Give two or three."
            )
        require_positive(**dict(zip("xyz", self.lengths, strict=False)))

    def complement(self) -> Implicit:
        """The body whose solid is this one's pore space."""
        return Implicit(
            f"{self.name}, inverse", self.lengths, lambda x: -self.level(x), self.steepness
        )

    def fraction(self, resolution: int | Sequence[int] = 64, *, samples: int = 4) -> float:
        """The solid's share of the volume.

        Args:
            resolution: voxels along each axis; one number is the count along the longest axis, and
                the others follow so that the voxels are nearly cubes.
            samples: points along each edge of a voxel.
        """
        if isinstance(resolution, int):
            resolution = cubic_resolution(self.lengths, resolution)
        return float(self.voxels(resolution, samples=samples).mean())

    def voxels(self, resolution: Sequence[int], *, samples: int = 4) -> NDArray[np.float64]:
        """Solid fraction of each voxel of the box [0, length]^d.

        Args:
            resolution: number of voxels along each axis.
            samples: points along each edge of a voxel, so samples^d of them in a voxel; 1 is a
                voxel of zero or one.

        Returns:
            Fractions in [0, 1], of shape `resolution`; index [i, j, k] belongs to x, y, z.

        Raises:
            ValueError: `resolution` does not have one positive number for each axis, or `samples`
                is not positive.
        """
        shape = _require_shape(self.name, self.lengths, resolution, samples)
        corner = float(np.linalg.norm(np.asarray(self.lengths) / shape)) / 2
        reach = None if self.steepness is None else self.steepness * corner
        offsets = offsets_within(self.lengths, shape, samples)
        fractions = np.empty(prod(shape))
        for chunk, centres in _all_centres(self.lengths, shape):
            fractions[chunk] = _fractions(self.level, centres, offsets, reach)
        return fractions.reshape(shape)


def cubic_resolution(lengths: Sequence[float], cells: int) -> tuple[int, ...]:
    """Counts along the axes that make nearly cubic voxels, `cells` of them on the longest axis."""
    return tuple(max(1, round(cells * length / max(lengths))) for length in lengths)


def _require_shape(
    name: str, lengths: Sequence[float], resolution: Sequence[int], samples: int
) -> tuple[int, ...]:
    shape = tuple(int(n) for n in resolution)
    if len(shape) != len(lengths) or min(shape) < 1:
        raise ValueError(
            f"{name}: resolution = {tuple(resolution)} does not fit a body with {len(lengths)} "
            "axes. Give one positive number of voxels for each."
        )
    if samples < 1:
        raise ValueError(f"samples = {samples} leaves a voxel without a point. Give samples >= 1.")
    return shape


def values_at_centres(
    field: ScalarField, lengths: Sequence[float], shape: Sequence[int]
) -> NDArray[np.float64]:
    """The field at the centres of a grid of cells on the box [0, length]^d, last axis fastest."""
    return np.concatenate([field(centres) for _, centres in _all_centres(lengths, shape)])


def cell_centres(
    cells: NDArray[np.intp], lengths: Sequence[float], shape: Sequence[int]
) -> NDArray[np.float64]:
    """Centres (d, n) of the cells with these numbers, counted with the last axis fastest."""
    size = np.asarray(lengths) / shape
    return (np.stack(np.unravel_index(cells, shape)) + 0.5) * size[:, None]


def offsets_within(
    lengths: Sequence[float], shape: Sequence[int], samples: int
) -> NDArray[np.float64]:
    """Points (d, samples^d) of a grid inside a cell, relative to the cell's centre."""
    within = (samples,) * len(shape)
    size = np.asarray(lengths) / shape
    return cell_centres(np.arange(prod(within)), size.tolist(), within) - size[:, None] / 2


def sampled_about(
    field: ScalarField, centres: NDArray[np.float64], offsets: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Values of a field at all offsets from each centre, a bounded number of centres at a time.

    Args:
        field: x of shape (d, n) ↦ (n,).
        centres: of the cells, (d, n).
        offsets: the grid of `offsets_within`, (d, samples^d).

    Yields:
        The values (m, samples^d), and by how much the field changes across the part of the cell
        that belongs to a point: Σ |∂ᵢ field| hᵢ, by differences between the points.
    """
    d, count = offsets.shape
    samples = round(count ** (1 / d))
    step = max(1, POINTS_AT_ONCE // count)
    for start in range(0, centres.shape[1], step):
        points = (centres[:, start : start + step, None] + offsets[:, None, :]).reshape(d, -1)
        values = field(points).reshape(-1, *(samples,) * d)
        change = np.zeros_like(values)
        if samples > 1:
            for axis in range(1, d + 1):
                change += np.abs(np.gradient(values, axis=axis))
        yield values.reshape(-1, count), change.reshape(-1, count)


def solid_share(values: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    """The solid's share of the part of a cell about each point, ½ + level / change within [0, 1].

    The ramp is that of a plane moved across the part. Its width makes the sum over a grid exact for
    planes along, and diagonal to, the grid, where counting points would miss or repeat a layer.
    """
    ramp = np.divide(values, change, out=np.copysign(np.inf, values), where=change > 0)
    return np.clip(ramp + 0.5, 0, 1)


def _all_centres(
    lengths: Sequence[float], shape: Sequence[int]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for start in range(0, prod(shape), POINTS_AT_ONCE):
        stop = min(start + POINTS_AT_ONCE, prod(shape))
        yield slice(start, stop), cell_centres(np.arange(start, stop), lengths, shape)


def _fractions(
    level: ScalarField,
    centres: NDArray[np.float64],
    offsets: NDArray[np.float64],
    reach: float | None,
) -> NDArray[np.float64]:
    """Solid fraction of the cell about each centre."""
    if reach is None:
        near = np.arange(centres.shape[1])
        fractions = np.empty(centres.shape[1])
    else:
        at_centres = level(centres)
        near = np.flatnonzero(np.abs(at_centres) <= reach)
        fractions = np.heaviside(at_centres, 0.5)
    if near.size:
        pairs = sampled_about(level, centres[:, near], offsets)
        fractions[near] = np.concatenate([solid_share(*pair).mean(axis=1) for pair in pairs])
    return fractions
