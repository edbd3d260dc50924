"""Stokes–Brinkman flow of equal order on scalar matrices, for many cells.

The unknowns of a vertex are the d velocities and the pressure, and the matrix is

    [A G; Gᵀ −C]     A = I ⊗ (μ K + diag ∫α),   G = −∫ p ∇·v,   C = ∫τ ∇p·∇q

with the drag integrated by the vertex rule. So one scalar matrix, whose diagonal alone changes with
the design, stands for all velocities, and one cycle of multigrid on it serves each. The Krylov
method (FGMRES) meets A, G and C by their products only. The preconditioner is that of `saddle`,

    p = −S⁻¹ r_p,   u = A⁻¹ (r_u − G p),
    S⁻¹ ≈ [lumped ∫ p q / (μ + 0.05 α h²)]⁻¹ + 0.35 [∫ ∇p·∇q / (α + ε)]⁻¹,

with ε = μ/k, k being the permeability that the last flow showed, and of a new drag one that is
solved for roughly first: a drag below ε is felt by no flow through the cell, and a larger ε would
let the Laplacian swamp the mass matrix. Distributed.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc
from ufl.core.expr import Expr

from toolkit.errors import SolverError
from toolkit.saddle import CYCLE
from toolkit.solver import Fingerprint, LinearSolver, Recipe

__all__ = ["EqualOrder", "bilinear"]

Array = npt.NDArray[np.float64]
CLOSE = 1.3  # factor within which the ε of the preconditioner may differ from the flow's
ROUGH = 1e-2  # relative residual of a flow that shows its permeability
VERTICES = {"quadrature_rule": "vertex", "quadrature_degree": 1}


def bilinear(
    w: Any, test: Any, *, viscosity: float, drag: Expr, size: fem.Function, dx: ufl.Measure
) -> ufl.Form:
    """a((u, p), (v, q)) on vectors of the d velocities and the pressure."""
    d = len(w) - 1
    u, v = (ufl.as_vector([f[i] for i in range(d)]) for f in (w, test))
    p, q = w[d], test[d]
    μ, α, h = viscosity, drag, size
    τ = h**2 / (12 * μ + 4 * α * h**2)
    a = (μ * ufl.inner(ufl.grad(u), ufl.grad(v)) - p * ufl.div(v) - q * ufl.div(u)) * dx
    a += α * ufl.inner(u, v) * ufl.dx(domain=dx.ufl_domain(), metadata=VERTICES)
    return a - τ * ufl.inner(ufl.grad(p), ufl.grad(q)) * dx


class EqualOrder:
    """The `Operator` of `bilinear` that never makes the whole matrix.

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
        viscosity: float,
        drag: Expr,
        size: fem.Function,
        volume: float,
        rtol: float,
    ) -> None:
        """Make the scalar matrices; what does not depend on the drag is assembled once.

        Args:
            form: `bilinear` of the space's trial and test function.
            conditions: No-slip walls, which hold all velocities of a vertex, and pinned pressures.
            name: Options prefix and the name in errors.
            viscosity: μ.
            drag: α, UFL of the density.
            size: Cell size h.
            volume: |Y|.
            rtol: Relative residual at which the Krylov method ends.
        """
        space = form.arguments()[0].ufl_function_space()
        self.form, self.conditions = form, list(conditions)
        self.compiled = fem.form(form)
        domain, self._d = space.mesh, space.mesh.geometry.dim
        self._comm, self._volume, self._μ = domain.comm, volume, viscosity
        scalars = fem.functionspace(domain, ("Lagrange", 1))
        self._n = scalars.dofmap.index_map.size_local
        held = np.concatenate(
            [np.zeros(0, np.int32), *(bc.dof_indices()[0] for bc in self.conditions)]
        )
        self.fixed = np.unique(held[held < self._n * (self._d + 1)]).astype(np.int32)
        walls, pins = (
            np.unique(held[held % (self._d + 1) == part] // (self._d + 1)).astype(np.int32)
            for part in (0, self._d)
        )
        self._no_slip = [fem.dirichletbc(0.0, walls, scalars)]
        self._pinned = [fem.dirichletbc(0.0, pins, scalars)]
        μ, α, h = viscosity, drag, size
        p, q = ufl.TrialFunction(scalars), ufl.TestFunction(scalars)
        τ = h**2 / (12 * μ + 4 * α * h**2)
        at_vertices = ufl.dx(domain=domain, metadata=VERTICES)
        self._first_ε = 100 * μ / volume ** (2 / self._d)
        self._ε = fem.Constant(domain, self._first_ε)
        gradient = ufl.inner(ufl.grad(p), ufl.grad(q))
        viscous = fem.form(μ * gradient * ufl.dx)
        self._drag_form = fem.form(α * q * at_vertices)
        self._mass_form = fem.form(q / (μ + 0.05 * α * h**2) * at_vertices)
        self._stabilising_form = fem.form(τ * gradient * ufl.dx)
        self._darcy_form = fem.form(gradient / (α + self._ε) * ufl.dx)
        self._viscous = _assembled(viscous, self._no_slip)
        self._gradients = [_assembled(fem.form(-p * q.dx(i) * ufl.dx), []) for i in range(self._d)]
        self._stabilising = fem_petsc.create_matrix(self._stabilising_form)
        self._drag, self._mass = (fem.Function(scalars) for _ in range(2))
        velocity = self._viscous.duplicate(copy=True)
        self._velocity = LinearSolver(velocity, f"{name}_velocity", Recipe(CYCLE, True))
        darcy = fem_petsc.create_matrix(self._darcy_form)
        self._darcy = LinearSolver(darcy, f"{name}_schur", Recipe(CYCLE, True))
        self._work = [[velocity.createVecRight() for _ in range(self._d + 1)] for _ in range(3)]
        index_map = space.dofmap.index_map
        sizes = tuple(n * (self._d + 1) for n in (index_map.size_local, index_map.size_global))
        matrix = PETSc.Mat().createPython((sizes, sizes), _Product(self), comm=domain.comm)
        matrix.setUp()
        self._right, self._left = matrix.createVecRight(), matrix.createVecLeft()
        self.solver = LinearSolver(matrix, name, Recipe.flexible(rtol=rtol), _Cycle(self))
        self._fingerprint = Fingerprint(self._comm, form)
        self._filled = 0.0
        self._seen = False  # whether a flow through the present drag has shown its permeability

    def update(self) -> None:
        """Assemble what depends on the drag, if it has changed; collective."""
        if not self._fingerprint.renew():
            return
        _fill_vector(self._drag, self._drag_form)
        _fill_vector(self._mass, self._mass_form)
        self._drag.x.array[self._no_slip[0].dof_indices()[0]] = 0.0
        velocity = self._velocity.matrix
        same: Any = PETSc.Mat.Structure.SAME_NONZERO_PATTERN
        self._viscous.copy(velocity, structure=same)
        diagonal = self._work[0][0]
        self._viscous.getDiagonal(diagonal)
        diagonal.array[:] += self._drag.x.array[: self._n]
        velocity.setDiagonal(diagonal)
        _fill_matrix(self._stabilising, self._stabilising_form, [])
        self._fill_darcy()
        self.solver.matrix.assemble()
        self._seen = False

    def reset(self) -> None:
        """Assemble and set up anew at the next update, knowing no flow; collective."""
        self._ε.value = self._first_ε
        self._fingerprint.forget()
        for solver in (self.solver, self._velocity, self._darcy):
            solver.reset()

    def _fill_darcy(self) -> None:
        _fill_matrix(self._darcy.matrix, self._darcy_form, self._pinned)
        self._filled = float(self._ε.value)

    def solve(self, b: la.Vector, x: la.Vector, *, transposed: bool = False) -> None:
        """Solve A x = b, ghosts included; collective."""
        right, left = self.solver.view(b), self.solver.view(x)
        if not self._seen:
            self._look(right, left)
        if not 1 / CLOSE < self._filled / float(self._ε.value) < CLOSE:
            self._fill_darcy()
        try:
            self.solver.solve(right, left)
        except SolverError:
            self.solver.solve_harder(right, left)
        x.scatter_forward()
        self._learn(right, left)

    def _look(self, right: PETSc.Vec, left: PETSc.Vec) -> None:
        """Solve roughly, to learn ε; the solve goes on from there."""
        rtol = self.solver.rtol
        self.solver.rtol = max(ROUGH, rtol)
        try:
            self.solver.solve(right, left)
        finally:
            self.solver.rtol = rtol
        self._learn(right, left)
        self._seen = True

    def _learn(self, right: PETSc.Vec, left: PETSc.Vec) -> None:
        """ε of the flow found."""
        k = self._μ * float(np.real(right.dot(left))) / self._volume
        if k > 0:
            self._ε.value = self._μ / k

    def load(self, form: ufl.Form) -> Callable[[Array], None] | None:
        """No faster way to assemble a load than its form."""
        return None

    def solve_all(self, bs: Sequence[la.Vector], xs: Sequence[la.Vector]) -> None:
        """Solve A xᵢ = bᵢ one after the other, ghosts included; collective."""
        for b, x in zip(bs, xs, strict=True):
            self.solve(b, x)

    def apply(self, x: Array) -> Array:
        """A x for the owned entries of x; collective."""
        self._right.array[:] = x
        self.solver.matrix.mult(self._right, self._left)
        return self._left.array.copy()

    def multiply(self, given: Array, found: Array) -> None:
        """A x for owned entries; identity in the rows of fixed dofs; collective."""
        u, w, _ = self._work
        self._spread(given, u)
        d, p = self._d, u[self._d]
        self._stabilising.mult(p, w[d])
        w[d].scale(-1.0)
        for i, G in enumerate(self._gradients):
            self._velocity.matrix.mult(u[i], w[i])
            G.multAdd(p, w[i], w[i])
            G.multTransposeAdd(u[i], w[d], w[d])
        self._collect(w, found)
        found[self.fixed] = given[self.fixed]

    def precondition(self, given: Array, found: Array) -> None:
        """One application of the preconditioner to owned entries; collective."""
        r, z, (right, *_) = self._work
        self._spread(given, r)
        d = self._d
        p = z[d]
        self._darcy.solve(r[d], p)
        p.scale(-0.35)
        p.array[:] -= r[d].array / self._mass.x.array[: self._n]
        for i, G in enumerate(self._gradients):
            G.mult(p, right)
            right.aypx(-1.0, r[i])
            self._velocity.solve(right, z[i])
        self._collect(z, found)
        found[self.fixed] = given[self.fixed]

    def _spread(self, x: Array, parts: list[PETSc.Vec]) -> None:
        """The parts of a vector, zero where it is fixed."""
        x = x.copy()
        x[self.fixed] = 0.0
        for i, part in enumerate(parts):
            part.array[:] = x[i :: self._d + 1]

    def _collect(self, parts: list[PETSc.Vec], x: Array) -> None:
        for i, part in enumerate(parts):
            x[i :: self._d + 1] = part.array


class _Product:
    """Context of PETSc's matrix of type python; a strong reference would be a cycle through C."""

    def __init__(self, operator: EqualOrder) -> None:
        self._operator = weakref.proxy(operator)

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """A x; collective."""
        self._operator.multiply(x.getArray(readonly=True), y.getArray())


class _Cycle:
    """Context of PETSc's preconditioner of type python."""

    def __init__(self, operator: EqualOrder) -> None:
        self._operator = weakref.proxy(operator)

    def apply(self, pc: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """P⁻¹ x; collective."""
        self._operator.precondition(x.getArray(readonly=True), y.getArray())


def _assembled(form: fem.Form, conditions: Sequence[fem.DirichletBC]) -> PETSc.Mat:
    matrix = fem_petsc.create_matrix(form)
    _fill_matrix(matrix, form, conditions)
    return matrix


def _fill_matrix(matrix: PETSc.Mat, form: fem.Form, conditions: Sequence[fem.DirichletBC]) -> None:
    matrix.zeroEntries()
    fem_petsc.assemble_matrix(matrix, form, conditions)
    matrix.assemble()


def _fill_vector(f: fem.Function, form: fem.Form) -> None:
    f.x.array[:] = 0.0
    fem.assemble_vector(f.x.array, form)
    f.x.scatter_reverse(la.InsertMode.add)
    f.x.scatter_forward()
