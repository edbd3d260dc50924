"""A run that was stopped goes on: as if it had not been, on any number of ranks, or not at all."""

import json
import shutil

import numpy as np
import pytest
import ufl
from fakes import FakeDensity, FakeReduced, distance, linear
from mpi4py import MPI

from toolkit import Density, Domain, Functional, elasticity, minimize, pareto, simp
from toolkit.checkpoint import read_run
from toolkit.errors import InputError, Interrupted
from toolkit.groups import Groups
from toolkit.sealed import opened

pytestmark = pytest.mark.parallel
COMM = MPI.COMM_WORLD
HALT = 4


@pytest.fixture
def folder(tmp_path):
    return COMM.bcast(tmp_path) / "results"


def plate(comm, *, load=-1.0, size=(16, 8), power=3):
    domain = Domain.box((2, 1), size, comm=comm)
    design = Density(domain, radius=0.2, start=0.4)
    E, t = simp(design.physical, full=1, empty=1e-4, power=power), ufl.as_vector((0, load))
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], traction={"xmax": t})
    compliance = Functional(ufl.inner(t, u) * domain.ds("xmax"), name="compliance")
    volume = Functional(design.physical * domain.dx, name="volume") / domain.volume
    return design, compliance, volume, u


def run(comm, problem=None, *, bound=0.4, **options):
    design, compliance, volume, _ = problem or plate(comm)
    given = {"over": design, "subject_to": volume <= bound, "sharpen": (0, 2), "iterations": 3}
    given |= {"tolerance": 1e-9, "watch": ()}
    return minimize(compliance, **(given | options))


def stopper(folder, index=HALT):
    """A watcher by which a run stops after an iteration."""

    def watch(iteration):
        if iteration.index == index and iteration.rank == 0:
            (folder / "checkpoint" / "stop").touch()

    return watch


def stopped(comm, folder, **options):
    """Leave an unfinished run in a folder."""
    with pytest.raises(Interrupted) as ended:
        run(comm, checkpoint=folder, watch=(stopper(folder),), **options)
    assert ended.value.code == 75
    return folder


@pytest.mark.short
@pytest.mark.parametrize("optimizer", ["mma", "mma-distributed"])
@pytest.mark.parametrize("before", [MPI.COMM_SELF, COMM], ids=["one", "all"])
@pytest.mark.parametrize("after", [MPI.COMM_SELF, COMM], ids=["one", "all"])
def test_a_resumed_run_is_the_undisturbed_one(optimizer, before, after, folder):
    """To the solver's tolerance, on other ranks too; it solves the last evaluation again."""
    whole = run(COMM, optimizer=optimizer)
    if before.size > 1 or COMM.rank == 0:
        stopped(before, folder, optimizer=optimizer)
    COMM.barrier()
    if after.size == 1 and COMM.size > 1:  # each rank for itself, so in a folder of its own
        mine = folder.with_name(f"results{COMM.rank}")
        shutil.copytree(folder, mine)
        folder = mine
    problem = plate(after)
    rest = run(after, problem, checkpoint=folder, resume=True, optimizer=optimizer)
    assert len(rest.history.objective) == len(whole.history.objective) == 8
    np.testing.assert_allclose(rest.history.objective, whole.history.objective, rtol=1e-6)
    np.testing.assert_allclose(rest.history.constraints, whole.history.constraints, rtol=1e-6)
    np.testing.assert_array_equal(rest.history.beta, whole.history.beta)
    np.testing.assert_allclose(rest.design, whole.design, atol=1e-5)
    assert (rest.iterations, rest.evaluations) == (whole.iterations, whole.evaluations)
    assert rest.reason == whole.reason
    saved = whole.history.evaluations[HALT + 1] - 1
    assert problem[3].solves <= whole.evaluations - saved + 2
    assert not list((folder / "checkpoint").glob("*/*.h5"))


@pytest.mark.parametrize("optimizer", ["slsqp", "mma-distributed"])
def test_reproducible_runs_are_equal_to_the_last_bit(optimizer, folder):
    options = {"reproducible": True, "optimizer": optimizer}
    whole = run(COMM, **options)
    stopped(COMM, folder, **options)
    rest = run(COMM, checkpoint=folder, resume=True, **options)
    np.testing.assert_array_equal(rest.history.objective, whole.history.objective)
    np.testing.assert_array_equal(rest.design, whole.design)
    again = run(COMM, checkpoint=folder, resume=True, **options)  # it is done: from run.h5
    np.testing.assert_array_equal(again.design, whole.design)
    assert again.message == whole.message
    for name in ("objective", "constraints", "evaluations", "beta", "greyness"):
        np.testing.assert_array_equal(getattr(again.history, name), getattr(whole.history, name))


