"""Files for other programs: fields as VTKHDF, the table of a front as CSV.

A VTKHDF file holds one unstructured grid in HDF5 (VTKHDF 2.2, in the VTK file formats' manual at
docs.vtk.org), with any number of cell and point fields and of steps that share the mesh; ParaView
and PyVista read it. Cells are written in mesh-file order and points in the order in which the
cells first mention them, so a file does not depend on the number of ranks. Values given by cell
are written to the last bit; any other Function is interpolated into the continuous space of degree
one.

In parallel each rank holds a slice of the cells in mesh-file order, and the points that its
cells mention first. Rank 0 writes one rank's slice after the other and holds two at most;
`gather_mesh` alone makes a whole mesh, for what draws or cuts it. Functions here are collective,
and what fails on rank 0 is raised on every rank.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from dolfinx import cpp, fem
from mpi4py import MPI
from numpy.typing import NDArray

from toolkit.errors import InputError, agree
from toolkit.exchange import Exchange, holder, share

if TYPE_CHECKING:
    from toolkit.domain import Domain
    from toolkit.pareto import Front

type Array = NDArray[np.float64]
type Field = Array | fem.Function
type Fields = Mapping[str, Field]

VTK_TYPE = {"triangle": 5, "quadrilateral": 9, "tetrahedron": 10, "hexahedron": 12}


class Grid(NamedTuple):
    """The whole mesh, in mesh-file order.

    Attributes:
        points: coordinates, (points, 3).
        cells: corner points of each cell in VTK's ordering, (cells, corners).
        corners: corner points of each cell in DOLFINx's ordering, (cells, corners).
        shape: name of the cell's shape, such as "tetrahedron".
    """

    points: Array
    cells: NDArray[np.int64]
    corners: NDArray[np.int64]
    shape: str


class FieldSlices(NamedTuple):
    """This rank's slice of fields by cell and by point, each (rows,) or (rows, components)."""

    by_cell: dict[str, Array]
    by_point: dict[str, Array]


class Slice:
    """The cells that stand in one stretch of the mesh file, and the points they mention first.

    A mesh of higher degree gives its corners. Corners nearer than 10⁻⁶ of the longest side of the
    bounding box are one point.

    Attributes:
        domain: The mesh.
        ends: First cell of the stretch, and the first after it.
        points: Coordinates of its points, (points, 3), which follow those of the rank before.
        corners: Corner points of each cell, of all ranks' points, in DOLFINx's ordering,
            (cells, corners).
    """

    def __init__(self, domain: Domain) -> None:
        """Send each cell to the rank of its stretch, and number the points; collective."""
        comm, geometry = domain.comm, domain.mesh.geometry
        self.domain, self.ends = domain, share(domain.num_cells, comm.rank, comm.size)
        self._exchange = Exchange(comm, holder(domain.num_cells, domain.cells, comm.size))
        self._order = np.argsort(self._exchange.send(domain.cells))
        corners = cpp.mesh.cell_num_vertices(domain.mesh.topology.cell_type)
        nodes = geometry.dofmaps[0][: len(domain.cells), :corners]
        positions = self.rows(geometry.x[nodes]).reshape(-1, 3)
        numbers, self._first = _numbered(positions, self.ends[0] * corners, comm)
        self.points, self.corners = positions[self._first], numbers.reshape(-1, corners)

    def rows(self, owned: NDArray[Any]) -> NDArray[Any]:
        """Of one row for each cell that a rank owns, those of the stretch, in order; collective."""
        return np.asarray(self._exchange.send(owned)[self._order])

    def at_points(self, owned: Array) -> Array:
        """From values at the corners of owned cells, (owned, corners, …), those at the points.

        Collective.
        """
        values = self.rows(owned)
        return np.asarray(values.reshape(-1, *values.shape[2:])[self._first])

    @property
    def vtk(self) -> NDArray[np.int64]:
        """The corners in VTK's ordering."""
        shape, width = self.domain.mesh.topology.cell_type, self.corners.shape[1]
        return np.asarray(self.corners[:, np.asarray(cpp.io.perm_vtk(shape, width))])


