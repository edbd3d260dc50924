"""The gmsh models: names, exact measures, quality, determinism, the committed files, refusals.

Lengths, areas and volumes are compared with their closed forms; what a polygon falls short of a
curve by is of second order in the edge length, which one test measures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from math import pi
from pathlib import Path

import gmsh
import numpy as np
import pytest

from toolkit.geometry import beam, pipe, plate_with_hole, spinal_cage
from toolkit.geometry.__main__ import MESHES, write
from toolkit.geometry.spinal_cage import footprint

FOLDER = Path(__file__).parents[1] / "meshes"
NAMES = {
    "spinal_cage": {"cage": 3, "head": 2, "base": 2, "window": 2, "outside": 2},
    "plate_with_hole": {"plate": 2, "left": 1, "right": 1, "top": 1, "bottom": 1, "hole": 1},
    "pipe": {"fluid": 3, "inlet": 2, "outlet": 2, "wall": 2},
    "beam": {"beam": 3, "fixed": 2, "tip": 2, "edge": 1, "corner": 0},
}
FACETS = {
    "Hexahedron 8": ("0321", "4567", "0154", "1265", "2376", "3047"),
    "Tetrahedron 4": ("012", "013", "023", "123"),
    "Triangle 3": ("01", "12", "20"),
}
PLANES = {
    "spinal_cage": {"head": (2, 9.9), "base": (2, 0)},
    "plate_with_hole": {"left": (0, 0), "right": (0, 50), "bottom": (1, 0), "top": (1, 50)},
    "pipe": {"inlet": (0, 0), "outlet": (0, 20)},
    "beam": {"fixed": (0, 0), "tip": (0, 60), "edge": (2, 10)},
}
type Snapshot = tuple[dict[str, int], np.ndarray, np.ndarray]
each = pytest.mark.parametrize("name", MESHES)


@pytest.fixture(autouse=True)
def empty_gmsh() -> Iterator[None]:
    """A fresh, silent gmsh for every test, whatever the one before left."""
    _start()
    yield
    gmsh.finalize()


def _start() -> None:
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)


def _names() -> dict[str, int]:
    return {
        gmsh.model.getPhysicalName(*group): group[0] for group in gmsh.model.getPhysicalGroups()
    }


def _elements(dim: int, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Tags (n,), nodes (n, k) and gmsh's word for the elements of a physical group."""
    tags, nodes, kinds = [], [], set()
    for entity in gmsh.model.getEntitiesForPhysicalName(name):
        assert entity[0] == dim
        (kind,), (tag,), (node,) = gmsh.model.mesh.getElements(*entity)
        word, _, _, count, *_ = gmsh.model.mesh.getElementProperties(kind)
        tags.append(tag)
        nodes.append(node.reshape(-1, count))
        kinds.add(word)
    (word,) = kinds
    return np.concatenate(tags), np.concatenate(nodes), word


def _measure(dim: int, name: str) -> float:
    """Length, area or volume of a physical group."""
    if dim == 1:
        points = np.array([gmsh.model.mesh.getNode(n)[0] for n in _elements(1, name)[1].ravel()])
        return float(np.linalg.norm(points[1::2] - points[::2], axis=1).sum())
    return float(gmsh.model.mesh.getElementQualities(_elements(dim, name)[0], "volume").sum())


def _snapshot() -> Snapshot:
    """Names, coordinates by node tag and cell connectivity of what `gmsh.write` would save."""
    dim = gmsh.model.getDimension()
    tags, points, _ = gmsh.model.mesh.getNodes()
    (cells,) = gmsh.model.mesh.getElements(dim)[2]
    used = np.isin(tags, cells)
    order = np.argsort(tags[used])
    return _names(), points.reshape(-1, 3)[used][order], cells


def _assert_equal(first: Snapshot, second: Snapshot) -> None:
    assert first[0] == second[0]
    assert first[2].shape == second[2].shape, "another number of cells"
    assert np.array_equal(first[2], second[2])
    assert np.abs(first[1] - second[1]).max() < 1e-9


@each
def test_the_parts_have_their_names(name: str) -> None:
    assert MESHES[name]() is None
    assert _names() == NAMES[name]


@each
def test_the_plane_parts_lie_in_their_planes(name: str) -> None:
    MESHES[name]()
    for part, (axis, value) in PLANES[name].items():
        _, nodes, _ = _elements(NAMES[name][part], part)
        points = np.array([gmsh.model.mesh.getNode(n)[0] for n in np.unique(nodes)])
        assert points[:, axis] == pytest.approx(value, abs=1e-12)


