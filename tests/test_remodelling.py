"""Remodelling: closed forms of bars at rest and in time, descent of the potential, ranks.

A bar in tension is statically determinate: its stress does not know its density, so that each of
its cells has the stationary density (σ²/(2 C (1 ± s) k))^(1/(g + 1)) and follows a scalar equation
whose solution is known. Between grips it is the strain that is known instead.
"""

import csv
from unittest.mock import patch

import h5py
import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl import as_vector, inner

from toolkit import Domain, Functional, InputError, elasticity, strain, stress
from toolkit.bone import Remodelling

pytestmark = pytest.mark.parallel

HUISKES = {"C": 3790.0, "g": 3.0, "k": 0.0025}
WEINANS = {"C": 100.0, "g": 2.0, "k": 0.004}
ROLLERS = {"zmin": (None, None, 0), "xmin": (0, None, None), "ymin": (None, 0, None)}


def rest(stress, *, C, g, k):
    """Where the bar stops."""
    return (stress**2 / (2 * C * k)) ** (1 / (g + 1))


def energy_density(u, E, ν):
    return inner(stress(u, modulus=E, poisson=ν), strain(u)) / 2


def remodelling(domain, start, *, C, g, k, poisson=0.3, of_density=None, options=None, **loads):
    """A body of bone alone, under the loads of `elasticity`; and its states."""
    ρ = fem.Function(domain.cellwise, name="density")
    ρ.interpolate(start if callable(start) else lambda x: np.full(x.shape[1], start))
    E = C * ρ ** (of_density or g)
    u = elasticity(domain, modulus=E, poisson=poisson, **loads)
    states = u if isinstance(u, tuple) else (u,)
    U = sum(energy_density(each, E, poisson) for each in states) / len(states)
    bone = Remodelling(
        domain, density=ρ, energy=U, power=g, reference=k, **{"rate": 1.0} | (options or {})
    )
    return bone, states


def bar(comm, start, *, tension, lazy=0.0, rate=1.0, **law):
    """A bar of cells in a row, pulled."""
    return remodelling(
        Domain.box((1, 1, 4), (1, 1, 4), comm=comm),
        start,
        displacement=ROLLERS,
        traction={"zmax": as_vector((0, 0, tension))},
        options={"lazy": lazy, "rate": rate},
        **law,
    )[0]


def values(function, domain):
    """All cells, in mesh-file order."""
    return domain.gather_cells(function.x.array[domain.cell_dofs[: len(domain.cells)]])


def density(bone):
    return values(bone.density, bone.domain)


# ---- at rest --------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize(
    ("start", "lazy", "stop"),
    [
        (1.2, 0.35, 0.7548912),
        (0.3, 0.35, 0.6288242),
        (1.2, 0.0, 0.6778174),
        (0.3, 0.0, 0.6778174),
        (0.7, 0.35, 0.7),
    ],
)
def test_a_bar_stops_at_the_edge_of_the_lazy_zone(comm, start, lazy, stop):
    for step in ("implicit", "explicit"):
        bone = bar(comm, start, tension=2.0, lazy=lazy, **HUISKES)
        if step == "implicit":
            for duration in (1.0, 1e3, 1e8):
                bone.implicit(duration)
        else:
            bone.explicit(4e3, tolerance=1e-2)
        assert density(bone) == pytest.approx(stop, abs=1e-6)


@pytest.mark.parametrize(("start", "side"), [(1.7, -1), (0.05, 1)])
def test_other_bars_stop_elsewhere(comm, start, side):
    """Weinans' law, other numbers, and a power that is not whole."""
    for law in (WEINANS, {"C": 8920.0, "g": 1.83, "k": 0.0011}):
        bone = bar(comm, start, tension=0.6, lazy=0.2, **law)
        bone.implicit(1e10)
        stop = rest(0.6, **law | {"k": law["k"] * (1 + side * 0.2)})
        assert 0.1 < stop < 1.2
        assert density(bone) == pytest.approx(stop, rel=1e-7)


