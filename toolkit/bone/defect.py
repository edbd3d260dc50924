"""What a bone lacks that its other side has, and the grid on which an implant for it is drawn.

The defect is the largest body of { mirrored bone } − { bone } that an opening leaves, as no
head is symmetric and thin shells of disagreement lie everywhere. The grid is a box around it with
one spacing, whose third axis points outwards.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial

from toolkit.bone.image import Image
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane
from toolkit.errors import InputError

__all__ = ["Box", "Defect", "bone_level", "find_defect"]

type Array = npt.NDArray[np.float64]

LEAST = 1.5  # radius of the opening [mm]


class Defect(NamedTuple):
    """Where bone is missing.

    Attributes:
        points: Centres of the voxels, mm, (n, 3).
        volume: mm³.
        middle: Of the whole bone, mm, (3,).
        outwards: Unit vector from there to the defect's centroid, (3,).
    """

    points: Array
    volume: float
    middle: Array
    outwards: Array


def find_defect(
    mask: Mask,
    plane: MirrorPlane,
    *,
    near: tuple[float, float, float] | None = None,
    within: float = np.inf,
    apart: float = 0.0,
) -> Defect:
    """The largest defect, or the one nearest to a point.

    Args:
        mask: The bone.
        plane: Its mirror plane.
        near: Point in mm; of a defect's voxels those within a distance of it count.
        within: That distance, mm.
        apart: If given, a defect is what lies further than this from bone, mm, and what lies
            nearer than this to that; not what the opening leaves.

    Raises:
        InputError: Nothing is missing.
    """
    image, field = mask.image, mask.signed()
    voxels = image.points(np.indices(image.shape).reshape(3, -1).T)
    mirrored = image.indices(plane.mirrored(voxels))
    partner = ndimage.map_coordinates(field, mirrored.T, order=1, mode="nearest") > 0
    partner &= image.beyond(mirrored) <= 0
    lacking = partner.reshape(image.shape) & ~mask.inside
    if near is not None and np.isfinite(within):
        close = np.linalg.norm(voxels - np.asarray(near), axis=1) <= within
        lacking &= close.reshape(image.shape)
    if apart:
        away = ndimage.distance_transform_edt(~mask.inside, sampling=image.spacing)
        deep = lacking & (away > apart)
    else:
        away = ndimage.distance_transform_edt(np.pad(lacking, 1), sampling=image.spacing)
        deep = away[1:-1, 1:-1, 1:-1] > LEAST
    labels, count = ndimage.label(deep)
    if not count:
        what = f"further than {apart:g} mm from bone" if apart else f"thicker than {2 * LEAST:g} mm"
        raise InputError(
            f"'{image.source}' lacks nothing {what}"
            + (f" within {within:g} mm of {near}" if np.isfinite(within) else "")
            + " that its other side has. Give near= a point in the defect, the plane, or another "
            "threshold of the mask."
        )
    chosen = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    if near is not None:
        at = np.flatnonzero(labels)
        nearest = np.linalg.norm(voxels[at] - np.asarray(near), axis=1).argmin()
        chosen = int(labels.ravel()[at[nearest]])
    away = ndimage.distance_transform_edt(labels != chosen, sampling=image.spacing)
    whole = lacking & (away <= (apart or LEAST) + image.spacing.max())
    points = image.points(np.argwhere(whole))
    outwards = points.mean(axis=0) - (middle := mask.centroid)
    return Defect(
        points, len(points) * image.voxel_volume, middle, outwards / np.linalg.norm(outwards)
    )


class Box:
    """A grid of one spacing around points, its third axis along a direction.

    Attributes:
        affine: From indices to millimetres, (3, 4), right-handed.
        shape: Points along the three axes.
        spacing: mm.
    """

    def __init__(self, points: Array, outwards: Array, *, margin: float, spacing: float) -> None:
        """Make the grid that holds some points, with a margin in mm."""
        first = np.cross(outwards, np.eye(3)[np.argmin(np.abs(outwards))])
        first /= np.linalg.norm(first)
        axes = np.column_stack([first, np.cross(outwards, first), outwards])
        along = points @ axes
        low, high = along.min(axis=0) - margin, along.max(axis=0) + margin
        self.spacing = spacing
        self.shape = tuple(int(n) for n in np.ceil((high - low) / spacing) + 1)
        self.affine = np.column_stack([axes * spacing, axes @ low])

    @cached_property
    def points(self) -> Array:
        """mm, (points, 3), the last index fastest."""
        return np.indices(self.shape).reshape(3, -1).T @ self.affine[:, :3].T + self.affine[:, 3]

    def image(self, values: Array, source: str) -> Image:
        """Values of the points as an image, (points,) or the shape."""
        return Image(values.reshape(self.shape).astype(np.float32), self.affine, source)

    def level(self, image: Image, values: npt.NDArray[np.float32], at: Array) -> Array:
        """A field of an image's voxels at points in mm, trilinear, in the shape of the grid."""
        indices = image.indices(at).T
        return ndimage.map_coordinates(
            values, indices, order=1, mode="nearest", output=np.float64
        ).reshape(self.shape)


def bone_level(field: Array, spacing: float, reach: float) -> Array:
    """Distance from the zero of a field on a grid, mm, with the field's sign, at most `reach`.

    The zeros on the edges of the grid, where the field changes its sign, stand for the surface.
    """
    zeros, far = [], np.ones(field.shape, dtype=bool)
    for axis in range(3):
        a, b = (np.moveaxis(field, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        at = np.argwhere(change := (a > 0) != (b > 0))
        np.moveaxis(far, axis, 0)[:-1][change] = False
        low, high = a[tuple(at.T)], b[tuple(at.T)]
        place = at.astype(float)
        place[:, 0] += low / (low - high)
        zeros.append(np.insert(place[:, 1:], axis, place[:, 0], axis=1))
    every = np.concatenate(zeros)
    if not len(every):
        return np.where(field > 0, reach, -reach)
    close = ndimage.distance_transform_edt(far) <= reach / spacing + 1
    found, _ = spatial.cKDTree(every).query(np.argwhere(close))
    away = np.full(field.shape, reach)
    away[close] = np.minimum(found * spacing, reach)
    return np.where(field > 0, away, -away)
