"""Patches from the healthy side: planes, volumes and surfaces that are known in closed form."""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import dblquad

from toolkit import InputError
from toolkit.bone import (
    Image,
    Mask,
    MirrorPlane,
    Patch,
    Surface,
    cranial_patch,
    craniectomy,
    mirror_plane,
    synthetic_head,
    threshold,
    zygomatic_patch,
)

R, T, HOLE = 60.0, 6.0, 16.0  # radius and thickness of a round head, radius of a hole in it [mm]
RING, TUBE = 22.0, 5.0  # radii of a ring of bone that stands for a cheekbone [mm]
DRAWN = {"thickness": 5.0, "gap": 0.6, "spacing": 0.6}
MIDDLE = MirrorPlane(np.array([1.0, 0.0, 0.0]), 0.0)
CRANIAL = partial(cranial_patch, plane=MIDDLE)
ZYGOMATIC = partial(zygomatic_patch, plane=MIDDLE, near=(0, 0, 0))
pytestmark = pytest.mark.parallel


def skull(image: Image) -> Mask:
    return threshold(image, 520).cleaned(fill=False)


def round_head() -> Image:
    return synthetic_head(semi_axes=(R, R, R), thickness=T, base=30.0)


class Hole:
    """A hole in the round head, its axis, and volumes of what fits into it."""

    def __init__(self) -> None:
        self.whole = skull(round_head())
        self.start = self.whole.centroid
        self.axis = np.array([0.8, 0.3, 0.2]) / np.linalg.norm([0.8, 0.3, 0.2])
        first = np.cross(self.axis, [0, 0, 1.0])
        self.first = first / np.linalg.norm(first)
        at = self.start + self.exit(0.0, 0.0, R - T / 2) * self.axis
        self.at = (float(at[0]), float(at[1]), float(at[2]))
        self.mask = craniectomy(self.whole, self.at, 2 * HOLE)

    def radius(self, points: np.ndarray) -> np.ndarray:
        """Distance of points from the axis."""
        x = points - self.start
        return np.sqrt(np.sum(x * x, axis=1) - (x @ self.axis) ** 2)

    def exit(self, a: float, angle: float, sphere: float) -> float:
        """How far along the axis a line parallel to it leaves a sphere about the origin."""
        second = np.cross(self.axis, self.first)
        x = self.start + a * (np.cos(angle) * self.first + np.sin(angle) * second)
        b = x @ self.axis
        return float(-b + np.sqrt(b * b - x @ x + sphere**2))

    def volume(self, radius: float, thickness: float) -> float:
        """Between two spheres and within a cylinder about the axis."""
        return dblquad(
            lambda a, angle: a * (self.exit(a, angle, R) - self.exit(a, angle, R - thickness)),
            *(0, 2 * np.pi, 0, radius),
            epsrel=1e-6,
        )[0]


@pytest.fixture(scope="module")
def hole() -> Hole:
    return Hole()


@pytest.fixture(scope="module")
def patch(hole) -> Patch:
    return cranial_patch(hole.mask, plane=MIDDLE, **DRAWN)


def check_closed(surface: Surface) -> None:
    """Every edge joins two triangles that run along it both ways, and the body has no handle."""
    edges = np.concatenate([surface.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    both = {tuple(edge) for edge in edges}
    assert len(both) == len(edges)
    assert all((b, a) in both for a, b in both)
    points = len(np.unique(surface.triangles))
    assert points - len(edges) // 2 + len(surface.triangles) == 2


# ---- the plane -----------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize(
    ("tilt", "centre", "spacing"),
    [((0, 0), (3, 0, 0), (2, 2, 2)), ((6, -8), (-4, 20, 7), (1.6, 1.6, 2.5))],
)
def test_the_mirror_plane_of_a_turned_and_moved_head_with_a_hole(tilt, centre, spacing):
    head = skull(synthetic_head(tilt=tilt, centre=centre, spacing=spacing))
    a, b = np.radians(tilt)
    left = np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), -np.sin(a)])
    defect = craniectomy(head, tuple(np.asarray(centre) + 70 * left + [0, 20, 25]), 60)
    found = mirror_plane(defect)
    assert np.degrees(np.arccos(min(found.normal @ left, 1.0))) < 0.2
    assert found.distance([centre])[0] == pytest.approx(0, abs=0.15)
    points = np.array([[1.0, 2, 3], [-20, 5, 60]])
    assert found.mirrored(found.mirrored(points)) == pytest.approx(points)
    assert found.distance(found.mirrored(points)) == pytest.approx(-found.distance(points))


