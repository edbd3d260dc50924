"""A stem in a bone tube, both round and about one axis: the rod of composite beam theory.

    EA = Eₛ π r² + E_b π (R² − r²)        EI = Eₛ π r⁴ / 4 + E_b π (R⁴ − r⁴) / 4

The section is an O-grid of quadrilaterals, a square in the middle of the stem and four sectors
about it, and is extruded along z into hexahedra. Its circles are regular polygons of n sides whose
corners stand out by √(θ / sin θ), θ = 2π/n, so that their area is that of the circle; their second
moment differs from πr⁴/4 by the fourth order of θ. The model runs on one rank.
"""

from __future__ import annotations

from math import pi, sin, sqrt

import gmsh

from toolkit.geometry.dimensions import require_below, require_positive, require_resolved

__all__ = ["composite_rod"]

SIDES = 4
SQUARE = 0.55  # half-diagonal of the square, to the radius of the stem


def composite_rod(
    *, size: float, diameter: float = 30.0, stem_diameter: float = 16.0, length: float = 240.0
) -> None:
    """Build and mesh the rod in the current gmsh model: hexahedra, millimetres.

    The rod stands on z = 0. Physical names: volumes ``bone``, the tube, and ``stem``; surfaces
    ``distal`` (z = 0), ``proximal`` (z = length), ``outside`` and ``interface``, between the two.

    Args:
        size: edge length in the section; along the axis it is three times as long.
        diameter: outer diameter of the tube.
        stem_diameter: of the stem, and of the tube's bore.
        length: extent along z.

    Raises:
        ValueError: a dimension is not positive, the stem fills the tube, or ``size`` puts fewer
            than one cell across the tube's wall or two across the stem or the length.
    """
    require_positive(size=size, diameter=diameter, stem_diameter=stem_diameter, length=length)
    require_below("stem_diameter", stem_diameter, diameter, why="no bone is left")
    wall = (diameter - stem_diameter) / 2
    require_resolved(size, cells=1, wall=wall)
    require_resolved(size, cells=2, stem_diameter=stem_diameter, length=length)
    quarter = max(3, round(pi * diameter / 4 / size))
    layers = max(2, round(length / (3 * size)))
    section = _section(diameter / 2, stem_diameter / 2, quarter, size)
    gmsh.model.geo.synchronize()
    swept = {
        part: [
            gmsh.model.geo.extrude([(2, face)], 0, 0, length, numElements=[layers], recombine=True)
            for face in faces
        ]
        for part, faces in section.items()
    }
    gmsh.model.geo.synchronize()
    _name(section, swept)
    gmsh.model.mesh.generate(3)


def _section(outer: float, inner: float, quarter: int, size: float) -> dict[str, list[int]]:
    """The faces of stem and bone at z = 0, with rules for a structured mesh."""
    geo = gmsh.model.geo
    angle = pi / (2 * quarter)
    stands_out = sqrt(angle / sin(angle))
    centre = geo.addPoint(0, 0, 0)
    rings, corners = [], []
    for radius in (SQUARE * inner, stands_out * inner, stands_out * outer):
        points = [
            geo.addPoint(x * radius, y * radius, 0) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1))
        ]
        ends = list(zip(points, points[1:] + points[:1], strict=True))
        straight = radius < inner
        rings.append(
            [geo.addLine(a, b) if straight else geo.addCircleArc(a, centre, b) for a, b in ends]
        )
        corners.append(points)
    for curve in (curve for ring in rings for curve in ring):
        geo.mesh.setTransfiniteCurve(curve, quarter + 1)
    square = geo.addPlaneSurface([geo.addCurveLoop(rings[0])])
    inside = _sectors(rings[0], rings[1], corners[0], corners[1], (1 - SQUARE) * inner, size)
    outside = _sectors(rings[1], rings[2], corners[1], corners[2], outer - inner, size)
    for face in (square, *inside, *outside):
        geo.mesh.setTransfiniteSurface(face)
        geo.mesh.setRecombine(2, face)
    return {"stem": [square, *inside], "bone": outside}


def _sectors(
    ring: list[int], around: list[int], starts: list[int], ends: list[int], gap: float, size: float
) -> list[int]:
    """The four faces between two rings, a gap apart; their loops begin with the outer curve."""
    geo = gmsh.model.geo
    spokes = [geo.addLine(a, b) for a, b in zip(starts, ends, strict=True)]
    for spoke in spokes:
        geo.mesh.setTransfiniteCurve(spoke, max(1, round(gap / size)) + 1)
    faces = []
    for i in range(SIDES):
        after = (i + 1) % SIDES
        loop = geo.addCurveLoop([around[i], -spokes[after], -ring[i], spokes[i]])
        faces.append(geo.addPlaneSurface([loop]))
    return faces


def _name(section: dict[str, list[int]], swept: dict[str, list[list[tuple[int, int]]]]) -> None:
    """Physical names, from what each extrusion returns: top, volume, then the sides in order."""
    groups: dict[tuple[int, str], list[int]] = {
        (3, part): [solid[1][1] for solid in solids] for part, solids in swept.items()
    }
    groups[2, "distal"] = [face for faces in section.values() for face in faces]
    groups[2, "proximal"] = [solid[0][1] for solids in swept.values() for solid in solids]
    groups[2, "outside"] = [solid[2][1] for solid in swept["bone"]]
    groups[2, "interface"] = [solid[4][1] for solid in swept["bone"]]
    for (dim, word), tags in groups.items():
        gmsh.model.addPhysicalGroup(dim, tags, name=word)
