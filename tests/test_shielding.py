"""What an implant does to the bone: rods and plates of beam theory, layers in shear, Taylor tests.

On several ranks the numbers are those that every rank finds alone.
"""

from functools import partial
from math import pi

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from toolkit import Density, Domain, elasticity, pictures, simp, taylor_test
from toolkit.bone import (
    IntactBone,
    gruen_chart,
    interface_slip,
    load_chart,
    load_share,
    section_load,
    shielded_cells,
    shielded_volume,
    shielding,
    shielding_map,
    strain_energy,
)
from toolkit.bone.carry import carried
from toolkit.elasticity import stress
from toolkit.errors import InputError
from toolkit.geometry import composite_rod

pytestmark = pytest.mark.parallel


def has_renderer():
    return pictures.missing_renderer() is None


BONE = 17e3  # MPa
STEMS = {"CoCr": 230e3, "316L": 193e3, "Ti": 110e3, "CFR-PEEK": 18e3, "PEEK": 3.6e3, "foam": 3e3}
SHIELDED = dict(
    zip(STEMS, (0.54359, 0.49985, 0.36290, 0.08526, 0.01830, 0.01530), strict=True)
)  # 1 − EI of the bone over EI, bone 30/16 mm


@pytest.mark.parametrize(("outer", "inner", "size"), [(30.0, 16.0, 7.0), (40.0, 20.0, 9.5)])
def test_rods_shield_as_beams_do(comm, outer, inner, size):
    """In the middle of six rods: energy of the bone, and shares of moment and force, to 1 %.

    Under one moment the bone's strains are those of the empty tube times E_b I_b/ΣEI, its energy
    the square of that, at every point; under one force the same with areas.
    """
    length = 8 * outer
    rod = partial(composite_rod, size=size, diameter=outer, stem_diameter=inner, length=length)
    domain = Domain.build(rod, comm=comm)
    R, r = outer / 2, inner / 2
    second = {"bone": pi * (R**4 - r**4) / 4, "stem": pi * r**4 / 4}
    area = {"bone": pi * (R**2 - r**2), "stem": pi * r**2}
    domain.name(
        "middle",
        3,
        lambda x: (abs(x[2] - length / 2) < length / 6) & (np.hypot(x[0], x[1]) > 0.95 * r),
    )
    x = ufl.SpatialCoordinate(domain.mesh)
    tube = ufl.conditional(x[0] ** 2 + x[1] ** 2 > r**2, 1.0, 0.0)
    bent, pulled = (ufl.as_vector((0, 0, load)) for load in (1e4 * x[0], 1e3))
    solve = partial(elasticity, domain, poisson=0.3, displacement=["distal"], degree=2)
    E = domain.by_region({"bone": BONE, "stem": BONE})
    empty = domain.by_region({"bone": BONE, "stem": 1e-3})
    before = solve(
        modulus=empty,
        name="intact",
        traction=[
            {"proximal": tube * bent / second["bone"]},
            {"proximal": tube * pulled / area["bone"]},
        ],
    )
    after = solve(
        modulus=E,
        traction=[
            {"proximal": bent / (pi * R**4 / 4)},
            {"proximal": pulled / (pi * R**2)},
        ],
    )
    lost, shielded, share = [], [], []
    section = {"axis": (0, 0, 1), "at": length / 2, "width": length / 4, "over": ["bone", "stem"]}
    for u0, u, lever in zip(before, after, ((1, 0, 0), None), strict=True):
        intact = IntactBone(strain_energy(u0, modulus=empty, poisson=0.3))
        U = strain_energy(u, modulus=E, poisson=0.3)
        lost.append(shielding(U, intact, over="middle"))
        shielded.append(shielded_volume(U, intact, over="middle"))
        share.append(load_share(stress(u, modulus=E, poisson=0.3), lever=lever, **section))
    for name, modulus in STEMS.items():
        E.x.array[:] = domain.by_region({"bone": BONE, "stem": modulus}).x.array
        for k, property_ in enumerate((second, area)):
            carries = BONE * property_["bone"]
            carries /= carries + modulus * property_["stem"]
            if outer == 30 and k == 0:
                assert 1 - carries == pytest.approx(SHIELDED[name], abs=1e-5)
            r0 = carries**2
            assert 1 - float(lost[k]) == pytest.approx(r0, rel=0.01)
            assert share[k].value == pytest.approx([carries, 1 - carries], abs=0.005)
            assert float(shielded[k]) == pytest.approx(1 / (1 + (4 * r0) ** 10), abs=0.02)


