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

    def __init__(self, over: Density) -> None:
        """Take the free ones of the design's owned variables; collective."""
        self.comm, self._free = over.comm, over.own_free
        self.size = int(self.comm.allreduce(int(np.count_nonzero(self._free))))
        self.lower, self.upper = self.take(over.own_lower), self.take(over.own_upper)
        self.span = np.maximum(self.upper - self.lower, 1e-5)

    def take(self, own: Array) -> Array:
        """The free part of a slice (own,) or of rows (k, own)."""
        return own[..., self._free]

    def put(self, local: Array, own: Array) -> Array:
        """A copy of a slice (own,) with the free part in place."""
        result = own.copy()
        result[self._free] = local
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
