"""One grid of a hierarchy: its operator, its smoother, and the vectors over its nodes.

A rank holds of an operator what its own cells add to it, so that sums over ranks are complete once
ghosts are added up. Smoothing is by Chebyshev's polynomial in D⁻¹A on [b/10, b], where b is the
smaller of a bound of λ_max(D⁻¹A) and 1.1 times the quotient of a power iteration that goes on from
design to design.
"""

import numpy as np
import numpy.typing as npt
from dolfinx import common, la
from mpi4py import MPI
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from toolkit.kernels import Kernels
from toolkit.levels import Level

__all__ = [
    "AssembledGrid",
    "Coarsest",
    "Fields",
    "Grid",
    "MatrixGrid",
    "ScaledGrid",
    "TensorGrid",
    "upper",
]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
LOWEST = 0.1  # lower end of the smoothed part of the spectrum, relative to b
MARGIN = 1.1  # of the power iteration's quotient, which comes from below
SHIFT = 1e-12  # of the coarsest matrix, relative to its diagonal
POWERS = (20, 2)  # its steps for the first design and for each later one


class Fields:
    """Several vectors over the nodes of one grid."""

    def __init__(self, index_map: common.IndexMap, block: int, count: int) -> None:
        self.vectors = [la.vector(index_map, block) for _ in range(count)]
        self.arrays = [v.array for v in self.vectors]
        self._parallel = index_map.comm.size > 1

    def zero(self) -> None:
        """Set all entries to zero."""
        for a in self.arrays:
            a[:] = 0.0

    def send(self) -> None:
        """Owners' values to the ghosts; collective."""
        if self._parallel:
            for v in self.vectors:
                v.scatter_forward()

    def collect(self) -> None:
        """Add the ghosts' values to the owners'; collective."""
        if self._parallel:
            for v in self.vectors:
                v.scatter_reverse(la.InsertMode.add)


class Grid:
    """One grid's operator and smoother.

    Attributes:
        index_map: Of its nodes.
        block: Unknowns a node.
        kernels: The compiled loops.
        free: 1 at unknowns that are not fixed, 0 at those that are, ghosts included.
        owned: Number of this rank's unknowns.
        inverse: D⁻¹ at the owned free unknowns, 0 elsewhere.
        bound: Of λ_max(D⁻¹A) for every design, where one is known.
        steps: Of the smoother, before and after the coarse correction.
        weights: Of those steps.
    """

    bound: float | None = None
    steps = 1

    def __init__(
        self,
        index_map: common.IndexMap,
        positions: Integers | Array,
        block: int,
        kernels: Kernels,
        free: Array,
    ) -> None:
        """Lay it out.

        Args:
            index_map: As the attribute.
            positions: Of the local nodes, in any unit and the same on every rank, (local, d).
            block: As the attribute.
            kernels: As the attribute.
            free: As the attribute.
        """
        self.index_map, self.block, self.kernels, self.free = index_map, block, kernels, free
        self._positions = positions
        self.owned = index_map.size_local * block
        self.inverse = np.zeros(self.owned)
        self.weights: Array = np.zeros(0)
        self._work: dict[int, list[Fields]] = {}
        self._mode = np.zeros(0)
        self._diagonal = la.vector(index_map, block)

    def reset(self) -> None:
        """Begin the next power iteration anew."""
        self._mode = np.zeros(0)

    def work(self, count: int) -> list[Fields]:
        """Three sets of `count` vectors, made once."""
        if count not in self._work:
            self._work[count] = [Fields(self.index_map, self.block, count) for _ in range(3)]
        return self._work[count]

    def multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x at the owned unknowns, fixed ones included; collective."""
        raise NotImplementedError

    def smooth(self, b: Fields, x: Fields, y: Fields, weights: Array) -> None:
        """Relax x once for each weight, with y for work; collective."""
        n = self.owned
        for w in weights:
            self.multiply(x, y)
            for right, left, image in zip(b.arrays, x.arrays, y.arrays, strict=True):
                self.kernels("relax", n, float(w), self.inverse, right, image, left)

    def begin(self, b: Fields, x: Fields, y: Fields) -> None:
        """Relax x from zero; collective."""
        n = self.owned
        for right, left in zip(b.arrays, x.arrays, strict=True):
            np.multiply(self.inverse, right[:n], out=left[:n])
            left[:n] *= self.weights[0]
        self.smooth(b, x, y, self.weights[1:])

    def bound_spectrum(self, *, estimated: bool) -> None:
        """Set the weights for b, the least that is known of D⁻¹A; collective."""
        if estimated:
            b = MARGIN * self._quotient()
            b = b if self.bound is None else min(b, self.bound)
        else:
            b = self._proved() if self.bound is None else self.bound
        self.weights = _chebyshev(b, self.steps)

    def _proved(self) -> float:
        """A bound of λ_max(D⁻¹A) for this design; collective."""
        raise NotImplementedError

    def _quotient(self) -> float:
        """|D⁻¹A v| / |v| in the norm of D at the end of a power iteration; collective."""
        n, (_, x, y) = self.owned, self.work(1)
        new = not len(self._mode)
        if new:
            axes = np.array([12.9898, 78.233, 37.719])[: self._positions.shape[1]]
            phase = np.outer(self._positions @ axes, 1 + np.arange(self.block))
            self._mode = np.sin(phase).ravel()[:n] * self.free[:n]
        v, quotient = self._mode, 0.0
        for _ in range(POWERS[0] if new else POWERS[1]):
            x.arrays[0][:n] = v
            self.multiply(x, y)
            v = self.inverse * y.arrays[0][:n]
            size = float(v @ y.arrays[0][:n])
            quotient = float(np.sqrt(self.index_map.comm.allreduce(size)))
            v /= quotient or 1.0
        self._mode = v
        return quotient

    def _invert_diagonal(self) -> None:
        """D⁻¹ from each rank's part of the diagonal; collective."""
        if self.index_map.comm.size > 1:
            self._diagonal.scatter_reverse(la.InsertMode.add)
        owned = self._diagonal.array[: self.owned]
        held = (self.free[: self.owned] == 0.0) | (owned == 0.0)  # or in cells without stiffness
        self.inverse = np.where(held, 0.0, 1.0 / np.where(held, 1.0, owned))