@pytest.mark.parametrize(
    ("modulus", "share"), [(110e3, 0.60714), (193e3, 0.46832), (3.6e3, 0.97926)]
)
def test_a_plate_in_parallel_takes_its_share(comm, modulus, share):
    """Bone of 20 × 20 mm and a plate of 20 × 2 mm between rigid ends: E A over Σ E A."""
    domain = Domain.box((20, 22, 60), (4, 11, 6), comm=comm)
    domain.name("bone", 3, lambda x: x[1] < 20 + 1e-9)
    domain.name("plate", 3, lambda x: x[1] > 20 - 1e-9)
    E = domain.by_region({"bone": BONE, "plate": modulus})
    u = elasticity(
        domain,
        modulus=E,
        poisson=0.3,
        displacement={
            "zmin": (None, None, 0),
            "zmax": (None, None, -0.1),
            "xmin": (0, None, None),
            "ymin": (None, 0, None),
        },
    )
    section = {"over": ["bone", "plate"], "axis": (0, 0, 2), "at": 30, "width": 40}
    loads = section_load(stress(u, modulus=E, poisson=0.3), **section)
    shares = load_share(stress(u, modulus=E, poisson=0.3), **section)
    assert loads.value == pytest.approx([-BONE * 400 / 600, -modulus * 40 / 600], rel=1e-3)
    assert shares.value == pytest.approx([share, 1 - share], abs=1e-5)


def boxes(comm, n, shape="tetrahedron"):
    """A box of 6 × 4 × 4 in n cells a unit across and a named half that not every n can cut."""
    domain = Domain.box((6, 4, 4), (6 * n, 4 * n, 4 * n), shape=shape, comm=comm)
    middle = np.floor(2.5 * n) / n
    domain.name("left", 3, lambda x: x[0] < middle + 1e-9)
    domain.name("right", 3, lambda x: x[0] > middle - 1e-9)
    return domain


@pytest.mark.short
@pytest.mark.parametrize("shape", ["tetrahedron", "hexahedron"])
def test_a_field_is_carried_within_its_region(comm, shape):
    """Linear fields exactly; constants exactly, on either side of interfaces that do not meet."""
    source, target = boxes(comm, 1, shape), boxes(comm, 2)
    x, y = (ufl.SpatialCoordinate(domain.mesh) for domain in (source, target))
    carry = partial(carried, source=source, target=target, degree=2)
    dx = target.dx(degree=2)
    linear = carry(source.by_region({"left": 1.0, "right": 1.0}) * (1 + x[0] - 2 * x[2]))
    near = 2 - 1e-9  # where the sides are the same in both
    here = ufl.conditional(y[0] < near, 1.0, 0.0)
    assert target.integrate(here * (linear - (1 + y[0] - 2 * y[2])) ** 2 * dx) < 1e-20
    sides = {"left": 3.0, "right": 7.0}
    constant, exact = carry(source.by_region(sides)), target.by_region(sides)
    mean = source.integrate(source.by_region(sides) * source.dx)
    assert mean == pytest.approx(16 * (3 * 2 + 7 * 4))
    assert target.integrate(exact * target.dx) == pytest.approx(16 * (3 * 2.5 + 7 * 3.5))
    assert target.integrate((constant - exact) ** 2 * dx) == 0


