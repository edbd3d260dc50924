"""A head whose answer is known, and a hole of known shape in any skull.

The synthetic head is the shell between two ellipsoids about one centre, in soft tissue, cut below
by the end of the image as a CT's field of view does. Its mirror plane is given, and a patch in it
has a closed form. A craniectomy takes the bone out of a cylinder, as a trephine does, so that what
was removed is what a patch should bring back.
"""

import numpy as np
import numpy.typing as npt

from toolkit.bone.image import Image
from toolkit.bone.mask import Mask
from toolkit.errors import InputError

__all__ = ["craniectomy", "synthetic_head"]

BONE, TISSUE = 1000.0, 40.0  # Hounsfield units


def synthetic_head(
    *,
    spacing: tuple[float, float, float] = (1.5, 1.5, 1.5),
    semi_axes: tuple[float, float, float] = (72.0, 90.0, 80.0),
    thickness: float = 7.0,
    tilt: tuple[float, float] = (0.0, 0.0),
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    base: float = 40.0,
) -> Image:
    """A CT of an ellipsoid's shell of bone of 1000 HU; at 520 HU lies its surface.

    A voxel that the surface cuts has a value between, by its share of bone.

    Args:
        spacing: Of the voxels, mm.
        semi_axes: Of the outer ellipsoid, to the left, back and head, mm.
        thickness: By which the inner ellipsoid's semi-axes are shorter, mm.
        tilt: Turn of the head about y and then z, degrees; its left is then
            (cos a cos b, cos a sin b, −sin a).
        centre: Of the ellipsoids, mm.
        base: Depth below the centre at which the image ends, mm.

    Raises:
        InputError: Lengths that are not positive, or a shell thicker than it is wide.
    """
    a = np.asarray(semi_axes, dtype=float)
    if not (min(spacing) > 0 and 0 < thickness < a.min() and 0 < base):
        raise InputError(
            f"synthetic_head: spacing {spacing} and base = {base:g} must be positive, and "
            f"thickness = {thickness:g} between 0 and the least of the semi-axes {semi_axes}."
        )
    about_y, about_z = np.radians(tilt)
    c, s = np.cos(about_y), np.sin(about_y)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(about_z), np.sin(about_z)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ turn
    h, reach = np.asarray(spacing, dtype=float), a.max() + 10
    low = np.asarray(centre) - np.array([reach, reach, base])
    count = np.ceil((np.asarray(centre) + reach - low) / h).astype(int)
    image = Image.of(np.zeros(count), spacing, origin=tuple(low), source="synthetic head")
    x = (image.points(np.indices(count).reshape(3, -1).T) - np.asarray(centre)) @ turn
    depth = np.minimum(_inside(x, a), -_inside(x, a - thickness))
    share = np.clip(0.5 + depth / h.mean(), 0, 1)
    values = (TISSUE + (BONE - TISSUE) * share).reshape(count).astype(np.float32)
    return Image(values, image.affine, image.source)


def _inside(x: npt.NDArray[np.float64], a: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance below an ellipsoid's surface, to first order, (n, 3) → (n,)."""
    level = np.linalg.norm(x / a, axis=1)
    slope = np.linalg.norm(x / a**2, axis=1) / np.maximum(level, 1e-9)
    return (1 - level) / np.maximum(slope, 1e-9)


def craniectomy(mask: Mask, at: tuple[float, float, float], diameter: float) -> Mask:
    """The skull without the bone in a cylinder.

    Its axis goes from the centroid of the bone through a point, and it begins half way there.

    Args:
        mask: The skull.
        at: A point on or near the bone to be taken out, mm.
        diameter: Of the hole, mm.

    Raises:
        InputError: A diameter that is not positive, or a cylinder that meets no bone.
    """
    image = mask.image
    axis = np.asarray(at, dtype=float) - (centre := mask.centroid)
    reach = float(np.linalg.norm(axis))
    x = image.points(np.indices(image.shape).reshape(3, -1).T) - centre
    along = x @ (axis / reach)
    from_axis = np.sqrt(np.maximum(np.sum(x * x, axis=1) - along**2, 0))
    kept = np.maximum(from_axis - diameter / 2, reach / 2 - along).reshape(image.shape)
    if not diameter > 0 or not (mask.inside & (kept < 0)).any():
        raise InputError(
            f"craniectomy: a hole of diameter = {diameter:g} mm at {tuple(at)} meets no bone of "
            f"'{image.source}'."
        )
    field = np.minimum(mask.signed(), kept * float(np.ptp(image.values) / image.spacing.mean()))
    note = f"craniectomy of {diameter:g} mm at {tuple(float(v) for v in at)} mm"
    cut = Image(field, image.affine, image.source, (*image.notes, note))
    return Mask(cut, mask.inside & (kept > 0), 0.0, (*mask.notes, note))
