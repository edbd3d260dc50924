"""Rows between ranks: what is sent arrives, and answers find their way back."""

import numpy as np
import pytest
from mpi4py import MPI

from toolkit.exchange import Exchange, Remote, holder, share

COMM = MPI.COMM_WORLD
pytestmark = [pytest.mark.parallel, pytest.mark.short]


def test_rows_arrive_at_their_rank_and_answers_come_back():
    random = np.random.default_rng(COMM.rank)
    to = random.integers(COMM.size, size=5 + COMM.rank)
    rows = np.stack([to, np.full(len(to), COMM.rank)], axis=1)
    exchange = Exchange(COMM, to)
    got = exchange.send(rows)
    assert (got[:, 0] == COMM.rank).all()
    assert (np.diff(got[:, 1]) >= 0).all()
    assert COMM.allreduce(len(got)) == COMM.allreduce(len(to))
    assert np.array_equal(exchange.back(100.0 * got[:, 0] + got[:, 1]), 100.0 * to + COMM.rank)


def test_rows_by_number_and_marks_are_transposed():
    """Rank r holds r rows (one alone: 3), so the first has none."""
    held = COMM.rank if COMM.size > 1 else 3
    total = COMM.allreduce(held)
    first = sum(COMM.allgather(held)[: COMM.rank])
    values = np.stack([np.arange(first, first + held), np.full(held, 7)], axis=1)
    wanted = np.random.default_rng(COMM.rank).integers(total, size=(4, 2))
    remote = Remote(COMM, held, wanted)
    assert remote.first == first
    assert np.array_equal(remote.get(values)[..., 0], wanted)
    assert (remote.get(values)[..., 1] == 7).all()
    chosen = wanted % 2 == 0
    named = {int(i) for part in COMM.allgather(wanted[chosen]) for i in part}
    marked = remote.mark(chosen)
    assert [i in named for i in range(first, first + held)] == marked.tolist()


@pytest.mark.parametrize(("total", "parts"), [(10, 3), (2, 5), (7, 1), (12, 4)])
def test_a_row_lies_in_the_slice_that_holds_it(total, parts):
    ends = [share(total, part, parts) for part in range(parts)]
    assert [row for first, last in ends for row in range(first, last)] == list(range(total))
    for row, part in enumerate(holder(total, np.arange(total), parts)):
        assert ends[part][0] <= row < ends[part][1]
