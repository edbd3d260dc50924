"""From an image to moduli on a mesh: exact means, any grid, voxels against tetrahedra."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from tests.dicom_series import write_series
from toolkit import Domain, Functional, InputError, elasticity
from toolkit.bone import (
    Calibration,
    Image,
    Law,
    Mask,
    contour,
    law,
    map_modulus,
    read,
    tetrahedra,
    threshold,
    voxel_domain,
)
from toolkit.bone.laws import Piece
from toolkit.bone.quadrature import composite

UNIT = Calibration(1e-3, 0.0, "apparent")  # 1000 HU are 1 g/cm³
LINEAR = Law.linear(10e3)
CUBIC = Law("cube", "apparent", (Piece(0.0, 0.0, 1e3, 3.0),), (0.0, 9.0), "for this test")
GRADIENT, AT_ZERO = np.array([30.0, -20.0, 10.0]), 900.0  # HU/mm, HU
TURN, _ = np.linalg.qr(np.array([[3.0, 1, 0.5], [-1, 2, 0.3], [0.2, -0.4, 2]]))
GRIDS = {  # axes of voxels as columns, mm
    "plain": np.eye(3),
    "flipped": np.diag([-1.0, 1, 1]),
    "turned": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "anisotropic": np.diag([0.5, 0.75, 2.0]),
    "oblique": TURN,
    "tilted": np.array([[1.0, 0, 0], [0, np.cos(0.3), 0], [0, np.sin(0.3), 1.2]]),
}
pytestmark = pytest.mark.parallel


def linear_image(name: str, half: int = 12) -> Image:
    """HU linear in space, on a grid about the origin, wide enough for a few millimetres."""
    axes = GRIDS[name]
    count = np.ceil(half / np.linalg.norm(axes, axis=0)).astype(int) * 2 + 1
    affine = np.column_stack([axes, -axes @ ((count - 1) / 2)])
    points = np.indices(count).reshape(3, -1).T @ affine[:, :3].T + affine[:, 3]
    return Image((points @ GRADIENT + AT_ZERO).reshape(count), affine, name)


def tube(h: float, *, gradient: float = 400.0) -> Image:
    """A tube along z, radii 2.5 and 5 mm, its HU rising from 600 outwards: a synthetic CT.

    A voxel that the surface cuts holds the mean of bone and of the 0 HU around it.
    """
    count = np.round(np.array([12, 12, 12]) / h).astype(int)
    image = Image.of(np.zeros(count), (h,) * 3, origin=(-6 + h / 2, -6 + h / 2, h / 2))
    x, y, _ = image.points(np.indices(count).reshape(3, -1).T).T
    r = np.hypot(x, y)
    share = np.clip(0.5 + (1.25 - np.abs(r - 3.75)) / h, 0, 1)
    values = (600 + gradient * (np.clip(r, 2.5, 5) - 2.5)) * share
    return Image(values.reshape(count).astype(np.float32), image.affine, f"tube of {h:g} mm")


def ball(h: float, radius: float = 5.0) -> Image:
    """HU 1000 within the radius, falling to 0 across a voxel."""
    count = (round(14 / h),) * 3
    image = Image.of(np.zeros(count), (h,) * 3, origin=(-7 + h / 2,) * 3)
    r = np.linalg.norm(image.points(np.indices(count).reshape(3, -1).T), axis=1)
    return Image(1000 * np.clip(0.5 + (radius - r) / h, 0, 1).reshape(count), image.affine, "ball")


def values(domain: Domain, field) -> np.ndarray:
    """A cell-wise field in mesh-file order, the same on every rank."""
    return domain.gather_cells(field.x.array[domain.cell_dofs[: len(domain.cells)]])


# ---- quadrature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("shape", ["tetrahedron", "hexahedron"])
def test_composite_rules_are_exact_for_quadratics(shape, parts):
    """All monomials of degree two; Dirichlet's integrals on the simplex."""
    points, weights = composite(shape, parts)
    x, y, z = points.T
    simplex = shape == "tetrahedron"
    exact = {
        "1": (np.ones_like(x), 1 / 6 if simplex else 1),
        "x": (x, 1 / 24 if simplex else 1 / 2),
        "z": (z, 1 / 24 if simplex else 1 / 2),
        "y²": (y**2, 1 / 60 if simplex else 1 / 3),
        "xz": (x * z, 1 / 120 if simplex else 1 / 4),
    }
    for name, (integrand, integral) in exact.items():
        assert weights @ integrand == pytest.approx(integral, rel=1e-13), name
    assert len(points) == parts**3 * (4 if simplex else 8)
    assert (points >= 0).all() and (points.sum(axis=1) if simplex else points.max(axis=1)).max() < 1