@pytest.mark.short
def test_a_bar_under_its_weight_has_the_density_that_its_stress_asks_for(comm):
    """σ falls linearly to nothing: each cell is clipped to the lazy zone, then to the bounds.

    Bone forms below, is at rest in the middle, resorbs above; densities reach both bounds exactly.
    """
    n, length, pull, lazy, start = 24, 12.0, 3.0, 0.35, 0.8
    bone, _ = remodelling(
        Domain.box((1, 1, length), (1, 1, n), comm=comm),
        start,
        poisson=0.0,
        displacement=ROLLERS,
        body=as_vector((0, 0, pull)),
        options={"lazy": lazy},
        **HUISKES,
    )
    x = fem.Function(bone.domain.cellwise)
    x.interpolate(lambda x: x[2])
    σ = pull * (length - values(x, bone.domain))
    low, high = (rest(σ, **HUISKES | {"k": HUISKES["k"] * (1 + s)}) for s in (lazy, -lazy))
    bone.run(3e8, steps=3)
    expected = np.clip(np.clip(start, low, high), 0.01, 1.74)
    assert density(bone) == pytest.approx(expected, abs=1e-8)
    kinds = [(expected == 1.74), (expected == start), (expected < start), (expected > start)]
    assert all(kind.any() for kind in kinds)
    assert (density(bone) == 1.74).sum() == kinds[0].sum()


@pytest.mark.short
def test_cells_of_no_stress_end_at_the_lower_bound_exactly(comm):
    bone = bar(comm, 0.8, tension=1e-6, **HUISKES)
    bone.explicit(500.0)
    assert (density(bone) == 0.01).all()
    bone.implicit(1.0)
    assert (density(bone) == 0.01).all()


# ---- in time --------------------------------------------------------------------------------


def time_to(ρ, start, stop, k):
    """When a bar of g = 3 that starts at one density has another: ∫ dρ / (k ((ρ*/ρ)⁴ − 1))."""

    def primitive(r):
        logarithm = 0.25 * np.log(abs((1 + r) / (1 - r)))
        return -r + logarithm + 0.5 * np.arctan(r)

    return stop / k * (primitive(ρ / stop) - primitive(start / stop))


def orders(errors):
    return np.log2(np.array(errors[:-1]) / errors[1:])


@pytest.mark.parametrize("start", [1.2, 0.45])
@pytest.mark.parametrize("step", ["implicit", "explicit"])
def test_steps_are_of_first_order(comm, start, step):
    """Against the exact course of the bar, at the time when it has gone half of its way."""
    k = HUISKES["k"] * (0.65 if start > 0.7 else 1.35)
    stop = rest(2.0, **HUISKES | {"k": k})
    half = 0.5 * (start + stop)
    duration, errors = time_to(half, start, stop, k), []
    assert duration > 0
    for steps in (8, 16, 32, 64):
        bone = bar(comm, start, tension=2.0, lazy=0.35, **HUISKES)
        by = (lambda h, b=bone: b.explicit(h, tolerance=np.inf)) if step == "explicit" else None
        bone.run(duration, steps=steps, by=by)
        assert bone.time == pytest.approx(duration)
        errors.append(abs(density(bone) - half).max())
    assert orders(errors)[-1] == pytest.approx(1, abs=0.06)
    assert errors[-1] < 0.01


def test_the_tolerance_bounds_the_explicit_course(comm):
    """Errors fall with the tolerance, whose square root is the step."""
    k = 0.65 * HUISKES["k"]
    stop = rest(2.0, **HUISKES | {"k": k})
    duration, errors, counts = time_to(0.9, 1.2, stop, k), [], []
    for tolerance in (1e-3, 1e-5):
        bone = bar(comm, 1.2, tension=2.0, lazy=0.35, **HUISKES)
        counts.append(bone.explicit(duration, tolerance=tolerance))
        errors.append(abs(density(bone) - 0.9).max())
    assert errors[0] < 0.05
    assert errors[1] < 0.2 * errors[0]
    assert counts[1] > 5 * counts[0]


@pytest.mark.parametrize("step", ["implicit", "explicit"])
def test_between_grips_the_denser_bar_outgrows_the_other(comm, step):
    """Under a given strain S = ½ C ε² ρ of g = 2: densities leave k / a exponentially.

    That is the instability behind the checkerboards, with its exact rate B a, a = ½ C ε².
    """
    ε, a = 0.02, 0.5 * WEINANS["C"] * 0.02**2
    middle, duration = WEINANS["k"] / a, 60.0
    first = np.array([middle - 0.05, middle + 0.05])
    exact = middle + (first - middle) * np.exp(a * duration)
    assert 0.01 < exact.min() < exact.max() < 1.74
    errors = []
    for steps in (16, 32, 64, 128):
        bone, _ = remodelling(
            Domain.box((2, 1, 1), (2, 1, 1), comm=comm),
            lambda x: np.where(x[0] < 1, *first),
            poisson=0.0,
            displacement=ROLLERS | {"zmax": (None, None, ε)},
            **WEINANS,
        )
        by = (lambda h, b=bone: b.explicit(h, tolerance=np.inf)) if step == "explicit" else None
        bone.run(duration, steps=steps, by=by)
        errors.append(abs(density(bone) - exact).max())
    assert orders(errors)[-1] == pytest.approx(1, abs=0.1)
    for _ in range(20):
        bone.implicit(1e4)
    assert sorted(density(bone)) == [0.01, 1.74]


