"""Small gmsh models for the tests: bodies that are no aligned boxes, with named parts."""

from math import cos, sin

import gmsh

_BASE = ((0, 0), (1, 0), (1, 1), (0, 1))


def square(*, size: float, angle: float = 0.0) -> None:
    """Triangles on the unit square, turned about the origin; sides bottom, right, top, left."""
    geo, c, s = gmsh.model.geo, cos(angle), sin(angle)
    points = [geo.addPoint(c * x - s * y, s * x + c * y, 0, size) for x, y in _BASE]
    sides = [geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4)]
    face = geo.addPlaneSurface([geo.addCurveLoop(sides)])
    geo.synchronize()
    for name, side in zip(("bottom", "right", "top", "left"), sides, strict=True):
        gmsh.model.addPhysicalGroup(1, [side], name=name)
    gmsh.model.addPhysicalGroup(2, [face], name="square")
    gmsh.model.mesh.generate(2)


def cube(*, size: float, squash: float = 1.0) -> None:
    """Tetrahedra in the unit cube, sheared and pressed flat along z: obtuse for `squash` < 1."""
    geo = gmsh.model.geo
    points = [geo.addPoint(x, y, 0, size) for x, y in _BASE]
    sides = [geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4)]
    base = geo.addPlaneSurface([geo.addCurveLoop(sides)])
    _, body, *_ = geo.extrude([(2, base)], 0, 0, 1)
    geo.synchronize()
    _name_all(body[1])
    gmsh.model.mesh.generate(3)
    gmsh.model.mesh.affineTransform([1, 0, 1 - squash, 0, 0, 1, 0, 0, 0, 0, squash, 0])


def skew_block(*, cells: int) -> None:
    """Hexahedra of a block whose eight corners are all out of square."""
    geo = gmsh.model.geo
    low = [(0, 0, 0), (1.1, 0.1, 0.1), (1.2, 0.9, 0), (0.1, 1.2, -0.1)]
    high = [(0.1, -0.1, 1), (1, 0.1, 1.2), (1.3, 1.1, 0.9), (-0.1, 1, 1.1)]
    p = [geo.addPoint(*x) for x in low + high]
    pairs = [(i, (i + 1) % 4) for i in range(4)]
    edges = {(i, j): geo.addLine(p[i], p[j]) for i, j in pairs}
    edges |= {(i + 4, j + 4): geo.addLine(p[i + 4], p[j + 4]) for i, j in pairs}
    edges |= {(i, i + 4): geo.addLine(p[i], p[i + 4]) for i in range(4)}
    loops = [[edges[pair] for pair in pairs], [edges[i + 4, j + 4] for i, j in pairs]]
    loops += [
        [edges[i, j], edges[j, j + 4], -edges[i + 4, j + 4], -edges[i, i + 4]] for i, j in pairs
    ]
    faces = [geo.addSurfaceFilling([geo.addCurveLoop(loop)]) for loop in loops]
    body = geo.addVolume([geo.addSurfaceLoop(faces)])
    for edge in edges.values():
        geo.mesh.setTransfiniteCurve(edge, cells + 1)
    for face in faces:
        geo.mesh.setTransfiniteSurface(face)
        geo.mesh.setRecombine(2, face)
    geo.mesh.setTransfiniteVolume(body, p)
    geo.synchronize()
    _name_all(body)
    gmsh.model.mesh.generate(3)


def _name_all(body: int) -> None:
    surfaces = [tag for _, tag in gmsh.model.getBoundary([(3, body)], oriented=False)]
    gmsh.model.addPhysicalGroup(2, surfaces, name="boundary")
    gmsh.model.addPhysicalGroup(3, [body], name="body")