# ---- the map -------------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("shape", ["hexahedron", "tetrahedron"])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_linear_image_and_law_give_each_cell_its_exact_modulus(grid, shape):
    """E of a cell is that of its midpoint, in flipped, anisotropic, oblique and tilted grids."""
    domain = Domain.box((4, 3, 2.5), (3, 2, 2), shape=shape)
    found = map_modulus(domain, linear_image(grid), calibration=UNIT, law=LINEAR)
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][: len(domain.cells)]].mean(axis=1)
    exact = domain.gather_cells(10 * (x @ GRADIENT + AT_ZERO))
    assert values(domain, found.modulus) == pytest.approx(exact, rel=1e-12)
    assert values(domain, found.density) == pytest.approx(exact / 10e3, rel=1e-12)
    report = found.report
    assert report.modulus == pytest.approx((exact.min(), 10 * (AT_ZERO + 42.5), exact.max()))
    assert report.volume == pytest.approx(30)
    assert (report.below, report.above, report.clamped, report.raised, report.beyond) == (0,) * 5


@pytest.mark.parametrize("shape", ["hexahedron", "tetrahedron"])
def test_a_power_law_converges_to_its_exact_integral(shape):
    """Mean of ρ^1.83 over a box along which ρ is linear: at the order of the rule, then exact."""
    domain = Domain.box((4, 3, 2.5), (2, 1, 1), shape=shape)
    grid = linear_image("plain")
    x = grid.points(np.indices(grid.shape).reshape(3, -1).T)[:, 0].reshape(grid.shape)
    image = Image(200 + 200 * x, grid.affine, "along x")
    power = Law("power", "apparent", (Piece(0.0, 0.0, 8920, 1.83),), (0.0, 9.0), "of this test")
    exact = 8920 * (1.0**2.83 - 0.2**2.83) / (2.83 * 0.8)
    errors = []
    for subcells in (0.3, 0.6, 4):
        found = map_modulus(domain, image, calibration=UNIT, law=power, subcells=subcells)
        errors.append(abs(found.report.modulus[1] / exact - 1))
    assert errors[1] < errors[0] / 2**2.5
    assert errors[2] < 1e-6
    default = map_modulus(domain, image, calibration=UNIT, law=power).report
    assert default.modulus[1] == pytest.approx(exact, rel=1e-4)
    assert default.points == ((1728, 1728) if shape == "hexahedron" else (108, 108))


@pytest.mark.short
@pytest.mark.parametrize("grid", GRIDS)
def test_the_map_conserves_what_the_voxels_hold(grid):
    """Noise, on the cells of all voxels: Σ E |c| is the sum over the voxels, to round-off."""
    noise = np.random.default_rng(5).integers(100, 1900, (6, 5, 4)).astype(float)
    affine = np.column_stack([GRIDS[grid], [3.0, -2.0, 7.0]])
    image = Image(noise, affine, "noise")
    domain = voxel_domain(Mask(image, np.ones(noise.shape, dtype=bool)))
    found = map_modulus(domain, image, calibration=UNIT, law=LINEAR)
    assert domain.num_cells == noise.size
    assert domain.volume == pytest.approx(noise.size * image.voxel_volume, rel=1e-12)
    assert found.report.modulus[1] == pytest.approx(10 * noise.mean(), rel=1e-12)
    assert found.report.hounsfield[1] == pytest.approx(noise.mean(), rel=1e-12)
    assert found.report.distinct == noise.size


def test_the_mean_of_a_gradient_is_that_of_its_ends():
    """HU linear from end to end: the mean modulus is exact on all voxels, the cut ones included."""
    ramp = np.linspace(200, 1400, 9)[:, None, None] * np.ones((9, 4, 3))
    image = Image.of(ramp, (0.5, 1.0, 2.0))
    domain = voxel_domain(Mask(image, ramp > 0))
    found = map_modulus(domain, image, calibration=UNIT, law=LINEAR)
    assert found.report.modulus[1] == pytest.approx(8000, rel=1e-13)


