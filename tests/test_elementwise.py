"""Operators of scaled element tensors and their multigrid, against assembled matrices, bounds."""

import sys
from functools import partial

import numpy as np
import pytest
import ufl
from dolfinx import fem, la
from mpi4py import MPI

from toolkit import (
    Cell,
    Density,
    Domain,
    Functional,
    auxiliary,
    conductivity,
    elasticity,
    elementwise,
    homogenize,
    simp,
    stiffness,
    taylor_test,
)
from toolkit.domain import completed
from toolkit.elasticity import strain, stress
from toolkit.elementwise import Elementwise
from toolkit.geometry import plate_with_hole, sphere_cell
from toolkit.levels import coarser, finest
from toolkit.solver import Operator, Recipe

pytestmark = pytest.mark.parallel

RANDOM = np.random.default_rng(5)


def box(d, comm=MPI.COMM_WORLD, n=8):
    """A box of two lengths, cells halved three times along x and twice elsewhere."""
    return Domain.box((2, 1, 1)[:d], (2 * n, n, n)[:d], comm=comm)


def mesh(kind, comm=MPI.COMM_WORLD):
    """Meshes on lattices of their own, and others: affine and not, graded, curved, periodic."""
    if kind == "box":
        return box(3, comm, n=16)
    if kind == "box of tetrahedra":
        return Domain.box((2, 1, 1), (16, 8, 8), shape="tetrahedron", comm=comm)
    if kind == "odd box":
        return Domain.box((2, 1, 1), (17, 9, 9), comm=comm)
    if kind == "graded triangles":
        return Domain.build(partial(plate_with_hole, size=2.5), comm=comm)
    return Cell.build(partial(sphere_cell, radius=0.3, size=0.12), comm=comm)


OTHERS = ["box of tetrahedra", "odd box", "graded triangles", "cell with a sphere"]


def design(domain, empty=1e-6):
    """A density of blocks of two cells, solid or empty, and the modulus of its law."""
    ρ = Density(domain, radius=None, start=1.0)
    ρ.update((RANDOM.random(ρ.size) < 0.5).astype(float))
    return ρ, simp(ρ.physical, full=2.0, empty=empty)


def both(domain, form, conditions):
    """The elementwise operator and the assembled one of a form."""
    made = elementwise.operator(
        domain, form, conditions, name="u", recipe=Recipe.multigrid(), rtol=1e-10
    )
    assert isinstance(made, Elementwise)
    assembled = Operator(form, conditions, name="a", recipe=Recipe.direct(definite=True))
    made.update()
    assembled.update()
    return made, assembled


def elastic(domain, E, plane=None):
    """The bilinear form of elasticity and its space."""
    space = fem.functionspace(domain.mesh, ("Lagrange", 1, (domain.dimension,)))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    σ = stress(u, modulus=E, poisson=0.3, plane=plane)
    return ufl.inner(σ, strain(v)) * domain.dx, space


def clamped(domain, space, names, part=None):
    """Zero on named faces, of one component or all."""
    conditions = []
    for name in names:
        facets = domain.entities(domain.dimension - 1, name)
        on = space if part is None else space.sub(part)
        dofs = fem.locate_dofs_topological(on, domain.dimension - 1, facets)
        zero = np.zeros(domain.dimension) if part is None else 0.0
        conditions.append(fem.dirichletbc(zero, dofs, on))
    return conditions


