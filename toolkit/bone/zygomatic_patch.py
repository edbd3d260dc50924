"""A cheekbone, or any bone beside the mid-plane, as the other side has it.

The patch is the mirrored bone within a ball, further than a gap from the bone that is left. Its
shape and thickness are the other side's, unchanged: there is no surface around a cheekbone to which
it could be fitted, so it lies as far off as the head is asymmetric (`MirrorPlane.mismatch`), and
whether it can be put in along a straight way is left to the surgeon.
"""

import numpy as np

from toolkit.bone.defect import Box, bone_level, find_defect
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane, mirror_plane
from toolkit.bone.patch import Patch, intersection
from toolkit.errors import InputError

__all__ = ["zygomatic_patch"]

REACH = 5.0  # to which distances from bone are computed [mm]


def zygomatic_patch(
    mask: Mask,
    *,
    near: tuple[float, float, float],
    within: float = 40.0,
    gap: float = 0.5,
    plane: MirrorPlane | None = None,
    spacing: float = 0.5,
    least: float = 2.0,
) -> Patch:
    """The mirrored bone that fills the defect nearest to a point.

    Its surfaces are ``outer``, the mirrored bone's own, and ``rim``, which faces the bone.

    Args:
        mask: The skull, cleaned but with its cavities open.
        near: A point where bone is missing, mm.
        within: Radius about it, beyond which the patch is cut, mm.
        gap: Between patch and bone, mm.
        plane: The mid-sagittal plane; found by `mirror_plane` if not given.
        spacing: Of the grid on which the patch is drawn, mm.
        least: What is thinner is left out, mm.

    Raises:
        InputError: Lengths that are not positive, or nothing missing within the ball.
    """
    if not (min(within, spacing, least) > 0 and gap >= 0):
        raise InputError(
            f"zygomatic_patch: within = {within:g}, spacing = {spacing:g} and least = {least:g} mm "
            f"must be positive, and gap = {gap:g} mm not negative."
        )
    plane = plane or mirror_plane(mask)
    defect = find_defect(mask, plane, near=near, within=within)
    box = Box(defect.points, defect.outwards, margin=REACH, spacing=spacing)
    x, field = box.points, mask.signed()
    bone, mirrored = (
        bone_level(box.level(mask.image, field, points), spacing, REACH)
        for points in (x, plane.mirrored(x))
    )
    ball = within - np.linalg.norm(x - np.asarray(near), axis=1).reshape(box.shape)
    levels = {"outer": np.minimum(mirrored, ball), "rim": -bone - gap}
    body, parts = intersection(levels, box, f"patch of {mask.image.source}", least=least)
    return Patch(body, parts, plane, defect.outwards)
