"""The proximal femur: shaft, neck, head and trochanters, and the shell of cortical bone.

The bone is a tube whose ellipses follow a curve, straight up the shaft and then bent into the neck,

    c(t) = (1 − t)² p + t² q     p on the axis of the shaft, q on that of the neck, 0 ≤ t ≤ 1

fused with a sphere for the head and an ellipsoid for each trochanter. The marrow cavity with the
cancellous bone is the same body, thinner by the cortex: 6.5 mm in the shaft, 2 mm between the
trochanters and 1.6 mm at the head. The origin is where the axes of shaft and neck cross; x points
medially, y forwards, z upwards, in a left femur; a right one is its mirror image.

Sizes: neck and shaft at 129° (mean of 375 femora: Toogood, Skalak & Cooperman 2009,
doi:10.1007/s11999-008-0473-3); offset of the head 43 mm, its diameter 46 mm, extracortical width of
the shaft 27 mm (Noble et al. 1988, Clin. Orthop. 235, 148–165); the cavity, 14 mm wide, stands for
an isthmus of 12 to 16 mm. Antetorsion and the bow of the shaft are left out. Half-axes between the
shaft and the head are typical proportions of radiographs, scaled with the head; no one measured
them for this model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin
from typing import NamedTuple

import gmsh
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

__all__ = ["Femur", "loft"]

type Vector = NDArray[np.float64]

FLARE = 70.0  # the shaft widens from this depth under the origin, at a head of 46 mm
BEND = 45.0  # the tube bends from here
HEAD = 46.0  # the head that the tables are for [mm]
CAP = radians(45)  # half-angle of the head's cap
HIP = np.array([sin(radians(15)), 0, cos(radians(15))])  # from the head's centre to the cap's
SECTIONS = 10
# place on the tube, half-axes in the frontal plane and across it, cortex [mm]
TUBE = np.array(
    [
        (-70, 13.5, 13.5, 6.5),
        (-58, 13.6, 13.55, 6.2),
        (-45, 14.2, 14.0, 5.2),
        (-30, 16.2, 15.3, 3.9),
        (-15, 19.3, 17.0, 2.8),
        (-2, 21.8, 17.8, 2.2),
        (10, 21.0, 16.8, 2.0),
        (22, 18.8, 14.8, 1.8),
        (33, 16.5, 13.0, 1.7),
        (43, 15.3, 12.3, 1.6),
    ]
)


class Femur(NamedTuple):
    """Dimensions of a proximal femur, and its solids.

    Attributes:
        head_diameter: of the head.
        offset: of the head's centre from the axis of the shaft.
        neck_angle: between the axes of neck and shaft, in degrees.
        shaft_diameter: outer, below the metaphysis.
        canal_diameter: of the marrow cavity there.
        shaft_length: from the origin down to the distal end.
    """

    head_diameter: float
    offset: float
    neck_angle: float
    shaft_diameter: float
    canal_diameter: float
    shaft_length: float

    @property
    def scale(self) -> float:
        """Of the proximal part, to that of a head of 46 mm."""
        return self.head_diameter / HEAD

    @property
    def neck(self) -> Vector:
        """Unit vector along the neck, towards the head, (3,)."""
        lean = np.radians(180 - self.neck_angle)
        return np.array([np.sin(lean), 0, np.cos(lean)])

    @property
    def head(self) -> Vector:
        """Centre of the head, (3,)."""
        return self.offset / self.neck[0] * self.neck

    def outer(self) -> int:
        """The whole bone, a volume of the OpenCASCADE kernel."""
        k = self.scale
        lesser = _ellipsoid((11 * k, -10 * k, -22 * k), (7 * k, 7 * k, 12 * k), lean=25)
        return self._fused(0.0, [(3, lesser)])

    def inner(self) -> int:
        """What the cortical shell encloses, likewise."""
        return self._fused(1.0, [])

    def insertion(self) -> int:
        """A cylinder whose part of the surface is where the abductors insert, likewise."""
        k, out = self.scale, np.array([-0.93, 0, 0.37])
        start = np.array([-25.0, -2, 17.5]) * k - 11 * k * out
        return int(gmsh.model.occ.addCylinder(*start, *(18 * k * out), 9 * k))

    def rim(self, radius: float) -> int:
        """A disc that cuts the cap off a sphere of a radius about the head's centre, a surface."""
        centre, wide = self.head + radius * cos(CAP) * HIP, 1.1 * radius * sin(CAP)
        return int(gmsh.model.occ.addDisk(*centre, wide, wide, zAxis=list(HIP)))

    def under_cap(self, point: Vector, radius: float) -> bool:
        """Whether a point (3,) lies in what is cut off."""
        x = point - self.head
        return bool(np.linalg.norm(x) < radius and x @ HIP > radius * cos(CAP))

    def _fused(self, depth: float, more: Sequence[tuple[int, int]]) -> int:
        """The body under `depth` of the cortex, with more solids."""
        occ, k = gmsh.model.occ, self.scale
        radius = self.shaft_diameter / 2
        radius -= depth * (radius - self.canal_diameter / 2)
        flare = FLARE * k
        shaft = occ.addCylinder(0, 0, -self.shaft_length, 0, 0, self.shaft_length - flare, radius)
        head = occ.addSphere(*self.head, self.head_diameter / 2 - 1.6 * k * depth)
        axes = np.array([13.0, 18, 31]) * k - 2.0 * k * depth
        greater = _ellipsoid((-11.5 * k, -2 * k, 4 * k), axes, lean=-9)
        tools = [(3, shaft), (3, head), (3, greater), *more]
        ((_, tag),), _ = occ.fuse([(3, self._tube(depth))], tools)
        return int(tag)

    def _tube(self, depth: float) -> int:
        """The loft from the upper end of the shaft into the head."""
        k = self.scale
        start = np.array([0, 0, -BEND * k])
        end = self.head - 12.3 * k * self.neck
        t = np.linspace(0, 1, 401)[:, None]
        curve = (1 - t) ** 2 * start + t**2 * end
        arc = np.append(0, np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum())
        straight = (FLARE - BEND) * k
        table = PchipInterpolator(TUBE[:, 0], TUBE[:, 1:])
        sections = []
        for s in np.linspace(0, straight + arc[-1], SECTIONS):
            place = np.interp(s / (straight + arc[-1]), (0, 1), TUBE[[0, -1], 0])
            a, b, cortex = self._scaled(place, table(place))
            at = float(np.interp(s - straight, arc, t[:, 0]))
            centre = (1 - at) ** 2 * start + at**2 * end + (0, 0, min(s - straight, 0))
            normal = -(1 - at) * start + at * end
            sections.append((centre, a - depth * cortex, b - depth * cortex, normal))
        return loft(sections)

    def _scaled(self, place: float, row: Vector) -> Vector:
        """Half-axes and cortex: in proportion to the shaft at its end, to the head above."""
        outer = self.shaft_diameter / 2
        shaft = np.array([outer, outer, outer - self.canal_diameter / 2]) / TUBE[0, 1:]
        upper = np.clip((place - TUBE[0, 0]) / -TUBE[0, 0], 0, 1)
        upper *= upper * (3 - 2 * upper)
        return row * ((1 - upper) * shaft + upper * self.scale)


def loft(sections: Sequence[tuple[Vector, float, float, Vector]]) -> int:
    """A smooth solid through ellipses.

    Args:
        sections: centre (3,), half-axis in the x–z plane, half-axis along y, which is not larger,
            and normal (3,) of each.
    """
    occ = gmsh.model.occ
    wires = []
    for centre, a, b, normal in sections:
        across = np.cross((0, 1, 0), normal)
        ellipse = occ.addEllipse(*centre, a, b, zAxis=list(normal), xAxis=list(across))
        wires.append(occ.addWire([ellipse]))
    ((_, tag),) = occ.addThruSections(wires, makeSolid=True, maxDegree=3, continuity="C2")
    return int(tag)


def _ellipsoid(centre: Sequence[float], axes: Sequence[float] | Vector, *, lean: float) -> int:
    """An ellipsoid, its long axis turned about y by `lean` degrees."""
    occ = gmsh.model.occ
    tag = occ.addSphere(0, 0, 0, 1)
    occ.dilate([(3, tag)], 0, 0, 0, *axes)
    occ.rotate([(3, tag)], 0, 0, 0, 0, 1, 0, np.radians(lean))
    occ.translate([(3, tag)], *centre)
    return int(tag)