@pytest.mark.parametrize("d", [2, 3])
def test_the_product_is_that_of_the_assembled_matrix(d):
    domain = box(d, n={2: 32, 3: 8}[d])
    _, E = design(domain, empty=1e-9)
    form, space = elastic(domain, E, plane="stress" if d == 2 else None)
    conditions = clamped(domain, space, ["xmin"]) + clamped(domain, space, ["ymax"], part=1)
    made, assembled = both(domain, form, conditions)
    x = RANDOM.standard_normal(len(assembled.apply(np.zeros(made._owned))))
    ours, theirs = made.apply(x), assembled.apply(x)
    assert np.abs(ours - theirs).max() <= 1e-13 * np.abs(theirs).max()
    assert np.array_equal(made.fixed, assembled.fixed)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_assembled_matrix_is_that_of_the_general_path(kind):
    """Element tensors scaled into place, against DOLFINx's assembly, and its solution."""
    domain = mesh(kind)
    d = domain.dimension
    _, E = design(domain, empty=1e-4)
    form, space = elastic(domain, E, plane="stress" if d == 2 else None)
    if kind == "cell with a sphere":
        conditions = homogenize._pinned(domain, space)
    else:
        names = domain.names(d - 1)
        conditions = clamped(domain, space, names[:1]) + clamped(domain, space, names[1:2], part=1)
    made, assembled = both(domain, form, conditions)
    x = RANDOM.standard_normal(made._owned)
    ours, theirs = made.apply(x), assembled.apply(x)
    assert np.abs(ours - theirs).max() <= 1e-13 * np.abs(theirs).max()
    b, x, y = (la.vector(space.dofmap.index_map, d) for _ in range(3))
    b.array[: made._owned] = assembled.apply(np.sin(np.arange(made._owned) + 1.0))
    made.solver.rtol = 1e-12
    made.solve(b, x)
    assembled.solve(b, y)
    scale = domain.comm.allreduce(np.abs(y.array).max(), op=MPI.MAX)
    assert np.abs(x.array - y.array).max() <= 1e-6 * scale


@pytest.mark.short
@pytest.mark.parametrize("supports", ["faces", "roller", "edge"])
def test_the_solution_is_that_of_the_assembled_matrix(supports):
    domain = box(3)
    _, E = design(domain)
    form, space = elastic(domain, E)
    if supports == "faces":
        conditions = clamped(domain, space, ["xmin", "xmax"])
    elif supports == "roller":
        conditions = [
            bc
            for i, f in enumerate(("xmin", "ymin", "zmin"))
            for bc in clamped(domain, space, [f], part=i)
        ]
    else:  # two thirds of a face, which no coarse facet matches
        dofs = fem.locate_dofs_geometrical(space, lambda x: (x[0] < 1e-9) & (x[1] < 0.66))
        conditions = [fem.dirichletbc(np.zeros(3), dofs, space)]
    made, assembled = both(domain, form, conditions)
    b, x, y = (la.vector(space.dofmap.index_map, 3) for _ in range(3))
    b.array[: made._owned] = np.sin(np.arange(made._owned) + 1.0)
    b.array[made.fixed] = 0.25
    made.solver.rtol = 1e-12
    made.solve(b, x)
    assembled.solve(b, y)
    scale = domain.comm.allreduce(np.abs(y.array).max(), op=MPI.MAX)
    assert np.abs(x.array - y.array).max() <= 1e-7 * scale