def test_the_law_comes_before_the_mean():
    """Two phases in one cell: the mean of ρ³ and not the cube of the mean."""
    phases = np.zeros((8, 4, 4)) + np.where(np.arange(8) < 4, 200.0, 1000.0)[:, None, None]
    image = Image.of(phases, (0.5, 0.5, 0.5), origin=(0.25, 0.25, 0.25))
    domain = Domain.box((4, 2, 2), (1, 1, 1))
    mean = map_modulus(domain, image, calibration=UNIT, law=CUBIC).report.modulus[1]
    # between the centres at 1.75 and 2.25 mm ρ is linear, from 0.2 to 1
    edge = (1 - 0.2**4) / (4 * 0.8)
    exact = 1e3 * (1.75 * 0.2**3 + 0.5 * edge + 1.75) / 4
    assert mean == pytest.approx(exact, rel=1e-12)
    assert mean > 1.5 * 1e3 * 0.6**3


@pytest.mark.short
def test_what_leaves_the_range_is_reported_warned_of_and_clamped():
    vertebra = law("Morgan, vertebra")  # 0.11 to 0.35 g/cm³
    layers = np.zeros((10, 4, 4)) + np.linspace(50, 500, 10)[:, None, None]  # 50, 100, … HU
    image = Image.of(layers, (1.0, 1.0, 1.0))
    domain = voxel_domain(Mask(image, layers > 0))
    settings = {"calibration": UNIT, "law": vertebra}
    if domain.comm.rank == 0:  # one rank warns, all report
        with pytest.warns(UserWarning, match="'Morgan, vertebra' holds for apparent densities"):
            found = map_modulus(domain, image, **settings)
    else:
        found = map_modulus(domain, image, **settings)
    # the density is 0.05 g/cm³ times the distance in voxels from half a voxel before the first
    assert found.report.below == pytest.approx(0.17, abs=0.03)
    assert found.report.above == pytest.approx(0.35, abs=0.03)
    clamped = map_modulus(domain, image, outside="clamp", **settings)
    assert clamped.report.clamped == found.report.below + found.report.above
    low, _, high = clamped.report.modulus
    assert (low, high) == pytest.approx((4730 * 0.11**1.56, 4730 * 0.35**1.56), rel=1e-9)
    text = clamped.report.text()
    for words in ("Morgan, vertebra", "0.11 to 0.35", "trilinear", "clamp,", "64 to 64 points"):
        assert words in text
    assert clamped.report.as_dict()["law"].endswith("doi:10.1016/S0021-9290(03)00071-X)")


def test_densities_are_converted_to_the_one_the_law_takes():
    image = Image.of(np.full((4, 4, 4), 500.0), (1.0, 1.0, 1.0))
    domain = voxel_domain(Mask(image, image.values > 0))
    line = Calibration(1e-3, 0.0, "qct")
    found = map_modulus(domain, image, calibration=line, law=law("Carter-Hayes"))
    ρ = (0.877 * 0.5 + 0.079) / 0.598
    assert found.report.density == pytest.approx((ρ, ρ, ρ))
    assert found.report.modulus[1] == pytest.approx(3790 * 0.01**0.06 * ρ**3)
    assert "qct to apparent by ash = 0.877 qct + 0.079" in found.report.conversion
    assert found.report.distinct == 1


@pytest.mark.short
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"shift": 40.0}, r"leaves the image 'plain' by \d+\.?\d* voxels\. It reaches"),
        (lambda: {"outside": "cut"}, "outside='cut' is unknown"),
        (lambda: {"minimum": -1.0}, "minimum = -1 MPa not negative"),
        (lambda: {"subcells": 0.0}, "subcells = 0 must be positive"),
        (lambda: {"calibration": Calibration(1e-3, -9.0, "apparent")}, "12 of 12 cells of .*clamp"),
        (lambda: {"plane": True}, "cells of the shape quadrilateral"),
    ],
)
def test_mistakes_are_named_on_every_rank(make, message):
    settings = {"calibration": UNIT, "law": LINEAR, **make()}
    shift, plane = settings.pop("shift", 0.0), settings.pop("plane", False)
    image = linear_image("plain")
    image = Image(image.values, image.affine + np.eye(3, 4, 3) * shift, "plain")
    domain = Domain.box((4, 3), (3, 2)) if plane else Domain.box((4, 3, 2.5), (3, 2, 2))
    with pytest.raises(InputError, match=message):
        map_modulus(domain, image, **settings)


def test_a_least_modulus_holds_everywhere():
    image = Image.of(np.full((4, 4, 4), -100.0), (1.0, 1.0, 1.0))
    domain = voxel_domain(Mask(image, image.values < 0))
    found = map_modulus(domain, image, calibration=UNIT, law=LINEAR, minimum=2.0, outside="clamp")
    assert found.report.modulus == pytest.approx((2, 2, 2))
    assert found.report.raised == pytest.approx(1)