def test_a_hole_takes_out_the_volume_of_its_cylinder(hole):
    removed = hole.whole.volume - hole.mask.volume
    assert removed == pytest.approx(hole.volume(HOLE, T), rel=0.01)


# ---- the patch -----------------------------------------------------------------------------------


def test_a_patch_in_a_round_head_is_the_exact_one(hole, patch):
    """Its faces are spheres of known radii, its rim a cylinder less the gap."""
    surface = patch.surface()
    check_closed(surface)
    assert surface.dropped == 0
    inner, fit = R - DRAWN["thickness"], HOLE - DRAWN["gap"]
    assert surface.volume == pytest.approx(hole.volume(fit, DRAWN["thickness"]), rel=0.015)
    part, height = patch.part(surface.points), np.linalg.norm(surface.points, axis=1)
    radius = hole.radius(surface.points)
    deep = radius < fit - 1.5  # edges are rounded
    assert height[(part == "outer") & deep] == pytest.approx(R, abs=0.15)
    assert height[(part == "inner") & deep] == pytest.approx(inner, abs=0.15)
    wall = (part == "rim") & (height > inner + 1) & (height < R - 2)
    assert wall.sum() > 500
    assert radius[wall] == pytest.approx(fit, abs=0.3)
    assert radius[wall].mean() == pytest.approx(fit, abs=0.05)


def test_nothing_of_a_patch_lies_in_bone(hole, patch):
    points = patch.surface().points
    bone = Image(hole.mask.signed(), hole.mask.image.affine)
    assert (bone.at(points) < 0).all()
    below = np.linalg.norm(points, axis=1) < R - 2  # above, the image has rounded the bone's edge
    assert hole.radius(points[below]).max() < HOLE - DRAWN["gap"] / 2


def test_a_patch_is_meshed_and_its_surfaces_have_names(hole, patch):
    domain = patch.domain(size=2.0)
    fit = HOLE - DRAWN["gap"]
    assert domain.volume == pytest.approx(hole.volume(fit, DRAWN["thickness"]), rel=0.03)
    names = ["outer", "inner", "rim"]  # in one order on all ranks
    assert set(domain.names(2)) == {*names, "surface"} and domain.names(3) == ["bone"]
    areas = {name: domain.area(name) for name in names}
    assert sum(areas.values()) == pytest.approx(domain.area("surface"), rel=1e-12)
    h = 1e-3  # a face's area is the volume of a thin shell under it
    outer = hole.volume(fit, h) / h
    inner = hole.volume(fit, DRAWN["thickness"]) - hole.volume(fit, DRAWN["thickness"] - h)
    assert areas["outer"] == pytest.approx(
        outer, rel=0.12
    )  # triangles across an edge have one name
    assert areas["inner"] == pytest.approx(inner / h, rel=0.12)


def test_a_patch_is_flush_where_the_sides_differ(hole):
    """A plane that is 1 mm off mirrors a head that is 2 mm off; the patch still meets the bone."""
    shifted = MirrorPlane(np.array([1.0, 0.0, 0.0]), 1.0)
    patch = cranial_patch(hole.mask, plane=shifted, near=hole.at, **DRAWN)
    points = patch.surface().points
    outer = (patch.part(points) == "outer") & (hole.radius(points) < HOLE - 2)
    assert np.linalg.norm(points[outer], axis=1) == pytest.approx(R, abs=0.2)


def test_a_lip_rests_on_the_bone(hole, patch):
    broad = cranial_patch(hole.mask, plane=MIDDLE, lip=(5.0, 2.5), **DRAWN)
    surface = broad.surface()
    check_closed(surface)
    height, radius = np.linalg.norm(surface.points, axis=1), hole.radius(surface.points)
    assert height[radius < HOLE - 2].max() == pytest.approx(R + 2.5, abs=0.15)
    under = (broad.part(surface.points) == "rim") & (radius > HOLE + 1.5) & (radius < HOLE + 4)
    assert under.sum() > 200
    assert height[under] == pytest.approx(R + DRAWN["gap"], abs=0.25)
    assert radius.max() > HOLE + 5
    assert broad.surface().volume > patch.surface().volume + np.pi * HOLE**2 * 2.3


