"""Scaffold families: porosity, periodicity, symmetry and exact volumes."""

from functools import partial
from itertools import product
from math import pi, sqrt

import numpy as np
import pytest
from scipy import ndimage

from toolkit.geometry.channels import lotus_root
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.lattices import bcc, cubic, kelvin, octet
from toolkit.geometry.packings import sphere_packing
from toolkit.geometry.strut_network import StrutNetwork
from toolkit.geometry.threshold import at_porosity, threshold
from toolkit.geometry.tpms import diamond, gyroid, iwp, neovius, schwarz_p
from toolkit.geometry.trabecular import mixed_porosity, random_field, voronoi_struts

SURFACES = {"P": schwarz_p, "G": gyroid, "D": diamond, "I-WP": iwp, "Neovius": neovius}
LATTICES = {"cubic": cubic, "bcc": bcc, "octet": octet, "kelvin": kelvin}
FAMILIES = {
    **{f"{name} network": partial(family, form="network") for name, family in SURFACES.items()},
    **{f"{name} sheet": partial(family, form="sheet") for name, family in SURFACES.items()},
    "I-WP inverse": partial(iwp, inverse=True),
    **LATTICES,
    "lotus square": partial(lotus_root, channels=(2, 1)),
    "lotus hexagonal": partial(lotus_root, arrangement="hexagonal", direction="x", length=0.5),
    "sc spheres": partial(sphere_packing, "sc"),
    "bcc spheres": partial(sphere_packing, "bcc"),
    "fcc voids": partial(sphere_packing, "fcc", solid="matrix"),
    "Voronoi": partial(voronoi_struts, cells=8, anisotropy=(1, 1, 1.5), lengths=(1.0, 1.2, 1.5)),
    "random": partial(random_field, wavelength=0.5, waves=6),
    "mixed": partial(mixed_porosity, micro=0.2, micro_wavelength=0.3, waves=6),
}
CUBIC = ["P network", "P sheet", "I-WP network", "I-WP inverse", "Neovius sheet", *LATTICES]
CUBIC += ["sc spheres", "bcc spheres", "fcc voids"]


@pytest.fixture(scope="module")
def body():
    """A family at a porosity, built once."""
    made = {}

    def build(name: str, porosity: float = 0.55) -> Implicit:
        if (name, porosity) not in made:
            made[name, porosity] = FAMILIES[name](porosity=porosity)
        return made[name, porosity]

    return build


def points(lengths, number=4000, seed=0):
    return np.random.default_rng(seed).random((3, number)) * np.array(lengths)[:, None]


def share_by_chance(body: Implicit, number=50_000) -> float:
    """The solid fraction by a sample that knows nothing of grids."""
    return float(np.mean(body.level(points(body.lengths, number, seed=3)) > 0))


def pieces(solid) -> int:
    """Number of connected parts of a voxel array on the torus."""
    labels, count = ndimage.label(solid)
    parent = list(range(count + 1))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for axis in range(3):
        first, last = np.take(labels, 0, axis), np.take(labels, -1, axis)
        for a, b in np.unique(np.stack([first, last])[:, (first > 0) & (last > 0)], axis=1).T:
            parent[root(a)] = root(b)
    return len({root(i) for i in range(1, count + 1)})


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_porosity_asked_for(body, name):
    assert body(name).fraction(40, samples=3) == pytest.approx(0.45, abs=1e-3)


