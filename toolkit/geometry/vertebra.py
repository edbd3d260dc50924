"""A lumbar vertebral body: a shell of cortical bone, endplates, cancellous bone.

The body is a loft through the contours of `toolkit.geometry.spinal_cage`, round in front and flat
behind, drawn in at the waist by w: at the height z of H each is smaller by 4 w z (H − z) / H² all
round. The endplates are plane; the hollow of endplates and of the back, and the posterior elements,
are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.spinal_cage import contour

__all__ = ["Vertebra", "wire"]

SECTIONS = 7


class Vertebra(NamedTuple):
    """Dimensions of a vertebral body, and its solids.

    Attributes:
        width: along x, at the endplates.
        depth: along y, at the endplates.
        height: along z.
        waist: what it is drawn in by at half its height, on each side.
        shell: thickness of the cortical shell.
        endplate: thickness of the endplates.
    """

    width: float
    depth: float
    height: float
    waist: float
    shell: float
    endplate: float

    def outer(self, bottom: float) -> int:
        """The whole body on z = bottom, a volume of the OpenCASCADE kernel."""
        return self._loft(bottom, 0.0, 0.0)

    def inner(self, bottom: float) -> int:
        """What shell and endplates enclose, likewise."""
        return self._loft(bottom, self.shell, self.endplate)

    def _loft(self, bottom: float, inset: float, cover: float) -> int:
        wires = []
        for z in np.linspace(cover, self.height - cover, SECTIONS):
            drawn = inset + 4 * self.waist * z * (self.height - z) / self.height**2
            rim = contour(self.width / 2 - drawn, self.depth / 2 - drawn)
            wires.append(wire(rim, bottom + z))
        made = gmsh.model.occ.addThruSections(wires, makeSolid=True, maxDegree=3, continuity="C2")
        ((_, tag),) = made
        return int(tag)


def wire(quarters: NDArray[np.float64], z: float) -> int:
    """A closed curve through the points of a contour, (4, n, 2), in a plane of the same kernel."""
    occ = gmsh.model.occ
    points = [[occ.addPoint(x, y, z) for x, y in quarter[:-1:4]] for quarter in quarters]
    starts = [quarter[0] for quarter in points]
    ends = starts[1:] + starts[:1]
    curves = [occ.addSpline([*p, end]) for p, end in zip(points, ends, strict=True)]
    return int(occ.addCurveLoop(curves))
