"""Auxiliary grids: lattices under a mesh of any cells, as fine as the mesh is locally, and nested.

The coarse spaces of a mesh without coarser meshes are taken from lattices that know nothing of its
boundary (the auxiliary space method: Xu, Computing 56, 215–235, 1996, doi:10.1007/BF02247890). All
lattices are sublattices of one, whose spacing is halved from the bounding box down: 2ᵏ times the
finest spacing on level k. A node of the mesh, around which cells are of size h, is interpolated
from the level whose spacing is next to 2 h, in the simplex of Kuhn's triangulation that it lies in;
so graded meshes get graded lattices. On each further grid a point of level k lies on level k + 1 or
half way between two points that do. Linear functions, and so the rigid motions, are interpolated
exactly.

A rank knows of each grid what its own cells touch. Owners are settled by a directory; nothing is
gathered.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from dolfinx import common, fem, la
from mpi4py import MPI

from toolkit.cell import Cell
from toolkit.domain import Domain
from toolkit.levels import Lookup, shared

__all__ = ["Cloud", "Interpolation", "lattices"]

SPACING = 2.0  # of the lattice, relative to the local size of cells
FEWEST = 3  # lattice cells along the shortest axis of the coarsest grid, at least about so many

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Keys = npt.NDArray[np.int64]


class Cloud(NamedTuple):
    """The points of one grid.

    Attributes:
        index_map: Of them.
        positions: Of the local ones, owned ones first, in units of the finest lattice, (local, d).
    """

    index_map: common.IndexMap
    positions: Array


class Interpolation(NamedTuple):
    """At the local points of a grid from those of the next coarser one, rows compressed."""

    start: Integers
    column: Integers
    weight: Array


class Frame(NamedTuple):
    """The finest lattice of a bounding box.

    Attributes:
        origin, spacing: In the mesh's units, (d,).
        halvings: How often the spacing of each axis was halved, (d,).
        period: Points along each periodic axis, a huge number along the others, (d,).
        shape: Points along each axis, (d,).
    """

    origin: Array
    spacing: Array
    halvings: Integers
    period: Keys
    shape: Keys

    def step(self, level: npt.NDArray[np.int64] | int) -> Keys:
        """Spacing of a level's lattice in units of the finest one, (…, d)."""
        return np.asarray(1 << np.minimum(np.asarray(level)[..., None], self.halvings))

    def keys(self, positions: Keys) -> Keys:
        """One number for each position modulo the period, (…, d) → (…)."""
        strides = np.concatenate([[1], np.cumprod(self.shape[:-1])])
        return np.asarray(((positions % self.period) * strides).sum(axis=-1))

    def positions(self, keys: Keys) -> Keys:
        """The positions of some keys, (n, d)."""
        return np.stack(np.unravel_index(keys, tuple(self.shape), order="F"), axis=1)


def lattices(
    domain: Domain, space: fem.FunctionSpace, few: int
) -> tuple[list[Cloud], list[Interpolation]]:
    """The mesh's nodes and the lattices under them, and the ways between; collective.

    Args:
        domain: The mesh.
        space: A Lagrange space, whose dofs are the nodes.
        few: Number of points of a grid that is coarse enough.
    """
    d, comm = domain.dimension, domain.comm
    x = space.tabulate_dof_coordinates()[:, :d]
    touched = np.zeros(len(x), dtype=bool)
    cells = space.dofmap.list[: len(domain.cells)]
    touched[cells] = True
    touched[: space.dofmap.index_map.size_local] = True
    sizes = _sizes(domain, space)
    frame, level = _frame(domain, SPACING * sizes, space.dofmap.index_map.size_local)
    deepest = int(frame.halvings.max())
    clouds = [Cloud(space.dofmap.index_map, (x - frame.origin) / frame.spacing)]
    nodes, ways = np.flatnonzero(touched), []
    entries = _in_simplices(clouds[0].positions, level, nodes, frame)
    marks = level
    while True:
        rows, parents, weights = entries
        keys, place = np.unique(parents, return_inverse=True)
        coarse = np.zeros(len(keys), dtype=np.int64)
        np.maximum.at(coarse, place.ravel(), marks[rows])
        made, ordered, marks = shared(comm, keys, coarse, int(np.prod(frame.shape)))
        counts = np.bincount(rows, minlength=len(clouds[-1].positions))
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        ways.append(Interpolation(start, Lookup(ordered)(parents), weights))
        positions = frame.positions(ordered)
        clouds.append(Cloud(made, positions.astype(float)))
        coarsest = comm.allreduce(int(marks.min(initial=deepest)), op=MPI.MIN) >= deepest
        if made.size_global <= few or coarsest:
            return clouds, ways
        marks = np.minimum(marks + 1, deepest)
        entries = _halved(positions, marks, frame)


