"""Effective properties of a periodic cell Y, as Functionals with exact gradients.

Stiffness: with unit strains eᵢ and periodic χᵢ,

    ∫ (eᵢ + ε(χᵢ)) : C : ε(v) = 0     Cᵢⱼ = 1/|Y| ∫ (eᵢ + ε(χᵢ)) : C : (eⱼ + ε(χⱼ))

Conductivity (diffusion, Darcy): the same with unit gradients and κ. Permeability: with unit forces,

    −μ Δwᵢ + α wᵢ + ∇pᵢ = eᵢ,   ∇·wᵢ = 0     kᵢⱼ = μ/|Y| ∫ wᵢ·eⱼ

All three are mutual energies, stationary in their solutions: no adjoint is solved, and a solver's
error enters squared. The constants that periodic problems leave free are pinned at one vertex of
each connected part. Sánchez-Palencia 1980, doi:10.1007/3-540-10000-8; Guest & Prévost 2007,
doi:10.1016/j.cma.2006.08.006.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.cell import Cell
from toolkit.conditions import check_degree, positive_value, prescribed, scalar_value
from toolkit.elasticity import DIRECT_DOFS, Plane, strain
from toolkit.elementwise import operator
from toolkit.energy import Energies
from toolkit.equal_order import EqualOrder, bilinear
from toolkit.errors import InputError
from toolkit.functional import Functional
from toolkit.material import lame
from toolkit.saddle import SaddlePoint
from toolkit.solver import Operator, Recipe
from toolkit.stokes import DIRECT_DOFS as FLOW_DIRECT_DOFS
from toolkit.stokes import Pair, cell_size, check_covered, mixed_space

__all__ = ["conductivity", "permeability", "stiffness"]

Array = npt.NDArray[np.float64]
Cubic = Literal["cubic"]
SMALL = {2: 100_000, 3: 4_000}  # flows of equal order below these are factorised
RTOL = 1e-5  # enters the energies squared
FLOW_RTOL = 1e-8  # likewise, but times the conditioning of the pressure
VOIGT = {2: [(0, 0), (1, 1), (0, 1)], 3: [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]}


def stiffness(
    cell: Cell,
    *,
    modulus: float | Expr,
    poisson: float,
    plane: Plane | None = None,
    degree: int = 1,
    symmetry: Cubic | None = None,
    name: str = "strain",
) -> Functional:
    """The effective stiffness, 6×6 (3×3 in 2D), Voigt order 11 22 33 23 13 12 (11 22 12).

    Shears are engineering shears: C₆₆ (C₃₃ in 2D) is a shear modulus.

    Args:
        cell: The periodic cell.
        modulus: Young's modulus, a number or UFL of the density; small, not zero, in voids.
        poisson: Poisson's ratio.
        plane: In 2D, "strain" (the default) or "stress".
        degree: Polynomial degree of the displacements.
        symmetry: "cubic" if the cell has that symmetry for every design (see `Density`): three
            load cases then give the tensor instead of six.
        name: Options prefix of the solver.

    Returns:
        A Functional in the units of `modulus`, per volume of the period.
    """
    _check_whole(cell, "stiffness")
    check_degree(degree, "stiffness")
    d = cell.dimension
    if plane is not None and d == 3:
        raise InputError(f"plane='{plane}' is for 2D cells; '{cell.source}' is 3D.")
    space = fem.functionspace(cell.mesh, ("Lagrange", degree, (d,)))
    anchored = _pinned(cell, space)
    unit = [_unit_strain(i, j, d) for i, j in VOIGT[d]]
    strains = [np.eye(d), unit[0], unit[-1]] if _cubic(symmetry) else unit
    λ, μ = lame(1.0, poisson, plane=plane)
    E = _on(cell, modulus, "modulus")

    def σ(ε: Any) -> Expr:
        return E * (λ * ufl.tr(ε) * ufl.Identity(d) + 2 * μ * ε)

    energies = Energies(
        space,
        lambda u, v: ufl.inner(σ(strain(u)), strain(v)) * cell.dx,
        lambda e, v: -ufl.inner(σ(e), strain(v)) * cell.dx,
        strains,
        name=name,
        conditions=anchored,
        operator=partial(
            operator,
            cell,
            conditions=anchored,
            name=name,
            recipe=_recipe(space, d),
            rtol=RTOL,
            near_null=_translations(space),
        ),
    )
    traces = np.array([np.trace(e) for e in strains])
    products = np.array([[np.sum(a * b) for b in strains] for a in strains])
    solid = float(λ) * np.outer(traces, traces) + 2 * float(μ) * products
    volume = cell.volume

    def tensor(G: Array, mean: float) -> Array:
        C = (solid * mean - G) / volume
        return _cubic_stiffness(C, d) if symmetry else C

    return energies.functional(E * cell.dx, of=tensor, name="stiffness")


def conductivity(
    cell: Cell,
    *,
    coefficient: float | Expr = 1.0,
    degree: int = 1,
    symmetry: Cubic | None = None,
    name: str = "gradient",
) -> Functional:
    """The effective conductivity, d×d: diffusion or Darcy flow, per whole cell.

    Args:
        cell: The periodic cell; a phase that is not meshed is insulating.
        coefficient: Local conductivity, diffusivity or permeability, a number or UFL of the
            density; small, not zero, in insulating phases.
        degree: Polynomial degree.
        symmetry: "cubic" if the cell has that symmetry for every design: one load case is solved.
        name: Options prefix of the solver.

    Returns:
        A Functional in the units of `coefficient`.
    """
    _check_whole(cell, "conductivity")
    check_degree(degree, "conductivity")
    d = cell.dimension
    κ = _on(cell, coefficient, "coefficient")
    space = fem.functionspace(cell.mesh, ("Lagrange", degree))
    anchored = _pinned(cell, space)
    energies = Energies(
        space,
        lambda u, v: κ * ufl.inner(ufl.grad(u), ufl.grad(v)) * cell.dx,
        lambda e, v: -κ * ufl.inner(e, ufl.grad(v)) * cell.dx,
        _directions(d, symmetry),
        name=name,
        conditions=anchored,
        operator=partial(
            operator,
            cell,
            conditions=anchored,
            name=name,
            recipe=_recipe(space, d),
            rtol=RTOL,
        ),
    )
    volume = cell.volume
    return energies.functional(
        κ * cell.dx,
        of=lambda G, K: _isotropic((np.eye(len(G)) * K - G) / volume, d),
        name="conductivity",
    )


def permeability(
    cell: Cell,
    *,
    drag: float | Expr = 0.0,
    walls: Sequence[str] = (),
    viscosity: float = 1.0,
    pair: Pair | None = None,
    symmetry: Cubic | None = None,
    name: str = "seepage",
) -> Functional:
    """The effective permeability, d×d, in units of length², per whole cell.

    Args:
        cell: The periodic cell: all of it with a drag, or its fluid phase with no-slip walls.
        drag: α, a number or UFL of the density (see `brinkman`).
        walls: Boundaries without slip: the interface of a body-fitted cell, and the ends of axes
            along which the cell does not repeat.
        viscosity: μ, a number; k does not depend on it where there is no drag.
        pair: "taylor-hood" (the default without drag), or "stabilised" equal order (with one).
        symmetry: "cubic" if the cell has that symmetry for every design: one load case is solved.
        name: Options prefix of the solver.

    Returns:
        A Functional; k₁₁ is the flow along x for a unit pressure gradient along x, times μ.

    Raises:
        InputError: Neither drag nor walls, a boundary that is not a wall.
    """
    _check_whole(cell, "permeability")
    if not isinstance(viscosity, int | float) or not viscosity > 0:
        raise InputError(f"permeability: viscosity = {viscosity!r} must be a positive number.")
    bare = isinstance(drag, int | float) and drag == 0
    if bare and not walls:
        raise InputError(
            "permeability: with neither drag nor walls nothing holds the fluid, and the "
            "permeability is infinite. Give drag=brinkman(ρ, …), or the walls of the fluid phase."
        )
    check_covered(cell, walls, "into walls")
    pair = pair or ("taylor-hood" if bare else "stabilised")
    μ, α = float(viscosity), _on(cell, drag, "drag", positive=False)
    forces = _directions(cell.dimension, symmetry)
    if pair == "taylor-hood":
        energies = _taylor_hood(cell, μ, α, walls, forces, name)
    elif pair == "stabilised":
        energies = _equal_order(cell, μ, α, walls, forces, name)
    else:
        raise InputError(f"permeability: pair='{pair}' is neither 'taylor-hood' nor 'stabilised'.")
    volume = cell.volume
    return energies.functional(
        of=lambda G: _isotropic(G * (μ / volume), cell.dimension), name="permeability"
    )


def _taylor_hood(
    cell: Cell, μ: float, α: Expr, walls: Sequence[str], forces: list[Array], name: str
) -> Energies:
    d = cell.dimension
    space = mixed_space(cell, "taylor-hood")

    def a(w: Any, test: Any) -> ufl.Form:
        (u, p), (v, q) = ufl.split(w), ufl.split(test)
        viscous = μ * ufl.inner(ufl.grad(u), ufl.grad(v)) + α * ufl.inner(u, v)
        return (viscous - p * ufl.div(v) - q * ufl.div(u)) * cell.dx

    conditions = prescribed(cell, space.sub(0), walls, what="walls")
    conditions += _pinned(cell, space.sub(1))
    small = space.dofmap.index_map.size_global <= FLOW_DIRECT_DOFS[d]
    recipe, saddle = Recipe.direct(definite=False), None
    if not small:
        recipe = Recipe.flexible(rtol=FLOW_RTOL)
        pressures, _ = space.sub(1).collapse()
        saddle = SaddlePoint(
            space,
            viscosity=ufl.as_ufl(μ),
            drag=α,
            size=cell_size(cell),
            held=[
                fem.locate_dofs_topological(pressures, 0, cell.entities(0, cell.anchors)),
            ],
            name=name,
        )
    return Energies(
        space,
        a,
        lambda e, w: ufl.inner(e, ufl.split(w)[0]) * cell.dx,
        forces,
        name=name,
        conditions=conditions,
        operator=lambda form: Operator(
            form, conditions, name=name, recipe=recipe, preconditioner=saddle
        ),
    )


def _equal_order(
    cell: Cell, μ: float, α: Expr, walls: Sequence[str], forces: list[Array], name: str
) -> Energies:
    d = cell.dimension
    space = fem.functionspace(cell.mesh, ("Lagrange", 1, (d + 1,)))
    h = cell_size(cell)

    def a(w: Any, test: Any) -> ufl.Form:
        return bilinear(w, test, viscosity=μ, drag=α, size=h, dx=cell.dx)

    def force(e: Any, w: Any) -> ufl.Form:
        return ufl.inner(e, ufl.as_vector([w[i] for i in range(d)])) * cell.dx

    conditions = [
        bc for i in range(d) for bc in prescribed(cell, space.sub(i), walls, what="walls")
    ] + _pinned(cell, space.sub(d))
    dofs = space.dofmap.index_map.size_global * (d + 1)

    def operator(form: ufl.Form) -> Any:
        if dofs <= SMALL[d]:
            return Operator(form, conditions, name=name, recipe=Recipe.direct(definite=False))
        return EqualOrder(
            form,
            conditions,
            name=name,
            viscosity=μ,
            drag=α,
            size=h,
            volume=cell.volume,
            rtol=FLOW_RTOL,
        )

    return Energies(space, a, force, forces, name=name, conditions=conditions, operator=operator)


def _on(cell: Cell, value: float | Expr, what: str, *, positive: bool = True) -> Expr:
    """A coefficient as UFL of the cell."""
    return (positive_value if positive else scalar_value)(cell, value, what)


def _unit_strain(i: int, j: int, d: int) -> Array:
    """The strain with ε₁₁ = 1 or γ₁₂ = 1."""
    e = np.zeros((d, d))
    e[i, j] += 0.5
    e[j, i] += 0.5
    return e


def _cubic(symmetry: str | None) -> bool:
    if symmetry not in (None, "cubic"):
        raise InputError(f"symmetry='{symmetry}' is unknown here. Use 'cubic', or None.")
    return symmetry is not None


def _directions(d: int, symmetry: Cubic | None) -> list[Array]:
    """Unit vectors: one for each axis, or the first for all."""
    return list(np.eye(d)[:1] if _cubic(symmetry) else np.eye(d))


def _isotropic(tensor: Array, d: int) -> Array:
    """A second-order tensor from its only independent entry, or as it is."""
    return np.eye(d) * tensor[0, 0] if len(tensor) == 1 else tensor


def _cubic_stiffness(energies: Array, d: int) -> Array:
    """C from the energies of a unit swelling, a unit stretch and a unit shear."""
    swelling, C11, C44 = np.diag(energies)
    C12 = (swelling / d - C11) / (d - 1)
    n = len(VOIGT[d])
    C = np.zeros((n, n), dtype=energies.dtype)
    C[:d, :d] = C12
    C[range(d), range(d)] = C11
    C[range(d, n), range(d, n)] = C44
    return C


def _check_whole(cell: Cell, what: str) -> None:
    if not isinstance(cell, Cell):
        raise InputError(f"{what} is of a periodic Cell: make it by Cell.box, Cell.read or .build.")


def _recipe(space: fem.FunctionSpace, d: int) -> Recipe:
    dofs = space.dofmap.index_map.size_global * space.dofmap.index_map_bs
    iterative = Recipe.multigrid(rtol=RTOL, comm=space.mesh.comm)
    return Recipe.direct(definite=True) if dofs <= DIRECT_DOFS[d] else iterative


def _translations(space: fem.FunctionSpace) -> list[Array]:
    """Owned entries of the d translations; rotations are not periodic."""
    n, d = space.dofmap.index_map.size_local, space.mesh.geometry.dim
    return [np.tile(np.eye(d)[i], n) for i in range(d)]


def _pinned(cell: Cell, space: fem.FunctionSpace) -> list[fem.DirichletBC]:
    """Zero at one vertex of each connected part: the constants that nothing else holds."""
    return prescribed(cell, space, [cell.anchors], what="anchor")
