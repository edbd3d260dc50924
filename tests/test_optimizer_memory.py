"""An optimizer's memory: a run that goes on from it is the run that was not interrupted."""

import h5py
import numpy as np
import pytest
import ufl
from fakes import FakeDensity, FakeFunctional, FakeReduced, linear
from mpi4py import MPI

from toolkit import Density, Domain, Functional, elasticity, minimize, simp
from toolkit.checkpoint import Keeper, read_memory, write_memory
from toolkit.errors import InputError

pytestmark = pytest.mark.parallel
HALT = 7


def plate(comm):
    domain = Domain.box((2, 1), (16, 8), comm=comm)
    design = Density(domain, radius=0.2, start=0.45)
    E, t = simp(design.physical, full=1, empty=1e-4), ufl.as_vector((0, -1))
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], traction={"xmax": t})
    compliance = Functional(ufl.inner(t, u) * domain.ds("xmax"), name="compliance")
    return design, compliance, Functional(design.physical * domain.dx) / domain.volume


def run(comm, **options):
    design, compliance, volume = plate(comm)
    given = {"over": design, "subject_to": volume <= 0.4, "sharpen": (0, 2), "iterations": 5}
    given |= {"optimizer": "mma-distributed", "tolerance": 1e-9, "watch": ()}
    return minimize(compliance, **(given | options)), design


def interrupted(comm, path):
    """Stop after some iterations, in the second stage, with what a keeper left of them."""

    def stop(iteration):
        if iteration.index == HALT + 1:
            raise RuntimeError("stopped from outside")

    with pytest.raises(Exception, match="stopped from outside"):
        run(comm, checkpoint=Keeper(path), watch=(stop,))
    return path


@pytest.fixture
def path(tmp_path):
    return MPI.COMM_WORLD.bcast(tmp_path) / "run.h5"


@pytest.mark.short
@pytest.mark.parametrize("before", [MPI.COMM_SELF, MPI.COMM_WORLD], ids=["one", "all"])
@pytest.mark.parametrize("after", [MPI.COMM_SELF, MPI.COMM_WORLD], ids=["one", "all"])
def test_iterations_after_a_restore_are_the_undisturbed_ones(before, after, path):
    """Also on another number of ranks, by way of the file."""
    whole, _ = run(MPI.COMM_WORLD)
    if before.size > 1 or MPI.COMM_WORLD.rank == 0:
        interrupted(before, path)
    MPI.COMM_WORLD.barrier()
    design = plate(after)[0]
    rest, _ = run(after, resume=read_memory(path, design.slices))
    at = HALT + 1  # the row of that iteration: one more for the start of the second stage
    np.testing.assert_array_equal(rest.history.beta, whole.history.beta[at:])
    np.testing.assert_allclose(rest.history.objective, whole.history.objective[at:], rtol=1e-9)
    np.testing.assert_allclose(rest.design, whole.design, atol=1e-7)
    assert (rest.iterations, rest.evaluations) == (whole.iterations, whole.evaluations)
    assert rest.reason == whole.reason


def test_without_its_memory_a_run_goes_another_way(path):
    """So that the test above could fail."""
    whole, _ = run(MPI.COMM_WORLD)
    interrupted(MPI.COMM_WORLD, path)
    memory = read_memory(path, plate(MPI.COMM_WORLD)[0].slices)
    design = memory.vectors["design"]
    memory.vectors.update(low=design - 0.5, upp=design + 0.5, older=design)
    rest, _ = run(MPI.COMM_WORLD, resume=memory)
    assert abs(rest.history.objective[-1] / whole.history.objective[-1] - 1) > 1e-7


def test_a_file_keeps_what_else_it_holds_and_is_replaced_whole(path):
    if MPI.COMM_WORLD.rank == 0:
        with h5py.File(path, "w") as file:
            file["design"] = np.arange(3)
    MPI.COMM_WORLD.barrier()
    seen = []
    run(MPI.COMM_WORLD, watch=(seen.append,), iterations=2)
    for iteration in seen:
        if iteration.memory is not None:
            write_memory(path, iteration.memory)
    last = seen[-1]
    with h5py.File(path, "r") as file:
        assert file["design"][:].tolist() == [0, 1, 2]
        held = np.empty(len(file["memory/order"]))
        held[file["memory/order"][:]] = file["memory/vectors/design"][:]
    np.testing.assert_array_equal(held, last.design)
    assert [other.name for other in path.parent.iterdir()] == ["run.h5"]
    with pytest.raises(InputError, match="cannot be written to"):
        write_memory(path.parent / "nowhere" / "run.h5", last.memory)


def test_what_cannot_go_on_is_refused(path, monkeypatch):
    seen = []
    run(MPI.COMM_WORLD, watch=(seen.append,), iterations=2)
    memory = seen[-1].memory
    with pytest.raises(InputError, match="optimizer='mma' cannot resume; there is: mma-distr"):
        run(MPI.COMM_WORLD, optimizer="mma", resume=memory)
    with pytest.raises(InputError, match=r"stopped in stage 2 at steepness 2, and here are 128"):
        run(MPI.COMM_WORLD, sharpen=(0, 4), resume=memory)
    other = FakeDensity(20 * [0.5])
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    J = FakeFunctional(other, lambda x: np.sum(1 / (1 + x)), lambda x: -1 / (1 + x) ** 2, name="J")
    with pytest.raises(InputError, match="it has 128 variables"):
        minimize(
            J,
            over=other,
            subject_to=linear(other, 0.05, "mean") <= 0.5,
            optimizer="mma-distributed",
            resume=memory,
        )
    write_memory(path, memory)
    with pytest.raises(InputError, match="has 128 variables and the design 20"):
        read_memory(path, other.slices)
    with pytest.raises(InputError, match="no memory of a run"):
        read_memory(path.parent / "other.h5", other.slices)
