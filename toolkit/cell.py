"""A `Domain` whose opposite faces are one: the periodic unit cell.

The topology is made from cells whose vertices on opposite faces carry one number, so every space,
filter and multigrid on it is periodic, without constraint equations. The geometry is then given
back: each cell gets coordinates of its own, unwrapped by the minimum image x + L round((x₀ − x)/L)
and placed so that its midpoint lies within the period. That is local to each rank. It needs cells
shorter than half a period, hence three cells along each.

Nodes of opposite faces are found to be one by ranks that are the directories of parts of space:
each node of a face is posted, folded into the period, to the directories of the cubes that it
touches, and these answer with the least of the nodes near it. A rank holds a slice of nodes and of
cells until then.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import permutations, product
from pathlib import Path
from typing import Any, Self

import basix
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import cpp, la, mesh
from mpi4py import MPI
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from toolkit import meshfile
from toolkit.domain import Domain, Lattice, Shape
from toolkit.errors import InputError, agree
from toolkit.exchange import Exchange, Remote

__all__ = ["Cell"]

Points = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
AXES = "xyz"
SIMPLICES = ("triangle", "tetrahedron")


class Cell(Domain):
    """A periodic domain.

    Attributes:
        lengths: The period along each axis, (d,).
        periodic: Along which axes it repeats.
    """

    lengths: Points
    periodic: tuple[bool, ...]

    @classmethod
    def box(
        cls,
        lengths: Sequence[float],
        resolution: Sequence[int],
        *,
        shape: Shape | None = None,
        periodic: Sequence[bool] | None = None,
        comm: MPI.Comm = MPI.COMM_WORLD,
    ) -> Self:
        """A rectangle or box from the origin, all of it meshed.

        Cell number (i n₂ + j) n₃ + k lies at position i, j, k, so that the ravelled array of
        voxels is a vector in mesh-file order; triangles and tetrahedra come 2 and 6 to a voxel.
        Faces are named xmin, xmax, ymin, …; those of a period are one, inside the domain.

        Args:
            lengths: Two or three edge lengths.
            resolution: Number of cells along each, at least three along a period.
            shape: Cell shape; quadrilaterals and hexahedra unless given.
            periodic: Axes along which it repeats; all unless given.
            comm: Communicator of the mesh.

        Raises:
            InputError: A length that is not positive, a period of fewer than three cells.
        """
        d = len(lengths)
        shapes: dict[int, tuple[Shape, Shape]] = {
            2: ("quadrilateral", "triangle"),
            3: ("hexahedron", "tetrahedron"),
        }
        if d not in shapes or len(resolution) != d:
            raise InputError(
                f"Cell.box: lengths {tuple(lengths)} and resolution {tuple(resolution)} must both "
                "have two or three entries."
            )
        if not (min(lengths) > 0 and np.isfinite(lengths).all()) or min(resolution) < 1:
            raise InputError(
                f"Cell.box: lengths {tuple(lengths)} must be positive and resolution "
                f"{tuple(resolution)} at least 1."
            )
        shape = shape or shapes[d][0]
        if shape not in shapes[d]:
            raise InputError(f"Cell.box: shape '{shape}' is none of {', '.join(shapes[d])}.")
        repeats = _axes(periodic, d)
        for axis, (n, again) in enumerate(zip(resolution, repeats, strict=True)):
            if again and n < 3:
                raise _too_few(f"Cell.box: {n} cells along {AXES[axis]}")
        periods = np.asarray(lengths, dtype=float)
        grid = _Grid(periods, np.asarray(resolution), repeats, shape)
        cell = cls._make(grid.part(comm.rank, comm.size), periods, repeats, comm, grid.text)
        if shape == shapes[d][0]:
            cell.lattice = Lattice(
                tuple(float(v) for v in lengths), tuple(int(n) for n in resolution), repeats
            )
        return cell

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        lengths: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
        comm: MPI.Comm = MPI.COMM_WORLD,
    ) -> Self:
        """Read a gmsh .msh (or its converted .h5) whose opposite faces match node by node.

        Args:
            path: The mesh file; of a .h5 each rank reads its slice, a .msh is read on rank 0.
            lengths: The periods, if they exceed what is meshed; else the extents of the mesh.
            periodic: Axes along which it repeats; all unless given.
            comm: Communicator of the mesh.

        Raises:
            InputError: Faces that do not match, a period of fewer than three cells, and what
                `Domain.read` refuses.
        """
        arrays = meshfile.read_slices(Path(path), comm)
        return cls._wrapped(arrays, lengths, periodic, comm, str(path))

    @classmethod
    def build(
        cls,
        geometry: Callable[..., Any],
        *,
        lengths: Sequence[float] | None = None,
        periodic: Sequence[bool] | None = None,
        comm: MPI.Comm = MPI.COMM_WORLD,
    ) -> Self:
        """Mesh a gmsh model on rank 0, identify its opposite faces and distribute it.

        Args:
            geometry: Called on rank 0 as by `Domain.build`; opposite faces are meshed alike
                (`gmsh.model.mesh.setPeriodic`).
            lengths: The periods, if they exceed what is meshed; else the extents of the mesh.
            periodic: Axes along which it repeats; all unless given.
            comm: Communicator of the mesh.

        Raises:
            InputError: Faces that do not match, a period of fewer than three cells.
        """
        arrays, source = cls._model(geometry, comm)
        return cls._wrapped(arrays, lengths, periodic, comm, source)

    @classmethod
    def _wrapped(
        cls,
        arrays: meshfile.MeshArrays,
        lengths: Sequence[float] | None,
        periodic: Sequence[bool] | None,
        comm: MPI.Comm,
        source: str,
    ) -> Self:
        """From slices of a mesh whose opposite faces are still two; collective."""
        repeats = _axes(periodic, arrays.points.shape[1])
        low, high = _ends(arrays.points, comm)
        periods = _periods(high - low, lengths, source)
        arrays = _identify(arrays, low, periods, repeats, comm, source)
        return cls._make(arrays, periods, repeats, comm, source)

    @classmethod
    def _make(
        cls,
        arrays: meshfile.MeshArrays,
        periods: Points,
        repeats: tuple[bool, ...],
        comm: MPI.Comm,
        source: str,
    ) -> Self:
        """From arrays whose opposite faces are one; collective."""
        joined, named, fingerprint = cls._create(arrays, comm)
        unwrapped = _unwrap(joined, periods, repeats)
        d = len(periods)
        for axis, again in zip(AXES, repeats, strict=False):  # the two faces of a period are one
            low, high = (d - 1, axis + "min"), (d - 1, axis + "max")
            if again and low in named:
                named.setdefault(high, named[low])
        cell = cls.__new__(cls)
        cell.lengths, cell.periodic = periods, repeats
        agree(comm, _short_cells(unwrapped, periods, repeats, source))
        Domain.__init__(cell, unwrapped, named, source=source, fingerprint=fingerprint)
        return cell

    @property
    def volume(self) -> float:
        """Volume of the period (area in 2D), whatever part of it is meshed."""
        return float(np.prod(self.lengths))

    @property
    def meshed(self) -> float:
        """Volume of the cells; collective."""
        return float(self.comm.allreduce(self.cell_volumes.sum()))

    def between(self, start: Points, end: Points) -> Points:
        """Vector to the nearest image of the end, (n, 3)."""
        span = np.asarray(end - start)
        for axis, again in enumerate(self.periodic):
            if again:
                L = self.lengths[axis]
                span[:, axis] -= L * np.round(span[:, axis] / L)
        return span

    def _located(self, dim: int, where: Callable[[Points], Any]) -> Any:
        """As of a `Domain`; at the seam, entities that satisfy it on either side; collective."""
        topology, geometry, d = self.mesh.topology, self.mesh.geometry, self.dimension
        inside = np.asarray(where(geometry.x.T))[geometry.dofmaps[0]]
        corners = basix.topology(getattr(basix.CellType, topology.cell_name()))[dim]
        within = np.stack([inside[:, each].all(axis=1) for each in corners], axis=1)
        entities = topology.connectivity(d, dim).array.reshape(within.shape)
        found = la.vector(topology.index_map(dim), 1)
        found.array[entities[within]] = 1.0
        found.scatter_reverse(la.InsertMode.add)  # the cell on the other side may be elsewhere
        found.scatter_forward()
        located = np.flatnonzero(found.array)
        if dim == d - 1:
            located = np.intersect1d(located, mesh.exterior_facet_indices(topology))
        return located

    @cached_property
    def anchors(self) -> str:
        """Name of one vertex of each connected part, the first in the mesh file; collective."""
        name = "anchors"
        vertices = np.arange(self.mesh.topology.index_map(0).size_local, dtype=np.int32)
        numbers, parts = _connected(self.mesh)
        found = vertices[(numbers == parts)[: len(vertices)]]
        self._named[0, name] = found
        return name


class _Grid:
    """The periodic grid of a box, any slice of it."""

    def __init__(
        self,
        lengths: Points,
        resolution: npt.NDArray[Any],
        periodic: tuple[bool, ...],
        shape: Shape,
    ) -> None:
        self.n, self.shape, self.d = resolution.astype(np.int64), shape, len(lengths)
        self.nodes = self.n + ~np.array(periodic)
        self.spacing = lengths / self.n
        self.text = (
            f"cell {[float(v) for v in lengths]} {[int(v) for v in resolution]} {shape} "
            f"{[bool(p) for p in periodic]}"
        )

    def part(self, part: int, parts: int) -> meshfile.MeshArrays:
        """The layers i of this part: nodes, cells and facets by global numbers."""
        first, last = (int(self.n[0]) * (part + s) // parts for s in (0, 1))
        end = int(self.nodes[0]) if part == parts - 1 else last
        points = self._grid([(first, end), *((0, m) for m in self.nodes[1:])]) * self.spacing
        corners = self._grid([(first, last), *((0, m) for m in self.n[1:])])
        fingerprint = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        cells = self._cells(corners)
        named = {
            (self.d - 1, AXES[axis] + side): self._face(axis, at, first, last)
            for axis in range(self.d)
            for side, at in (("min", 0), ("max", int(self.n[axis])))
            if side == "min" or self.nodes[axis] > self.n[axis]
        }
        return meshfile.MeshArrays(points, cells, (self.shape, 1), named, fingerprint)

    def _number(self, index: Numbers) -> Numbers:
        """Global number of the nodes at integer positions, (..., d), which wrap around."""
        number = np.zeros(index.shape[:-1], dtype=np.int64)
        for axis in range(self.d):
            number = number * self.nodes[axis] + index[..., axis] % self.nodes[axis]
        return number

    def _cells(self, corners: Numbers) -> Numbers:
        """Nodes of the cells whose least corner is given, in DOLFINx order."""
        if self.shape in ("quadrilateral", "hexahedron"):
            steps = [np.array(step[::-1]) for step in product((0, 1), repeat=self.d)]
            return np.stack([self._number(corners + step) for step in steps], axis=1)
        paths = []
        for order in permutations(range(self.d)):  # Kuhn: along the axes in any order
            walk = [np.zeros(self.d, np.int64)]
            for axis in order:
                walk.append(walk[-1] + np.eye(self.d, dtype=np.int64)[axis])
            paths.append(np.stack([self._number(corners + step) for step in walk], axis=1))
        return np.stack(paths, axis=1).reshape(-1, self.d + 1)

    def _face(self, axis: int, at: int, first: int, last: int) -> Numbers:
        """Facets on a plane across an axis, among the layers of this part."""
        ranges = [(first, last), *((0, m) for m in self.n[1:])]
        if axis == 0:
            mine = first <= min(at, int(self.n[0]) - 1) < last
            ranges[0] = (at, at + 1) if mine else (0, 0)
        else:
            ranges[axis] = (at, at + 1)
        corners = self._grid(ranges)
        others = [a for a in range(self.d) if a != axis]
        unit = np.eye(self.d, dtype=np.int64)
        if self.shape in ("quadrilateral", "hexahedron"):
            steps = [
                sum((s * unit[a] for s, a in zip(step[::-1], others, strict=True)), 0 * unit[0])
                for step in product((0, 1), repeat=self.d - 1)
            ]
            return np.stack([self._number(corners + step) for step in steps], axis=1)
        parts = []
        for order in permutations(others):
            walk = [np.zeros(self.d, np.int64)]
            for a in order:
                walk.append(walk[-1] + unit[a])
            parts.append(np.stack([self._number(corners + step) for step in walk], axis=1))
        return np.concatenate(parts)

    @staticmethod
    def _grid(ranges: Sequence[tuple[int, int]]) -> Numbers:
        """Integer positions of a block of the grid, (n, d), the last index fastest."""
        axes = np.meshgrid(*(np.arange(a, b) for a, b in ranges), indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)


def _axes(periodic: Sequence[bool] | None, d: int) -> tuple[bool, ...]:
    repeats = (True,) * d if periodic is None else tuple(bool(p) for p in periodic)
    if len(repeats) != d or not any(repeats):
        raise InputError(
            f"periodic = {periodic} must name for each of {d} axes whether it repeats."
        )
    return repeats


def _too_few(what: str) -> InputError:
    return InputError(
        f"{what}: a period needs at least three cells, since with fewer the two ends of an edge "
        "are one or two cells share all their vertices. Refine it."
    )


def _ends(points: Points, comm: MPI.Comm) -> tuple[Points, Points]:
    """The least and the largest coordinates of all ranks' points; collective."""
    low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
    comm.Allreduce(MPI.IN_PLACE, low, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, high, op=MPI.MAX)
    return low, high


