"""A proximal femur with a cementless hip stem, and the same bone before the operation.

The neck is cut across its axis, and a collarless stem stands in the cancellous bone; an optional
porous coat covers its body from the cut down to a third of its length. `toolkit.geometry.femur` has
the bone, `toolkit.geometry.hip_stem` the stem.

Gruen's zones (Gruen, McNeice & Amstutz 1979, Clin. Orthop. 141, 17–27) are the bone about the stem
in the frontal plane: thirds of the length from the level of the cut to the tip, 1 to 3 laterally
from above, 5 to 7 medially from below, and 4 under the tip. They are cut into the intact bone as
well, without what the reamer takes away, so that both models have the same regions. The model runs
on one rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_positive, require_resolved, require_within
from toolkit.geometry.femur import Femur
from toolkit.geometry.hip_stem import HipStem, implanted
from toolkit.geometry.pieces import (
    boundary,
    carved,
    centres,
    drop,
    fragment,
    generate,
    interface,
    name,
    sheet,
)

__all__ = ["femur_with_stem"]

type Vector = NDArray[np.float64]
type Pieces = dict[str, set[int]]
type Places = Mapping[int, Vector]

TIP_ZONE = 20.0  # depth of zone 4 under the tip [mm]
MARROW = 50.0  # cancellous bone ends at this depth under the origin, at a head of 46 mm [mm]
NEAR = 6.0  # or at a level of the zones that is nearer than this [mm]
CLEARANCE = 2.0  # between the diameters of canal and tip [mm]
FLAT = 2.5  # longest edges beside a coat or a gap, to its thickness


def femur_with_stem(
    *,
    size: float,
    stem: bool = True,
    coat: float = 0.0,
    head_diameter: float = 46.0,
    offset: float = 43.0,
    neck_angle: float = 129.0,
    shaft_diameter: float = 27.0,
    canal_diameter: float = 14.0,
    shaft_length: float = 170.0,
    stem_length: float = 110.0,
    tip_diameter: float = 10.0,
    ball_diameter: float = 32.0,
) -> None:
    """Build and mesh the femur in the current gmsh model: tetrahedra, millimetres.

    The origin is where the axes of neck and shaft cross; x is medial, y anterior, z upwards.

    Physical names: volumes ``cortical``, ``cancellous`` and ``marrow``; ``gruen 1`` to ``gruen 7``,
    of cortical and cancellous bone; with the stem ``stem``, ``ball`` and, if there is one,
    ``coat``; without it ``resected`` and ``reamed``, what the operation would take away. Zones and
    what is taken away overlap the bone, ``neck`` is a part of the stem. Surfaces ``head``, the cap
    of head or ball within 45° of the hip's force; ``abductor``, a patch on the greater trochanter;
    ``distal``, the lower end; and with the stem ``interface``, between stem or coat and bone
    (without marrow).

    Args:
        size: edge length; layers that are thinner have one cell across. In a thin coat, and in a
            stem that fits closely, cells are smaller.
        stem: whether the bone has been operated on.
        coat: thickness of the porous coat; 0 is none.
        head_diameter: of the bone's head; the proximal femur and the stem's body scale with it.
        offset: of the head's centre from the axis of the shaft.
        neck_angle: between neck and shaft, in degrees.
        shaft_diameter: outer diameter of the shaft.
        canal_diameter: of the marrow cavity in the shaft.
        shaft_length: from the origin to the distal end.
        stem_length: from the level of the cut to the tip.
        tip_diameter: of the stem near its tip.
        ball_diameter: of the prosthetic head.

    Raises:
        ValueError: a dimension is not positive or out of proportion, the stem does not fit, or
            ``size`` puts fewer than two cells across the canal or the tip.
    """
    bone = Femur(head_diameter, offset, neck_angle, shaft_diameter, canal_diameter, shaft_length)
    implant = HipStem(bone, stem_length, tip_diameter, ball_diameter)
    _check(implant, size, coat)
    levels = _levels(implant)
    marrow = _marrow(bone, levels)
    solids = _operated(implant, coat and levels[0], coat) if stem else _intact(implant)
    radius = (ball_diameter if stem else head_diameter) / 2
    pieces = fragment(solids, _sheets(implant, {*levels, marrow}, radius))
    at = centres(set().union(*pieces.values()))
    parts = _bone(pieces, at, marrow)
    taken = {word: pieces["bone"] & pieces.get(word, set()) for word in ("resected", "reamed")}
    zones = _zones(parts, at, levels, without=taken["resected"] | taken["reamed"])
    neck = implanted(parts, pieces) if stem else set()
    drop(set(at) - set().union(*parts.values()))
    name(3, parts | zones | taken | {"neck": neck})
    name(2, _surfaces(parts, pieces["insertion"], at, bone, radius))
    gap = (canal_diameter - tip_diameter) / 2
    thin = [(gap, parts["stem"]), (coat, parts["coat"])] if stem else []
    generate(size, *((FLAT * thickness, pieces) for thickness, pieces in thin if pieces))


def _check(implant: HipStem, size: float, coat: float) -> None:
    bone, k, up = implant.bone, implant.bone.scale, implant.bone.scale * 60
    lengths = {**bone._asdict(), "stem_length": implant.length}
    lengths |= {"tip_diameter": implant.tip_diameter, "ball_diameter": implant.ball_diameter}
    require_positive(size=size, **lengths)
    require_within("neck_angle", bone.neck_angle, 118, 142, why="no femur has such a neck")
    limits = {
        "offset": (33 * k, 53 * k, "the head stands off the neck, at this diameter of the head"),
        "shaft_diameter": (22 * k, 33 * k, "the shaft does not suit the head"),
        "canal_diameter": (8, bone.shaft_diameter - 6, "the cortex is 3 mm thick at least"),
        "shaft_length": (100 * k, 400, "the shaft reaches from the metaphysis to the knee"),
    }
    for word, (low, high, why) in limits.items():
        require_within(word, getattr(bone, word), low, high, why=why)
    top, size_of_canal = float(implant.cut[2]), bone.canal_diameter - CLEARANCE
    fits = {
        "tip_diameter": (6, size_of_canal, "the tip stands free in the canal"),
        "ball_diameter": (22, 0.9 * bone.head_diameter, "the ball replaces the head"),
        "length": (top + up, top + bone.shaft_length - TIP_ZONE - 5, "zone 4 is in the shaft"),
    }
    for word, (low, high, why) in fits.items():
        given = "stem_length" if word == "length" else word
        require_within(given, getattr(implant, word), low, high, why=why)
    if coat:
        require_positive(coat=coat)
        require_within("coat", coat, 0.5, implant.tip_diameter / 4, why="a coat leaves a core")
    require_resolved(size, cells=2, canal=bone.canal_diameter, tip=implant.tip_diameter)


def _levels(implant: HipStem) -> list[float]:
    """Heights that part the zones: thirds, the tip, and the lower end of zone 4."""
    thirds = [float(implant.cut[2]) - implant.length * third / 3 for third in (1, 2, 3)]
    return [*thirds, implant.tip - TIP_ZONE]


def _marrow(bone: Femur, levels: Sequence[float]) -> float:
    """Where cancellous bone ends: at a level of the zones if one is near."""
    usual = -MARROW * bone.scale
    nearest = min(levels, key=lambda level: abs(level - usual))
    return nearest if abs(nearest - usual) < NEAR else usual


def _intact(implant: HipStem) -> dict[str, list[int]]:
    """The bone, and what the operation would take away."""
    bone, resected = implant.bone, implant.resected()
    return {
        "bone": [bone.outer()],
        "inside": [bone.inner()],
        "insertion": [bone.insertion()],
        "resected": [resected],
        "reamed": carved([implant.body()], [resected]),
    }


def _operated(implant: HipStem, coated: float, coat: float) -> dict[str, list[int]]:
    """The implant, and the bone that is left."""
    bone, body, neck, ball = implant.bone, implant.body(), implant.neck(), implant.ball()
    resected = implant.resected()
    solids = {
        "bone": carved([bone.outer()], [resected, body, neck, ball]),
        "inside": carved([bone.inner()], [resected, body, neck, ball]),
        "insertion": [bone.insertion()],
        "body": [body],
        "neck": [neck],
        "ball": [ball],
        "coat": [implant.coat(body, coated, coat)] if coat else [],
    }
    gmsh.model.occ.remove([(3, resected)], recursive=True)
    return solids


def _sheets(implant: HipStem, levels: set[float], radius: float) -> list[int]:
    """The levels, the plane between the zones' sides, and a disc under the cap of the head."""
    bone, w = implant.bone, 2 * implant.bone.head_diameter
    sheets = [sheet((-w, -w, z), (w, -w, z), (w, w, z), (-w, w, z)) for z in sorted(levels)]
    low, high = implant.tip, float(bone.head[2]) + w
    sheets.append(sheet((0, -w, low), (0, w, low), (0, w, high), (0, -w, high)))
    return [*sheets, bone.rim(radius)]


