"""A hip stem in the pot of ISO 7206-4, and the force of that test.

The stem of `toolkit.geometry.hip_stem` stands in a cylinder of cement whose axis is along the
force. The cement ends at a depth under the centre of the head, 80 mm in the standard for stems of
common length; what lies above is free. The model runs on one rank.
"""

from __future__ import annotations

from math import radians, sqrt, tan

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_positive, require_resolved, require_within
from toolkit.geometry.femur import Femur
from toolkit.geometry.hip_stem import HipStem, implanted
from toolkit.geometry.pieces import boundary, carved, centres, drop, fragment, generate, name

__all__ = ["iso_7206_4", "potted_stem"]

SHAFT = (27.0, 14.0, 170.0)  # of a femur, of which nothing is built [mm]
FLAT = 2.5  # longest edges beside a coat, to its thickness
MARGIN = 15.0  # cement beside and under the tip [mm]


def potted_stem(
    *,
    size: float,
    coat: float = 0.0,
    depth: float = 80.0,
    head_diameter: float = 46.0,
    offset: float = 43.0,
    neck_angle: float = 129.0,
    stem_length: float = 110.0,
    tip_diameter: float = 10.0,
    ball_diameter: float = 32.0,
) -> None:
    """Build and mesh stem and pot in the current gmsh model: tetrahedra, millimetres.

    The frame is that of `femur_with_stem`. Physical names: volumes ``stem``, ``ball``, ``cement``
    and, if there is one, ``coat``; ``neck``, a part of the stem. Surfaces ``head``, the cap of the
    ball, and ``pot``, the outside of the cement but for its upper face.

    Args:
        size: edge length.
        coat: thickness of the porous coat, as in `femur_with_stem`; 0 is none.
        depth: from the head's centre along the force to the cement.
        head_diameter: of the bone that the stem is for; its body scales with it.
        offset: of the head's centre from the axis of the stem.
        neck_angle: between neck and stem, in degrees.
        stem_length: from the level of the cut to the tip.
        tip_diameter: of the stem near its tip.
        ball_diameter: of the prosthetic head.

    Raises:
        ValueError: a dimension is not positive, the cement does not reach from under the ball to
            the tip, or ``size`` puts fewer than two cells across the tip.
    """
    bone = Femur(head_diameter, offset, neck_angle, *SHAFT)
    implant = HipStem(bone, stem_length, tip_diameter, ball_diameter)
    _check(implant, size, coat, depth)
    body, neck, ball = implant.body(), implant.neck(), implant.ball()
    solids = {
        "body": [body],
        "neck": [neck],
        "ball": [ball],
        "coat": [implant.coat(body, float(implant.cut[2]) - stem_length / 3, coat)] if coat else [],
        "cement": carved([_pot(implant, depth)], [body, neck, ball]),
    }
    pieces = fragment(solids, [bone.rim(ball_diameter / 2)])
    at = centres(set().union(*pieces.values()))
    parts = {"cement": pieces["cement"]}
    neck_pieces = implanted(parts, pieces)
    drop(set(at) - set().union(*parts.values()))
    name(3, parts | {"neck": neck_pieces})
    metal = set().union(*parts.values()) - parts["cement"]
    cap = {tag for tag in metal if bone.under_cap(at[tag], ball_diameter / 2)}
    down = np.array(iso_7206_4(1.0))
    outside = boundary(set().union(*parts.values()))
    pot = {
        face
        for face in boundary(parts["cement"]) & outside
        if (np.array(gmsh.model.occ.getCenterOfMass(2, face)) - bone.head) @ down > depth + 1e-6
    }
    name(2, {"head": boundary(cap) & outside, "pot": pot})
    generate(size, *((FLAT * coat, parts["coat"]) for _ in range(bool(coat))))


def iso_7206_4(force: float = 2300.0) -> tuple[float, float, float]:
    """The force on the head in the endurance test of ISO 7206-4, in the frame of the femur.

    The machine pulls vertically; the stem leans so that its axis shows 10° of adduction in the
    frontal and 9° of flexion in the sagittal view. Seen from the stem the force points down,
    laterally and backwards.

    Args:
        force: its magnitude, 2300 N at the upper peak of the test.

    Returns:
        Components along x (medial), y (anterior) and z (up), in the unit given.
    """
    x, y = tan(radians(10)), tan(radians(9))
    share = -force / sqrt(x**2 + y**2 + 1)
    return share * x, share * y, share


def _check(implant: HipStem, size: float, coat: float, depth: float) -> None:
    lengths = {"stem_length": implant.length, "tip_diameter": implant.tip_diameter}
    lengths |= {"ball_diameter": implant.ball_diameter, **implant.bone._asdict()}
    require_positive(size=size, depth=depth, **lengths)
    if coat:
        require_positive(coat=coat)
        require_within("coat", coat, 0.5, implant.tip_diameter / 4, why="a coat leaves a core")
    deepest = _below(implant, np.array([0, 0, implant.tip])) - implant.tip_diameter
    require_within("depth", depth, implant.ball_diameter, deepest, why="cement holds the tip alone")
    require_resolved(size, cells=2, tip=implant.tip_diameter)


def _below(implant: HipStem, point: NDArray[np.float64]) -> float:
    """How far a point (3,) lies along the force from the centre of the head."""
    return float((point - implant.bone.head) @ np.array(iso_7206_4(1.0)))


def _pot(implant: HipStem, depth: float) -> int:
    """A cylinder along the force, from where the stem's axis meets the level to under the tip."""
    down, tip = np.array(iso_7206_4(1.0)), np.array([0, 0, implant.tip])
    along = (depth - _below(implant, np.zeros(3))) / down[2]
    top = np.array([0, 0, along])
    height = (tip - top) @ down + MARGIN
    aside = float(np.linalg.norm(tip - top - (tip - top) @ down * down))
    radius = aside + implant.tip_diameter / 2 + MARGIN
    return int(gmsh.model.occ.addCylinder(*top, *(height * down), radius))
