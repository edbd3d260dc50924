"""A preconditioner for Stokes–Brinkman flow that does not feel the drag's contrast.

The matrix is [A G; Gᵀ −C] with A the viscous and drag terms, G the pressure's gradient and C the
stabilisation. The preconditioner is its upper block triangle: p = S⁻¹ r_p, then u = A⁻¹ (r_u − G p)
with one cycle of smoothed aggregation for A⁻¹, and for the Schur complement S = −(C + Gᵀ A⁻¹ G)

    −S⁻¹ ≈ [lumped ∫ p q / (μ + 0.05 α h²) dx]⁻¹ + 0.35 [∫ ∇p·∇q / (α + ε) dx]⁻¹,

the mass matrix of viscous flow plus the Laplacian of Darcy flow, after Cahouet & Chabard 1988
(doi:10.1002/fld.1650080802); ε = 100 μ / |Ω|^(2/d) keeps the Laplacian from swamping the mass where
there is no drag. Everything is distributed; the Krylov method must be flexible (FGMRES).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from dolfinx.fem import petsc as fem_petsc
from petsc4py import PETSc
from ufl.core.expr import Expr

from toolkit.solver import LinearSolver, Recipe

__all__ = ["SaddlePoint"]

CYCLE: dict[str, str | float] = {
    "ksp_type": "preonly",
    "pc_type": "gamg",
    "pc_gamg_threshold": 0.02,
    "pc_gamg_coarse_eq_limit": 200,
    "pc_gamg_reuse_interpolation": 0,  # aggregates follow the drag, which parts what it separates
    "mg_levels_ksp_type": "richardson",
    "mg_levels_ksp_max_it": 1,
    "mg_levels_pc_type": "sor",
}


class SaddlePoint:
    """Context of a PETSc preconditioner of type python, for one mixed velocity–pressure space."""

    def __init__(
        self,
        space: fem.FunctionSpace,
        *,
        viscosity: Expr,
        drag: Expr,
        size: fem.Function,
        held: Sequence[npt.NDArray[np.int32]],
        name: str,
    ) -> None:
        """Make the forms and blocks; nothing is assembled yet.

        Args:
            space: Velocity and pressure.
            viscosity: μ.
            drag: α.
            size: Cell size h.
            held: Local dofs of the collapsed pressure space where the pressure is prescribed.
            name: Options prefix of the state.
        """
        self._name = name
        mesh = space.mesh
        d = mesh.geometry.dim
        velocities, u_parents = space.sub(0).collapse()
        pressures, p_parents = space.sub(1).collapse()
        self._dofs = [
            _owned(np.ravel(np.asarray(parents)), part)
            for parents, part in ((u_parents, velocities), (p_parents, pressures))
        ]
        self._fields = [_index_set(space, dofs) for dofs in self._dofs]
        p, q = ufl.TrialFunction(pressures), ufl.TestFunction(pressures)
        one = fem.Constant(mesh, 1.0)
        volume = mesh.comm.allreduce(fem.assemble_scalar(fem.form(one * ufl.dx)))
        μ, α, h = viscosity, drag, size
        ε = 100 * μ / volume ** (2 / d)
        self._mass_form = fem.form(q / (μ + 0.05 * α * h**2) * ufl.dx)
        self._darcy_form = fem.form(ufl.inner(ufl.grad(p), ufl.grad(q)) / (α + ε) * ufl.dx)
        dofs = np.unique(np.concatenate([np.zeros(0, np.int32), *held])).astype(np.int32)
        self._conditions = [fem.dirichletbc(0.0, dofs, pressures)]
        self._mass = fem.Function(pressures)
        self._owned = pressures.dofmap.index_map.size_local
        self._d = d
        darcy = fem_petsc.create_matrix(self._darcy_form)
        self._darcy = LinearSolver(darcy, f"{name}_schur", Recipe(CYCLE, definite=True))
        self._made = False
        self._velocity: LinearSolver  # the blocks are taken from the first assembled matrix
        self._gradient: PETSc.Mat

    def setUp(self, pc: PETSc.PC) -> None:
        """Take the blocks of the present matrix and assemble the Schur complement's; collective."""
        matrix, _ = pc.getOperators()
        u, p = self._fields
        if self._made:
            matrix.createSubMatrix(u, u, self._velocity.matrix)
            matrix.createSubMatrix(u, p, self._gradient)
        else:
            block = matrix.createSubMatrix(u, u)
            block.setBlockSize(self._d)
            self._velocity = LinearSolver(block, f"{self._name}_velocity", Recipe(CYCLE, True))
            self._gradient = matrix.createSubMatrix(u, p)
            self._work = [block.createVecRight() for _ in range(2)]
            self._pressure = [self._darcy.matrix.createVecRight() for _ in range(2)]
            self._made = True
        mass = self._mass.x
        mass.array[:] = 0.0
        fem.assemble_vector(mass.array, self._mass_form)
        mass.scatter_reverse(la.InsertMode.add)
        darcy = self._darcy.matrix
        darcy.zeroEntries()
        fem_petsc.assemble_matrix(darcy, self._darcy_form, self._conditions)
        darcy.assemble()

    def drop(self) -> None:
        """Drop the hierarchies of the blocks, to be built anew; collective."""
        self._darcy.reset()
        if self._made:
            self._velocity.reset()

    def apply(self, pc: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Apply the preconditioner, y = P⁻¹ x; collective."""
        u, p = self._dofs
        (right, left), (residual, correction) = self._work, self._pressure
        given = x.getArray(readonly=True)
        residual.array[:] = given[p]
        self._darcy.solve(residual, correction)
        correction.scale(-0.35)
        correction.array[:] -= residual.array / self._mass.x.array[: self._owned]
        self._gradient.mult(correction, right)
        right.array[:] = given[u] - right.array
        self._velocity.solve(right, left)
        found = y.getArray()
        found[u], found[p] = left.array, correction.array


def _owned(parents: npt.NDArray[np.int32], part: fem.FunctionSpace) -> npt.NDArray[np.int32]:
    """Local dofs in the mixed space of the owned dofs of a field, in the field's own order."""
    return parents[: part.dofmap.index_map.size_local * part.dofmap.index_map_bs].astype(np.int32)


def _index_set(space: fem.FunctionSpace, dofs: npt.NDArray[np.int32]) -> PETSc.IS:
    """The same dofs by their global numbers."""
    places = space.dofmap.index_map.local_to_global(dofs)
    return PETSc.IS().createGeneral(places.astype(PETSc.IntType), comm=space.mesh.comm)
