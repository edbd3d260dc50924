"""A patch for a hole in the skull: the healthy side mirrored, fitted, shelled and freed of bone.

Seen along rays from the middle of the skull its outer surface is a height R(u, v), in mm over the
directions' map (equidistant from the direction of the defect). The patch's is

    R = R_mirrored + s,       s the thin-plate spline of R_bone − R_mirrored around the defect

so that it has the other side's shape and is flush with the bone at its rim: no head is symmetric
to a millimetre. The patch is what lies less than a thickness under R, further than a gap from the
bone, and not under any bone as seen from outside, so that it can be put in.

Source: Duchon 1977, doi:10.1007/BFb0086566 (thin-plate splines).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import interpolate, ndimage

from toolkit.bone.contour import contour
from toolkit.bone.defect import Box, Defect, bone_level, find_defect
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane, mirror_plane
from toolkit.bone.patch import Patch, intersection
from toolkit.errors import InputError

__all__ = ["cranial_patch"]

type Array = npt.NDArray[np.float64]
type Booleans = npt.NDArray[np.bool_]

RING = 15.0  # width of the bone around the defect that the patch is fitted to [mm]
EDGE = 5.0  # width of its part that must hold the patch [mm]
HELD = 0.7  # share of it that must be bone
DEEP = 4.0  # where the outer surface lies deeper than the mirrored one, bone is missing [mm]
MARGIN = 3.0  # beyond the defect, where its edge slopes [mm]
SMOOTH = 1.5  # standard deviation of the filter of R [mm]
OUTLINE = 2.0  # of that of the defect's outline, by which a lip is cut [mm]
RIM = 0.7  # of that of the rim, which the steps of voxels make rough [mm]
RIGID = 0.1  # of the spline: how little it follows single rays
RAYS = 400  # to which it is fitted at most


def cranial_patch(
    mask: Mask,
    *,
    thickness: float,
    gap: float = 0.5,
    lip: tuple[float, float] | None = None,
    plane: MirrorPlane | None = None,
    near: tuple[float, float, float] | None = None,
    spacing: float = 0.5,
) -> Patch:
    """A patch for the largest defect of a skull, or the one nearest to a point.

    Its surfaces are ``outer``, flush with the bone or raised over it, ``inner``, parallel to it,
    and ``rim``, which faces the bone.

    Args:
        mask: The skull, cleaned but with its cavities open.
        thickness: Below the level of the skull's outer surface, mm.
        gap: Between patch and bone, mm.
        lip: Width by which the patch overlaps the bone around the defect, and height by which it
            stands over the bone there, mm; flush if not given. The height is over a smooth surface:
            where bone is rough it takes some 3 mm.
        plane: The mid-sagittal plane; found by `mirror_plane` if not given.
        near: A point in or near the defect, mm.
        spacing: Of the grid on which the patch is drawn, mm.

    Raises:
        InputError: Lengths that are not positive or that the grid does not resolve, no defect, a
            defect with no bone around it or none on the other side, a lip that bone stands out
            through, and a patch without material.
    """
    width, rise = lip or (0.0, 0.0)
    if not (0 < 3 * spacing <= thickness and gap >= 0 and width >= 0 and rise >= 0):
        raise InputError(
            f"cranial_patch: gap = {gap:g} and lip = {lip} mm must not be negative, and thickness "
            f"= {thickness:g} mm at least three times the spacing = {spacing:g} mm."
        )
    if lip and not rise >= gap + 2 * spacing:
        raise InputError(
            f"cranial_patch: a lip that rises {rise:g} mm over the bone has no material over a gap "
            f"of {gap:g} mm. Give at least {gap + 2 * spacing:g} mm."
        )
    plane = plane or mirror_plane(mask)
    defect = find_defect(mask, plane, near=near)
    sky = _sky(mask, plane, defect)
    sky = sky._replace(height=_fitted(mask, sky))

    box = Box(defect.points, defect.outwards, margin=width + thickness, spacing=spacing)
    x = box.points - defect.middle
    at = sky.pixels(x)
    raw = (_at(sky.height, at) - np.linalg.norm(x, axis=1)).reshape(box.shape)
    slope = np.linalg.norm(np.gradient(raw, spacing), axis=0)
    depth = raw / np.maximum(slope, 0.5)

    outline = _signed(sky.missing) * sky.pixel
    if lip:
        outline = ndimage.gaussian_filter(outline, OUTLINE / sky.pixel)
    near_defect = _at(outline, at).reshape(box.shape) + MARGIN + width
    field = box.level(mask.image, mask.signed(), box.points)
    free = -bone_level(field, spacing, reach=gap + 3) - gap
    free = np.minimum.accumulate(free[:, :, ::-1], axis=2)[:, :, ::-1]
    smooth = ndimage.gaussian_filter(free, (RIM / spacing, RIM / spacing, 0), mode="nearest")
    levels = {
        "outer": np.minimum(depth + rise, near_defect),
        "inner": thickness - depth,
        "rim": np.minimum(smooth, free + gap / 4),
    }
    least = min(thickness, rise - gap if lip else thickness) / 2
    body, parts = intersection(levels, box, f"patch of {mask.image.source}", least=least)
    if lip and (holes := contour(body).holes):
        raise InputError(
            f"cranial_patch: bone of '{mask.image.source}' stands out through a lip of {width:g} "
            f"mm that rises {rise:g} mm, in {holes} places. Raise it, or give a narrower one."
        )
    return Patch(body, parts, plane, defect.outwards)


class _Sky(NamedTuple):
    """Maps over directions, (n, n), equidistant from the defect's.

    Attributes:
        axes: Two directions of the map and that of its middle, as columns.
        pixel: mm at the distance of the defect.
        reach: Distance of the defect from the middle, mm.
        bone, mirrored: Distance of the outer surface, mm; −inf where there is none.
        missing: Whether bone is missing.
        height: R.
    """

    axes: Array
    pixel: float
    reach: float
    bone: Array
    mirrored: Array
    missing: Booleans
    height: Array

    def pixels(self, x: Array) -> Array:
        """Where directions lie on the map, (n, 3) → (n, 2), not whole."""
        return _spread(x @ self.axes) * self.reach / self.pixel + (len(self.bone) - 1) / 2


def _spread(x: Array) -> Array:
    """Directions by two angles, the third axis in the middle: (n, 3) → (n, 2) radians."""
    across = np.hypot(x[:, 0], x[:, 1])
    factor = np.arctan2(across, x[:, 2]) / np.maximum(across, 1e-12)
    return x[:, :2] * factor[:, None]


def _at(values: Array, pixels: Array) -> Array:
    return ndimage.map_coordinates(values, pixels.T, order=1, mode="nearest")


def _signed(inside: Booleans) -> Array:
    """Distance from the edge of a plane region in pixels, positive inside."""
    out, inn = (ndimage.distance_transform_edt(part) for part in (~inside, inside))
    return np.asarray(np.where(inside, inn - 0.5, 0.5 - out))


def _sky(mask: Mask, plane: MirrorPlane, defect: Defect) -> _Sky:
    """Rays to the bone and to its mirror image, and where the first is missing."""
    image, field = mask.image, mask.signed()
    x = defect.points - defect.middle
    reach = float(np.linalg.norm(x, axis=1).mean())
    pixel = float(image.spacing.min())
    third = defect.outwards
    first = np.cross(third, np.eye(3)[np.argmin(np.abs(third))])
    first /= np.linalg.norm(first)
    axes = np.column_stack([first, np.cross(third, first), third])
    seen = _spread(x @ axes) * reach
    half = int((np.abs(seen).max() + RING + MARGIN) / pixel) + 2
    u, v = np.meshgrid(*[np.arange(-half, half + 1) * pixel / reach] * 2, indexing="ij")
    angle = np.maximum(np.hypot(u, v), 1e-12)
    rays = np.stack([np.sin(angle) * u / angle, np.sin(angle) * v / angle, np.cos(angle)], axis=-1)
    rays = rays.reshape(-1, 3) @ axes.T
    distances = np.linalg.norm(x, axis=1)
    radii = np.arange(distances.min() - 20, distances.max() + 15, 0.5)
    heights = []
    for mirror in (False, True):
        values = np.empty((len(rays), len(radii)))
        for column, radius in enumerate(radii):
            points = defect.middle + radius * rays
            at = image.indices(plane.mirrored(points) if mirror else points)
            values[:, column] = ndimage.map_coordinates(field, at.T, order=1, mode="nearest")
            values[image.beyond(at) > 0, column] = -1
        heights.append(_outermost(values, radii).reshape(u.shape))
    bone, mirrored = heights
    lacking = (mirrored > -np.inf) & ~(bone > mirrored - DEEP)
    labels, _ = ndimage.label(ndimage.binary_opening(lacking))
    own = np.round(seen / pixel).astype(int) + half
    votes = np.bincount(labels[tuple(own.T)], minlength=2)
    if not votes[1:].any():
        raise InputError(
            f"The defect of '{image.source}' cannot be seen from the middle of the skull. Give "
            "near= a point in another one."
        )
    gone = ndimage.binary_fill_holes(labels == 1 + np.argmax(votes[1:]))
    return _Sky(axes, pixel, reach, bone, mirrored, gone, bone)


def _outermost(values: Array, radii: Array) -> Array:
    """The largest radius at which a field along rays (n, radii) changes to negative; or −inf."""
    leaves = (values[:, :-1] > 0) & (values[:, 1:] <= 0)
    last = leaves.shape[1] - 1 - np.argmax(leaves[:, ::-1], axis=1)
    row = np.arange(len(values))
    a, b = values[row, last], values[row, last + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = radii[last] + (radii[1] - radii[0]) * a / (a - b)
    return np.where(leaves.any(axis=1), found, -np.inf)


def _fitted(mask: Mask, sky: _Sky) -> Array:
    """R: the mirrored surface, moved to the bone around the defect."""
    away = -_signed(sky.missing) * sky.pixel
    around = (away > 1) & (away < RING)
    both = around & np.isfinite(sky.bone) & np.isfinite(sky.mirrored)
    error = np.where(both, sky.bone, 0) - np.where(both, sky.mirrored, 0)
    ring = both & (np.abs(error) < DEEP)
    edge = (away > 1) & (away < EDGE)
    held = float((ring & edge).sum() / edge.sum())
    if held < HELD:
        raise InputError(
            f"Along the edge of the defect of '{mask.image.source}' only {held:.0%} of the bone is "
            "there and on the other side too: it lies at the end of the image, or crosses the "
            "mid-plane, where the mirror image has nothing to give. Give near= a point in another."
        )
    unknown = ~np.isfinite(sky.mirrored)
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    mirrored = sky.mirrored[tuple(nearest)]
    at = np.argwhere(ring)
    some = at[:: max(1, len(at) // RAYS)]
    spline = interpolate.RBFInterpolator(
        some, error[tuple(some.T)], kernel="thin_plate_spline", smoothing=RIGID * len(some)
    )
    every = np.indices(mirrored.shape).reshape(2, -1).T
    moved = mirrored + spline(every).reshape(mirrored.shape)
    return np.asarray(ndimage.gaussian_filter(moved, SMOOTH / sky.pixel, mode="nearest"))