def test_cells_without_stiffness_are_left_out():
    """A bar beside cells of modulus zero is as one beside cells of next to none."""
    domain = box(3)
    bar = lambda x: np.where((x[1] < 0.5) & (x[2] < 0.5), 1.0, 0.0)  # noqa: E731
    found = []
    for empty in (0.0, 1e-9):
        E = fem.Function(domain.cellwise)
        E.interpolate(lambda x, empty=empty: np.maximum(bar(x), empty))
        form, space = elastic(domain, E)
        conditions = clamped(domain, space, ["xmin"])
        recipe = Recipe.multigrid()
        made = elementwise.operator(domain, form, conditions, name="u", recipe=recipe, rtol=1e-10)
        made.update()
        b, x = (la.vector(space.dofmap.index_map, 3) for _ in range(2))
        at = space.tabulate_dof_coordinates()[: made._owned // 3]
        tip = (at[:, 0] > 2 - 1e-9) & (at[:, 1] < 0.4) & (at[:, 2] < 0.4)
        b.array[: made._owned].reshape(-1, 3)[tip] = (0.0, 0.0, -1.0)
        made.solve(b, x)
        found.append(domain.comm.allreduce(float(b.array[: made._owned] @ x.array[: made._owned])))
    assert abs(found[0] / found[1] - 1) <= 1e-6


@pytest.mark.short
def test_load_cases_in_step_are_those_one_by_one():
    cell = Cell.box((1, 1, 1), (8, 8, 8))
    _, E = design(cell, empty=1e-4)
    form, space = elastic(cell, E)
    pinned = homogenize._pinned(cell, space)
    made, assembled = both(cell, form, pinned)
    vectors = [[la.vector(space.dofmap.index_map, 3) for _ in range(3)] for _ in range(3)]
    for k, (b, _, y) in enumerate(vectors):
        x = RANDOM.standard_normal(made._owned)
        x[made.fixed] = 0.0
        b.array[: made._owned] = assembled.apply(x) * 10.0**k
        b.array[made.fixed] = 0.0
        assembled.solve(b, y)
    made.solve_all([b for b, _, _ in vectors], [x for _, x, _ in vectors])
    assert len(made.solver.iterations) == 3
    for _, x, y in vectors:
        scale = cell.comm.allreduce(np.abs(y.array).max(), op=MPI.MAX)
        assert np.abs(x.array - y.array).max() <= 1e-5 * scale


def test_loads_that_the_scale_multiplies_are_added_by_cells(monkeypatch):
    monkeypatch.setattr(homogenize, "DIRECT_DOFS", {2: 0, 3: 0})
    cell = Cell.box((1, 1, 1), (8, 8, 8))
    _, E = design(cell, empty=1e-4)
    for state in stiffness(cell, modulus=E, poisson=0.3).states:
        assert state._add_load is not None
        quick = state._assemble_load().array[: state.owned].copy()
        state._add_load = None
        slow = state._assemble_load().array[: state.owned]
        assert np.abs(quick - slow).max() <= 1e-13 * np.abs(slow).max()


@pytest.mark.parametrize("kind", ["box", *OTHERS])
def test_coarse_operators_are_galerkin_products(kind):
    """P'AP x by the finer grid is the coarse grid's product, on every grid."""
    domain = mesh(kind)
    d = domain.dimension
    _, E = design(domain, empty=1e-3)
    form, space = elastic(domain, E)
    made, _ = both(domain, form, clamped(domain, space, domain.names(d - 1)[:1]))
    for way in made._multigrid.ways:
        fine, coarse = way.fine, way.coarse
        _, x, y = coarse.work(1)
        x.arrays[0][:] = 0.0
        n = coarse.owned
        keys = coarse._positions[: n // d] @ np.array([1.0, 7.0, 31.0])[:d]
        x.arrays[0][:n] = coarse.free[:n] * np.sin(np.add.outer(keys, np.arange(d))).ravel()
        coarse.multiply(x, y)
        ours = y.arrays[0][:n] * coarse.free[:n]
        _, u, v = fine.work(1)
        u.zero()
        way.up(x, u)
        u.arrays[0][:] *= fine.free
        fine.multiply(u, v)
        v.arrays[0][: fine.owned] *= fine.free[: fine.owned]
        right = coarse.work(1)[0]
        way.down(v, right)
        theirs = right.arrays[0][:n] * coarse.free[:n]
        scale = domain.comm.allreduce(np.abs(theirs).max(initial=0.0), op=MPI.MAX)
        assert np.abs(ours - theirs).max(initial=0.0) <= 1e-12 * scale


@pytest.mark.parametrize("kind", ["box", *OTHERS])
@pytest.mark.parametrize("proved", [False, True])
def test_the_cycle_is_symmetric_and_positive(kind, proved):
    domain = mesh(kind)
    d = domain.dimension
    _, E = design(domain, empty=1e-9)
    form, space = elastic(domain, E)
    made, _ = both(domain, form, clamped(domain, space, domain.names(d - 1)[:1]))
    if proved:
        assert made._multigrid.rely_on_bounds()
    n, comm = made._owned, domain.comm
    keys = space.tabulate_dof_coordinates()[: n // d] @ [3.0, 17.0, 71.0]
    a, b = (np.sin(np.add.outer(s * keys, np.arange(d))).ravel() for s in (1.0, 2.3))
    a[made.fixed] = b[made.fixed] = 0.0
    r, z, _ = made._multigrid.fine.work(2)
    r.arrays[0][:n], r.arrays[1][:n] = a, b
    made._multigrid.cycle(r, z)
    Ma, Mb = (found[:n] for found in z.arrays)
    ab, ba, aa = comm.allreduce(np.array([a @ Mb, b @ Ma, a @ Ma]))
    assert abs(ab - ba) <= 1e-10 * abs(aa)
    assert aa > 0


def test_the_bound_holds_and_is_met_by_an_isolated_cell():
    domain = box(3)
    ρ = Density(domain, radius=None, start=0.0)
    x = np.zeros(ρ.size)
    x[3::40] = 1.0
    ρ.update(x)
    form, space = elastic(domain, simp(ρ.physical, full=1.0, empty=1e-9))
    made, _ = both(domain, form, clamped(domain, space, ["xmin"]))
    for grid in made._multigrid.grids[:-1]:
        quotients = [grid._quotient() for _ in range(20)]
        assert max(quotients) <= grid.bound * (1 + 1e-6)
    assert made._multigrid.fine._quotient() >= 0.9 * made._multigrid.fine.bound


@pytest.mark.parametrize("kind", OTHERS)
def test_the_proved_bound_of_an_assembled_grid_holds(kind):
    domain = mesh(kind)
    d = domain.dimension
    _, E = design(domain, empty=1e-9)
    form, space = elastic(domain, E)
    made, _ = both(domain, form, clamped(domain, space, domain.names(d - 1)[:1]))
    for grid in made._multigrid.grids[:-1]:
        quotients = [grid._quotient() for _ in range(20)]
        assert max(quotients) <= grid._proved()


@pytest.mark.parametrize("kind", OTHERS)
def test_lattices_are_the_same_on_any_number_of_ranks(kind):
    """Each point of the whole mesh's lattices is owned once; linear functions stay linear."""
    found, alone = ([], [])
    for clouds, comm in ((found, MPI.COMM_WORLD), (alone, MPI.COMM_SELF)):
        domain = mesh(kind, comm)
        space = fem.functionspace(domain.mesh, ("Lagrange", 1))
        made, ways = auxiliary.lattices(domain, space, 20)
        clouds += made[1:]
        periodic = isinstance(domain, Cell)
        for fine, coarse, way in zip(made[:-1], made[1:], ways, strict=True):
            rows = np.repeat(np.arange(len(way.start) - 1), np.diff(way.start))
            f = np.ones_like(coarse.positions) if periodic else coarse.positions
            g = np.ones_like(fine.positions) if periodic else fine.positions
            for axis in range(domain.dimension):
                value = np.bincount(rows, way.weight * f[way.column, axis], len(g))
                assert np.abs(value[rows] - g[rows, axis]).max() <= 1e-9 * np.abs(g).max()
    assert len(found) == len(alone) >= 2
    for some, whole in zip(found, alone, strict=True):
        owned = some.positions[: some.index_map.size_local]
        every = np.concatenate(MPI.COMM_WORLD.allgather(owned))
        assert len(every) == some.index_map.size_global
        assert np.array_equal(np.unique(every, axis=0), np.unique(whole.positions, axis=0))


def test_grids_are_the_same_on_any_number_of_ranks():
    """The first nodes and cells of each grid are those of the whole lattice, each once."""
    domain = Cell.box((8, 12, 6), (8, 12, 6), periodic=(True, False, True))
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    level, sizes = finest(domain, space), [(8, 12, 6), (4, 6, 3), (2, 3, 3)]
    for expected in sizes:
        assert level.lattice.resolution == expected
        count = np.add(expected, (0, 1, 0))
        assert level.index_map.size_global == np.prod(count)
        owned = level.nodes[: level.index_map.size_local]
        every = np.concatenate(domain.comm.allgather(owned))
        assert len(np.unique(every, axis=0)) == np.prod(count)
        found = coarser(level, domain.comm)
        if expected != sizes[-1]:
            level = found[0]


@pytest.mark.parametrize("law", ["two", "field", "constant", "spring", "number", "square"])
def test_other_forms_are_taken_in_part_or_assembled(law):
    """Whatever one cell-wise scalar does not scale is assembled the general way, and added."""
    domain = box(3)
    ρ, E = design(domain, empty=1e-3)
    form, space = elastic(domain, E)
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    if law == "two":
        form += (1 + ρ.physical) * ufl.inner(u, v) * domain.dx(degree=4)
    elif law == "field":
        field = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1)))
        field.interpolate(lambda x: 1 + x[0])
        form, space = elastic(domain, field)
    elif law == "constant":
        form += fem.Constant(domain.mesh, 2.0) * ufl.inner(u, v) * ufl.dx
    elif law == "spring":
        form += 3 * u[1] * v[1] * domain.ds("xmax")
    elif law == "number":
        form, space = elastic(domain, 2.0)
    else:
        form = ρ.physical * form.integrals()[0].integrand() * domain.dx
    form = completed(form)
    made, assembled = both(domain, form, clamped(domain, space, ["xmin"]))
    for start in (0.0, 0.4):  # for a new design too
        ρ.update(np.full(ρ.size, start) if start else ρ.vector)
        made.update()
        assembled.update()
        x = RANDOM.standard_normal(made._owned)
        ours, theirs = made.apply(x), assembled.apply(x)
        assert np.abs(ours - theirs).max() <= 1e-13 * np.abs(theirs).max()
    b, x, y = (la.vector(space.dofmap.index_map, 3) for _ in range(3))
    b.array[: made._owned] = assembled.apply(np.sin(np.arange(made._owned) + 1.0))
    made.solve(b, x)
    assembled.solve(b, y)
    scale = domain.comm.allreduce(np.abs(y.array).max(), op=MPI.MAX)
    assert np.abs(x.array - y.array).max() <= 1e-6 * scale


