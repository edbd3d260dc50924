"""Geometric multigrid for operators that are sums of scaled element tensors.

The mesh's own grid is never assembled: A x = Σ c_c P_cᵀ K P_c x. On each coarser grid the Galerkin
tensors Σ c_c Qᵀ K Q of a parent's children are summed, rank by rank, into a matrix of nodal blocks.
The coarsest grid is factorised on every rank. Smoothing is by Chebyshev's polynomial in D⁻¹A on
[b/10, b]. For every design

    λ_max(D⁻¹A) ≤ max λ_max(D_c⁻¹ K_c)    over the cells c,

since D and A are sums of the same terms. Most designs stay well below, so b is the smaller of that
and 1.1 times the quotient of a power iteration that goes on from design to design; where the cycle
turns out indefinite, `rely_on_bounds` keeps to the first. Unknowns that are fixed, and on coarser
grids those from which a fixed one is interpolated, are zero throughout, so the coarse spaces are
subspaces and the cycle is a positive definite map. A W-cycle; several right-hand sides go through
together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from dolfinx import la
from mpi4py import MPI
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from toolkit.kernels import Kernels
from toolkit.levels import Level, Transfer

__all__ = ["Fields", "Grid", "Multigrid"]

Array = npt.NDArray[np.float64]
FEW = 400  # nodes of a grid that is factorised
LOWEST = 0.1  # lower end of the smoothed part of the spectrum, relative to b
MARGIN = 1.1  # of the power iteration's quotient, which comes from below
POWERS = (20, 2)  # its steps for the first design and for each later one
DEEPEST = 3  # grids whose bound is computed; those below are like the last of them


class Fields:
    """Several vectors over the nodes of one grid."""

    def __init__(self, level: Level, block: int, count: int) -> None:
        self.vectors = [la.vector(level.index_map, block) for _ in range(count)]
        self.arrays = [v.array for v in self.vectors]
        self._parallel = level.index_map.comm.size > 1

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
        level: The grid.
        free: 1 at unknowns that are not fixed, 0 at those that are, ghosts included.
        inverse: D⁻¹ at the owned free unknowns, 0 elsewhere.
        bound: b that holds for every design.
        steps: Of the smoother, before and after the coarse correction.
        weights: Of those steps.
    """

    bound, steps = np.inf, 1

    def __init__(self, level: Level, block: int, kernels: Kernels, free: Array) -> None:
        self.level, self.block, self.kernels, self.free = level, block, kernels, free
        self.owned = level.index_map.size_local * block
        self.inverse = np.zeros(self.owned)
        self.weights: Array = np.zeros(0)
        self._work: dict[int, list[Fields]] = {}
        self._mode = np.zeros(0)

    def work(self, count: int) -> list[Fields]:
        """Three sets of `count` vectors, made once."""
        if count not in self._work:
            self._work[count] = [Fields(self.level, self.block, count) for _ in range(3)]
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

    def start(self, b: Fields, x: Fields, y: Fields) -> None:
        """Relax x from zero; collective."""
        n = self.owned
        for right, left in zip(b.arrays, x.arrays, strict=True):
            np.multiply(self.inverse, right[:n], out=left[:n])
            left[:n] *= self.weights[0]
        self.smooth(b, x, y, self.weights[1:])

    def bound_spectrum(self, *, estimated: bool) -> None:
        """Set the weights for b, the least that is known of D⁻¹A; collective."""
        b = min(self.bound, MARGIN * self._quotient()) if estimated else self.bound
        self.weights = _chebyshev(b, self.steps)

    def _quotient(self) -> float:
        """|D⁻¹A v| / |v| at the end of a power iteration; collective."""
        n, (_, x, y) = self.owned, self.work(1)
        new = not len(self._mode)
        if new:
            phase = (
                self.level.nodes @ np.array([12.9898, 78.233, 37.719])[: self.level.nodes.shape[1]]
            )
            self._mode = np.sin(phase[:, None] * (1 + np.arange(self.block))).ravel()[:n]
            self._mode *= self.free[:n]
        v, quotient = self._mode, 0.0
        for _ in range(POWERS[0] if new else POWERS[1]):
            x.arrays[0][:n] = v
            self.multiply(x, y)
            v = self.inverse * y.arrays[0][:n]
            quotient = float(np.sqrt(self.level.index_map.comm.allreduce(float(v @ v))))
            v /= quotient or 1.0
        self._mode = v
        return quotient

    def _take_diagonal(self, diagonal: la.Vector) -> None:
        """D⁻¹ from each rank's part of the diagonal; collective."""
        if self.level.index_map.comm.size > 1:
            diagonal.scatter_reverse(la.InsertMode.add)
        owned = diagonal.array[: self.owned]
        held = (self.free[: self.owned] == 0.0) | (owned == 0.0)  # or in cells without stiffness
        self.inverse = np.where(held, 0.0, 1.0 / np.where(held, 1.0, owned))