def _periods(extents: Points, lengths: Sequence[float] | None, source: str) -> Points:
    if lengths is None:
        return extents
    periods = np.asarray(lengths, dtype=float)
    if periods.shape != extents.shape or not (periods > 0).all():
        raise InputError(f"lengths = {lengths} must be {len(extents)} positive numbers.")
    if (extents > periods * (1 + 1e-9)).any():
        raise InputError(
            f"The mesh '{source}' extends over {extents.tolist()}, more than the periods "
            f"{periods.tolist()}."
        )
    return periods


def _identify(
    arrays: meshfile.MeshArrays,
    low: Points,
    periods: Points,
    periodic: tuple[bool, ...],
    comm: MPI.Comm,
    source: str,
) -> meshfile.MeshArrays:
    """Give the nodes of opposite faces one number: that of the node with the least coordinates.

    Collective; `arrays` is this rank's slice, and so is the result.
    """
    x = arrays.points - low
    near, edge = 1e-6 * periods, 1e-3 * float(periods.max())
    corners = Remote(comm, len(x), arrays.cells)
    folded, outer = x.copy(), np.zeros(len(x), dtype=bool)
    for axis in np.flatnonzero(periodic):
        sides = (x[:, axis] < near[axis], x[:, axis] > periods[axis] - near[axis])
        if comm.allreduce(bool(sides[1].any()), op=MPI.LOR):
            faces = _faces(corners, sides, arrays.cell[0])
            _check_faces(x, int(axis), faces, (float(near[axis]), edge), comm, source)
        folded[sides[1], axis] -= periods[axis]
        outer |= sides[0] | sides[1]
    faces_ = np.flatnonzero(outer)
    peers = _Near(comm, folded[faces_], float(near.max()), edge)
    image = np.arange(len(x)) + corners.first
    image[faces_] = peers.least(x[faces_].sum(axis=1), image[faces_])
    base = image == np.arange(len(x)) + corners.first
    number = np.cumsum(base) - 1 + sum(comm.allgather(int(base.sum()))[: comm.rank])
    number[faces_] = Remote(comm, len(x), image[faces_]).get(number)
    named = {
        key: Remote(comm, len(x), nodes).get(number) for key, nodes in sorted(arrays.named.items())
    }
    return arrays._replace(points=arrays.points[base], cells=corners.get(number), named=named)