@each
def test_the_named_facets_are_facets_of_cells_and_do_not_overlap(name: str) -> None:
    """Each named facet bounds one cell; of all models but the beam, together they are the rim."""
    MESHES[name]()
    dim = gmsh.model.getDimension()
    cell = next(n for n, d in NAMES[name].items() if d == dim)
    _, cells, word = _elements(dim, cell)
    count = Counter(
        tuple(facet)
        for columns in FACETS[word]
        for facet in np.sort(cells[:, [int(c) for c in columns]], axis=1).tolist()
    )
    rim = {facet for facet, cells_beside in count.items() if cells_beside == 1}
    named = [
        tuple(sorted(facet))
        for surface, d in NAMES[name].items()
        if d == dim - 1
        for facet in _elements(d, surface)[1].tolist()
    ]
    assert len(named) == len(set(named)) > 0
    assert set(named) < rim if name == "beam" else set(named) == rim


def test_spinal_cage_has_its_measures() -> None:
    MESHES["spinal_cage"]()
    area = footprint()
    outer, inner = _perimeter(19.05, 12.7), _perimeter(13.05, 6.7)
    assert _measure(3, "cage") == pytest.approx(9.9 * area, rel=1e-3)
    for plane in ("head", "base"):
        assert _measure(2, plane) == pytest.approx(area, rel=1e-3)
    assert _measure(2, "outside") == pytest.approx(9.9 * outer, rel=1e-3)
    assert _measure(2, "window") == pytest.approx(9.9 * inner, rel=1e-3)
    assert gmsh.model.getBoundingBox(-1, -1) == pytest.approx(
        (-19.05, -12.7, 0, 19.05, 12.7, 9.9), abs=1e-3
    )