class FineGrid(Grid):
    """The mesh's own grid: one tensor K, scaled in each cell."""

    def __init__(
        self, level: Level, block: int, kernels: Kernels, free: Array, tensor: Array
    ) -> None:
        super().__init__(level, block, kernels, free)
        self.tensor = np.ascontiguousarray(tensor)
        self.scale = np.zeros(len(level.cells))
        self._diagonal = la.vector(level.index_map, block)

    def update(self, scale: Array) -> None:
        """Take new scales of the cells; collective."""
        self.scale = np.ascontiguousarray(scale)
        self._diagonal.array[:] = 0.0
        self.kernels(
            "diagonal_scaled",
            len(scale),
            self.level.cells,
            self.tensor,
            self.scale,
            self._diagonal.array,
        )
        self._take_diagonal(self._diagonal)

    def multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x at the owned unknowns; collective."""
        x.send()
        y.zero()
        cells = self.level.cells
        self.kernels(
            "product_scaled",
            len(cells),
            cells,
            self.tensor,
            self.scale,
            len(x.arrays),
            x.arrays,
            y.arrays,
        )
        y.collect()


class CoarseGrid(Grid):
    """A coarser grid: the Galerkin tensors of its cells, and their sum by rows of nodal blocks."""

    def __init__(self, level: Level, block: int, kernels: Kernels, free: Array) -> None:
        super().__init__(level, block, kernels, free)
        cells = level.cells
        n, width = len(level.nodes), cells.shape[1]
        rows = np.repeat(cells, width, axis=1).ravel().astype(np.int64)
        pairs = rows * n + np.tile(cells, (1, width)).ravel()
        kept, place = np.unique(pairs, return_inverse=True)
        self._place = place.astype(np.int32).ravel()
        self._start = np.searchsorted(kept, np.arange(n + 1) * n).astype(np.int32)
        self._column = (kept % n).astype(np.int32)
        self.tensors = np.zeros((len(cells), width * block, width * block))
        self._blocks = np.zeros((len(kept), block, 4 if block == 3 else block))  # by columns
        diagonal = np.searchsorted(kept, np.unique(rows) * (n + 1))
        self._diagonal_nodes, self._diagonal_blocks = np.unique(rows), diagonal
        self._diagonal = la.vector(level.index_map, block)

    def assemble(self) -> None:
        """Sum the tensors into the matrix; collective."""
        self._blocks[:] = 0.0
        self.kernels("assemble", len(self.tensors), self._place, self.tensors, self._blocks)
        k = np.arange(self.block)
        self._diagonal.array[:] = 0.0
        self._diagonal.array.reshape(-1, self.block)[self._diagonal_nodes] = self._blocks[
            self._diagonal_blocks
        ][:, k, k]
        self._take_diagonal(self._diagonal)

    def multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x at the owned unknowns; collective."""
        x.send()
        self.kernels(
            "product",
            len(self._start) - 1,
            self._start,
            self._column,
            self._blocks,
            len(x.arrays),
            x.arrays,
            y.arrays,
        )
        y.collect()