@pytest.mark.parametrize("n", [1, 2])
def test_nothing_changes_without_an_implant(comm, n):
    """A bone in tension, meshed in two ways or once: no zone has lost anything, no volume."""
    source, target = boxes(comm, 1), boxes(comm, 2)
    target = source if n == 1 else target
    S = []
    for number, domain in enumerate((source, target)):
        u = elasticity(
            domain,
            modulus=BONE,
            poisson=0.3,
            displacement={
                "xmin": (0, None, None),
                "ymin": (None, 0, None),
                "zmin": (None, None, 0),
            },
            traction={"xmax": (10.0, 0, 0)},
            name=f"tension_{number}",
        )
        S.append(strain_energy(u, modulus=BONE, poisson=0.3))
    intact = IntactBone(S[0])
    assert intact.mean("left") == pytest.approx(10.0**2 / (2 * BONE), rel=1e-5)
    assert shielding(S[1], intact, over=["left", "right"]).value == pytest.approx([0, 0], abs=1e-5)
    share = float(shielded_volume(S[1], intact, over=["left", "right"], threshold=0.5, sharpness=4))
    assert share == pytest.approx(1 / (1 + 2**4), rel=1e-4)
    lighter = shielding(0.3 * S[1], intact, over="right")
    assert float(lighter) == pytest.approx(0.7, rel=1e-4)


def layered(comm, across=1):
    """A plate of metal, a layer of 0.5 mm and bone, one on the other along y."""
    domain = Domain.box((12, 4, 4), (8, 8 * across, 3), shape="tetrahedron", comm=comm)
    domain.name("plate", 3, lambda x: x[1] < 2 + 1e-9)
    domain.name("layer", 3, lambda x: (x[1] > 2 - 1e-9) & (x[1] < 2.5 + 1e-9))
    domain.name("bone", 3, lambda x: x[1] > 2.5 - 1e-9)
    domain.name("zone 1", 3, lambda x: (x[1] > 2.5 - 1e-9) & (x[0] < 6 + 1e-9))
    domain.name("zone 2", 3, lambda x: (x[1] > 2.5 - 1e-9) & (x[0] > 6 - 1e-9))
    return domain


MODULI = {"plate": 110e3, "layer": 300.0, "bone": 600.0}


@pytest.mark.parametrize("across", [1, 2])
def test_slip_of_a_layer_in_shear(comm, across):
    """Layers in simple shear share a displacement as t/G; what the middle one takes is its slip."""
    domain = layered(comm, across)
    give = {"plate": 2 / 110e3, "layer": 0.5 / 300, "bone": 1.5 / 600}
    sides = dict.fromkeys(("xmin", "xmax", "zmin", "zmax"), (None, 0, 0))
    u = elasticity(
        domain,
        modulus=domain.by_region(MODULI),
        poisson=0.3,
        displacement={**sides, "ymin": (0, 0, 0), "ymax": (0.03, 0, 0)},
    )
    exact = 30 * give["layer"] / sum(give.values())
    for power in (2, 8):
        slip = interface_slip(u, over="layer", between=("plate", "bone"), power=power)
        assert float(slip) == pytest.approx(exact, rel=1e-4)


def test_slip_of_a_sleeve(comm):
    """A stem drawn out of a sleeve, u_z = δ ln(r/b)/ln(a/b): the mean of its slip, to 1 %.

    Opening of the layer and a rotation of all are no slip.
    """
    a, b, size, δ = 8.0, 8.0 + 7 / 3, 7 / 3, 0.05
    domain = Domain.build(partial(composite_rod, size=size, length=42), comm=comm)
    radius = partial(np.hypot.reduce, axis=0)
    domain.name("sleeve", 3, lambda x: (radius(x[:2]) > 7.8) & (radius(x[:2]) < b + 0.1))
    domain.name("bone outside", 3, lambda x: radius(x[:2]) > b - 0.2)
    space = fem.functionspace(domain.mesh, ("Lagrange", 1, (3,)))
    u = fem.Function(space)
    slip = interface_slip(u, over="sleeve", between=("stem", "bone outside"))

    def moved(by):
        u.interpolate(by)
        return float(slip)

    def drawn(x):
        r = np.clip(radius(x[:2]), a, b)
        return np.stack([0 * r, 0 * r, δ * np.log(r / b) / np.log(a / b)])

    exact = 1e3 * δ * (b - a) * np.sqrt(2 / ((b**2 - a**2) * np.log(b / a)))
    assert moved(drawn) == pytest.approx(exact, rel=0.01)
    assert moved(lambda x: 0.01 * np.stack([-x[1] + x[2], x[0], -x[0]])) < 1e-9
    assert moved(lambda x: np.stack([0.01 * x[0], 0.01 * x[1], 0 * x[0]])) < 0.02 * exact


