"""Meshes as arrays: what gmsh and a converted file hold, before it is distributed.

A converted file (`python -m toolkit convert`, HDF5) is read in slices, each rank its own, and no
rank ever holds the mesh whole. A .msh is read by gmsh, on rank 0; its arrays are then dealt out in
the same slices and dropped. Nodes, cells and named entities keep the order of the .msh file.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
from dolfinx import cpp
from mpi4py import MPI

from toolkit.errors import InputError, together
from toolkit.exchange import share

__all__ = [
    "MeshArrays",
    "build",
    "dealt",
    "read",
    "read_h5",
    "read_msh",
    "read_slices",
    "write_h5",
]

FORMAT = "implant-toolkit mesh 1"
_CELLS = {  # gmsh element type: name, degree
    1: ("interval", 1),
    2: ("triangle", 1),
    3: ("quadrilateral", 1),
    4: ("tetrahedron", 1),
    5: ("hexahedron", 1),
    8: ("interval", 2),
    9: ("triangle", 2),
    10: ("quadrilateral", 2),
    11: ("tetrahedron", 2),
    12: ("hexahedron", 2),
    15: ("point", 0),
}
LARGE = 500_000  # cells of a .msh that are better converted than read on rank 0
_DIMENSION_WORD = {0: "point", 1: "curve", 2: "surface", 3: "volume"}


class MeshArrays(NamedTuple):
    """A mesh, or this rank's slice of it.

    Attributes:
        points: Node coordinates, (nodes, dimension).
        cells: Nodes of each cell in DOLFINx order, (cells, nodes per cell), numbered globally.
        cell: Name of the cell shape and degree of the geometry.
        named: For each dimension and name, the nodes of its entities in DOLFINx order.
        fingerprint: Hash of all of it, the same for slices and the whole.
    """

    points: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]
    cell: tuple[str, int]
    named: dict[tuple[int, str], npt.NDArray[np.int64]]
    fingerprint: str


def read_slices(path: Path, comm: MPI.Comm) -> MeshArrays:
    """This rank's slice of a mesh file; collective.

    Raises:
        InputError: What `read` refuses, on every rank.
    """
    with together(comm):
        arrays = read(path, comm)
    if path.suffix == ".h5":
        return arrays
    if comm.rank == 0 and comm.size > 1 and len(arrays.cells) > LARGE:
        warnings.warn(
            f"rank 0 has read all {len(arrays.cells)} cells of '{path}'. Convert it once "
            f"(`python -m toolkit convert {path}`), then every rank reads its own slice.",
            stacklevel=3,
        )
    return dealt(arrays, comm)


def dealt(arrays: MeshArrays, comm: MPI.Comm) -> MeshArrays:
    """This rank's slice of a mesh that rank 0 holds, and no part of which the result keeps alive.

    Collective. Of what the other ranks bring nothing is used.
    """
    if comm.size == 1:
        return arrays
    first = comm.rank == 0
    told = {key: nodes.shape for key, nodes in arrays.named.items()}
    cell, fingerprint, points, cells, named = comm.bcast(
        (arrays.cell, arrays.fingerprint, arrays.points.shape, arrays.cells.shape, told)
    )

    def mine(whole: Any, shape: tuple[int, int], kind: type, type_: MPI.Datatype) -> Any:
        ends = np.array([share(shape[0], part, comm.size) for part in range(comm.size)])
        begin, end = ends[comm.rank]
        part = np.empty((end - begin, shape[1]), kind)
        counts, starts = np.diff(ends, axis=1).ravel() * shape[1], ends[:, 0] * shape[1]
        sent: Any = np.ascontiguousarray(whole, kind) if first else None
        comm.Scatterv([sent, counts, starts, type_], part)
        return part

    def numbers(whole: Any, shape: tuple[int, int]) -> Any:
        return mine(whole, shape, np.int64, MPI.INT64_T)

    return MeshArrays(
        mine(arrays.points, points, np.float64, MPI.DOUBLE),
        numbers(arrays.cells, cells),
        cell,
        {key: numbers(arrays.named.get(key), shape) for key, shape in named.items()},
        fingerprint,
    )


def read(path: Path, comm: MPI.Comm) -> MeshArrays:
    """This rank's part of a mesh file: all on rank 0 for .msh, a slice on every rank for .h5."""
    if not path.is_file():
        raise InputError(f"There is no mesh file '{path}'. Give the path of a .msh or .h5 file.")
    if path.suffix == ".msh":
        return read_msh(path) if comm.rank == 0 else _EMPTY
    if path.suffix == ".h5":
        return read_h5(path, comm.rank, comm.size)
    raise InputError(
        f"'{path}' is neither .msh (gmsh) nor .h5 (made by `python -m toolkit convert`). gmsh "
        "converts most other formats to .msh."
    )


