"""A quarter of a plate with a circular hole in the middle: the plane problem of Kirsch.

    Ω = (0, L) × (0, W) without the disc of radius R about the origin

For W, L → ∞ and a tension σ along x the stress at the hole is σ (1 − 2 cos 2θ), three times σ at
the top of the hole (Timoshenko & Goodier, Theory of Elasticity, §35). Triangles are four times
finer on the hole than at the outer corners. The model runs on one rank.
"""

from __future__ import annotations

from itertools import pairwise

import gmsh

from toolkit.geometry.dimensions import require_below, require_positive, require_resolved


def plate_with_hole(
    *, size: float, length: float = 50.0, width: float = 50.0, radius: float = 5.0
) -> None:
    """Build and mesh the quarter plate in the current gmsh model: triangles, millimetres.

    Physical names: surface ``plate``; curves ``left`` (x = 0) and ``bottom`` (y = 0), the planes of
    symmetry, ``right`` (x = length), ``top`` (y = width) and ``hole``.

    Args:
        size: edge length at the outer corners.
        length: half of the plate's extent along x.
        width: half of the plate's extent along y.
        radius: radius of the hole.

    Raises:
        ValueError: a dimension is not positive, the hole reaches an outer edge, or ``size`` puts
            fewer than two cells across what the hole leaves.
    """
    require_positive(size=size, length=length, width=width, radius=radius)
    require_below("radius", radius, min(length, width), why="the hole cuts the plate in two")
    require_resolved(size, cells=2, ligament=min(length, width) - radius)
    geo = gmsh.model.geo
    fine = min(size, radius) / 4
    corners = [(radius, 0, fine), (length, 0, size), (length, width, size), (0, width, size)]
    points = [geo.addPoint(x, y, 0, h) for x, y, h in [*corners, (0, radius, fine)]]
    centre = geo.addPoint(0, 0, 0)
    sides = [geo.addLine(*ends) for ends in pairwise(points)]
    hole = geo.addCircleArc(points[-1], centre, points[0])
    plate = geo.addPlaneSurface([geo.addCurveLoop([*sides, hole])])
    geo.synchronize()
    for name, curve in zip(("bottom", "right", "top", "left", "hole"), (*sides, hole), strict=True):
        gmsh.model.addPhysicalGroup(1, [curve], name=name)
    gmsh.model.addPhysicalGroup(2, [plate], name="plate")
    gmsh.model.mesh.generate(2)