def _sizes(domain: Domain, space: fem.FunctionSpace) -> Array:
    """Edge of a cube with the volume that each local node has among the cells around it."""
    index_map = space.dofmap.index_map
    owned = space.dofmap.list[: len(domain.cells)]
    volume, count = la.vector(index_map, 1), la.vector(index_map, 1)
    np.add.at(volume.array, owned, domain.cell_volumes[:, None])
    np.add.at(count.array, owned, 1.0)
    for v in (volume, count):
        v.scatter_reverse(la.InsertMode.add)
        v.scatter_forward()
    nodes_a_cell = 1 / (1 if domain.tensor_cells else {2: 2, 3: 6}[domain.dimension])
    degree = space.ufl_element().degree
    mean = volume.array / np.maximum(count.array, 1.0)
    return (mean / nodes_a_cell) ** (1 / domain.dimension) / degree


def _frame(domain: Domain, spacing: Array, owned: int) -> tuple[Frame, npt.NDArray[np.int64]]:
    """The finest lattice, and the level of each node by its wanted spacing; collective."""
    d, comm = domain.dimension, domain.comm
    nodes = domain.mesh.geometry.x[:, :d]
    low, high = nodes.min(axis=0, initial=np.inf), nodes.max(axis=0, initial=-np.inf)
    comm.Allreduce(MPI.IN_PLACE, low, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, high, op=MPI.MAX)
    periodic = np.zeros(d, dtype=bool)
    lengths = high - low
    if isinstance(domain, Cell):
        periodic = np.array(domain.periodic)
        lengths = np.where(periodic, domain.lengths, lengths)
    log = np.log2(spacing)
    total, count = comm.allreduce(np.array([log[:owned].sum(), owned]))
    mean = total / count
    level = np.rint(log - mean).astype(np.int64)
    least = comm.allreduce(int(level.min(initial=0)), op=MPI.MIN)
    level -= least
    target = 2 ** (mean + least)  # spacing of the finest lattice
    n = np.maximum(lengths / target, 1.0)
    halvings = np.maximum(np.floor(np.log2(n / FEWEST)), 0).astype(np.int32)
    n = np.maximum(np.rint(n / 2.0**halvings), 1.0) * 2**halvings
    shape = np.where(periodic, n, n + 1).astype(np.int64)
    period = np.where(periodic, n, np.iinfo(np.int64).max // 4).astype(np.int64)
    return Frame(low, lengths / n, halvings, period, shape), np.minimum(level, halvings.max())


def _in_simplices(
    positions: Array, level: npt.NDArray[np.int64], nodes: Keys, frame: Frame
) -> tuple[Keys, Keys, Array]:
    """Row, key of the lattice point and weight of every entry of the interpolation at nodes."""
    d = positions.shape[1]
    step = frame.step(level[nodes])
    scaled = positions[nodes] / step
    low = np.floor(scaled + 1e-9)
    inside = np.clip(scaled - low, 0.0, 1.0)
    inside[inside < 1e-9] = 0.0
    order = np.argsort(-inside, axis=1, kind="stable")
    sorted_ = np.take_along_axis(inside, order, axis=1)
    bounds = np.hstack([np.ones((len(nodes), 1)), sorted_, np.zeros((len(nodes), 1))])
    weights = bounds[:, :-1] - bounds[:, 1:]
    corner = (low * step).astype(np.int64)
    keys = np.empty((len(nodes), d + 1), dtype=np.int64)
    keys[:, 0] = frame.keys(corner)
    each = np.arange(len(nodes))
    for k in range(d):
        axis = order[:, k]
        corner[each, axis] += step[each, axis]
        keys[:, k + 1] = frame.keys(corner)
    kept = weights > 0.0
    return np.repeat(nodes, kept.sum(axis=1)), keys[kept], weights[kept]


def _halved(positions: Keys, level: Keys, frame: Frame) -> tuple[Keys, Keys, Array]:
    """The same from points to the lattice of a level: half way between two of it, or one of it."""
    step = frame.step(level)
    off = positions % step
    low, high = positions - off, positions + np.where(off > 0, step - off, 0)
    between = (off > 0).any(axis=1)
    rows = np.repeat(np.arange(len(positions)), 1 + between)
    keys = np.stack([frame.keys(low), frame.keys(high)], axis=1)
    kept = np.stack([np.ones_like(between), between], axis=1)
    weights = np.where(between, 0.5, 1.0)
    return rows, keys[kept], np.repeat(weights, 1 + between)