# ---- descent --------------------------------------------------------------------------------


def plate(comm, *, n=8, start=0.8, k=WEINANS["k"], shape="quadrilateral", **options):
    """Weinans' plate: pressure that falls from the left to the right, on a symmetric support."""
    domain = Domain.box((1, 1), (n, n), shape=shape, comm=comm)
    x = ufl.SpatialCoordinate(domain.mesh)[0]
    return remodelling(
        domain,
        start,
        displacement={"ymin": (None, 0), "xmin": (0, None)},
        traction={"ymax": as_vector((0, x - 1))},
        plane="stress",
        options=options,
        **WEINANS | {"k": k},
    )


@pytest.fixture
def cases(comm):
    """A block under two load cases, of random density, with a reference that varies."""
    domain = Domain.box((2, 1, 1), (4, 2, 2), comm=comm)
    k = fem.Function(domain.cellwise)
    k.interpolate(lambda x: 0.002 + 0.002 * x[0])
    return remodelling(
        domain,
        lambda x: 0.6 + 0.4 * np.sin(7 * x[0]) * np.cos(11 * x[1] - 3 * x[2]),
        displacement=["xmin"],
        traction=[{"xmax": as_vector((0, 0, 0.3))}, {"xmax": as_vector((-2, 0.2, 0))}],
        options={"lazy": 0.2},
        **HUISKES | {"k": k},
    )


def potential(bone, states, k, g, tractions):
    """Φ = half the compliance over g, as a mean over load cases, and ∫ k ρ."""
    domain = bone.domain
    forces = [
        Functional(0.5 * inner(t, u) * domain.ds("xmax")) / (g * len(states))
        for u, t in zip(states, tractions, strict=True)
    ]
    return sum(float(force) for force in forces) + domain.integrate(k * bone.density * domain.dx)


def test_the_rate_is_the_slope_of_the_potential(comm, cases):
    """∂Φ/∂ρ = k − S: a central difference of Φ in a direction."""
    bone, states = cases
    k = fem.Function(bone.domain.cellwise)
    k.interpolate(lambda x: 0.002 + 0.002 * x[0])
    tractions = [as_vector((0, 0, 0.3)), as_vector((-2, 0.2, 0))]
    δ, h, ρ = fem.Function(bone.domain.cellwise), 1e-4, bone.density.x.array.copy()
    δ.interpolate(lambda x: np.cos(5 * x[0] + 3 * x[1]) - x[2])
    slope = bone.domain.integrate((k - bone.stimulus()) * δ * bone.domain.dx)
    ends = []
    for sign in (1, -1):
        bone.density.x.array[:] = ρ + sign * h * δ.x.array
        ends.append(potential(bone, states, k, HUISKES["g"], tractions))
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("step", ["implicit", "explicit"])
@pytest.mark.parametrize("duration", [10.0, 1e3, 1e6])
def test_the_potential_falls_in_steps_of_any_length(comm, cases, step, duration):
    """And by the work of the change at least, in one implicit step."""
    bone, states = cases
    k = fem.Function(bone.domain.cellwise)
    k.interpolate(lambda x: 0.002 + 0.002 * x[0])
    tractions = [as_vector((0, 0, 0.3)), as_vector((-2, 0.2, 0))]
    Φ = [potential(bone, states, k, HUISKES["g"], tractions)]
    for _ in range(4):
        before = bone.density.copy()
        if step == "implicit":
            bone.implicit(duration)
        else:
            bone.explicit(min(duration, 1e3), tolerance=np.inf)
        Φ.append(potential(bone, states, k, HUISKES["g"], tractions))
        change = abs(bone.density - before)
        work = bone.domain.integrate(
            (0.2 * k * change + change**2 / (2 * duration)) * bone.domain.dx
        )
        if step == "implicit":
            assert Φ[-1] + work <= Φ[-2] * (1 + 1e-12)
        assert Φ[-1] <= Φ[-2] * (1 + 1e-12)
    assert Φ[-1] < Φ[0]