def _numbered(
    positions: Array, before: int, comm: MPI.Comm
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of distinct points in order of first appearance on all ranks; collective.

    Each point is known, by what its coordinates round to, to one rank, its directory, which finds
    who mentions it first.

    Args:
        positions: A slice of all positions, (n, 3).
        before: How many positions the ranks before have.
        comm: The ranks.

    Returns:
        The point at each position, (n,), and the positions of this slice at which a point appears
        first of all, in order.
    """
    low, high = positions.min(axis=0, initial=np.inf), positions.max(axis=0, initial=-np.inf)
    comm.Allreduce(MPI.IN_PLACE, low, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, high, op=MPI.MAX)
    bins = np.round((positions - low) * (2**20 / (high - low).max())).astype(np.int64)
    keys, mine, inverse = np.unique(
        (bins[:, 0] << 42) | (bins[:, 1] << 21) | bins[:, 2],
        return_index=True,
        return_inverse=True,
    )
    spread = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    directory = Exchange(comm, (spread % np.uint64(comm.size)).astype(np.int64))
    distinct, place = np.unique(directory.send(keys), return_inverse=True)
    first = np.full(len(distinct), np.iinfo(np.int64).max)
    np.minimum.at(first, place, directory.send(mine + before))
    new = directory.back(first[place]) == mine + before
    appear = np.sort(mine[new])
    number = np.full(len(keys), -1, dtype=np.int64)
    number[new] = np.searchsorted(appear, mine[new])
    number[new] += sum(comm.allgather(len(appear))[: comm.rank])
    known = np.full(len(distinct), -1, dtype=np.int64)
    np.maximum.at(known, place, directory.send(number))
    return directory.back(known[place])[inverse], appear


def _to_first(
    comm: MPI.Comm, mine: NDArray[Any], take: Callable[[int, NDArray[Any]], None]
) -> None:
    """On rank 0, take each rank's rows in turn, with the number of rows before; collective."""
    counts = comm.allgather(len(mine))
    for rank, count in enumerate(counts):
        rows = np.ascontiguousarray(mine)
        if rank and comm.rank == 0:
            rows = np.empty((count, *mine.shape[1:]), mine.dtype)
            comm.Recv(rows, source=rank)
        elif rank and comm.rank == rank:
            comm.Send(rows, dest=0)
        if comm.rank == 0:
            take(sum(counts[:rank]), rows)


def gather_mesh(domain: Domain) -> Grid | None:
    """The whole mesh on rank 0, for what draws or cuts it; collective.

    Returns:
        the grid on rank 0, None elsewhere.
    """
    part = Slice(domain)
    points, cells, corners = (
        _whole(domain.comm, rows) for rows in (part.points, part.vtk, part.corners)
    )
    if domain.comm.rank:
        return None
    return Grid(points, cells, corners, domain.mesh.topology.cell_type.name)


def _whole(comm: MPI.Comm, mine: NDArray[Any]) -> NDArray[Any]:
    """All ranks' rows on rank 0, none elsewhere; collective."""
    total = comm.reduce(len(mine)) or 0
    whole = np.empty((total, *mine.shape[1:]), mine.dtype)

    def take(row: int, rows: NDArray[Any]) -> None:
        whole[row : row + len(rows)] = rows

    _to_first(comm, mine, take)
    return whole


def slice_fields(part: Slice, fields: Fields) -> FieldSlices:
    """This rank's slice of fields; collective.

    Args:
        part: the slice of the mesh the fields live on.
        fields: by name, an array by cell in mesh-file order, (cells,) or (cells, components), or
            a Function: piecewise constant ones are values by cell, all others become values by
            point of degree one; a mixed Function gives a field for each of its parts.

    Raises:
        InputError: a name that HDF5 cannot hold, or an array that has not one row a cell.
    """
    found, cells = FieldSlices({}, {}), part.domain.num_cells
    for name, field in fields.items():
        if "/" in name or not name.strip(". "):
            raise InputError(f"A field cannot be named {name!r}: choose a name without a slash.")
        if isinstance(field, fem.Function):
            for piece, function in parts(name, field).items():
                _slice_function(part, piece, function, found)
            continue
        values = np.asarray(field, dtype=np.float64)
        if values.ndim not in (1, 2) or len(values) != cells:
            raise InputError(
                f"The field {name!r} has shape {values.shape}; it needs one row for each of the "
                f"{cells} cells, in mesh-file order."
            )
        found.by_cell[name] = values[slice(*part.ends)]
    return found


def parts(name: str, field: fem.Function) -> dict[str, fem.Function]:
    """The Function itself, or each part of a mixed one as a Function of its own; collective."""
    space = field.function_space
    if space.num_sub_spaces == 0 or space.dofmap.index_map_bs > 1:
        return {name: field}
    found = {}
    for i in range(space.num_sub_spaces):
        own, dofs = space.sub(i).collapse()
        part = fem.Function(own)
        part.x.array[:] = field.x.array[dofs]
        found[f"{name}_{i}"] = part
    return found


def _slice_function(part: Slice, name: str, field: fem.Function, into: FieldSlices) -> None:
    """Add this rank's slice of a Function's values; collective."""
    domain = part.domain
    by_cell = field.function_space.ufl_element().embedded_superdegree == 0
    if not by_cell:
        linear = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1, field.ufl_shape)))
        linear.interpolate(field)
        field = linear
    dofmap = field.function_space.dofmap
    values = field.x.array.reshape(-1, dofmap.index_map_bs)
    corners = values[dofmap.list[: len(domain.cells)]]
    if by_cell:
        into.by_cell[name] = part.rows(corners[:, 0])
    else:
        into.by_point[name] = part.at_points(corners)