def test_a_lip_that_bone_stands_out_through_is_refused(hole):
    """A knob of 3 mm on the skull, 4 mm from the hole: a lip of 2.2 mm has a hole around it."""
    image = hole.mask.image
    x = image.points(np.indices(image.shape).reshape(3, -1).T)
    foot = hole.at + (HOLE + 4) * hole.first
    knob = 3 - np.linalg.norm(x - foot * R / np.linalg.norm(foot), axis=1).reshape(image.shape)
    field = np.maximum(hole.mask.signed(), 300 * knob)
    rough = Mask(Image(field, image.affine), field > 0, 0.0)
    with pytest.raises(InputError, match=r"stands out through a lip of 8 mm that rises 2\.2"):
        cranial_patch(rough, plane=MIDDLE, near=hole.at, lip=(8.0, 2.2), **DRAWN)
    assert (
        cranial_patch(rough, plane=MIDDLE, near=hole.at, lip=(8.0, 5.0), **DRAWN).mask.bodies == 1
    )


@pytest.mark.parametrize("grid", ["flipped", "anisotropic", "oblique", "tilted"])
def test_copies_of_an_image_give_the_same_patch(hole, patch, grid):
    turned = np.deg2rad(20)
    axes = (
        1.5
        * {
            "flipped": np.diag([-1.0, -1, 1]),
            "anisotropic": np.diag([0.7, 0.7, 1.3]),
            "oblique": np.array(
                [
                    [np.cos(turned), -np.sin(turned), 0],
                    [np.sin(turned), np.cos(turned), 0],
                    [0, 0, 1.0],
                ]
            ),
            "tilted": np.array([[1.0, 0, 0], [0, 1, 0], [0, np.tan(turned / 2), 1]]),
        }[grid]
    )
    reach = 2 * np.ceil(75 / np.linalg.norm(axes, axis=0)).astype(int) + 1
    affine = np.column_stack([axes, -axes @ ((reach - 1) / 2)])
    points = np.indices(reach).reshape(3, -1).T @ affine[:, :3].T + affine[:, 3]
    depth = np.minimum(R - np.linalg.norm(points, axis=1), np.linalg.norm(points, axis=1) - R + T)
    depth = np.minimum(depth, points[:, 2] + 29.25)
    copy = Mask(Image(depth.reshape(reach), affine), depth.reshape(reach) > 0, 0.0)
    x = points - hole.start
    along = x @ hole.axis
    wall = np.maximum(np.sqrt(np.maximum(np.sum(x * x, 1) - along**2, 0)) - HOLE, 25 - along)
    field = np.minimum(depth, wall).reshape(reach)
    copy = Mask(Image(field, affine), field > 0, 0.0)
    other = cranial_patch(copy, plane=MIDDLE, **DRAWN).surface()
    assert other.volume == pytest.approx(patch.surface().volume, rel=0.015)
    assert other.points.mean(axis=0) == pytest.approx(patch.surface().points.mean(axis=0), abs=0.3)


def test_a_bone_of_the_other_side_has_its_shape_and_thickness(hole):
    patch = zygomatic_patch(hole.mask, near=hole.at, within=30, plane=MIDDLE, gap=0.6, spacing=0.6)
    surface = patch.surface()
    check_closed(surface)
    assert surface.volume == pytest.approx(hole.volume(HOLE - 0.6, T), rel=0.03)
    assert set(patch.parts) == {"outer", "rim"}
    cut = zygomatic_patch(hole.mask, near=hole.at, within=8, plane=MIDDLE, gap=0.6, spacing=0.6)
    far = np.linalg.norm(cut.surface().points - hole.at, axis=1)
    assert far.max() == pytest.approx(8, abs=0.3)


def cheeks(*, off: float) -> Mask:
    """The round head with a cheekbone on each side: a ring through its wall, moved on the right."""
    h, low = 1.5, -np.array([R + RING + 2 * TUBE, R + TUBE, 30.0])
    shape = tuple(np.ceil((np.array([-low[0], -low[1], R + TUBE]) - low) / h).astype(int))
    image = Image.of(np.zeros(shape), (h, h, h), origin=tuple(low))
    x = image.points(np.indices(shape).reshape(3, -1).T)
    height = np.linalg.norm(x, axis=1)
    level = np.minimum(R - height, height - R + T)
    for side, moved in ((1.0, 0.0), (-1.0, off)):
        y = x - np.array([side * R, -moved, moved])
        around = np.hypot(y[:, 0], y[:, 1]) - RING
        level = np.maximum(level, TUBE - np.hypot(around, y[:, 2]))
    field = level.reshape(shape)
    return Mask(Image(field, image.affine), field > 0, 0.0)


