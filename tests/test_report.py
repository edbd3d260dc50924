"""Surfaces close and hold the volume they claim; results are whole on any number of ranks."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import pyvista
import trimesh
import ufl
from mpi4py import MPI
from scipy import ndimage

from toolkit import checkpoint, export, pictures, report, surface
from toolkit.density import Density
from toolkit.domain import Domain
from toolkit.errors import InputError, ToolkitError
from toolkit.functional import Functional
from toolkit.optimize import History, Result
from toolkit.pareto import Front, Point

COMM = MPI.COMM_WORLD
LENGTHS = (12.0, 6.0, 6.0)


@pytest.fixture
def folder(tmp_path):
    """One folder for all ranks."""
    return COMM.bcast(tmp_path)


@pytest.fixture(params=["hexahedron", "tetrahedron"])
def bar(request):
    return Domain.box(LENGTHS, (16, 8, 8), shape=request.param)


def midpoints(domain):
    """Cell midpoints in mesh-file order, (cells, 3)."""
    mesh = domain.mesh
    nodes = mesh.geometry.x[mesh.geometry.dofmaps[0][: len(domain.cells)]]
    return np.stack([domain.gather_cells(nodes[:, :, i].mean(axis=1)) for i in range(3)], axis=1)


def reread(path):
    """An STL file as any other program reads it: a soup of triangles, equal corners merged."""
    return trimesh.load(path)


def slab_volume(mesh, low, high):
    """Volume of a closed surface between two planes across x."""
    body = surface._manifold(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    body = body.trim_by_plane((1, 0, 0), low).trim_by_plane((-1, 0, 0), -high)
    return body.volume()


# ---- lattice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", surface.FAMILIES)
def test_the_threshold_is_monotone_and_spans_all_densities(family):
    t = surface.lattice_threshold(family)(np.linspace(0, 1, 101))
    open_ = t < surface.FAMILIES[family].closes
    assert (np.diff(t[open_]) > 0).all()
    assert open_[:55].all() and not open_[-1] and np.ptp(t[~open_]) == 0  # there are no pores
    if surface.FAMILIES[family].sheet:
        assert t[0] == 0.0
        line = 2 * np.pi * (np.arange(96) + 0.5) / 96
        g = surface.FAMILIES[family].function(*np.meshgrid(line, line, line))
        # the table is made at ten steps a period; a fine sampling agrees within its error
        assert np.mean(np.abs(g) < t[40]) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("family", surface.FAMILIES)
@pytest.mark.parametrize("density", [0.3, 0.5])
def test_a_uniform_lattice_has_the_porosity_asked_for(tmp_path, family, density):
    domain = Domain.box(LENGTHS, (8, 4, 4), comm=MPI.COMM_SELF)
    made = surface.lattice_surface(
        domain, np.full(domain.num_cells, density), cell=3.0, family=family
    )
    assert made.watertight
    assert made.components == 1
    assert made.expected == pytest.approx(density * 432)
    read = reread(surface.write_stl(tmp_path / "a.stl", made, domain))
    assert read.is_watertight and read.is_volume
    assert read.volume == pytest.approx(made.volume, rel=1e-6)
    # a domain of whole periods; 2 % for the pieces cut off at its edges
    assert read.volume == pytest.approx(density * 432, rel=0.02)


def test_porosity_follows_the_density(bar, tmp_path):
    x = midpoints(bar)[:, 0]
    density = 0.2 + 0.6 * x / LENGTHS[0]
    made = surface.lattice_surface(bar, density, cell=2.0)
    assert made.watertight
    if COMM.rank == 0:
        read = reread(surface.write_stl(tmp_path / "a.stl", made, bar))
        assert read.is_watertight
        for low in (0.0, 4.0, 8.0):
            asked = 0.2 + 0.6 * (low + 2.0) / LENGTHS[0]
            found = slab_volume(read, low, low + 4.0) / (4 * 36)
            assert found == pytest.approx(asked, rel=0.03)


def test_pores_cut_through_every_sheet(tmp_path):
    """A sheet thinner than the grid's step is whole: no hole joins the two labyrinths."""
    domain = Domain.box((6.0, 6.0, 6.0), (2, 2, 2), comm=MPI.COMM_SELF)
    made = surface.lattice_surface(domain, np.full(8, 0.1), cell=6.0)
    assert made.watertight
    assert made.volume == pytest.approx(21.6, rel=0.03)
    # Euler characteristic of one period's sheet, cut at the box: stable under refinement
    coarse = trimesh.Trimesh(made.points, made.triangles).euler_number
    thick = surface.lattice_surface(domain, np.full(8, 0.3), cell=6.0)
    assert coarse == trimesh.Trimesh(thick.points, thick.triangles).euler_number