def test_the_filter_keeps_checkerboards_away(comm):
    """Mixed differences over patches of four cells, without and with a radius of two cells."""
    roughness = []
    for radius in (None, 0.25):
        bone, _ = plate(comm, n=16, k=0.01, radius=radius)
        bone.run(4000.0, steps=100)
        ρ = density(bone)
        x = [fem.Function(bone.domain.cellwise) for _ in range(2)]
        for i in range(2):
            x[i].interpolate(lambda x, i=i: x[i])
        order = np.lexsort([np.round(values(f, bone.domain), 6) for f in x])
        grid = ρ[order].reshape(16, 16)
        mixed = grid[1:, 1:] - grid[:-1, 1:] - grid[1:, :-1] + grid[:-1, :-1]
        roughness.append(abs(mixed).mean() / 4)
        assert ((ρ >= 0.01) & (ρ <= 1.74)).all()
    assert roughness[0] > 0.08
    assert roughness[1] < 0.25 * roughness[0]


# ---- a prognosis ----------------------------------------------------------------------------


def shielded(comm, *, metal):
    """A block of bone with a metal corner, in compression between a clamp and a load."""
    domain = Domain.box((4, 2, 4), (4, 2, 4), comm=comm)
    domain.name("metal", 3, lambda x: x[0] < 1 + 1e-9)
    domain.name("bone", 3, lambda x: x[0] > 1 - 1e-9)
    domain.name("near", 3, lambda x: (x[0] > 1 - 1e-9) & (x[0] < 2 + 1e-9))
    E0 = domain.by_region({"metal": metal, "bone": 0.0})
    ρ = domain.by_region({"metal": 0.0, "bone": 1.2})
    E = E0 + 3790 * ρ**3
    load = {"zmax": as_vector((0, 0, -5))}
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["zmin"], traction=load)
    return domain, ρ, energy_density(u, E, 0.3)


def prognosis(comm, metal):
    """Two years beside metal, from the rest beside what is like bone."""
    options = {"power": 3, "tissue": ["bone"], "lazy": 0.1, "rate": 20.0}
    domain, ρ, U = shielded(comm, metal=3790 * 1.2**3)
    intact = Remodelling(domain, density=ρ, energy=U, reference=1.0, **options)
    S = intact.stimulus()
    again = Remodelling(domain, density=ρ, energy=U, reference=S, **options)
    still = again.run(24, steps=2, regions=["near"])
    other, ρ, U = shielded(comm, metal=metal)
    k = fem.Function(other.cellwise)
    k.x.array[:] = S.x.array
    bone = Remodelling(other, density=ρ, energy=U, reference=k, **options)
    return still, bone.run(24, steps=6, regions=["near"])


@pytest.mark.short
def test_a_stiff_neighbour_costs_bone_and_rest_is_rest(comm):
    still, course = prognosis(comm, 110e3)
    assert (still.mass == still.mass[0]).all()
    assert not (still.lost + still.gained + still.resorbed + still.formed).any()
    assert course.times == pytest.approx(4 * np.arange(7))
    assert course.mass[0] == pytest.approx([1.2e-3 * 24, 1.2e-3 * 8])
    assert course.mass / course.mass[0] == pytest.approx(1 + course.gained - course.lost)
    assert (np.diff(course.lost, axis=0) >= 0).all()
    assert course.change("near")[-1] < course.change("all")[-1] < 0
    assert (course.resorbed[1:] + course.formed[1:] <= 1).all() and course.resorbed[-1, 1] > 0.5
    _, softer = prognosis(comm, 20e3)
    assert course.change("near")[-1] < softer.change("near")[-1] < 0
    if comm.size > 1:
        _, alone = prognosis(MPI.COMM_SELF, 110e3)
        assert alone.mass == pytest.approx(course.mass, rel=1e-9)
        assert alone.resorbed == pytest.approx(course.resorbed, rel=1e-9)
        assert values(course.densities[-1], course.domain) == pytest.approx(
            values(alone.densities[-1], alone.domain), rel=1e-9
        )


