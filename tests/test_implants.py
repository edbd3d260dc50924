"""The models of bones with implants: names, exact measures, quality, conformity, refusals, loads.

Each model is meshed once, coarsely. Measures allow for what a polyhedron lacks of a round body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from math import cos, pi, radians
from typing import NamedTuple

import gmsh
import numpy as np
import pytest

from toolkit.geometry import (
    composite_rod,
    femur_with_stem,
    iso_7206_4,
    potted_stem,
    tibia_with_plate,
    vertebrae_with_cage,
)
from toolkit.geometry.__main__ import IMPLANTS
from toolkit.geometry.pieces import generate
from toolkit.geometry.spinal_cage import contour, footprint

GRUEN = {f"gruen {number}" for number in range(1, 8)}
BONE = {"cortical", "cancellous", "marrow"}
MODELS = {
    "femur": partial(femur_with_stem, size=5, stem=False),
    "femur_with_stem": partial(femur_with_stem, size=5, coat=1.5),
    "potted_stem": partial(potted_stem, size=5, coat=1.5),
    "tibia_with_plate": partial(tibia_with_plate, size=4.5),
    "vertebrae_with_cage": partial(vertebrae_with_cage, size=3),
    "blocks_with_cage": partial(vertebrae_with_cage, size=3, blocks=True),
    "composite_rod": partial(composite_rod, size=7),
}
VOLUMES = {
    "femur": BONE | GRUEN | {"resected", "reamed"},
    "femur_with_stem": BONE | GRUEN | {"stem", "ball", "coat", "neck"},
    "potted_stem": {"stem", "ball", "coat", "neck", "cement"},
    "tibia_with_plate": {"bone", "marrow", "callus", "plate", "screws"},
    "vertebrae_with_cage": {
        *("upper vertebra", "lower vertebra", "endplates", "cortical", "cancellous"),
        *("cage", "graft window"),
    },
    "blocks_with_cage": {"upper block", "lower block", "cage"},
    "composite_rod": {"bone", "stem"},
}
SURFACES = {
    "femur": {"head", "abductor", "distal"},
    "femur_with_stem": {"head", "abductor", "distal", "interface"},
    "potted_stem": {"head", "pot"},
    "tibia_with_plate": {"proximal", "distal", "interface"},
    "vertebrae_with_cage": {"superior", "inferior", "interface"},
    "blocks_with_cage": {"superior", "inferior", "interface"},
    "composite_rod": {"proximal", "distal", "outside", "interface"},
}
ANGLE = {  # least angle between two faces of a cell, in degrees
    "femur": 3,
    "femur_with_stem": 3,
    "potted_stem": 3,
    "tibia_with_plate": 10,
    "vertebrae_with_cage": 10,
    "blocks_with_cage": 18,
}
each = pytest.mark.parametrize("name", MODELS)


class Mesh(NamedTuple):
    """What a model has made: measures by name, cells as corners, (n, k, 3), and their nodes."""

    volumes: dict[str, float]
    surfaces: dict[str, float]
    corners: np.ndarray
    cells: np.ndarray
    quality: np.ndarray


def build(model: Callable[[], None]) -> Mesh:
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        model()
        tags, points, _ = gmsh.model.mesh.getNodes()
        number = np.zeros(int(tags.max()) + 1, dtype=int)
        number[tags] = np.arange(len(tags))
        (every,), (nodes,) = gmsh.model.mesh.getElements(3)[1:]
        cells = number[nodes].reshape(len(every), -1)
        quality = gmsh.model.mesh.getElementQualities(every, "gamma")
        corners = points.reshape(-1, 3)[cells]
        return Mesh(_measures(3), _measures(2), corners, cells, quality)
    finally:
        gmsh.finalize()


made = cache(lambda name: build(MODELS[name]))


def _measures(dim: int) -> dict[str, float]:
    found = {}
    for _, group in gmsh.model.getPhysicalGroups(dim):
        total = 0.0
        for entity in gmsh.model.getEntitiesForPhysicalGroup(dim, group):
            (tags,) = gmsh.model.mesh.getElements(dim, entity)[1]
            total += gmsh.model.mesh.getElementQualities(tags, "volume").sum()
        found[gmsh.model.getPhysicalName(dim, group)] = float(total)
    return found


def angles(corners: np.ndarray) -> np.ndarray:
    """Least angle between two faces of each tetrahedron, in degrees, (n,)."""
    normals = []
    for i, j, k in ((1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1)):
        normal = np.cross(corners[:, j] - corners[:, i], corners[:, k] - corners[:, i])
        normals.append(normal / np.linalg.norm(normal, axis=1)[:, None])
    cosines = [(normals[i] * normals[j]).sum(1) for i in range(4) for j in range(i)]
    return 180 - np.degrees(np.arccos(np.clip(np.min(cosines, axis=0), -1, 1)))


@each
def test_every_part_has_its_name_and_something_in_it(name: str) -> None:
    mesh = made(name)
    assert set(mesh.volumes) == VOLUMES[name]
    assert set(mesh.surfaces) == SURFACES[name]
    assert min(mesh.volumes.values()) > 0 < min(mesh.surfaces.values())


def test_every_model_can_be_written() -> None:
    assert set(IMPLANTS) == set(MODELS)


@pytest.mark.parametrize("name", ANGLE)
def test_no_cell_is_inverted_or_flat(name: str) -> None:
    mesh = made(name)
    a, b, c, d = np.moveaxis(mesh.corners, 1, 0)
    assert np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a).min() > 0
    smallest = angles(mesh.corners)
    assert smallest.min() > ANGLE[name]
    assert np.percentile(smallest, 1) > 13
    assert np.percentile(mesh.quality, 1) > 0.2


@pytest.mark.parametrize("name", ANGLE)
def test_parts_conform(name: str) -> None:
    """No two nodes lie in one place, and across facets every cell reaches every other."""
    mesh = made(name)
    points = np.empty((mesh.cells.max() + 1, 3))
    points[mesh.cells] = mesh.corners
    used = points[np.unique(mesh.cells)]
    assert len(np.unique(np.round(used, 5), axis=0)) == len(used)
    facets = np.sort(mesh.cells[:, [(1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)]], axis=2)
    _, facet, count = np.unique(
        facets.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    assert count.max() == 2
    owner = np.repeat(np.arange(len(mesh.cells)), 4)[np.argsort(facet, kind="stable")]
    first = np.append(0, count.cumsum())[:-1][count == 2]
    label = np.arange(len(mesh.cells))
    while True:
        low = np.minimum(label[owner[first]], label[owner[first + 1]])
        before = label.copy()
        np.minimum.at(label, owner[first], low)
        np.minimum.at(label, owner[first + 1], low)
        label = label[label]
        if (label == before).all():
            break
    assert label.max() == 0


@each
def test_parts_fill_the_body_once(name: str) -> None:
    """The volumes of the parts that overlap no other add up to that of the cells."""
    mesh = made(name)
    sums = {
        "femur": BONE,
        "femur_with_stem": BONE | {"stem", "ball", "coat"},
        "potted_stem": {"stem", "ball", "coat", "cement"},
        "vertebrae_with_cage": {"upper vertebra", "lower vertebra", "cage", "graft window"},
    }
    total = sum(mesh.volumes[part] for part in sums.get(name, VOLUMES[name]))
    low, high = mesh.corners.min((0, 1)), mesh.corners.max((0, 1))
    assert total < np.prod(high - low)
    if mesh.cells.shape[1] == 4:
        a, b, c, d = np.moveaxis(mesh.corners, 1, 0)
        exact = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a).sum() / 6
        assert total == pytest.approx(exact, rel=1e-9)


def test_rod_has_the_volumes_of_cylinders() -> None:
    mesh = made("composite_rod")
    assert mesh.volumes["stem"] == pytest.approx(pi * 8**2 * 240, rel=1e-9)
    assert mesh.volumes["bone"] == pytest.approx(pi * (15**2 - 8**2) * 240, rel=1e-9)
    assert mesh.surfaces["distal"] == pytest.approx(pi * 15**2, rel=1e-9)


def test_femur_has_its_measures() -> None:
    """The shaft is a tube and the head a sphere, whatever is between them."""
    for name, radius in (("femur", 23), ("femur_with_stem", 16)):
        mesh = made(name)
        assert mesh.volumes["gruen 4"] == pytest.approx(pi * (13.5**2 - 7**2) * 20, rel=0.05)
        assert mesh.surfaces["distal"] == pytest.approx(pi * 13.5**2, rel=0.05)
        cap = 2 * pi * radius**2 * (1 - cos(radians(45)))
        assert mesh.surfaces["head"] == pytest.approx(cap, rel=0.05)
        head = np.array([43, 0, 43 / np.tan(radians(51))])
        assert mesh.corners[..., 2].max() == pytest.approx(max(head[2] + radius, 33), abs=0.5)
        assert mesh.corners[..., 0].max() == pytest.approx(head[0] + radius, abs=0.5)
        assert mesh.corners[..., 2].min() == pytest.approx(-170, abs=1e-6)


def test_zones_are_the_same_before_and_after_the_operation() -> None:
    before, after = made("femur").volumes, made("femur_with_stem").volumes
    for zone in GRUEN:
        assert after[zone] == pytest.approx(before[zone], rel=0.01)
    assert after["marrow"] < before["marrow"]
    left = sum(after[part] for part in BONE)
    taken = before["resected"] + before["reamed"]
    assert left + taken == pytest.approx(sum(before[part] for part in BONE), rel=0.01)


def test_the_pot_is_a_cylinder_about_the_same_stem() -> None:
    """The implant is that of the femur; the cement ends 80 mm under the head along the force."""
    mesh, bone = made("potted_stem"), made("femur_with_stem")
    for part in ("stem", "coat", "ball", "neck"):
        assert mesh.volumes[part] == pytest.approx(bone.volumes[part], rel=0.02)
    down = np.array(iso_7206_4(1.0))
    head = np.array([43, 0, 43 / np.tan(radians(51))])
    along = (mesh.corners - head) @ down
    radial = np.linalg.norm(mesh.corners - along[..., None] * down - head, axis=-1)
    wide = radial > radial.max() - 1  # the rim of the cement
    assert along[wide].min() == pytest.approx(80, abs=1e-6)
    bottom, side = along.max() - 80, mesh.surfaces["pot"]
    r = np.sqrt(bottom**2 + side / pi) - bottom  # side = π r² + 2 π r h
    filled = pi * r**2 * bottom - mesh.volumes["cement"]
    assert 0 < filled < mesh.volumes["stem"]


def test_tibia_has_its_measures() -> None:
    """Callus, plate and screws are cylinders and prisms; the bone's holes are an integral."""
    mesh = made("tibia_with_plate")
    a, b, r, cortex = 12, 14, 2.2, 5
    assert mesh.volumes["callus"] == pytest.approx(pi * a * b * 3, rel=0.03)
    screw = pi * r**2 * (12 + 2 + 4.5 + 12 + 1.5)
    octagon = 8 * np.sin(pi / 4) / (2 * pi)
    assert octagon * 6 * screw < mesh.volumes["screws"] < 6 * screw
    plate = (14 * 108 + pi * 7**2 - 6 * pi * r**2) * 4.5
    assert mesh.volumes["plate"] == pytest.approx(plate, rel=0.02)

    def hole(a: float, b: float) -> float:
        y = np.linspace(-r, r, 2001)
        return float(np.trapezoid(2 * a * np.sqrt(1 - (y / b) ** 2) * 2 * np.sqrt(r**2 - y**2), y))

    outer = pi * a * b * 177 - 6 * hole(a, b)
    inner = pi * (a - cortex) * (b - cortex) * 177 - 6 * hole(a - cortex, b - cortex)
    assert mesh.volumes["bone"] + mesh.volumes["marrow"] == pytest.approx(outer, rel=0.03)
    assert mesh.volumes["marrow"] == pytest.approx(inner, rel=0.06)