def bar(comm):
    """The layered bar under a bending load against the intact bone: its design and functionals.

    The plate's modulus is the design's, and the meshes of both bones share no cell.
    """
    intact = Domain.box((12, 4, 4), (9, 8, 2), shape="tetrahedron", comm=comm)
    intact.name("zone 1", 3, lambda x: (x[1] > 2.5 - 1e-9) & (x[0] < 6 + 0.67))
    intact.name("zone 2", 3, lambda x: (x[1] > 2.5 - 1e-9) & (x[0] > 6 - 1e-9))
    domain = layered(comm)
    over = Density(domain, radius=None, start=0.5)
    metal = domain.by_region({"plate": 1.0, "layer": 0.0, "bone": 0.0})
    lattice = simp(over.physical, full=110e3, empty=0.0)
    E = domain.by_region(MODULI | {"plate": 0.0}) + metal * lattice
    load = {"displacement": ["xmin"], "traction": {"xmax": (0.5, 1.0, 0.2)}, "poisson": 0.3}
    before = elasticity(intact, modulus=600.0, name="intact", **load)
    u = elasticity(domain, modulus=E, **load)
    bone = IntactBone(strain_energy(before, modulus=600.0, poisson=0.3))
    U, σ = strain_energy(u, modulus=E, poisson=0.3), stress(u, modulus=E, poisson=0.3)
    zones = ["zone 1", "zone 2"]
    section = {"over": ["plate", "bone"], "axis": (1, 0, 0), "at": 6, "width": 6}
    return over, {
        "zones": shielding(U, bone, over=zones),
        "volume": shielded_volume(U, bone, over=zones, threshold=0.6, sharpness=4),
        "mass": shielded_volume(U, bone, over=zones, density=1 + u[0] ** 2),
        "force": load_share(σ, **section),
        "moment": load_share(σ, lever=(0, 1, 0), centre=(0, 2, 2), **section),
        "slip": interface_slip(u, over="layer", between=("plate", "bone")),
        "largest slip": interface_slip(u, over="layer", between=("plate", "bone"), power=8),
    }


@pytest.mark.short
def test_every_functional_has_its_gradient(comm):
    """Taylor remainders of second order, and on several ranks the values of one."""
    over, functionals = bar(comm)
    scalars = {
        **{k: J for k, J in functionals.items() if k not in ("zones", "force", "moment")},
        "mean of zones": functionals["zones"].map(np.mean),
        "force of bone": functionals["force"].map(lambda share: share[1]),
        "moment of bone": functionals["moment"].map(lambda share: share[1]),
    }
    orders = {name: taylor_test(J, over=over) for name, J in scalars.items()}
    assert min(orders.values()) >= 1.95 and max(orders.values()) < np.inf, orders
    if comm.size > 1:
        _, alone = bar(MPI.COMM_SELF)
        for name, J in functionals.items():
            assert J.value == pytest.approx(alone[name].value, rel=1e-8), name


def test_a_map_shows_each_volume_alone(comm):
    """A quarter and twice of what was, side by side, on meshes whose interfaces do not meet."""
    source, target = boxes(comm, 1), boxes(comm, 2)
    before = source.by_region({"left": 4.0, "right": 1.0})
    after = target.by_region({"left": 1.0, "right": 2.0})
    cells = shielded_cells(after, IntactBone(before), over=["left", "right"])
    exact = target.by_region({"left": 0.75, "right": -1.0})
    assert cells.x.array == pytest.approx(exact.x.array, abs=1e-9)
    alone = shielded_cells(after, IntactBone(before), over=["left"])
    assert np.array_equal(np.isnan(alone.x.array), exact.x.array < 0)


