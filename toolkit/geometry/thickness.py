"""The spheres that fit in a phase of a periodic voxel cell, and those that pass through it.

The local thickness of Hildebrand and Rüegsegger at a point x of a phase Ω is the diameter of the
largest sphere that lies in Ω and contains x; the sphere that passes through Ω in a direction is the
widest whose centre can travel without end,

    τ(x) = 2 max { d(c) : |x − c| < d(c) },    p = 2 max over paths of min d(c),    d = dist(·, ∂Ω).

The distance is exact between voxels (`scipy.ndimage.distance_transform_edt` on a cell padded until
no sphere reaches beyond the padding). On the voxels of the distance ridge it is measured again to
the surface itself, the level one half of the solid fraction, after the centre has climbed to the
ridge between the voxels; so diameters are good to half a voxel, and plates of an odd and of an
even number of voxels alike. Spheres are painted largest first as circular convolutions in
Fourier space, whose cost depends on the voxels and the number of radii only.

References:
    Hildebrand & Rüegsegger 1997, doi:10.1046/j.1365-2818.1997.1340694.x (local thickness);
    Lorensen & Cline 1987, doi:10.1145/37402.37422 (contours of a voxel field).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from toolkit.geometry.connectivity import components

LEVELS = 64  # radii that the spheres of a phase are sorted into
SMOOTHING = 0.85  # of an array without fractions before it is contoured, in voxels


class Surface(NamedTuple):
    """The contour between the phases in one period: triangles in 3D, segments in 2D.

    Attributes:
        points: shape (m, d).
        area: its area (length in 2D).
    """

    points: NDArray[np.float64]
    area: float


class Radii(NamedTuple):
    """The spheres inscribed in either phase of a cell.

    Attributes:
        inner: radius of the sphere about each voxel's centre, or near it where the voxel is on
            the ridge; shape of the array.
        ridge: voxels whose spheres are in no neighbour's sphere.
    """

    inner: NDArray[np.float64]
    ridge: NDArray[np.bool_]


def surface(
    fraction: NDArray[np.float64], *, lengths: Sequence[float], periodic: Sequence[bool]
) -> Surface:
    """Contour the solid at one half of its fraction; end faces of the box are no surface.

    An array of zeros and ones is smoothed first, which takes the steps off inclined surfaces and
    leaves each voxel's centre in its phase.
    """
    import pyvista

    field = _smooth(fraction, periodic) if _sharp(fraction) else fraction
    axes = []
    for axis, (n, length, wraps) in enumerate(zip(field.shape, lengths, periodic, strict=True)):
        centres = (np.arange(n) + 0.5) * (length / n)
        ends = (centres[:0], centres[:1] + length) if wraps else ([0.0], [length])
        axes.append(np.concatenate([ends[0], centres, ends[1]]))
        pad = [(0, 0)] * field.ndim
        pad[axis] = (0, 1) if wraps else (1, 1)
        field = np.pad(field, pad, mode="wrap" if wraps else "edge")
    grid = pyvista.RectilinearGrid(*axes)
    contour = grid.contour(
        [0.5], field.ravel(order="F"), compute_normals=False, compute_scalars=False
    )
    points = np.asarray(contour.points, dtype=np.float64)
    if fraction.ndim == 2:
        corners = points[contour.lines.reshape(-1, 3)[:, 1:]]
        return Surface(points[:, :2], float(np.linalg.norm(np.ptp(corners, axis=1), axis=1).sum()))
    a, b, c = np.moveaxis(points[contour.faces.reshape(-1, 4)[:, 1:]], 1, 0)
    return Surface(points, float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2))


def inscribed(
    fraction: NDArray[np.float64],
    points: NDArray[np.float64],
    *,
    lengths: Sequence[float],
    periodic: Sequence[bool],
) -> Radii:
    """Measure the spheres about the voxels of both phases.

    Args:
        fraction: solid fraction of each voxel; both phases occur.
        points: points of the surface, shape (m, d).
        lengths: extent of the box along each axis.
        periodic: for each axis whether its opposite faces are one.
    """
    h = np.asarray(lengths) / fraction.shape
    body = fraction >= 0.5
    gap = _distance(body, h, periodic) + _distance(~body, h, periodic)
    ridge = np.zeros_like(body)
    for phase in (body, ~body):
        ridge |= _ridge(np.where(phase, gap, 0.0), h, periodic)
    inner = gap - h.max() / 2
    centres = (np.argwhere(ridge) + 0.5) * h
    climbed = _climb(centres, points, lengths, periodic, h.min())
    least = gap[ridge] - h.max() * (0.5 if _sharp(fraction) else 1.0)
    inner[ridge] = np.maximum(climbed, least)
    return Radii(np.maximum(inner, 0.0), ridge)


def local_thickness(
    phase: NDArray[np.bool_],
    radii: Radii,
    *,
    lengths: Sequence[float],
    periodic: Sequence[bool],
) -> NDArray[np.float64]:
    """Diameter of the largest sphere that contains each voxel of a phase; zero outside it."""
    h = np.asarray(lengths) / phase.shape
    centres = phase & radii.ridge
    result = np.zeros(phase.shape)
    open_ = phase.copy()
    for radius, level in _levels(np.where(centres, radii.inner, 0.0)):
        painted = open_ & _dilated(level, radius + h.min() / 3, h, periodic)
        result[painted] = 2 * radius
        open_ &= ~painted
        if not open_.any():
            break
    mode = ["wrap" if wraps else "nearest" for wraps in periodic]
    while (open_ := phase & (result == 0)).any():
        result[open_] = ndimage.maximum_filter(result, size=3, mode=mode)[open_]
    return result


def passing(
    phase: NDArray[np.bool_],
    inner: NDArray[np.float64],
    axis: int,
    *,
    periodic: Sequence[bool],
) -> float:
    """Diameter of the widest sphere that travels through a phase along an axis; 0 if none does."""

    def opens(radius: float) -> bool:
        core = phase & (inner >= radius)
        return bool(components(core, periodic=periodic, corners=True).percolates[:, axis].any())

    if not components(phase, periodic=periodic).percolates[:, axis].any():
        return 0.0
    values = np.unique(inner[phase])
    low, high = 0, values.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if opens(values[middle]) else (low, middle)
    return 2 * float(values[low])


def _sharp(fraction: NDArray[np.float64]) -> bool:
    """Whether every voxel is either full or empty."""
    return bool(((fraction == 0) | (fraction == 1)).all())


def _smooth(fraction: NDArray[np.float64], periodic: Sequence[bool]) -> NDArray[np.float64]:
    """A Gaussian average that keeps every voxel's centre on its side of one half."""
    mode = ["wrap" if wraps else "nearest" for wraps in periodic]
    smooth = ndimage.gaussian_filter(fraction, SMOOTHING, mode=mode, truncate=5)
    return np.where(fraction == 1, np.maximum(smooth, 0.55), np.minimum(smooth, 0.45))


