"""Operators of element tensors that are scaled cell by cell, solved by geometric multigrid.

A coefficient c that is constant in each cell leaves the integral, so that a(u, v) = Σ c_c K_c(u, v)
with tensors that no design changes, and one for all cells of a box, where no matrix is assembled.
`scaled_form` finds c in the UFL: the largest parts of the integrand that are scalar, constant in a
cell and depend on data, without their constant factors. The tensors are tabulated once; a new
design costs the evaluation of c. What else a form has, such as springs, is assembled the general
way and added. Conjugate gradients are preconditioned by the cycle of `multigrid`. Load cases are
solved together, in step, so that what a grid's matrix is read for serves them all. Everything is
distributed.
"""

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from petsc4py import PETSc
from scipy.linalg.blas import daxpy
from ufl.algorithms.analysis import extract_coefficients, extract_constants
from ufl.checks import is_cellwise_constant
from ufl.classes import Division, Product
from ufl.core.expr import Expr

from toolkit.auxiliary import lattices
from toolkit.domain import Domain
from toolkit.errors import SolverError
from toolkit.grids import AssembledGrid, Fields
from toolkit.kernels import Kernels
from toolkit.levels import Level, Transfer, coarser, finest
from toolkit.multigrid import Multigrid, nested, on_lattices
from toolkit.solver import Fingerprint, LinearSolver, Operator, Recipe, is_chosen

__all__ = ["Elementwise", "operator"]

Array = npt.NDArray[np.float64]
FEW = 400  # nodes of a grid that is factorised on every rank
LARGEST = 1000  # nodes of a coarsest grid that is still worth factorising on every rank


class Scaled(NamedTuple):
    """A form as an integral over cells, scaled by a cell-wise scalar: the form for one, and c."""

    unit: ufl.Form
    scale: Expr


class Rest(NamedTuple):
    """What is left of a form beside a scaled part, and its matrix: each rank's share of it."""

    compiled: fem.Form
    matrix: la.MatrixCSR

    def assemble(self) -> None:
        """What this rank's cells add, into the matrix."""
        self.matrix.set_value(0.0)
        fem.assemble_matrix(self.matrix, self.compiled)