@pytest.mark.parametrize("porosity", [0.35, 0.75])
@pytest.mark.parametrize("name", ["G network", "P sheet", "bcc", "bcc spheres"])
def test_low_and_high_porosities_are_met(body, name, porosity):
    assert body(name, porosity).fraction(40, samples=3) == pytest.approx(1 - porosity, abs=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_porosity_holds_for_a_random_sample_too(body, name):
    """Five standard deviations of the mean of 50 000 draws are 0.011."""
    assert share_by_chance(body(name)) == pytest.approx(0.45, abs=0.011)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_level_is_periodic(body, name):
    made = body(name)
    x = points(made.lengths, 200)
    for shift in ((-1, 0, 0), (0, 2, 0), (0, 0, -1), (2, -1, 1)):
        moved = x + (np.array(shift) * made.lengths)[:, None]
        assert made.level(moved) == pytest.approx(made.level(x), abs=1e-11)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_level_keeps_to_its_steepness(body, name):
    """So that a voxel told by its centre alone is told rightly."""
    made = body(name)
    x = points(made.lengths, 8_000)
    step = np.random.default_rng(1).normal(size=x.shape)
    step *= 1e-4 * np.random.default_rng(2).random(x.shape[1]) / np.linalg.norm(step, axis=0)
    change = np.abs(made.level(x + step) - made.level(x))
    assert np.all(change <= made.steepness * np.linalg.norm(step, axis=0) + 1e-14)


@pytest.mark.parametrize("name", ["G sheet", "octet", "random"])
def test_voxels_told_by_their_centre_are_those_that_sampling_finds(body, name):
    made = body(name)
    sampled = Implicit(made.name, made.lengths, made.level)
    assert made.voxels((12, 16, 20)) == pytest.approx(sampled.voxels((12, 16, 20)), abs=1e-13)


def test_voxels_are_indexed_by_x_y_z_and_fill_between_zero_and_one():
    """A slab 0.25 < x < 0.6 of a box with three different sides, and its mean."""

    def level(x):
        return 0.175 - np.abs(x[0] - 0.425)

    slab = Implicit("slab", (1.0, 2.0, 3.0), level, 1.0)
    voxels = slab.voxels((10, 4, 5))
    assert voxels.shape == (10, 4, 5)
    expected = np.array([0, 0, 0.5, 1, 1, 1, 0, 0, 0, 0])
    assert voxels == pytest.approx(np.broadcast_to(expected[:, None, None], voxels.shape))
    assert slab.fraction((10, 4, 5)) == pytest.approx(voxels.mean()) == pytest.approx(0.35)


def test_a_body_and_its_complement_fill_the_box(body):
    made = body("G network")
    both = made.voxels((16, 16, 16)) + made.complement().voxels((16, 16, 16))
    assert both == pytest.approx(np.ones((16, 16, 16)), abs=1e-14)


@pytest.mark.parametrize("name", CUBIC)
def test_cubic_bodies_keep_the_symmetries_of_the_cube(body, name):
    made = body(name)
    x = points(made.lengths)
    for same in (x[[1, 2, 0]], x[[1, 0, 2]], x * [[-1], [1], [1]]):
        assert made.level(same) == pytest.approx(made.level(x), abs=1e-12)


@pytest.mark.parametrize("form", ["network", "sheet"])
def test_the_gyroid_has_its_fourfold_screw_axis(body, form):
    """x, y, z ↦ ¼ + y, ¼ − x ... : a quarter turn about z with a quarter period along it."""
    made = body(f"G {form}")
    x, y, z = points(made.lengths)
    screwed = np.stack([0.25 - y, 0.75 + x, 0.25 + z])
    assert made.level(screwed) == pytest.approx(made.level(np.stack([x, y, z])), abs=1e-12)


@pytest.mark.parametrize(
    ("family", "shift"),
    [(schwarz_p, (0.5, 0.5, 0.5)), (diamond, (0.5, 0, 0)), (neovius, (0.5, 0.5, 0.5))],
)
def test_half_a_period_apart_solid_and_pore_change_places(family, shift):
    made = family(porosity=0.5)
    x = points(made.lengths)
    assert made.level(x + np.array(shift)[:, None]) == pytest.approx(-made.level(x), abs=1e-12)


def test_the_gyroids_labyrinths_are_mirror_images():
    made = gyroid(porosity=0.5)
    x = points(made.lengths)
    assert made.level(-x) == pytest.approx(-made.level(x), abs=1e-12)


def test_the_nodal_iwp_surface_has_its_fluid_where_the_function_is_positive(body):
    """φ > 0 holds 0.53078 of the volume, and the centre of the cell, where φ = 3/2."""
    made = iwp(porosity=0.53078)
    assert made.level(np.full((3, 1), 0.5)) == pytest.approx(-1.5, abs=1e-3)
    assert body("I-WP inverse").level(np.zeros((3, 1))) > 0


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("P network", 0.75),
        ("G network", 0.75),
        ("D network", 0.75),
        ("I-WP network", 0.75),
        ("Neovius network", 0.55),
        ("P sheet", 0.75),
    ],
)
def test_the_solid_is_in_one_piece(body, name, opened):
    assert pieces(body(name, opened).voxels((36,) * 3, samples=1) > 0.5) == 1


