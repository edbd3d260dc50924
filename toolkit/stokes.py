"""Stokes–Brinkman flow: −μ Δu + α u + ∇p = f, ∇·u = 0, with α the drag of a penalised solid.

Weakly ∫μ ∇u:∇v + α u·v − p ∇·v − q ∇·u dx = ∫f·v dx − ∫p̄ v·n ds. The natural condition
μ ∂u/∂n − p n = −p̄ n leaves a parallel outflow undisturbed. Two pairs of elements: Taylor–Hood, and
equal order stabilised by −∫τ ∇p·∇q dx (Brezzi & Pitkäranta 1984, doi:10.1007/978-3-663-14169-3_2)
with τ = h² / (12 μ + 4 α h²), which vanishes in the solid. The system is symmetric for both, and
with Taylor–Hood dissipation is self-adjoint. The drag is that of Borrvall & Petersson 2003,
doi:10.1002/fld.426.
"""

from collections.abc import Mapping, Sequence
from math import factorial
from typing import Any, Literal

import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from toolkit.conditions import positive_value, prescribed, scalar_value, vector_value
from toolkit.domain import Domain
from toolkit.errors import InputError
from toolkit.saddle import SaddlePoint
from toolkit.solver import Recipe
from toolkit.state import State

__all__ = ["Flow", "cell_size", "check_covered", "mixed_space", "stokes"]

Pair = Literal["taylor-hood", "stabilised"]
DIRECT_DOFS = {2: 400_000, 3: 20_000}  # below these a factorisation is faster


class Flow(State):
    """Velocity and pressure of a Stokes flow, one state; its parts keep the dependency."""

    @property
    def velocity(self) -> Any:
        """The velocity as UFL, (d,)."""
        return self.sub(0)

    @property
    def pressure(self) -> Any:
        """The pressure as UFL."""
        return self.sub(1)


def stokes(
    domain: Domain,
    *,
    viscosity: float | Expr,
    velocity: Mapping[str, Any] | Sequence[str],
    pressure: Mapping[str, Any] | None = None,
    slip: Sequence[str] = (),
    drag: float | Expr = 0.0,
    body: Any = None,
    pair: Pair = "taylor-hood",
    name: str = "flow",
) -> Flow:
    """The creeping flow of a viscous fluid around and through a density.

    Args:
        domain: The mesh.
        viscosity: μ; MPa s when lengths are mm and forces N.
        velocity: Boundary → prescribed velocity: a vector, a tuple with None for free components,
            UFL or a function of coordinates; a list of names is no-slip.
        pressure: Boundary → pressure p̄ of an open boundary.
        slip: Boundaries with u·n = 0 and μ ∂u/∂n = 0 along them, no shear on plane walls.
        drag: α, a number or UFL of the density (see `brinkman`).
        body: Force per volume.
        pair: "taylor-hood", or "stabilised" equal order for large 3D work.
        name: Options prefix and name in files.

    Returns:
        The state, with UFL parts `.velocity` and `.pressure`. With no open boundary the pressure is
        zero at the corner of least coordinates.

    Raises:
        InputError: Unknown names, boundary with no condition, inflow that differs from outflow.
    """
    if pair not in ("taylor-hood", "stabilised"):
        raise InputError(f"stokes: pair='{pair}' is neither 'taylor-hood' nor 'stabilised'.")
    μ = positive_value(domain, viscosity, "viscosity")
    α = scalar_value(domain, drag, "drag")
    openings = {
        n: scalar_value(domain, value, f"pressure on '{n}'")
        for n, value in (pressure or {}).items()
    }
    check_covered(
        domain,
        [*velocity, *openings, *slip],
        "into velocity (a list of names is no-slip), pressure or slip",
    )
    for name_ in set(openings) & (set(velocity) | set(slip)):
        value = velocity[name_] if isinstance(velocity, Mapping) and name_ in velocity else 0
        if not isinstance(value, tuple | list) or all(v is not None for v in value):
            raise InputError(
                f"stokes: '{name_}' has a pressure and a whole velocity (or slip). Give it one of "
                "them, or leave the velocity's normal component free with None."
            )
    space = mixed_space(domain, pair)
    conditions = prescribed(domain, space.sub(0), velocity, what="velocity")
    walls, oblique = _slip_walls(domain, slip)
    conditions += prescribed(domain, space.sub(0), walls, what="slip")
    if not openings:
        _check_balance(domain, space, conditions)
        conditions.append(_pin(space))
    f = None if body is None else vector_value(domain, body, "body force")
    h = cell_size(domain)
    n, dx, ds = ufl.FacetNormal(domain.mesh), domain.dx, domain.ds

    def residual(w: Any, test: Any) -> ufl.Form:
        (u, p), (v, q) = ufl.split(w), ufl.split(test)
        F = (μ * ufl.inner(ufl.grad(u), ufl.grad(v)) + α * ufl.inner(u, v)) * dx
        F -= (p * ufl.div(v) + q * ufl.div(u)) * dx
        if pair == "stabilised":
            τ = h**2 / (12 * μ + 4 * α * h**2)
            F -= τ * ufl.inner(ufl.grad(p), ufl.grad(q)) * dx
        if f is not None:
            F -= ufl.inner(f, v) * dx
        for name_, value in openings.items():
            F += value * ufl.dot(v, n) * ds(name_)
        for name_ in oblique:  # Nitsche
            F -= (_normal_force(u, p, μ, n) * ufl.dot(v, n)) * ds(name_)
            F -= (_normal_force(v, q, μ, n) * ufl.dot(u, n)) * ds(name_)
            F += 20 * μ / h * ufl.dot(u, n) * ufl.dot(v, n) * ds(name_)
        return F

    if space.dofmap.index_map.size_global <= DIRECT_DOFS[domain.dimension]:
        recipe, saddle = Recipe.direct(definite=False), None
    else:
        recipe = Recipe.flexible()
        held = _held_pressures(domain, space, list(openings), conditions)
        saddle = SaddlePoint(space, viscosity=μ, drag=α, size=h, held=held, name=name)
    return Flow(
        space,
        residual,
        name=name,
        conditions=conditions,
        recipe=recipe,
        preconditioner=saddle,
    )