def test_charts_are_drawn(comm, tmp_path):
    """On rank 0, or refused in words on all."""
    folder = comm.bcast(tmp_path)
    domain = layered(comm)
    one = domain.by_region({"plate": 2.0, "layer": 2.0, "bone": 0.5})
    one.x.array[one.x.array > 1] = np.nan
    gruen_chart(folder / "zones.png", {"Ti": np.linspace(-0.2, 0.8, 7), "PEEK": [0.1] * 7})
    load_chart(folder / "load.png", {"Ti": {"bone": 1.3, "stem": -0.3}})
    if has_renderer():
        half = domain.by_region({"plate": 0.5, "layer": 0.0, "bone": 0.0})
        shielding_map(folder / "map.png", {"Ti": one}, implant=["plate"])
        shielding_map(folder / "grey.png", {"Ti": one}, implant=["plate"], density={"Ti": half})
    comm.barrier()
    maps = ("map.png", "grey.png") if has_renderer() else ()
    for name in ("zones.png", "load.png", *maps):
        assert (folder / name).stat().st_size > 5000
    with pytest.raises(InputError, match="there are 7 zones"):
        gruen_chart(folder / "zones.png", {"Ti": [0.1, 0.2]})
    with pytest.raises(InputError, match="the same parts"):
        load_chart(folder / "load.png", {"Ti": {"bone": 1.0}, "PEEK": {"stem": 1.0}})
    with pytest.raises(InputError, match="no volume named 'stem'"):
        shielding_map(folder / "map.png", {"Ti": one}, implant=["stem"])
    with pytest.raises(InputError, match="'Ti' has no density"):
        shielding_map(folder / "map.png", {"Ti": one}, implant=["plate"], density={"PEEK": one})


def test_mistakes_are_named(comm):
    """Regions, numbers and meshes that do not fit."""
    domain = layered(comm)
    u = elasticity(domain, modulus=600.0, poisson=0.3, displacement=["xmin"])
    U = strain_energy(u, modulus=600.0, poisson=0.3)
    intact, σ = IntactBone(U), stress(u, modulus=600.0, poisson=0.3)
    section = {"axis": (1, 0, 0), "at": 6, "width": 4}
    with pytest.raises(InputError, match="no volume named 'zone 9'"):
        shielding(U, intact, over="zone 9")
    with pytest.raises(InputError, match="stimulus of 0 in 'bone'"):
        shielding(U, intact, over="bone")
    with pytest.raises(InputError, match="scalar"):
        IntactBone(u)
    with pytest.raises(InputError, match="lives on 0 domains"):
        IntactBone(ufl.as_ufl(1.0))
    with pytest.raises(InputError, match=r"threshold = 75"):
        shielded_volume(U, intact, over="bone", threshold=75)
    with pytest.raises(InputError, match=r"sharpness = 99"):
        shielded_volume(U, intact, over="bone", sharpness=99)
    with pytest.raises(InputError, match="over"):
        shielded_volume(U, intact, over=[])
    with pytest.raises(InputError, match=r"slab at 60 ± 2 .* nothing of 'bone'"):
        load_share(σ, over=["bone", "plate"], **section | {"at": 60})
    with pytest.raises(InputError, match="2 components"):
        load_share(σ, over=["bone", "plate"], **section | {"axis": (1, 0)})
    with pytest.raises(InputError, match="list of the volumes"):
        load_share(σ, over="bone", **section)
    with pytest.raises(InputError, match="does not touch 'zone 1'"):
        interface_slip(u, over="plate", between=("layer", "zone 1"))
    with pytest.raises(InputError, match="power = 1"):
        interface_slip(u, over="layer", between=("plate", "bone"), power=1)
    other = Domain.box((12, 4, 4), (6, 2, 2), comm=comm)
    other.name("zone 2", 3, lambda x: x[0] > 6 - 1e-9)
    with pytest.raises(InputError, match=r"cells in all of: zone 1, .* has none"):
        other.name("zone 1", 3, lambda x: x[0] > 6 - 1e-9)
        carried(ufl.SpatialCoordinate(domain.mesh)[0], domain, other, degree=2)
    if comm.size > 1:
        with pytest.raises(InputError, match="different communicators"):
            carried(U, domain, layered(MPI.COMM_SELF), degree=2)
