"""A field of one mesh at the quadrature points of another that overlaps it, region by region.

Two meshes of one bone, as it was and with an implant, share its shape and the names of its parts,
and no cell. A point of the one takes the value in the cell of the other that contains it and lies
in the same named volumes: cortical bone from cortical bone, across an interface that both meshes
cut differently into facets. Where there is none, as beside a curved surface, it takes the
value at the midpoint of the nearest such cell. Of several cells the one that stands first in the
mesh file counts, so that the result does not depend on the ranks.

Both meshes may be distributed, each in its own way: the ranks show their points to all others, one
after the other, so that none holds more than one rank's points and its own cells.
"""

from typing import Any, NamedTuple

import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, geometry
from mpi4py import MPI
from scipy.spatial import KDTree
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree

from toolkit.domain import Domain
from toolkit.errors import InputError

__all__ = ["carried"]

type Array = npt.NDArray[np.float64]
type Integers = npt.NDArray[np.int64]
type Names = tuple[str, ...]

NONE = np.iinfo(np.int64).max
HIGHEST = 2  # degree of the polynomials that stand for the field in each cell


class _Part(NamedTuple):
    """The cells of this rank that lie in the same named volumes, and ways to search them.

    Attributes:
        cells: Local numbers, (cells,).
        boxes: Their bounding boxes.
        midpoints: (cells, 3).
        nearest: Tree of the midpoints; None without cells.
    """

    cells: npt.NDArray[np.int32]
    boxes: geometry.BoundingBoxTree[np.float64]
    midpoints: Array
    nearest: KDTree | None


def carried(expression: Any, source: Domain, target: Domain, *, degree: int) -> fem.Function:
    """A UFL scalar of one domain at the quadrature points of another; collective.

    Args:
        expression: Of `source`; in each cell it is taken as a polynomial of its degree, 2 at most.
        source: Where it lives.
        target: Where it is wanted; on the same mesh it is evaluated and nothing is searched.
        degree: Of the quadrature rule, to be given to `dx(degree=…)` as well.

    Returns:
        A function of quadrature points on `target`; not a number outside the volumes that both
        meshes name, if they have any.

    Raises:
        InputError: The target has cells in a combination of volumes that the source lacks, or the
            meshes are on different ranks.
    """
    if MPI.Comm.Compare(source.comm, target.comm) not in (MPI.IDENT, MPI.CONGRUENT):
        raise InputError(
            f"'{source.source}' and '{target.source}' are on different communicators. Give both "
            "the same."
        )
    shape = target.mesh.topology.cell_name()
    element = basix.ufl.quadrature_element(shape, degree=degree)
    result = fem.Function(fem.functionspace(target.mesh, element), name="carried")
    points = np.asarray(result.function_space.element.interpolation_points)
    if source is target:
        result.interpolate(fem.Expression(expression, points))
        return result
    owned = np.arange(len(target.cells), dtype=np.int32)
    x = fem.Expression(ufl.SpatialCoordinate(target.mesh), points).eval(target.mesh, owned)
    x = np.asarray(x).reshape(len(owned) * len(points), -1)
    x = np.pad(x, ((0, 0), (0, 3 - x.shape[1])))
    names = tuple(n for n in target.names(target.dimension) if n in source.names(source.dimension))
    kinds = _kinds(target, names)[owned]
    values = np.full(len(x), np.nan)
    finder = _Finder(_polynomial(expression, source), source)
    for kind in _known(target, source, names):
        here = np.repeat(kinds == kind, len(points))
        values[here] = finder.at(x[here], _cells_of(source, names, kind))
    result.x.array[result.function_space.dofmap.list[: len(owned)].ravel()] = values
    result.x.scatter_forward()
    return result


def _polynomial(expression: Any, source: Domain) -> fem.Function:
    """The expression as a polynomial in each cell."""
    degree = estimate_total_polynomial_degree(apply_algebra_lowering(expression))
    space = fem.functionspace(source.mesh, ("DG", min(degree, HIGHEST)))
    function = fem.Function(space)
    function.interpolate(fem.Expression(expression, space.element.interpolation_points))
    return function


def _kinds(domain: Domain, names: Names) -> npt.NDArray[np.str_]:
    """For each local cell the named volumes that it lies in, as a word of 0 and 1, (cells,)."""
    topology = domain.mesh.topology
    cells = topology.index_map(topology.dim)
    words = np.full((cells.size_local + cells.num_ghosts, max(len(names), 1)), "0")
    for column, name in enumerate(names):
        words[domain.entities(domain.dimension, name), column] = "1"
    return words.view(f"U{words.shape[1]}").ravel()


