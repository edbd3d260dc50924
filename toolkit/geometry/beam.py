"""A box beam along x with names for supports and for loads on a face, a line and a point.

    Ω = (0, L) × (0, W) × (0, H)

The box is filled with tetrahedra of one edge length. The model runs on one rank.
"""

from __future__ import annotations

import gmsh

from toolkit.geometry.dimensions import require_positive, require_resolved


def beam(*, size: float, length: float = 60.0, width: float = 10.0, height: float = 10.0) -> None:
    """Build and mesh the beam in the current gmsh model: tetrahedra, millimetres.

    Physical names: volume ``beam``; surfaces ``fixed`` (x = 0) and ``tip`` (x = length); curve
    ``edge``, the upper edge of the tip (x = length, z = height); point ``corner``, the end of that
    edge at y = 0.

    Args:
        size: edge length.
        length: extent along x.
        width: extent along y.
        height: extent along z.

    Raises:
        ValueError: a dimension is not positive, or ``size`` puts fewer than two cells across one.
    """
    require_positive(size=size, length=length, width=width, height=height)
    require_resolved(size, cells=2, length=length, width=width, height=height)
    geo = gmsh.model.geo
    section = [(0, height), (width, height), (width, 0), (0, 0)]
    points = [geo.addPoint(length, y, z, size) for y, z in section]
    lines = [geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4)]
    tip = geo.addPlaneSurface([geo.addCurveLoop(lines)])
    fixed, solid, *_ = geo.extrude([(2, tip)], -length, 0, 0)
    geo.synchronize()
    gmsh.model.addPhysicalGroup(0, points[:1], name="corner")
    gmsh.model.addPhysicalGroup(1, lines[:1], name="edge")
    gmsh.model.addPhysicalGroup(2, [fixed[1]], name="fixed")
    gmsh.model.addPhysicalGroup(2, [tip], name="tip")
    gmsh.model.addPhysicalGroup(3, [solid[1]], name="beam")
    gmsh.model.mesh.generate(3)
