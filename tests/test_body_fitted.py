"""Body-fitted meshes: what they fill, that they conform on the torus, their angles, their names.

Volumes and areas are compared with closed forms: spheres, circles, slabs, and the surfaces of
Schwarz, whose two sides are congruent. Conformity is counted on the torus, where no facet is left
over.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial, pi

import numpy as np
import pytest

from toolkit import meshfile
from toolkit.geometry.body_fitted import body_fitted
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.stuffing import SimplexMesh, facets, lattice_cells, stuff

τ = 2 * np.pi


def ball(radius: float, *, centre: float, lengths: tuple[float, ...]) -> Implicit:
    """A ball or disc about (centre, centre, …) in shares of the period, with its images."""
    L = np.array(lengths)[:, None]

    def level(x):
        y = x / L - centre
        return radius - np.linalg.norm((y - np.round(y)) * L, axis=0)

    return Implicit("ball", lengths, level)


def schwarz_p(offset: float = 0.0, *, wall: float = 0.0) -> Implicit:
    """The network of Schwarz P, or a sheet about its surface."""

    def level(x):
        f = np.cos(τ * x).sum(axis=0) - offset
        return wall - np.abs(f) if wall else f

    return Implicit("Schwarz P", (1.0, 1.0, 1.0), level)


def waves(seed: int, *, lengths: tuple[float, ...], highest: int = 2) -> Implicit:
    """A random field: a sum of plane waves, which touches the faces of the box at any angle."""
    rng = np.random.default_rng(seed)
    k = rng.integers(-highest, highest + 1, (20, len(lengths)))
    a, φ = rng.normal(size=20), rng.uniform(0, τ, 20)
    L = np.array(lengths)[:, None]
    return Implicit("waves", lengths, lambda x: a @ np.cos(τ * k @ (x / L) + φ[:, None]))


gyroid = Implicit(
    "gyroid",
    (1.0, 1.0, 1.0),
    lambda x: (np.sin(τ * x) * np.cos(τ * np.roll(x, -1, axis=0))).sum(axis=0) - 0.3,
)
diamond = Implicit(
    "diamond",
    (1.0, 1.0, 1.0),
    lambda x: np.cos(τ * x).prod(axis=0) - np.sin(τ * x).prod(axis=0),
)


def channels(x):
    """Round channels along z, in hexagonal array: some simplices are moved flat onto them."""
    L = np.array([1.0, 3**0.5])[:, None]
    shifted = (x[:2] - c * L for c in (0.25, 0.75))
    return np.min([np.linalg.norm(y - np.round(y / L) * L, axis=0) for y in shifted], 0) - 0.37126


BODIES = {
    "channels": (Implicit("channels", (1.0, 3**0.5, 1.0), channels), 12),
    "P": (schwarz_p(), 12),
    "P, sheet": (schwarz_p(wall=0.6), 11),
    "gyroid": (gyroid, 11),
    "diamond": (diamond, 11),
    "ball": (ball(0.3, centre=0.41, lengths=(1.0, 1.0, 1.0)), 9),
    "balls in a long box": (ball(0.45, centre=0.0, lengths=(1.0, 2.1, 1.3)), 8),
    "waves": (waves(1, lengths=(1.0, 1.0, 1.0)), 10),
    "more waves": (waves(2, lengths=(1.0, 1.2, 2.0), highest=3), 8),
    "noise": (waves(3, lengths=(1.0, 1.0, 1.0), highest=30), 7),
    "disc": (ball(0.3, centre=0.4, lengths=(1.0, 1.0)), 12),
    "plane waves": (waves(4, lengths=(1.0, 1.7), highest=3), 20),
    "plane noise": (waves(5, lengths=(1.0, 1.0), highest=30), 20),
}
each = pytest.mark.parametrize("name", BODIES)


def volumes(mesh: SimplexMesh) -> np.ndarray:
    corners = mesh.points[mesh.cells]
    return np.linalg.det(corners[:, 1:] - corners[:, :1]) / factorial(mesh.points.shape[1])


def gradients(mesh: SimplexMesh) -> np.ndarray:
    """Gradients of the barycentric coordinates, (cells, d + 1, d)."""
    corners = mesh.points[mesh.cells]
    λ = np.swapaxes(np.linalg.inv(corners[:, 1:] - corners[:, :1]), 1, 2)
    return np.concatenate([-λ.sum(axis=1, keepdims=True), λ], axis=1)


def dihedral_angles(mesh: SimplexMesh) -> np.ndarray:
    """Angles between the facets, in degrees."""
    normals = gradients(mesh)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    pairs = combinations(range(normals.shape[1]), 2)
    cosines = [-(normals[:, i] * normals[:, j]).sum(axis=1) for i, j in pairs]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def areas(mesh: SimplexMesh) -> np.ndarray:
    """Areas of the interface's triangles."""
    a, b, c = np.moveaxis(mesh.points[mesh.interface], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


@pytest.fixture(scope="module")
def meshes() -> dict[str, SimplexMesh]:
    return {name: stuff(body, resolution) for name, (body, resolution) in BODIES.items()}


@each
def test_both_phases_fill_the_box(name, meshes):
    mesh, volume = meshes[name], np.prod(BODIES[name][0].lengths)
    assert volumes(mesh).min() > 0
    assert volumes(mesh).sum() == pytest.approx(volume, rel=1e-12)
    assert 0 < volumes(mesh)[mesh.solid].sum() < volume


@each
def test_there_is_no_sliver(name, meshes):
    """Dihedral angles, and d r/R: 1 for the regular simplex, 0 for a flat one."""
    mesh = meshes[name]
    d = mesh.points.shape[1]
    assert dihedral_angles(mesh).min() > 5
    corners = mesh.points[mesh.cells]
    edges = corners[:, 1:] - corners[:, :1]
    centre = np.linalg.solve(edges, (edges**2).sum(axis=2, keepdims=True) / 2)[..., 0]
    inradius = 1 / np.linalg.norm(gradients(mesh), axis=2).sum(axis=1)
    assert (d * inradius / np.linalg.norm(centre, axis=1)).min() > 0.08


@each
def test_each_facet_joins_two_cells_on_the_torus(name, meshes):
    mesh = meshes[name]
    shared = np.unique(np.sort(mesh.image[facets(mesh.cells)]), axis=0, return_counts=True)[1]
    assert (shared == 2).all()
    inside = np.unique(np.sort(facets(mesh.cells)), axis=0, return_counts=True)[1]
    assert set(inside) == {1, 2}


@each
def test_images_are_whole_periods_apart(name, meshes):
    mesh, lengths = meshes[name], np.array(BODIES[name][0].lengths)
    assert (mesh.points.min(axis=0) == 0).all()
    assert (mesh.points.max(axis=0) == lengths).all()
    first = np.unique(mesh.image, return_index=True)[1]
    periods = (mesh.points - mesh.points[first][mesh.image]) / lengths
    assert np.abs(periods - np.round(periods)).max() < 1e-14
    for axis in range(len(lengths)):
        low, high = (mesh.image[mesh.points[:, axis] == end] for end in (0, lengths[axis]))
        assert len(low) > 3 ** (len(lengths) - 1)
        assert (np.sort(low) == np.sort(high)).all()


@each
def test_images_have_the_same_phases_about_them(name, meshes):
    """So that the mesh of one phase alone has matching faces."""
    mesh = meshes[name]
    for phase in (mesh.solid, ~mesh.solid):
        nodes = np.unique(mesh.cells[phase])
        images = np.isin(mesh.image, mesh.image[nodes])
        assert images.sum() == len(nodes)


@each
def test_the_interface_is_closed_and_bounds_the_solid(name, meshes):
    """The normals sum to zero, and Gauss: the flux of x out of the solid is d |solid|."""
    mesh = meshes[name]
    d = mesh.points.shape[1]
    sides = facets(mesh.cells[mesh.solid])
    sides = sides[_unpaired(sides)]
    on_box = ~np.isin(_keys(sides), _keys(mesh.interface))
    of_solid = np.isin(_keys(mesh.interface), _keys(sides))  # the rest lie across the period
    around = np.concatenate([mesh.interface[of_solid], sides[on_box]])
    corners = mesh.points[around]
    if d == 3:
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    else:
        tangents = corners[:, 1] - corners[:, 0]
        normals = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1)
    assert np.abs(normals.sum(axis=0)).max() < 1e-12
    flux = (normals * corners.mean(axis=1)).sum()
    assert flux == pytest.approx(d * volumes(mesh)[mesh.solid].sum(), rel=1e-12)