def _cells_of(source: Domain, names: Names, kind: str) -> npt.NDArray[np.int32]:
    """The owned cells that lie in the given volumes."""
    return np.flatnonzero(_kinds(source, names)[: len(source.cells)] == kind).astype(np.int32)


def _known(target: Domain, source: Domain, names: Names) -> list[str]:
    """The combinations of volumes to search, the same on every rank; collective."""
    found = []
    for domain in (target, source):
        own = set(_kinds(domain, names)[: len(domain.cells)].tolist())
        found.append({kind for each in domain.comm.allgather(own) for kind in each})
    wanted = sorted(kind for kind in found[0] if "1" in kind or not names)
    for kind in wanted:
        if kind not in found[1]:
            inside = ", ".join(n for n, bit in zip(names, kind, strict=False) if bit == "1")
            raise InputError(
                f"The mesh '{target.source}' has cells in all of: {inside}. '{source.source}' has "
                "none, so there is no value to carry. Name the parts of both meshes alike."
            )
    return wanted


class _Finder:
    """A function that is asked at points of any rank."""

    def __init__(self, function: fem.Function, domain: Domain) -> None:
        self.function, self.domain = function, domain

    def at(self, x: Array, cells: npt.NDArray[np.int32]) -> Array:
        """Its values at this rank's points (n, 3) in some cells of all ranks; collective."""
        comm, part = self.domain.comm, self._part(cells)
        mine = np.zeros(len(x))
        for root in range(comm.size):
            points = comm.bcast(x if comm.rank == root else None, root)
            cell, key = self._containing(points, part)
            first = _least(comm, key)
            chosen = np.where(key == first, cell, -1)
            chosen[first == NONE] = -1
            values = self._values(points, chosen)
            missed = np.flatnonzero(first == NONE)
            values[missed] = self._nearest(points[missed], part)
            total = comm.reduce(values, root=root)
            mine = total if comm.rank == root else mine
        return mine

    def _part(self, cells: npt.NDArray[np.int32]) -> _Part:
        mesh = self.domain.mesh
        corners = mesh.geometry.x[mesh.geometry.dofmaps[0][cells]]
        midpoints = corners.mean(axis=1) if len(cells) else np.zeros((0, 3))
        boxes = geometry.bb_tree(mesh, self.domain.dimension, entities=cells)
        return _Part(cells, boxes, midpoints, KDTree(midpoints) if len(cells) else None)

    def _containing(self, x: Array, part: _Part) -> tuple[npt.NDArray[np.int32], Integers]:
        """The cell of this rank that contains each point, and its place in the file, or NONE."""
        cell, key = np.full(len(x), -1, np.int32), np.full(len(x), NONE)
        if part.nearest is None or not len(x):
            return cell, key
        near = geometry.compute_collisions_points(part.boxes, x)
        hit = geometry.compute_colliding_cells(self.domain.mesh, near, x)
        rows = np.repeat(np.arange(len(x)), np.diff(hit.offsets))
        places = self.domain.cells[hit.array]
        np.minimum.at(key, rows, places)
        first = places == key[rows]
        cell[rows[first]] = hit.array[first]
        return cell, key

    def _values(self, x: Array, cell: npt.NDArray[np.int32]) -> Array:
        """The function at points in the given cells, 0 where there is none (−1), (n,)."""
        values, here = np.zeros(len(x)), np.flatnonzero(cell >= 0)
        if len(here):
            values[here] = self.function.eval(x[here], cell[here]).ravel()
        return values

    def _nearest(self, x: Array, part: _Part) -> Array:
        """The function at the midpoint nearest to each point of all ranks, where here; collective.

        Elsewhere 0.
        """
        comm = self.domain.comm
        distance, row = np.full(len(x), np.inf), np.zeros(len(x), np.int64)
        if part.nearest is not None and len(x):
            distance, row = part.nearest.query(x)
        near = np.flatnonzero(np.isfinite(distance) & (distance == _least(comm, distance)))
        place = np.full(len(x), NONE)
        place[near] = self.domain.cells[part.cells[row[near]]]
        here = near[place[near] == _least(comm, place)[near]]
        values = np.zeros(len(x))
        values[here] = self._values(part.midpoints[row[here]], part.cells[row[here]])
        return values


def _least(comm: MPI.Comm, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The least of all ranks' values, entry by entry; collective."""
    least = np.empty_like(values)
    comm.Allreduce(values, least, op=MPI.MIN)
    return least