@pytest.mark.parametrize(("layers", "skin"), [(8, 0.995), (2, 1.0)])
def test_a_solid_skin_has_no_pits(layers, skin):
    """Closed pores that the boundary cuts would be pits, and so would a skin that is one cell thick
    and takes the mean with the core: it is a plane without.
    """
    domain = Domain.box((12.0, 12.0, 6.0), (8, 8, layers), shape="tetrahedron", comm=MPI.COMM_SELF)
    height = midpoints(domain)[:, 2]
    made = surface.lattice_surface(domain, np.where(height > 3, skin, 0.4), cell=3.0)
    assert made.watertight and made.components == 1
    body = trimesh.Trimesh(made.points, made.triangles)
    top = (body.triangles[:, :, 2] > 6 - 1e-5).all(axis=1)
    assert body.area_faces[top].sum() == pytest.approx(144, rel=1e-5)


@pytest.mark.parametrize("family", surface.FAMILIES)
def test_pores_close_where_the_table_says(family):
    """Below its level the pores' voxels reach through periods on end, above it they do not."""
    lattice = surface.FAMILIES[family]
    line = 2 * np.pi * np.arange(64) / 32
    g = lattice.function(*np.meshgrid(line, line, line, indexing="ij"))
    for factor, through in ((0.95, True), (1.05, False)):
        labels, _ = ndimage.label(g > factor * lattice.closes)
        both = set(labels[0].ravel()) & set(labels[-1].ravel()) - {0}
        assert bool(both) is through


@pytest.mark.parallel
def test_mistakes_about_lattices_are_named():
    domain = Domain.box((1.0, 1.0, 1.0), (2, 2, 2))
    flat = Domain.box((1.0, 1.0), (2, 2))
    density = np.full(8, 0.5)
    with pytest.raises(InputError, match="gyroid, diamond, primitive"):
        surface.lattice_surface(domain, density, cell=1.0, family="giroid")
    with pytest.raises(InputError, match="positive length"):
        surface.lattice_surface(domain, density, cell=0.0)
    with pytest.raises(InputError, match="more than 8e\\+06"):
        surface.lattice_surface(domain, density, cell=0.01)
    with pytest.raises(InputError, match="3D domain"):
        surface.lattice_surface(flat, np.full(4, 0.5), cell=1.0)
    with pytest.raises(InputError, match="one value for each"):
        surface.solid_surface(domain, np.ones(3))
    with pytest.raises(InputError, match="spacing is 0; it must be"):
        surface.solid_surface(domain, density, spacing=0)
    with pytest.raises(InputError, match="1 densities are not finite"):
        surface.solid_surface(domain, np.array([np.nan, *density[1:]]))
    with pytest.raises(InputError, match=r"No cell reaches the density 0\.5"):
        surface.solid_surface(domain, np.full(8, 0.3))


def test_the_smallest_cell_is_taken():
    domain = Domain.box((2.0, 1.0, 1.0), (2, 1, 1))
    cell = 1.01 * surface.smallest_cell(domain)
    points = np.prod(np.ceil(np.array([2, 1, 1]) / (cell / surface.STEPS)) + 6)
    assert 0.8 * surface.MOST_POINTS < points <= surface.MOST_POINTS


# ---- solid ------------------------------------------------------------------------------------


def blobs(domain):
    """Bodies and a cavity: 0/1 with smooth boundaries."""
    x, y, z = midpoints(domain).T
    return (np.sin(1.3 * x) * np.cos(y) + 0.3 * np.cos(z) > 0.1).astype(float)


