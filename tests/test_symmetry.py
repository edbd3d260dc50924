"""Symmetric designs: orbits by counting, exact transposes, tensors that have the symmetry."""

from functools import partial

import numpy as np
import pytest
import pyvista
from dolfinx import la
from shapes import square

from toolkit import Density, Domain, Functional, InputError, Reduced, brinkman, minimize, simp
from toolkit.adjoint import taylor_table
from toolkit.cell import Cell
from toolkit.homogenize import conductivity, permeability, stiffness
from toolkit.report import write_result
from toolkit.symmetry import orbits

parallel = pytest.mark.parallel


def cell_of(n: int, d: int) -> Cell:
    return Cell.box((1.0,) * d, (n,) * d)


def random_dual(design: Density, seed: int) -> tuple[la.Vector, np.ndarray]:
    """A cell-wise dual vector, and the same in mesh-file order."""
    domain = design.domain
    whole = np.random.default_rng(seed).normal(size=domain.num_cells)
    space = domain.cellwise
    vector = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)
    vector.array[domain.cell_dofs[: len(domain.cells)]] = whole[domain.cells]
    return vector, whole


def physical(design: Density) -> np.ndarray:
    domain = design.domain
    owned = design.physical.x.array[domain.cell_dofs[: len(domain.cells)]]
    return domain.gather_cells(owned)


# ---- orbits ---------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize(("n", "d"), [(4, 2), (5, 2), (65, 2), (3, 3), (4, 3), (5, 3)])
@parallel
def test_orbits_are_counted(n, d):
    """m = ⌈n/2⌉ along an axis: mᵈ by mirrors, and the multisets of them by exchanged axes."""
    cell, m = cell_of(n, d), (n + 1) // 2
    count = m**2 if d == 2 else m**3
    multisets = m * (m + 1) // 2 if d == 2 else m * (m + 1) * (m + 2) // 6
    for symmetry, expected in (("orthotropic", count), ("cubic", multisets)):
        number = orbits(cell, symmetry)
        assert np.array_equal(np.unique(number), np.arange(expected))
        voxels = number.reshape((n,) * d)
        for axis in range(d):
            assert np.array_equal(voxels, np.flip(voxels, axis))
            if symmetry == "cubic":
                assert np.array_equal(voxels, np.swapaxes(voxels, 0, axis))


def test_orthotropic_orbits_of_a_box_of_unequal_sides():
    number = orbits(Domain.box((2, 1, 3), (4, 3, 5)), "orthotropic").reshape(4, 3, 5)
    assert number.max() + 1 == 2 * 2 * 3
    assert np.array_equal(number, number[::-1, ::-1, ::-1])


# ---- densities ------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetry", ["orthotropic", "cubic"])
@pytest.mark.parametrize("n", [4, 5])
def test_a_design_has_the_symmetry_after_filter_and_projection(symmetry, n):
    design = Density(cell_of(n, 3), radius=0.5, start=0.5, symmetry=symmetry)
    design.sharpen(8)
    assert (
        design.size
        == len(design.lower)
        == len(design.free)
        == orbits(design.domain, symmetry).max() + 1
    )
    design.update(np.random.default_rng(0).random(design.size))
    ρ = physical(design).reshape(n, n, n)
    assert np.ptp(ρ) > 0.1
    for axis in range(3):
        assert ρ == pytest.approx(np.flip(ρ, axis), abs=1e-11)
        if symmetry == "cubic":
            assert ρ == pytest.approx(np.swapaxes(ρ, 0, axis), abs=1e-11)


@pytest.mark.short
@pytest.mark.parametrize("symmetry", ["orthotropic", "cubic"])
@pytest.mark.parametrize("d", [2, 3])
@parallel
def test_pullback_is_the_transpose(symmetry, d):
    """⟨y, ρ(x + d) − ρ(x)⟩ = ⟨pullback y, d⟩: ρ is linear in x without a projection."""
    design = Density(cell_of(5, d), radius=0.5, start=0.5, symmetry=symmetry)
    x, other = np.random.default_rng(1).random((2, design.size))
    dual, y = random_dual(design, 2)
    ends = []
    for each in (x, other):
        design.update(each)
        ends.append(physical(design))
    assert design.pullback(physical=dual).shape == (design.size,)
    work = y @ (ends[1] - ends[0])
    assert design.pullback(physical=dual) @ (other - x) == pytest.approx(work, rel=1e-10)
    assert design.pullback(value=dual).sum() == pytest.approx(y.sum(), rel=1e-12)


