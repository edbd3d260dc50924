"""Groups of ranks: tasks side by side, totals of load cases, fronts by several points at a time."""

import numpy as np
import pytest
import ufl
from fakes import FakeDensity, FakeReduced, distance
from mpi4py import MPI

from toolkit import (
    Density,
    Domain,
    Functional,
    Groups,
    Reduced,
    darcy,
    elasticity,
    minimize,
    pareto,
    progress,
    simp,
    taylor_test,
)
from toolkit.checkpoint import read_run
from toolkit.errors import InputError, SolverError

WORLD = MPI.COMM_WORLD
NUMBERS = range(1, WORLD.size + 1)
SPLIT = max(1, min(2, WORLD.size))  # 3 ranks make groups of 2 and 1
parallel, short = pytest.mark.parallel, pytest.mark.short
several = pytest.mark.skipif(WORLD.size == 1, reason="one rank makes one group")
FORCES = [(1.0, 0.0), (0.0, -1.0), (0.5, 0.5)]


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_groups_split_all_ranks_evenly_and_in_order(number):
    groups = Groups(number)
    indices = WORLD.allgather(groups.index)
    sizes = np.bincount(indices)
    assert indices == sorted(indices) and len(sizes) == groups.number == number
    assert sizes.max() - sizes.min() <= 1
    assert groups.comm.size == sizes[groups.index]


@parallel
@short
@pytest.mark.parametrize("number", [0, -1, WORLD.size + 1, 1.5, "2"])
def test_groups_that_cannot_be(number):
    with pytest.raises(InputError, match=rf"Groups\({number!r}\) on {WORLD.size} rank"):
        Groups(number)


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_map_returns_every_result_in_order_on_every_rank(number):
    groups = Groups(number)
    where = []

    def square(n):
        where.append(n)
        return {"square": np.array([float(n**2)]), "ranks": groups.comm.allreduce(1)}

    found = groups.map(square, (n for n in range(7)))
    assert where == list(range(7))[groups.index :: number]
    assert [result["square"][0] for result in found] == [n**2 for n in range(7)]
    sizes = np.bincount(WORLD.allgather(groups.index))
    assert [result["ranks"] for result in found] == [sizes[n % number] for n in range(7)]
    assert groups.map(square, []) == []


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_one_group_is_raised_on_all_ranks(number, failing):
    groups = Groups(number)

    def task(n):
        if n == failing:
            raise InputError(f"item {n} is a mistake")
        return n

    with pytest.raises(InputError, match=f"item {failing} is a mistake"):
        groups.map(task, range(3))
    assert groups.map(lambda n: -n, range(3)) == [0, -1, -2], "the groups can go on"


@parallel
def test_what_cannot_be_sent_is_an_error_on_all_ranks():
    with pytest.raises(Exception, match="pickle"):
        Groups(WORLD.size).map(lambda n: lambda: n, range(1))


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_group_alone_does_what_is_for_one(number):
    groups, done = Groups(number), []
    assert groups.first(lambda: done.append(1) or "done") == "done"
    assert len(done) == (groups.index == 0)

    def fail():
        raise InputError("no folder")

    with pytest.raises(InputError, match="no folder"):
        groups.first(fail)


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_items_are_dealt_once_each(number):
    groups = Groups(number)
    mine = groups.deal("abcd") if groups.comm.rank == 0 else []
    assert sorted(item for part in WORLD.allgather(mine) for item in part) == list("abcd")
    with pytest.raises(InputError, match=f"{number} groups cannot share {number - 1} items"):
        groups.deal(range(number - 1))


# ---- totals over groups ---------------------------------------------------------------------


def problem(comm, shape=None):
    """A plate that is held on the left."""
    domain = Domain.box((2, 1), (8, 4), shape=shape, comm=comm)
    design = Density(domain, radius=0.5, start=0.5)
    return domain, design, simp(design.physical, full=1.0, empty=1e-3)


def works(domain, E, forces):
    """The compliances of some tractions on the right."""
    cases = [{"xmax": force} for force in forces]
    states = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], traction=cases)
    return [
        Functional(ufl.inner(ufl.as_vector(force), u) * domain.ds("xmax"))
        for force, u in zip(forces, states, strict=True)
    ]


def whole():
    """Σ Cᵢ and (Σ Cᵢ³)^(1/3) + V, in groups."""
    groups = Groups(SPLIT)
    domain, design, E = problem(groups.comm)
    mine = works(domain, E, groups.deal(FORCES))
    volume = Functional(design.physical * domain.dx, name="volume")
    sum_ = groups.total(sum(mine[1:], mine[0]))
    cubes = [work**3 for work in mine]
    mean = groups.total(sum(cubes[1:], cubes[0])) ** (1 / 3) + volume
    return groups, design, sum_, mean, volume


def alone():
    """The same on each rank for itself, all load cases in one functional."""
    domain, design, E = problem(MPI.COMM_SELF)
    cases = works(domain, E, FORCES)
    volume = Functional(design.physical * domain.dx)
    mean = (cases[0] ** 3 + cases[1] ** 3 + cases[2] ** 3) ** (1 / 3) + volume
    return design, cases[0] + cases[1] + cases[2], mean