def test_segment_has_its_measures() -> None:
    """The cage has the volume of `spinal_cage`, the bodies that of their contours, summed up."""
    mesh = made("vertebrae_with_cage")
    assert mesh.volumes["cage"] == pytest.approx(9.9 * footprint(), rel=0.01)
    assert mesh.surfaces["interface"] == pytest.approx(2 * footprint(), rel=0.01)
    heights = np.linspace(0, 27, 271)
    drawn = 4 * 3 * heights * (27 - heights) / 27**2
    section = [_area(24 - inset, 17 - inset) for inset in drawn]
    exact = float(np.trapezoid(section, heights))
    assert mesh.volumes["upper vertebra"] == pytest.approx(exact, rel=0.01)
    assert mesh.volumes["lower vertebra"] == pytest.approx(mesh.volumes["upper vertebra"], rel=1e-3)
    assert mesh.surfaces["superior"] == pytest.approx(section[0], rel=0.01)
    assert mesh.volumes["graft window"] == pytest.approx(9.9 * _area(13.05, 6.7), rel=0.01)


def _area(a: float, b: float) -> float:
    x, y = contour(a, b).reshape(-1, 2).T
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def test_blocks_have_their_measures() -> None:
    mesh = made("blocks_with_cage")
    assert mesh.volumes["cage"] == pytest.approx(9.9 * footprint(), rel=0.01)
    for side in ("upper", "lower"):
        assert mesh.volumes[f"{side} block"] == pytest.approx(48 * 34 * 27, rel=1e-9)