def read_msh(path: Path) -> MeshArrays:
    """All of a gmsh file; needs no MPI."""

    def load(gmsh: Any) -> None:
        try:
            gmsh.merge(str(path))
        except Exception as error:
            raise InputError(f"gmsh cannot read '{path}': {error}") from error

    return build(load, source=str(path))


def build(geometry: Callable[[Any], None], *, source: str) -> MeshArrays:
    """All of the mesh of a gmsh model; needs no MPI.

    Args:
        geometry: Called with the `gmsh` module, initialised and with an empty model.
        source: How errors name the mesh.
    """
    import gmsh  # loads the X11 and GL libraries, so only on the rank that meshes

    ours = not gmsh.isInitialized()
    if ours:
        gmsh.initialize(interruptible=False)
    before = gmsh.model.getCurrent()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.model.add(f"toolkit: {source}")
        geometry(gmsh)
        return _extract(gmsh.model, source)
    finally:
        if ours:
            gmsh.finalize()
        else:
            gmsh.model.remove()
            gmsh.model.setCurrent(before)


def write_h5(mesh: MeshArrays, path: Path) -> None:
    """Write a whole mesh as HDF5 for reading in parallel."""
    for _, name in mesh.named:
        if "/" in name:
            raise InputError(f"The physical name '{name}' holds a '/', which the file cannot keep.")
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = mesh.fingerprint
        file.attrs["cell"], file.attrs["degree"] = mesh.cell
        file["points"], file["cells"] = mesh.points, mesh.cells
        for (dim, name), entities in mesh.named.items():
            file[f"named/{dim}/{name}"] = entities


def read_h5(path: Path, part: int = 0, parts: int = 1) -> MeshArrays:
    """Slice `part` of `parts` equal ones of a file made by `write_h5`."""

    def mine(data: Any) -> Any:
        first, last = share(len(data), part, parts)
        return data[first:last]

    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"'{path}' was not made by `python -m toolkit convert`.")
            named = {
                (int(dim), name): mine(entities)
                for dim, names in file["named"].items()
                for name, entities in names.items()
            }
            cell = (str(file.attrs["cell"]), int(file.attrs["degree"]))
            fingerprint = str(file.attrs["fingerprint"])
            return MeshArrays(mine(file["points"]), mine(file["cells"]), cell, named, fingerprint)
    except (OSError, KeyError) as error:
        raise InputError(f"'{path}' is damaged: {error}. Convert its .msh again.") from error


def _extract(model: Any, source: str) -> MeshArrays:
    """The physical part of the current gmsh model as arrays, or an error in words."""
    kinds, tags, _ = model.mesh.getElements()
    top = max((model.mesh.getElementProperties(kind)[1] for kind in kinds), default=0)
    if top < 2:
        raise InputError(f"The mesh '{source}' has no surface or volume elements.")
    groups = _physical_groups(model)
    if not groups:
        raise InputError(
            f"The mesh '{source}' has no physical groups. Name its {_DIMENSION_WORD[top]}s and "
            "boundaries in gmsh (addPhysicalGroup with a name) and save it again."
        )
    if not any(dim == top for dim, _ in groups):
        found = ", ".join(f"{name} ({_DIMENSION_WORD[dim]})" for dim, name in groups)
        raise InputError(
            f"The mesh '{source}' has no physical {_DIMENSION_WORD[top]}; its physical groups "
            f"are: {found}. Add the {_DIMENSION_WORD[top]}s to a physical group."
        )
    number, points = _nodes(model, top, source)
    kind, tags, cells = _cells_of_top(model, top, source)
    named, members = {}, []
    for key, entities in groups.items():
        elements = _elements(model, key[0], entities)
        if key[0] == top:
            members.append(elements[1])
        named[key] = number[_ordered(elements[0], elements[2])]
    _check_all_named(tags, members, top, source)
    nodes = number[_ordered(kind, cells)]
    for (dim, name), part in named.items():
        if not np.isin(part, nodes).all():
            raise InputError(
                f"The physical {_DIMENSION_WORD[dim]} '{name}' of the mesh '{source}' lies, in "
                f"part, on no cell. Name the {_DIMENSION_WORD[top]} beside it too, or drop this."
            )
    return MeshArrays(points, nodes, _CELLS[kind], named, _hash(points, nodes, kind, named))