def test_every_evaluation_is_a_file_and_the_end_is_one(folder):
    stopped(COMM, folder)
    files = sorted((folder / "checkpoint" / "1").iterdir())
    assert [path.name for path in files] == [f"{k:06d}.h5" for k in range(1, len(files) + 1)]
    size = 8 * 128 * 3  # design, gradients of objective and constraint
    with opened(files[0]) as file:
        assert file["design"].shape == (1, 128) and file["gradients"].shape == (2, 128)
        assert file["values"].shape == (2,)
        np.testing.assert_array_equal(file["design"][:], 0.4)
    assert all(size < path.stat().st_size < size + 6000 for path in files)
    told = json.loads((folder / "checkpoint" / "run.json").read_text())
    assert told["ranks"] == COMM.size and told["command"]
    run(COMM, checkpoint=folder, resume=True)
    COMM.barrier()
    left = sorted(path.name for path in (folder / "checkpoint").iterdir())
    assert left == ["run.h5", "run.json"]
    assert read_run(folder / "checkpoint" / "run.h5").design.shape == (1, 128)


def test_the_environment_resumes_too(folder, monkeypatch):
    stopped(COMM, folder)
    monkeypatch.setenv("TOOLKIT_RESUME", "1")
    seen = []
    run(COMM, checkpoint=folder, watch=(seen.append,))
    assert seen[0].index == 0 and seen[-1].index == 6


def test_a_run_that_begins_anew_keeps_the_earlier_one(folder):
    stopped(COMM, folder)
    files = sorted(path.name for path in (folder / "checkpoint" / "1").iterdir())
    COMM.barrier()
    run(COMM, checkpoint=folder)
    earlier = folder / "checkpoint.earlier" / "1"
    assert sorted(path.name for path in earlier.iterdir()) == files


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (16, 10)}, "mesh fingerprint: .* then, .* now"),
        ({"load": -2.0}, r"objective 1, integral 1, numbers: -1 then, -2 now"),
        ({"power": 2}, "equation of displacement"),
    ],
)
def test_another_problem_is_refused(change, words, folder):
    stopped(COMM, folder)
    with pytest.raises(InputError, match=rf"of another problem:(.|\n)*{words}"):
        run(COMM, plate(COMM, **change), checkpoint=folder, resume=True)


def test_other_options_and_bounds_are_refused(folder, monkeypatch):
    stopped(COMM, folder)
    for change, words in (
        ({"iterations": 6}, "iterations: 3 then, 6 now"),
        ({"optimizer": "ccsa"}, "optimizer: mma then, ccsa now"),
        ({"reproducible": True}, "reproducible: False then, True now"),
        ({"bound": 0.41}, "constraint 1, at most: 0.4 then, 0.41 now"),
    ):
        with pytest.raises(InputError, match=words):
            run(COMM, checkpoint=folder, resume=True, **change)
    monkeypatch.setattr("toolkit.identity.version", lambda package: "9.9")
    with pytest.raises(InputError, match=r"toolkit version: .* then, 9\.9 now"):
        run(COMM, checkpoint=folder, resume=True)


def test_what_no_form_shows_is_seen_in_the_values(folder):
    """A function of Python, and an optimizer's path that leaves the recorded one."""

    def mapped(power):
        design, compliance, volume, u = plate(COMM)
        return design, compliance.map(lambda c: c**power, name="c"), volume, u

    with pytest.raises(Interrupted):
        run(COMM, mapped(1.0), checkpoint=folder, watch=(stopper(folder),))
    with pytest.raises(InputError, match=r"computed again, its values differ by 0\."):
        run(COMM, mapped(0.5), checkpoint=folder, resume=True)
    if COMM.rank == 0:
        files = sorted((folder / "checkpoint" / "1").iterdir())
        shutil.copy(files[5], files[2])
    COMM.barrier()
    with pytest.raises(InputError, match=r"Evaluation 3 .* its design differs by"):
        run(COMM, mapped(1.0), checkpoint=folder, resume=True)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
@pytest.mark.parametrize("optimizer", ["mma", "mma-distributed"])
def test_damaged_evaluations_are_computed_again(damage, optimizer, folder, capsys):
    whole = run(COMM, optimizer=optimizer)
    stopped(COMM, folder, optimizer=optimizer)
    if COMM.rank == 0:
        files = sorted((folder / "checkpoint" / "1").iterdir())
        path = files[4] if optimizer == "mma" else files[-1]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes({"cut": data[:999], "flipped": data, "emptied": b""}[damage])
    COMM.barrier()
    capsys.readouterr()
    rest = run(COMM, checkpoint=folder, resume=True, optimizer=optimizer)
    if COMM.rank == 0:
        told = capsys.readouterr().out
        assert ("It is computed again" if optimizer == "mma" else "begins anew") in told
    np.testing.assert_allclose(rest.history.objective, whole.history.objective, rtol=1e-6)


def test_a_damaged_file_of_points_is_refused(folder):
    run(COMM, checkpoint=folder)
    path = folder / "checkpoint" / "run.h5"
    if COMM.rank == 0:
        data = bytearray(path.read_bytes())
        data[-100] ^= 4
        path.write_bytes(data)
    COMM.barrier()
    with pytest.raises(InputError, match=r"run\.h5 is damaged"):
        run(COMM, checkpoint=folder, resume=True)
    if COMM.rank == 0:
        (folder / "checkpoint" / "run.json").write_text("{")
    COMM.barrier()
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        run(COMM, checkpoint=folder, resume=True)