@pytest.mark.parametrize("name", SURFACES)
def test_networks_that_pinch_off_are_refused_with_the_range(name):
    """At the refused porosity the solid no longer reaches across the cell."""
    with pytest.raises(ValueError, match=r"porosity = 0.995 .* Give 0 < porosity < 0\.\d+"):
        SURFACES[name](porosity=0.995)


def test_schwarz_p_pinches_off_where_its_necks_close():
    """The range ends at φ = −1 in the saddle (½, ½, 0), by a count that knows no saddles."""
    with pytest.raises(ValueError, match="porosity < ") as error:
        schwarz_p(porosity=0.9)
    limit = float(str(error.value).rsplit("<", 1)[1].rstrip("."))
    X = 2 * pi * points((1, 1, 1), 200_000)
    assert np.mean(np.cos(X).sum(axis=0) > -1) == pytest.approx(limit, abs=4e-3)
    assert schwarz_p(porosity=limit - 1e-3).level(np.array([[0.5], [0.5], [0.0]])) > 0


def test_two_labyrinths_are_open_on_either_side_of_a_sheet(body):
    for name in ("P sheet", "G sheet", "D sheet"):
        assert pieces(body(name).voxels((36,) * 3, samples=1) < 0.5) == 2


@pytest.mark.parametrize("radius", [0.05, 0.2, 0.3])
def test_cubic_struts_have_the_volume_of_three_crossing_cylinders(radius):
    exact = 3 * pi * radius**2 - 8 * sqrt(2) * radius**3
    assert cubic(radius=radius).fraction() == pytest.approx(exact, abs=2e-4)
    assert cubic(porosity=1 - exact, length=2.0).level(np.zeros((3, 1))) == pytest.approx(
        2 * radius, rel=1e-3
    )


@pytest.mark.parametrize(
    ("family", "total"),
    [(cubic, 3), (bcc, 4 * sqrt(3)), (octet, 12 * sqrt(2)), (kelvin, 6 * sqrt(2))],
)
def test_thin_struts_fill_their_length_times_their_section(family, total):
    """Solid fraction π r² Σ lengths − O(r³) at the nodes, where the struts overlap.

    The second difference in r of the fraction over r² leaves no term of order r.
    """
    thin, thick = (family(radius=r).fraction(60, samples=4) / (pi * r**2) for r in (0.02, 0.04))
    assert 2 * thin - thick == pytest.approx(total, rel=0.02)
    assert thick < thin < total


@pytest.mark.parametrize("family", LATTICES.values())
def test_the_level_of_a_lattice_is_a_distance(family):
    """Outside the solid a step of the distance towards the struts ends on the surface."""
    made = family(radius=0.05)
    x = points(made.lengths, 20_000)
    step = 1e-6
    gradient = [
        (made.level(x + e[:, None]) - made.level(x - e[:, None])) / (2 * step)
        for e in step * np.eye(3)
    ]
    slope = np.linalg.norm(gradient, axis=0)
    assert np.quantile(np.abs(slope - 1), 0.99) < 1e-4


@pytest.mark.parametrize("family", LATTICES.values())
def test_struts_too_thick_for_any_pore_are_refused(family):
    """The bound named is the largest distance from the struts, sampled."""
    with pytest.raises(ValueError, match="no pore is left") as error:
        family(radius=2.0)
    bound = float(str(error.value).rsplit("<", 1)[1].rstrip("."))
    made = family(radius=0.1)
    farthest = 0.1 - made.level(np.stack(np.meshgrid(*[np.arange(40) / 40] * 3)).reshape(3, -1))
    assert farthest.max() == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize(("arrangement", "number"), [("sc", 1), ("bcc", 2), ("fcc", 4)])
def test_spheres_have_their_volume(arrangement, number):
    exact = number * 4 / 3 * pi * 0.3**3
    spheres = sphere_packing(arrangement, radius=0.6, length=2.0)
    assert spheres.fraction() == pytest.approx(exact, rel=3e-4)
    same = sphere_packing(arrangement, porosity=1 - exact, length=2.0)
    assert same.level(np.zeros((3, 1))) == pytest.approx(0.6, rel=1e-12)


def test_overlapping_spheres_lose_their_common_lenses():
    """Six caps of height h on a sphere of the simple cubic packing: π h² (3r − h) / 3 each."""
    r = 0.55
    h = r - 0.5
    exact = 4 / 3 * pi * r**3 - 6 * pi * h**2 * (3 * r - h) / 3
    made = sphere_packing("sc", porosity=exact, solid="matrix")
    assert -made.level(np.zeros((3, 1))) == pytest.approx(r, rel=1e-4)