class Coarsest:
    """The last grid's matrix, factorised on every rank."""

    def __init__(self, grid: CoarseGrid, comm: MPI.Comm) -> None:
        self._grid, self._comm = grid, comm
        level, block = grid.level, grid.block
        numbers = level.index_map.local_to_global(np.arange(len(level.nodes), dtype=np.int32))
        unknowns = (numbers[level.cells][:, :, None] * block + np.arange(block)).reshape(
            len(level.cells), -1
        )
        width = unknowns.shape[1]
        pieces = comm.allgather(unknowns)
        every = np.concatenate([p.reshape(-1, width) for p in pieces])
        self._rows = np.repeat(every, width, axis=1).ravel()
        self._columns = np.tile(every, (1, width)).ravel()
        self._counts = np.array(comm.allgather(grid.owned))
        self.size = int(self._counts.sum())
        self._free = np.concatenate(comm.allgather(grid.free[: grid.owned]))

    def update(self) -> None:
        """Factorise; collective."""
        values = np.concatenate([t.ravel() for t in self._comm.allgather(self._grid.tensors)])
        values = values * self._free[self._rows] * self._free[self._columns]
        A = coo_array((values, (self._rows, self._columns)), shape=(self.size,) * 2).tocsc()
        diagonal = A.diagonal()
        A.setdiag(np.where(diagonal == 0.0, 1.0, diagonal))  # fixed, or without stiffness
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


class _Way(NamedTuple):
    """From a grid to the next coarser one and back."""

    transfer: Transfer
    fine: Grid
    coarse: CoarseGrid

    def down(self, r: Fields, b: Fields) -> None:
        """B = Pᵀ r; collective."""
        b.zero()
        self._run("restrict_", r, b)
        b.collect()

    def up(self, x: Fields, y: Fields) -> None:
        """Y += P x; collective."""
        x.send()
        self._run("prolong", x, y)

    def _run(self, name: str, x: Fields, y: Fields) -> None:
        t = self.transfer
        rows = len(t.start) - 1
        arguments = (rows, t.start, t.column, t.weight, len(x.arrays), x.arrays, y.arrays)
        self.fine.kernels(name, *arguments)