def test_two_builds_are_one_mesh() -> None:
    """In one gmsh session, where the second build finds what the first has left."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        nodes = []
        for _ in range(2):
            gmsh.clear()
            MODELS["tibia_with_plate"]()
            nodes.append(gmsh.model.mesh.getNodes()[1])
        assert np.array_equal(*nodes)
    finally:
        gmsh.finalize()


@pytest.mark.parametrize(
    "model",
    [
        partial(femur_with_stem, size=4, head_diameter=40, offset=36, shaft_diameter=23,
                canal_diameter=12, tip_diameter=8, ball_diameter=28),
        partial(femur_with_stem, size=5, neck_angle=120, stem_length=150),
        partial(tibia_with_plate, size=4, plate_size=2, screws=1, width=30, depth=24, gap=10),
        partial(vertebrae_with_cage, size=3, waist=5, width=55, depth=40, cage_height=16),
    ],
)  # fmt: skip
def test_a_model_of_another_size_is_meshed_as_well(model: partial[None]) -> None:
    mesh = build(model)
    assert min(mesh.volumes.values()) > 0 < min(mesh.surfaces.values())
    smallest = angles(mesh.corners)
    assert smallest.min() > 1
    assert np.percentile(smallest, 1) > 12


@pytest.fixture
def empty_gmsh() -> Iterator[None]:
    gmsh.initialize(interruptible=False)
    yield
    gmsh.finalize()


FEMUR, TIBIA, SPINE = (
    partial(model, size=3) for model in (femur_with_stem, tibia_with_plate, vertebrae_with_cage)
)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (partial(FEMUR, offset=-3), "offset = -3 is no length"),
        (partial(FEMUR, neck_angle=90), "neck_angle = 90 .* Give neck_angle from 118 to 142"),
        (partial(FEMUR, offset=60), "offset = 60 .* the head stands off"),
        (partial(FEMUR, canal_diameter=25), "canal_diameter = 25 .* from 8 to 21"),
        (partial(FEMUR, tip_diameter=13), "tip_diameter = 13 .* free in the canal"),
        (partial(FEMUR, stem_length=200), "stem_length = 200 .* zone 4 is in the shaft"),
        (partial(FEMUR, stem_length=40), "stem_length = 40 is out of bounds"),
        (partial(FEMUR, ball_diameter=48), "ball_diameter = 48 .* Give .* to 41.4"),
        (partial(FEMUR, coat=4), "coat = 4 .* a coat leaves a core"),
        (partial(FEMUR, coat=-1), "coat = -1 is no length"),
        (partial(FEMUR, size=6), "size = 6 .* across tip = 10. Give size <= 5"),
        (partial(potted_stem, size=3, depth=0), "depth = 0 is no length"),
        (partial(potted_stem, size=3, depth=140), "depth = 140 .* cement holds the tip alone"),
        (partial(potted_stem, size=3, coat=4), "coat = 4 .* a coat leaves a core"),
        (partial(potted_stem, size=6), "size = 6 .* across tip = 10. Give size <= 5"),
        (partial(TIBIA, screws=0), "screws = 0 hold no plate"),
        (partial(TIBIA, cortex=12), "cortex = 12 is out of bounds"),
        (partial(TIBIA, gap=30), "gap = 30 .* screws are in bone"),
        (partial(TIBIA, screws=6), "length = 180 .* the last screws are in the shaft"),
        (partial(TIBIA, standoff=0), "standoff = 0 is no length"),
        (partial(TIBIA, size=6), "size = 6 puts fewer than 1 cells across plate_thickness"),
        (partial(SPINE, width=40), "width = 40 .* the cage stands on it"),
        (partial(SPINE, waist=8), "waist = 8 is out of bounds"),
        (partial(SPINE, cage_wall=13), "wall = 13 is so large"),
        (partial(SPINE, size=4), "size = 4 .* across wall = 6"),
        (partial(composite_rod, size=3, stem_diameter=30), "stem_diameter = 30 is so large"),
        (partial(composite_rod, size=8), "size = 8 .* across wall = 7"),
    ],
)
@pytest.mark.usefixtures("empty_gmsh")
def test_a_model_that_cannot_be_built_is_refused(model: Callable[[], None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        model()
    assert gmsh.model.getEntities() == []
    assert gmsh.model.occ.getEntities() == []


def test_a_body_that_gmsh_cannot_mesh_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch, empty_gmsh: None
) -> None:
    def fail(dim: int) -> None:
        raise Exception("overlapping facets")

    monkeypatch.setattr(gmsh.model.mesh, "generate", fail)
    with pytest.raises(ValueError, match=r"size = 9: overlapping facets\. Give a smaller size"):
        generate(9.0)


def test_the_load_of_the_endurance_test_is_seen_at_its_angles() -> None:
    x, y, z = iso_7206_4(2300)
    assert np.hypot(np.hypot(x, y), z) == pytest.approx(2300)
    assert np.degrees(np.arctan2(-x, -z)) == pytest.approx(10)
    assert np.degrees(np.arctan2(-y, -z)) == pytest.approx(9)
    assert z < 0