@pytest.mark.parametrize("what", ["stiffness", "conductivity", "compliance", "triangles"])
def test_gradients_are_exact(what, monkeypatch):
    monkeypatch.setattr(homogenize, "DIRECT_DOFS", {2: 0, 3: 0})
    monkeypatch.setattr(sys.modules["toolkit.elasticity"], "DIRECT_DOFS", {2: 0, 3: 0})
    if what == "triangles":
        domain = mesh("graded triangles")
    else:
        domain = box(2, n=16) if what == "compliance" else Cell.box((1, 1), (24, 24))
    ρ = Density(domain, radius=5.0 if what == "triangles" else 0.1, start=0.5)
    E = simp(ρ.physical, full=1, empty=1e-6)
    if what == "stiffness":
        C = stiffness(domain, modulus=E, poisson=0.3, plane="stress")
        J = C.map(lambda C: C[0, 0] + C[0, 1])
    elif what == "conductivity":
        C = conductivity(domain, coefficient=E)
        J = C.map(lambda K: K[0, 0] * K[1, 1])
    else:
        t = ufl.as_vector((0, -1))
        held, pulled = ("left", "right") if what == "triangles" else ("xmin", "xmax")
        u = elasticity(domain, modulus=E, poisson=0.3, displacement=[held], traction={pulled: t})
        J = Functional(ufl.inner(t, u) * domain.ds(pulled))
    assert all(isinstance(s.operator, Elementwise) for s in J.states)
    assert taylor_test(J, over=ρ) >= 1.95
