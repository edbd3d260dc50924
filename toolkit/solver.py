"""Matrices and the Krylov solvers that invert them: the only room that makes PETSc objects.

An `Operator` is born once with its matrix, its solver and its options prefix. In a design loop it
only asks whether a coefficient of its form has changed, and if so fills the same matrix again.
`Recipe`s say how to solve; every option they set can be overridden on the command line under the
state's name, `-displacement_ksp_rtol 1e-8`.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from toolkit.errors import InputError, SolverError

__all__ = [
    "Fingerprint",
    "LinearSolver",
    "Operator",
    "Recipe",
    "cell_matrix",
    "is_chosen",
    "versions",
]

HARDER = 4  # times as many iterations at the second attempt
FACTORISED = 300_000  # unknowns up to which the last attempt is a factorisation


class Recipe(NamedTuple):
    """PETSc options of a solver, without prefix, and what its matrix promises."""

    options: dict[str, str | float]
    definite: bool = False  # symmetric positive definite

    @classmethod
    def direct(cls, *, definite: bool) -> "Recipe":
        """A factorisation by MUMPS; A = LLᵀ or LU."""
        options: dict[str, str | float] = {
            "ksp_type": "preonly",
            "pc_type": "cholesky" if definite else "lu",
            "pc_factor_mat_solver_type": "mumps",
            "mat_mumps_icntl_14": 60,
        }
        return cls(options, definite)

    @classmethod
    def multigrid(cls, *, rtol: float = 1e-6, comm: MPI.Comm = MPI.COMM_WORLD) -> "Recipe":
        """Conjugate gradients with smoothed aggregation, for a symmetric positive matrix."""
        options: dict[str, str | float] = {
            "ksp_type": "cg",
            "ksp_norm_type": "unpreconditioned",
            "ksp_rtol": rtol,
            "ksp_max_it": 500,
            "pc_type": "gamg",
            "pc_gamg_threshold": -1,
            "pc_gamg_reuse_interpolation": 1,
            # Symmetric Gauss–Seidel needs no estimate of eigenvalues, which a design of high
            # contrast outgrows until Chebyshev's polynomial turns indefinite.
            "mg_levels_ksp_type": "richardson",
            "mg_levels_ksp_max_it": 1,
            "mg_levels_pc_type": "sor",
            "mg_coarse_ksp_type": "preonly",
        }
        if comm.size > 1:
            # Each rank sweeps on its own: where q ranks meet, the sweeps add up to q times as much.
            options["mg_levels_ksp_richardson_scale"] = 0.6
        return cls(options, True)

    @classmethod
    def conjugate(cls, *, rtol: float = 1e-6) -> "Recipe":
        """Conjugate gradients with a preconditioner of our own."""
        options: dict[str, str | float] = {
            "ksp_type": "cg",
            "ksp_norm_type": "unpreconditioned",
            "ksp_rtol": rtol,
            "ksp_max_it": 2000,
            "pc_type": "python",
        }
        return cls(options, True)

    @classmethod
    def flexible(cls, *, rtol: float = 1e-7) -> "Recipe":
        """FGMRES with a preconditioner of our own, for a saddle point."""
        options: dict[str, str | float] = {
            "ksp_type": "fgmres",
            "ksp_rtol": rtol,
            "ksp_gmres_restart": 60,
            "ksp_max_it": 300,
            "pc_type": "python",
        }
        return cls(options)

    @classmethod
    def diagonal(cls, *, rtol: float) -> "Recipe":
        """Conjugate gradients with the diagonal, for a well-conditioned positive matrix."""
        options: dict[str, str | float] = {
            "ksp_type": "cg",
            "ksp_norm_type": "unpreconditioned",
            "ksp_rtol": rtol,
            "ksp_max_it": 5000,
            "pc_type": "jacobi",
        }
        return cls(options, True)

    @property
    def direct_method(self) -> bool:
        """Whether it is a factorisation."""
        return self.options["ksp_type"] == "preonly"


def is_chosen(name: str) -> bool:
    """Whether the command line chooses the solver or the preconditioner of a state."""
    database: Any = PETSc.Options()
    return any(database.hasName(f"{name}_{key}") for key in ("ksp_type", "pc_type"))


class Fingerprint:
    """Remembers the data a result was computed from: changed since the last `renew`?"""

    def __init__(
        self, comm: MPI.Comm, *forms: ufl.Form, conditions: Sequence[fem.DirichletBC] = ()
    ) -> None:
        """Watch all coefficients and constants of some forms, and prescribed values."""
        self._comm = comm
        self._prescribed = [condition.g for condition in conditions]
        self._functions = list({c: None for form in forms for c in form.coefficients()})
        self._constants = list({c: None for form in forms for c in form.constants()})
        self._last: bytes | None = None

    def renew(self) -> bool:
        """True if the data differ from those at the last call, on any rank; collective."""
        digest = hashlib.blake2b(digest_size=16)
        for f in self._functions:
            digest.update(f.x.array.data)
        for c in self._constants:
            digest.update(np.ascontiguousarray(c.value).data)
        for g in self._prescribed:
            digest.update(np.ascontiguousarray(g.value if hasattr(g, "value") else g.x.array).data)
        now = digest.digest()
        changed = self._comm.allreduce(now != self._last, op=MPI.LOR)
        self._last = now
        return changed

    def forget(self) -> None:
        """Make the next `renew` say that the data changed."""
        self._last = None


class LinearSolver:
    """A PETSc Krylov solver of one matrix, named for its options and its errors."""

    def __init__(
        self, matrix: PETSc.Mat, name: str, recipe: Recipe, preconditioner: object | None = None
    ) -> None:
        self.name = name
        self.matrix = matrix
        self.iterations: list[int] = []
        PETSc.garbage_cleanup(matrix.comm)  # what Python dropped holds communicators until then
        self._recipe, self._preconditioner = recipe, preconditioner
        self._promise()
        self._make()
        self._once = self._ksp.getType() == PETSc.KSP.Type.PREONLY
        self.direct = self._once and self._ksp.getPC().getType() in ("lu", "cholesky")
        self._residual = matrix.createVecLeft()
        self._views: WeakKeyDictionary[la.Vector, PETSc.Vec] = WeakKeyDictionary()

    def view(self, x: la.Vector) -> PETSc.Vec:
        """The PETSc vector that shares the owned part of a DOLFINx vector's memory, made once.

        It lives on the matrix's communicator: one on the vector's own would hold a communicator for
        every function space.
        """
        if x not in self._views:
            sizes = tuple(
                n * x.block_size for n in (x.index_map.size_local, x.index_map.size_global)
            )
            self._views[x] = PETSc.Vec().createWithArray(
                x.array[: sizes[0]], size=sizes, bsize=x.block_size, comm=self.matrix.comm
            )
        self._views[x].stateIncrease()  # else PETSc trusts norms of what stood there before
        return self._views[x]

    @property
    def rtol(self) -> float:
        """Relative residual that a solve reaches: the tolerance, or about round-off if direct."""
        return 1e-13 if self.direct else float(self._ksp.getTolerances()[0])

    @rtol.setter
    def rtol(self, value: float) -> None:
        if not self.direct:
            self._ksp.setTolerances(rtol=value)

    @property
    def limit(self) -> int:
        """The largest number of iterations of a solve."""
        return int(self._ksp.getTolerances()[3])

    def solve(self, b: PETSc.Vec, x: PETSc.Vec, *, transposed: bool = False) -> None:
        """Solve A x = b (or Aᵀ x = b), from x as the first guess; collective.

        Raises:
            SolverError: Not converged, or the matrix is singular.
        """
        self._promise()
        self._ksp.setInitialGuessNonzero(not self._once)
        try:
            (self._ksp.solveTranspose if transposed else self._ksp.solve)(b, x)
        except PETSc.Error as error:
            raise self._failure("PETSc stopped") from error
        self.iterations.append(self._ksp.getIterationNumber())
        reason: Any = self._ksp.getConvergedReason()
        if reason < 0 or not np.isfinite(x.norm()):
            x.zeroEntries()  # the next solve starts clean
            raise self._failure(_REASONS.get(reason, f"reason {reason}"))
        if self.direct:
            self._check_residual(b, x, transposed)

    def _promise(self) -> None:
        """Say that the matrix is definite, which PETSc forgets whenever it is filled."""
        self.matrix.setOption(PETSc.Mat.Option.SPD, self._recipe.definite)  # type: ignore[arg-type]

    def solve_harder(self, b: PETSc.Vec, x: PETSc.Vec, *, transposed: bool = False) -> None:
        """Solve again after a failure: from zero, set up anew, with more iterations; collective.

        Raises:
            SolverError: Not converged.
        """
        limit = self.limit
        self._ksp.setTolerances(max_it=HARDER * limit)
        try:
            self.solve(b, x, transposed=transposed)
        finally:
            self._ksp.setTolerances(max_it=limit)
        if self.matrix.comm.rank == 0:
            warnings.warn(
                f"The state '{self.name}' was not solved in {limit} iterations, but in "
                f"{self.iterations[-1]}: see whether the design is of use.",
                stacklevel=2,
            )

    def _make(self) -> None:
        """Make the Krylov solver, which prepares itself when it first solves; collective."""
        self._ksp = PETSc.KSP().create(self.matrix.comm)
        self._ksp.setOptionsPrefix(f"{self.name}_")
        self._ksp.setOperators(self.matrix)
        _configure(self._ksp, f"{self.name}_", self._recipe.options)
        if self._ksp.getPC().getType() == PETSc.PC.Type.PYTHON:
            self._ksp.getPC().setPythonContext(self._preconditioner)

    def reset(self) -> None:
        """Make the solver anew: what it finds next depends on the matrix alone; collective.

        In parallel MUMPS adds up in the order in which messages happen to come, so each rank
        factorises the whole matrix.
        """
        rtol = self.rtol
        self._ksp.destroy()
        self._make()
        self.rtol = rtol
        if self.direct and self.matrix.comm.size > 1:
            _factorise_on_each_rank(self._ksp.getPC(), f"{self.name}_")

    def _check_residual(self, b: PETSc.Vec, x: PETSc.Vec, transposed: bool) -> None:
        """Refuse the finite nonsense that the factors of a singular matrix may give."""
        r = self._residual
        (self.matrix.multTranspose if transposed else self.matrix.mult)(x, r)
        r.axpy(-1.0, b)
        left, size = (float(np.sqrt(abs(v.dot(v)))) for v in (r, b))
        if not left <= 1e-6 * size:
            x.zeroEntries()
            raise self._failure(f"the factors leave a residual of {left:.1g} of {size:.1g}")

    def _failure(self, reason: str) -> SolverError:
        """The error to raise; what is left of the preconditioner is dropped, to be built anew."""
        its, residual = self._ksp.getIterationNumber(), self._ksp.getResidualNorm()
        complaint = self.complaint(reason, its, residual)
        self._ksp.reset()
        self._ksp.setOperators(self.matrix)
        return SolverError(complaint)

    def complaint(self, reason: str, its: int, residual: float) -> str:
        """What to tell the user of a solve that failed."""
        advice = (
            "Its matrix may be singular: check that the supports hold every rigid motion and that "
            "no stiffness or permeability is zero."
            if self.direct
            else f"Try -{self.name}_ksp_max_it 2000, a milder contrast of the law (`empty`), or a "
            f"direct solver: -{self.name}_ksp_type preonly -{self.name}_pc_type lu "
            f"-{self.name}_pc_factor_mat_solver_type mumps."
        )
        return (
            f"The state '{self.name}' was not solved: {reason} after {its} iterations, residual "
            f"{residual:.3g} (relative tolerance {self.rtol:.1g}). {advice}"
        )


class Operator:
    """The matrix of a bilinear form with its boundary conditions, and its solver.

    Attributes:
        form: Bilinear form a(u, v).
        conditions: Dirichlet conditions; their rows and columns are the identity's.
        symmetric: Whether A = Aᵀ, so that adjoint solves use A itself.
        solver: The `LinearSolver`.
    """

    def __init__(
        self,
        form: ufl.Form,
        conditions: Sequence[fem.DirichletBC],
        *,
        name: str,
        recipe: Recipe,
        symmetric: bool = True,
        near_null: Sequence[npt.NDArray[np.float64]] = (),
        preconditioner: object | None = None,
    ) -> None:
        """Allocate the matrix and its solver; nothing is assembled yet.

        Args:
            form: Bilinear form.
            conditions: Dirichlet conditions.
            name: Options prefix and the name in errors.
            recipe: How to solve.
            symmetric: Whether the form is symmetric.
            near_null: Owned entries of the near-null-space modes, for multigrid.
            preconditioner: Context of a preconditioner of PETSc's type python; its `drop`, if it
                has one, makes it build anew what it keeps.
        """
        self._drop: Callable[[], None] = getattr(preconditioner, "drop", lambda: None)
        self.form, self.conditions, self.symmetric = form, list(conditions), symmetric
        self.compiled = fem.form(form)
        space = form.arguments()[0].ufl_function_space()
        self._comm = space.mesh.comm
        matrix = fem_petsc.create_matrix(self.compiled)
        if near_null:
            matrix.setNearNullSpace(_null_space(matrix, near_null))
        self.solver = LinearSolver(matrix, name, recipe, preconditioner)
        self._fingerprint = Fingerprint(self._comm, form)
        size = space.dofmap.index_map.size_local * space.dofmap.index_map_bs
        held = [bc.dof_indices()[0] for bc in self.conditions]
        fixed = np.unique(np.concatenate([np.zeros(0, np.int32), *held]))
        self.fixed = fixed[fixed < size]
        self._right, self._left = matrix.createVecs()
        self._seen = False

    def update(self) -> None:
        """Assemble again if a coefficient has changed; collective.

        `KSPSolve` rebuilds the preconditioner of a matrix that was assembled again.
        """
        if not self._fingerprint.renew():
            return
        matrix = self.solver.matrix
        matrix.zeroEntries()
        fem_petsc.assemble_matrix(matrix, self.compiled, self.conditions)
        matrix.assemble()
        if self.symmetric and not self._seen:
            self._check_symmetry()
        self._seen = True

    def reset(self) -> None:
        """Assemble and set up anew at the next update; collective."""
        self._fingerprint.forget()
        self.solver.reset()
        self._drop()

    def _check_symmetry(self) -> None:
        """Refuse a matrix that is not what it was said to be: its adjoints would be wrong."""
        first, last = self._right.getOwnershipRange()
        self._right.array[:] = np.sin(np.arange(first, last) + 1.0)
        self.solver.matrix.mult(self._right, self._left)
        size: Any = self._left.norm()
        turned = self._left.duplicate()
        self.solver.matrix.multTranspose(self._right, turned)
        turned.axpy(-1.0, self._left)
        gap: Any = turned.norm()
        turned.destroy()
        if gap > 1e-8 * size:
            raise InputError(
                f"The equation of the state '{self.solver.name}' is not symmetric (by "
                f"{gap / size:.1g} of its size), so its adjoint needs the transpose: give the "
                "State symmetric=False, and a recipe that is not for symmetric matrices."
            )

    def solve(self, b: la.Vector, x: la.Vector, *, transposed: bool = False) -> None:
        """Solve A x = b, or Aᵀ x = b, ghosts included; collective."""
        right, left = self.solver.view(b), self.solver.view(x)
        turned = transposed and not self.symmetric
        try:
            self.solver.solve(right, left, transposed=turned)
        except SolverError as failure:
            self._rescue(right, left, turned, failure)
        x.scatter_forward()

    def _rescue(
        self, right: PETSc.Vec, left: PETSc.Vec, turned: bool, failure: SolverError
    ) -> None:
        """Solve by more iterations, else by a factorisation if that is possible; collective."""
        if self.solver.direct or is_chosen(self.solver.name):
            raise failure
        try:
            self.solver.solve_harder(right, left, transposed=turned)
        except SolverError:
            if self.solver.matrix.getSize()[0] > FACTORISED:
                raise
            recipe = Recipe.direct(definite=False)
            direct = LinearSolver(self.solver.matrix, f"{self.solver.name}_rescue", recipe)
            direct.solve(right, left, transposed=turned)
            if self._comm.rank == 0:
                warnings.warn(f"{failure} It was solved by a factorisation.", stacklevel=2)

    def load(self, form: ufl.Form) -> Callable[[npt.NDArray[np.float64]], None] | None:
        """No faster way to assemble a load than its form."""
        return None

    def solve_all(self, bs: Sequence[la.Vector], xs: Sequence[la.Vector]) -> None:
        """Solve A xᵢ = bᵢ one after the other, ghosts included; collective."""
        for b, x in zip(bs, xs, strict=True):
            self.solve(b, x)

    def apply(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A x for the owned entries of x; collective."""
        self._right.array[:] = x
        self.solver.matrix.mult(self._right, self._left)
        return self._left.array.copy()