def test_footprint_is_the_integral_over_the_ring() -> None:
    """The closed form against the shoelace formula on twenty thousand points of each contour."""
    for length, width, wall in ((36, 28, 6), (32, 25, 5), (40, 30, 9)):
        areas = []
        for inset in (0, wall):
            x, y = _contour(length / 2 - inset, width / 2 - inset)
            areas.append(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
        exact = footprint(length=length, width=width, wall=wall)
        assert exact == pytest.approx(areas[0] - areas[1], rel=1e-6)


def test_spinal_cage_volume_converges_at_second_order() -> None:
    errors = []
    for size in (1.5, 0.75):
        gmsh.clear()
        spinal_cage(size=size)
        errors.append(abs(_measure(3, "cage") / (9.9 * footprint()) - 1))
    assert errors[0] < 4e-3
    assert 1.7 < np.log2(errors[0] / errors[1]) < 2.3


def _contour(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed cage contour from its implicit equation, by the angle of the superellipse."""
    t = np.linspace(0, 2 * np.pi, 20001)
    power = np.where(np.sin(t) > 0, 2 / 2.2, 2 / 4)
    return (
        a * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power,
        b * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power,
    )


def _perimeter(a: float, b: float) -> float:
    return float(np.hypot(*np.diff(_contour(a, b))).sum())


def test_plate_with_hole_has_its_measures() -> None:
    MESHES["plate_with_hole"]()
    assert _measure(2, "plate") == pytest.approx(50 * 50 - pi * 25 / 4, rel=1e-3)
    assert _measure(1, "hole") == pytest.approx(pi * 5 / 2, rel=3e-3)
    for side, exact in (("left", 45), ("bottom", 45), ("right", 50), ("top", 50)):
        assert _measure(1, side) == pytest.approx(exact, rel=1e-12)


def test_pipe_has_its_measures() -> None:
    MESHES["pipe"]()
    assert _measure(3, "fluid") == pytest.approx(pi * 25 * 20, rel=1e-2)
    assert _measure(2, "wall") == pytest.approx(2 * pi * 5 * 20, rel=1e-2)
    for end in ("inlet", "outlet"):
        assert _measure(2, end) == pytest.approx(pi * 25, rel=1e-2)


def test_beam_has_its_measures() -> None:
    MESHES["beam"]()
    assert _measure(3, "beam") == pytest.approx(6000, rel=1e-12)
    assert _measure(2, "fixed") == pytest.approx(100, rel=1e-12)
    assert _measure(2, "tip") == pytest.approx(100, rel=1e-12)
    assert _measure(1, "edge") == pytest.approx(10, rel=1e-12)
    corner = gmsh.model.mesh.getNode(int(_elements(0, "corner")[1].item()))[0]
    assert corner == pytest.approx((60, 0, 10))


@pytest.mark.parametrize(
    ("name", "quality", "least"),
    [
        ("spinal_cage", "minSJ", 0.9),
        ("plate_with_hole", "gamma", 0.7),
        ("pipe", "gamma", 0.25),
        ("beam", "gamma", 0.25),
    ],
)
def test_no_cell_is_inverted_or_a_sliver(name: str, quality: str, least: float) -> None:
    """Scaled Jacobian of hexahedra, inscribed over circumscribed radius of simplices."""
    MESHES[name]()
    (cells,) = gmsh.model.mesh.getElements(gmsh.model.getDimension())[1]
    assert gmsh.model.mesh.getElementQualities(cells, "minDetJac").min() > 0
    assert gmsh.model.mesh.getElementQualities(cells, quality).min() > least


def test_spinal_cage_edges_have_the_asked_length() -> None:
    spinal_cage(size=0.8)
    (cells,) = gmsh.model.mesh.getElements(3)[1]
    assert 10_000 < len(cells) < 15_000
    assert gmsh.model.mesh.getElementQualities(cells, "minEdge").min() > 0.7 * 0.8
    assert gmsh.model.mesh.getElementQualities(cells, "maxEdge").max() < 1.3 * 0.8


@pytest.mark.parametrize(
    "model",
    [
        partial(spinal_cage, size=1.1, length=32, width=25, height=10, wall=4.5),
        partial(spinal_cage, size=2, length=20, width=30, height=5, wall=4),
    ],
)
def test_spinal_cage_of_another_size_is_as_good(model: partial[None]) -> None:
    model()
    (cells,) = gmsh.model.mesh.getElements(3)[1]
    assert gmsh.model.mesh.getElementQualities(cells, "minSJ").min() > 0.7
    given = {key: model.keywords[key] for key in ("length", "width", "wall")}
    exact = footprint(**given) * model.keywords["height"]
    assert _measure(3, "cage") == pytest.approx(exact, rel=1e-2)


@each
def test_two_builds_are_one_mesh(name: str) -> None:
    """In one gmsh session, where the second build finds the state that the first has left."""
    MESHES[name]()
    first = _snapshot()
    gmsh.clear()
    MESHES[name]()
    _assert_equal(first, _snapshot())


@each
def test_the_committed_mesh_is_what_the_call_makes(name: str, tmp_path: Path) -> None:
    """A failure asks for `python -m toolkit.geometry`, or for the gmsh of the constraints file."""
    path = FOLDER / f"{name}.msh"
    assert path.stat().st_size < 1_600_000
    gmsh.open(str(path))
    committed = _snapshot()
    gmsh.finalize()
    fresh = write(name, tmp_path)
    _start()
    gmsh.open(str(fresh))
    _assert_equal(committed, _snapshot())


@each
def test_the_folder_tells_of_the_mesh(name: str) -> None:
    """A row of meshes/README.md has the call, the number of cells and every name."""
    MESHES[name]()
    (cells,) = gmsh.model.mesh.getElements(gmsh.model.getDimension())[1]
    (row,) = re.findall(rf"^\| `{name}\.msh` .*$", (FOLDER / "README.md").read_text(), re.M)
    assert f"size={MESHES[name].keywords['size']:g}" in row
    assert f"{len(cells):,}".replace(",", " ") in row
    assert all(f"`{part}`" in row for part in NAMES[name])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (partial(spinal_cage, size=0), "size = 0 is no length. Give a positive finite size."),
        (partial(spinal_cage, size=float("nan")), "size = nan is no length"),
        (partial(spinal_cage, size=1, height=-3), "height = -3 is no length"),
        (partial(spinal_cage, size=1, length=float("inf")), "length = inf is no length"),
        (partial(spinal_cage, size=1, wall=13), "wall = 13 is so large .* Give wall < 12.7."),
        (partial(spinal_cage, size=3.1), "size = 3.1 .* across wall = 6. Give size <= 3,"),
        (
            partial(spinal_cage, size=1, wall=12.2),
            "size = 1 .* across window = 1. Give size <= 0.5",
        ),
        (partial(spinal_cage, size=2, height=3), "size = 2 .* across height = 3. Give size <= 1.5"),
        (partial(plate_with_hole, size=-1), "size = -1 is no length"),
        (partial(plate_with_hole, size=1, radius=50), "radius = 50 is so large .* radius < 50."),
        (partial(plate_with_hole, size=9, radius=40), "size = 9 .* across ligament = 10."),
        (partial(pipe, size=1, radius=0), "radius = 0 is no length"),
        (partial(pipe, size=3), "size = 3 .* across radius = 5. Give size <= 2.5"),
        (partial(beam, size=6), "size = 6 .* across width = 10. Give size <= 5"),
        (partial(beam, size=1, width=0), "width = 0 is no length"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(model: Callable[[], None], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        model()
    assert gmsh.model.getEntities() == []
