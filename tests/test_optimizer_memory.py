"""An optimizer's memory, in a file and back; test_resume.py has the runs that go on from it."""

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_resume import plate, run, stopped

from toolkit.checkpoint import read_memory, write_memory
from toolkit.errors import InputError

pytestmark = pytest.mark.parallel
COMM = MPI.COMM_WORLD


@pytest.fixture
def folder(tmp_path):
    return COMM.bcast(tmp_path)


def test_without_its_memory_a_run_goes_another_way(folder):
    """So that the test of resumed runs could fail."""
    options = {"optimizer": "mma-distributed"}
    whole = run(COMM, **options)
    stopped(COMM, folder, **options)
    path, slices = folder / "checkpoint" / "1" / "memory.h5", plate(COMM)[0].slices
    memory = read_memory(path, slices)
    design = memory.vectors["design"]
    memory.vectors.update(low=design - 0.5, upp=design + 0.5, older=design)
    write_memory(path, memory)
    rest = run(COMM, checkpoint=folder, resume=True, **options)
    assert abs(rest.history.objective[-1] / whole.history.objective[-1] - 1) > 1e-7


def test_a_file_is_replaced_whole(folder):
    seen = []
    run(COMM, watch=(seen.append,), iterations=2, optimizer="mma-distributed")
    path = folder / "memory.h5"
    for iteration in seen:
        if iteration.memory is not None:
            write_memory(path, iteration.memory)
    last = seen[-1]
    with h5py.File(path, "r") as file:
        held = np.empty(len(file["order"]))
        held[file["order"][:]] = file["vectors/design"][:]
    np.testing.assert_array_equal(held, last.design)
    assert [other.name for other in folder.iterdir()] == ["memory.h5"]
    with pytest.raises(InputError, match="cannot be written to"):
        write_memory(folder / "nowhere" / "memory.h5", last.memory)


def test_what_is_no_memory_of_this_design_is_refused(folder):
    seen = []
    run(COMM, watch=(seen.append,), iterations=2, optimizer="mma-distributed")
    path = folder / "memory.h5"
    write_memory(path, seen[-1].memory)
    with pytest.raises(InputError, match="has 128 variables and the design 160"):
        read_memory(path, plate(COMM, size=(16, 10))[0].slices)
    with pytest.raises(InputError, match=r"other\.h5 cannot be read"):
        read_memory(path.with_name("other.h5"), seen[-1].memory.slices)