@pytest.mark.parametrize("grid", GRIDS)
def test_from_dicom_files_to_moduli(grid, tmp_path, comm):
    """The whole way with files: as with the array, and the same in every grid."""
    folder = Path(comm.bcast(str(tmp_path)))
    image = linear_image(grid, half=5)
    whole = Image(np.round(image.values), image.affine)
    if comm.rank == 0:
        write_series(folder, whole.values, whole.affine, slope=0.5, intercept=-1024.0)
    comm.barrier()
    found = read(folder)
    mask = threshold(found, AT_ZERO).cleaned(fill=False)
    assert mask.inside.sum() == (whole.values >= AT_ZERO).sum()
    report = map_modulus(voxel_domain(mask), found, calibration=UNIT, law=LINEAR).report
    assert report.volume == pytest.approx(mask.inside.sum() * whole.voxel_volume, rel=1e-6)
    assert "RescaleSlope" not in " ".join(report.image_notes)
    box = Domain.box((2, 2, 2), (2, 2, 2))
    fields = [
        values(box, map_modulus(box, each, calibration=UNIT, law=LINEAR).modulus)
        for each in (found, whole, image)
    ]
    assert fields[0] == pytest.approx(fields[1], rel=1e-6)  # positions have nine decimals
    assert fields[0] == pytest.approx(fields[2], abs=5)  # of half a HU that whole numbers lose


# ---- masks ---------------------------------------------------------------------------------------


def test_cleaning_a_mask():
    inside = np.zeros((20, 16, 12), dtype=bool)
    inside[2:14, 2:14, :] = True  # a block through the image's ends
    inside[6:9, 6:9, 4:7] = False  # a void
    inside[14:17, 7, 6] = True  # a thread
    inside[18, 14, 5] = inside[14, 14, 3] = True  # specks, one touching by an edge
    image = Image.of(inside * 500.0, (0.5, 0.5, 1.0))
    mask = threshold(image, 250)
    assert mask.bodies == 3 and (mask.inside == inside).all()
    assert mask.volume == pytest.approx(inside.sum() * 0.25)
    kept = mask.cleaned(fill=False)
    assert kept.inside.sum() == inside.sum() - 2 and kept.bodies == 1
    opened = mask.cleaned(opening=1)
    assert opened.inside[3:13, 3:13, :].all() and not opened.inside[15:].any()
    assert opened.inside[2, 3:13, :].all()  # faces stay where they are, edges are rounded
    closed = mask.cleaned(closing=2, keep=None, fill=False)
    assert closed.inside[6:9, 6:9, 4:7].all()
    assert "holes filled: +27 voxels" in mask.cleaned().notes
    assert "1 of 3 bodies kept: -2 voxels" in mask.cleaned().notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: threshold(image, 900), r"empty \(threshold: value >= 900\).*0 to 500"),
        (lambda image: threshold(image, 300, 200), "above = 300 must be finite and less than 200"),
        (lambda image: threshold(image, 250).cleaned(opening=-1), "opening = -1"),
        (lambda image: threshold(image, 250).cleaned(keep=0), "keep = 0 must be at least 1"),
        (lambda image: threshold(image, 250).cleaned(opening=3), "empty .*opening by 3: -"),
        (lambda image: threshold(image, 250).coarsened(0), "factor = 0 must be at least 1"),
        (lambda image: Mask(image, np.ones((2, 2, 2))), "does not fit the image"),
        (lambda image: contour(threshold(image, 250), smoothing=-1), "smoothing = -1"),
        (
            lambda image: contour(Mask(image, np.arange(729).reshape(9, 9, 9) == 364)),
            "no closed surface with a volume",
        ),
        (
            lambda image: Domain.build(partial(tetrahedra, threshold(image, 250), size=9.0)),
            "size = 9 mm does not fit a bone of",
        ),
    ],
)
def test_mistakes_with_masks_are_named_on_every_rank(make, message):
    values = np.zeros((9, 9, 9))
    values[2:6, 2:6, 2:6] = 500.0
    with pytest.raises(InputError, match=message):
        make(Image.of(values, (1.0, 1.0, 1.0)))