def _bone(pieces: Pieces, at: Places, marrow: float) -> Pieces:
    """The tissues."""
    deep = {tag for tag in pieces["inside"] if at[tag][2] < marrow}
    cortical = pieces["bone"] - pieces["inside"]
    return {"cortical": cortical, "cancellous": pieces["inside"] - deep, "marrow": deep}


def _zones(parts: Pieces, at: Places, levels: Sequence[float], *, without: set[int]) -> Pieces:
    """Gruen's zones of cortical and cancellous bone, without some pieces."""
    zones: Pieces = {f"gruen {number}": set() for number in range(1, 8)}
    for tag in (parts["cortical"] | parts["cancellous"]) - without:
        row = sum(at[tag][2] < level for level in levels)
        if row < 4:
            medial = row < 3 and at[tag][0] > 0
            zones[f"gruen {7 - row if medial else row + 1}"].add(tag)
    return zones


def _surfaces(parts: Pieces, patch: set[int], at: Places, bone: Femur, radius: float) -> Pieces:
    """Loads, support and interface, as surfaces."""
    kept = set().union(*parts.values())
    outside = boundary(kept)
    cap = {tag for tag in kept if bone.under_cap(at[tag], radius)}
    lowest = {
        face
        for face in outside
        if gmsh.model.occ.getCenterOfMass(2, face)[2] < 1e-6 - bone.shaft_length
    }
    surfaces = {"head": cap, "abductor": patch & kept}
    surfaces = {word: boundary(tags) & outside for word, tags in surfaces.items()}
    metal = parts.get("stem", set()) | parts.get("coat", set())
    contact = interface(metal, parts["cortical"] | parts["cancellous"])
    return surfaces | {"distal": lowest, "interface": contact}
