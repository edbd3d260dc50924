"""A straight circular pipe along x: the flow of Hagen and Poiseuille.

    Ω = { 0 < x < L,  y² + z² < R² }     Q = π R⁴ Δp / (8 μ L)

The circle is swept along x and filled with tetrahedra, so the wall is a prism of chords and lies
inside the cylinder: its volume falls short of π R² L by the order of (size / R)². The model runs
on one rank.
"""

from __future__ import annotations

import gmsh

from toolkit.geometry.dimensions import require_positive, require_resolved


def pipe(*, size: float, radius: float = 5.0, length: float = 20.0) -> None:
    """Build and mesh the pipe in the current gmsh model: tetrahedra, millimetres.

    Physical names: volume ``fluid``; surfaces ``inlet`` (x = 0), ``outlet`` (x = length), ``wall``.

    Args:
        size: edge length.
        radius: inner radius.
        length: extent along x.

    Raises:
        ValueError: a dimension is not positive, or ``size`` puts fewer than two cells across the
            radius or the length.
    """
    require_positive(size=size, radius=radius, length=length)
    require_resolved(size, cells=2, radius=radius, length=length)
    geo = gmsh.model.geo
    rim = [(radius, 0), (0, radius), (-radius, 0), (0, -radius)]
    points = [geo.addPoint(0, y, z, size) for y, z in rim]
    centre = geo.addPoint(0, 0, 0)
    arcs = [geo.addCircleArc(points[i], centre, points[(i + 1) % 4]) for i in range(4)]
    inlet = geo.addPlaneSurface([geo.addCurveLoop(arcs)])
    outlet, fluid, *wall = geo.extrude([(2, inlet)], length, 0, 0)
    geo.synchronize()
    gmsh.model.addPhysicalGroup(2, [inlet], name="inlet")
    gmsh.model.addPhysicalGroup(2, [outlet[1]], name="outlet")
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in wall], name="wall")
    gmsh.model.addPhysicalGroup(3, [fluid[1]], name="fluid")
    gmsh.model.mesh.generate(3)
