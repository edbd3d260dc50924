"""The classical cells: exact measures, matching faces, names, refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import pi, sqrt

import basix
import numpy as np
import pytest

from toolkit import meshfile
from toolkit.geometry.classic_cells import hole_cell, laminate_cell, sphere_cell
from toolkit.meshfile import MeshArrays

ROUND = {  # geometry, periods, number of inclusions in a period
    "square": (partial(hole_cell, radius=0.3), (1, 1), 1),
    "oblong": (partial(hole_cell, radius=0.4, lengths=(1, 1.5)), (1, 1.5), 1),
    "hexagonal": (partial(hole_cell, radius=0.3, arrangement="hexagonal"), (1, sqrt(3)), 2),
    "sc": (partial(sphere_cell, radius=0.4), (1, 1, 1), 1),
    "bcc": (partial(sphere_cell, radius=0.35, arrangement="bcc"), (1, 1, 1), 2),
    "fcc": (partial(sphere_cell, radius=0.6, length=2, arrangement="fcc"), (2, 2, 2), 4),
}
each = pytest.mark.parametrize("name", ROUND)


def build(geometry: Callable[[], None]) -> MeshArrays:
    return meshfile.build(lambda _: geometry(), source="cell")


def measure(mesh: MeshArrays, name: str) -> float:
    """Length, area or volume of a named part, of straight or quadratic simplices."""
    (key,) = [key for key in mesh.named if key[1] == name]
    shape = ("interval", "triangle", "tetrahedron")[key[0] - 1]
    cell, degree = getattr(basix.CellType, shape), mesh.cell[1]
    points, weights = basix.make_quadrature(cell, 6)
    element = basix.create_element(
        basix.ElementFamily.P, cell, degree, lagrange_variant=basix.LagrangeVariant.equispaced
    )
    slopes = element.tabulate(1, points)[1:, :, :, 0]
    J = np.einsum("aqn,cni->cqia", slopes, mesh.points[mesh.named[key]])
    gram = np.swapaxes(J, 2, 3) @ J
    return float((np.sqrt(np.linalg.det(gram)) @ weights).sum())


def inclusions(name: str, count: int, radius: float) -> tuple[float, float]:
    """Measure of the inclusions and of their surface."""
    if name in ("sc", "bcc", "fcc"):
        return count * 4 / 3 * pi * radius**3, count * 4 * pi * radius**2
    return count * pi * radius**2, count * 2 * pi * radius


@each
@pytest.mark.parametrize("order", [1, 2])
def test_phases_fill_the_box_and_have_their_measures(name, order):
    geometry, lengths, count = ROUND[name]
    size = geometry.keywords["radius"] / 3
    mesh = build(partial(geometry, size=size, order=order))
    assert mesh.cell[1] == order
    solid, surface = inclusions(name, count, geometry.keywords["radius"])
    share = 1 / 3**2 if order == 1 else 0.3 / 3**4  # of (size / R)^2 and (size / R)^4
    assert measure(mesh, "matrix") + measure(mesh, "inclusion") == pytest.approx(
        np.prod(lengths), rel=1e-12
    )
    assert measure(mesh, "inclusion") == pytest.approx(solid, rel=share)
    assert measure(mesh, "interface") == pytest.approx(surface, rel=share)


@each
@pytest.mark.parametrize("phase", ["matrix", "inclusion"])
def test_one_phase_alone(name, phase):
    geometry, lengths, count = ROUND[name]
    mesh = build(partial(geometry, size=geometry.keywords["radius"] / 3, phase=phase))
    solid, _ = inclusions(name, count, geometry.keywords["radius"])
    exact = solid if phase == "inclusion" else np.prod(lengths) - solid
    assert {key for dim, key in mesh.named if dim == len(lengths)} == {phase}
    assert measure(mesh, phase) == pytest.approx(exact, rel=5e-3)
    assert len(np.unique(mesh.cells)) == len(mesh.points)
    _assert_periodic(mesh, lengths)


@each
def test_opposite_faces_match(name):
    geometry, lengths, _ = ROUND[name]
    mesh = build(partial(geometry, size=geometry.keywords["radius"] / 2))
    _assert_periodic(mesh, lengths)
    for axis, letter in enumerate("xyz"[: len(lengths)]):
        face = np.prod(np.delete(lengths, axis))
        for end in ("min", "max"):
            assert measure(mesh, letter + end) == pytest.approx(face, rel=1e-12)


def _assert_periodic(mesh: MeshArrays, lengths: tuple[float, ...]) -> None:
    """Every node of a face of the box has one on the opposite face, to 1e-9."""
    for axis, L in enumerate(lengths):
        low, high = (
            np.delete(mesh.points[np.abs(mesh.points[:, axis] - at) < 1e-9], axis, axis=1)
            for at in (0, L)
        )
        assert len(low) == len(high)
        if len(low):
            gaps = np.linalg.norm(low[:, None] - high[None], axis=2)
            assert gaps.min(axis=0).max() < 1e-9
            assert gaps.min(axis=1).max() < 1e-9


@pytest.mark.parametrize("dimension", [2, 3])
def test_laminates_have_their_layers_in_order(dimension):
    lengths = (2.0, 1.0, 0.9)[:dimension]
    fractions = [0.3, 0.5, 0.2]
    mesh = build(
        partial(laminate_cell, fractions=fractions, size=0.3, dimension=dimension, lengths=lengths)
    )
    _assert_periodic(mesh, lengths)
    for k, (start, share) in enumerate(zip((0, 0.6, 1.6), fractions, strict=True)):
        x = mesh.points[mesh.named[dimension, f"layer{k + 1}"]][..., 0]
        assert [x.min(), x.max()] == pytest.approx([start, start + 2 * share])
        assert measure(mesh, f"layer{k + 1}") == pytest.approx(share * np.prod(lengths))
    assert measure(mesh, "interface") == pytest.approx(2 * np.prod(lengths[1:]))


def test_a_single_layer_has_no_interface():
    mesh = build(partial(laminate_cell, fractions=[1], size=0.3))
    assert measure(mesh, "layer1") == pytest.approx(1)
    assert (2, "interface") not in mesh.named


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (partial(hole_cell, radius=0.5, size=0.1), ["radius = 0.5", "touch", "radius < 0.5"]),
        (
            partial(hole_cell, radius=0.5, size=0.1, arrangement="hexagonal"),
            ["radius = 0.5", "radius < 0.5"],
        ),
        (partial(sphere_cell, radius=0.44, size=0.1, arrangement="bcc"), ["radius < 0.433"]),
        (partial(sphere_cell, radius=0.36, size=0.1, arrangement="fcc"), ["radius < 0.3535"]),
        (partial(sphere_cell, radius=-1, size=0.1), ["radius = -1"]),
        (partial(sphere_cell, radius=0.4, size=0.5), ["size = 0.5", "period along x"]),
        (partial(sphere_cell, radius=0.1, size=0.2), ["size = 0.2", "radius = 0.1"]),
        (partial(sphere_cell, radius=0.3, size=0.1, arrangement="hcp"), ["'hcp'", "'fcc'"]),
        (partial(hole_cell, radius=0.3, size=0.1, arrangement="sc"), ["'sc'", "'hexagonal'"]),
        (partial(hole_cell, radius=0.3, size=0.1, phase="solid"), ["'solid'", "'matrix'"]),
        (partial(hole_cell, radius=0.3, size=0.1, order=3), ["order = 3"]),
        (partial(sphere_cell, radius=0.499, size=0.2), ["size = 0.2", "inside out", "gap"]),
        (partial(laminate_cell, fractions=[0.5, 0.4], size=0.1), ["[0.5, 0.4]", "add up to 1"]),
        (partial(laminate_cell, fractions=[1.5, -0.5], size=0.1), ["positive"]),
        (partial(laminate_cell, fractions=[], size=0.1), ["fractions = []"]),
        (partial(laminate_cell, fractions=[1], size=0.1, dimension=4), ["dimension = 4"]),
        (partial(laminate_cell, fractions=[1], size=0.1, lengths=(1, 1)), ["(1, 1)"]),
        (partial(laminate_cell, fractions=[1], size=0.4), ["size = 0.4"]),
    ],
)
def test_what_cannot_be_built_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        build(call)
    assert all(word in str(error.value) for word in words)
