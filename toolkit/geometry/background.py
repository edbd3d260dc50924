"""The background mesh of `toolkit.geometry.stuffing`: equal simplices that fill a periodic box.

In three dimensions the body-centred cubic lattice: a tetrahedron has the centres of two
neighbouring cubes and an edge of the face between them, with dihedral angles of 60° and 90°. Those
that would cross the box are halved at the centre of that face, so the faces of the box are flat. In
two dimensions each square has four triangles about its centre. Places are integers, in half cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Background", "background"]

type Integers = NDArray[np.int64]

RING = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])  # the corners of a square about its centre


class Background(NamedTuple):
    """Simplices on a grid of half cells.

    Attributes:
        place: position of each vertex, in half cells from the origin, (vertices, d).
        cells: vertices of each simplex, positively oriented, (cells, d + 1).
        image: the vertex itself, or its image on the lower faces of the box, (vertices,).
    """

    place: Integers
    cells: Integers
    image: Integers


def background(shape: Sequence[int]) -> Background:
    """The background mesh of a box of `shape` squares or cubes."""
    corners = _triangles(shape) if len(shape) == 2 else _tetrahedra(shape)
    ends = 2 * np.asarray(shape)
    keys = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(ends + 1))
    used = np.unique(keys)
    place = np.stack(np.unravel_index(used, tuple(ends + 1)), axis=1)
    below = np.ravel_multi_index(tuple((place % ends).T), tuple(ends + 1))
    return Background(place, np.searchsorted(used, keys), np.searchsorted(used, below))


def _triangles(shape: Sequence[int]) -> Integers:
    """Places of the corners, (cells, 3, 2)."""
    centres = 2 * np.indices(shape).reshape(2, -1).T + 1
    ring = centres + RING[:, None]
    return np.concatenate(
        [np.stack([centres, ring[k - 1], ring[k]], axis=1) for k in range(len(ring))]
    )


def _tetrahedra(shape: Sequence[int]) -> Integers:
    """Places of the corners, (cells, 4, 3): both sides of every face along each axis."""
    blocks = []
    for axis in range(3):
        across = [(axis + 1) % 3, (axis + 2) % 3]
        counts = [n + (a == axis) for a, n in enumerate(shape)]
        faces = 2 * np.indices(counts).reshape(3, -1).T
        faces[:, across] += 1
        low, high = faces.copy(), faces.copy()
        low[:, axis] = np.maximum(faces[:, axis] - 1, 0)
        high[:, axis] = np.minimum(faces[:, axis] + 1, 2 * shape[axis])
        ring = np.repeat(faces[None], len(RING), axis=0)
        ring[:, :, across] += RING[:, None]
        blocks += [np.stack([low, high, ring[k - 1], ring[k]], axis=1) for k in range(len(ring))]
    return np.concatenate(blocks)
