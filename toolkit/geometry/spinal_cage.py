"""A lumbar interbody cage for the anterior approach (ALIF): a D-shaped ring with a graft window.

    |x/a|ⁿ + |y/b|ⁿ = 1     n = 2.2 in the anterior half (y > 0), n = 4 in the posterior half
    outer contour a = L/2, b = W/2     window a = L/2 − t, b = W/2 − t
    footprint A = Σ over both halves of 2 (ab − (a−t)(b−t)) Γ(1 + 1/n)² / Γ(1 + 2/n)

Both contours are superellipses with a rounder front and a flatter back, so that the ring is smooth
and its area is known. The ring is a structured O-grid of quadrilaterals, four transfinite sectors
between the contours, and is extruded along z into hexahedra; the circumferential edge length is
``size`` in the middle of the wall, so it is longer on the outer contour and shorter at the window.

The outer size, 38.1 × 25.4 mm (1.5 × 1 in) and 9.9 mm high, is that of the published ALIF cage
with lattice windows among the sample files of the 3MF Consortium, "spinal implant.3mf"
(https://github.com/3MFConsortium/3mf-samples at 665e20d, object "ALIF": 38.100 × 25.400 × 9.917 mm
over its teeth). Its lordosis, teeth and screw holes are left out: head and base are plane and
parallel, as the blocks of an ASTM F2077 compression test meet them. The model runs on one rank.
"""

from __future__ import annotations

from math import gamma

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_below, require_positive, require_resolved

ANTERIOR, POSTERIOR = 2.2, 4.0
QUARTERS = (ANTERIOR, ANTERIOR, POSTERIOR, POSTERIOR)
SAMPLES = 49


def spinal_cage(
    *,
    size: float,
    length: float = 38.1,
    width: float = 25.4,
    height: float = 9.9,
    wall: float = 6.0,
) -> None:
    """Build and mesh the cage in the current gmsh model: hexahedra, millimetres.

    The cage is centred on the z axis and stands on z = 0; x runs from one side to the other, y from
    posterior to anterior. Physical names: volume ``cage``; surfaces ``head`` (z = height), ``base``
    (z = 0), ``window`` (facing the graft) and ``outside`` (the outer wall).

    Args:
        size: edge length.
        length: outer extent along x.
        width: outer extent along y.
        height: extent along z.
        wall: thickness of the ring where it crosses the axes; it is thicker at the corners.

    Raises:
        ValueError: a dimension is not positive, the wall leaves no window, or ``size`` puts fewer
            than two cells across the wall, the window or the height.
    """
    check_cage(size=size, length=length, width=width, height=height, wall=wall)
    a, b = length / 2, width / 2
    sectors = _ring(contour(a, b), contour(a - wall, b - wall), size=size, wall=wall)
    layers = [max(2, round(height / size))]
    solids = [
        gmsh.model.geo.extrude([(2, sector)], 0, 0, height, numElements=layers, recombine=True)
        for sector in sectors
    ]
    gmsh.model.geo.synchronize()
    _name(sectors, solids)
    gmsh.model.mesh.generate(3)


def footprint(*, length: float = 38.1, width: float = 25.4, wall: float = 6.0) -> float:
    """Exact area of the head, or of the base, of `spinal_cage` in the unit given, squared."""
    a, b = length / 2, width / 2
    ring = a * b - (a - wall) * (b - wall)
    return sum(2 * ring * gamma(1 + 1 / n) ** 2 / gamma(1 + 2 / n) for n in (ANTERIOR, POSTERIOR))


def check_cage(*, size: float, length: float, width: float, height: float, wall: float) -> None:
    """Refuse the dimensions that `spinal_cage` refuses."""
    require_positive(size=size, length=length, width=width, height=height, wall=wall)
    require_below("wall", wall, min(length, width) / 2, why="no graft window is left")
    window = min(length, width) - 2 * wall
    require_resolved(size, cells=2, wall=wall, height=height, window=window)


def contour(a: float, b: float) -> NDArray[np.float64]:
    """Points of the quarters of a contour, anticlockwise from (a, 0): shape (4, SAMPLES, 2)."""
    quarters = np.empty((4, SAMPLES, 2))
    for i, n in enumerate(QUARTERS):
        angle = (i + np.linspace(0, 1, SAMPLES)) * np.pi / 2
        direction = np.column_stack((np.cos(angle), np.sin(angle)))
        radius = np.sum(np.abs(direction / (a, b)) ** n, axis=1) ** (-1 / n)
        quarters[i] = direction * radius[:, None]
    return quarters


def _ring(
    outer: NDArray[np.float64], inner: NDArray[np.float64], *, size: float, wall: float
) -> list[int]:
    """Mesh rules for the O-grid between two contours; the tags of its sectors, anticlockwise."""
    geo = gmsh.model.geo
    outside, outer_corners = _splines(outer)
    window, inner_corners = _splines(inner)
    spokes = [geo.addLine(*ends) for ends in zip(outer_corners, inner_corners, strict=True)]
    for spoke in spokes:
        geo.mesh.setTransfiniteCurve(spoke, max(2, round(wall / size)) + 1)
    sectors = []
    for i in range(4):
        cells = max(2, round((_arc(outer[i]) + _arc(inner[i])) / (2 * size)))
        for curve in (outside[i], window[i]):
            geo.mesh.setTransfiniteCurve(curve, cells + 1)
        loop = geo.addCurveLoop([outside[i], spokes[(i + 1) % 4], -window[i], -spokes[i]])
        sectors.append(geo.addPlaneSurface([loop]))
        geo.mesh.setTransfiniteSurface(sectors[-1])
        geo.mesh.setRecombine(2, sectors[-1])
    return sectors


def _splines(quarters: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """One spline a quarter, and the point that each starts at."""
    geo = gmsh.model.geo
    points = [[geo.addPoint(x, y, 0) for x, y in quarter[:-1]] for quarter in quarters]
    starts = [quarter[0] for quarter in points]
    ends = starts[1:] + starts[:1]
    return [geo.addSpline([*p, end]) for p, end in zip(points, ends, strict=True)], starts


def _arc(points: NDArray[np.float64]) -> float:
    """Length of the polygon through points of shape (n, 2)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _name(sectors: list[int], solids: list[list[tuple[int, int]]]) -> None:
    """Physical names, from what each extrusion returns: head, volume, then the sides in order."""
    groups = {
        "base": sectors,
        "head": [solid[0][1] for solid in solids],
        "outside": [solid[2][1] for solid in solids],
        "window": [solid[4][1] for solid in solids],
    }
    for name, surfaces in groups.items():
        gmsh.model.addPhysicalGroup(2, surfaces, name=name)
    gmsh.model.addPhysicalGroup(3, [solid[1][1] for solid in solids], name="cage")