@parallel
@short
def test_a_total_is_what_one_group_would_compute():
    _, design, *totals, _ = whole()
    reference, *sums = alone()
    for seed in range(3):
        x = np.random.default_rng(seed).uniform(0.1, 0.9, design.size)
        for total, plain in zip(totals, sums, strict=True):
            ours, theirs = Reduced(total, over=design), Reduced(plain, over=reference)
            assert ours.value(x) == pytest.approx(theirs.value(x), rel=1e-10)
            slope = theirs.gradient(x)
            assert np.linalg.norm(ours.gradient(x) - slope) <= 1e-10 * np.linalg.norm(slope)


@parallel
def test_totals_have_exact_gradients():
    _, design, sum_, mean, _ = whole()
    assert taylor_test(mean, over=design) >= 1.95
    gradients = WORLD.allgather(Reduced(sum_, over=design).gradient(design.vector).tobytes())
    assert len(set(gradients)) == 1


@parallel
@short
@pytest.mark.parametrize("optimizer", ["mma", "ccsa"])
def test_all_ranks_minimise_a_total_together(optimizer, capfd):
    options = {"iterations": 4, "optimizer": optimizer}
    _, design, sum_, _, volume = whole()
    ours = minimize(sum_, over=design, subject_to=volume <= 1.0, **options)
    printed = capfd.readouterr().out
    assert ("feasible" in printed) == (WORLD.rank == 0)
    reference, plain, _ = alone()
    held = Functional(reference.physical * reference.domain.dx) <= 1.0
    theirs = minimize(plain, over=reference, subject_to=held, watch=(), **options)
    np.testing.assert_allclose(ours.history.objective, theirs.history.objective, rtol=1e-6)
    assert ours.history.objective[-1] < ours.history.objective[0]
    designs = WORLD.allgather(ours.design.tobytes())
    assert len(set(designs)) == 1


@parallel
@several
def test_what_groups_state_differently_needs_a_total():
    groups = Groups(SPLIT)
    domain, design, E = problem(groups.comm)
    mine = works(domain, E, groups.deal(FORCES))
    total = groups.total(mine[0])
    with pytest.raises(InputError, match=r"in the first group .* groups\.total"):
        minimize(total + mine[0], over=design, watch=())


@parallel
def test_optimizers_on_slices_refuse_a_total():
    _, design, sum_, _, _ = whole()
    with pytest.raises(InputError, match="works on slices of one mesh"):
        minimize(sum_, over=design, optimizer="mma-distributed", watch=())


@parallel
def test_a_total_in_one_group_alone_is_refused():
    groups, design, sum_, _, volume = whole()
    with pytest.raises(InputError, match="in a task of one"):
        groups.map(lambda _: sum_.value, range(1))
    with pytest.raises(InputError, match="a total over groups"):
        pareto(sum_, volume, over=design, groups=groups)
    with pytest.raises(InputError, match="total over groups already"):
        groups.total(sum_)


@parallel
@short
def test_a_state_that_one_group_cannot_solve_is_an_error_on_all_ranks():
    groups = Groups(SPLIT)
    domain, design, _ = problem(groups.comm)
    κ = design.physical
    last = groups.index == SPLIT - 1
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0}, source=float(last))
    total = groups.total(Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx))
    if last:
        p.solve = lambda: (_ for _ in ()).throw(SolverError("'pressure' was not solved"))
    with pytest.raises(SolverError, match="'pressure' was not solved"):
        minimize(total, over=design, watch=())


@parallel
@short
@several
def test_meshes_that_groups_do_not_share():
    groups = Groups(SPLIT)
    domain = Domain.box((2, 1), (8, 4))
    with pytest.raises(InputError, match=r"lies on \d of the ranks.*comm=groups\.comm"):
        groups.check_domain(domain)
    other = Domain.box((2, 1), (8, 4 + groups.index), comm=groups.comm)
    with pytest.raises(InputError, match="different meshes"):
        groups.check_domain(other)


# ---- fronts ---------------------------------------------------------------------------------


class InTurn:
    """Groups that do their tasks one after the other, on the ranks of a design."""

    def __init__(self, number, comm):
        self.number, self.comm, self.world = number, comm, comm

    def map(self, task, items):
        return [task(item) for item in items]

    def check_domain(self, domain):
        pass


def spheres(monkeypatch, groups, **options):
    """|x − a|² against |x − b|²: the segment from a to b, √f + √g = |a − b|."""
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    comm = MPI.COMM_SELF if groups is None else groups.comm
    design = FakeDensity([0.5, 0.5, 0.3, 0.2], -1, 2, comm=comm)
    f, g = (distance(design, np.eye(4)[k], "fg"[k]) for k in (0, 1))
    settings = {"watch": (), "tolerance": 1e-8, "groups": groups} | options
    return pareto(f, g, over=design, **settings)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("method", ["epsilon", "tchebycheff"])