def _faces(corners: Remote, sides: tuple[Flags, Flags], shape: str) -> tuple[Flags, Flags]:
    """Which nodes of this rank are on a facet, of any rank, in one of two faces; collective."""
    found = []
    for side in sides:
        there = corners.get(side)
        d = {"triangle": 2, "quadrilateral": 2}.get(shape, 3)
        vertices, facet = (d + 1, d) if shape in SIMPLICES else (2**d, 2 ** (d - 1))
        flat = there[:, :vertices].sum(axis=1) >= facet
        found.append(corners.mark(there & flat[:, None]))
    return found[0], found[1]


def _check_faces(
    x: Points,
    axis: int,
    faces: tuple[Flags, Flags],
    near: tuple[float, float],
    comm: MPI.Comm,
    source: str,
) -> None:
    """Each node of a facet in one face has an image in the other; a lone node needs none.

    Collective. `near` is how near, and the length of a bin.
    """
    across = [a for a in range(x.shape[1]) if a != axis]
    low, high = (x[face][:, across] for face in faces)
    points = np.concatenate([low, high])
    upper = np.arange(len(points)) >= len(low)
    lonely = int((~_Near(comm, points, *near).paired(upper)).sum())
    lows, highs, lonely = comm.allreduce(np.array([len(low), len(high), lonely])).tolist()
    if lonely or lows != highs:
        gap = max(_gap(comm, a, b) for a, b in ((low, high), (high, low)))
        raise InputError(
            f"The faces {AXES[axis]}min and {AXES[axis]}max of the mesh '{source}' do not match: "
            f"{lows} and {highs} nodes, the largest mismatch is {gap:.3g}. Mesh them "
            "alike (gmsh.model.mesh.setPeriodic), or leave this axis out of `periodic`."
        )


