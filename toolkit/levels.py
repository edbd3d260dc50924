"""Nested grids of a box, from the mesh's own down to a few cells, each distributed as the mesh is.

A coarse cell is two fine ones along every axis whose number of cells is even; of flat or long
cells the short edges are doubled first, since point-wise smoothing leaves what varies along the
others. A rank knows of a coarse grid what its own fine cells lie in: a coarse cell that several
ranks share is on each of them with its own children alone, so that sums over cells are complete
once ghosts are added up. A coarse node belongs to the owner of the fine node at the same place.
Nothing is gathered.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from dolfinx import common, fem, mesh
from mpi4py import MPI

from toolkit.domain import Domain, Lattice
from toolkit.exchange import Exchange, holder

__all__ = ["Level", "Lookup", "Transfer", "coarser", "finest", "shared"]

FLAT = 1.9  # cells longer than so many times their shortest edge are not made longer still

Integers = npt.NDArray[np.int32]
Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]


class Level(NamedTuple):
    """One grid, as far as this rank knows it.

    Attributes:
        lattice: Its cells along each axis.
        index_map: Of its nodes.
        nodes: Position of each local node in the lattice, owned ones first, (local, d).
        corners: Position of the lowest node of each cell, (cells, d).
        cells: Local nodes of each cell, the first axis fastest, (cells, 2ᵈ).
    """

    lattice: Lattice
    index_map: common.IndexMap
    nodes: Integers
    corners: Integers
    cells: Integers


class Transfer(NamedTuple):
    """How a coarse grid and the next finer one belong together.

    Attributes:
        start, column, weight: Interpolation at the owned fine nodes from local coarse nodes, rows
            compressed.
        parent: Local coarse cell of each fine cell.
        place: Which child of it that is, (cells,).
        interpolation: From the nodes of the parent to those of each kind of child, (2ᵈ, 2ᵈ, 2ᵈ).
    """

    start: Integers
    column: Integers
    weight: Array
    parent: Integers
    place: Integers
    interpolation: Array


def finest(domain: Domain, space: fem.FunctionSpace) -> Level:
    """The grid of the mesh itself, with the nodes of a Lagrange space of degree one.

    Args:
        domain: A box with a lattice.
        space: Its dofs are the nodes.
    """
    lattice = domain.lattice
    assert lattice is not None
    d, n = domain.dimension, np.array(lattice.resolution)
    spacing = np.array(lattice.lengths) / n
    nodes = np.rint(space.tabulate_dof_coordinates()[:, :d] / spacing).astype(np.int32)
    owned = np.arange(len(domain.cells), dtype=np.int32)
    middles = mesh.compute_midpoints(domain.mesh, d, owned)[:, :d]
    corners = _wrapped(np.floor(middles / spacing).astype(np.int32), lattice)
    nodes = _wrapped(nodes, lattice)
    dofs = space.dofmap.list[: len(owned)]
    offsets = _wrapped(nodes[dofs] - corners[:, None], lattice)
    cells = np.empty_like(dofs)
    np.put_along_axis(cells, (offsets << np.arange(d)).sum(axis=2), dofs, axis=1)
    return Level(lattice, space.dofmap.index_map, nodes, corners, cells)


def coarser(level: Level, comm: MPI.Comm) -> tuple[Level, Transfer] | None:
    """The next coarser grid and the way to it, or None if no axis can be halved; collective."""
    n = np.array(level.lattice.resolution)
    halves = (n % 2 == 0) & (n > 2)
    if not halves.any():
        return None
    spacing = np.array(level.lattice.lengths) / n
    halves &= spacing < FLAT * spacing[halves].min()
    step = np.where(halves, 2, 1).astype(np.int32)
    lattice = level.lattice._replace(resolution=tuple(int(v) for v in n // step))
    shape = _nodes_along(lattice)
    d, owned = len(n), level.index_map.size_local
    corners, parent = np.unique(_keys(level.corners // step, shape), return_inverse=True)
    coarse_corners = _positions(corners, shape)
    steps = np.array(list(product((0, 1), repeat=d)), dtype=np.int32)[:, ::-1]
    cell_keys = _keys(_wrapped(coarse_corners[:, None] + steps, lattice), shape)
    rows, row_keys, weight = _interpolation(level.nodes[:owned], step, lattice)
    coincident = (level.nodes[:owned] % step == 0).all(axis=1)
    mine = np.unique(_keys(level.nodes[:owned][coincident] // step, shape))
    others = np.setdiff1d(np.concatenate([cell_keys.ravel(), row_keys]), mine)
    index_map = _index_map(comm, mine, others, int(np.prod(shape)))
    keys = np.concatenate([mine, others])
    local = Lookup(keys)
    coarse = Level(lattice, index_map, _positions(keys, shape), coarse_corners, local(cell_keys))
    start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=owned))])
    transfer = Transfer(
        start.astype(np.int32),
        local(row_keys),
        weight,
        parent.astype(np.int32).ravel(),
        ((level.corners % step) << np.arange(d)).sum(axis=1).astype(np.int32),
        _children(steps, step),
    )
    return coarse, transfer


def _wrapped(positions: Integers, lattice: Lattice) -> Integers:
    """Positions modulo the period."""
    period = np.where(lattice.periodic, lattice.resolution, np.iinfo(np.int32).max)
    return np.asarray(positions % period, dtype=np.int32)


def _nodes_along(lattice: Lattice) -> Integers:
    """Number of nodes along each axis."""
    return np.array(lattice.resolution, dtype=np.int32) + ~np.array(lattice.periodic)


def _keys(positions: Integers, shape: Integers) -> Keys:
    """One number for each position, (…, d) → (…)."""
    strides = np.concatenate([[1], np.cumprod(shape[:-1], dtype=np.int64)])
    return np.asarray((positions * strides).sum(axis=-1), dtype=np.int64)


def _positions(keys: Keys, shape: Integers) -> Integers:
    """The positions of some keys, (n, d)."""
    found = np.unravel_index(keys, tuple(shape), order="F")
    return np.stack(found, axis=1).astype(np.int32)


def _interpolation(nodes: Integers, step: Integers, lattice: Lattice) -> tuple[Keys, Keys, Array]:
    """Row, key of the coarse node and weight of every entry of the interpolation, by rows."""
    low, between = nodes // step, nodes % step != 0
    shape, d = _nodes_along(lattice), nodes.shape[1]
    rows, keys, weights = [], [], []
    for side in product((0, 1), repeat=d):
        there = (between | ~np.array(side, dtype=bool)).all(axis=1)
        rows.append(np.flatnonzero(there))
        keys.append(_keys(_wrapped(low[there] + np.array(side, np.int32), lattice), shape))
        weights.append(0.5 ** between[there].sum(axis=1))
    order = np.argsort(np.concatenate(rows), kind="stable")
    row, key, weight = (np.concatenate(part)[order] for part in (rows, keys, weights))
    return row, key, weight


def _children(steps: Integers, step: Integers) -> Array:
    """Interpolation from a parent's nodes to each child's, [place, child's node, parent's node]."""
    one = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.0, 1.0]]])  # of two halves
    same = np.array([np.eye(2), np.eye(2)])
    axes = [one if s == 2 else same for s in step]
    Q = np.ones((len(steps),) * 3)
    for (i, place), (j, child), (k, parent) in product(*[list(enumerate(steps))] * 3):
        for a, w in enumerate(axes):
            Q[i, j, k] *= w[place[a], child[a], parent[a]]
    return Q


class Lookup:
    """From keys to their positions in a list of them."""

    def __init__(self, keys: Keys) -> None:
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def __call__(self, wanted: Keys) -> Integers:
        """Where some keys stand."""
        return self._order[np.searchsorted(self._sorted, wanted)].astype(np.int32)


def shared(
    comm: MPI.Comm, keys: Keys, marks: Keys, total: int
) -> tuple[common.IndexMap, Keys, Keys]:
    """Numbers for keys that several ranks may hold: the lowest of them owns; collective.

    Args:
        comm: Communicator.
        keys: This rank's, each once.
        marks: A number with each, of which the largest on any rank is kept.
        total: More than any key.

    Returns:
        The map; the keys in its order, owned ones first; their marks.
    """
    directory = Exchange(comm, holder(total, keys, comm.size))
    asked, given = directory.send(keys), directory.send(marks)
    known, place = np.unique(asked, return_inverse=True)
    owner, largest = np.full(len(known), comm.size), np.zeros(len(known), dtype=np.int64)
    np.minimum.at(owner, place, directory.send(np.full(len(keys), comm.rank)))
    np.maximum.at(largest, place, given)
    owners, marks = directory.back(owner[place]), directory.back(largest[place])
    order = np.argsort(owners != comm.rank, kind="stable")
    mine = int((owners == comm.rank).sum())
    ordered = keys[order]
    return _index_map(comm, ordered[:mine], ordered[mine:], total), ordered, marks[order]


def _index_map(comm: MPI.Comm, mine: Keys, others: Keys, total: int) -> common.IndexMap:
    """Numbers for the owned keys, and who owns the others: asked of a directory; collective."""
    first = sum(comm.allgather(len(mine))[: comm.rank])
    told = Exchange(comm, holder(total, mine, comm.size))
    place = Lookup(told.send(mine))
    number = told.send(first + np.arange(len(mine)))
    owner = told.send(np.full(len(mine), comm.rank, dtype=np.int32))
    asked = Exchange(comm, holder(total, others, comm.size))
    wanted = place(asked.send(others))
    numbers, owners = asked.back(number[wanted]), asked.back(owner[wanted])
    return common.IndexMap(comm, len(mine), numbers, owners, 1)
