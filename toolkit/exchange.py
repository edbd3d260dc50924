"""Rows between ranks: to whom they are for, and answers back; rows of one long array by number.

What a rank sends and receives is of the size of its own share; nothing is gathered. Each way stands
beside its transpose. All calls are collective.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

__all__ = ["Exchange", "Remote", "holder", "share"]

Integers = npt.NDArray[np.int64]


def share(total: int, part: int, parts: int) -> tuple[int, int]:
    """First row of slice `part` of `parts` equal ones of `total` rows, and the first after it."""
    return total * part // parts, total * (part + 1) // parts


def holder(total: int, rows: Integers, parts: int) -> Integers:
    """The slice that each of some rows lies in, (rows,): the inverse of `share`."""
    return np.asarray(((rows + 1) * parts - 1) // total)


class Exchange:
    """Rows that go to the rank named for each, and answers that come back to each."""

    def __init__(self, comm: MPI.Comm, to: npt.NDArray[Any]) -> None:
        """Tell every rank how many rows will come; collective.

        Args:
            comm: The ranks.
            to: Rank that each of this rank's rows is for, (rows,).
        """
        self._comm = comm
        self._order = np.argsort(to, kind="stable")
        self._sent = np.bincount(to, minlength=comm.size).astype(np.int64)
        self._got = np.empty_like(self._sent)
        comm.Alltoall(self._sent, self._got)

    def send(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rows (rows, …) at the ranks they are for, (received, …), by the sender's rank."""
        return self._move(rows[self._order], self._sent, self._got)

    def back(self, answers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An answer (received, …) to each received row, at the sender in its order, (rows, …)."""
        moved = self._move(np.ascontiguousarray(answers), self._got, self._sent)
        result = np.empty_like(moved)
        result[self._order] = moved
        return result

    def _move(self, rows: npt.NDArray[Any], sent: Integers, got: Integers) -> npt.NDArray[Any]:
        if self._comm.size == 1:
            return rows
        width = int(np.prod(rows.shape[1:]))
        moved = np.empty((int(got.sum()), *rows.shape[1:]), rows.dtype)
        self._comm.Alltoallv([rows, sent * width], [moved, got * width])
        return moved


class Remote:
    """Rows of a long array of which each rank holds a slice, by their numbers in the whole.

    Attributes:
        first: Number of this rank's first row.
    """

    def __init__(self, comm: MPI.Comm, rows: int, wanted: Integers) -> None:
        """Ask the ranks that hold them; collective.

        Args:
            comm: The ranks, in the order of their slices.
            rows: How many this rank holds.
            wanted: Numbers of the rows that this rank needs, of any shape, repeated or not.
        """
        bounds = np.concatenate([[0], np.cumsum(comm.allgather(rows))])
        self._rows, self.first = rows, int(bounds[comm.rank])
        if comm.size == 1:  # all of them are here: no need to sort
            numbers, place = np.arange(rows), wanted
        else:
            numbers, place = np.unique(wanted, return_inverse=True)
        self._distinct, self._place = len(numbers), place.reshape(wanted.shape)
        self._exchange = Exchange(comm, np.searchsorted(bounds, numbers, side="right") - 1)
        self._asked = self._exchange.send(numbers) - self.first

    def get(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """From values of the rows held, (rows, …), those of the rows wanted, (*wanted, …)."""
        return np.asarray(self._exchange.back(values[self._asked])[self._place])

    def mark(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """From a choice among the rows wanted, those held that any rank has chosen, (rows,)."""
        mine = np.zeros(self._distinct, dtype=bool)
        mine[self._place[chosen]] = True
        marked = np.zeros(self._rows, dtype=bool)
        marked[self._asked[self._exchange.send(mine)]] = True
        return marked