def _as_vtk(values: Array) -> Array:
    """One column as a plain array; plane vectors and tensors with the zeros that VTK expects."""
    if values.ndim == 1 or values.shape[1] == 1:
        return values.reshape(-1)
    if values.shape[1] == 2:
        return np.pad(values, ((0, 0), (0, 1)))
    if values.shape[1] == 4:
        return np.pad(values.reshape(-1, 2, 2), ((0, 0), (0, 1), (0, 1))).reshape(-1, 9)
    return values


def write_vtkhdf(
    path: str | Path,
    domain: Domain,
    fields: Fields | Sequence[Fields],
    *,
    times: Sequence[float] | None = None,
) -> Path:
    """Write fields on the mesh as one VTKHDF file; collective.

    Args:
        path: the file, usually `*.vtkhdf`.
        domain: the mesh.
        fields: fields by name as `slice_fields` takes them, or a sequence of such mappings with
            the same names, one for each step.
        times: the steps' times; 0, 1, … without.

    Returns:
        the path.

    Raises:
        InputError: as `slice_fields`; steps with different names; a file that cannot be written.
    """
    path = Path(path)
    steps = [fields] if isinstance(fields, Mapping) else list(fields)
    if not steps or any(set(step) != set(steps[0]) for step in steps):
        raise InputError(f"The steps of {path.name} need the same fields by name, and one at least")
    when = np.arange(len(steps), dtype=float) if times is None else np.asarray(times, dtype=float)
    if when.shape != (len(steps),):
        raise InputError(f"{path.name} has {len(steps)} steps but {when.size} times")
    part = Slice(domain)
    slices = [slice_fields(part, step) for step in steps]
    file = _File(path, domain.comm)
    _write_grid(file, part)
    for group, sets in (
        ("CellData", [step.by_cell for step in slices]),
        ("PointData", [step.by_point for step in slices]),
    ):
        for name in sets[0]:
            stretches = [_as_vtk(values[name]) for values in sets]
            file.put(f"{group}/{name}", *stretches, compression="gzip")
    if not isinstance(fields, Mapping):
        points = domain.comm.allreduce(len(part.points))
        file.write(lambda root: _write_steps(root, slices[0], when, domain.num_cells, points))
    file.close()
    return path


class _File:
    """A VTKHDF file that rank 0 writes, one rank's slice after the other.

    When rank 0 fails it goes on receiving what the others send, and `close` raises on all.
    """

    def __init__(self, path: Path, comm: MPI.Comm) -> None:
        """Open the file on rank 0."""
        self._path, self._comm = path, comm
        self._error: Exception | None = None
        self._file: h5py.File | None = None
        if comm.rank == 0:
            try:
                self._file = h5py.File(path, "w")
            except Exception as failure:
                self._error = failure

    def write(self, action: Callable[[h5py.Group], None]) -> None:
        """Do something with the root group on rank 0, unless something has failed."""
        if self._file is None or self._error is not None:
            return
        try:
            action(self._file.require_group("VTKHDF"))
        except Exception as failure:
            self._error = failure

    def put(self, name: str, *stretches: NDArray[Any], compression: str | None = None) -> None:
        """A dataset of this rank's slices of one or more stretches; collective."""
        first = stretches[0]
        total = self._comm.allreduce(len(first))
        shape = (len(stretches) * total, *first.shape[1:])
        self.write(
            lambda root: root.create_dataset(name, shape, first.dtype, compression=compression)
        )
        for k, mine in enumerate(stretches):

            def take(row: int, rows: NDArray[Any], start: int = k * total) -> None:
                def store(root: h5py.Group) -> None:
                    root[name][start + row : start + row + len(rows)] = rows

                self.write(store)

            _to_first(self._comm, mine, take)

    def close(self) -> None:
        """Close the file; collective.

        Raises:
            InputError: It could not be written.
        """
        try:
            if self._file is not None:
                self._file.close()
        except Exception as failure:
            self._error = self._error or failure
        if isinstance(self._error, OSError):
            self._error = InputError(f"The fields cannot be written to {self._path}: {self._error}")
        agree(self._comm, self._error)


