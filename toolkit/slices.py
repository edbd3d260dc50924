"""Slices: who holds which design variable, and the whole vector for those who ask for it.

A variable is on one rank. What the toolkit does with designs and gradients, it does slice by slice;
a whole vector, in mesh-file order, is put together where a user, a file or nlopt wants one.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

__all__ = ["Sliced", "Slices", "Whole"]

Array = npt.NDArray[np.float64]


class Slices:
    """The variables of each rank.

    Attributes:
        comm: the ranks.
        owned: (own,) numbers of this rank's variables, in mesh-file order.
        size: number of variables on all ranks.
    """

    def __init__(self, comm: MPI.Comm, owned: npt.NDArray[np.int64]) -> None:
        """Take a division as it is; collective."""
        self.comm, self.owned = comm, owned
        self.size = int(comm.allreduce(len(owned)))

    def take(self, whole: Array) -> Array:
        """This rank's part of a vector (size,) or of rows (k, size)."""
        return whole[..., self.owned]

    def gather(self, own: Array) -> Array:
        """The whole of a vector (own,) or of rows (k, own), on every rank; collective."""
        counts, order = self._layout
        rows = np.atleast_2d(own)
        whole = np.empty((len(rows), self.size))
        every = np.empty(self.size)
        for row, mine in zip(whole, rows, strict=True):
            self.comm.Allgatherv(np.ascontiguousarray(mine, dtype=float), [every, counts])
            row[order] = every
        return whole.reshape(*np.shape(own)[:-1], self.size)

    def collect(self, own: Array) -> Array | None:
        """The whole of a vector (own,) on rank 0 alone; collective."""
        counts, order = self._layout
        every = np.empty(self.size if self.comm.rank == 0 else 0)
        self.comm.Gatherv(np.ascontiguousarray(own, dtype=float), [every, counts])
        if self.comm.rank:
            return None
        whole = np.empty(self.size)
        whole[order] = every
        return whole

    @cached_property
    def _layout(self) -> tuple[list[int], npt.NDArray[np.int64]]:
        return self.comm.allgather(len(self.owned)), np.concatenate(self.comm.allgather(self.owned))


class Sliced(NamedTuple):
    """A vector or rows of which each rank has its own part."""

    slices: Slices
    own: Array

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is whole; collective."""
        return np.asarray, (self.slices.gather(self.own),)


class Whole:
    """An attribute that may be given in slices and is gathered when it is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __set__(self, instance: Any, value: Array | Sliced) -> None:
        instance.__dict__[self._name] = value

    def __get__(self, instance: Any, owner: type) -> Array:
        if instance is None:
            raise AttributeError(self._name)  # what a dataclass takes for "no default"
        value: Array | Sliced = instance.__dict__[self._name]
        if isinstance(value, Sliced):
            instance.__dict__[self._name] = value = value.slices.gather(value.own)
        return value