def without(mask: Mask, at: tuple[float, float, float], radius: float) -> Mask:
    """The bone outside of a ball."""
    image = mask.image
    x = image.points(np.indices(image.shape).reshape(3, -1).T)
    away = np.linalg.norm(x - at, axis=1).reshape(image.shape) - radius
    field = np.minimum(mask.signed(), away)
    return Mask(Image(field, image.affine), field > 0, 0.0)


@pytest.mark.parametrize(("off", "overlap", "over"), [(0.0, 0.97, 1.0), (1.5, 0.95, 3.0)])
def test_a_cheekbone_is_brought_back_and_nothing_of_its_neighbours(off, overlap, over):
    """What is left of both cheekbones differs by √2 `off`: it is not missing, in any region."""
    at, radius = (R + RING, 0.0, 0.0), 16.0
    whole, gap = cheeks(off=off), 0.6
    left = without(whole, at, radius)
    patches = [
        zygomatic_patch(left, near=at, within=within, plane=MIDDLE, gap=gap, spacing=0.6)
        for within in (22.0, 34.0)
    ]
    small, large = (patch.surface() for patch in patches)
    check_closed(small)
    assert small.volume == pytest.approx(large.volume, rel=5e-3)
    bone = Image(left.signed(), left.image.affine)
    assert (bone.at(small.points) < 0).all()
    away = np.linalg.norm(small.points - at, axis=1)
    assert away.max() < radius + over  # the asymmetry, 3 mm, at most; the region goes on to 22
    x = left.image.points(np.indices(left.image.shape).reshape(3, -1).T)
    mirrored = (Image(whole.signed(), whole.image.affine).at(MIDDLE.mirrored(x)) > 0) & (
        np.linalg.norm(x - at, axis=1) < radius - gap
    )
    there = (patches[0].mask.image.at(x) > 0) & (np.linalg.norm(x - at, axis=1) < radius + 3)
    dice = 2 * (there & mirrored).sum() / (there.sum() + mirrored.sum())
    assert dice > overlap
    assert small.volume == pytest.approx(cheek_volume(radius - gap), rel=0.02)
    x = small.points - [R, -off, off]
    tube = np.hypot(np.hypot(x[:, 0], x[:, 1]) - RING, x[:, 2])
    outer = (patches[0].part(small.points) == "outer") & (away < radius - 2)
    assert tube[outer] == pytest.approx(TUBE, abs=0.15)


def cheek_volume(radius: float) -> float:
    """Of the ring of bone within a ball about a point on its middle line."""

    def arc(s: float, t: float) -> float:
        ring = RING + s * np.cos(t)
        cosine = (ring**2 + RING**2 + (s * np.sin(t)) ** 2 - radius**2) / (2 * ring * RING)
        return 2 * np.arccos(np.clip(cosine, -1, 1)) * ring * s

    return dblquad(arc, 0, 2 * np.pi, 0, TUBE, epsrel=1e-6)[0]


@pytest.mark.short
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(CRANIAL, thickness=1.0), "at least three times the spacing"),
        (partial(CRANIAL, thickness=5, gap=-1.0), "gap = -1"),
        (
            partial(CRANIAL, thickness=5, lip=(3, 0.5)),
            "a lip that rises 0.5 mm",
        ),
        (partial(CRANIAL, thickness=5), "lacks nothing thicker than 3 mm"),
        (partial(ZYGOMATIC, within=0.0), "within = 0"),
        (partial(ZYGOMATIC, gap=3.0), "asymmetry = 3 mm greater than it"),
        (
            partial(ZYGOMATIC, within=5.0),
            r"further than 3 mm from bone within 5 mm of \(0, 0, 0\)",
        ),
        (partial(craniectomy, at=(0, 0, 60), diameter=0), "diameter = 0 mm"),
        (lambda mask: synthetic_head(thickness=90), "thickness = 90"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make(skull(synthetic_head(spacing=(4, 4, 4))))


def test_a_defect_at_the_mid_plane_is_refused(hole):
    """Across the plane the mirror image has a hole too: the patch would have no bone around it."""
    across = craniectomy(hole.whole, (7.0, 0.0, R), 30)
    with pytest.raises(InputError, match="crosses the mid-plane"):
        cranial_patch(across, plane=MIDDLE, **DRAWN)