@pytest.mark.parametrize("kind", ["blobs", "random"])
def test_a_solid_is_watertight_and_has_the_material_volume(bar, tmp_path, kind):
    density = blobs(bar)
    if kind == "random":
        density = (np.random.default_rng(3).random(bar.num_cells) > 0.5).astype(float)
    made = surface.solid_surface(bar, density)
    material = bar.gather_cells(bar.cell_volumes) @ density
    assert made.watertight
    assert made.expected == pytest.approx(material)
    assert made.volume == pytest.approx(material, rel=0.02)
    if COMM.rank == 0:
        read = reread(surface.write_stl(tmp_path / "a.stl", made, bar))
        assert read.is_watertight and read.is_volume and read.volume > 0


def test_a_full_domain_is_the_domain(bar):
    made = surface.solid_surface(bar, np.ones(bar.num_cells))
    assert made.watertight
    assert made.volume == pytest.approx(432.0, rel=1e-6)
    assert made.components == 1


def test_a_region_has_a_surface_of_its_own(bar):
    """Half a bar of solid is a box, whatever the other half holds; there is no other."""
    bar.name("half", 3, lambda x: x[0] < LENGTHS[0] / 2 + 1e-9)
    made = surface.solid_surface(bar, np.ones(bar.num_cells), region="half")
    assert made.watertight
    assert made.volume == pytest.approx(216, rel=1e-5)
    assert made.expected == pytest.approx(216)
    with pytest.raises(InputError, match="no volume named 'whole'"):
        surface.solid_surface(bar, np.ones(bar.num_cells), region="whole")


def test_a_lattice_is_nothing_where_the_density_is(bar):
    """Half a bar of density ½, half of 0; and the first half alone, as two regions."""
    x = midpoints(bar)[:, 0]
    bar.name("first", 3, lambda x: x[0] < LENGTHS[0] / 4 + 1e-9)
    bar.name("second", 3, lambda x: (x[0] > LENGTHS[0] / 4 - 1e-9) & (x[0] < LENGTHS[0] / 2 + 1e-9))
    density = np.where(x < LENGTHS[0] / 2, 0.5, 0.0)
    whole = surface.lattice_surface(bar, density, cell=2.0)
    part = surface.lattice_surface(bar, density, cell=2.0, region=["first", "second"])
    for made in (whole, part):
        assert made.watertight and made.components == 1
        assert made.expected == pytest.approx(108)
    assert part.points[:, 0].max() == pytest.approx(LENGTHS[0] / 2)
    assert part.volume == pytest.approx(108, rel=0.03)
    step = LENGTHS[0] / 12
    assert whole.points[:, 0].max() < LENGTHS[0] / 2 + step
    assert whole.volume == pytest.approx(108, rel=0.1)


def test_islands_go_and_cavities_stay():
    domain = Domain.box((8.0, 4.0, 4.0), (32, 16, 16), comm=MPI.COMM_SELF)
    centres = midpoints(domain)
    big = np.linalg.norm(centres - (2.2, 2, 2), axis=1)
    small = np.linalg.norm(centres - (6.2, 2, 2), axis=1)
    shells = ((big < 1.6) & (big > 0.8)) | ((small < 1.2) & (small > 0.6))
    density = shells.astype(float)
    both = surface.solid_surface(domain, density)
    one = surface.solid_surface(domain, density, islands=False)
    assert (both.components, one.components) == (2, 1)
    assert both.watertight and one.watertight
    assert both.volume == pytest.approx(both.expected, rel=0.02)
    assert one.points[:, 0].max() < 4.2
    distance = np.linalg.norm(one.points - (2.2, 2, 2), axis=1)
    assert distance.min() < 1.0 and distance.max() > 1.4  # the cavity's surface and the ball's
    wall = domain.gather_cells(domain.cell_volumes) @ ((big < 1.6) & (big > 0.8))
    assert one.volume == pytest.approx(wall, rel=0.03)


@pytest.mark.parallel
def test_every_rank_knows_the_facts():
    domain = Domain.box((4.0, 2.0, 2.0), (8, 4, 4))
    made = surface.solid_surface(domain, blobs(domain))
    facts = COMM.allgather(made[2:])
    assert facts == [facts[0]] * COMM.size
    assert (len(made.triangles) > 0) == (COMM.rank == 0)


