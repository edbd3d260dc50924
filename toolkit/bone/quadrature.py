"""Quadrature that resolves an image inside a cell: a rule repeated in n³ parts of the cell.

A cell that covers many voxels has to be integrated over all of them, and a voxel's own cell over
the eight boxes between centres in which the image is trilinear. The cube is cut into n³ boxes with
a Gauss rule of 2³ points each, which is exact for trilinear functions; the simplex into n³
simplices of equal volume (those of Kuhn's in n³ cubes that lie in the large one) with a rule of
degree two.
"""

from functools import cache
from itertools import permutations

import numpy as np
import numpy.typing as npt

__all__ = ["composite"]

type Array = npt.NDArray[np.float64]


@cache
def composite(shape: str, parts: int) -> tuple[Array, Array]:
    """Points and weights on DOLFINx's reference cell, cut into `parts` along each edge.

    Args:
        shape: "hexahedron" or "tetrahedron".
        parts: At least 1.

    Returns:
        Points (n, 3) and weights (n,), which add up to the volume of the reference cell.
    """
    return _cube(parts) if shape == "hexahedron" else _simplex(parts)


def _cube(parts: int) -> tuple[Array, Array]:
    gauss = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3)
    line = ((np.arange(parts)[:, None] + gauss) / parts).ravel()
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return points, np.full(len(points), 1 / len(points))


def _simplex(parts: int) -> tuple[Array, Array]:
    """By the map y ↦ (y₁ − y₂, y₂ − y₃, y₃) of 1 ≥ y₁ ≥ y₂ ≥ y₃ ≥ 0, which keeps volumes."""
    base = np.indices((parts,) * 3).reshape(3, -1).T
    corners = []
    for order in permutations(range(3)):
        path = np.zeros((4, 3), dtype=int)
        for step, axis in enumerate(order):
            path[step + 1 :, axis] += 1
        corners.append(base[:, None, :] + path)
    every = np.concatenate(corners)
    inside = (np.diff(every, axis=2) <= 0).all(axis=(1, 2))
    simplices = every[inside] / parts
    a, b = (5 + 3 * np.sqrt(5)) / 20, (5 - np.sqrt(5)) / 20
    barycentric = np.full((4, 4), b) + (a - b) * np.eye(4)
    y = np.einsum("qc,ncd->nqd", barycentric, simplices).reshape(-1, 3)
    points = np.column_stack([y[:, 0] - y[:, 1], y[:, 1] - y[:, 2], y[:, 2]])
    return points, np.full(len(points), 1 / 6 / len(points))
