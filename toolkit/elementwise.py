"""Operators that are one element tensor, scaled cell by cell: no matrix is ever assembled.

A coefficient c that is constant in each cell leaves the integral, so that a(u, v) = Σ c_c Kᵤᵥ with
one tensor K for all cells of a box. `scaled_form` finds c in the UFL: the largest parts of the
integrand that are scalar, constant in a cell and depend on data, without their constant factors.
The tensor is tabulated once; a new design costs the evaluation of c. Conjugate gradients are
preconditioned by the cycle of `multigrid`. Load cases are solved together, in step, so that
what a grid's matrix is read for serves them all. Everything is distributed.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from petsc4py import PETSc
from ufl.algorithms.analysis import extract_coefficients, extract_constants
from ufl.checks import is_cellwise_constant
from ufl.classes import Division, Product
from ufl.core.expr import Expr

from toolkit.domain import Domain
from toolkit.errors import SolverError
from toolkit.levels import Level, Transfer, coarser, finest
from toolkit.multigrid import FEW, Multigrid
from toolkit.solver import Fingerprint, LinearSolver, Operator, Recipe, is_chosen

__all__ = ["Elementwise", "operator"]

Array = npt.NDArray[np.float64]
LARGEST = 1000  # nodes of a coarsest grid that is still worth factorising on every rank


class Scaled(NamedTuple):
    """A form as an integral over cells, scaled by a cell-wise scalar: the form for one, and c."""

    unit: ufl.Form
    scale: Expr


class Elementwise:
    """The `Operator` of a form that is one tensor scaled cell by cell, on a box.

    Attributes:
        form, compiled, conditions, symmetric, fixed, solver: As of an `Operator`.
    """

    symmetric = True

    def __init__(
        self,
        form: ufl.Form,
        conditions: Sequence[fem.DirichletBC],
        *,
        name: str,
        scale: Expr,
        tensor: Array,
        levels: Sequence[Level],
        transfers: Sequence[Transfer],
        rtol: float,
    ) -> None:
        """Lay out the grids; nothing depends on the design yet.

        Args:
            form: Bilinear form.
            conditions: Dirichlet conditions.
            name: Options prefix and the name in errors.
            scale: c, UFL that is constant in each cell.
            tensor: K, in the order of the levels' cells.
            levels: Nested grids, the mesh's own first.
            transfers: The ways between them.
            rtol: Relative residual at which the Krylov method ends.
        """
        space = form.arguments()[0].ufl_function_space()
        self.form, self.conditions = form, list(conditions)
        self.compiled = fem.form(form)
        self._comm: MPI.Comm = space.mesh.comm
        block, index_map = space.dofmap.index_map_bs, space.dofmap.index_map
        self._owned = index_map.size_local * block
        held = np.concatenate(
            [np.zeros(0, np.int32), *(bc.dof_indices()[0] for bc in self.conditions)]
        )
        fixed = np.zeros(self._owned + index_map.num_ghosts * block, dtype=bool)
        fixed[held] = True
        self.fixed = np.flatnonzero(fixed[: self._owned]).astype(np.int32)
        self._multigrid = Multigrid(
            levels, transfers, block=block, tensor=tensor, fixed=fixed, comm=self._comm
        )
        cells = space.mesh.topology.index_map(space.mesh.topology.dim).size_local
        self._cells = np.arange(cells, dtype=np.int32)
        self._scale = fem.Expression(scale, np.full((1, space.mesh.topology.dim), 0.5))
        self._mesh = space.mesh
        sizes = (self._owned, index_map.size_global * block)
        matrix = PETSc.Mat().createPython((sizes, sizes), _Product(self), comm=self._comm)
        matrix.setUp()
        recipe = Recipe.conjugate(rtol=rtol)
        self.solver = LinearSolver(matrix, name, recipe, _Cycle(self))
        self._fingerprint = Fingerprint(self._comm, form)

    def update(self) -> None:
        """Take new scales of the cells, if a coefficient has changed; collective."""
        if not self._fingerprint.renew():
            return
        self._multigrid.update(self._scale.eval(self._mesh, self._cells).reshape(-1))
        self.solver.matrix.assemble()

    def solve(self, b: la.Vector, x: la.Vector, *, transposed: bool = False) -> None:
        """Solve A x = b, ghosts included; collective."""
        right, left = self.solver.view(b), self.solver.view(x)
        try:
            self.solver.solve(right, left)
        except SolverError:
            if not self._multigrid.rely_on_bounds():
                raise
            self.solver.solve(right, left)
        x.scatter_forward()

    def apply(self, x: Array) -> Array:
        """A x for the owned entries of x; collective."""
        return self._products([x])[0]

    def multiply(self, given: Array, found: Array) -> None:
        """A x for owned entries; collective."""
        found[:] = self._products([given])[0]

    def precondition(self, given: Array, found: Array) -> None:
        """One cycle for owned entries; the identity at fixed ones; collective."""
        n = self._owned
        b, x, _ = self._multigrid.fine.work(1)
        b.arrays[0][:n] = given
        self._multigrid.cycle(b, x)
        found[:] = x.arrays[0][:n]
        found[self.fixed] = given[self.fixed]

    def solve_all(self, bs: Sequence[la.Vector], xs: Sequence[la.Vector]) -> None:
        """Solve A xᵢ = bᵢ in step, ghosts included; collective.

        Raises:
            SolverError: Not converged.
        """
        if len(bs) == 1:
            return self.solve(bs[0], xs[0])
        n, count = self._owned, len(bs)
        b, x = np.array([v.array[:n] for v in bs]), np.array([v.array[:n] for v in xs])
        x[:, self.fixed] = b[:, self.fixed]
        r = b - np.array(self._products(x))
        r[:, self.fixed] = 0.0
        goal = self.solver.rtol * np.sqrt(self._dots(b, b))
        p, ρ, its = np.zeros_like(r), np.ones(count), np.zeros(count, dtype=int)
        for step in range(self.solver.limit + 1):
            left = np.sqrt(self._dots(r, r))
            busy = left > goal
            if not busy.any():
                break
            if step == self.solver.limit or not np.isfinite(left).all():
                worst = int(np.argmax(np.where(np.isfinite(left), left, np.inf)))
                reason = "the iteration limit was reached"
                raise SolverError(self.solver.complaint(reason, step, float(left[worst])))
            its += busy
            z = self._cycles(r)
            ρ, before = self._dots(r, z), ρ
            if (ρ[busy] <= 0).any() and self._multigrid.rely_on_bounds():
                return self.solve_all(bs, xs)
            p = z + (ρ / before if step else 0 * ρ)[:, None] * p
            q = np.array(self._products(p))
            curvature = self._dots(p, q)
            α = np.where(busy, ρ / np.where(curvature > 0, curvature, 1.0), 0.0)
            x += α[:, None] * p
            r -= α[:, None] * q
        self.solver.iterations.extend(int(i) for i in its)
        for v, found in zip(xs, x, strict=True):
            v.array[:n] = found
            v.scatter_forward()

    def _products(self, given: Sequence[Array] | Array) -> list[Array]:
        """A x for several vectors of owned entries, the identity at fixed ones; collective."""
        n, grid = self._owned, self._multigrid.fine
        _, x, y = grid.work(len(given))
        for array, entries in zip(x.arrays, given, strict=True):
            array[:n] = entries
            array[self.fixed] = 0.0
        grid.multiply(x, y)
        found = []
        for image, entries in zip(y.arrays, given, strict=True):
            image[self.fixed] = entries[self.fixed]
            found.append(image[:n].copy())
        return found

    def _cycles(self, r: Array) -> Array:
        """The preconditioner for several vectors of owned entries; collective."""
        n = self._owned
        b, x, _ = self._multigrid.fine.work(len(r))
        for array, entries in zip(b.arrays, r, strict=True):
            array[:n] = entries
        self._multigrid.cycle(b, x)
        return np.array([array[:n] for array in x.arrays])

    def _dots(self, a: Array, b: Array) -> Array:
        """Inner products row by row; collective."""
        return np.asarray(self._comm.allreduce(np.einsum("ij,ij->i", a, b)))


class _Product:
    """Context of PETSc's matrix of type python; a strong reference would be a cycle through C."""

    def __init__(self, owner: Elementwise) -> None:
        self._owner = weakref.proxy(owner)

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """A x; collective."""
        self._owner.multiply(x.getArray(readonly=True), y.getArray())


