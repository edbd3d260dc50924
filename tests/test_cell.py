"""Periodic cells: exact volumes and dofs, nothing to be seen at the seam, errors in words."""

from functools import partial
from itertools import pairwise
from math import pi, prod

import gmsh
import numpy as np
import pytest
import pyvista
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from toolkit import Density, Domain, InputError, meshfile, perimeter
from toolkit.cell import Cell
from toolkit.export import write_vtkhdf

COMM = MPI.COMM_WORLD
BOXES = {
    "triangle": ((2.0, 0.7), (3, 5)),
    "quadrilateral": ((0.3, 1.1), (5, 4)),
    "tetrahedron": ((2.0, 1.0, 0.5), (3, 4, 3)),
    "hexahedron": ((0.7, 1.3, 2.0), (4, 3, 5)),
}
PIECES = {"triangle": 2, "quadrilateral": 1, "tetrahedron": 6, "hexahedron": 1}
pytestmark = pytest.mark.parallel


@pytest.fixture(params=BOXES)
def cell(request):
    return Cell.box(*BOXES[request.param], shape=request.param)


def dofs(domain: Domain, degree: int) -> int:
    space = fem.functionspace(domain.mesh, ("Lagrange", degree))
    return space.dofmap.index_map.size_global


def exterior(domain: Domain) -> int:
    """Number of boundary facets of all ranks."""
    return domain.comm.allreduce(len(mesh.exterior_facet_indices(domain.mesh.topology)))


def measure(domain: Domain, dx) -> float:
    return domain.integrate(fem.Constant(domain.mesh, 1.0) * dx)


def centres(domain: Domain) -> np.ndarray:
    """Midpoints in mesh-file order, on every rank."""
    every = np.arange(len(domain.cells), dtype=np.int32)
    points = mesh.compute_midpoints(domain.mesh, domain.dimension, every)
    return np.stack([domain.gather_cells(points[:, i]) for i in range(domain.dimension)], axis=1)


def filtered(design: Density) -> np.ndarray:
    domain = design.domain
    return domain.gather_cells(design.filtered.x.array[domain.cell_dofs[: len(domain.cells)]])


# ---- boxes --------------------------------------------------------------------------------------


@pytest.mark.short
def test_volume_dofs_and_seam_of_a_box(cell):
    """n^d vertices and (2n)^d nodes of degree 2: on quadratic ones each edge, face and cell."""
    lengths, n = BOXES[cell.mesh.topology.cell_name()]
    assert cell.num_cells == prod(n) * PIECES[cell.mesh.topology.cell_name()]
    assert cell.volume == pytest.approx(prod(lengths), rel=1e-14)
    assert cell.meshed == pytest.approx(cell.volume, rel=1e-12)
    assert measure(cell, cell.dx) == pytest.approx(cell.volume, rel=1e-12)
    assert dofs(cell, 1) == prod(n)
    assert dofs(cell, 2) == prod(2 * each for each in n)
    assert exterior(cell) == 0


def test_both_faces_of_a_period_are_one_seam_inside(cell):
    d = cell.dimension
    for axis, letter in enumerate("xyz"[:d]):
        area = cell.volume / cell.lengths[axis]
        for side in ("min", "max"):
            assert measure(cell, cell.dS(letter + side)) == pytest.approx(area, rel=1e-12)
        assert measure(cell, cell.dS(letter + "min", letter + "max")) == pytest.approx(area)
        with pytest.raises(InputError, match=rf"{letter}min.*inside the domain: use dS"):
            cell.area(letter + "min")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", BOXES)
def test_an_axis_that_does_not_repeat_has_faces(shape, axis):
    lengths, n = BOXES[shape]
    periodic = [i != axis for i in range(len(lengths))]
    cell = Cell.box(lengths, n, shape=shape, periodic=periodic)
    letter, area = "xyz"[axis], prod(lengths) / lengths[axis]
    assert cell.periodic == tuple(periodic)
    assert cell.area(letter + "min") == pytest.approx(area, rel=1e-12)
    assert cell.area(letter + "max") == pytest.approx(area, rel=1e-12)
    assert measure(cell, cell.ds) == pytest.approx(2 * area, rel=1e-12)
    assert cell.meshed == pytest.approx(prod(lengths), rel=1e-12)
    nodes = [m + (i == axis) for i, m in enumerate(n)]
    assert dofs(cell, 1) == prod(nodes)
    assert dofs(cell, 2) == prod(2 * m + (i == axis) for i, m in enumerate(n))