def _write_grid(file: _File, part: Slice) -> None:
    """Write the mesh; collective."""
    comm, cells = part.domain.comm, part.domain.num_cells
    width, points = part.corners.shape[1], comm.allreduce(len(part.points))

    def head(root: h5py.Group) -> None:
        root.attrs["Version"] = np.array([2, 2], dtype=np.int64)
        root.attrs.create("Type", np.bytes_("UnstructuredGrid"))
        for name, count in (
            ("NumberOfPoints", points),
            ("NumberOfCells", cells),
            ("NumberOfConnectivityIds", cells * width),
        ):
            root[name] = np.array([count], dtype=np.int64)

    file.write(head)
    first, last = part.ends
    ends = np.arange(first, last + (comm.rank == comm.size - 1), dtype=np.int64)
    kind = VTK_TYPE[part.domain.mesh.topology.cell_type.name]
    file.put("Points", part.points)
    file.put("Connectivity", part.vtk.ravel())
    file.put("Offsets", ends * width)
    file.put("Types", np.full(last - first, kind, dtype=np.uint8))


def _write_steps(
    root: h5py.Group, first: FieldSlices, when: Array, cells: int, points: int
) -> None:
    """Say that every step has the one mesh and its own stretch of each field."""
    count = len(when)
    steps = root.create_group("Steps")
    steps.attrs["NSteps"] = count
    steps["Values"] = when
    steps["NumberOfParts"] = np.ones(count, dtype=np.int64)
    for name in ("PartOffsets", "PointOffsets"):
        steps[name] = np.zeros(count, dtype=np.int64)
    for name in ("CellOffsets", "ConnectivityIdOffsets"):
        steps[name] = np.zeros((count, 1), dtype=np.int64)
    for name in first.by_cell:
        steps[f"CellDataOffsets/{name}"] = np.arange(count, dtype=np.int64) * cells
    for name in first.by_point:
        steps[f"PointDataOffsets/{name}"] = np.arange(count, dtype=np.int64) * points


def write_csv(path: str | Path, front: Front, *, fractions: Sequence[float]) -> Path:
    """Write the table of a front: a row for each point; collective.

    Args:
        path: the file, usually `front.csv`.
        front: the front.
        fractions: mean physical density of each point.

    Raises:
        InputError: a file that cannot be written.
    """
    path = Path(path)
    comm = front.over.domain.comm
    error: Exception | None = None
    if comm.rank == 0:
        try:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(_rows(front, fractions))
        except OSError as failure:
            error = InputError(f"The table cannot be written to {path}: {failure}")
    agree(comm, error)
    return path


def _rows(front: Front, fractions: Sequence[float]) -> list[list[Any]]:
    """Header and rows of the table; numbers with all their digits, points counted from 1."""
    results = [point.result for point in front.points]
    bounds = [
        name for name in results[0].constraints if all(name in r.constraints for r in results)
    ]
    last = ["knee", "reason", "iterations", "evaluations", "seconds"]
    rows: list[list[Any]] = [
        [
            "point",
            "label",
            *front.objectives,
            *bounds,
            "mean density",
            "feasible",
            "dominated",
            *last,
        ]
    ]
    for i, point in enumerate(front.points):
        result = point.result
        rows.append(
            [
                i + 1,
                point.label,
                *map(float, point.values),
                *(float(result.constraints[name]) for name in bounds),
                float(fractions[i]),
                bool(result.feasible),
                bool(point.dominated),
                i == front.knee,
                result.reason,
                int(result.iterations),
                int(result.evaluations),
                float(result.seconds),
            ]
        )
    return rows
