"""Files for other programs: fields as VTKHDF, the table of a front as CSV.

A VTKHDF file holds one unstructured grid in HDF5 (VTKHDF 2.2, in the VTK file formats' manual at
docs.vtk.org), with any number of cell and point fields and of steps that share the mesh; ParaView
and PyVista read it. Cells are written in mesh-file order and points in the order in which the
cells first mention them, so a file does not depend on the number of ranks. Values given by cell
are written to the last bit; any other Function is interpolated into the continuous space of degree
one.

In parallel the mesh and the fields are gathered to rank 0, which writes; every function here is
collective, and what fails on rank 0 is raised on every rank.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from dolfinx import cpp, fem
from numpy.typing import NDArray

from toolkit.errors import InputError, agree

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


class Gathered(NamedTuple):
    """Fields on rank 0: values by cell and values by point, each (rows,) or (rows, components)."""

    by_cell: dict[str, Array]
    by_point: dict[str, Array]


def gather_mesh(domain: Domain) -> Grid | None:
    """Gather the mesh to rank 0; collective.

    A mesh of higher degree gives its corners. Corners nearer than 10⁻⁶ of the longest side of the
    bounding box are one point.

    Returns:
        the grid on rank 0, None elsewhere.
    """
    mesh = domain.mesh
    shape = mesh.topology.cell_type
    corners = cpp.mesh.cell_num_vertices(shape)
    nodes = mesh.geometry.dofmaps[0][: len(domain.cells), :corners]
    positions = _gather(domain, mesh.geometry.x[nodes])
    if positions is None:
        return None
    points, numbers = _merge(positions.reshape(-1, 3))
    numbered = numbers.reshape(-1, corners)
    vtk = np.asarray(cpp.io.perm_vtk(shape, corners))
    return Grid(points, numbered[:, vtk], numbered, shape.name)


def _merge(positions: Array) -> tuple[Array, NDArray[np.int64]]:
    """Distinct points in order of first appearance, and the point at each position."""
    low = positions.min(axis=0)
    bins = np.round((positions - low) * (2**20 / np.ptp(positions, axis=0).max())).astype(np.int64)
    _, first, inverse = np.unique(
        (bins[:, 0] << 42) | (bins[:, 1] << 21) | bins[:, 2],
        return_index=True,
        return_inverse=True,
    )
    order = np.argsort(first)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return positions[first[order]], number[inverse]


def _gather(domain: Domain, owned: Array) -> Array | None:
    """Gather one row for each owned cell to rank 0, in mesh-file order; collective."""
    parts = domain.comm.gather((domain.cells, owned), root=0)
    if parts is None:
        return None
    whole = np.empty((domain.num_cells, *owned.shape[1:]))
    for cells, values in parts:
        whole[cells] = values
    return whole


def gather_fields(domain: Domain, fields: Fields, grid: Grid | None) -> Gathered:
    """Gather fields to rank 0; collective.

    Args:
        domain: the mesh the fields live on.
        fields: by name, an array by cell in mesh-file order, (cells,) or (cells, components), or
            a Function: piecewise constant ones are values by cell, all others become values by
            point of degree one; a mixed Function gives a field for each of its parts.
        grid: what `gather_mesh` returned.

    Raises:
        InputError: a name that HDF5 cannot hold, or an array that has not one row a cell.
    """
    gathered = Gathered({}, {})
    for name, field in fields.items():
        if "/" in name or not name.strip(". "):
            raise InputError(f"A field cannot be named {name!r}: choose a name without a slash.")
        if isinstance(field, fem.Function):
            for part, function in parts(name, field).items():
                _gather_function(domain, part, function, grid, gathered)
            continue
        values = np.asarray(field, dtype=np.float64)
        if values.ndim not in (1, 2) or len(values) != domain.num_cells:
            raise InputError(
                f"The field {name!r} has shape {values.shape}; it needs one row for each of the "
                f"{domain.num_cells} cells, in mesh-file order."
            )
        gathered.by_cell[name] = values
    return gathered


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


def _gather_function(
    domain: Domain, name: str, field: fem.Function, grid: Grid | None, into: Gathered
) -> None:
    """Add a Function's values to those gathered on rank 0; collective."""
    by_cell = field.function_space.ufl_element().embedded_superdegree == 0
    if not by_cell:
        linear = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1, field.ufl_shape)))
        linear.interpolate(field)
        field = linear
    dofmap = field.function_space.dofmap
    values = field.x.array.reshape(-1, dofmap.index_map_bs)
    corners = _gather(domain, values[dofmap.list[: len(domain.cells)]])
    if corners is None or grid is None:
        return
    if by_cell:
        into.by_cell[name] = np.squeeze(corners, axis=1)
        return
    nodal = np.empty((len(grid.points), values.shape[1]))
    nodal[grid.corners.ravel()] = corners.reshape(-1, values.shape[1])
    into.by_point[name] = nodal


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
        fields: fields by name as `gather_fields` takes them, or a sequence of such mappings with
            the same names, one for each step.
        times: the steps' times; 0, 1, … without.

    Returns:
        the path.

    Raises:
        InputError: as `gather_fields`; steps with different names; a file that cannot be written.
    """
    path = Path(path)
    steps = [fields] if isinstance(fields, Mapping) else list(fields)
    if not steps or any(set(step) != set(steps[0]) for step in steps):
        raise InputError(f"The steps of {path.name} need the same fields by name, and one at least")
    when = np.arange(len(steps), dtype=float) if times is None else np.asarray(times, dtype=float)
    if when.shape != (len(steps),):
        raise InputError(f"{path.name} has {len(steps)} steps but {when.size} times")
    grid = gather_mesh(domain)
    gathered = [gather_fields(domain, step, grid) for step in steps]
    error: Exception | None = None
    if grid is not None:
        try:
            _write_grid(path, grid, gathered, None if isinstance(fields, Mapping) else when)
        except OSError as failure:
            error = InputError(f"The fields cannot be written to {path}: {failure}")
    agree(domain.comm, error)
    return path


def _write_grid(path: Path, grid: Grid, steps: list[Gathered], when: Array | None) -> None:
    """Write the file on rank 0; `when` is None for a file without steps."""
    cells, corners = grid.cells.shape
    with h5py.File(path, "w") as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = np.array([2, 2], dtype=np.int64)
        root.attrs.create("Type", np.bytes_("UnstructuredGrid"))
        for name, count in (
            ("NumberOfPoints", len(grid.points)),
            ("NumberOfCells", cells),
            ("NumberOfConnectivityIds", cells * corners),
        ):
            root[name] = np.array([count], dtype=np.int64)
        root["Points"] = grid.points
        root["Connectivity"] = grid.cells.ravel()
        root["Offsets"] = np.arange(0, cells * corners + 1, corners, dtype=np.int64)
        root["Types"] = np.full(cells, VTK_TYPE[grid.shape], dtype=np.uint8)
        for group, sets in (
            ("CellData", [step.by_cell for step in steps]),
            ("PointData", [step.by_point for step in steps]),
        ):
            for name in sets[0]:
                stacked = np.concatenate([_as_vtk(values[name]) for values in sets])
                root.create_dataset(f"{group}/{name}", data=stacked, compression="gzip")
        if when is not None:
            _write_steps(root, steps[0], when, cells, len(grid.points))


def _write_steps(root: h5py.Group, first: Gathered, when: Array, cells: int, points: int) -> None:
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