def wave(x, lengths):
    phases = [2 * pi * x[i] / length + 0.3 * (i + 1) for i, length in enumerate(lengths)]
    return np.sin(phases[0]) * np.cos(phases[1]) + np.sin(phases[-1] + phases[0])


@pytest.mark.parametrize("degree", [1, 2])
def test_a_periodic_function_is_interpolated_as_on_a_box_with_faces(cell, degree):
    """The integrals of f and |∇f|² are those of the same grid with two faces a period."""
    shape = cell.mesh.topology.cell_name()
    lengths, n = BOXES[shape]
    periodic = [True] + [False] * (len(n) - 1)
    found = []
    for domain in (cell, Cell.box(lengths, n, shape=shape, periodic=periodic)):
        f = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", degree)))
        f.interpolate(lambda x: wave(x, lengths))
        integrands = f, f**4, ufl.inner(ufl.grad(f), ufl.grad(f))
        found.append([domain.integrate(each * domain.dx) for each in integrands])
        x = f.function_space.tabulate_dof_coordinates()
        assert f.x.array == pytest.approx(wave(x.T, lengths), abs=1e-12)
    assert found[0] == pytest.approx(found[1], rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("shape", BOXES)
def test_ravelled_voxels_are_in_mesh_file_order(shape):
    """Cells number (i n₂ + j) n₃ + k times the pieces of a voxel lie in voxel i, j, k."""
    lengths, n = BOXES[shape]
    cell = Cell.box(lengths, n, shape=shape)
    h = np.divide(lengths, n)
    corners = np.stack(np.unravel_index(np.arange(prod(n)), n), axis=1) * h
    inside = centres(cell) - np.repeat(corners, PIECES[shape], axis=0)
    assert (inside > 0.1 * h).all() and (inside < 0.9 * h).all()


@pytest.mark.short
def test_a_region_named_by_a_predicate_reaches_the_seam(cell):
    """Vertices at the seam lie on both sides of it."""
    L, d = cell.lengths, cell.dimension
    n = BOXES[cell.mesh.topology.cell_name()][1]
    at = L[0] / n[0]
    cell.name("first", d, lambda x: x[0] < at * (1 + 1e-9))
    cell.name("others", d, lambda x: x[0] > at * (1 - 1e-9))
    cell.name("corner", 0, lambda x: np.abs(x[:d]).max(axis=0) < 1e-9)
    assert measure(cell, cell.dx("first")) == pytest.approx(cell.volume / n[0], rel=1e-12)
    assert measure(cell, cell.dx("others")) == pytest.approx(cell.volume * (1 - 1 / n[0]))
    assert owned_points(cell, "corner") == 1


def test_a_wall_named_by_a_predicate_reaches_the_seam():
    cell = Cell.box((1.0, 2.0), (4, 4), periodic=(True, False))
    cell.name("half", 1, lambda x: (x[1] < 1e-9) & (x[0] < 0.5 + 1e-9))
    cell.name("rest", 1, lambda x: (x[1] < 1e-9) & (x[0] > 0.5 - 1e-9))
    assert [cell.area(name) for name in ("half", "rest")] == pytest.approx([0.5, 0.5], rel=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("shape", BOXES)
@pytest.mark.parametrize("axis", [0, -1])
def test_the_filter_commutes_with_shifts(shape, axis):
    lengths, n = BOXES[shape]
    cell = Cell.box(lengths, n, shape=shape)
    design = Density(cell, radius=1.1 * max(np.divide(lengths, n)), start=0.5)
    x = np.random.default_rng(0).random((*n, PIECES[shape]))
    axis %= len(n)
    found = []
    for each in (x, np.roll(x, 1, axis)):
        design.update(each.ravel())
        found.append(filtered(design).reshape(x.shape))
    assert np.ptp(found[0]) > 0.05
    assert found[1] == pytest.approx(np.roll(found[0], 1, axis), abs=1e-11)


@pytest.mark.parametrize("shape", ["triangle", "quadrilateral"])
def test_a_disc_across_the_seam_has_the_perimeter_of_one_inside(shape):
    n, r = 24, 0.3
    cell = Cell.box((1.0, 1.0), (n, n), shape=shape)
    design = Density(cell, radius=None, start=0.5)
    x = (np.arange(n) + 0.5) / n - 0.5
    disc = (x[:, None] ** 2 + x**2 < r**2).astype(float)
    found = []
    for shift in ((0, 0), (11, 0), (12, 7)):
        voxels = np.roll(disc, shift, (0, 1))
        design.update(np.repeat(voxels.ravel(), PIECES[shape]))
        found.append(perimeter(design).value)
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-12)
    if shape == "quadrilateral":
        assert found[0] == pytest.approx(2 * pi * r, rel=0.1)


def test_the_export_of_a_cell_has_its_volume(cell, tmp_path):
    folder = COMM.bcast(tmp_path)
    values = np.random.default_rng(1).random(cell.num_cells)
    path = write_vtkhdf(folder / "cell.vtkhdf", cell, {"density": values})
    middles = centres(cell)
    if COMM.rank == 0:
        drawn = pyvista.read(path)
        sizes = drawn.compute_cell_sizes()
        measure = "Volume" if cell.dimension == 3 else "Area"
        assert np.abs(sizes[measure]).sum() == pytest.approx(cell.volume, rel=1e-12)
        assert np.array_equal(drawn.cell_data["density"], values)
        d = cell.dimension
        assert drawn.bounds[1 : 2 * d : 2] == pytest.approx(cell.lengths)
        assert np.allclose(drawn.cell_centers().points[:, :d], middles, atol=1e-13)


@pytest.mark.short
def test_the_same_cell_alone_and_together():
    lengths, n = BOXES["tetrahedron"]
    ours, mine = (Cell.box(lengths, n, shape="tetrahedron", comm=c) for c in (COMM, MPI.COMM_SELF))
    assert centres(ours) == pytest.approx(centres(mine), abs=1e-14)
    assert ours.fingerprint == mine.fingerprint


# ---- gmsh ---------------------------------------------------------------------------------------


def periodic_faces(d: int) -> None:
    """Mesh the opposite faces of the unit box alike."""
    near = 1e-3
    for axis in range(d):
        sides = []
        for end in (0.0, 1.0):
            low, high = np.full(3, -near), np.full(3, 1 + near)
            low[axis], high[axis] = end - near, end + near
            found = gmsh.model.getEntitiesInBoundingBox(*low, *high, d - 1)
            sides.append([tag for _, tag in found])
        shift = np.eye(4)
        shift[axis, 3] = 1.0
        gmsh.model.mesh.setPeriodic(d - 1, sides[1], sides[0], shift.ravel().tolist())


def ball(*, radius: float, size: float, order: int = 1, filled: bool = True) -> None:
    """A ball in the unit cube (a disc in the square if the radius is negative)."""
    occ, r = gmsh.model.occ, abs(radius)
    if radius > 0:
        d, body = 3, (3, occ.addBox(0, 0, 0, 1, 1, 1))
        core = (3, occ.addSphere(0.5, 0.5, 0.5, r))
    else:
        d, body = 2, (2, occ.addRectangle(0, 0, 0, 1, 1))
        core = (2, occ.addDisk(0.5, 0.5, 0, r, r))
    _, (_, inner) = occ.fragment([body], [core])
    occ.synchronize()
    matrix = [tag for _, tag in gmsh.model.getEntities(d) if (d, tag) not in inner]
    core_tags = [tag for _, tag in inner]
    interface = [t for _, t in gmsh.model.getBoundary(inner, oriented=False)]
    if not filled:
        gmsh.model.removeEntities(inner)
    periodic_faces(d)
    gmsh.model.addPhysicalGroup(d, matrix, name="matrix")
    if filled:
        gmsh.model.addPhysicalGroup(d, core_tags, name="core")
    gmsh.model.addPhysicalGroup(d - 1, interface, name="interface")
    gmsh.option.setNumber("Mesh.MeshSizeMax", size)
    gmsh.model.mesh.generate(d)
    gmsh.model.mesh.setOrder(order)


def tower(*, length: float, layers: int, radius: float = 0.25) -> None:
    """A round column along z, alone, quadratic."""
    occ = gmsh.model.occ
    disc = occ.addDisk(0, 0, 0, radius, radius)
    body = occ.extrude([(2, disc)], 0, 0, length, numElements=[layers])
    occ.synchronize()
    wall = [tag for dim, tag in body[2:] if dim == 2]
    gmsh.model.addPhysicalGroup(3, [body[1][1]], name="fluid")
    gmsh.model.addPhysicalGroup(2, wall, name="wall")
    gmsh.option.setNumber("Mesh.MeshSizeMax", radius / 2)
    gmsh.model.mesh.generate(3)
    gmsh.model.mesh.setOrder(2)


@pytest.mark.parametrize("radius", [0.3, -0.3])
@pytest.mark.parametrize("order", [1, 2])
def test_a_gmsh_cell_with_named_phases(radius, order):
    d = 3 if radius > 0 else 2
    build = partial(ball, radius=radius, size=0.2, order=order)
    cell, domain = Cell.build(build), Domain.build(build)
    core = 4 / 3 * pi * 0.3**3 if d == 3 else pi * 0.3**2
    surface = 4 * pi * 0.3**2 if d == 3 else 2 * pi * 0.3
    close = {1: 0.2, 2: 0.005}[order]  # straight chords, or parabolas through three points
    assert cell.volume == pytest.approx(1, rel=1e-12)
    assert cell.meshed == pytest.approx(domain.volume, rel=1e-12)
    assert exterior(cell) == 0
    parts = [measure(cell, cell.dx(name)) for name in ("matrix", "core")]
    assert parts == pytest.approx([1 - core, core], rel=close)
    assert parts == pytest.approx([measure(domain, domain.dx(n)) for n in ("matrix", "core")])
    sides = [measure(each, each.dS("interface")) for each in (cell, domain)]
    assert sides[0] == pytest.approx(sides[1], rel=1e-12)
    assert sides[0] == pytest.approx(surface, rel=close)
    f = fem.Function(fem.functionspace(cell.mesh, ("Lagrange", 2)))
    f.interpolate(lambda x: wave(x, (1.0,) * d))
    assert cell.integrate(f * cell.dx) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("radius", [0.3, -0.3])
def test_the_phase_around_a_hole(radius):
    """A hole is what is not meshed: the volume is the period's, the hole's surface a boundary."""
    d = 3 if radius > 0 else 2
    cell = Cell.build(partial(ball, radius=radius, size=0.2, order=2, filled=False))
    core = 4 / 3 * pi * 0.3**3 if d == 3 else pi * 0.3**2
    assert cell.volume == pytest.approx(1, rel=1e-12)
    assert cell.meshed == pytest.approx(1 - core, rel=0.002)
    assert cell.area("interface") == pytest.approx(measure(cell, cell.ds), rel=1e-12)


@pytest.mark.short
def test_a_phase_smaller_than_its_period():
    """A column that does not reach the faces across x and y, quadratic, of given periods."""
    build = partial(tower, length=0.5, layers=3)
    cell = Cell.build(build, lengths=(1.0, 2.0, 0.5))
    assert cell.volume == pytest.approx(1.0, rel=1e-12)
    assert cell.meshed == pytest.approx(pi * 0.25**2 * 0.5, rel=1e-3)
    assert measure(cell, cell.ds) == pytest.approx(cell.area("wall"), rel=1e-12)
    assert cell.area("wall") == pytest.approx(2 * pi * 0.25 * 0.5, rel=1e-3)


def test_a_file_is_read_as_the_model_is_built(tmp_path):
    path = COMM.bcast(tmp_path) / "cell.msh"
    build = partial(ball, radius=-0.3, size=0.2)
    if COMM.rank == 0:
        gmsh.initialize(interruptible=False)
        gmsh.option.setNumber("General.Terminal", 0)
        build()
        gmsh.write(str(path))
        gmsh.finalize()
    COMM.barrier()
    read, built = Cell.read(path), Cell.build(build)
    assert centres(read) == pytest.approx(centres(built), abs=1e-12)
    assert read.lengths == pytest.approx([1, 1])


@pytest.mark.short
@pytest.mark.parametrize("radius", [0.3, -0.3])
def test_a_converted_file_is_paired_in_slices(radius, tmp_path):
    """The same numbers of nodes, hence the same names and positions, from .msh and from .h5."""
    path = COMM.bcast(tmp_path) / "cell.h5"
    build = partial(ball, radius=radius, size=0.2, order=2)
    if COMM.rank == 0:
        meshfile.write_h5(meshfile.build(lambda _: build(), source="ball"), path)
    COMM.barrier()
    read, alone = (Cell.read(path, comm=c) for c in (COMM, MPI.COMM_SELF))
    assert read.fingerprint == alone.fingerprint
    assert centres(read) == pytest.approx(centres(alone), abs=1e-13)
    assert dofs(read, 2) == dofs(alone, 2)
    assert exterior(read) == 0
    for name in alone.names(read.dimension - 1):
        there, here = (measure(each, each.dS(name)) for each in (read, alone))
        assert there == pytest.approx(here, rel=1e-12)


def fine_strip() -> None:
    """A unit square, two opposite sides of which carry 400 nodes."""
    heights = tuple(i / 399 for i in range(400))
    strip(left=heights, right=heights)


def test_many_nodes_on_a_seam_find_their_images():
    cell = Cell.build(fine_strip, periodic=(True, False))
    assert exterior(cell) == 2 * 4
    assert cell.meshed == pytest.approx(1, rel=1e-12)


# ---- anchors ------------------------------------------------------------------------------------


def pillars(*, cells: int = 3) -> None:
    """Three bars along z: two of them are one across the seam of x, one is alone."""
    geo = gmsh.model.geo
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        p = [geo.addPoint(x, y, 0) for x, y in ((low, 0), (high, 0), (high, 0.2), (low, 0.2))]
        lines = [geo.addLine(p[i], p[(i + 1) % 4]) for i in range(4)]
        for line in lines:
            geo.mesh.setTransfiniteCurve(line, 2)
        face = geo.addPlaneSurface([geo.addCurveLoop(lines)])
        geo.mesh.setTransfiniteSurface(face)
        geo.mesh.setRecombine(2, face)
        geo.extrude([(2, face)], 0, 0, 1, numElements=[cells], recombine=True)
    geo.synchronize()
    gmsh.model.addPhysicalGroup(3, [tag for _, tag in gmsh.model.getEntities(3)], name="bars")
    gmsh.model.mesh.generate(3)


def owned_points(cell: Cell, name: str) -> int:
    """Number of the named vertices of all ranks."""
    return len(numbers(cell, name))


def numbers(cell: Cell, name: str) -> list[int]:
    """The file's numbers of the named vertices, of all ranks."""
    points = cell.entities(0, name)
    points = points[points < cell.mesh.topology.index_map(0).size_local]
    nodes = mesh.entities_to_geometry(cell.mesh, 0, points)[:, 0]
    local = cell.mesh.geometry.input_global_indices[nodes]
    return sorted(int(i) for part in cell.comm.allgather(local) for i in part)


@pytest.mark.short
@pytest.mark.parametrize("comm", [COMM, MPI.COMM_SELF], ids=["together", "alone"])
def test_one_anchor_for_each_connected_part(comm):
    """Bars at 0…0.2 and 0.8…1 are one part where x repeats, and two where it does not."""
    cell = Cell.build(pillars, lengths=(1.0, 1.0, 1.0), comm=comm)
    apart = Cell.build(pillars, lengths=(1, 1, 1), periodic=(False, True, True), comm=comm)
    assert owned_points(cell, cell.anchors) == 2
    assert owned_points(apart, apart.anchors) == 3
    assert len(cell.entities(0, cell.anchors)) <= 2


@pytest.mark.short
def test_the_anchors_are_the_same_vertices_on_any_number_of_ranks():
    found = []
    for c in (COMM, MPI.COMM_SELF):
        cells = [
            Cell.build(pillars, lengths=(1.0, 1.0, 1.0), comm=c),
            Cell.box((1.0, 1.0), (5, 4), shape="triangle", comm=c),
            Cell.build(partial(tower, length=0.5, layers=3), lengths=(1, 1, 0.5), comm=c),
        ]
        found.append([numbers(each, each.anchors) for each in cells])
    assert found[0] == found[1]
    assert [len(each) for each in found[0]] == [2, 1, 1]


# ---- errors -------------------------------------------------------------------------------------


def strip(*, left: tuple[float, ...], right: tuple[float, ...]) -> None:
    """A unit square whose left and right sides have nodes at the given heights."""
    geo = gmsh.model.geo
    a = [geo.addPoint(0, y, 0, 0.3) for y in left]
    b = [geo.addPoint(1, y, 0, 0.3) for y in right]
    up = [geo.addLine(*ends) for ends in pairwise(b)]
    down = [geo.addLine(*ends) for ends in pairwise(reversed(a))]
    ends = [geo.addLine(a[0], b[0]), geo.addLine(b[-1], a[-1])]
    for line in up + down:
        geo.mesh.setTransfiniteCurve(line, 2)
    for line in ends:
        geo.mesh.setTransfiniteCurve(line, 5)
    loop = geo.addCurveLoop([ends[0], *up, ends[1], *down])
    face = geo.addPlaneSurface([loop])
    geo.synchronize()
    gmsh.model.addPhysicalGroup(2, [face], name="square")
    gmsh.model.mesh.generate(2)


EVEN = (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.short
def test_faces_that_do_not_match_are_named_with_the_mismatch():
    """0.1 between 0.5 and the nearer of 0.3 and 0.6."""
    build = partial(strip, left=EVEN, right=(0, 0.3, 0.6, 0.8, 1))
    with pytest.raises(InputError, match=r"xmin and xmax of .*strip.* 5 and 5 .* 0\.1\. Mesh"):
        Cell.build(build)
    with pytest.raises(InputError, match=r"xmin and xmax .* 5 and 6 nodes.* 0\.125"):
        Cell.build(partial(strip, left=EVEN, right=(0, 0.25, 0.375, 0.5, 0.75, 1)))


@pytest.mark.short
def test_faces_that_match_or_do_not_repeat_are_taken():
    assert Cell.build(partial(strip, left=EVEN, right=EVEN)).meshed == pytest.approx(1)
    odd = partial(strip, left=EVEN, right=(0, 0.3, 0.6, 0.8, 1))
    cell = Cell.build(odd, periodic=(False, True))
    assert measure(cell, cell.ds) == pytest.approx(2, rel=1e-12)
    wide = Cell.build(odd, lengths=(1.5, 1.0))
    assert wide.volume == 1.5 and measure(wide, wide.ds) == pytest.approx(2, rel=1e-12)


def test_lengths_smaller_than_the_mesh():
    build = partial(strip, left=EVEN, right=EVEN)
    with pytest.raises(InputError, match=r"strip.*extends over \[1\.0, 1\.0\].*\[1\.0, 0\.9\]"):
        Cell.build(build, lengths=(1.0, 0.9))
    with pytest.raises(InputError, match=r"lengths = \(1\.0,\) must be 2 positive"):
        Cell.build(build, lengths=(1.0,))


@pytest.mark.parametrize("shape", BOXES)
def test_fewer_than_three_cells(shape):
    lengths, n = BOXES[shape]
    with pytest.raises(InputError, match=r"2 cells along y.* at least three"):
        Cell.box(lengths, (n[0], 2, *n[2:]), shape=shape)
    walls = [True, False, True][: len(n)]
    assert Cell.box(lengths, (n[0], 1, *n[2:]), shape=shape, periodic=walls).meshed == (
        pytest.approx(prod(lengths), rel=1e-12)
    )


def test_a_gmsh_mesh_of_two_cells_a_period():
    with pytest.raises(InputError, match=r"strip.* long along ., whose period is 1: .*three"):
        Cell.build(partial(strip, left=(0, 0.5, 1), right=(0, 0.5, 1)))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (((1.0,), (3,)), {}, "two or three entries"),
        (((1.0, 1.0), (3, 3, 3)), {}, "two or three entries"),
        (((1.0, -1.0), (3, 3)), {}, "must be positive"),
        (((1.0, float("nan")), (3, 3)), {}, "must be positive"),
        (((1.0, 1.0), (3, 3)), {"shape": "hexahedron"}, "'hexahedron' is none of quadrilateral"),
        (((1.0, 1.0), (3, 3)), {"periodic": (False, False)}, "whether it repeats"),
        (((1.0, 1.0), (3, 3)), {"periodic": (True,)}, "whether it repeats"),
    ],
)
def test_boxes_that_cannot_be(arguments, options, words):
    with pytest.raises(InputError, match=words):
        Cell.box(*arguments, **options)