def _gap(comm: MPI.Comm, low: Points, high: Points) -> float:
    """Largest distance of a point to the nearest of others; gathers a face, for a message."""
    every = np.concatenate(comm.allgather(low))
    distance = cKDTree(high).query(every)[0] if len(high) else np.full(len(every), np.inf)
    comm.Allreduce(MPI.IN_PLACE, distance, op=MPI.MIN)
    return float(distance.max(initial=0.0))


class _Near:
    """Points of all ranks, each posted to those ranks that look for others near it.

    Space is cut into cubes, of each of which one rank is the directory; a point is posted to those
    of all the cubes that it is near to, so of two near ones each meets the other somewhere.
    """

    def __init__(self, comm: MPI.Comm, points: Points, near: float, edge: float) -> None:
        """Post the points; collective.

        Args:
            comm: The ranks.
            points: Of this rank, (n, d).
            near: How far from one another near ones are.
            edge: Of a cube, at least twice as long.
        """
        self._comm, n = comm, len(points)
        ends = [np.floor((points + s * near) / edge).astype(np.int64) for s in (-1, 1)]
        to = []
        for sides in product((0, 1), repeat=points.shape[1]):
            key = np.zeros(n, dtype=np.int64)
            for axis, side in enumerate(sides):
                key = key * 1_000_003 + ends[side][:, axis]
            to.append(key % 7919 % comm.size)
        posts = np.unique(np.arange(n) * comm.size + np.stack(to), axis=None)
        self._point, rank = np.divmod(posts, comm.size)
        self._exchange = Exchange(comm, rank)
        self._n, self._near = n, near
        self._points = self._send(points)

    def _send(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._exchange.send(values[self._point])

    def paired(self, upper: Flags) -> Flags:
        """Whether a point has one of the other kind near it, (n,); collective."""
        kind = self._send(upper)
        found = np.zeros(len(kind), dtype=bool)
        for mine in (kind, ~kind):
            if mine.any() and not mine.all():
                tree = cKDTree(self._points[~mine])
                found[mine] = tree.query(self._points[mine])[0] <= self._near
        answer = np.zeros(self._n, dtype=bool)
        answer[self._point[self._exchange.back(found)]] = True
        return answer

    def least(self, order: Points, number: Numbers) -> Numbers:
        """The number of the point first in order among those that near ones join; collective.

        Args:
            order: Of each point, (n,).
            number: Of each point, (n,).
        """
        count = len(self._points)
        pairs = np.zeros((0, 2), dtype=np.int64)
        if count:
            pairs = cKDTree(self._points).query_pairs(self._near, output_type="ndarray")
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
        parts, part = (
            connected_components(graph, directed=False) if count else (0, np.zeros(0, int))
        )
        while True:  # mostly twice: what joins chains across cubes, and that nothing has changed
            orders, numbers = self._send(order), self._send(number)
            first = _first(part, parts, orders, numbers)[part]
            orders = self._exchange.back(orders[first])
            numbers = self._exchange.back(numbers[first])
            first = _first(self._point, self._n, orders, numbers)
            changed = bool((numbers[first] != number).any())
            order, number = orders[first], numbers[first]
            if not self._comm.allreduce(changed, op=MPI.LOR):
                return number


def _first(group: Numbers, groups: int, order: Points, number: Numbers) -> Numbers:
    """Of each group the member first in order, of equals that of the largest number, (groups,)."""
    first = np.zeros(groups, dtype=np.int64)
    backwards = np.lexsort((number, -order))
    first[group[backwards]] = backwards
    return first


def _unwrap(joined: mesh.Mesh, periods: Points, periodic: tuple[bool, ...]) -> mesh.Mesh:
    """The same topology with coordinates of its own for each cell; local to each rank."""
    d = len(periods)
    dofs = joined.geometry.dofmaps[0]
    x = joined.geometry.x[:, :d]
    L = np.where(periodic, periods, np.inf)
    origin = np.empty(d)
    joined.comm.Allreduce(x.min(axis=0, initial=np.inf), origin, op=MPI.MIN)
    corner = x[dofs]
    images = np.where(periodic, np.round((corner[:, :1] - corner) / L), 0.0)
    corner = corner + images * np.where(periodic, periods, 0.0)
    middle = np.floor((corner.mean(axis=1) - origin) / L + 1e-9)
    images = images - np.where(periodic, middle, 0.0)[:, None]
    digits = 5 ** np.arange(d)  # images lie within ±2 periods
    code = dofs.astype(np.int64) * 5**d + (images.astype(np.int64) + 2) @ digits
    unique, place = np.unique(code.ravel(), return_inverse=True)
    node, image = unique // 5**d, unique[:, None] // digits % 5 - 2
    points = np.ascontiguousarray(x[node] + image * np.where(periodic, periods, 0.0))
    geometry = mesh.create_geometry(
        cpp.common.IndexMap(joined.comm, len(points)),
        place.reshape(dofs.shape).astype(np.int32),
        joined.geometry.cmaps[0],
        points,
        joined.geometry.input_global_indices[node],
    )
    made = cpp.mesh.Mesh_float64(joined.comm, joined.topology._cpp_object, geometry._cpp_object)
    return mesh.Mesh(made, ufl.Mesh(joined.ufl_domain().ufl_coordinate_element()))


def _short_cells(
    unwrapped: mesh.Mesh, periods: Points, periodic: tuple[bool, ...], source: str
) -> InputError | None:
    """An error if a cell is as long as half a period."""
    corner = unwrapped.geometry.x[unwrapped.geometry.dofmaps[0]][..., : len(periods)]
    if not len(corner):
        return None
    for axis, again in enumerate(periodic):
        longest = float(np.ptp(corner[..., axis], axis=1).max())
        if again and longest > 0.499 * periods[axis]:
            return _too_few(
                f"The mesh '{source}' has a cell {longest:.3g} long along {AXES[axis]}, whose "
                f"period is {periods[axis]:.3g}"
            )
    return None


def _connected(mesh_: mesh.Mesh) -> tuple[Numbers, Numbers]:
    """The file's number of each local vertex, and the least of those connected to it; collective.

    Each rank joins what its own cells join; then the ranks tell each other the numbers at shared
    vertices until none changes.
    """
    topology, d = mesh_.topology, mesh_.topology.dim
    shared = topology.index_map(0)
    count = shared.size_local + shared.num_ghosts
    corners = topology.connectivity(d, 0).array.reshape(
        -1, cpp.mesh.cell_num_vertices(topology.cell_type)
    )
    nodes = mesh.entities_to_geometry(mesh_, 0, np.arange(count, dtype=np.int32))[:, 0]
    number = la.vector(shared, 1)
    number.array[:] = mesh_.geometry.input_global_indices[nodes]
    rows = np.repeat(corners[:, 0], corners.shape[1] - 1)
    graph = coo_array((np.ones(len(rows)), (rows, corners[:, 1:].ravel())), (count, count))
    parts, part = connected_components(graph, directed=False)
    least = la.vector(shared, 1)
    least.array[:] = number.array
    owners = Exchange(mesh_.comm, np.asarray(shared.owners))
    mine = owners.send(np.asarray(shared.ghosts)) - shared.local_range[0]
    while True:
        before = least.array.copy()
        lowest = np.full(parts, np.inf)
        np.minimum.at(lowest, part, least.array)
        least.array[:] = lowest[part]
        np.minimum.at(least.array, mine, owners.send(least.array[shared.size_local :]))
        least.scatter_forward()
        if not mesh_.comm.allreduce(bool((least.array != before).any()), op=MPI.LOR):
            return number.array.astype(np.int64), least.array.astype(np.int64)