def test_coarse_voxels_hold_what_fine_ones_do():
    random = np.random.default_rng(2)
    image = Image(random.normal(500, 100, (7, 6, 4)), np.column_stack([TURN, [1.0, 2, 3]]))
    mask = Mask(image, random.random(image.shape) < 0.55)
    coarse = mask.coarsened(2)
    for (i, j, k), inside in np.ndenumerate(coarse.inside):
        block = (slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2), slice(2 * k, 2 * k + 2))
        assert inside == (mask.inside[block].sum() >= 4)
        if i < 3:  # the last block is half outside
            assert coarse.image.values[i, j, k] == pytest.approx(image.values[block].mean())
    corners = [each.points([[-0.5, -0.5, -0.5]])[0] for each in (image, coarse.image)]
    assert corners[0] == pytest.approx(corners[1])
    assert coarse.image.spacing == pytest.approx(2 * image.spacing)


def test_extended_images_keep_what_is_outside_out():
    """A ball of 1000 HU in 0 HU: mapped as it is its cells lose modulus, extended none."""
    image = ball(1.0)
    mask = Mask(Image(np.where(image.values > 400, 1000.0, 0.0), image.affine), image.values > 400)
    domain = voxel_domain(mask)
    means = [
        map_modulus(domain, each, calibration=UNIT, law=LINEAR).report.modulus
        for each in (mask.image, mask.extended())
    ]
    assert means[0][1] < 9500
    assert means[1] == pytest.approx((10e3, 10e3, 10e3), rel=1e-12)


# ---- meshes --------------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("grid", GRIDS)
def test_voxels_are_cells_where_they_are_in_space(grid):
    inside = np.zeros((4, 4, 3), dtype=bool)
    inside[1:3, 1:4, 0:2] = inside[0, 1, 1] = True
    affine = np.column_stack([GRIDS[grid], [3.0, -2.0, 7.0]])
    mask = Mask(Image(np.zeros(inside.shape), affine), inside)
    domain, alone = (voxel_domain(mask, comm=c) for c in (MPI.COMM_WORLD, MPI.COMM_SELF))
    assert domain.fingerprint == alone.fingerprint
    assert domain.names(3) == ["bone"] and domain.names(2) == ["surface"]
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][: len(domain.cells)]].mean(axis=1)
    found = np.stack([domain.gather_cells(column) for column in x.T], axis=1)
    assert found == pytest.approx(mask.image.points(np.argwhere(inside)), abs=1e-12)
    a, b, c = affine[:, :3].T
    faces = [np.linalg.norm(np.cross(*pair)) for pair in ((b, c), (c, a), (a, b))]
    padded = np.pad(inside, 1)
    counts = [np.abs(np.diff(padded.astype(int), axis=axis)).sum() for axis in range(3)]
    assert domain.area("surface") == pytest.approx(np.dot(faces, counts), rel=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_surface_of_a_ball(grid):
    """Volume to 1 %, radius to a tenth of a voxel, outwards whatever the grid's hand."""
    axes = 0.5 * GRIDS[grid]
    count = 2 * np.ceil(7 / np.linalg.norm(axes, axis=0)).astype(int) + 9
    affine = np.column_stack([axes, -axes @ ((count - 1) / 2)])
    points = np.indices(count).reshape(3, -1).T @ affine[:, :3].T + affine[:, 3]
    distance = 5 - np.linalg.norm(points, axis=1)
    image = Image((500 + 200 * distance).reshape(count), affine)
    surface = contour(threshold(image, 500))
    a, b, c = np.moveaxis(surface.points[surface.triangles], 1, 0)
    signed = np.einsum("ni,ni->n", a, np.cross(b, c)).sum() / 6
    assert signed == pytest.approx(surface.volume, rel=1e-9)
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 125, rel=0.01)
    assert np.linalg.norm(surface.points, axis=1) == pytest.approx(5, abs=0.1 * max(
        np.linalg.norm(axes, axis=0)))  # fmt: skip
    assert surface.dropped == pytest.approx(0, abs=1e-9)


def test_surfaces_leave_out_voids_and_fragments():
    image = ball(0.5)
    points = image.points(np.indices(image.shape).reshape(3, -1).T)
    void = np.linalg.norm(points - [1, 0, 0], axis=1).reshape(image.shape) < 1.5
    speck = np.zeros(image.shape, dtype=bool)
    speck[1:4, 1:4, 1:4] = True
    whole = contour(threshold(image, 500))
    values = np.where(void, 0.0, np.where(speck, 1000.0, image.values))
    holed = contour(threshold(Image(values, image.affine), 500))
    assert holed.volume == pytest.approx(whole.volume, rel=1e-6)
    assert holed.dropped > 4 / 3 * np.pi * 1.2**3


