"""A cementless hip stem that fits a `Femur`: body, neck and ball, collarless.

The body's sections are ellipses: straight laterally, wider medially where the calcar opens, round
at the tip. The neck leaves the sloping upper face along the neck of the bone and carries a ball
about the centre of the bone's head, so that offset and leg length are kept. The proportions are
those of tapered stems in general, of no product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from toolkit.geometry.femur import Femur, loft
from toolkit.geometry.pieces import carved

__all__ = ["HipStem", "implanted"]

type Vector = NDArray[np.float64]

CUT = 20.0  # from the origin along the neck to the resection, at a head of 46 mm [mm]
PLATEAU = 3.0  # what the body stands out of the cut
SECTIONS = 8
# height, lateral edge, medial edge and half-depth of the body, at a head of 46 mm [mm]
BODY = np.array(
    [
        (-30, 6.0, 10.5, 6.0),
        (-18, 6.2, 15.0, 7.0),
        (-5, 6.2, 19.5, 7.4),
        (8, 6.2, 23.2, 7.8),
        (28, 6.2, 25.5, 8.0),
    ]
)


class HipStem(NamedTuple):
    """Dimensions of a stem, and its solids.

    Attributes:
        bone: where it stands.
        length: from the level of the cut, where that crosses the axis of the neck, to the tip.
        tip_diameter: near the tip.
        ball_diameter: of the ball.
    """

    bone: Femur
    length: float
    tip_diameter: float
    ball_diameter: float

    @property
    def cut(self) -> Vector:
        """The point of the neck's axis where it is cut across, (3,)."""
        return CUT * self.bone.scale * self.bone.neck

    @property
    def tip(self) -> float:
        """Height of the tip."""
        return float(self.cut[2] - self.length)

    def body(self) -> int:
        """The part on the axis of the shaft, up to the plateau; of the OpenCASCADE kernel."""
        occ, radius = gmsh.model.occ, self.tip_diameter / 2
        round_tip = occ.addSphere(0, 0, self.tip + radius, radius)
        shaft = self._loft(self.tip + radius, 0.0)
        ((_, tag),), _ = occ.fuse([(3, shaft)], [(3, round_tip)])
        (tag,) = self._without(int(tag), self._above(CUT * self.bone.scale + PLATEAU))
        return tag

    def coat(self, body: int, bottom: float, thickness: float) -> int:
        """The skin of a body from the height `bottom` up to the cut."""
        occ, far = gmsh.model.occ, 10 * self.bone.head_diameter
        ((_, skin),) = occ.copy([(3, body)])
        below = occ.addBox(-far, -far, bottom - far, 2 * far, 2 * far, far)
        core = self._loft(bottom, thickness)
        (tag,) = self._without(skin, below, core, self.resected())
        return tag

    def resected(self) -> int:
        """The half-space medially above the cut, as a large box, likewise."""
        slope = self.bone.neck[0] / self.bone.neck[2]
        return self._above(CUT * self.bone.scale, -CUT * self.bone.scale * slope)

    def neck(self) -> int:
        """A cone from the plateau to the centre of the ball."""
        k, n = self.bone.scale, self.bone.neck
        start = self.cut + PLATEAU * n
        width = min(5.8 * k, 0.4 * self.ball_diameter)
        return int(gmsh.model.occ.addCone(*start, *(self.bone.head - start), 6.4 * k, width))

    def ball(self) -> int:
        """The sphere about the centre of the bone's head."""
        return int(gmsh.model.occ.addSphere(*self.bone.head, self.ball_diameter / 2))

    def _loft(self, bottom: float, inset: float) -> int:
        """The body from `bottom` to its shoulder, thinner by `inset`."""
        sections = []
        for z in np.linspace(bottom, BODY[-1, 0] * self.bone.scale, SECTIONS):
            lateral, medial, depth = self._edges(z)
            centre = np.array([(medial - lateral) / 2, 0, z])
            wide = (medial + lateral) / 2 - inset
            sections.append((centre, wide, min(depth - inset, wide), np.array([0, 0, 1.0])))
        return loft(sections)

    def _edges(self, z: float) -> Vector:
        """Lateral edge, medial edge and half-depth at a height, as distances from the axis."""
        k, radius = self.bone.scale, self.tip_diameter / 2
        lower = [
            (self.tip + radius, *[radius] * 3),
            (-45 * k, radius + 0.8, radius + 2, radius + 0.6),
        ]
        table = np.vstack([lower, BODY * k])
        table[:, 1:] = np.maximum.accumulate(table[:, 1:])
        return PchipInterpolator(table[:, 0], table[:, 1:])(z)

    def _above(self, height: float, start: float | None = None) -> int:
        """A large box beyond a plane across the neck, from a place along that plane medially."""
        occ, far = gmsh.model.occ, 10 * self.bone.head_diameter
        low = -far if start is None else start
        box = occ.addBox(low, -far, height, far - low, 2 * far, far)
        occ.rotate([(3, box)], 0, 0, 0, 0, 1, 0, np.arcsin(self.bone.neck[0]))
        return int(box)

    def _without(self, solid: int, *tools: int) -> list[int]:
        """A solid without others, which go."""
        left = carved([solid], tools)
        gmsh.model.occ.remove([(3, tool) for tool in tools], recursive=True)
        return left


def implanted(parts: dict[str, set[int]], pieces: Mapping[str, set[int]]) -> set[int]:
    """Add the parts of an implant to those of a model, from its pieces; the neck's are returned."""
    parts["coat"] = pieces["coat"]
    parts["stem"] = (pieces["body"] | pieces["neck"]) - pieces["coat"]
    parts["ball"] = pieces["ball"] - parts["stem"]
    return pieces["neck"] - pieces["body"]
