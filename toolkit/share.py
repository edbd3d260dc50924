"""Share: the free variables that one rank holds, and reductions over all ranks' shares."""

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.density import Density

__all__ = ["Share"]

Array = npt.NDArray[np.float64]


class Share:
    """This rank's free variables, "local" below; every free variable is on one rank.

    Attributes:
        size: number of free variables on all ranks.
        lower: (local,) lower bounds; `upper` likewise.
        span: (local,) width of the box, positive.
    """

    def __init__(self, over: Density, comm: MPI.Comm) -> None:
        """Take the free ones of the design's owned variables; collective.

        Args:
            over: the design.
            comm: its ranks, or those of all groups that hold the same one, which then share it.
        """
        self.comm = comm
        heads = np.cumsum(comm.allgather(over.comm.rank == 0))
        group, number = heads[comm.rank] - 1, heads[-1]
        owned = over.owned[over.owned % number == group]
        self._mine = owned[over.free[owned]]
        self._counts = self.comm.allgather(len(self._mine))
        self._order = np.concatenate(self.comm.allgather(self._mine))
        self.size = len(self._order)
        self.lower, self.upper = self.take(over.lower), self.take(over.upper)
        self.span = np.maximum(self.upper - self.lower, 1e-5)

    def take(self, whole: Array) -> Array:
        """The local part of a vector (size,) or of rows (k, size)."""
        return whole[..., self._mine]

    def put(self, local: Array, whole: Array) -> Array:
        """A copy of a design (size,) with all ranks' local parts in place; collective."""
        every = np.empty(self.size)
        self.comm.Allgatherv(np.ascontiguousarray(local), [every, self._counts])
        result = whole.copy()
        result[self._order] = every
        return result

    def sum(self, *parts: Array) -> Array:
        """Sums over the ranks of arrays that are put end to end; collective."""
        total = np.concatenate([np.ravel(part) for part in parts])
        self.comm.Allreduce(MPI.IN_PLACE, total)
        return total

    def dot(self, a: Array, b: Array) -> float:
        """The scalar product of two local vectors; collective."""
        return float(self.comm.allreduce(float(a @ b)))

    def max(self, *parts: Array) -> float:
        """The largest entry on any rank, 0 at least; collective."""
        mine = max((float(np.max(part, initial=0.0)) for part in parts), default=0.0)
        return float(self.comm.allreduce(mine, op=MPI.MAX))