class ScaledGrid(Grid):
    """A mesh of like cells: one tensor K, scaled in each; A x = Σ c_c P_cᵀ K P_c x, no matrix."""

    def __init__(
        self, level: Level, block: int, kernels: Kernels, free: Array, tensor: Array
    ) -> None:
        super().__init__(level.index_map, level.nodes, block, kernels, free)
        self.cells, self.tensor = level.cells, np.ascontiguousarray(tensor)
        self.scale = np.zeros(len(level.cells))

    def update(self, scale: Array) -> None:
        """Take new scales of the cells; collective."""
        self.scale = np.ascontiguousarray(scale)
        y = self._diagonal.array
        y[:] = 0.0
        self.kernels("diagonal_scaled", len(scale), self.cells, self.tensor, self.scale, y)
        self._invert_diagonal()

    def multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x at the owned unknowns; collective."""
        x.send()
        y.zero()
        cells, count = self.cells, len(x.arrays)
        arguments = (len(cells), cells, self.tensor, self.scale, count, x.arrays, y.arrays)
        self.kernels("product_scaled", *arguments)
        y.collect()


class MatrixGrid(Grid):
    """A symmetric matrix by rows of nodal blocks: what this rank's cells add to it.

    Attributes:
        start, column: Of the rows' blocks from the diagonal on; the lower half is not stored.
        blocks: The blocks by columns, (blocks, block, block).
    """

    def __init__(
        self,
        index_map: common.IndexMap,
        positions: Integers | Array,
        block: int,
        kernels: Kernels,
        free: Array,
        start: Integers,
        column: Integers,
    ) -> None:
        super().__init__(index_map, positions, block, kernels, free)
        self.start, self.column = start, column
        self.blocks = np.zeros((len(column), block, block))
        self._row = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
        self._on_diagonal = np.flatnonzero(self._row == column)

    def assembled(self) -> None:
        """The blocks have changed; collective."""
        k, places = np.arange(self.block), self._on_diagonal
        self._diagonal.array[:] = 0.0
        nodes = self._diagonal.array.reshape(-1, self.block)
        nodes[self.column[places]] = self.blocks[places[:, None], k, k]
        self._invert_diagonal()

    def multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x at the owned unknowns; collective."""
        x.send()
        rows, count = len(self.start) - 1, len(x.arrays)
        arguments = (rows, self.start, self.column, self.blocks, count, x.arrays, y.arrays)
        self.kernels("product", *arguments)
        y.collect()

    def triplets(self) -> tuple[Array, Array, Array]:
        """Rows and columns, numbered globally, and values of all entries."""
        k = np.arange(self.block)
        local = np.arange(len(self.start) - 1, dtype=np.int32)
        numbers = self.index_map.local_to_global(local) * self.block
        shape = (len(self.column), self.block, self.block)
        rows = np.broadcast_to(numbers[self._row][:, None, None] + k, shape)
        columns = np.broadcast_to(numbers[self.column][:, None, None] + k[:, None], shape)
        values, below = self.blocks, self._row != self.column
        return (
            np.concatenate([rows.ravel(), columns[below].ravel()]),
            np.concatenate([columns.ravel(), rows[below].ravel()]),
            np.concatenate([values.ravel(), values[below].ravel()]),
        )

    def _proved(self) -> float:
        """The largest sum of a row of |D^-½ A D^-½|; collective."""
        root, sums = (Fields(self.index_map, self.block, 1) for _ in range(2))
        root.arrays[0][: self.owned] = np.sqrt(self.inverse)
        root.send()
        scale, nodes = (f.arrays[0].reshape(-1, self.block) for f in (root, sums))
        size, below = np.abs(self.blocks), self._row != self.column
        size *= scale[self.column][:, :, None] * scale[self._row][:, None, :]
        np.add.at(nodes, self._row, size.sum(axis=1))
        np.add.at(nodes, self.column[below], size[below].sum(axis=2))
        sums.collect()
        largest = sums.arrays[0][: self.owned].max(initial=0.0)
        return float(self.index_map.comm.allreduce(largest, op=MPI.MAX))