def test_a_start_by_cell_is_averaged_over_orbits():
    cell = cell_of(4, 2)
    start = np.random.default_rng(3).random((4, 4))
    design = Density(cell, radius=None, start=start.ravel(), symmetry="orthotropic")
    mean = sum((start, start[::-1], start[:, ::-1], start[::-1, ::-1])) / 4
    assert physical(design).reshape(4, 4) == pytest.approx(mean, abs=1e-14)
    again = Density(cell, radius=None, start=design.start, symmetry="orthotropic")
    assert np.array_equal(physical(again), physical(design))


def test_a_passive_corner_leaves_the_rest_of_its_orbit_free():
    cell = cell_of(4, 2)
    cell.name("corner", 2, lambda x: (x[0] < 0.26) & (x[1] < 0.26))
    cell.name("rim", 2, lambda x: (x[0] < 0.26) | (x[0] > 0.74))
    loose = Density(cell, radius=None, start=0.5, symmetry="cubic", solid=["corner"])
    assert loose.free.all()
    held = Density(cell, radius=None, start=0.5, symmetry="orthotropic", void=["rim"])
    assert held.free.sum() == 2 and not physical(held).reshape(4, 4)[0].any()


# ---- properties -----------------------------------------------------------------------------


def properties(design: Density) -> tuple[Functional, Functional, Functional]:
    cell, ρ = design.domain, design.physical
    return (
        stiffness(cell, modulus=simp(ρ, full=1.0, empty=1e-4), poisson=0.3),
        conductivity(cell, coefficient=simp(1 - ρ, full=1.0, empty=1e-4)),
        permeability(cell, drag=brinkman(ρ, drag=1e3)),
    )