class Elementwise:
    """The `Operator` of a symmetric positive form of degree one or two.

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
        scale: Expr | None,
        rest: Rest | None,
        multigrid: Callable[..., Multigrid],
        rtol: float,
    ) -> None:
        """Lay out the grids; nothing depends on the design yet.

        Args:
            form: Bilinear form.
            conditions: Dirichlet conditions.
            name: Options prefix and the name in errors.
            scale: c, UFL that is constant in each cell; None if nothing is scaled.
            rest: What else the form has, if anything.
            multigrid: Makes the grids, given `free`: 1 at unknowns that are not fixed, else 0.
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
        self._multigrid = multigrid(free=(~fixed).astype(float))
        cells = space.mesh.topology.index_map(space.mesh.topology.dim).size_local
        self._cells = np.arange(cells, dtype=np.int32)
        self._scale_form, self._rest = scale, rest
        middle = np.full((1, space.mesh.topology.dim), 0.25)
        self._scale = None if scale is None else fem.Expression(scale, middle)
        self._mesh = space.mesh
        sizes = (self._owned, index_map.size_global * block)
        matrix = PETSc.Mat().createPython((sizes, sizes), _Product(self), comm=self._comm)
        matrix.setUp()
        recipe = Recipe.conjugate(rtol=rtol)
        self.solver = LinearSolver(matrix, name, recipe, _Cycle(self))
        self._fingerprint = Fingerprint(self._comm, form)
        self._searches: dict[int, Fields] = {}

    def update(self) -> None:
        """Take new scales of the cells, if a coefficient has changed; collective."""
        if not self._fingerprint.renew():
            return
        if self._rest is not None:
            self._rest.assemble()
        scale = self._scale
        self._multigrid.update(scale and scale.eval(self._mesh, self._cells).reshape(-1))
        self.solver.matrix.assemble()

    def reset(self) -> None:
        """Take the scales and estimate spectra anew at the next update; collective."""
        self._fingerprint.forget()
        self._multigrid.reset()

    def solve(self, b: la.Vector, x: la.Vector, *, transposed: bool = False) -> None:
        """Solve A x = b, ghosts included; collective."""
        right, left = self.solver.view(b), self.solver.view(x)
        try:
            self.solver.solve(right, left)
        except SolverError:
            if self._multigrid.rely_on_bounds():
                self.solver.solve(right, left)
            else:
                self.solver.solve_harder(right, left)
        x.scatter_forward()

    def apply(self, x: Array) -> Array:
        """A x for the owned entries of x; collective."""
        return self._products([x])[0]

    def load(self, form: ufl.Form) -> Callable[[Array], None] | None:
        """How to add up a linear form that the same scale multiplies cell by cell, if it is one.

        Returns:
            A function that adds it to local entries, ghosts included; None for other forms.
        """
        fine, scaled = self._multigrid.fine, scaled_form(form)
        if scaled is None or scaled.scale != self._scale_form or isinstance(fine, AssembledGrid):
            return None
        compiled = fem.form(scaled.unit)
        places = _places(self.form.arguments()[0].ufl_function_space(), fine.cells)

        def add(b: Array) -> None:
            self.update()
            f = _tabulated(compiled, self._mesh, 1.0)[places]
            fine.kernels("load_scaled", len(fine.cells), fine.cells, f, fine.scale, b)

        return add

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
        r, z, q = self._multigrid.fine.work(len(bs))
        p = self._directions(len(bs))
        goal = self._residuals(bs, xs, r, z, q)
        its, ρ = np.zeros(len(bs), dtype=int), np.ones(len(bs))
        for step in range(self.solver.limit + 1):
            left = np.sqrt(self._dots(r, r))
            busy = left > goal
            if not busy.any():
                break
            self._check(step, left)
            its += busy
            self._multigrid.cycle(r, z)
            ρ, before = self._dots(r, z), ρ
            if (ρ[busy] <= 0).any() and self._multigrid.rely_on_bounds():
                return self.solve_all(bs, xs)
            self._turn(p, z, ρ / before if step else np.zeros(len(bs)))
            self._multiply(p, q)
            curvature = self._dots(p, q)
            α = np.where(busy, ρ / np.where(curvature > 0, curvature, 1.0), 0.0)
            for x, direction, residual, image, a in zip(
                xs, p.arrays, r.arrays, q.arrays, α, strict=True
            ):
                daxpy(direction, x.array, n=self._owned, a=a)
                daxpy(image, residual, n=self._owned, a=-a)
        self.solver.iterations.extend(int(i) for i in its)
        for x in xs:
            x.scatter_forward()

    def _residuals(
        self, bs: Sequence[la.Vector], xs: Sequence[la.Vector], r: Fields, z: Fields, q: Fields
    ) -> Array:
        """Fixed values into x, r = b − A x with zeros at fixed unknowns, and the goals of |r|."""
        n = self._owned
        for b, x, residual, guess in zip(bs, xs, r.arrays, z.arrays, strict=True):
            x.array[self.fixed] = b.array[self.fixed]
            residual[:n], guess[:n] = b.array[:n], x.array[:n]
            guess[self.fixed] = 0.0
        goal = self.solver.rtol * np.sqrt(self._dots(r, r))
        self._multiply(z, q)
        for residual, image in zip(r.arrays, q.arrays, strict=True):
            residual[:n] -= image[:n]
            residual[self.fixed] = 0.0
        return np.asarray(goal)

    def _directions(self, count: int) -> Fields:
        """The search directions of so many load cases, made once."""
        if count not in self._searches:
            fine = self._multigrid.fine
            self._searches[count] = Fields(fine.index_map, fine.block, count)
        return self._searches[count]

    def _turn(self, p: Fields, z: Fields, β: Array) -> None:
        """P = z + β p."""
        n = self._owned
        for direction, step, b in zip(p.arrays, z.arrays, β, strict=True):
            direction[:n] *= b
            direction[:n] += step[:n]

    def _check(self, step: int, left: Array) -> None:
        """Refuse to go on at the limit of iterations or from what is not a number."""
        if step == self.solver.limit or not np.isfinite(left).all():
            worst = int(np.argmax(np.where(np.isfinite(left), left, np.inf)))
            reason = "the iteration limit was reached"
            raise SolverError(self.solver.complaint(reason, step, float(left[worst])))

    def _multiply(self, x: Fields, y: Fields) -> None:
        """Y = A x of vectors that are zero at fixed unknowns, zero there too; collective."""
        self._multigrid.fine.multiply(x, y)
        for image in y.arrays:
            image[self.fixed] = 0.0

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

    def _dots(self, a: Fields, b: Fields) -> Array:
        """Inner products field by field; collective."""
        n = self._owned
        local = [p[:n] @ q[:n] for p, q in zip(a.arrays, b.arrays, strict=True)]
        return np.asarray(self._comm.allreduce(np.array(local)))


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
    """An `Elementwise` operator for large problems of degree one or two, else an `Operator`.

    The command line may choose otherwise: naming a solver or preconditioner of this state asks for
    an assembled matrix.

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
    if recipe.direct_method or space.ufl_element().degree > 2 or is_chosen(name):
        return Operator(form, conditions, name=name, recipe=recipe, near_null=near_null)
    scaled, left = _split(form)
    rest = None
    if left is not None:
        compiled = fem.form(left)
        rest = Rest(compiled, fem.create_matrix(compiled))
    return Elementwise(
        form,
        conditions,
        name=name,
        scale=scaled and scaled.scale,
        rest=rest,
        multigrid=_grids(domain, space, scaled, rest),
        rtol=rtol,
    )


def _split(form: ufl.Form) -> tuple[Scaled | None, ufl.Form | None]:
    """The integrals that one cell-wise scalar scales, and the others; collective."""
    parts, others = list[Scaled](), []
    for integral in form.integrals():
        found = scaled_form(ufl.Form([integral]))
        if found and (not parts or found.scale == parts[0].scale) and _linear(found.unit):
            parts.append(found)
        else:
            others.append(integral)
    rest = ufl.Form(others) if others else None
    if not parts:
        return None, rest
    (one,) = parts[0].unit.coefficients()
    units = [ufl.replace(part.unit, {part.unit.coefficients()[0]: one}) for part in parts]
    return Scaled(sum(units[1:], units[0]), parts[0].scale), rest


def scaled_form(form: ufl.Form) -> Scaled | None:
    """The form for a scale of one, whose only coefficient is that scale; None if it has no such.

    Constants scale a bilinear form like coefficients; in a linear one they are part of the load.
    """
    bilinear = len(form.arguments()) == 2

    def varies(e: Expr) -> bool:
        return bool(extract_coefficients(e) or (bilinear and extract_constants(e)))

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
            integral.reconstruct(integrand=_factored(integral.integrand(), one, cores, varies))
        )
    unit = ufl.Form(integrals)
    free = bilinear and unit.constants()
    if len(cores) != 1 or unit.coefficients() != (one,) or free:
        return None
    return Scaled(unit, cores[0])


def _factored(
    e: Expr, one: fem.Function, cores: list[Expr], varies: Callable[[Expr], bool]
) -> Expr:
    """An expression with its cell-wise scalars replaced by `one`; collects them in `cores`."""
    if not varies(e):
        return e
    if e.ufl_shape == () and not e.ufl_free_indices and is_cellwise_constant(e):
        return _peeled(e, one, cores, varies)
    if not e.ufl_operands:
        return e
    return e._ufl_expr_reconstruct_(*(_factored(o, one, cores, varies) for o in e.ufl_operands))


def _peeled(e: Expr, one: fem.Function, cores: list[Expr], varies: Callable[[Expr], bool]) -> Expr:
    """A cell-wise scalar as constant factors times `one`."""
    if isinstance(e, Product | Division):
        a, b = e.ufl_operands
        if not varies(b):
            return e._ufl_expr_reconstruct_(_peeled(a, one, cores, varies), b)
        if isinstance(e, Product) and not varies(a):
            return a * _peeled(b, one, cores, varies)
    if e not in cores:
        cores.append(e)
    return one


def _grids(
    domain: Domain, space: fem.FunctionSpace, scaled: Scaled | None, rest: Rest | None
) -> Callable[..., Multigrid]:
    """The grids of a box, or lattices under the mesh; collective."""
    block = space.dofmap.index_map_bs
    compiled = None if scaled is None else fem.form(scaled.unit)
    if domain.lattice is not None and space.ufl_element().degree == 1 and compiled and not rest:
        levels, transfers = _halved(domain, space)
        if transfers and levels[-1].index_map.size_global <= LARGEST:
            tensor = _tensor(compiled, space, levels[0].cells)
            return partial(nested, levels, transfers, block=block, tensor=tensor)
    clouds, ways = lattices(domain, space, FEW)
    dofs = space.dofmap.list[: len(domain.cells)]
    order = np.argsort(dofs, axis=1).astype(np.int32)
    return partial(
        on_lattices,
        clouds,
        ways,
        block=block,
        cells=np.take_along_axis(dofs, order, axis=1),
        tensors=None if compiled is None else _tensors(compiled, space, order),
        rest=rest and rest.matrix,
    )


def _halved(domain: Domain, space: fem.FunctionSpace) -> tuple[list[Level], list[Transfer]]:
    """The nested grids of a box; collective."""
    levels, transfers = [finest(domain, space)], []
    while levels[-1].index_map.size_global > FEW:
        found = coarser(levels[-1], domain.comm)
        if found is None:
            break
        levels.append(found[0])
        transfers.append(found[1])
    return levels, transfers


def _linear(unit: ufl.Form) -> bool:
    """Whether a tensor is proportional to the scale; collective."""
    compiled, mesh = fem.form(unit), unit.arguments()[0].ufl_function_space().mesh
    found = [_tabulated(compiled, mesh, scale) for scale in (1.0, 3.0, 0.0)]
    K, thrice, nothing = (mesh.comm.bcast(k) for k in found)
    size = np.abs(K).max()
    return bool(
        np.abs(thrice - 3 * K).max() <= 1e-12 * size and np.abs(nothing).max() <= 1e-14 * size
    )


def _tensor(compiled: fem.Form, space: fem.FunctionSpace, cells: Any) -> Array:
    """K of one cell in the order of a level's cells; all are alike, so this will do; collective."""
    comm = space.mesh.comm
    K = comm.bcast(_tabulated(compiled, space.mesh, 1.0))
    places = comm.bcast(_places(space, cells))
    K = K[np.ix_(places, places)]
    return np.ascontiguousarray((K + K.T) / 2)