class TensorGrid(MatrixGrid):
    """A coarser grid of a box: the Galerkin tensors of its cells, and the matrix of their sum."""

    def __init__(self, level: Level, block: int, kernels: Kernels, free: Array) -> None:
        start, column, place = upper(level.cells, len(level.nodes))
        self._place = np.where(level.cells[:, :, None] <= level.cells[:, None, :], place, -1)
        super().__init__(level.index_map, level.nodes, block, kernels, free, start, column)
        cells, width = level.cells.shape
        self.tensors = np.zeros((cells, width * block, width * block))

    def assemble(self) -> None:
        """Sum the tensors into the matrix; collective."""
        self.blocks[:] = 0.0
        self.kernels("assemble", len(self.tensors), self._place, self.tensors, self.blocks)
        self.assembled()


class AssembledGrid(MatrixGrid):
    """A mesh of any cells: A = Σ c_c P_cᵀ K_c P_c + B with a tensor for each; zero where fixed."""

    def __init__(
        self,
        index_map: common.IndexMap,
        positions: Array,
        block: int,
        kernels: Kernels,
        free: Array,
        cells: Integers,
        tensors: Array | None,
        rest: la.MatrixCSR | None,
    ) -> None:
        """Lay out the matrix.

        Args:
            index_map: As of a `Grid`.
            positions: As of a `Grid`.
            block: As of a `Grid`.
            kernels: As of a `Grid`.
            free: As of a `Grid`.
            cells: Local nodes of each cell in increasing order, (cells, n).
            tensors: K_c for each pair of nodes from the diagonal on, (cells, n (n + 1) / 2, block,
                block); None if nothing is scaled.
            rest: B, of which what this rank's cells add to it is taken at each update, if any.
        """
        start, column, place = upper(cells, len(positions))
        super().__init__(index_map, positions, block, kernels, free, start, column)
        self._tensors, self._rest = tensors, rest
        self._place = np.ascontiguousarray(place[:, *np.triu_indices(cells.shape[1])])
        if rest is not None:
            n, known = len(positions), self._row.astype(np.int64) * len(positions) + column
            rows = np.repeat(np.arange(len(rest.indptr) - 1), np.diff(rest.indptr))
            upper_half = (rows <= rest.indices) & (rest.indices < n)
            wanted = np.where(upper_half, rows * n + rest.indices, -1)
            onto = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            self._taken = np.flatnonzero(known[onto] == wanted)  # others are of other ranks' cells
            self._onto = onto[self._taken]
        held = free.reshape(-1, block) == 0.0
        some = held.any(axis=1)
        self._cut = np.flatnonzero(some[self._row] | some[self.column])
        above, beside = ~held[self._row[self._cut]], ~held[self.column[self._cut]]
        self._kept = beside[:, :, None] & above[:, None, :]

    def update(self, scale: Array | None) -> None:
        """Take new scales of the cells, if they have any, and B as it stands; collective."""
        self.blocks[:] = 0.0
        if scale is not None and self._tensors is not None:
            scale = np.ascontiguousarray(scale)
            arguments = (len(scale), self._place, self._tensors, scale, self.blocks)
            self.kernels("assemble_scaled", *arguments)
        if self._rest is not None:
            given = self._rest.data.reshape(-1, self.block, self.block)[self._taken]
            self.blocks[self._onto] += given.transpose(0, 2, 1)
        self.blocks[self._cut] *= self._kept
        self.assembled()