@pytest.mark.short
@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("d", [2, 3])
@parallel
def test_cubic_variables_give_cubic_tensors(n, d):
    """Three stiffnesses (bulk, two shears), one conductivity, one permeability."""
    design = Density(cell_of(n, d), radius=None, start=0.5, symmetry="cubic")
    design.update(np.random.default_rng(4).random(design.size))
    C, D, k = (J.value for J in properties(design))
    λ, μ = C[0, 1], C[d, d]
    cubic = np.zeros_like(C)
    cubic[:d, :d] = λ + (C[0, 0] - λ) * np.eye(d)
    cubic[range(d, len(C)), range(d, len(C))] = μ
    assert pytest.approx(cubic, rel=1e-9, abs=1e-11) == C
    assert C[0, 0] != pytest.approx(λ + 2 * μ, rel=1e-3)  # not isotropic by chance
    for tensor in (D, k):
        assert tensor == pytest.approx(tensor[0, 0] * np.eye(d), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("d", [2, 3])
def test_orthotropic_variables_give_orthotropic_tensors(d):
    lengths = (1.0, 0.8, 1.2)[:d]
    cell = Cell.box(lengths, (4, 5, 3)[:d])
    design = Density(cell, radius=None, start=0.5, symmetry="orthotropic")
    design.update(np.random.default_rng(5).random(design.size))
    C, D, k = (J.value for J in properties(design))
    axial = np.pad(np.ones((d, d)), (0, len(C) - d)) + np.eye(len(C)) > 0
    assert np.abs(C[~axial]).max() < 1e-10
    for tensor in (D, k):
        assert np.abs(tensor - np.diag(np.diag(tensor))).max() < 1e-10
        assert np.ptp(np.diag(tensor)) > 1e-3 * tensor[0, 0]


@pytest.mark.parametrize("symmetry", ["orthotropic", "cubic"])
@pytest.mark.parametrize("d", [2, 3])
@parallel
def test_taylor_with_symmetry(symmetry, d):
    design = Density(cell_of(4, d), radius=0.6, start=0.5, symmetry=symmetry)
    design.sharpen(8)
    C, D, k = properties(design)
    cases = [C.map(lambda C: C[0, 0]), D.map(lambda D: D[0, 0]), k.map(np.trace)]
    for J in (*cases, cases[0] * cases[2] + Functional(design.value**2 * design.domain.dx)):
        assert taylor_table(J, over=design).passed
        assert not taylor_table(J, over=design, gradient_error=1e-4).passed


def test_the_gradient_is_the_sum_over_the_orbit_of_that_by_cell():
    cell = cell_of(5, 2)
    with_symmetry, without = (
        Density(cell, radius=0.5, start=0.5, symmetry=s) for s in ("cubic", None)
    )
    number = orbits(cell, "cubic")
    x = np.random.default_rng(6).uniform(0.2, 0.8, with_symmetry.size)
    found = []
    for design, at in ((with_symmetry, x), (without, x[number])):
        J = stiffness(cell, modulus=simp(design.physical, full=1.0, empty=0.01), poisson=0.3)
        found.append(Reduced(J.map(lambda C: C[0, 0]), over=design).gradient(at))
    assert found[0] == pytest.approx(np.bincount(number, found[1]), rel=1e-10)


@pytest.mark.parametrize("symmetry", ["orthotropic", "cubic"])
@parallel
def test_minimize_runs_with_symmetry(symmetry, tmp_path):
    """The bulk modulus grows, the volume is kept, and the design and its file keep the symmetry."""
    cell = cell_of(6, 2)
    design = Density(cell, radius=0.3, start=0.4, symmetry=symmetry)
    hole = 0.4 + 0.1 * np.cos(np.arange(design.size))
    design.update(hole)
    ρ = design.physical
    C = stiffness(cell, modulus=simp(ρ, full=1.0, empty=1e-6), poisson=0.3, plane="stress")
    bulk = C.map(lambda C: C[:2, :2].sum() / 4)
    volume = Functional(ρ * cell.dx) / cell.volume
    before = float(bulk)
    result = minimize(-bulk, over=design, subject_to=volume <= 0.45, iterations=3, watch=())
    assert result.iterations == 3 and result.feasible
    assert float(bulk) > 1.02 * before
    assert float(volume) <= 0.45 + 1e-6
    found = physical(design).reshape(6, 6)
    assert found == pytest.approx(found[::-1, ::-1], abs=1e-11)
    if symmetry == "cubic":
        assert found == pytest.approx(found.T, abs=1e-11)
    write_result(result, design, folder := design.comm.bcast(tmp_path))
    values = design.value.x.array[cell.cell_dofs[: len(cell.cells)]]
    expected = cell.gather_cells(values)
    if design.comm.rank == 0:
        assert pyvista.read(folder / "design.vtkhdf").cell_data["design"] == pytest.approx(expected)


# ---- errors ---------------------------------------------------------------------------------


@pytest.mark.short
@parallel
def test_meshes_without_the_symmetry():
    words = r"has not the symmetry 'orthotropic'.*off the nearest cell.*box of quadrilaterals"
    with pytest.raises(InputError, match=words):
        Density(
            Domain.build(partial(square, size=0.3)), radius=None, start=0.5, symmetry="orthotropic"
        )
    triangles = Cell.box((1.0, 1.0), (4, 4), shape="triangle")
    with pytest.raises(InputError, match=words):
        Density(triangles, radius=None, start=0.5, symmetry="orthotropic")
    with pytest.raises(InputError, match=r"'cubic' needs equal extents.*\[1\.5, 0\.75\]"):
        orbits(Cell.box((2.0, 1.0), (4, 4)), "cubic")
    with pytest.raises(InputError, match=r"'cubic'.*extents"):
        orbits(Cell.box((1.0, 1.0), (4, 5)), "cubic")
    with pytest.raises(InputError, match=r"symmetry='mirror' is neither"):
        orbits(Cell.box((1.0, 1.0), (4, 4)), "mirror")