@pytest.mark.parametrize("radius", [0.1, 0.4])
def test_channels_have_the_volume_of_cylinders(radius):
    square = lotus_root(radius=radius, direction="y", length=0.3, channels=(2, 3))
    assert square.lengths == (3, 0.3, 2)
    assert 1 - square.fraction(120) == pytest.approx(pi * radius**2, rel=2e-3)
    hexagonal = lotus_root(radius=radius, arrangement="hexagonal")
    assert hexagonal.lengths == pytest.approx((1, sqrt(3), 1))
    assert 1 - hexagonal.fraction(120) == pytest.approx(2 * pi * radius**2 / sqrt(3), rel=2e-3)


def test_more_porosity_is_less_solid_everywhere(body):
    x = points((1, 1, 1))
    for name in ("G network", "P sheet", "bcc"):
        levels = [body(name, p).level(x) for p in (0.35, 0.55, 0.75)]
        assert np.all(np.diff(levels, axis=0) < 0)


def test_the_threshold_of_a_linear_field_is_its_quantile():
    """f = |x − ½| on the unit square is uniform on [0, ½]."""
    for fraction in (0.1, 0.5, 0.77):
        found = threshold(
            lambda x: np.abs(x[0] - 0.5), (1.0, 1.0), fraction=fraction, steepness=1.0
        )
        assert found == pytest.approx(0.5 * (1 - fraction), abs=1e-6)


def test_grading_by_a_constant_is_no_grading(body):
    plain = body("G network")
    x = points(plain.lengths)
    by_function = gyroid(porosity=lambda x: np.full(x.shape[1], 0.55))
    by_array = gyroid(porosity=np.full((2, 3, 4), 0.55))
    assert by_function.level(x) == pytest.approx(plain.level(x), abs=2e-3)
    assert by_array.level(x) == pytest.approx(by_function.level(x), abs=1e-12)


def test_graded_bodies_have_the_local_porosity():
    """Sixteen periods along x, graded by a cosine: the mean over two periods is the local one."""

    def porosity(x):
        return 0.6 + 0.2 * np.cos(2 * pi * x[0] / 16)

    made = gyroid(porosity=porosity, repeats=(16, 1, 1))
    assert made.lengths == (16, 1, 1)
    local = 1 - made.voxels((16 * 16, 16, 16), samples=3).reshape(8, -1).mean(axis=1)
    x = np.linspace(0, 16, 8 * 64, endpoint=False) + 1 / 64
    expected = porosity(x[None]).reshape(8, 64).mean(axis=1)
    assert local == pytest.approx(expected, abs=5e-3)


def test_gradings_outside_the_range_are_refused_where_they_are_seen():
    made = schwarz_p(porosity=lambda x: 0.5 + 0.4 * np.sin(2 * pi * x[0]))
    with pytest.raises(ValueError, match="Schwarz P network"):
        made.level(points(made.lengths))


def test_the_distance_to_a_strut_network_is_that_of_a_search_through_all():
    random = np.random.default_rng(4)
    box = np.array([1.0, 1.3, 0.8])
    starts = random.random((30, 3)) * box
    ends = starts + 0.2 * random.normal(size=(30, 3))
    x = points((3.0, 3.0, 3.0), 500) - 1
    nearest = np.full(x.shape[1], np.inf)
    for shift in product(range(-2, 3), repeat=3):
        for start, axis in zip(starts + np.array(shift) * box, ends - starts, strict=True):
            apart = (x.T % box) - start
            along = np.clip(apart @ axis / (axis @ axis), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(apart - along[:, None] * axis, axis=1))
    network = StrutNetwork.of(starts, ends, (1.0, 1.3, 0.8))
    assert network.distance(x) == pytest.approx(nearest, abs=1e-14)