def test_a_front_by_several_points_at_a_time_is_as_good(number, method, monkeypatch):
    front = spheres(monkeypatch, InTurn(number, MPI.COMM_SELF), method=method)
    single = spheres(monkeypatch, None, method=method)
    assert len(front.points) == 9 and not any(point.dominated for point in front.points)
    np.testing.assert_allclose(np.sqrt(front.values.clip(0)).sum(axis=1), np.sqrt(2), rtol=5e-3)
    assert front.hypervolume == pytest.approx(single.hypervolume, rel=0.02)
    if number == 2:  # one gap, two gaps, two of three …: those that are widest one by one
        order, other = (np.argsort(found.values[:, 0]) for found in (front, single))
        np.testing.assert_allclose(front.values[order], single.values[other], atol=2e-3)
    line = front.values[np.argsort(front.values[:, 0])]
    wide = 0.25 if method == "epsilon" and number < 4 else 0.32
    assert np.abs(np.diff(line, axis=0)).max() <= (wide + 1e-3) * np.ptp(line, axis=0).max()


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("method", ["epsilon", "tchebycheff"])
def test_groups_find_what_one_after_the_other_would(number, method, monkeypatch):
    options = {"points": 5, "method": method, "iterations": 10}
    front = spheres(monkeypatch, Groups(number), **options)
    in_turn = spheres(monkeypatch, InTurn(number, MPI.COMM_SELF), **options)
    np.testing.assert_allclose(front.values, in_turn.values, rtol=1e-9, atol=1e-12)
    assert [p.label for p in front.points] == [p.label for p in in_turn.points]
    assert len(set(WORLD.allgather(front.values.tobytes()))) == 1
    np.testing.assert_array_equal(front.over.vector, front.points[front.knee].result.design)


@parallel
def test_three_objectives_in_groups(monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    groups = Groups(WORLD.size)
    design = FakeDensity([0.4, 0.3, 0.1], -1, 2, comm=groups.comm)
    objectives = [distance(design, c, n) for c, n in zip(np.eye(3), "fgh", strict=True)]
    front = pareto(*objectives, over=design, points=8, watch=(), iterations=40, groups=groups)
    for point in front.points:
        if point.result.feasible and not point.dominated:
            assert point.result.design.sum() == pytest.approx(1, abs=2e-2)
    assert sum(not point.dominated for point in front.points) >= 6


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_lines_say_which_point_they_belong_to(number, monkeypatch, capfd):
    groups = Groups(number)
    spheres(monkeypatch, groups, points=4, watch=(progress,), iterations=3)
    lines = capfd.readouterr().out.splitlines()
    assert not lines or groups.comm.rank == 0
    assert all(line.startswith("point ") for line in lines)
    every = {line.split("/")[0] for part in WORLD.allgather(lines) for line in part}
    assert every == {f"point {n}" for n in range(1, 5)}


@parallel
@short
@pytest.mark.parametrize("number", NUMBERS)
def test_an_end_that_fails_in_one_group_ends_all(number, monkeypatch):
    monkeypatch.setattr("toolkit.optimize.Reduced", FakeReduced)
    groups = Groups(number)
    design = FakeDensity([0.5, 0.5, 0.3, 0.2], -1, 2, comm=groups.comm)
    f, g = (distance(design, np.eye(4)[k], "fg"[k]) for k in (0, 1))
    g.slope = lambda x: np.zeros(4)
    g.function = lambda x: 1.0
    with pytest.raises(InputError, match="g does not depend on the design"):
        pareto(f, g, over=design, watch=(), groups=groups)


def front_of_states(groups):
    """Stiff against open, four points."""
    domain, design, E = problem(groups.comm)
    pores = 1.01 - design.physical
    (work,) = works(domain, E, FORCES[1:2])
    p = darcy(domain, permeability=pores, pressure={"xmin": 1, "xmax": 0})
    flow = Functional(pores * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx)
    return pareto(
        work,
        -flow,
        over=design,
        limits={work: 200.0},
        points=4,
        iterations=8,
        watch=(),
        groups=groups,
    )


@parallel
@short
@several
def test_a_front_depends_on_the_number_of_groups_and_not_on_that_of_ranks():
    number = WORLD.size - 1
    front = front_of_states(Groups(number))
    fewer = WORLD.Split(0 if WORLD.rank < number else MPI.UNDEFINED)
    values = front_of_states(Groups(number, comm=fewer)).values if fewer else None
    np.testing.assert_allclose(front.values, WORLD.bcast(values), rtol=1e-3)


@parallel
def test_a_front_in_groups_is_written_once(tmp_path):
    front = front_of_states(Groups(WORLD.size))
    folder = WORLD.bcast(tmp_path)
    assert front.write(folder) == folder
    assert (folder / "report.html").is_file()
    run = read_run(folder / "run.h5")
    np.testing.assert_array_equal(run.values, front.values)
    assert run.provenance["groups"] == run.provenance["ranks"] == str(WORLD.size)