class Coarsest:
    """The last grid's matrix, factorised on every rank."""

    def __init__(self, grid: MatrixGrid, comm: MPI.Comm) -> None:
        self._grid, self._comm = grid, comm
        rows, columns, _ = grid.triplets()
        self._rows = np.concatenate(comm.allgather(rows))
        self._columns = np.concatenate(comm.allgather(columns))
        self._counts = np.array(comm.allgather(grid.owned))
        self.size = int(self._counts.sum())
        self._free = np.concatenate(comm.allgather(grid.free[: grid.owned]))

    def update(self) -> None:
        """Factorise; collective."""
        values = np.concatenate(self._comm.allgather(self._grid.triplets()[2]))
        values = values * self._free[self._rows] * self._free[self._columns]
        A = coo_array((values, (self._rows, self._columns)), shape=(self.size,) * 2).tocsc()
        diagonal = A.diagonal()
        # Fixed, or without stiffness; beside few nodes of the mesh lattices are semidefinite.
        A.setdiag(np.where(diagonal == 0.0, 1.0, diagonal * (1 + SHIFT)))
        self._factors = splu(A, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})

    def solve(self, b: Fields, x: Fields) -> None:
        """X = A⁻¹ b; collective."""
        n = self._grid.owned
        mine = np.array([right[:n] for right in b.arrays])
        whole = np.concatenate(self._comm.allgather(mine), axis=1) if self._comm.size > 1 else mine
        first = int(self._counts[: self._comm.rank].sum())
        found = self._factors.solve((whole * self._free).T)
        for left, column in zip(x.arrays, found.T, strict=True):
            left[:n] = (column * self._free)[first : first + n]


def upper(cells: Integers, nodes: int) -> tuple[Integers, Integers, Integers]:
    """The blocks of a symmetric matrix over cells, from the diagonal on.

    Args:
        cells: Nodes of each cell, (cells, n).
        nodes: Number of rows.

    Returns:
        start, (nodes + 1,), and column by rows; the block of each pair of a cell's nodes, or of
        the pair the other way round, (cells, n, n).
    """
    a, b = cells[:, :, None], cells[:, None, :]
    pairs = np.minimum(a, b).astype(np.int64) * nodes + np.maximum(a, b)
    kept, place = np.unique(pairs, return_inverse=True)
    start = np.searchsorted(kept, np.arange(nodes + 1) * nodes).astype(np.int32)
    return start, (kept % nodes).astype(np.int32), place.astype(np.int32).reshape(pairs.shape)


def _chebyshev(b: float, steps: int) -> Array:
    """Weights of the steps whose product is Chebyshev's polynomial on [b/10, b]."""
    middle, half = b * (1 + LOWEST) / 2, b * (1 - LOWEST) / 2
    angles = np.pi * (2 * np.arange(steps) + 1) / (2 * steps)
    return np.asarray(1 / (middle + half * np.cos(angles)))