class _Cycle:
    """Context of PETSc's preconditioner of type python."""

    def __init__(self, owner: Elementwise) -> None:
        self._owner = weakref.proxy(owner)

    def apply(self, pc: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """P⁻¹ x; collective."""
        self._owner.precondition(x.getArray(readonly=True), y.getArray())


def operator(
    domain: Domain,
    form: ufl.Form,
    conditions: Sequence[fem.DirichletBC],
    *,
    name: str,
    recipe: Recipe,
    rtol: float,
    near_null: Sequence[Array] = (),
) -> Any:
    """An `Elementwise` operator where the form and the mesh allow it, else an `Operator`.

    That is on boxes of quadrilaterals or hexahedra whose cells can be halved down to a few, for
    forms of degree one that are one integral over all cells, scaled by a cell-wise scalar; and if
    the command line chooses no solver or preconditioner for this state.

    Args:
        domain: The mesh.
        form: Bilinear form, symmetric and positive.
        conditions: Dirichlet conditions.
        name: Options prefix.
        recipe: How an assembled matrix is solved.
        rtol: Relative residual of the elementwise operator's solver.
        near_null: Modes for an assembled matrix.
    """
    space = form.arguments()[0].ufl_function_space()
    linear = space.ufl_element().degree == 1
    scaled = None
    if not recipe.direct_method and domain.lattice is not None and linear and not is_chosen(name):
        scaled = scaled_form(form)
    if scaled is not None:
        levels, transfers = _grids(domain, space)
        tensor = _tensor(scaled.unit, levels[0])
        if tensor is not None and levels[-1].index_map.size_global <= LARGEST and transfers:
            return Elementwise(
                form,
                conditions,
                name=name,
                scale=scaled.scale,
                tensor=tensor,
                levels=levels,
                transfers=transfers,
                rtol=rtol,
            )
    return Operator(form, conditions, name=name, recipe=recipe, near_null=near_null)


def scaled_form(form: ufl.Form) -> Scaled | None:
    """The form for a scale of one, whose only coefficient is that scale; None if it has no such."""
    mesh = form.arguments()[0].ufl_function_space().mesh
    one = fem.Function(fem.functionspace(mesh, ("DG", 0)))
    one.x.array[:] = 1.0
    cores: list[Expr] = []
    integrals = []
    for integral in form.integrals():
        if integral.integral_type() != "cell" or integral.subdomain_id() not in (
            "everywhere",
            ("everywhere",),
        ):
            return None
        integrals.append(
            integral.reconstruct(integrand=_factored(integral.integrand(), one, cores))
        )
    unit = ufl.Form(integrals)
    if len(cores) != 1 or unit.coefficients() != (one,) or unit.constants():
        return None
    return Scaled(unit, cores[0])


def _factored(e: Expr, one: fem.Function, cores: list[Expr]) -> Expr:
    """An expression with its cell-wise scalars replaced by `one`; collects them in `cores`."""
    if not extract_coefficients(e) and not extract_constants(e):
        return e
    if e.ufl_shape == () and not e.ufl_free_indices and is_cellwise_constant(e):
        return _peeled(e, one, cores)
    if not e.ufl_operands:
        return e
    return e._ufl_expr_reconstruct_(*(_factored(o, one, cores) for o in e.ufl_operands))


def _peeled(e: Expr, one: fem.Function, cores: list[Expr]) -> Expr:
    """A cell-wise scalar as constant factors times `one`."""
    if isinstance(e, Product | Division):
        a, b = e.ufl_operands
        if not extract_coefficients(b) and not extract_constants(b):
            return e._ufl_expr_reconstruct_(_peeled(a, one, cores), b)
        if isinstance(e, Product) and not extract_coefficients(a) and not extract_constants(a):
            return a * _peeled(b, one, cores)
    if e not in cores:
        cores.append(e)
    return one


def _grids(domain: Domain, space: fem.FunctionSpace) -> tuple[list[Level], list[Transfer]]:
    """The nested grids of a box; collective."""
    levels, transfers = [finest(domain, space)], []
    while levels[-1].index_map.size_global > FEW:
        found = coarser(levels[-1], domain.comm)
        if found is None:
            break
        levels.append(found[0])
        transfers.append(found[1])
    return levels, transfers


def _tensor(unit: ufl.Form, level: Level) -> Array | None:
    """K of one cell in the order of a level's cells; None if K is not linear in the scale.

    All cells are alike, so that of this rank's first will do; collective.
    """
    space = unit.arguments()[0].ufl_function_space()
    mesh, block = space.mesh, space.dofmap.index_map_bs
    compiled = fem.form(unit)
    found = [_tabulated(compiled, mesh, scale) for scale in (1.0, 3.0, 0.0)]
    K, thrice, nothing = (mesh.comm.bcast(k) for k in found)
    size = np.abs(K).max()
    if np.abs(thrice - 3 * K).max() > 1e-12 * size or np.abs(nothing).max() > 1e-14 * size:
        return None
    dofs = space.dofmap.list[0]
    order = mesh.comm.bcast(np.argsort(dofs)[np.argsort(np.argsort(level.cells[0]))])
    places = (order[:, None] * block + np.arange(block)).ravel()
    K = K[np.ix_(places, places)]
    return np.ascontiguousarray((K + K.T) / 2)


def _tabulated(compiled: fem.Form, mesh: Any, scale: float) -> Array:
    """The element tensor of this rank's first cell, by the compiled kernel."""
    form, ffi = compiled.ufcx_form, compiled.module.ffi
    N = compiled.function_spaces[0].element.space_dimension
    total = np.zeros((N, N))
    x = np.ascontiguousarray(mesh.geometry.x[mesh.geometry.dofmaps[0][0]])
    w, none = np.array([scale]), ffi.NULL
    first, last = form.form_integral_offsets[0], form.form_integral_offsets[1]
    for k in range(first, last):
        A = np.zeros((N, N))
        form.form_integrals[k].tabulate_tensor_float64(
            ffi.cast("double *", ffi.from_buffer(A)),
            ffi.cast("double *", ffi.from_buffer(w)),
            none,
            ffi.cast("double *", ffi.from_buffer(x)),
            none,
            none,
            none,
        )
        total += A
    return total