def mixed_space(domain: Domain, pair: Pair) -> fem.FunctionSpace:
    """Velocity and pressure of a pair of elements."""
    cell, d = domain.mesh.basix_cell(), domain.dimension
    degree = 2 if pair == "taylor-hood" else 1
    velocity = basix.ufl.element("Lagrange", cell, degree, shape=(d,))
    pressure = basix.ufl.element("Lagrange", cell, 1)
    return fem.functionspace(domain.mesh, basix.ufl.mixed_element([velocity, pressure]))


def _normal_force(u: Any, p: Any, μ: Expr, n: Any) -> Expr:
    return μ * ufl.dot(ufl.dot(ufl.grad(u), n), n) - p


def cell_size(domain: Domain) -> fem.Function:
    """Edge length of a cube, or of a cube cut into d! simplices, of each cell's volume."""
    h = fem.Function(domain.cellwise, name="cell size")
    d = domain.dimension
    pieces = 1 if domain.tensor_cells else factorial(d)
    h.x.array[domain.cell_dofs[: len(domain.cells)]] = (pieces * domain.cell_volumes) ** (1 / d)
    h.x.scatter_forward()
    return h


def check_covered(domain: Domain, names: Sequence[str], where: str) -> None:
    """Every boundary facet needs a condition: one forgotten would be an open outflow."""
    d = domain.dimension
    outer = mesh.exterior_facet_indices(domain.mesh.topology)
    covered = np.concatenate([np.zeros(0, np.int32), *(domain.entities(d - 1, n) for n in names)])
    bare = domain.comm.allreduce(int((~np.isin(outer, covered)).sum()))
    if bare:
        raise InputError(
            f"{bare} boundary facets of '{domain.source}' have no condition for the flow. Put "
            f"their names {where}. It has: {', '.join(domain.names(d - 1))}."
        )


def _slip_walls(
    domain: Domain, names: Sequence[str]
) -> tuple[dict[str, tuple[float | None, ...]], list[str]]:
    """Planes across an axis, whose normal velocity is prescribed, and the other slip walls."""
    planes: dict[str, tuple[float | None, ...]] = {}
    oblique: list[str] = []
    n, d = ufl.FacetNormal(domain.mesh), domain.dimension
    for name in names:
        area = domain.area(name)
        across = [
            domain.integrate(n[i] ** 2 * domain.ds(name)) > (1 - 1e-10) * area for i in range(d)
        ]
        if any(across):
            planes[name] = tuple(0.0 if yes else None for yes in across)
        else:
            oblique.append(name)
    return planes, oblique


def _check_balance(
    domain: Domain, space: fem.FunctionSpace, conditions: Sequence[fem.DirichletBC]
) -> None:
    """With velocities prescribed all around, what flows in must flow out."""
    w = fem.Function(space)
    for condition in conditions:
        condition.set(w.x.array)
    w.x.scatter_forward()
    outward = ufl.dot(ufl.split(w)[0], ufl.FacetNormal(domain.mesh))
    net, gross = (domain.integrate(form * domain.ds) for form in (outward, abs(outward)))
    if abs(net) > 1e-6 * gross:
        raise InputError(
            f"stokes: the prescribed velocities carry {net:.6g} net out of the domain ({gross:.6g} "
            "in all), which an incompressible flow cannot. Balance them, or give one boundary a "
            "pressure."
        )


def _held_pressures(
    domain: Domain,
    space: fem.FunctionSpace,
    openings: Sequence[str],
    conditions: Sequence[fem.DirichletBC],
) -> list[npt.NDArray[np.int32]]:
    """Dofs of the collapsed pressure space at openings, or the pinned one."""
    pressures, parents = space.sub(1).collapse()
    if not openings:
        pinned = np.isin(np.asarray(parents), conditions[-1].dof_indices()[0])
        return [np.flatnonzero(pinned).astype(np.int32)]
    d = domain.dimension
    return [
        fem.locate_dofs_topological(pressures, d - 1, domain.entities(d - 1, name))
        for name in openings
    ]


def _pin(space: fem.FunctionSpace) -> fem.DirichletBC:
    """Pressure zero at the corner of least coordinates; collective."""
    part = space.sub(1)
    collapsed, parents = part.collapse()
    points = collapsed.tabulate_dof_coordinates()
    n = collapsed.dofmap.index_map.size_local
    least = min(map(tuple, points[:n].round(12)), default=(np.inf,) * 3)
    corner = np.array(min(space.mesh.comm.allgather(least)))
    here = np.flatnonzero(
        np.abs(points - corner).max(axis=1) < 1e-9 * max(1.0, np.abs(corner).max())
    )
    dofs: list[npt.NDArray[np.int32]] = [
        np.asarray(parents, dtype=np.int32).ravel()[here],
        here.astype(np.int32),
    ]
    return fem.dirichletbc(fem.Function(collapsed), dofs, part)
