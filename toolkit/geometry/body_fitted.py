"""Body-fitted periodic meshes of an implicit body: its solid, its pore space, or both, conforming.

The mesh is that of `toolkit.geometry.stuffing`, handed to gmsh as discrete entities with physical
names. The faces of the box are flat and opposite ones are meshed alike, to round-off, which is all
that `toolkit.cell.Cell.build` asks; gmsh is told of no periodicity. The model runs on one rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import gmsh
import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.implicit import Implicit
from toolkit.geometry.stuffing import SimplexMesh, facets, stuff

__all__ = ["body_fitted"]

type Phase = Literal["solid", "fluid", "both"]
type Integers = NDArray[np.int64]
type Part = tuple[list[str], Integers]  # names, nodes of each element

SIMPLEX = (15, 1, 2, 4)  # gmsh's element type by dimension


def body_fitted(body: Implicit, *, resolution: int | Sequence[int], phase: Phase = "both") -> None:
    """Mesh a periodic body in the current gmsh model: triangles or tetrahedra, the body's lengths.

    Physical names: regions ``solid`` and ``fluid``; ``interface`` between them; ``xmin``, ``xmax``,
    ``ymin``, … for what is meshed of the faces of the box. Where the interface lies in a face of
    the box and one phase is meshed, it is ``interface`` alone. Empty parts have no name.

    Args:
        body: the body.
        resolution: cells of the background along the shortest axis, nearly cubes, or along each.
        phase: what is meshed.

    Raises:
        ValueError: a phase that is none of the three or that is empty at this resolution, and what
            `stuff` refuses.
    """
    if phase not in ("solid", "fluid", "both"):
        raise ValueError(f"phase = '{phase}' is unknown. Give 'solid', 'fluid' or 'both'.")
    mesh = stuff(body, resolution)
    sides = {"solid": mesh.solid, "fluid": ~mesh.solid}
    regions = {name: mesh.cells[own] for name, own in sides.items() if phase in (name, "both")}
    for name, cells in regions.items():
        if not len(cells):
            raise ValueError(
                f"{body.name} has no {name} at resolution = {resolution}. Refine if its parts are "
                "thinner than a cell; else check its level, which is positive in the solid."
            )
    cells = np.concatenate(list(regions.values()))
    parts = [([name], own) for name, own in regions.items()]
    _add(mesh, cells, parts + [part for part in _surfaces(mesh, cells, phase) if len(part[1])])


def _surfaces(mesh: SimplexMesh, cells: Integers, phase: Phase) -> Iterator[Part]:
    """The faces of the box and the interface, those facets apart that are both."""
    lengths = mesh.points.max(axis=0)
    total = len(mesh.points) ** np.arange(mesh.points.shape[1])
    sides = facets(cells)
    between, around = (np.sort(f, axis=1) @ total for f in (mesh.interface, sides))
    shared = np.isin(around, between)
    inside = np.ones(len(between), dtype=bool)
    for axis, length in enumerate(lengths):
        for end, at in (("min", 0.0), ("max", length)):
            name = "xyz"[axis] + end
            face = (mesh.points[sides, axis] == at).all(axis=1)
            yield [name], sides[face & ~shared]
            names = [name, "interface"] if phase == "both" else ["interface"]
            yield names, sides[face & shared]
            inside &= (mesh.points[mesh.interface, axis] != at).any(axis=1)
    yield ["interface"], mesh.interface[inside]


def _add(mesh: SimplexMesh, cells: Integers, parts: Sequence[Part]) -> None:
    """Add the nodes of the cells, each part as an entity, and the groups of entities by name."""
    nodes, d = np.unique(cells), mesh.points.shape[1]
    xyz = np.zeros((len(nodes), 3))
    xyz[:, :d] = mesh.points[nodes]
    entities = [gmsh.model.addDiscreteEntity(elements.shape[1] - 1) for _, elements in parts]
    gmsh.model.mesh.addNodes(d, entities[0], nodes + 1, xyz.ravel())
    groups: dict[tuple[int, str], list[int]] = {}
    for entity, (names, elements) in zip(entities, parts, strict=True):
        dim = elements.shape[1] - 1
        gmsh.model.mesh.addElementsByType(entity, SIMPLEX[dim], [], elements.ravel() + 1)
        for name in names:
            groups.setdefault((dim, name), []).append(entity)
    for (dim, name), members in groups.items():
        gmsh.model.addPhysicalGroup(dim, members, name=name)
    gmsh.model.mesh.reclassifyNodes()
