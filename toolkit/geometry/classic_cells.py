"""The classical unit cells: cylinder arrays, sphere arrays and laminates, by gmsh's OpenCASCADE.

    square, hexagonal:  one circle, two circles a period        area fraction    n π R² / (L₁ L₂)
    sc, bcc, fcc:       one, two, four spheres a period         volume fraction  n 4π R³ / (3 L³)

Opposite faces are meshed alike (`gmsh.model.mesh.setPeriodic`). With order = 2 the edges follow the
circles and spheres, so what is lost of the volume falls from the order of (size / R)² to that of
(size / R)⁴. The models run on one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from math import isclose, sqrt
from typing import Literal

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.dimensions import require_below, require_positive, require_resolved

__all__ = ["hole_cell", "laminate_cell", "sphere_cell"]

type Phase = Literal["matrix", "inclusion", "both"]
type Points = NDArray[np.float64]

CENTRES = {  # of the inclusions, in shares of the period
    "square": [(0.5, 0.5)],
    "hexagonal": [(0.5, 0.5), (0.0, 0.0)],
    "sc": [(0.5, 0.5, 0.5)],
    "bcc": [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0)],
    "fcc": [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)],
}
LEAST_CELLS = 3  # along a period, for `toolkit.cell.Cell`
MESH_ADAPT = 1  # gmsh's surface mesher that leaves no slivers at the poles of a sphere
SAME = 1e-6  # distance below which entities are one, in shares of the shortest period


def hole_cell(
    *,
    radius: float,
    size: float,
    lengths: tuple[float, float] | None = None,
    arrangement: Literal["square", "hexagonal"] = "square",
    phase: Phase = "both",
    order: Literal[1, 2] = 2,
) -> None:
    """Build and mesh a cell of a cylinder array in the current gmsh model: triangles.

    Physical names: surfaces ``matrix`` and ``inclusion``; curves ``interface``, ``xmin``, ``xmax``,
    ``ymin`` and ``ymax``, as far as they exist. The box starts at the origin.

    Args:
        radius: of the circles.
        size: edge length.
        lengths: periods; (1, 1) for the square and (1, √3) for the hexagonal array unless given.
        arrangement: one circle in the middle, or another about the corners as well.
        phase: what is meshed.
        order: of the geometry.

    Raises:
        ValueError: a dimension that is not positive, circles that touch, fewer than three cells
            along a period or two across a radius, cells that the curved edges turn inside out, or a
            word or an order that is unknown.
    """
    _require_known(arrangement, ("square", "hexagonal"), phase, order)
    periods = lengths or (1.0, sqrt(3.0) if arrangement == "hexagonal" else 1.0)
    _inclusions(arrangement, radius, size, np.array(periods, dtype=float), phase, order)


def sphere_cell(
    *,
    radius: float,
    size: float,
    length: float = 1.0,
    arrangement: Literal["sc", "bcc", "fcc"] = "sc",
    phase: Phase = "both",
    order: Literal[1, 2] = 2,
) -> None:
    """Build and mesh a cubic cell of a sphere array in the current gmsh model: tetrahedra.

    Physical names: volumes ``matrix`` and ``inclusion``; surfaces ``interface``, ``xmin``,
    ``xmax``, ``ymin``, …, as far as they exist. The box starts at the origin.

    Args:
        radius: of the spheres.
        size: edge length.
        length: period along each axis.
        arrangement: simple, body-centred or face-centred cubic.
        phase: what is meshed.
        order: of the geometry.

    Raises:
        ValueError: as `hole_cell`.
    """
    _require_known(arrangement, ("sc", "bcc", "fcc"), phase, order)
    _inclusions(arrangement, radius, size, np.full(3, float(length)), phase, order)


def laminate_cell(
    *,
    fractions: Sequence[float],
    size: float,
    dimension: Literal[2, 3] = 3,
    lengths: Sequence[float] | None = None,
) -> None:
    """Build and mesh a stack of layers normal to x in the current gmsh model: simplices.

    Physical names: regions ``layer1``, ``layer2``, … from x = 0; ``interface`` between them, the
    one across the period left out; ``xmin``, ``xmax``, ``ymin``, ….

    Args:
        fractions: thickness of each layer as a share of the period.
        size: edge length; thinner layers are meshed more finely.
        dimension: 2 or 3.
        lengths: periods, 1 along each axis unless given.

    Raises:
        ValueError: fractions that are not positive or do not add up to one, a dimension that is
            neither 2 nor 3 or does not fit `lengths`, fewer than three cells along a period.
    """
    periods = np.array([1.0] * dimension if lengths is None else lengths, dtype=float)
    if dimension not in (2, 3) or len(periods) != dimension:
        raise ValueError(
            f"dimension = {dimension} does not fit lengths = {lengths}. Give 2 or 3, and as many "
            "lengths."
        )
    if not fractions or min(fractions) <= 0 or not isclose(sum(fractions), 1, abs_tol=1e-12):
        raise ValueError(
            f"fractions = {list(fractions)} are no shares of a period. Give positive numbers that "
            "add up to 1."
        )
    _require_periods(size, periods)
    ends = np.cumsum([0.0, *fractions]) * periods[0]
    bodies = [_box(start, np.array([end - start, *periods[1:]])) for start, end in pairwise(ends)]
    if len(bodies) > 1:
        bodies, _ = gmsh.model.occ.fragment(bodies[:1], bodies[1:])
    gmsh.model.occ.synchronize()
    middles = [gmsh.model.occ.getCenterOfMass(*body)[0] for body in bodies]
    order = np.argsort(middles)
    _finish({f"layer{k + 1}": [bodies[i]] for k, i in enumerate(order)}, size, periods, 1)


def _inclusions(
    arrangement: str, radius: float, size: float, periods: Points, phase: Phase, order: int
) -> None:
    """A box with the periodic images of discs or balls in it."""
    require_positive(radius=radius)
    _require_periods(size, periods)
    require_resolved(size, cells=2, radius=radius)
    centres = np.array(CENTRES[arrangement]) * periods
    shifts = np.array(list(product((-1, 0, 1), repeat=len(periods)))) * periods
    every = (centres + shifts[:, None]).reshape(-1, len(periods))
    apart = np.linalg.norm(every - centres[0], axis=1)
    require_below(
        "radius",
        radius,
        float(apart[apart > 0].min()) / 2,
        why="neighbouring inclusions touch or overlap",
    )
    outside = np.maximum(np.maximum(-every, every - periods), 0)
    inside = every[np.linalg.norm(outside, axis=1) < radius * (1 - SAME)]
    occ, box = gmsh.model.occ, _box(0.0, periods)
    balls = [_ball(centre, radius) for centre in inside]
    _, pieces = occ.fragment([box], balls)
    within, curved = set(pieces[0]), {piece for ball in pieces[1:] for piece in ball}
    parts = {"matrix": sorted(within - curved), "inclusion": sorted(within & curved)}
    wanted = {name: part for name, part in parts.items() if phase in (name, "both")}
    kept = {piece for part in wanted.values() for piece in part}
    occ.remove(sorted((within | curved) - kept), recursive=True)
    occ.synchronize()
    _finish(wanted, size, periods, order)


def _ball(centre: Points, radius: float) -> tuple[int, int]:
    """A disc or a ball."""
    if len(centre) == 2:
        return 2, gmsh.model.occ.addDisk(*centre, 0, radius, radius)
    return 3, gmsh.model.occ.addSphere(*centre, radius)


def _box(start: float, extents: Points) -> tuple[int, int]:
    """A rectangle or a box from x = start, y = z = 0."""
    if len(extents) == 2:
        return 2, gmsh.model.occ.addRectangle(start, 0, 0, *extents)
    return 3, gmsh.model.occ.addBox(start, 0, 0, *extents)


def _finish(
    regions: dict[str, list[tuple[int, int]]], size: float, periods: Points, order: int
) -> None:
    """Name the parts, make opposite faces periodic and mesh."""
    d = len(periods)
    for name, bodies in regions.items():
        gmsh.model.addPhysicalGroup(d, [tag for _, tag in bodies], name=name)
    faces = {tag: _bounds(d - 1, tag)[:, :d] for _, tag in gmsh.model.getEntities(d - 1)}
    near = SAME * periods.min()
    outer: set[int] = set()
    for axis, period in enumerate(periods):
        low, high = (
            [tag for tag, box in faces.items() if np.abs(box[:, axis] - at).max() < near]
            for at in (0, period)
        )
        _make_periodic(d - 1, low, high, faces, axis, period)
        for end, tags in (("min", low), ("max", high)):
            if tags:
                gmsh.model.addPhysicalGroup(d - 1, tags, name="xyz"[axis] + end)
        outer |= {*low, *high}
    if inner := sorted(set(faces) - outer):
        gmsh.model.addPhysicalGroup(d - 1, inner, name="interface")
    _mesh(d, size, order)


def _mesh(d: int, size: float, order: int) -> None:
    """Mesh and curve; cells turned inside out by the curving are moved with the elastic analogy."""
    mesh = gmsh.model.mesh
    mesh.setSize(gmsh.model.getEntities(0), size)
    if d == 3:
        for _, surface in gmsh.model.getEntities(2):
            mesh.setAlgorithm(2, surface, MESH_ADAPT)
    mesh.generate(d)
    mesh.setOrder(order)
    if _least_jacobian(d) <= 0:
        mesh.optimize("HighOrderElastic")
    if (worst := _least_jacobian(d)) <= 0:
        raise ValueError(
            f"size = {size:g} leaves cells that the curved surface turns inside out (least "
            f"Jacobian {worst:.2g}). Give a size below the gap between the inclusions."
        )


def _least_jacobian(d: int) -> float:
    """The least ratio of the Jacobian to that of the straight cell, over all cells."""
    cells = np.concatenate(gmsh.model.mesh.getElements(d)[1])
    return float(gmsh.model.mesh.getElementQualities(cells, "minSJ").min())


def _bounds(dim: int, tag: int) -> Points:
    """Least and largest coordinates of an entity, (2, 3), without gmsh's margin for curves."""
    return np.array(gmsh.model.occ.getBoundingBox(dim, tag)).reshape(2, 3)