def test_rest_is_rest_with_a_radius(comm):
    """Stimulus and reference are averaged alike; beside metal both vary from cell to cell."""
    domain, ρ, U = shielded(comm, metal=110e3)
    options = {"power": 3, "tissue": ["bone"], "lazy": 1e-6, "rate": 20.0, "radius": 2.0}
    S = Remodelling(domain, density=ρ, energy=U, reference=1.0, **options).stimulus()
    assert np.ptp(S.x.array[S.x.array > 0]) > 0.1 * S.x.array.max()
    still = Remodelling(domain, density=ρ, energy=U, reference=S, **options).run(24, steps=2)
    assert (still.mass == still.mass[0]).all()


@pytest.mark.short
def test_plates_are_the_same_on_any_number_of_ranks(comm):
    """With the filter, and Euler's steps whose length the ranks agree on."""
    bone, _ = plate(comm, n=8, k=0.01, lazy=0.1, radius=0.3)
    steps = bone.explicit(100.0)
    bone.implicit(100.0)
    alone, _ = plate(MPI.COMM_SELF, n=8, k=0.01, lazy=0.1, radius=0.3)
    assert steps == alone.explicit(100.0)
    alone.implicit(100.0)
    assert density(bone) == pytest.approx(density(alone), rel=1e-8)


def test_nothing_is_built_in_the_course_of_time(comm):
    bone, (u,) = plate(comm)
    bone.implicit(10.0)
    solves = u.solves
    forbidden = [
        *("toolkit.solver.LinearSolver.__init__", "toolkit.solver.Operator.__init__"),
        *("dolfinx.fem.form", "toolkit.solver.PETSc.Vec"),
    ]
    patches = [patch(name, side_effect=AssertionError(name)) for name in forbidden]
    for each in patches:
        each.start()
    try:
        bone.run(50.0, steps=5)
    finally:
        for each in patches:
            each.stop()
    assert u.solves == solves + 5


def test_files_of_a_prognosis(comm, tmp_path):
    folder = comm.bcast(tmp_path)
    _, course = prognosis(comm, 110e3)
    course.write(folder)
    with (folder / "bone.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 2
    assert float(rows[-1]["mass [g]"]) == pytest.approx(course.mass[-1, 1])
    if comm.rank == 0:
        with h5py.File(folder / "bone.vtkhdf") as file:
            steps = file["VTKHDF/Steps/Values"][:]
            last = file["VTKHDF/CellData/density"][-32:]
            change = file["VTKHDF/CellData/change"][-32:]
        assert steps == pytest.approx(course.times)
        assert 1e-3 * last.sum() == pytest.approx(course.mass[-1, 0])
        assert 1e-3 * change.sum() == pytest.approx(course.mass[-1, 0] - course.mass[0, 0])
    comm.barrier()


# ---- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lazy": 1.2}, "lazy = 1.2 must be at least 0 and less than 1"),
        ({"rate": 0.0}, "rate = 0 must be positive"),
        ({"bounds": (0.5, 0.1)}, "bounds = .* 0 < low < high"),
        ({"bounds": (0.01, 0.5)}, r"density of 64 cells lies outside the bounds 0\.01 to 0\.5"),
        ({"tissue": "bone"}, r"lists of names: \['bone'\]"),
        ({"tissue": ["bone"]}, "no surface named 'bone'"),
    ],
)
def test_mistakes_are_named(comm, options, message):
    with pytest.raises(InputError, match=message):
        plate(comm, **options)


def test_an_energy_of_another_power_is_refused(comm):
    bone, _ = remodelling(
        Domain.box((1, 1, 1), (1, 1, 2), comm=comm),
        0.8,
        of_density=2.0,
        displacement=["zmin"],
        traction={"zmax": as_vector((0, 0, 1))},
        **HUISKES,
    )
    with pytest.raises(InputError, match=r"power of 2\.00, not 3"):
        bone.implicit(1.0)
    assert density(bone) == pytest.approx(0.8)


def test_steps_and_regions_that_are_none(comm):
    bone, _ = plate(comm)
    with pytest.raises(InputError, match="step of -1 must be positive"):
        bone.implicit(-1.0)
    with pytest.raises(InputError, match="0 steps are none"):
        bone.run(1.0, steps=0)
    course = bone.run(1.0, steps=1)
    with pytest.raises(InputError, match=r"'calcar' was not counted\. There are: all"):
        course.change("calcar")
    with pytest.raises(InputError, match="mentions no state"):
        Remodelling(
            bone.domain, density=bone.density, energy=1.0 * bone.density, power=2, reference=1.0
        )