def test_a_drawn_mask_has_a_surface_too():
    image = ball(0.5)
    drawn = Mask(image, image.values > 500)
    assert contour(drawn).volume == pytest.approx(4 / 3 * np.pi * 125, rel=0.03)


def test_tetrahedra_of_a_cut_tube():
    """Flat ends where the image ends it, and the volume of π (R² − r²) L."""
    mask = threshold(tube(0.5, gradient=0), 300)
    domain = Domain.build(partial(tetrahedra, mask, size=1.5))
    exact = np.pi * (25 - 6.25)
    assert domain.volume == pytest.approx(12 * exact, rel=0.02)
    for name, z in (("base", 0), ("top", 12)):
        domain.name(name, 2, lambda x, z=z: np.isclose(x[2], z, atol=1e-9))
        assert domain.area(name) == pytest.approx(exact, rel=0.02)
    around = 2 * np.pi * 7.5 * 12
    assert domain.area("surface") == pytest.approx(around + 2 * exact, rel=0.02)
    assert domain.names(3) == ["bone"]


@pytest.mark.short
def test_moduli_do_not_depend_on_the_ranks():
    """Each tetrahedron has the modulus that it has on one rank, and the reports are the same."""
    image = ball(1.0)
    model = partial(tetrahedra, threshold(image, 500), size=2.5)
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        domain = Domain.build(model, comm=comm)
        mapped = map_modulus(domain, image, calibration=UNIT, law=CUBIC)
        found.append((values(domain, mapped.modulus), mapped.report))
    (here, report), (alone, report_alone) = found
    assert here == pytest.approx(alone, rel=1e-12)
    assert report.modulus == pytest.approx(report_alone.modulus, rel=1e-12)
    assert (report.points, report.distinct) == (report_alone.points, report_alone.distinct)


# ---- stiffness -----------------------------------------------------------------------------------


def tube_stiffness(domain: Domain, modulus, degree: int) -> tuple[float, float]:
    """Of a tube clamped at z = 0: forces for a unit stretch and a unit deflection, N/mm.

    The first is by the strain of a prism, ε = 1/L along z, which is exact for a uniform Poisson
    ratio; the second is of a unit traction across the end.
    """
    axial = domain.integrate(modulus * domain.dx) / 12**2
    for name, z in (("base", 0.0), ("top", 12.0)):
        if name not in domain.names(2):
            domain.name(name, 2, lambda x, z=z: np.isclose(x[2], z, atol=1e-6))
    load = (1.0, 0.0, 0.0)
    supports = {"modulus": modulus, "poisson": 0.3, "displacement": ["base"], "degree": degree}
    u = elasticity(domain, traction={"top": load}, **supports)
    deflection = float(Functional(u[0] * domain.ds("top"))) / domain.area("top")
    return axial, domain.area("top") / deflection


def test_voxels_and_tetrahedra_are_as_stiff_as_each_other():
    """Within 3 % at the finer image and nearer than at the coarser; the exact tube is approached.

    Voxels cut by the surface hold less than bone, which softens the tube in proportion to h, and
    less where what lies outside is kept out of the interpolation.
    """
    exact = 2 * np.pi / 12 * (6000 * 18.75 / 2 + 4000 * ((125 - 15.625) / 3 - 2.5 * 18.75 / 2))
    found = {}
    for h, size in ((1.0, 2.5), (0.5, 1.5)):
        image, mask = tube(h), threshold(tube(h, gradient=0), 300).cleaned()
        staircase = voxel_domain(mask)
        smooth = Domain.build(partial(tetrahedra, mask, size=size))
        extended = Mask(image, mask.inside).extended()
        for name, source in (("as it is", image), ("extended", extended)):
            found[h, name] = np.array(
                [
                    tube_stiffness(
                        domain,
                        map_modulus(domain, source, calibration=UNIT, law=LINEAR).modulus,
                        degree,
                    )
                    for domain, degree in ((staircase, 1), (smooth, 2))
                ]
            )
    gap = {key: np.abs(both[0] / both[1] - 1) for key, both in found.items()}
    error = {key: np.abs(both[:, 0] / exact - 1) for key, both in found.items()}
    for name in ("as it is", "extended"):
        assert gap[0.5, name].max() < 0.03
        assert (gap[0.5, name] < gap[1.0, name]).all()
        assert (error[0.5, name] < 0.75 * error[1.0, name]).all()
    assert (error[0.5, "extended"] < 0.06).all()
    assert (error[0.5, "extended"] < 0.75 * error[0.5, "as it is"]).all()
