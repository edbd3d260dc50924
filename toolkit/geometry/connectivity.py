"""What hangs together in a periodic voxel array, and what repeats without end.

Voxels join through their faces. A piece is labelled inside the box; the pieces on the two sides of
a periodic face are then joined in a union-find that carries offsets: each piece knows by how many
periods it is displaced from the root of its component. An edge that closes a loop with a
displacement w ≠ 0 connects the component to its own image at w, and the component percolates along
every axis on which some loop has a part,

    x ~ x + w,    w ∈ Zᵈ,    percolates along i  ⇔  wᵢ ≠ 0 for some loop.

Touching two opposite faces is neither necessary nor sufficient for that. Along an axis that is not
periodic there are no images, and reaching both end faces is what counts.

References:
    Newman & Ziff 2001, doi:10.1103/PhysRevE.64.016706 (union-find for percolation);
    Machta et al. 1996, doi:10.1103/PhysRevE.54.1332 (displacements along the tree detect loops).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


class Components(NamedTuple):
    """The pieces of one phase of a periodic voxel array.

    Attributes:
        labels: component of each voxel, 1 … m, and 0 outside the phase; shape of the array.
        sizes: number of voxels of each component in one period, shape (m,).
        percolates: whether component c runs on without end along axis i, shape (m, d).
        exposed: whether a component touches an end face of an axis that is not periodic, (m,).
    """

    labels: NDArray[np.intp]
    sizes: NDArray[np.intp]
    percolates: NDArray[np.bool_]
    exposed: NDArray[np.bool_]


class Cleaned(NamedTuple):
    """A cell without loose pieces.

    Attributes:
        solid: the cleaned array, of the type that was given.
        islands: number of floating pieces of solid that were dropped.
        removed: solid dropped with them, as a share of the cell's volume.
        pores: number of enclosed pores that were filled.
        filled: solid added in them, as a share of the cell's volume.
    """

    solid: NDArray[np.bool_] | NDArray[np.float64]
    islands: int
    removed: float
    pores: int
    filled: float


def components(
    phase: NDArray[np.bool_], *, periodic: Sequence[bool], corners: bool = False
) -> Components:
    """Find the periodic components of a phase and the axes along which each percolates.

    Args:
        phase: True where the phase is, of any dimension d.
        periodic: for each axis whether its opposite faces are one, length d.
        corners: join voxels that share an edge or a corner too, not only a face.
    """
    structure = ndimage.generate_binary_structure(phase.ndim, phase.ndim if corners else 1)
    pieces, count = ndimage.label(phase, structure)
    root, loops = _union(count, _seams(pieces, periodic, corners))
    names, component = np.unique(root[1:], return_inverse=True)
    number = np.concatenate([[0], component + 1])
    labels = number[pieces]
    percolates = np.zeros((names.size, phase.ndim), dtype=bool)
    for piece, loop in loops:
        percolates[number[piece] - 1] |= loop != 0
    exposed = np.zeros(names.size, dtype=bool)
    for axis in np.flatnonzero(~np.asarray(periodic)):
        first, last = (_touching(labels.take(end, axis), names.size) for end in (0, -1))
        percolates[:, axis] = first & last
        exposed |= first | last
    return Components(labels, np.bincount(labels.ravel())[1:], percolates, exposed)


def islands(found: Components) -> NDArray[np.bool_]:
    """Tell which components of the solid float: those that percolate nowhere.

    Where none percolates the largest stays. The answer has shape (m,).
    """
    floating = ~found.percolates.any(axis=1)
    if floating.size and floating.all():
        floating[np.argmax(found.sizes)] = False
    return floating


def enclosed(found: Components) -> NDArray[np.bool_]:
    """Tell which components of the pores have no way out: closed in all directions, shape (m,)."""
    return ~found.percolates.any(axis=1) & ~found.exposed


def remove_islands(
    solid: NDArray[np.bool_] | NDArray[np.floating],
    *,
    periodic: Sequence[bool] | None = None,
    fill: bool = False,
) -> Cleaned:
    """Drop the floating pieces of a cell and, on request, fill its enclosed pores.

    Every component that percolates in some direction is kept, or the largest if none does. An
    array of fractions is cut at one half; a dropped piece takes its grey rim with it.

    Args:
        solid: True or the solid fraction (0 to 1) of each voxel, of dimension 2 or 3.
        periodic: for each axis whether its opposite faces are one; all of them by default.
        fill: fill the pores from which no powder gets out.

    Raises:
        ValueError: the array is no cell (see `require_cell`), or it has no solid.
    """
    fraction, wraps = require_cell(solid, periodic)
    kept, dropped = _without(fraction, fraction >= 0.5, wraps, islands)
    cleaned, pores = kept, 0
    if fill:
        void, pores = _without(1 - kept, kept < 0.5, wraps, enclosed)
        cleaned = 1 - void
    return Cleaned(
        cleaned >= 0.5 if solid.dtype == bool else cleaned,
        dropped,
        float(fraction.mean() - kept.mean()),
        pores,
        float(cleaned.mean() - kept.mean()),
    )


def require_cell(
    solid: NDArray[np.bool_] | NDArray[np.floating], periodic: Sequence[bool] | None
) -> tuple[NDArray[np.float64], tuple[bool, ...]]:
    """The solid fraction and the periodic axes of a voxel cell, checked.

    Raises:
        ValueError: the array is neither of two nor of three dimensions, a value is no fraction,
            `periodic` has another length, or the cell has no solid.
    """
    fraction = np.asarray(solid, dtype=np.float64)
    if fraction.ndim not in (2, 3):
        raise ValueError(f"solid has {fraction.ndim} dimensions. Give an array of two or three.")
    wraps = (True,) * fraction.ndim if periodic is None else tuple(map(bool, periodic))
    if len(wraps) != fraction.ndim:
        raise ValueError(
            f"periodic = {wraps} names {len(wraps)} axes and solid has {fraction.ndim}. "
            "Give one True or False for each axis."
        )
    if not (fraction.size and fraction.min() >= 0 and fraction.max() <= 1):
        raise ValueError(
            "solid holds values that are no fractions. Give booleans, or the share of solid in "
            "each voxel, between 0 and 1."
        )
    if not (fraction >= 0.5).any():
        raise ValueError(
            f"The cell has no solid: the largest fraction of a voxel is {fraction.max():g}. "
            "Give an array in which some voxel is at least half full."
        )
    return fraction, wraps


def _seams(pieces: NDArray[np.intp], periodic: Sequence[bool], corners: bool) -> NDArray[np.intp]:
    """Pairs of pieces that meet across periodic faces: rows (a, b, w), b displaced by w periods."""
    rows = [np.empty((0, 2 + pieces.ndim), dtype=np.intp)]
    for axis in np.flatnonzero(periodic):
        for step in product((-1, 0, 1) if corners else (0,), repeat=pieces.ndim - 1):
            rows.append(_seam(pieces, periodic, int(axis), step))
    return np.unique(np.concatenate(rows), axis=0)


def _seam(
    pieces: NDArray[np.intp], periodic: Sequence[bool], axis: int, step: tuple[int, ...]
) -> NDArray[np.intp]:
    """Pairs across one face, from the last layer to the first one, shifted in-plane by `step`."""
    last, first = np.moveaxis(pieces, axis, 0)[[-1, 0]]
    moved = np.indices(first.shape) + np.reshape(step, (-1, *(1,) * first.ndim))
    size = np.reshape(first.shape, (-1, *(1,) * first.ndim))
    other = first[tuple(moved % size)]
    planes = list(moved // size)
    planes.insert(axis, np.ones_like(first))
    meet = (last > 0) & (other > 0)
    for turn, wraps in zip(planes, periodic, strict=True):
        meet &= (turn == 0) | wraps
    return np.unique(np.stack([a[meet] for a in (last, other, *planes)], axis=1), axis=0)


def _union(
    count: int, seams: NDArray[np.intp]
) -> tuple[NDArray[np.intp], list[tuple[int, NDArray[np.intp]]]]:
    """Join pieces 1 … count over the seams: the root of each, and (piece, w) of each loop."""
    parent = np.arange(count + 1)
    offset = np.zeros((count + 1, seams.shape[1] - 2), dtype=np.intp)
    loops = []

    def find(piece: int) -> int:
        path = []
        while parent[piece] != piece:
            path.append(piece)
            piece = parent[piece]
        for below in reversed(path[:-1]):
            offset[below] += offset[parent[below]]
            parent[below] = piece
        return piece

    for a, b, *turn in seams:
        root, other = find(a), find(b)
        gap = offset[a] + turn - offset[b]
        if root != other:
            parent[other], offset[other] = root, gap
        elif gap.any():
            loops.append((root, gap))
    return np.array([find(piece) for piece in range(count + 1)], dtype=np.intp), loops


def _touching(layer: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Which of the components 1 … count occur in a layer of voxels."""
    return np.isin(np.arange(1, count + 1), layer)


def _without(
    fraction: NDArray[np.float64],
    body: NDArray[np.bool_],
    periodic: Sequence[bool],
    loose: Callable[[Components], NDArray[np.bool_]],
) -> tuple[NDArray[np.float64], int]:
    """Empty the loose components of a body, with the grey rim around them, and count them."""
    found = components(body, periodic=periodic)
    gone = np.concatenate([[False], loose(found)])
    dropped = gone[found.labels]
    rim = _grown(dropped, periodic) & ~_grown(body & ~dropped, periodic) & ~body
    return np.where(dropped | rim, 0.0, fraction), int(gone.sum())


def _grown(mask: NDArray[np.bool_], periodic: Sequence[bool]) -> NDArray[np.bool_]:
    """The mask and all voxels that touch it."""
    mode = ["wrap" if wraps else "nearest" for wraps in periodic]
    return ndimage.maximum_filter(mask, size=3, mode=mode)