def test_a_folder_that_is_removed_is_made_again(folder, capsys):
    removed = []

    def remove(iteration):
        if iteration.index == 4 and not removed:
            removed.append(1)
            if iteration.rank == 0:
                shutil.rmtree(folder)

    whole = run(COMM)
    rest = run(COMM, checkpoint=folder, watch=(remove,))
    np.testing.assert_array_equal(rest.design, whole.design)
    assert read_run(folder / "checkpoint" / "run.h5").design.shape == (1, 128)
    if COMM.rank == 0:
        assert "was removed. It is made again" in capsys.readouterr().out


def test_a_folder_that_cannot_be_is_refused_before_anything_is_solved(tmp_path):
    path = COMM.bcast(tmp_path) / "file"
    if COMM.rank == 0:
        path.write_text("a file")
    COMM.barrier()
    problem = plate(COMM)
    with pytest.raises(InputError, match="cannot be written to the folder"):
        run(COMM, problem, checkpoint=path)
    assert problem[3].solves == 0
    with pytest.raises(InputError, match="need a folder"):
        run(COMM, wall_time=3600)


def test_wall_time_stops_a_run_that_can_go_on(folder):
    with pytest.raises(Interrupted, match=r"wall time of 0\.1 s"):
        run(COMM, checkpoint=folder, wall_time=0.1)
    rest = run(COMM, checkpoint=folder, resume=True, wall_time=1e6)
    assert rest.iterations == 6


# ---- fronts -----------------------------------------------------------------------------------

A, B = np.linspace(0.1, 0.5, 20), np.linspace(0.9, 0.3, 20)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)


def front(comm, method="epsilon", groups=None, **options):
    design = FakeDensity(20 * [0.5], comm=comm)
    f, g = distance(design, A, "f"), distance(design, B, "g")
    mean = linear(design, 1 / 20, "mean")
    given = {"points": 5, "iterations": 8, "watch": (), "method": method, "groups": groups}
    return pareto(f, g, over=design, subject_to=mean <= 0.6, **(given | options))


@pytest.mark.parametrize(
    ("optimizer", "method", "point"),
    [
        ("mma", "epsilon", 1),
        ("mma", "epsilon", 4),
        ("mma", "tchebycheff", 4),
        ("mma-distributed", "epsilon", 2),
    ],
)
def test_a_front_goes_on_at_the_point_where_it_was(method, point, optimizer, folder, fake):
    def watch(iteration):
        if iteration.label == f"point {point}/5" and iteration.index == 3 and iteration.rank == 0:
            (folder / "checkpoint" / "stop").touch()

    whole = front(COMM, method, optimizer=optimizer)
    with pytest.raises(Interrupted):
        front(COMM, method, optimizer=optimizer, checkpoint=folder, watch=(watch,))
    if point > 1:
        assert len(read_run(folder / "checkpoint" / "run.h5").labels) == point - 1
    seen = []
    options = {"checkpoint": folder, "resume": True, "optimizer": optimizer}
    rest = front(COMM, method, watch=(seen.append,), **options)
    assert seen[0].label == f"point {point}/5"
    assert_same_front(rest, whole)
    assert_same_front(front(COMM, method, **options), whole)  # all of it from file


def assert_same_front(a, b):
    np.testing.assert_array_equal(a.values, b.values)
    assert (a.knee, a.hypervolume) == (b.knee, b.hypervolume)
    assert [point.label for point in a.points] == [point.label for point in b.points]
    for mine, other in zip(a.points, b.points, strict=True):
        np.testing.assert_array_equal(mine.result.design, other.result.design)
        assert mine.result.evaluations == other.result.evaluations


def test_groups_keep_their_points_side_by_side(folder, fake):
    groups = Groups(COMM.size)

    def watch(iteration):
        if iteration.label == f"point {1 + COMM.size}/5" and iteration.index == 3:
            (folder / "checkpoint" / "stop").touch()

    whole = front(groups.comm, groups=groups)
    with pytest.raises(Interrupted):
        front(groups.comm, groups=groups, checkpoint=folder, watch=(watch,))
    rest = front(groups.comm, groups=groups, checkpoint=folder, resume=True)
    assert_same_front(rest, whole)


def test_one_folder_is_for_one_minimisation_of_a_program(folder):
    run(COMM, checkpoint=folder)
    with pytest.raises(InputError, match="give each a folder of its own"):
        run(COMM, checkpoint=folder, iterations=4)


def test_totals_over_groups_go_on_together(folder):
    groups = Groups(COMM.size)

    def problem():
        design, compliance, volume, u = plate(groups.comm, load=-1.0 - groups.index)
        return design, groups.total(compliance), volume, u

    whole = run(COMM, problem())
    with pytest.raises(Interrupted):
        run(COMM, problem(), checkpoint=folder, watch=(stopper(folder),))
    rest = run(COMM, problem(), checkpoint=folder, resume=True)
    np.testing.assert_allclose(rest.history.objective, whole.history.objective, rtol=1e-9)
    assert rest.evaluations == whole.evaluations
