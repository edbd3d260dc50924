"""The distance to a periodic network of straight struts, for any number of struts.

The box is halved along each axis, again and again, and each of its parts, a bucket, keeps the
struts that can be the nearest to one of its points: those whose distance from the bucket's centre
exceeds the least by no more than the bucket's diagonal. The distance is exact, and its cost hardly
depends on the number of struts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toolkit.geometry.implicit import cell_centres

__all__ = ["StrutNetwork"]


@dataclass(frozen=True)
class StrutNetwork:
    """Struts sorted into buckets; made by `StrutNetwork.of`.

    Attributes:
        lengths: period along each of the three axes.
        buckets: their number along each axis.
        starts: one end of every strut that comes near the box, (struts, 3).
        axes: the vector from there to its other end, (struts, 3).
        nearby: struts of each bucket, the nearest to its centre first, padded to (buckets, most).
        bounds: a distance that the point of a bucket cannot fall short of to each of them, of the
            same shape; infinite in the padding.
    """

    lengths: NDArray[np.float64]
    buckets: int
    starts: NDArray[np.float64]
    axes: NDArray[np.float64]
    nearby: NDArray[np.intp]
    bounds: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        starts: NDArray[np.float64],
        ends: NDArray[np.float64],
        lengths: tuple[float, float, float],
    ) -> Self:
        """Sort struts into buckets.

        Args:
            starts: one end of each strut of a period, (struts, 3); it may lie outside the box.
            ends: the other ends; the same strut moved by periods is meant everywhere.
            lengths: period along each axis.
        """
        box = np.asarray(lengths, dtype=float)
        starts, axes = _images(starts, ends - starts, box)
        halvings = int(np.clip(np.round(np.log2(3.5 * np.cbrt(len(ends)))), 2, 5))
        nearby, distances = np.arange(len(starts))[None], np.zeros((1, len(starts)))
        for level in range(1, halvings + 1):
            shape = (2**level,) * 3
            parents = _parents(level)
            centres = cell_centres(np.arange(8**level), lengths, shape).T
            nearby, distances = _nearest(
                centres,
                nearby[parents],
                np.isfinite(distances[parents]),
                starts,
                axes,
                float(np.linalg.norm(box)) / 2**level,
            )
        half = float(np.linalg.norm(box)) / 2 ** (halvings + 1)
        return cls(box, 2**halvings, starts, axes, nearby, np.maximum(distances - half, 0))

    def distance(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """From points (3, n), anywhere, to the nearest strut's axis, (n,)."""
        y = (x % self.lengths[:, None]).T
        at = np.minimum((y / self.lengths * self.buckets).astype(int), self.buckets - 1)
        bucket = np.ravel_multi_index(tuple(at.T), (self.buckets,) * 3)
        squares = np.full(len(y), np.inf)
        todo = np.arange(len(y))
        for rank in range(self.nearby.shape[1]):
            bounds = self.bounds[bucket[todo], rank]
            todo = todo[np.isfinite(bounds) & (bounds**2 < squares[todo])]
            strut = self.nearby[bucket[todo], rank]
            found = _squared_distance(y[todo], self.starts[strut], self.axes[strut])
            squares[todo] = np.minimum(squares[todo], found)
        return np.sqrt(squares)


def _images(
    starts: NDArray[np.float64], axes: NDArray[np.float64], box: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The struts and those of their periodic images that can be the nearest to a point of the box.

    These come as near to the box as a point of it can be from the start of the nearest strut.
    """
    grid = cell_centres(np.arange(16**3), box.tolist(), (16,) * 3).T
    tree = cKDTree(starts % box, boxsize=box)
    reach = tree.query(grid)[0].max() + float(np.linalg.norm(box)) / 32
    starts = starts - box * np.floor((starts + axes / 2) / box)
    shifts = box * np.array(list(product((-2, -1, 0, 1, 2), repeat=3)))
    moved = (starts[None] + shifts[:, None]).reshape(-1, 3)
    axes = np.tile(axes, (len(shifts), 1))
    middle = moved + axes / 2
    outside = np.linalg.norm(middle - np.clip(middle, 0, box), axis=1)
    near = outside - np.linalg.norm(axes, axis=1) / 2 <= reach
    return moved[near], axes[near]


def _parents(level: int) -> NDArray[np.intp]:
    """For each of the 2^level cubed buckets the number of the one that it halves."""
    index = np.unravel_index(np.arange(8**level), (2**level,) * 3)
    return np.ravel_multi_index(tuple(i // 2 for i in index), (2 ** (level - 1),) * 3)


def _nearest(
    centres: NDArray[np.float64],
    nearby: NDArray[np.intp],
    valid: NDArray[np.bool_],
    starts: NDArray[np.float64],
    axes: NDArray[np.float64],
    slack: float,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Of the struts near each centre those no farther than the nearest and `slack`, sorted.

    Returns:
        Their numbers and their distances, (buckets, most), padded with infinite distances.
    """
    distances = np.full(nearby.shape, np.inf)
    row, column = np.nonzero(valid)
    strut = nearby[row, column]
    distances[row, column] = np.sqrt(_squared_distance(centres[row], starts[strut], axes[strut]))
    distances[distances > distances.min(axis=1, keepdims=True) + slack] = np.inf
    most = int(np.isfinite(distances).sum(axis=1).max())
    order = np.argsort(distances, axis=1)[:, :most]
    return np.take_along_axis(nearby, order, 1), np.take_along_axis(distances, order, 1)


def _squared_distance(
    points: NDArray[np.float64], starts: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Between points and segments, row by row."""
    apart = points - starts
    along = np.einsum("ni,ni->n", apart, axes) / np.einsum("ni,ni->n", axes, axes)
    apart = apart - np.clip(along, 0, 1)[:, None] * axes
    return np.einsum("ni,ni->n", apart, apart)