def _distance(
    phase: NDArray[np.bool_], h: NDArray[np.float64], periodic: Sequence[bool]
) -> NDArray[np.float64]:
    """Distance from each voxel of the phase to the nearest centre outside it, over all images."""
    shape = np.array(phase.shape)
    pad = np.where(periodic, np.maximum(shape // 4, 1), 0)
    while True:
        padded = np.pad(phase, [(p, p) for p in pad], mode="wrap")
        inside = tuple(slice(p, p + n) for p, n in zip(pad, shape, strict=True))
        gap: NDArray[np.float64] = ndimage.distance_transform_edt(padded, sampling=h)[inside]
        short = (pad * h < gap.max()) & np.asarray(periodic) & (pad < shape)
        if not short.any():
            return gap
        pad = np.where(short, np.minimum(np.ceil(gap.max() / h).astype(int), shape), pad)


def _ridge(
    gap: NDArray[np.float64], h: NDArray[np.float64], periodic: Sequence[bool]
) -> NDArray[np.bool_]:
    """Voxels whose spheres are in no neighbour's, to within 0.3 of a voxel."""
    ridge = gap > 0
    for step in product((-1, 0, 1), repeat=gap.ndim):
        if any(step):
            reach = np.linalg.norm(step * h) - 0.3 * h.min()
            ridge &= _shifted(gap, step, periodic) < gap + reach
    return ridge


def _shifted(
    field: NDArray[np.float64], step: Sequence[int], periodic: Sequence[bool]
) -> NDArray[np.float64]:
    """The neighbours' values in a direction, 0 beyond an end face."""
    result = np.roll(field, [-s for s in step], axis=tuple(range(field.ndim)))
    for axis, s in enumerate(step):
        if s and not periodic[axis]:
            np.moveaxis(result, axis, 0)[-1 if s > 0 else 0] = 0
    return result


def _climb(
    centres: NDArray[np.float64],
    points: NDArray[np.float64],
    lengths: Sequence[float],
    periodic: Sequence[bool],
    h: float,
) -> NDArray[np.float64]:
    """Largest distance to the surface found within half a voxel of each centre.

    The centre takes a few steps, each away from its then nearest point and no longer than the
    radius, so that it stays in its phase; where two or three walls are equally near it pushes off
    from each in turn. What it meets farther off belongs to another voxel and is not taken.
    """
    box = np.where(periodic, lengths, 0.0)
    turn = np.where(box > 0, box, np.inf)
    tree = cKDTree(_wrapped(points, box), boxsize=box, leafsize=64)  # far cheaper than 16 here
    start = centres
    radius, nearest = tree.query(_wrapped(centres, box))
    best = radius
    for step in h / np.array([2, 2, 2, 4, 4, 8]):
        away = centres - tree.data[nearest]
        away -= box * np.round(away / turn)
        stride = np.minimum(step, radius) / np.maximum(radius, 1e-9 * h)
        centres = centres + stride[:, None] * away
        radius, nearest = tree.query(_wrapped(centres, box))
        near = (np.abs(centres - start) <= 0.51 * h).all(axis=1)
        best = np.where(near, np.maximum(best, radius), best)
    return best


def _wrapped(points: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points' images in the box along the axes where it has a length."""
    size = np.where(box > 0, box, 1.0)
    inside = points - np.where(box > 0, size * np.floor(points / size), 0.0)
    return np.where((box > 0) & (inside >= box), 0.0, inside)


def _levels(
    radii: NDArray[np.float64],
) -> list[tuple[float, NDArray[np.bool_]]]:
    """Spheres in at most `LEVELS` groups of like radius: (mean radius, centres), largest first."""
    given = radii[radii > 0]
    width = max((given.max() - given.min()) / LEVELS, 1e-3 * given.max()) if given.size else 1.0
    group = np.where(radii > 0, np.floor((radii.max() - radii) / width), -1).astype(int)
    levels = [group == g for g in np.unique(group[group >= 0])]
    return [(float(radii[level].mean()), level) for level in levels]


def _dilated(
    centres: NDArray[np.bool_],
    radius: float,
    h: NDArray[np.float64],
    periodic: Sequence[bool],
) -> NDArray[np.bool_]:
    """Voxels nearer than `radius` to a centre, by a convolution around the period."""
    reach = np.ceil(radius / h).astype(int)
    pad = [(0, 0 if wraps else r) for wraps, r in zip(periodic, reach, strict=True)]
    padded = np.pad(centres.astype(np.float32), pad)
    square = np.zeros(padded.shape, dtype=np.float32)
    for axis, (n, size) in enumerate(zip(padded.shape, h, strict=True)):
        offset = np.minimum(np.arange(n), n - np.arange(n)) * size
        square += (offset**2).reshape([-1 if a == axis else 1 for a in range(padded.ndim)])
    ball = (square < radius**2).astype(np.float32)
    touched = fft.irfftn(fft.rfftn(padded) * fft.rfftn(ball), padded.shape)
    return touched[tuple(slice(n) for n in centres.shape)] > 0.5