def cell_matrix(
    space: fem.FunctionSpace,
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[np.float64],
) -> PETSc.Mat:
    """A matrix over cells from triplets whose rows this rank owns (local numbers); collective."""
    index_map = space.dofmap.index_map
    sizes = (index_map.size_local, index_map.size_global)
    matrix = PETSc.Mat().createAIJ((sizes, sizes), comm=space.mesh.comm)
    places = index_map.local_to_global(np.concatenate([rows, columns]).astype(np.int32))
    i, j = np.split(places.astype(PETSc.IntType), 2)
    matrix.setPreallocationCOO(i, j)
    matrix.setValuesCOO(values)  # type: ignore[arg-type]
    return matrix


def versions() -> dict[str, str]:
    """Versions of PETSc and petsc4py."""
    return {
        "petsc": ".".join(map(str, PETSc.Sys.getVersion())),
        "petsc4py": __import__("petsc4py").__version__,
    }


def _configure(ksp: PETSc.KSP, prefix: str, defaults: dict[str, str | float]) -> None:
    """Apply the recipe's options where the user has not set them, and leave no trace of them."""
    database: Any = PETSc.Options()
    set_here = [key for key in defaults if not database.hasName(prefix + key)]
    for key in set_here:
        database[prefix + key] = defaults[key]
    ksp.setFromOptions()
    for key in set_here:
        if not key.startswith(("mg_", "mat_")):  # those are read when the factors are made
            del database[prefix + key]