# ---- the folder -------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe", "object")
        self.loaded += [value for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def result(design, objective, *, volume=0.44, feasible=True):
    steps = np.arange(5.0)
    history = History(
        objective=objective * (1 + 1 / (1 + steps)),
        constraints=np.full((5, 1), volume),
        infeasibility=10.0 ** (-2 * steps),
        change=steps,
        greyness=steps,
        evaluations=np.arange(5),
        beta=np.ones(5),
    )
    return Result(
        design=design,
        objective=objective,
        constraints={"volume <= 0.45": volume},
        feasible=feasible,
        reason="converged",
        message="",
        history=history,
        iterations=4,
        evaluations=5,
        seconds=0.25,
    )


def make_front(over, *, low=0.2, high=0.8):
    """Four points along a made-up front, the third dominated and infeasible."""
    x = midpoints(over.domain)[:, 0]
    rising = low + (high - low) * x / x.max()
    volume = Functional(over.physical / over.domain.volume * over.domain.dx, name="volume")
    points = []
    for i, share in enumerate((0.0, 0.4, 0.5, 1.0)):
        design = (1 - share) * rising + share * rising[::-1]
        bad = i == 2
        solved = result(design, 1.0 + share, volume=0.5 if bad else 0.44, feasible=not bad)
        values = np.array([1 + share**2 + bad, -3 - share**0.5])
        points.append(Point(solved, values, bad, f"design <{i}>"))
    values = np.array([point.values for point in points])
    return Front(
        objectives=("compliance", "-permeance"),
        points=tuple(points),
        reference=values.max(axis=0) + 0.1,
        ideal=values.min(axis=0),
        nadir=values.max(axis=0),
        hypervolume=0.75,
        knee=1,
        over=over,
        functionals=(volume, Functional(over.physical**2 * over.domain.dx, name="other")),
        constraints=(volume <= 0.45,),
        seconds=12.0,
    )


GRADED = {"run.h5", "front.csv", "front.png", "design.png", "designs.vtkhdf", "knee.vtkhdf"} | {
    "convergence.png",
    "lattice.stl",
    "lattice.png",
    "report.html",
}


def has_renderer():
    return pictures.missing_renderer() is None


@pytest.mark.parallel
def test_a_graded_front_is_written_whole(folder):
    domain = Domain.box((4.0, 2.0, 2.0), (8, 4, 4))
    over = Density(domain, radius=0.6, start=0.4, bounds=(0.2, 0.8))
    front = make_front(over)
    before = over.vector
    assert report.write(front, folder / "new" / "run") == folder / "new" / "run"
    assert np.array_equal(over.vector, before)
    folder = folder / "new" / "run"
    drawn = has_renderer()
    expected = GRADED if drawn else GRADED - {"design.png", "lattice.png"}
    assert {path.name for path in folder.iterdir()} == expected
    run = checkpoint.read_run(folder / "run.h5")
    assert np.array_equal(run.design[3], front.points[3].result.design)
    over.update(run.design[1])
    physical = domain.gather_cells(over.physical.x.array[domain.cell_dofs[: len(domain.cells)]])
    written = pyvista.read(folder / "knee.vtkhdf")
    assert np.array_equal(written.cell_data["density"], physical)
    assert np.array_equal(written.cell_data["design"], run.design[1])
    assert reread(folder / "lattice.stl").is_watertight
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Links(text)
    assert page.open == []
    assert len(page.loaded) == (4 if drawn else 2)
    assert all(link.startswith("data:image/png;base64,") for link in page.loaded)
    assert not re.search(r"https?://|@import|url\(", text)
    assert text.count('class="pass">PASS') == 3 + 1  # three points and the watertight lattice
    assert text.count('class="fail">FAIL') == 1
    assert "design &lt;0&gt;" in text and "design <0>" not in text
    assert "permeance" in text and "-permeance" not in text


def test_a_part_of_a_front_is_printed(tmp_path):
    """A period makes a lattice of a black and white design, here of two of its three parts."""
    domain = Domain.box((4.0, 2.0, 2.0), (8, 4, 4), comm=MPI.COMM_SELF)
    for i, name in enumerate(("one", "two")):
        domain.name(name, 3, lambda x, i=i: (x[0] > i - 1e-9) & (x[0] < i + 1 + 1e-9))
    over = Density(domain, radius=None, start=0.5)
    front = make_front(over)
    for point in front.points:
        point.result.design[:] = np.where(midpoints(domain)[:, 0] < 2, 0.5, 1.0)
    report.write(front, tmp_path, cell=1.0, part=["one", "two"])
    assert not (tmp_path / "solid.stl").exists()
    made = reread(tmp_path / "lattice.stl")
    assert made.bounds[:, 0] == pytest.approx([0, 2], abs=1e-6)
    assert made.volume == pytest.approx(4.0, rel=0.03)


def test_a_black_and_white_front_gives_the_solid(tmp_path):
    domain = Domain.box((4.0, 2.0, 2.0), (8, 4, 4), comm=MPI.COMM_SELF)
    over = Density(domain, radius=None, start=0.5)
    front = make_front(over)
    for point in front.points:
        point.result.design[:] = point.result.design > 0.45
    report.write(front, tmp_path)
    assert (tmp_path / "solid.stl").is_file() and not (tmp_path / "lattice.stl").exists()
    over.update(front.points[1].result.design)
    solid = domain.gather_cells(domain.cell_volumes) @ front.points[1].result.design
    assert reread(tmp_path / "solid.stl").volume == pytest.approx(solid, rel=0.02)


@pytest.mark.parallel
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_single_minimisation_is_written(folder, dimension):
    lengths, cells = ((4.0, 2.0), (16, 8)) if dimension == 2 else ((4.0, 2.0, 2.0), (8, 4, 4))
    domain = Domain.box(lengths, cells)
    over = Density(domain, radius=None, start=0.5)
    design = (midpoints(domain)[:, 0] > 1.4).astype(float)
    report.write_result(result(design, 3.0), over, folder, name="compliance")
    names = {path.name for path in folder.iterdir()}
    expected = {"run.h5", "design.vtkhdf", "convergence.png", "report.html"}
    if dimension == 2:
        expected |= {"design.png"}
    elif has_renderer():
        expected |= {"design.png", "solid.stl", "solid.png"}
    else:
        expected |= {"solid.stl"}
    assert names == expected
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert all(link.startswith("data:") for link in Links(text).loaded)
    assert "compliance" in text and "PASS" in text


@pytest.mark.parallel
def test_figures_of_the_script_are_in_the_report(folder):
    """With their captions, escaped; one that was not drawn is an error on every rank."""
    over = Density(Domain.box((3.0, 1.0), (6, 2)), radius=None, start=0.5)
    if MPI.COMM_WORLD.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        pictures.front_figure(
            folder / "own.png", ["f", "g"], np.eye(2), pictures.Marks(np.zeros(2, bool), 0, None)
        )
    figures = {"own.png": "Shielding < 1 & more"}
    report.write_result(result(over.vector, 1.0), over, folder, figures=figures)
    if MPI.COMM_WORLD.rank == 0:
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert "<figcaption>Shielding &lt; 1 &amp; more</figcaption>" in page
    with pytest.raises(InputError, match=r"figure 'none.png' is not in the folder"):
        report.write_result(result(over.vector, 1.0), over, folder, figures={"none.png": ""})


@pytest.mark.parallel
def test_a_folder_that_cannot_be_written_is_named(folder):
    over = Density(Domain.box((1.0, 1.0), (3, 3)), radius=None, start=0.5)
    if COMM.rank == 0:
        (folder / "taken").write_text("a file")
    COMM.barrier()
    with pytest.raises(InputError, match="taken"):
        report.write(make_front(over), folder / "taken")
    with pytest.raises(InputError, match="taken"):
        report.write_result(result(over.vector, 1.0), over, folder / "taken" / "below")


def test_without_a_renderer_the_rest_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv("DISPLAY", raising=False)
    over = Density(
        Domain.box((4.0, 2.0, 2.0), (8, 4, 4), comm=MPI.COMM_SELF), radius=0.6, start=0.4
    )
    report.write(make_front(over), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == GRADED - {"design.png", "lattice.png"}
    assert "apt install libegl1" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_state_that_cannot_be_solved_is_noted(tmp_path):
    over = Density(Domain.box((1.0, 1.0), (3, 3), comm=MPI.COMM_SELF), radius=None, start=0.5)

    def fail():
        raise ToolkitError("the solver of 'pressure' stopped")

    state = SimpleNamespace(name="pressure", solve=fail)
    report.write_result(
        result(over.vector, 1.0), over, tmp_path, functionals=[SimpleNamespace(states=(state,))]
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The state pressure is missing" in text


@pytest.mark.parallel
def test_rank_0_failing_in_a_picture_is_raised_everywhere(folder, monkeypatch):
    over = Density(Domain.box((1.0, 1.0), (3, 3)), radius=None, start=0.5)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "convergence_figure", fail)
    with pytest.raises(InputError, match="No space left"):
        report.write_result(result(over.vector, 1.0), over, folder)


@pytest.mark.parallel
def test_three_objectives_are_drawn_in_pairs(folder):
    if COMM.rank == 0:
        values = np.random.default_rng(0).random((6, 3))
        marks = pictures.Marks(np.arange(6) == 4, 1, None)
        pictures.front_figure(folder / "front.png", ("a", "-b", "c"), values, marks)
        width, height = pyvista.read(folder / "front.png").dimensions[:2]
        assert width > 2 * height


@pytest.mark.skipif(not has_renderer(), reason="no libEGL")
def test_a_body_is_cut_in_the_plane_through_the_origin():
    """Red before the plane hides the blue behind it, until it is taken away."""
    domain = Domain.box((2.0, 2.0, 1.0), (4, 4, 2), comm=MPI.COMM_SELF)
    grid = export.gather_mesh(domain)
    grid.points[:, 1] -= 1.0
    before = grid.points[grid.cells].mean(axis=1)[:, 1] < 0
    parts = [(before, {"color": "red"}), (~before, {"scalars": "one", "cmap": ["blue", "blue"]})]
    ones = {"one": np.ones(len(grid.cells))}
    for cut, colour in ((False, 0), (True, 2)):
        image = pictures.body_view(grid, parts, ones, normal=(0, 1, 0), cut=cut)[20:-20, 20:-20]
        assert (image[..., colour] > 100).all()
        assert (np.delete(image[..., :3], colour, axis=-1) < 60).all()


def test_the_report_speaks_of_the_functional_that_was_solved(tmp_path):
    """States of the knee are those of the knee's own density."""
    from toolkit.darcy import darcy

    domain = Domain.box((1.0, 1.0), (4, 4), comm=MPI.COMM_SELF)
    over = Density(domain, radius=None, start=0.5)
    ρ = over.physical
    pressure = darcy(domain, permeability=0.1 + ρ, pressure={"xmin": 1.0, "xmax": 0.0})
    flow = Functional((0.1 + ρ) * ufl.inner(ufl.grad(pressure), ufl.grad(pressure)) * domain.dx)
    layers = np.where(midpoints(domain)[:, 0] < 0.5, 0.9, 0.1)  # series: 1 and 0.2
    report.write_result(result(layers, 1.0), over, tmp_path, functionals=[flow])
    mesh = pyvista.read(tmp_path / "design.vtkhdf")
    middle = mesh.point_data[pressure.name][np.abs(mesh.points[:, 0] - 0.5) < 1e-9]
    # two layers of equal length in series: p drops in proportion to 1/κ
    assert np.allclose(middle, 1 - (1 / 1.0) / (1 / 1.0 + 1 / 0.2), atol=1e-8)


def test_what_is_maximised_is_shown_without_its_minus():
    assert pictures.shown("-permeance") == ("permeance", -1.0)
    assert pictures.shown("compliance") == ("compliance", 1.0)
    assert pictures.readable("least -permeance") == "most permeance"
    assert pictures.readable("-permeance <= -1.24e+04") == "permeance >= 1.24e+04"
    assert pictures.readable("volume <= 0.45") == "volume <= 0.45"
