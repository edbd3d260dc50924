"""The mid-sagittal plane of a head: the plane in which its bone comes nearest to its mirror image.

    min over n, d   Σ_p ψ( D(p − 2 (n·p − d) n) ),     |n| = 1,     ψ(D) = s² ln(1 + D²/s²)

over points p on the surface of the bone, D the distance from bone. The loss ψ of Cauchy grows so
slowly that what has no partner on the other side, a defect or a tilted neck, hardly counts; what is
mirrored out of the image does not. It begins with the plane x = constant through the centroid,
since x points to the patient's left, and runs twice, with s coarse and fine. It is the same on
every rank.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from toolkit.bone.mask import Mask
from toolkit.errors import InputError

__all__ = ["MirrorPlane", "mirror_plane"]

type Array = npt.NDArray[np.float64]

POINTS = 20_000  # on the surface, as many as are used
SCALES = (8.0, 1.5)  # s [mm]


class MirrorPlane(NamedTuple):
    """The plane n·x = d, and how well the two sides agree.

    Attributes:
        normal: Unit vector to the patient's left, (3,).
        offset: Distance d of the plane from the origin along it, mm.
        mismatch: Median distance of the mirrored surface from bone, mm.
    """

    normal: Array
    offset: float
    mismatch: float = 0.0

    def distance(self, points: npt.ArrayLike) -> Array:
        """Mm to the left of the plane, (n, 3) → (n,)."""
        return np.asarray(points, dtype=float) @ self.normal - self.offset

    def mirrored(self, points: npt.ArrayLike) -> Array:
        """Mirror images of points in millimetres, (n, 3) → (n, 3)."""
        return np.asarray(points, dtype=float) - 2 * self.distance(points)[:, None] * self.normal


def mirror_plane(mask: Mask) -> MirrorPlane:
    """The mid-sagittal plane of the bone in a mask.

    Args:
        mask: A head, its left towards x within some 20°, as in patient coordinates.

    Raises:
        InputError: A plane that ends up more than 45° from x = constant, as of no head.
    """
    image, inside = mask.image, mask.inside
    surface = np.argwhere(inside & ~ndimage.binary_erosion(inside, border_value=1))
    surface = surface[:: max(1, len(surface) // POINTS)]
    points = image.points(surface)
    middle = mask.centroid
    away = ndimage.distance_transform_edt(~inside, sampling=image.spacing).astype(np.float32)

    def plane(unknown: Array) -> MirrorPlane:
        normal = np.array([1.0, unknown[0], unknown[1]])
        normal /= np.linalg.norm(normal)
        return MirrorPlane(normal, float(middle @ normal + unknown[2]))

    def distances(unknown: Array) -> Array:
        at = image.indices(plane(unknown).mirrored(points))
        found = ndimage.map_coordinates(away, at.T, order=1, mode="nearest", output=np.float64)
        return np.where(image.beyond(at) > 0, 0.0, found)

    found = np.zeros(3)
    for scale in SCALES:
        found = optimize.least_squares(
            distances, found, loss="cauchy", f_scale=scale, x_scale=(0.1, 0.1, 5.0), diff_step=1e-3
        ).x
    best = plane(found)
    if best.normal[0] < np.sqrt(0.5):
        raise InputError(
            f"The mirror plane of '{image.source}' has the normal {best.normal.round(3).tolist()}, "
            "more than 45° from the patient's left (x). Turn the image, or give the plane."
        )
    return best._replace(mismatch=float(np.median(distances(found))))