def _keys(sides: np.ndarray) -> np.ndarray:
    """One number for each set of nodes."""
    return np.sort(sides) @ 10 ** (6 * np.arange(sides.shape[1]))


def _unpaired(sides: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(np.sort(sides), axis=0, return_inverse=True, return_counts=True)
    return count[place] == 1


@pytest.mark.parametrize("name", ["P", "P, sheet", "ball", "balls in a long box", "disc"])
def test_the_interface_lies_on_the_surface(name, meshes):
    body, _ = BODIES[name]
    points = meshes[name].points[np.unique(meshes[name].interface)]
    assert np.abs(body.level(points.T)).max() < 1e-11


@pytest.mark.parametrize("name", ["gyroid", "waves", "more waves", "plane waves"])
def test_nodes_off_the_surface_lie_near_faces_of_the_box(name, meshes):
    """Cuts that are held at a distance belong to vertices on faces, so within a cell of them."""
    body, resolution = BODIES[name]
    points = meshes[name].points[np.unique(meshes[name].interface)]
    off = np.abs(body.level(points.T)) > 1e-9
    lengths = np.array(body.lengths)
    depth = np.minimum(points, lengths - points) / lengths * lattice_cells(body, resolution)
    assert (depth[off].min(axis=1) < 0.5).all()
    assert off.mean() < 0.1


@pytest.mark.parametrize(
    ("body", "exact", "coarse"),
    [
        (ball(0.3, centre=0.5, lengths=(1.0, 1.0, 1.0)), 4 / 3 * pi * 0.3**3, 8),
        (ball(0.36, centre=0.4, lengths=(1.0, 1.0)), pi * 0.36**2, 16),
        (ball(0.4, centre=0.0, lengths=(1.0, 1.5)), pi * 0.4**2, 16),
        (schwarz_p(), 0.5, 7),
    ],
)
def test_volumes_converge_at_second_order(body, exact, coarse):
    errors = []
    for resolution in (coarse, 2 * coarse, 4 * coarse):
        mesh = stuff(body, resolution)
        errors.append(abs(volumes(mesh)[mesh.solid].sum() - exact))
    assert np.log2(errors[0] / errors[2]) / 2 > 1.8
    assert errors[2] < 4e-3 * exact


def test_a_tangent_face_costs_no_order():
    """A ball 0.6 of a coarse cell inside the face x = 0: volumes still fall as h²."""
    exact = 4 / 3 * pi * 0.3**3
    errors = []
    for resolution in (8, 16, 32):
        mesh = stuff(ball(0.3, centre=0.31, lengths=(1.0, 1.0, 1.0)), resolution)
        errors.append(abs(volumes(mesh)[mesh.solid].sum() - exact))
        assert dihedral_angles(mesh).min() > 5
    assert np.log2(errors[0] / errors[2]) / 2 > 1.8


def test_the_area_of_a_sphere_converges():
    radius, errors = 0.3, []
    for resolution in (8, 16, 32):
        mesh = stuff(ball(radius, centre=0.5, lengths=(1.0, 1.0, 1.0)), resolution)
        errors.append(1 - areas(mesh).sum() / (4 * pi * radius**2))
    assert 0 < errors[2] < 5e-3
    assert np.log2(errors[0] / errors[2]) / 2 > 1.8


@pytest.mark.parametrize("wall", [0.3, 0.25])
def test_plane_walls_are_exact(wall):
    slab = Implicit("slab", (1.0, 1.0, 1.0), lambda x: wall - np.abs(x[0] - 0.5))
    mesh = stuff(slab, 8)
    assert volumes(mesh)[mesh.solid].sum() == pytest.approx(2 * wall, rel=1e-12)
    assert areas(mesh).sum() == pytest.approx(2, rel=1e-12)


def test_a_wall_in_a_face_of_the_box_is_there_once_for_each_end():
    """Solid where x < 1/2: one wall is at x = 1/2, the other at x = 0, which is x = 1."""
    half = Implicit("half", (1.0, 1.0, 1.0), lambda x: np.sin(τ * x[0]))
    mesh = stuff(half, 6)
    x = mesh.points[mesh.interface][:, :, 0]
    for wall in (0, 0.5, 1):
        assert areas(mesh)[(np.abs(x - wall) < 1e-12).all(axis=1)].sum() == pytest.approx(1)
    named = {
        phase: meshfile.build(
            lambda _, phase=phase: body_fitted(half, resolution=6, phase=phase), source="half"
        ).named
        for phase in ("solid", "both")
    }
    assert {(2, "xmin"), (2, "xmax")}.isdisjoint(named["solid"])
    assert {(2, "xmin"), (2, "xmax"), (2, "interface")} <= set(named["both"])


@pytest.mark.parametrize("phase", ["solid", "fluid", "both"])
@pytest.mark.parametrize("name", ["P", "disc", "plane waves", "waves"])
def test_the_gmsh_model_holds_the_named_parts(name, phase, meshes):
    body, resolution = BODIES[name]
    mesh = meshes[name]
    d = mesh.points.shape[1]
    arrays = meshfile.build(
        lambda _: body_fitted(body, resolution=resolution, phase=phase), source=name
    )
    wanted = {"solid": mesh.solid, "fluid": ~mesh.solid}
    regions = {region for region in wanted if phase in (region, "both")}
    assert {key for dim, key in arrays.named if dim == d} == regions
    for region in regions:
        cells = arrays.named[d, region]
        corners = arrays.points[cells]
        volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])).sum() / factorial(d)
        assert volume == pytest.approx(volumes(mesh)[wanted[region]].sum(), rel=1e-12)
    outer = facets(arrays.cells)
    faces = np.concatenate([nodes for (dim, _), nodes in arrays.named.items() if dim == d - 1])
    assert np.isin(_keys(outer[_unpaired(outer)]), _keys(faces)).all()
    assert len(arrays.named[d - 1, "interface"]) == len(mesh.interface)
    if (name, phase) == ("disc", "solid"):  # it reaches no face
        assert len(arrays.named) == 2
        return
    for axis, letter in enumerate("xyz"[:d]):
        low, high = (arrays.named[d - 1, letter + end] for end in ("min", "max"))
        for nodes, at in ((low, 0.0), (high, body.lengths[axis])):
            assert (arrays.points[nodes][..., axis] == at).all()
        assert len(low) == len(high) > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stuff(schwarz_p(), 2), ["resolution = 2", "at least 3"]),
        (lambda: stuff(schwarz_p(), 8.5), ["resolution = 8.5", "whole"]),
        (lambda: stuff(schwarz_p(), -4), ["resolution = -4"]),
        (lambda: stuff(schwarz_p(), (8, 8)), ["(8, 8)", "2 entries", "3 axes"]),
        (lambda: stuff(schwarz_p(), (8, 8, 2)), ["(8, 8, 2)", "at least 3"]),
        (lambda: stuff(schwarz_p(), (8, 8, 16)), ["2 times as long", "(16, 16, 16)"]),
        (lambda: stuff(waves(0, lengths=(1.0, 1.0)), "many"), ["resolution = many"]),
        (lambda: body_fitted(schwarz_p(), resolution=6, phase="matrix"), ["'matrix'", "'solid'"]),
        (
            lambda: body_fitted(schwarz_p(-4), resolution=6, phase="fluid"),
            ["Schwarz P has no fluid", "resolution = 6", "Refine"],
        ),
        (
            lambda: stuff(Implicit("gap", (1.0, 1.0), lambda x: np.log(x[0] - 0.5)), 6),
            ["gap", "not finite"],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_cannot_be_meshed_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)