def _physical_groups(model: Any) -> dict[tuple[int, str], list[int]]:
    """(dimension, name) → gmsh entities; a group without a name is called by its number."""
    groups: dict[tuple[int, str], list[int]] = {}
    for dim, tag in model.getPhysicalGroups():
        name = model.getPhysicalName(dim, tag) or str(tag)
        entities = [int(e) for e in model.getEntitiesForPhysicalGroup(dim, tag)]
        groups.setdefault((dim, name), []).extend(entities)
    return groups


def _nodes(
    model: Any, top: int, source: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Map from gmsh's node tags to 0, 1, …, and the coordinates in that order."""
    tags, xyz, _ = model.mesh.getNodes()
    tags, xyz = tags.astype(np.int64), xyz.reshape(-1, 3)
    order = np.argsort(tags)
    number = np.full(tags.max() + 1, -1, dtype=np.int64)
    number[tags[order]] = np.arange(len(tags))
    points = xyz[order]
    if not np.isfinite(points).all():
        raise InputError(f"The mesh '{source}' has nodes whose coordinates are not numbers.")
    if top == 3:
        return number, points
    if np.ptp(points[:, 2]) > 1e-9 * np.ptp(points, axis=0).max():
        raise InputError(
            f"The mesh '{source}' has surface elements only, and they do not lie in a plane "
            "z = constant. Mesh and name a volume for a 3D problem, or a plane for a 2D one."
        )
    return number, np.ascontiguousarray(points[:, :2])


def _cells_of_top(model: Any, top: int, source: str) -> tuple[int, Any, Any]:
    """The one element type of the highest dimension, and its elements' tags and nodes."""
    kinds, tags, nodes = model.mesh.getElements(top)
    if len(kinds) != 1 or int(kinds[0]) not in _CELLS:
        found = ", ".join(model.mesh.getElementProperties(k)[0] for k in kinds)
        raise InputError(
            f"The mesh '{source}' mixes or has unsupported cells: {found}. Use one shape, linear "
            "or quadratic (full): triangles, quadrangles, tetrahedra or hexahedra."
        )
    return int(kinds[0]), tags[0], nodes[0].reshape(len(tags[0]), -1)


def _elements(model: Any, dim: int, entities: list[int]) -> tuple[int, Any, Any]:
    """Type, tags and nodes of the elements of some gmsh entities."""
    tags, nodes, kind = [], [], 15
    for entity in entities:
        for kind_, tags_, nodes_ in zip(*model.mesh.getElements(dim, entity), strict=True):
            kind = int(kind_)
            tags.append(tags_)
            nodes.append(nodes_.reshape(len(tags_), -1))
    if not tags:
        return kind, np.zeros(0, np.int64), np.zeros((0, 1), np.int64)
    return kind, np.concatenate(tags), np.concatenate(nodes)


def _check_all_named(tags: Any, members: list[Any], top: int, source: str) -> None:
    """Refuse cells that belong to no physical group: they would be dropped in silence."""
    orphans = ~np.isin(tags, np.concatenate(members))
    if orphans.any():
        raise InputError(
            f"{orphans.sum()} of {len(orphans)} cells of the mesh '{source}' belong to no physical "
            f"{_DIMENSION_WORD[top]}. Add their {_DIMENSION_WORD[top]} to a physical group, or "
            "delete it."
        )


def _ordered(kind: int, nodes: Any) -> npt.NDArray[np.int64]:
    """Element nodes from gmsh's to DOLFINx's order."""
    nodes = np.asarray(nodes, dtype=np.int64)
    shape, degree = _CELLS[kind]
    if degree == 0 or len(nodes) == 0:
        return nodes
    return nodes[:, cpp.io.perm_gmsh(cpp.mesh.to_type(shape), nodes.shape[1])]


def _hash(points: Any, cells: Any, kind: int, named: dict[tuple[int, str], Any]) -> str:
    digest = hashlib.sha256(f"{FORMAT} {kind}".encode())
    digest.update(np.ascontiguousarray(points).tobytes())
    digest.update(np.ascontiguousarray(cells).tobytes())
    for (dim, name), entities in sorted(named.items()):
        digest.update(f"{dim} {name}".encode())
        digest.update(np.ascontiguousarray(entities).tobytes())
    return digest.hexdigest()[:16]


_EMPTY = MeshArrays(np.zeros((0, 0)), np.zeros((0, 0), np.int64), ("", 0), {}, "")
