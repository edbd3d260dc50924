"""Effective tensors of cells against closed forms, identities and Taylor's theorem."""

import gc
import weakref
from functools import partial
from itertools import permutations
from math import cosh, pi, sinh, sqrt, tanh

import gmsh
import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from toolkit import Density, Domain, Functional, InputError, Reduced, brinkman, darcy, simp
from toolkit import homogenize as room
from toolkit.adjoint import taylor_table
from toolkit.cell import Cell
from toolkit.equal_order import EqualOrder
from toolkit.homogenize import conductivity, permeability, stiffness

SHAPES = {
    "triangle": ((1.0, 0.7), (4, 3)),
    "quadrilateral": ((1.0, 0.7), (4, 5)),
    "tetrahedron": ((1.0, 0.7, 0.5), (4, 3, 3)),
    "hexahedron": ((1.0, 0.7, 0.5), (4, 3, 5)),
}
PIECES = {"triangle": 2, "quadrilateral": 1, "tetrahedron": 6, "hexahedron": 1}
VOIGT = {2: [(0, 0), (1, 1), (0, 1)], 3: [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]}
NU = 0.3
parallel = pytest.mark.parallel  # the studies of convergence run in serial alone


def voxels(cell: Cell, values: np.ndarray) -> fem.Function:
    """A cell-wise function of one value a voxel."""
    f = fem.Function(cell.cellwise)
    whole = np.repeat(np.ravel(values), cell.num_cells // np.size(values))
    f.x.array[cell.cell_dofs[: len(cell.cells)]] = whole[cell.cells]
    f.x.scatter_forward()
    return f


def isotropic(E: float, plane: str | None, d: int) -> np.ndarray:
    """The stiffness of Hooke's law in Voigt notation."""
    μ = E / (2 * (1 + NU))
    λ = E * NU / (1 - NU**2) if plane == "stress" else E * NU / ((1 + NU) * (1 - 2 * NU))
    C = np.zeros((len(VOIGT[d]),) * 2)
    C[:d, :d] = λ + 2 * μ * np.eye(d)
    C[range(d, len(C)), range(d, len(C))] = μ
    return C


def backus(phases: list[np.ndarray], d: int) -> np.ndarray:
    """Equal layers across x (Backus 1962): σ₁ᵢ and ε of the others are those of all phases.

    With C split by the components with an index 1 (a) and the rest (b), the mean of
    [C_aa⁻¹, −C_aa⁻¹ C_ab; …] is the partial inverse of the effective C.
    """
    a = [k for k, pair in enumerate(VOIGT[d]) if 0 in pair]
    b = [k for k in range(len(VOIGT[d])) if k not in a]
    A, B, D = [], [], []
    for C in phases:
        inverse = np.linalg.inv(C[np.ix_(a, a)])
        A.append(inverse)
        B.append(inverse @ C[np.ix_(a, b)])
        D.append(C[np.ix_(b, b)] - C[np.ix_(b, a)] @ inverse @ C[np.ix_(a, b)])
    A, B, D = (np.mean(part, axis=0) for part in (A, B, D))
    found = np.zeros_like(phases[0])
    found[np.ix_(a, a)] = np.linalg.inv(A)
    found[np.ix_(a, b)] = np.linalg.inv(A) @ B
    found[np.ix_(b, a)] = found[np.ix_(a, b)].T
    found[np.ix_(b, b)] = D + B.T @ np.linalg.inv(A) @ B
    return found


def checkered(n: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random voxels of two values."""
    return np.random.default_rng(seed).choice([0.02, 1.0], size=n)


# ---- stiffness and conductivity: exact answers -----------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degree", [1, 2])
@parallel
def test_a_homogeneous_cell_has_the_material_itself(shape, degree):
    lengths, n = SHAPES[shape]
    cell, d = Cell.box(lengths, n, shape=shape), len(n)
    for plane in ("strain", "stress") if d == 2 else (None,):
        C = stiffness(cell, modulus=3.0, poisson=NU, plane=plane, degree=degree).value
        assert C == pytest.approx(isotropic(3.0, plane, d), rel=1e-12, abs=1e-12)
    k = conductivity(cell, coefficient=0.7, degree=degree).value
    assert k == pytest.approx(0.7 * np.eye(d), rel=1e-12, abs=1e-12)


LAMINATES = {  # E = 1 and 0.1 in equal layers
    ("quadrilateral", "stress"): {"11": 0.1998001998, "12": 0.0599400599, "22": 0.5679820180},
    ("hexahedron", None): {"11": 0.2447552448, "12": 0.1048951049, "33": 0.6493506494},
}


@pytest.mark.short
@pytest.mark.parametrize(
    ("shape", "plane"),
    [(shape, plane) for shape in ("triangle", "quadrilateral") for plane in ("stress", "strain")]
    + [("tetrahedron", None), ("hexahedron", None)],
)
@parallel
def test_laminate_stiffness(shape, plane):
    lengths, n = SHAPES[shape]
    d = len(n)
    layers = np.broadcast_to(np.reshape([1, 1, 0.1, 0.1], (4,) + (1,) * (d - 1)), n)
    cell = Cell.box(lengths, n, shape=shape)
    C = stiffness(cell, modulus=voxels(cell, layers), poisson=NU, plane=plane).value
    exact = backus([isotropic(E, plane, d) for E in (1.0, 0.1)], d)
    assert C == pytest.approx(exact, rel=1e-10, abs=1e-10)
    for key, value in LAMINATES.get((shape, plane), {}).items():
        i, j = (int(c) - 1 for c in key)
        assert C[i, j] == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
@parallel
def test_laminate_conductivity(shape, axis):
    """The harmonic mean across the layers, the arithmetic mean along them."""
    lengths, _ = SHAPES[shape]
    d = len(lengths)
    n = [3] * d
    n[axis] = 4
    layers = np.broadcast_to(np.reshape([1, 3, 3, 0.1], [m if m == 4 else 1 for m in n]), n)
    cell = Cell.box(lengths, n, shape=shape)
    found = conductivity(cell, coefficient=voxels(cell, layers)).value
    exact = np.diag([layers.mean()] * d)
    exact[axis, axis] = 1 / (1 / layers).mean()
    assert found == pytest.approx(exact, rel=1e-11, abs=1e-11)


# ---- identities ------------------------------------------------------------------------------


def tensors(shape: str, field: np.ndarray, lengths: tuple[float, ...] | None = None) -> list:
    """Stiffness, conductivity and both permeabilities of voxels."""
    lengths, n = lengths or SHAPES[shape][0], field.shape
    cell = Cell.box(lengths, n, shape=shape)
    E = voxels(cell, field)
    k = [permeability(cell, drag=30 * E, pair=p, name=p) for p in ("stabilised", "taylor-hood")]
    made = [stiffness(cell, modulus=E, poisson=NU), conductivity(cell, coefficient=E), *k]
    for J in made:
        for state in J.states:
            if not state.operator.solver.direct:
                state.operator.solver.rtol = 1e-10
    return [J.value for J in made]


@pytest.mark.parametrize("shape", SHAPES)
@parallel
def test_a_rigid_translation_changes_nothing(shape):
    n = SHAPES[shape][1]
    field = checkered(n)
    moved = np.roll(field, [1, 2, 1][: len(n)], range(len(n)))
    for here, there in zip(tensors(shape, field), tensors(shape, moved), strict=True):
        assert np.linalg.norm(here - there) <= 1e-9 * np.linalg.norm(here)


@pytest.mark.parametrize("shape", SHAPES)
@parallel
def test_tensors_are_symmetric_definite_and_within_voigt_and_reuss(shape):
    field = checkered(SHAPES[shape][1], seed=1)
    C, D, *k = tensors(shape, field)
    d = len(field.shape)
    for tensor in (C, D, *k):
        assert tensor == pytest.approx(tensor.T, rel=1e-9, abs=1e-12)
        assert np.linalg.eigvalsh(tensor).min() > 0
    for found, unit in ((C, isotropic(1.0, None, d)), (D, np.eye(d))):
        upper, lower = field.mean() * unit, unit / (1 / field).mean()
        assert np.linalg.eigvalsh(upper - found).min() > 0
        assert np.linalg.eigvalsh(found - lower).min() > 0
    for each in k:  # at most what the mean of 1/drag allows, at least the inverse of its mean
        assert np.linalg.eigvalsh(each).max() < (1 / (30 * field)).mean()
        assert np.linalg.eigvalsh(each).min() > 0.5 / (30 * field).mean()


@pytest.mark.parametrize("shape", ["quadrilateral", "hexahedron"])
def test_exchanged_axes_exchange_the_entries(shape):
    lengths, n = SHAPES[shape]
    d, field = len(n), checkered(n, seed=2)
    C, *others = tensors(shape, field)
    for order in list(permutations(range(d)))[1:4]:
        turned = tensors(shape, field.transpose(order), tuple(lengths[i] for i in order))
        pairs = [tuple(sorted((order[i], order[j]))) for i, j in VOIGT[d]]
        places = [VOIGT[d].index(pair) for pair in pairs]
        assert turned[0] == pytest.approx(C[np.ix_(places, places)], rel=1e-9, abs=1e-12)
        for there, here in zip(turned[1:], others, strict=True):
            assert there == pytest.approx(here[np.ix_(order, order)], rel=1e-9, abs=1e-12)


def test_two_periods_are_as_one():
    field = checkered((4, 3), seed=3)
    once = tensors("quadrilateral", field, (1.0, 0.7))
    twice = tensors("quadrilateral", np.tile(field, (2, 1)), (2.0, 0.7))
    for here, there in zip(once, twice, strict=True):
        assert there == pytest.approx(here, rel=1e-10, abs=1e-12)


# ---- phases that are not meshed --------------------------------------------------------------


def frame(*, blocks: int = 4) -> None:
    """Squares of side 1/blocks around a square hole of half the unit cell's sides."""
    geo = gmsh.model.geo
    ticks = (0.0, 0.25, 0.75, 1.0)
    points = [[geo.addPoint(x, y, 0) for y in ticks] for x in ticks]
    across = [[geo.addLine(points[i][j], points[i + 1][j]) for j in range(4)] for i in range(3)]
    along = [[geo.addLine(points[i][j], points[i][j + 1]) for j in range(3)] for i in range(4)]
    for i in range(3):
        for j in range(4):
            pieces = blocks // 2 if i == 1 else blocks // 4
            geo.mesh.setTransfiniteCurve(across[i][j], pieces + 1)
            geo.mesh.setTransfiniteCurve(along[j][i], pieces + 1)
    faces = []
    for i, j in ((i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)):
        loop = geo.addCurveLoop([across[i][j], along[i + 1][j], -across[i][j + 1], -along[i][j]])
        faces.append(geo.addPlaneSurface([loop]))
        geo.mesh.setTransfiniteSurface(faces[-1])
        geo.mesh.setRecombine(2, faces[-1])
    geo.synchronize()
    hole = [across[1][1], across[1][2], along[1][1], along[2][1]]
    gmsh.model.addPhysicalGroup(2, faces, name="solid")
    gmsh.model.addPhysicalGroup(1, hole, name="hole")
    gmsh.model.mesh.generate(2)


@parallel
def test_a_void_of_small_coefficient_is_as_one_that_is_not_meshed():
    """Linear in the void's coefficient: 1e-9 and 1e-7 lie on a line through the frame's value."""
    n = 8
    meshed = Cell.build(partial(frame, blocks=n))
    assert meshed.num_cells == n * n * 3 // 4
    whole = Cell.box((1.0, 1.0), (n, n))
    x = (np.arange(n) + 0.5) / n
    hole = (np.abs(x - 0.5) < 0.25)[:, None] & (np.abs(x - 0.5) < 0.25)
    for tensor in (
        lambda cell, f: conductivity(cell, coefficient=f).value,
        lambda cell, f: stiffness(cell, modulus=f, poisson=NU, plane="stress").value,
    ):
        exact = tensor(meshed, 1.0)
        for empty in (1e-9, 1e-7):
            found = tensor(whole, voxels(whole, np.where(hole, empty, 1.0)))
            assert 0 < np.trace(found - exact) < 10 * empty
            assert found == pytest.approx(exact, abs=10 * empty)


def test_conductivity_around_a_square_hole_falls_to_its_value_below_the_bound():
    """ε/(2 − ε) = 0.6 bounds any insulating phase of a square cell; the energy only falls."""
    found = []
    for n in (8, 16, 32):
        tensor = conductivity(Cell.build(partial(frame, blocks=n))).value
        assert tensor == pytest.approx(tensor[0, 0] * np.eye(2), abs=1e-10)
        found.append(tensor[0, 0])
    assert 0.6 > found[0] > found[1] > found[2] > 0.5


# ---- permeability: exact answers -------------------------------------------------------------


@parallel
def test_plane_poiseuille_is_exact():
    """h²/12 of the gap, in the space of degree 2; nothing flows across."""
    h = 0.8
    for shape in ("quadrilateral", "triangle"):
        cell = Cell.box((0.5, h), (3, 2), shape=shape, periodic=(True, False))
        k = permeability(cell, walls=["ymin", "ymax"])
        assert k.value == pytest.approx(np.diag([h**2 / 12, 0]), rel=1e-11, abs=1e-13)


def gap(drag: float, pair: str, n: int) -> float:
    """k₁₁ of a unit gap between walls, filled by a drag."""
    cell = Cell.box((1.0, 1.0), (3, n), periodic=(True, False))
    J = permeability(cell, drag=drag, walls=["ymin", "ymax"], pair=pair)
    return float(J.map(lambda k: k[0, 0]))


@pytest.mark.parametrize(("drag", "listed"), [(1.0, 0.0757656855), (100.0, 0.0080001816)])
@pytest.mark.parametrize(("pair", "order"), [("taylor-hood", 4), ("stabilised", 2)])
def test_a_gap_filled_by_a_drag(drag, listed, pair, order):
    m = sqrt(drag)
    exact = (1 - tanh(m / 2) / (m / 2)) / drag
    assert exact == pytest.approx(listed, abs=1e-10)
    levels = (16, 32)
    errors = [abs(gap(drag, pair, n) / exact - 1) for n in levels]
    assert errors[-1] < {4: 1e-5, 2: 5e-3}[order]
    assert np.log2(errors[0] / errors[1]) > order - 0.1


def two_layers(a: float, drag: float) -> float:
    """k of a fluid half-gap a beside a drag that fills the rest of a unit half-period."""
    m = sqrt(drag)
    coth = cosh(m * (1 - a)) / sinh(m * (1 - a))
    return a**3 / 3 + 2 * a / drag + a**2 / m * coth + (1 - a) / drag


@pytest.mark.parametrize("drag", [100.0, 1e4])
@pytest.mark.parametrize(("pair", "order"), [("taylor-hood", 3), ("stabilised", 1.5)])
def test_two_layers(drag, pair, order):
    """Fluid between |y| < a, penalised solid up to the half-period: the law of the slip length."""
    a, errors, leaks = 0.5, [], []
    for n in (32, 64) if drag < 1e3 else (128, 256):
        cell = Cell.box((2.0, 2.0), (3, n))
        fluid = np.abs((np.arange(n) + 0.5) / n * 2 - 1) < a
        α = voxels(cell, np.broadcast_to(np.where(fluid, 0.0, drag), (3, n)))
        k = permeability(cell, drag=α, pair=pair).value
        errors.append(abs(k[0, 0] / two_layers(a, drag) - 1))
        leaks.append(abs(k[1, 1] * drag * (1 - a) - 1))  # in series
    assert errors[-1] < 0.005
    assert np.log2(errors[0] / errors[1]) > order
    assert leaks[-1] < 1e-9 if pair == "taylor-hood" else leaks[-1] < 0.6 * leaks[0]


def test_a_square_duct():
    """0.0351442537 a², and nothing across."""
    a = 0.6
    errors = []
    for n in (3, 6):
        cell = Cell.box((a, a, 0.3), (n, n, 3), periodic=(False, False, True))
        k = permeability(cell, walls=["xmin", "xmax", "ymin", "ymax"]).value
        assert k == pytest.approx(np.diag([0, 0, k[2, 2]]), abs=1e-10)
        errors.append(abs(k[2, 2] / (0.0351442537 * a**2) - 1))
    assert errors[1] < 2e-3
    assert errors[1] < errors[0] / 8


def tube(*, radius: float, layers: int) -> None:
    """A round tube along z of length 0.3, quadratic."""
    occ = gmsh.model.occ
    body = occ.extrude([(2, occ.addDisk(0, 0, 0, radius, radius))], 0, 0, 0.3, numElements=[layers])
    occ.synchronize()
    gmsh.model.addPhysicalGroup(3, [body[1][1]], name="fluid")
    gmsh.model.addPhysicalGroup(2, [tag for dim, tag in body[2:] if dim == 2], name="wall")
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.6 * radius)
    gmsh.model.mesh.generate(3)
    gmsh.model.mesh.setOrder(2)


def test_a_round_tube_in_a_larger_period():
    """π r⁴/8 per area of the period: 1.533981e-3 for r = 0.25 in a unit square."""
    cell = Cell.build(partial(tube, radius=0.25, layers=3), lengths=(1.0, 1.0, 0.3))
    k = permeability(cell, walls=["wall"]).value
    exact = pi * 0.25**4 / 8
    assert exact == pytest.approx(1.533981e-3, abs=1e-9)
    assert k[2, 2] == pytest.approx(exact, rel=2e-3)
    assert np.delete(k.ravel(), 8) == pytest.approx(np.zeros(8), abs=1e-3 * exact)


def smooth_drag(cell: Cell):
    x, L = ufl.SpatialCoordinate(cell.mesh), cell.lengths
    waves = [ufl.cos(2 * pi * x[i] / L[i]) for i in range(cell.dimension)]
    return 200 * (1.2 + waves[0] * waves[1]) / cell.volume ** (2 / cell.dimension)


@pytest.mark.parallel
def test_flow_along_a_gap_is_a_darcy_problem_of_the_plane():
    """−Δw = 1 between walls at y = 0 and 1: ∫w = 1/12, as by Stokes flow in the gap."""
    cell = Cell.box((1, 1), (6, 8), periodic=(True, False))
    w = darcy(cell, permeability=1, pressure={"ymin": 0, "ymax": 0}, source=1, degree=2)
    along = float(Functional(w * cell.dx)) / cell.volume
    across = permeability(cell, walls=["ymin", "ymax"]).value[0, 0]
    assert abs(along - 1 / 12) <= 1e-10 and abs(across - along) <= 1e-10


def test_the_pairs_agree_as_the_mesh_is_refined():
    gaps = []
    for n in (16, 32, 64):
        cell = Cell.box((1.0, 1.0), (n, n))
        given = {"drag": smooth_drag(cell)}
        first, second = (
            permeability(cell, **given, pair=p, name=p).value for p in ("taylor-hood", "stabilised")
        )
        gaps.append(np.abs(first - second).max() / first[0, 0])
    assert gaps[-1] < 1e-3
    assert (np.log2(np.divide(gaps[:-1], gaps[1:])) > 1.7).all()


def test_viscosity():
    """k does not depend on μ without drag, and on α/μ alone with one."""
    cell = Cell.build(partial(frame, blocks=8))
    k = [permeability(cell, walls=["hole"], viscosity=μ).value for μ in (1.0, 3.7e-3)]
    assert k[1] == pytest.approx(k[0], rel=1e-9, abs=1e-12)
    box = Cell.box((1.0, 1.0), (6, 6))
    for pair in ("taylor-hood", "stabilised"):
        α = smooth_drag(box)
        one = permeability(box, drag=α, pair=pair).value
        other = permeability(box, drag=3.7e-3 * α, viscosity=3.7e-3, pair=pair).value
        assert other == pytest.approx(one, rel=1e-9, abs=1e-12)


@pytest.mark.short
@pytest.mark.parametrize(
    ("lengths", "n", "periodic", "walls"),
    [
        ((1.0, 0.7), (8, 6), (True, True), []),
        ((1.0, 0.7), (8, 6), (True, False), ["ymin", "ymax"]),
        ((1.0, 0.7, 0.8), (6, 5, 4), (True, True, True), []),
        ((1.0, 0.7, 0.8), (5, 4, 4), (True, False, True), ["ymin", "ymax"]),
    ],
)
@parallel
def test_the_operator_without_a_matrix_gives_what_a_factorisation_does(
    lengths, n, periodic, walls, monkeypatch
):
    cell = Cell.box(lengths, n, periodic=periodic)
    x = np.random.default_rng(5).random(n)
    α = voxels(cell, np.where(x < 0.4, 1e5, 0.0))
    found = []
    for small in (room.SMALL, {2: 0, 3: 0}):
        monkeypatch.setattr(room, "SMALL", small)
        J = permeability(cell, drag=α, walls=walls, name=f"seepage_{len(found)}")
        operator = J.states[0].operator
        assert isinstance(operator, EqualOrder) == bool(found)
        if found:
            operator.solver.rtol = 1e-9  # flow that is throttled everywhere, at a contrast of 1e5
        found.append(J.value)
    assert 0 < max(operator.solver.iterations) < 60
    assert np.linalg.norm(found[1] - found[0]) <= 1e-8 * np.linalg.norm(found[0])


@parallel
def test_the_operator_without_a_matrix_is_freed(monkeypatch):
    monkeypatch.setattr(room, "SMALL", {2: 0, 3: 0})

    def solved() -> weakref.ref[EqualOrder]:
        J = permeability(Cell.box((1.0, 1.0), (4, 4)), drag=3.0)
        assert J.value == pytest.approx(np.eye(2) / 3, rel=1e-6, abs=1e-6)
        return weakref.ref(J.states[0].operator)

    left = solved()
    gc.collect()
    assert left() is None


# ---- gradients -------------------------------------------------------------------------------


def tilted(C):
    """Young's modulus in a direction along no axis."""
    n = np.array([3.0, 2.0, 1.0])[: 2 if len(C) == 3 else 3]
    n = n / np.linalg.norm(n)
    nn = np.array([n[i] * n[j] for i, j in VOIGT[len(n)]])
    return 1 / (nn @ np.linalg.inv(C) @ nn)


def functionals(design: Density) -> dict:
    cell, ρ = design.domain, design.physical
    d = cell.dimension
    C = stiffness(cell, modulus=simp(ρ, full=1.0, empty=1e-6), poisson=NU)
    D = conductivity(cell, coefficient=simp(1 - ρ, full=1.0, empty=1e-6))
    k = permeability(cell, drag=brinkman(ρ, drag=1e6, q=0.1))
    bulk = C.map(lambda C: C[:d, :d].sum() / d**2)
    trace = k.map(np.trace)
    return {
        "C11": C.map(lambda C: C[0, 0]),
        "bulk": bulk,
        "E": C.map(tilted),
        "k11": k.map(lambda k: k[0, 0]),
        "k12": k.map(lambda k: k[0, 1]),
        "trace k": trace,
        "D11": D.map(lambda D: D[0, 0]),
        "mixed": bulk**2 * trace.map(np.log) + D.map(lambda D: D[0, 1] / np.trace(D)),
    }


BOXES = {
    "quadrilateral": ((1.0, 1.0), (6, 6)),
    "triangle": ((1.0, 1.3), (5, 6)),
    "hexahedron": ((1.0, 0.8, 1.0), (4, 3, 4)),
    "tetrahedron": ((1.0, 1.0, 0.9), (3, 3, 3)),
}


def design_of(shape: str, comm: MPI.Comm = MPI.COMM_WORLD) -> Density:
    lengths, n = BOXES[shape]
    design = Density(Cell.box(lengths, n, shape=shape, comm=comm), radius=0.5, start=0.5)
    design.sharpen(8)
    return design


@pytest.mark.parametrize("shape", BOXES)
@parallel
def test_taylor(shape):
    """Second order at a contrast of 1e6; a gradient wrong by 1e-4 is noticed; no adjoint solved."""
    design = design_of(shape)
    faults = []
    for name, J in functionals(design).items():
        table = taylor_table(J, over=design)
        wrong = taylor_table(J, over=design, gradient_error=1e-4)
        reduced = Reduced(J, over=design)
        reduced.gradient(np.random.default_rng(4).uniform(0.2, 0.8, design.size))
        if not table.passed or wrong.passed or reduced.adjoint_solves:
            faults.append(f"{name}: {reduced.adjoint_solves} solves\n{table}\nwrong: {wrong}")
    assert not faults, "\n".join(faults)


@parallel
def test_taylor_without_a_matrix(monkeypatch):
    """Also of the Krylov method on scalar matrices, and of flow between walls."""
    monkeypatch.setattr(room, "SMALL", {2: 0, 3: 0})
    cell = Cell.box((1.0, 0.8, 1.0), (4, 3, 4), periodic=(True, True, False))
    design = Density(cell, radius=0.5, start=0.5)
    design.sharpen(8)
    α = brinkman(design.physical, drag=1e6, q=0.1)
    k = permeability(cell, drag=α, walls=["zmin", "zmax"])
    for J in (k.map(lambda k: k[0, 0]), k.map(lambda k: k[0, 1])):
        assert taylor_table(J, over=design).passed


def test_the_smooth_smallest_eigenvalue_and_a_whole_stiffness_target():
    design = design_of("quadrilateral")
    cell, ρ = design.domain, design.physical
    k = permeability(cell, drag=brinkman(ρ, drag=1e4))
    least = k.map(
        lambda k: (np.trace(np.linalg.matrix_power(np.linalg.inv(k), 12)) / 2) ** (-1 / 12)
    )
    C = stiffness(cell, modulus=simp(ρ, full=1.0, empty=1e-6), poisson=NU)
    target = C.map(lambda C: np.sum((C - 0.1 * np.eye(3)) ** 2))
    assert taylor_table(least, over=design).passed
    assert taylor_table(target, over=design).passed
    smallest = np.linalg.eigvalsh(k.value).min()
    assert smallest <= float(least) <= 2 ** (1 / 12) * smallest


# ---- ranks -----------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("iterate", [False, True], ids=["factorised", "iterated"])
@pytest.mark.parametrize("shape", ["triangle", "hexahedron"])
@parallel
def test_tensors_and_gradients_do_not_depend_on_the_ranks(shape, iterate, monkeypatch):
    """The elliptic ones also with the tolerances that the room sets: errors enter squared."""
    if iterate:
        for name in ("SMALL", "DIRECT_DOFS"):
            monkeypatch.setattr(room, name, {2: 0, 3: 0})
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        design = design_of(shape, comm)
        x = np.random.default_rng(6).uniform(0.1, 0.9, design.size)
        design.update(x)
        cell, ρ = design.domain, design.physical
        C = stiffness(cell, modulus=simp(ρ, full=1.0, empty=1e-6), poisson=NU)
        D = conductivity(cell, coefficient=simp(1 - ρ, full=1.0, empty=1e-6))
        k = permeability(cell, drag=brinkman(ρ, drag=1e6, q=0.1))
        if iterate:
            assert not any(state.operator.solver.direct for J in (C, D, k) for state in J.states)
            k.states[0].operator.solver.rtol = 1e-10
        values = [C.value, D.value, k.value]
        J = C.map(lambda C: C[0, 0]) * k.map(np.trace) + D.map(lambda D: D[0, 1])
        found.append((values, Reduced(J, over=design).gradient(x)))
    (ours, slope), (mine, alone) = found
    for here, there in zip(ours, mine, strict=True):
        assert np.linalg.norm(here - there) <= 1e-8 * np.linalg.norm(there)
    assert np.linalg.norm(slope - alone) <= (1e-3 if iterate else 1e-8) * np.linalg.norm(alone)


@pytest.mark.short
@parallel
def test_taylor_hood_between_two_phases_on_any_number_of_ranks():
    """Fluid of a gmsh cell, alone and together."""
    build = partial(frame, blocks=8)
    ours, mine = (
        permeability(Cell.build(build, comm=c), walls=["hole"]).value
        for c in (MPI.COMM_WORLD, MPI.COMM_SELF)
    )
    assert ours == pytest.approx(mine, rel=1e-8, abs=1e-12)


# ---- errors ----------------------------------------------------------------------------------


def test_words_for_what_cannot_be():
    cell = Cell.box((1.0, 1.0), (3, 3))
    walled = Cell.box((1.0, 1.0), (3, 3), periodic=(True, False))
    block = Cell.box((1.0, 1.0, 1.0), (3, 3, 3))
    domain = Domain.box((1.0, 1.0), (3, 3))
    with pytest.raises(InputError, match=r"neither drag nor walls.*infinite.*drag=brinkman"):
        permeability(cell)
    with pytest.raises(InputError, match=r"3 boundary facets .*into walls.*xmax.*ymax"):
        permeability(walled, walls=["ymin"])
    with pytest.raises(InputError, match=r"6 boundary facets .*into walls"):
        permeability(walled, drag=1.0)
    with pytest.raises(InputError, match=r"no curve named 'wall'"):
        permeability(walled, walls=["wall"])
    for μ in (0.0, -1.0, "water"):
        with pytest.raises(InputError, match=r"viscosity = .* must be a positive number"):
            permeability(cell, drag=1.0, viscosity=μ)
    with pytest.raises(InputError, match=r"pair='mini' is neither"):
        permeability(cell, drag=1.0, pair="mini")
    with pytest.raises(InputError, match=r"plane='stress' is for 2D"):
        stiffness(block, modulus=1.0, poisson=NU, plane="stress")
    with pytest.raises(InputError, match=r"modulus must be positive, not 0"):
        stiffness(cell, modulus=0.0, poisson=NU)
    with pytest.raises(InputError, match=r"Poisson ratio 0\.5"):
        stiffness(cell, modulus=1.0, poisson=0.5)
    with pytest.raises(InputError, match=r"coefficient must be positive, not -1"):
        conductivity(cell, coefficient=-1.0)
    with pytest.raises(InputError, match=r"degree = 0"):
        conductivity(cell, degree=0)
    for tensor in (
        partial(stiffness, modulus=1.0, poisson=NU),
        conductivity,
        partial(permeability, drag=1.0),
    ):
        with pytest.raises(InputError, match=r"is of a periodic Cell: make it by Cell\.box"):
            tensor(domain)
