"""A cheekbone, or any bone beside the mid-plane, as the other side has it.

    core     C = { x : mirrored bone within the region, further than a from the bone that is left }
    patch    P = { x : mirrored bone, further than a gap from bone, nearer than a to C }

No head is symmetric: beside every bone lie shells and slivers that the other side has and this one
has not, as thick as the sides differ. They are not missing, and none is further than that, a, from
bone; so the core has none of them, and of its pieces the one nearest to the point is taken. What is
thinner than can be made, thin walls of the orbit too, an opening takes off. Shape and thickness are
the other side's, unchanged: there is no surface around a cheekbone to which it could be fitted, so
it lies as far off as the head is asymmetric there. Whether it can be put in along a straight way is
left to the surgeon.
"""

import numpy as np
from scipy import ndimage

from toolkit.bone.defect import Box, bone_level, find_defect
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane, mirror_plane
from toolkit.bone.patch import Patch, intersection
from toolkit.errors import InputError

__all__ = ["zygomatic_patch"]

BEYOND = 2.0  # the asymmetry, to which distances from bone are computed [mm]


def zygomatic_patch(
    mask: Mask,
    *,
    near: tuple[float, float, float],
    within: float = 40.0,
    gap: float = 0.5,
    asymmetry: float = 3.0,
    plane: MirrorPlane | None = None,
    spacing: float = 0.5,
    least: float = 2.0,
) -> Patch:
    """The mirrored bone that fills the defect nearest to a point.

    Its surfaces are ``outer``, the mirrored bone's own, and ``rim``, which faces the bone.

    Args:
        mask: The skull, cleaned but with its cavities open.
        near: A point where bone is missing, mm.
        within: Radius about it, beyond which the patch is cut, mm; it may be larger than what is
            missing.
        gap: Between patch and bone, mm.
        asymmetry: By how much the sides may differ, a, mm; greater than the gap.
        plane: The mid-sagittal plane; found by `mirror_plane` if not given.
        spacing: Of the grid on which the patch is drawn, mm.
        least: What is thinner is left out, mm.

    Raises:
        InputError: Lengths that are not positive, nothing missing within the ball, or nothing
            further from bone than the sides may differ.
    """
    if not (min(within, spacing, least) > 0 and 0 <= gap < asymmetry):
        raise InputError(
            f"zygomatic_patch: within = {within:g}, spacing = {spacing:g} and least = {least:g} mm "
            f"must be positive, gap = {gap:g} mm not negative and asymmetry = {asymmetry:g} mm "
            "greater than it."
        )
    plane = plane or mirror_plane(mask)
    defect = find_defect(mask, plane, near=near, within=within, apart=asymmetry)
    reach = asymmetry + BEYOND
    box = Box(defect.points, defect.outwards, margin=reach, spacing=spacing)
    x, field = box.points, mask.signed()
    bone, mirrored = (
        bone_level(box.level(mask.image, field, points), spacing, reach)
        for points in (x, plane.mirrored(x))
    )
    away = np.linalg.norm(x - np.asarray(near), axis=1).reshape(box.shape)
    other = np.minimum(mirrored, within - away)
    pieces, count = ndimage.label((other > 0) & (bone < -asymmetry))
    if not count:
        raise InputError(
            f"'{mask.image.source}' has bone within asymmetry = {asymmetry:g} mm of all that its "
            f"other side has within {within:g} mm of {near}. Give a smaller one."
        )
    first = np.where(pieces > 0, away, np.inf).argmin()
    core = ndimage.distance_transform_edt(pieces != pieces.ravel()[first]) * spacing
    levels = {
        "outer": np.minimum(other, asymmetry + spacing - core),
        "rim": -bone - gap,
    }
    body, parts = intersection(levels, box, f"patch of {mask.image.source}", least=least)
    return Patch(body, parts, plane, defect.outwards)
