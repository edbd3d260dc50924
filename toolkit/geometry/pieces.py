"""Solids cut by each other and by sheets into pieces that share their faces, and what bounds them.

The models of bones with implants make each part as a solid of its own, overlapping its neighbours.
`fragment` cuts all of them at once, so that the mesh conforms across every interface, and tells
which pieces lie in which solid; a part is then a set of pieces, by union and difference of sets.
What the sheets have parted is told by the pieces' centres: a piece lies on one side of a plane.
All of it works on the OpenCASCADE kernel of the current gmsh model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import gmsh
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "boundary",
    "carved",
    "centres",
    "drop",
    "fragment",
    "generate",
    "interface",
    "name",
    "sheet",
]

type Vector = NDArray[np.float64]


def sheet(*corners: Sequence[float] | Vector) -> int:
    """Tag of the plane polygon through its corners, each (3,)."""
    occ = gmsh.model.occ
    points = [occ.addPoint(*corner) for corner in corners]
    lines = [occ.addLine(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True)]
    return int(occ.addPlaneSurface([occ.addCurveLoop(lines)]))


def carved(solids: Sequence[int], tools: Sequence[int]) -> list[int]:
    """What tools leave of solids, which go, while the tools stay."""
    objects, cutters = [(3, tag) for tag in solids], [(3, tag) for tag in tools]
    left, _ = gmsh.model.occ.cut(objects, cutters, removeTool=False)
    return [tag for _, tag in left]


def fragment(solids: Mapping[str, Sequence[int]], sheets: Sequence[int]) -> dict[str, set[int]]:
    """Cut solids by each other and by sheets, drop what is left of the sheets, and synchronise.

    Args:
        solids: name → tags of volumes; they may overlap.
        sheets: tags of surfaces.

    Returns:
        name → tags of the pieces that lie in it; overlapping solids have pieces in common.
    """
    owners = [owner for owner, tags in solids.items() for _ in tags]
    volumes = [(3, tag) for tags in solids.values() for tag in tags]
    _, origin = gmsh.model.occ.fragment(volumes, [(2, tag) for tag in sheets])
    pieces: dict[str, set[int]] = {owner: set() for owner in solids}
    for owner, children in zip(owners, origin, strict=False):
        pieces[owner] |= {tag for dim, tag in children if dim == 3}
    drop(())
    return pieces


def drop(pieces: Iterable[int]) -> None:
    """Remove pieces, and whatever then bounds nothing; synchronise."""
    occ = gmsh.model.occ
    occ.remove([(3, tag) for tag in pieces], recursive=True)
    occ.synchronize()
    for dim in (2, 1, 0):
        entities = gmsh.model.getEntities(dim)
        occ.remove([e for e in entities if not len(gmsh.model.getAdjacencies(*e)[0])])
        occ.synchronize()


def centres(pieces: Iterable[int]) -> dict[int, Vector]:
    """Centre of mass of each piece, (3,)."""
    return {tag: np.array(gmsh.model.occ.getCenterOfMass(3, tag)) for tag in sorted(pieces)}


def boundary(pieces: Iterable[int]) -> set[int]:
    """Tags of the surfaces that bound the union of pieces."""
    faces: set[int] = set()
    for tag in pieces:
        faces ^= set(gmsh.model.getAdjacencies(3, tag)[1].tolist())
    return faces


def interface(one: Iterable[int], other: Iterable[int]) -> set[int]:
    """Tags of the surfaces between two sets of pieces that have none in common."""
    return boundary(one) & boundary(other)


def name(dim: int, parts: Mapping[str, Iterable[int]]) -> None:
    """Physical groups by name; what is empty has none."""
    for word, tags in parts.items():
        if members := sorted(tags):
            gmsh.model.addPhysicalGroup(dim, members, name=word)


def generate(size: float, *finer: tuple[float, Iterable[int]]) -> None:
    """Mesh with tetrahedra of edge length `size`, and of others in and around some pieces.

    Args:
        size: edge length.
        finer: edge lengths with the pieces that they are for; smaller ones count.

    Raises:
        ValueError: gmsh gives up, mostly where surfaces come close to each other.
    """
    field, tags = gmsh.model.mesh.field, []
    for length, pieces in ((size, ()), *finer):
        tags.append(field.add("Constant"))
        field.setNumbers(tags[-1], "VolumesList", sorted(pieces))
        field.setNumber(tags[-1], "VIn", min(length, size))
        field.setNumber(tags[-1], "VOut", size)
    smallest = field.add("Min")
    field.setNumbers(smallest, "FieldsList", tags)
    field.setAsBackgroundMesh(smallest)
    try:
        gmsh.model.mesh.generate(3)
    except Exception as error:  # gmsh raises nothing narrower
        raise ValueError(
            f"gmsh cannot mesh this body at size = {size:g}: {error}. Give a smaller size, or "
            "dimensions nearer to the default ones."
        ) from error
    gmsh.model.mesh.optimize("Netgen")