def _factorise_on_each_rank(pc: PETSc.PC, prefix: str) -> None:
    """Let a factorisation be done on every rank for itself."""
    database: Any = PETSc.Options()
    inner = {
        "pc_type": pc.getType(),
        "pc_factor_mat_solver_type": pc.getFactorSolverType() or "mumps",
        "mat_mumps_icntl_14": 60,
    }
    for key, value in inner.items():
        database[f"{prefix}redundant_{key}"] = value
    pc.setType(PETSc.PC.Type.REDUNDANT)
    pc.setFromOptions()


def _null_space(matrix: PETSc.Mat, modes: Sequence[npt.NDArray[np.float64]]) -> PETSc.NullSpace:
    """Orthonormal near-null space from the owned entries of its modes; collective."""
    basis: list[PETSc.Vec] = []
    for mode in modes:
        vector = matrix.createVecRight()
        vector.array[:] = mode
        for other in basis:
            vector.axpy(-vector.dot(other), other)
        vector.normalize()
        basis.append(vector)
    return PETSc.NullSpace().create(vectors=basis, comm=matrix.comm)


_REASONS = {
    -3: "the iteration limit was reached",
    -4: "the residual grew",
    -5: "the Krylov method broke down",
    -7: "the matrix is not symmetric",
    -8: "the preconditioner is indefinite",
    -9: "the residual is not a number",
    -10: "the matrix is indefinite",
    -11: "the preconditioner could not be built",
}
