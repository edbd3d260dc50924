"""Geometric multigrid: a W-cycle on nested grids, several right-hand sides together.

On a box the grids are its own (`levels`): the Galerkin tensors Σ c_c Qᵀ K Q of a parent's children
are summed, rank by rank, into each coarser grid's matrix, and for every design

    λ_max(D⁻¹A) ≤ max λ_max(D_c⁻¹ K_c)    over the cells c,

since D and A are sums of the same terms. Under any other mesh lie lattices (`auxiliary`), and the
coarse matrices are the products Pᵀ A P. Most designs stay well below such bounds, so that the
smoothers use an estimate; where the cycle turns out indefinite, `rely_on_bounds` keeps to what is
proved. Of a box's unknowns those that are fixed, and on coarser grids those from which a fixed one
is interpolated, are zero throughout; elsewhere the interpolation is cut off at what is fixed.
Either way the coarse spaces are subspaces and the cycle is a positive definite map. The coarsest
grid is factorised on every rank.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from dolfinx import la
from scipy.sparse import csr_array, triu

from toolkit.auxiliary import Cloud, Interpolation
from toolkit.grids import (
    AssembledGrid,
    Coarsest,
    Fields,
    Grid,
    MatrixGrid,
    ScaledGrid,
    TensorGrid,
)
from toolkit.kernels import Kernels
from toolkit.levels import Level, Transfer

__all__ = ["Multigrid", "nested", "on_lattices"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
DEEPEST = 3  # grids whose bound is computed; those below are like the last of them


class Way:
    """From a grid to the next coarser one and back.

    Attributes:
        fine, coarse: The grids.
        start, column, weight: Interpolation at the local fine nodes, owned ones first, from local
            coarse nodes, rows compressed.
    """

    def __init__(
        self, fine: Grid, coarse: MatrixGrid, start: Integers, column: Integers, weight: Array
    ) -> None:
        self.fine, self.coarse = fine, coarse
        self.start, self.column, self.weight = start, column, weight

    def refresh(self) -> None:
        """The coarse matrix from the fine one; collective."""
        raise NotImplementedError

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
        rows = self.fine.owned // self.fine.block
        arguments = (rows, self.start, self.column, self.weight, len(x.arrays), x.arrays, y.arrays)
        self.fine.kernels(name, *arguments)


class Children(Way):
    """Between grids of a box: tensors of the parents from those of their children."""

    def __init__(self, fine: ScaledGrid | TensorGrid, coarse: TensorGrid, way: Transfer) -> None:
        super().__init__(fine, coarse, way.start, way.column, way.weight)
        self._fine, self._coarse, self._way = fine, coarse, way
        if isinstance(fine, ScaledGrid):
            self._classes = _child_tensors(fine.tensor[None], way.interpolation, fine.block)

    def refresh(self) -> None:
        """The coarse matrix from the fine one; collective."""
        way, fine, tensors = self._way, self._fine, self._coarse.tensors
        tensors[:] = 0.0
        children = (len(way.parent), way.parent, way.place)
        if isinstance(fine, ScaledGrid):
            fine.kernels("coarsen_scaled", *children, fine.scale, self._classes, tensors)
        else:
            fine.kernels("coarsen", *children, fine.tensors, way.interpolation, tensors)
        self._coarse.assemble()


class Product(Way):
    """Between matrices: Pᵀ A P, by a plan made once of where every product goes."""

    def __init__(self, fine: MatrixGrid, cloud: Cloud, way: Interpolation) -> None:
        rows, columns = len(fine.start) - 1, len(cloud.positions)

        def pattern(start: Integers, column: Integers, width: int) -> csr_array:
            ones = np.ones(len(column), dtype=bool)
            return csr_array((ones, column, start), shape=(len(start) - 1, width))

        P = pattern(way.start, way.column, columns)
        AP = pattern(fine.start, fine.column, rows) @ P
        half = P.T.tocsr() @ AP
        whole = triu(half + half.T, format="csr")
        whole.sort_indices()
        start, column = whole.indptr.astype(np.int32), whole.indices.astype(np.int32)
        free = np.ones(columns * fine.block)
        arguments = (cloud.index_map, cloud.positions, fine.block, fine.kernels, free)
        coarse = MatrixGrid(*arguments, start, column)
        super().__init__(fine, coarse, way.start, way.column, way.weight)
        self._fine = fine
        counts = np.diff(way.start)
        entries = int(counts[fine.column].sum())
        self._slot = np.zeros(entries, dtype=np.int32)
        self._width = np.zeros(rows, dtype=np.int32)
        widths = np.diff(AP.indptr)
        self._target = np.zeros(int((counts * widths).sum()), dtype=np.int32)
        self._work = np.zeros((int(widths.max(initial=0)), *coarse.blocks.shape[1:]))
        where = np.full(columns, -1, dtype=np.int32)
        seen = np.zeros(int(widths.max(initial=0)), dtype=np.int32)
        fine.kernels(
            "plan_galerkin",
            *(rows, fine.start, fine.column, way.start, way.column, start, column),
            *(where, seen, self._slot, self._width, self._target),
        )

    def refresh(self) -> None:
        """The coarse matrix from the fine one; collective."""
        fine, coarse = self._fine, self.coarse
        coarse.blocks[:] = 0.0
        fine.kernels(
            "galerkin",
            *(len(fine.start) - 1, fine.start, fine.column, fine.blocks),
            *(self.start, self.column, self.weight),
            *(self._slot, self._width, self._target, self._work, coarse.blocks),
        )
        coarse.assembled()


class Multigrid:
    """A cycle on nested grids.

    Attributes:
        fine: The mesh's own grid.
        grids: All of them, finest first.
        ways: Between them.
        visits: How often the next coarser grid is visited.
    """

    def __init__(
        self,
        fine: ScaledGrid | AssembledGrid,
        ways: Sequence[Way],
        *,
        sweeps: tuple[int, int] = (1, 2),
        visits: int = 2,
    ) -> None:
        """Join the grids; collective.

        Args:
            fine: As the attribute.
            ways: As the attribute.
            visits: As the attribute.
            sweeps: Smoothing steps on the finest grid and on the others.
        """
        self.fine, self.ways, self.visits = fine, list(ways), visits
        self.grids: list[Grid] = [fine, *(way.coarse for way in ways)]
        self._coarsest = Coarsest(self.ways[-1].coarse, fine.index_map.comm)
        for depth, grid in enumerate(self.grids):
            grid.steps = sweeps[min(depth, 1)]
        self._estimated = True

    def update(self, scale: Array | None) -> None:
        """Take new scales of the cells, if they have any, and refresh all grids; collective."""
        if isinstance(self.fine, AssembledGrid):
            self.fine.update(scale)
        else:
            assert scale is not None
            self.fine.update(scale)
        for way in self.ways:
            way.refresh()
        self._coarsest.update()
        for grid in self.grids[:-1]:
            grid.bound_spectrum(estimated=self._estimated)

    def reset(self) -> None:
        """Estimate spectra anew at the next update."""
        self._estimated = True
        for grid in self.grids:
            grid.reset()

    def rely_on_bounds(self) -> bool:
        """Use proved bounds alone from now on; False if that was so already; collective."""
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
        if depth == len(self.ways):
            self._coarsest.solve(b, x)
            return
        way = self.ways[depth]
        count, n = len(b.arrays), grid.owned
        y = grid.work(count)[2]
        right, left, _ = way.coarse.work(count)
        if zero:
            grid.begin(b, x, y)
        else:
            grid.smooth(b, x, y, grid.weights)
        grid.multiply(x, y)
        for given, image in zip(b.arrays, y.arrays, strict=True):
            np.subtract(given[:n], image[:n], out=image[:n])
            image[:n] *= grid.free[:n]
        way.down(y, right)
        for visit in range(self.visits if depth + 1 < len(self.ways) else 1):
            self._cycle(depth + 1, right, left, zero=visit == 0)
        way.up(left, x)
        for array in x.arrays:
            array[:n] *= grid.free[:n]
        grid.smooth(b, x, y, grid.weights[::-1])


def nested(
    levels: Sequence[Level],
    transfers: Sequence[Transfer],
    *,
    block: int,
    tensor: Array,
    free: Array,
) -> Multigrid:
    """The cycle on the grids of a box; collective.

    Args:
        levels: The grids, finest first, two at least.
        transfers: The ways between them.
        block: Unknowns a node.
        tensor: K of a cell with scale one, nodes first axis fastest.
        free: 1 at each local unknown of the finest grid that is not fixed, ghosts included.
    """
    kernels = Kernels(levels[0].index_map.comm, levels[0].cells.shape[1], block)
    grid: ScaledGrid | TensorGrid = ScaledGrid(levels[0], block, kernels, free, tensor)
    fine, ways, bounds = grid, list[Children](), _bounds(tensor, transfers, block)
    assert isinstance(fine, ScaledGrid)
    for level, transfer in zip(levels[1:], transfers, strict=True):
        coarse = TensorGrid(level, block, kernels, _free_below(grid, level, transfer))
        ways.append(Children(grid, coarse, transfer))
        grid = coarse
    for depth, each in enumerate([fine, *(way.coarse for way in ways)]):
        each.bound = bounds[min(depth, len(bounds) - 1)]
    return Multigrid(fine, ways)


def on_lattices(
    clouds: Sequence[Cloud],
    interpolations: Sequence[Interpolation],
    *,
    block: int,
    cells: Integers,
    tensors: Array | None,
    rest: la.MatrixCSR | None,
    free: Array,
) -> Multigrid:
    """The cycle on a mesh and the lattices under it; collective.

    Args:
        clouds: The mesh's nodes and those of the lattices, finest first.
        interpolations: The ways between them.
        block: Unknowns a node.
        cells: Local nodes of each cell of the mesh in increasing order, (cells, n).
        tensors: K of each cell with scale one, as of an `AssembledGrid`.
        rest: What is not scaled cell by cell, likewise.
        free: 1 at each local unknown of the mesh that is not fixed, ghosts included.
    """
    index_map, positions = clouds[0]
    kernels = Kernels(index_map.comm, cells.shape[1], block)
    fine = AssembledGrid(index_map, positions, block, kernels, free, cells, tensors, rest)
    grid: MatrixGrid = fine
    ways = []
    for cloud, interpolation in zip(clouds[1:], interpolations, strict=True):
        ways.append(Product(grid, cloud, interpolation))
        grid = ways[-1].coarse
    return Multigrid(fine, ways, sweeps=(2, 2))


def _free_below(above: Grid, level: Level, transfer: Transfer) -> Array:
    """Which unknowns of a coarser grid are free: those that meet no fixed one; collective."""
    x, b = Fields(above.index_map, above.block, 1), Fields(level.index_map, above.block, 1)
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