def test_every_corner_of_a_voronoi_cell_joins_four_struts():
    """Points on the struts, found as level = radius, have at least three nearest seeds.

    In general position each corner has four edges, so edges are twice the corners, and Euler's
    relation on the torus, corners − edges + faces − cells = 0, gives the faces.
    """
    from toolkit.geometry import trabecular

    box = np.ones(3)
    seeds = trabecular._seeds(box, 15, 7, 0.6)
    starts, ends = trabecular._voronoi_edges(seeds, box)
    corners = np.unique(np.round(np.vstack([starts, ends]) % 1, 9) % 1, axis=0)
    assert len(starts) == 2 * len(corners)
    middle = (starts + ends) / 2
    apart = middle[:, None] - seeds
    apart -= np.rint(apart)
    distances = np.sort(np.linalg.norm(apart, axis=2), axis=1)
    assert distances[:, 2] == pytest.approx(distances[:, 0], abs=1e-9)


@pytest.mark.parametrize("name", ["Voronoi", "random", "mixed"])
def test_the_seed_makes_the_body(body, name):
    x = points(body(name).lengths)
    first = body(name).level(x)
    again, other = (FAMILIES[name](porosity=0.55, **seed).level(x) for seed in ({}, {"seed": 6}))
    assert np.array_equal(first, again)
    assert np.mean((first > 0) != (other > 0)) > 0.1


def test_a_random_field_has_mean_zero_and_variance_one():
    """Exact for any phases: the waves are orthogonal on the period, and the median is near 0."""
    made = random_field(porosity=0.5, wavelength=0.4, waves=6)
    grid = np.stack(np.meshgrid(*[np.arange(16) / 16] * 3)).reshape(3, -1)
    values = made.level(grid)
    assert values.var() == pytest.approx(1, rel=1e-12)


def test_anisotropy_stretches_the_structure():
    """Edges of equal length along z cross the surface a third as often as the others."""
    stretched = partial(random_field, anisotropy=(1, 1, 3), lengths=(1.0, 1.0, 2.0), waves=12)
    solid = stretched(porosity=0.5, wavelength=0.3).voxels((24, 24, 48), samples=1) > 0.5
    crossings = [np.mean(solid != np.roll(solid, 1, axis)) for axis in range(3)]
    assert crossings[0] / crossings[2] == pytest.approx(3, rel=0.25)
    assert crossings[1] / crossings[2] == pytest.approx(3, rel=0.25)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gyroid(porosity=1.2), ["1.2", "gyroid", "0 <"]),
        (lambda: gyroid(form="plate"), ["plate", "sheet"]),
        (lambda: gyroid(length=-1), ["length = -1"]),
        (lambda: gyroid(repeats=(1, 1)), ["repeats = (1, 1)", "3 axes"]),
        (lambda: gyroid(porosity=np.full((2, 2), 0.5)), ["(2, 2)", "3 axes"]),
        (lambda: iwp(form="sheet", inverse=True), ["inverse", "sheet"]),
        (lambda: octet(), ["either porosity or radius"]),
        (lambda: octet(porosity=0.5, radius=0.1), ["either porosity or radius"]),
        (lambda: lotus_root(porosity=0.8), ["0.8", "do not touch", "0.7854"]),
        (lambda: lotus_root(radius=0.5), ["radius = 0.5", "touch"]),
        (lambda: lotus_root(radius=0.1, direction="w"), ["'w'", "'x'"]),
        (lambda: sphere_packing("hcp", radius=0.1), ["hcp", "fcc"]),
        (lambda: sphere_packing("sc", radius=0.9), ["radius = 0.9", "no fluid"]),
        (lambda: sphere_packing("sc", radius=0.75, solid="matrix"), ["falls to pieces"]),
        (lambda: sphere_packing("fcc", porosity=0.99, solid="matrix"), ["0.99", "to pieces"]),
        (
            lambda: voronoi_struts(radius=0.1, cells=2, anisotropy=(1, 1, 9)),
            ["cells = 2", "more cells"],
        ),
        (lambda: voronoi_struts(porosity=0.5, regularity=0.9), ["regularity = 0.9", "0.75"]),
        (lambda: random_field(wavelength=3.0), ["wavelength = 3", "half the shortest"]),
        (lambda: mixed_porosity(porosity=0.2, micro=0.3), ["0.2", "0.3 <"]),
        (lambda: Implicit("line", (1.0,), lambda x: x[0]), ["two or three"]),
        (lambda: cubic(radius=0.1).voxels((8, 8)), ["(8, 8)", "3 axes"]),
        (lambda: cubic(radius=0.1).voxels((8, 8, 8), samples=0), ["samples = 0"]),
        (
            lambda: at_porosity("f", lambda x: x[0], (1.0, 1.0), porosity=0.0),
            ["porosity = 0", "f"],
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