class Multigrid:
    """A cycle on the grids of a box.

    Attributes:
        fine: The mesh's own grid.
        grids: All of them, finest first.
        visits: How often the next coarser grid is visited.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        transfers: Sequence[Transfer],
        *,
        block: int,
        tensor: Array,
        fixed: npt.NDArray[np.bool_],
        comm: MPI.Comm,
        sweeps: tuple[int, int] = (1, 2),
        visits: int = 2,
    ) -> None:
        """Lay out all grids; collective.

        Args:
            levels: The grids, finest first, two at least.
            transfers: The ways between them.
            block: Unknowns a node.
            tensor: K of a cell with scale one, nodes first axis fastest.
            fixed: Whether each local unknown of the finest grid is fixed, ghosts included.
            comm: Communicator of the mesh.
            sweeps: Smoothing steps on the finest grid and on the others.
            visits: As the attribute.
        """
        self.visits = visits
        kernels = Kernels(comm, levels[0].cells.shape[1], block)
        self.fine = FineGrid(levels[0], block, kernels, (~fixed).astype(float), tensor)
        self.grids: list[Grid] = [self.fine]
        self._ways: list[_Way] = []
        for level, transfer in zip(levels[1:], transfers, strict=True):
            above = self.grids[-1]
            free = _free_below(above, level, transfer)
            grid = CoarseGrid(level, block, kernels, free)
            self._ways.append(_Way(transfer, above, grid))
            self.grids.append(grid)
        self._kernels = kernels
        last = self._ways[-1].coarse
        self._coarsest = Coarsest(last, comm)
        self._classes = _child_tensors(tensor[None], transfers[0].interpolation, block)
        bounds = _bounds(tensor, transfers, block)
        for depth, each in enumerate(self.grids):
            each.bound = bounds[min(depth, len(bounds) - 1)]
            each.steps = sweeps[min(depth, 1)]
        self._estimated = True

    def update(self, scale: Array) -> None:
        """Take new scales of the cells and refresh all grids; collective."""
        self.fine.update(scale)
        for depth, way in enumerate(self._ways):
            t, tensors = way.transfer, way.coarse.tensors
            tensors[:] = 0.0
            if depth == 0:
                values: Array = self.fine.scale
                self._kernels(
                    "coarsen_scaled",
                    len(t.parent),
                    t.parent,
                    t.place,
                    values,
                    self._classes,
                    tensors,
                )
            else:
                values = self._ways[depth - 1].coarse.tensors
                self._kernels(
                    "coarsen", len(t.parent), t.parent, t.place, values, t.interpolation, tensors
                )
            way.coarse.assemble()
        self._coarsest.update()
        for grid in self.grids[:-1]:
            grid.bound_spectrum(estimated=self._estimated)

    def rely_on_bounds(self) -> bool:
        """Use the proved bounds alone from now on; False if that was so already; collective."""
        before, self._estimated = self._estimated, False
        for grid in self.grids[:-1]:
            grid.bound_spectrum(estimated=False)
        return before

    def cycle(self, b: Fields, x: Fields) -> None:
        """X ≈ A⁻¹ b, linear, symmetric and positive; collective."""
        self._cycle(0, b, x, zero=True)

    def _cycle(self, depth: int, b: Fields, x: Fields, *, zero: bool) -> None:
        """Improve x on one grid."""
        grid = self.grids[depth]
        if depth == len(self._ways):
            self._coarsest.solve(b, x)
            return
        way = self._ways[depth]
        count, n = len(b.arrays), grid.owned
        y = grid.work(count)[2]
        right, left, _ = way.coarse.work(count)
        if zero:
            grid.start(b, x, y)
        else:
            grid.smooth(b, x, y, grid.weights)
        grid.multiply(x, y)
        for given, image in zip(b.arrays, y.arrays, strict=True):
            np.subtract(given[:n], image[:n], out=image[:n])
            image[:n] *= grid.free[:n]
        way.down(y, right)
        for visit in range(self.visits if depth + 1 < len(self._ways) else 1):
            self._cycle(depth + 1, right, left, zero=visit == 0)
        way.up(left, x)
        grid.smooth(b, x, y, grid.weights[::-1])


def _free_below(above: Grid, level: Level, transfer: Transfer) -> Array:
    """Which unknowns of a coarser grid are free: those that meet no fixed one; collective."""
    x, b = Fields(above.level, above.block, 1), Fields(level, above.block, 1)
    x.arrays[0][:] = above.free == 0.0
    rows = len(transfer.start) - 1
    arguments = (rows, transfer.start, transfer.column, transfer.weight, 1, x.arrays, b.arrays)
    above.kernels("restrict_", *arguments)
    b.collect()
    b.send()
    return (b.arrays[0] == 0.0).astype(float)


def _child_tensors(tensors: Array, Q: Array, block: int) -> Array:
    """(Q ⊗ I)ᵀ K (Q ⊗ I) for every tensor and every kind of child, (tensors · kinds, N, N)."""
    P = np.einsum("pca,ij->pciaj", Q, np.eye(block))
    N = Q.shape[1] * block
    P = P.reshape(len(Q), N, N)
    return np.ascontiguousarray(np.einsum("pca,tcd,pdb->tpab", P, tensors, P).reshape(-1, N, N))


def _bounds(tensor: Array, transfers: Sequence[Transfer], block: int) -> list[float]:
    """The bounds b of the first grids."""
    tensors, bounds = tensor[None], []
    for transfer in [None, *transfers[: DEEPEST - 1]]:
        if transfer is not None:
            tensors = _child_tensors(tensors, transfer.interpolation, block)
        root = 1 / np.sqrt(np.einsum("tii->ti", tensors))
        bounds.append(float(np.linalg.eigvalsh(root[:, :, None] * tensors * root[:, None]).max()))
    return bounds


def _chebyshev(b: float, steps: int) -> Array:
    """Weights of the steps whose product is Chebyshev's polynomial on [b/10, b]."""
    middle, half = b * (1 + LOWEST) / 2, b * (1 - LOWEST) / 2
    angles = np.pi * (2 * np.arange(steps) + 1) / (2 * steps)
    return np.asarray(1 / (middle + half * np.cos(angles)))
