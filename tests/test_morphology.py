"""Measures of voxel cells against plates, tubes, spheres and networks that are known exactly."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from toolkit.geometry.connectivity import components, remove_islands
from toolkit.geometry.morphology import Limits, morphology, printable

EVERYWHERE = (True, True, True)


def fractions(level, shape, samples=4):
    """Share of each voxel of the unit box in which level(x) > 0, from samples^d points."""
    inside = np.zeros(shape)
    across = (-1, *(1,) * len(shape))
    for at in product(np.arange(samples) + 0.5, repeat=len(shape)):
        shift = np.reshape(at, across) / samples
        inside += level((np.indices(shape) + shift) / np.reshape(shape, across)) > 0
    return inside / samples ** len(shape)


def sphere(radius, centre):
    def level(x):
        away = (x - np.reshape(centre, (-1, *(1,) * (x.ndim - 1))) + 0.5) % 1 - 0.5
        return radius**2 - (away**2).sum(axis=0)

    return level


def schwarz_p(x):
    return np.cos(2 * np.pi * x).sum(axis=0)


def waves(normal, share):
    """Parallel plates across integer `normal`, which fill `share` of the unit box."""
    return lambda x: np.cos(2 * np.pi * np.tensordot(normal, x, 1)) - np.cos(np.pi * share)


def plates(thickness, shape=(24, 8, 6), axis=0):
    solid = np.zeros(shape, dtype=bool)
    np.moveaxis(solid, axis, 0)[2 : 2 + thickness] = True
    return solid


@pytest.mark.parametrize("thickness", [3, 8, 9])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plates_are_exact(thickness, axis):
    """Thickness, gap, surface and passing sphere of plates, of odd and even numbers of voxels."""
    shape = tuple(np.roll((24, 8, 6), axis))
    lengths = tuple(np.roll((6.0, 2.0, 1.5), axis))
    cell = morphology(plates(thickness, shape, axis), lengths=lengths)
    wall, gap = thickness / 4, (24 - thickness) / 4
    across = tuple(i == axis for i in range(3))
    assert cell.porosity == pytest.approx(gap / 6)
    assert cell.surface == pytest.approx(2 / 6, rel=1e-6)
    for sizes, exact in ((cell.wall, wall), (cell.pore, gap)):
        found = (sizes.smallest, sizes.mean, sizes.median, sizes.largest)
        assert found == pytest.approx([exact] * 4, rel=2e-4)
        assert sizes.deviation < 1e-4
    assert cell.passing == pytest.approx([0 if a else gap for a in across], rel=2e-4)
    for network in (cell.pores, cell.solid):
        assert network.percolates == tuple(not a for a in across)
        assert (network.components, network.largest, network.loose) == (1, 1, 0)


@pytest.mark.parametrize("thickness", [1, 2])
def test_thin_plates_do_not_borrow_from_the_pores(thickness):
    """One and two voxels are no thicker than that, and their sides are all there."""
    cell = morphology(plates(thickness), lengths=(24.0, 8.0, 6.0))
    assert cell.wall.largest <= thickness
    assert cell.wall.mean == pytest.approx(thickness, abs=0.3)
    assert cell.surface == pytest.approx(2 / 24, rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 0.37])
def test_corners_of_a_square_bar_hold_smaller_spheres(offset):
    """In the corner at distances u, v from the walls the sphere has r = u + v + √(2uv) <= a/2."""
    n = 32
    u, v = np.meshgrid(*[(np.arange(1000) + 0.5) / 4000] * 2)
    exact = 2 * np.minimum(u + v + np.sqrt(2 * u * v), 0.25).mean()
    samples = np.abs((np.arange(8 * n) + 0.5) / 8 - n / 2 - offset) < n / 4
    side = samples.reshape(n, 8).mean(axis=1)
    wall = morphology(np.multiply.outer(np.ones(4), np.outer(side, side)), lengths=(4, n, n)).wall
    assert wall.mean / n == pytest.approx(exact, abs=0.7 / n)
    assert wall.largest == pytest.approx(n / 2, abs=0.5)
    assert wall.smallest < 0.5 * wall.largest


def test_voxels_need_not_be_cubes():
    cell = morphology(plates(9), lengths=(24.0, 16.0, 3.0))
    assert cell.spacing == (1.0, 2.0, 0.5)
    assert cell.surface == pytest.approx(2 / 24, rel=1e-6)
    assert cell.wall.mean == pytest.approx(9, abs=1)
    assert cell.pore.mean == pytest.approx(15, abs=1)


def test_a_part_filled_voxel_moves_the_wall():
    """A plate of 6 voxels and two rims of 0.75 is 7.5 voxels thick."""
    solid = plates(8, (24, 4, 4)).astype(float)
    solid[[2, 9]] = 0.75
    cell = morphology(solid, lengths=(24.0, 4.0, 4.0))
    assert cell.porosity == pytest.approx(1 - 7.5 / 24)
    assert cell.wall.mean == pytest.approx(7.5, abs=0.5)
    assert cell.wall.mean + cell.pore.mean == pytest.approx(24, abs=0.1)


def test_sizes_are_weighted_by_volume():
    """Plates of 4 and 9 voxels: shares 4/13 and 9/13 of the solid."""
    solid = np.zeros((32, 6, 6), dtype=bool)
    solid[1:5] = solid[12:21] = True
    wall = morphology(solid, lengths=(32.0, 6.0, 6.0)).wall
    assert wall.mean == pytest.approx((16 + 81) / 13, rel=1e-4)
    assert wall.deviation**2 == pytest.approx((64 + 729) / 13 - wall.mean**2, rel=1e-3)
    assert wall.shares[[0, -1]] == pytest.approx([4 / 13, 9 / 13])
    assert wall.edges[[0, -1]] == pytest.approx([4, 9], rel=1e-3)


@pytest.mark.parametrize(
    ("normal", "sharp"),
    [((1, 1, 0), True), ((0, 1, 3), False), ((1, 2, 1), False), ((1, 2, 1), True)],
)
def test_inclined_plates(normal, sharp):
    n, share, k = 32, 0.4, np.linalg.norm(normal)
    solid = fractions(waves(normal, share), (n,) * 3)
    cell = morphology(solid >= 0.5 if sharp else solid, lengths=(1, 1, 1))
    assert cell.surface == pytest.approx(2 * k, rel=0.02)
    assert cell.wall.mean == pytest.approx(share / k, abs=1 / n)
    assert cell.pore.mean == pytest.approx((1 - share) / k, abs=1 / n)
    assert cell.passing == pytest.approx([(1 - share) / k] * 3, abs=1 / n)


@pytest.mark.parametrize(
    ("radius", "centre", "sharp"),
    [
        (0.3, (0.5, 0.5, 0.5), True),
        (0.3, (0.03, 0.42, 0.77), False),
        (0.45, (0.5, 0.5, 0.5), False),
        (0.45, (0.03, 0.42, 0.77), True),
    ],
)
def test_simple_cubic_spheres(radius, centre, sharp):
    """The widest passing sphere touches four spheres: √2 − 2R; the largest pore has √3 − 2R."""
    n = 32
    solid = fractions(sphere(radius, centre), (n,) * 3)
    cell = morphology(solid >= 0.5 if sharp else solid, lengths=(1, 1, 1))
    assert cell.porosity == pytest.approx(1 - 4 / 3 * np.pi * radius**3, rel=1e-2)
    assert cell.surface == pytest.approx(4 * np.pi * radius**2, rel=0.02)
    assert cell.wall.mean == pytest.approx(2 * radius, abs=1.1 / n)
    assert cell.passing == pytest.approx([2**0.5 - 2 * radius] * 3, abs=1 / n)
    assert cell.pore.largest == pytest.approx(3**0.5 - 2 * radius, abs=1.1 / n)
    assert cell.solid.percolates == (False,) * 3
    assert cell.pores.percolates == EVERYWHERE


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_round_tube_passes_spheres_of_its_diameter_along_it(axis):
    n, radius = 32, 0.23
    centre = np.insert([0.47, 0.52], axis, 0.0)
    away = [i for i in range(3) if i != axis]
    solid = 1 - fractions(lambda x: sphere(radius, centre[away])(x[away]), (n,) * 3)
    cell = morphology(solid, lengths=(1, 1, 1))
    assert cell.surface == pytest.approx(2 * np.pi * radius, rel=0.02)
    assert cell.passing == pytest.approx([2 * radius * (i == axis) for i in range(3)], abs=1 / n)
    assert cell.pore.mean == pytest.approx(2 * radius, abs=1 / n)
    assert cell.pores.percolates == tuple(i == axis for i in range(3))
    assert cell.solid.percolates == EVERYWHERE


def test_the_throat_decides_what_passes():
    """Plates with a round hole: spheres pass the hole across them and the gap along them."""
    n, radius = 32, 0.2
    solid = fractions(lambda x: -sphere(radius, (0.5, 0.5))(x[1:]), (n,) * 3)
    solid[8:] = 0
    cell = morphology(solid, lengths=(1, 1, 1))
    assert cell.passing == pytest.approx((2 * radius, 0.75, 0.75), abs=1 / n)
    assert cell.pores.percolates == EVERYWHERE


def test_errors_fall_with_the_voxels():
    """Sphere arrays at 12, 20 and 40 voxels: throat and diameter within a voxel each time."""
    for n in (12, 20, 40):
        cell = morphology(fractions(sphere(0.35, (0.5,) * 3), (n,) * 3), lengths=(1, 1, 1))
        assert abs(cell.passing[0] - (2**0.5 - 0.7)) < 1 / n
        assert abs(cell.wall.largest - 0.7) < 1 / n
        assert cell.surface == pytest.approx(4 * np.pi * 0.35**2, rel=max(0.005, 0.4 / n))


def same(one, other, order=(0, 1, 2), rel=0.01):
    for a, b in ((one.pore, other.pore), (one.wall, other.wall)):
        assert (a.mean, a.smallest, a.largest) == pytest.approx(
            (b.mean, b.smallest, b.largest), rel=rel
        )
    assert one.surface == pytest.approx(other.surface, rel=1e-5)
    assert one.porosity == pytest.approx(other.porosity, rel=1e-12)
    assert [one.passing[i] for i in order] == pytest.approx(other.passing, rel=rel)
    for a, b in ((one.pores, other.pores), (one.solid, other.solid)):
        assert tuple(a.percolates[i] for i in order) == b.percolates
        assert (a.components, a.loose) == (b.components, b.loose)


@pytest.fixture(scope="module")
def uneven():
    """A tilted network with distinct directions, as fractions."""

    def level(x):
        u = 2 * np.pi * x
        return np.cos(u[0]) + 0.7 * np.cos(u[1]) + 0.5 * np.cos(u[2] - u[0]) - 0.3

    return fractions(level, (20, 24, 28), samples=3)


@pytest.mark.parametrize("shift", [(1, 0, 0), (10, 12, 14)])
def test_shifting_the_period_changes_nothing(uneven, shift):
    here = morphology(uneven, lengths=(1.0, 1.2, 1.4))
    there = morphology(np.roll(uneven, shift, (0, 1, 2)), lengths=(1.0, 1.2, 1.4))
    same(here, there)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_permuting_the_axes_permutes_the_answers(uneven, order):
    here = morphology(uneven, lengths=(1.0, 1.2, 1.4))
    lengths = [(1.0, 1.2, 1.4)[i] for i in order]
    same(here, morphology(uneven.transpose(order), lengths=lengths), order, rel=0.02)


def test_the_complement_exchanges_pores_and_walls():
    solid = fractions(schwarz_p, (24,) * 3, samples=1) > 0
    one, other = (morphology(s, lengths=(1, 1, 1)) for s in (solid, ~solid))
    assert one.pore.mean == pytest.approx(other.wall.mean, rel=1e-2)
    assert one.surface == pytest.approx(other.surface, rel=1e-2)
    assert one.porosity == pytest.approx(1 - other.porosity)
    assert one.pores == other.solid


def test_lengths_scale(uneven):
    one = morphology(uneven, lengths=(1.0, 1.2, 1.4))
    ten = morphology(uneven, lengths=(10.0, 12.0, 14.0))
    assert ten.pore.mean == pytest.approx(10 * one.pore.mean, rel=1e-4)
    assert ten.passing == pytest.approx([10 * p for p in one.passing], rel=1e-4)
    assert ten.surface == pytest.approx(one.surface / 10, rel=1e-5)


def test_no_passing_sphere_is_larger_than_the_largest_pore(uneven):
    cell = morphology(uneven, lengths=(1.0, 1.2, 1.4))
    assert 0 < max(cell.passing) <= cell.pore.largest * (1 + 1 / 64)
    assert cell.pore.shares.sum() == pytest.approx(1)


def line(points, n):
    """Voxels of a broken line through points in units of voxels, wrapped into n × n."""
    field = np.zeros((n, n), dtype=bool)
    for a, b in pairwise(points):
        for t in np.linspace(0, 1, 20 * n):
            x, y = np.floor(np.asarray(a) + t * (np.asarray(b) - a)).astype(int)
            field[x % n, y % n] = field[x % n, (y + 1) % n] = True
    return field


LINES = {  # course through a box of 32 × 32, and whether it percolates along x and y
    "across, but its ends do not meet": ([(0, 2), (31.9, 20)], (False, False)),
    "bent around the face of y": ([(0, 5), (16, -6), (32, 5)], (True, False)),
    "diagonal": ([(0, 0), (32, 32)], (True, True)),
    "closing after two periods": ([(0, 3), (64, 35)], (True, True)),
    "a ring over the corner": ([(-5, -5), (5, -5), (5, 5), (-5, 5), (-5, -5)], (False, False)),
    "along y": ([(9, 0), (4, 12), (9, 32)], (False, True)),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("shift", [(0, 0), (7, 19)])
@pytest.mark.parametrize("corners", [False, True])
def test_percolation_of_lines(name, shift, corners):
    points, percolates = LINES[name]
    found = components(
        np.roll(line(points, 32), shift, (0, 1)), periodic=(True, True), corners=corners
    )
    assert found.percolates.tolist() == [list(percolates)]


def test_touching_both_faces_is_neither_necessary_nor_sufficient():
    """The bent line percolates along x though no piece of it inside the box spans the box."""
    spans = {}
    for name in ("across, but its ends do not meet", "bent around the face of y"):
        field = line(LINES[name][0], 32)
        inside = components(field, periodic=(False, False))
        spans[name] = inside.percolates[:, 0].any()
    assert list(spans.values()) == [True, False]


def test_corners_join_only_where_asked():
    """A diagonal chain of single pixels: eight loose pieces, or one that percolates."""
    chain = np.eye(8, dtype=bool)
    assert components(chain, periodic=(True, True)).sizes.tolist() == [1] * 8
    joined = components(chain, periodic=(True, True), corners=True)
    assert joined.sizes.tolist() == [8]
    assert joined.percolates.all()
    half = components(chain, periodic=(True, False), corners=True)
    assert half.sizes.tolist() == [8]


def test_a_helix_percolates_along_its_axis_only():
    def level(x):
        turn = 2 * np.pi * x[2]
        return (
            0.1**2 - (x[0] - 0.5 - 0.3 * np.cos(turn)) ** 2 - (x[1] - 0.5 - 0.3 * np.sin(turn)) ** 2
        )

    helix = np.roll(fractions(level, (32,) * 3, samples=1) > 0, (13, 5, 9), (0, 1, 2))
    cell = morphology(helix, lengths=(1, 1, 1))
    assert cell.solid.percolates == (False, False, True)
    assert cell.solid.components == 1
    assert cell.pores.percolates == EVERYWHERE


def test_schwarz_p_percolates_in_both_phases():
    cell = morphology(fractions(schwarz_p, (24,) * 3), lengths=(1, 1, 1))
    for network in (cell.pores, cell.solid):
        assert network.percolates == EVERYWHERE
        assert network.components == 1
    assert cell.pore.mean == pytest.approx(cell.wall.mean, rel=0.05)


def test_an_open_face_cuts_what_the_period_joins():
    """A bar along x across the z face is one piece in a period, and two between open ends."""
    solid = np.zeros((8, 8, 8), dtype=bool)
    solid[:, 3:6, [7, 0]] = True
    assert components(solid, periodic=EVERYWHERE).sizes.tolist() == [48]
    cut = components(solid, periodic=(True, True, False))
    assert cut.sizes.tolist() == [24, 24]
    assert cut.percolates.tolist() == [[True, False, False]] * 2
    assert cut.exposed.all()


def test_end_faces_are_no_surface():
    """A plate that ends at an open face has one side only, and its pore is open."""
    cell = morphology(plates(6, (24, 6, 6)), lengths=(24.0, 6.0, 6.0), periodic=(False, True, True))
    assert cell.surface == pytest.approx(2 / 24, rel=1e-6)
    half = morphology(
        np.arange(24)[:, None, None] < np.full((24, 6, 6), 9),
        lengths=(24.0, 6.0, 6.0),
        periodic=(False, True, True),
    )
    assert half.surface == pytest.approx(1 / 24, rel=1e-6)
    assert half.pores.loose == 0


def test_plane_cells():
    """A disc in a square: circumference, diameter, and the gap 1 − 2R along both axes."""
    n, radius = 48, 0.3
    cell = morphology(fractions(sphere(radius, (0.4, 0.9)), (n, n)), lengths=(1, 1))
    assert cell.surface == pytest.approx(2 * np.pi * radius, rel=0.02)
    assert cell.wall.mean == pytest.approx(2 * radius, abs=1 / n)
    assert cell.passing == pytest.approx((1 - 2 * radius,) * 2, abs=1 / n)
    assert cell.solid.loose == 0  # the largest piece stays


def with_loose_pieces():
    """A frame along x with a hole in it, and a floating cube across a corner of the box."""
    solid = np.zeros((24, 24, 24), dtype=bool)
    solid[:, 6:18, 6:18] = True
    solid[10:13, 10:13, 10:13] = False
    solid[np.ix_([23, 0, 1], [23, 0], [23, 0])] = True
    return solid


def test_islands_and_enclosed_pores_are_counted():
    cell = morphology(with_loose_pieces(), lengths=(1, 1, 1))
    assert (cell.solid.components, cell.solid.loose) == (2, 1)
    assert cell.solid.loose_share == pytest.approx(12 / 24**3)
    assert cell.solid.largest == pytest.approx((24 * 144 - 27) / (24 * 144 - 27 + 12))
    assert (cell.pores.components, cell.pores.loose) == (2, 1)
    assert cell.pores.loose_share == pytest.approx(27 / 24**3)


@pytest.mark.parametrize("fill", [False, True])
def test_cleaning_drops_islands_and_fills_pores_on_request(fill):
    given = with_loose_pieces()
    cleaned = remove_islands(given, fill=fill)
    expected = np.zeros_like(given)
    expected[:, 6:18, 6:18] = True
    expected[10:13, 10:13, 10:13] = fill
    assert cleaned.solid.dtype == bool
    assert np.array_equal(cleaned.solid, expected)
    assert (cleaned.islands, cleaned.pores) == (1, int(fill))
    assert cleaned.removed == pytest.approx(12 / 24**3)
    assert cleaned.filled == pytest.approx(27 * fill / 24**3)
    again = remove_islands(cleaned.solid, fill=fill)
    assert (again.islands, again.removed, again.pores, again.filled) == (0, 0, 0, 0)


def test_an_island_takes_its_grey_rim_and_the_frame_keeps_its_own():
    solid = np.full((20, 20, 6), 0.0)
    solid[4:9] = 1.0
    solid[[3, 9]] = 0.3
    expected = solid.copy()
    solid[13:18, 9:14, 1:4] = 0.2
    solid[14:17, 10:13, 2] = 0.9
    cleaned = remove_islands(solid)
    assert np.array_equal(cleaned.solid, expected)
    assert cleaned.removed == pytest.approx(solid.mean() - expected.mean())


def test_every_percolating_piece_is_kept_and_the_largest_if_none_is():
    rods = np.zeros((12, 12, 12), dtype=bool)
    rods[:, 2:5, 2:5] = rods[8:11, :, 8:11] = True
    assert remove_islands(rods).islands == 0
    cubes = np.zeros((12, 12, 12), dtype=bool)
    cubes[1:4, 1:4, 1:4] = cubes[6:10, 6:10, 6:10] = True
    cleaned = remove_islands(cubes)
    assert cleaned.solid.sum() == 64
    assert cleaned.islands == 1


def test_what_can_be_printed():
    """Plates of 0.375 mm with gaps of 0.625 mm meet all limits but the size of pores."""
    cell = morphology(plates(9, (24, 8, 8)), lengths=(1.0, 1 / 3, 1 / 3))
    findings = {f.what: f for f in printable(cell)}
    assert [f.what for f in findings.values() if not f.ok] == ["mean pore size [mm]"]
    assert "0.625, 0.3 to 0.6 asked, NOT ok" in str(findings["mean pore size [mm]"])
    assert all(f.ok for f in printable(cell, limits=Limits(pore=(0.3, 0.7))))


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(pore=(0.3, 0.7), wall=0.4), "wall thickness"),
        (Limits(pore=(0.3, 0.7), throat=0.63), "sphere that leaves"),
        (Limits(pore=(0.3, 0.7), porosity=(0.65, 0.9)), "porosity"),
    ],
)
def test_each_limit_is_held(limits, what):
    cell = morphology(plates(9, (24, 8, 8)), lengths=(1.0, 1 / 3, 1 / 3))
    assert [f.what.startswith(what) for f in printable(cell, limits=limits) if not f.ok] == [True]


def test_loose_pieces_cannot_be_printed():
    cell = morphology(with_loose_pieces(), lengths=(4, 4, 4))
    bad = {f.what for f in printable(cell) if not f.ok}
    assert {"floating pieces of solid", "enclosed pores"} <= bad
    tied = replace(cell, solid=cell.solid._replace(percolates=(False,) * 3))
    assert "directions in which the solid is connected" in {
        f.what for f in printable(tied) if not f.ok
    }


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: morphology(np.zeros_like(s), lengths=(1, 1, 1)), ["no solid", "0"]),
        (lambda s: morphology(np.ones_like(s), lengths=(1, 1, 1)), ["no pores", "1"]),
        (lambda s: morphology(s, lengths=(1, 1)), ["(1.0, 1.0)", "3 positive"]),
        (lambda s: morphology(s, lengths=(1, 1, 0)), ["(1.0, 1.0, 0.0)"]),
        (lambda s: morphology(s[0, 0], lengths=(1,)), ["1 dimensions"]),
        (lambda s: morphology(s * 2.0, lengths=(1, 1, 1)), ["between 0 and 1"]),
        (lambda s: morphology(s * np.nan, lengths=(1, 1, 1)), ["between 0 and 1"]),
        (lambda s: remove_islands(s, periodic=(True,)), ["names 1", "has 3"]),
        (lambda s: remove_islands(np.zeros_like(s)), ["no solid"]),
    ],
)
def test_what_is_no_cell_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call(plates(3))
    assert all(word in str(error.value) for word in words)