def _make_periodic(
    dim: int, low: list[int], high: list[int], faces: dict[int, Points], axis: int, period: float
) -> None:
    """Mesh each part of a face as the part of the opposite face that it is the image of."""
    step = np.zeros(len(next(iter(faces.values()))[0]))
    step[axis] = period
    image = np.eye(4)
    image[axis, 3] = period
    for tag in high:
        gaps = [float(np.abs(faces[base] + step - faces[tag]).max()) for base in low]
        base = low[int(np.argmin(gaps))]
        gmsh.model.mesh.setPeriodic(dim, [tag], [base], image.ravel().tolist())


def _require_periods(size: float, periods: Points) -> None:
    lengths = {f"the period along {letter}": L for letter, L in zip("xyz", periods, strict=False)}
    require_positive(size=size, **lengths)
    require_resolved(size, cells=LEAST_CELLS, **lengths)


def _require_known(arrangement: str, arrangements: Sequence[str], phase: str, order: int) -> None:
    if arrangement not in arrangements:
        raise ValueError(f"arrangement = '{arrangement}' is unknown. Give {_any_of(arrangements)}.")
    phases = ("matrix", "inclusion", "both")
    if phase not in phases:
        raise ValueError(f"phase = '{phase}' is unknown. Give {_any_of(phases)}.")
    if order not in (1, 2):
        raise ValueError(f"order = {order} is not supported. Give 1 or 2.")


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)