def _tensors(compiled: fem.Form, space: fem.FunctionSpace, order: npt.NDArray[np.int32]) -> Array:
    """K of this rank's cells, for the pairs of their nodes in that order from the diagonal on."""
    form, ffi, mesh = compiled.ufcx_form, compiled.module.ffi, space.mesh
    (count, nodes), block = order.shape, space.dofmap.index_map_bs
    kernels = Kernels(mesh.comm, nodes, block)
    K = np.zeros((count, nodes * (nodes + 1) // 2, block, block))
    corners = np.ascontiguousarray(mesh.geometry.dofmaps[0])
    geometry = (corners.shape[1], corners, mesh.geometry.x, order, np.zeros(3 * corners.shape[1]))
    constants = fem.pack_constants(compiled)
    for k in range(form.form_integral_offsets[0], form.form_integral_offsets[1]):
        kernel = int(ffi.cast("uintptr_t", form.form_integrals[k].tabulate_tensor_float64))
        kernels("tabulate", count, kernel, constants, *geometry, K)
    return K


def _places(space: fem.FunctionSpace, cells: Any) -> npt.NDArray[np.int64]:
    """Where the unknowns of this rank's first cell stand in its tensor, in the level's order."""
    block = space.dofmap.index_map_bs
    order = np.argsort(space.dofmap.list[0])[np.argsort(np.argsort(cells[0]))]
    return (order[:, None] * block + np.arange(block)).ravel()


def _tabulated(compiled: fem.Form, mesh: Any, scale: float) -> Array:
    """The element tensor of this rank's first cell, by the compiled kernel."""
    form, ffi = compiled.ufcx_form, compiled.module.ffi
    shape = tuple(space.element.space_dimension for space in compiled.function_spaces)
    total, constants = np.zeros(shape), fem.pack_constants(compiled)
    x = np.ascontiguousarray(mesh.geometry.x[mesh.geometry.dofmaps[0][0]])
    w, none = np.array([scale]), ffi.NULL
    first, last = form.form_integral_offsets[0], form.form_integral_offsets[1]
    for k in range(first, last):
        A = np.zeros(shape)
        form.form_integrals[k].tabulate_tensor_float64(
            ffi.cast("double *", ffi.from_buffer(A)),
            ffi.cast("double *", ffi.from_buffer(w)),
            ffi.cast("double *", ffi.from_buffer(constants)) if len(constants) else none,
            ffi.cast("double *", ffi.from_buffer(x)),
            none,
            none,
            none,
        )
        total += A
    return total
