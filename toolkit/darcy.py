"""Darcy flow: −∇·(κ ∇p) = s, q = −κ ∇p, with κ the permeability over the viscosity.

Weakly ∫κ ∇p·∇v dx = ∫s v dx − ∫q̄ v ds, with q̄ the prescribed outward flux. The same equation is
heat conduction and diffusion.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.conditions import check_degree, positive_value, prescribed, scalar_value
from toolkit.domain import Domain
from toolkit.elementwise import operator
from toolkit.errors import InputError
from toolkit.solver import Recipe
from toolkit.state import State

__all__ = ["darcy"]

RTOL = 1e-6
DIRECT_DOFS = {2: 300_000, 3: 20_000}  # below these a factorisation is faster


def darcy(
    domain: Domain,
    *,
    permeability: float | Expr,
    pressure: Mapping[str, Any],
    flux: Mapping[str, Any] | None = None,
    source: float | Expr = 0.0,
    degree: int = 1,
    name: str = "pressure",
) -> State:
    """The pressure of a Darcy flow.

    Args:
        domain: The mesh.
        permeability: κ = k/μ, scalar or (d, d) UFL of the density, whose symmetric part counts;
            mm⁴/(N s) in mm, N, s.
        pressure: Boundary → prescribed pressure; at least one.
        flux: Boundary → outward flux per area; other boundaries are tight.
        source: Volume source.
        degree: Polynomial degree of the pressure.
        name: Options prefix and name in files.

    Raises:
        InputError: Unknown names, or no pressure prescribed (it would be known up to a constant).
    """
    if not pressure:
        raise InputError(
            f"darcy: no boundary has a prescribed pressure, so it has no level. Give one of "
            f"{', '.join(domain.names(domain.dimension - 1))}."
        )
    check_degree(degree, "darcy")
    space = fem.functionspace(domain.mesh, ("Lagrange", degree))
    conditions = prescribed(domain, space, pressure, what="pressure")
    κ = (
        permeability
        if isinstance(permeability, Expr)
        else positive_value(domain, permeability, "permeability")
    )
    s = scalar_value(domain, source, "source")
    outward = {n: scalar_value(domain, q, f"flux on '{n}'") for n, q in (flux or {}).items()}

    def residual(p: Any, v: Any) -> ufl.Form:
        κ_grad_p = ufl.dot(ufl.sym(κ), ufl.grad(p)) if κ.ufl_shape else κ * ufl.grad(p)
        F = ufl.inner(κ_grad_p, ufl.grad(v)) * domain.dx
        F -= s * v * domain.dx
        for n, q in outward.items():
            F += q * v * domain.ds(n)
        return F

    dofs = space.dofmap.index_map.size_global
    small = dofs <= DIRECT_DOFS[domain.dimension]
    iterative = Recipe.multigrid(rtol=RTOL, comm=domain.comm)
    recipe = Recipe.direct(definite=True) if small else iterative
    make = partial(operator, domain, conditions=conditions, name=name, recipe=recipe, rtol=RTOL)
    return State(space, residual, name=name, conditions=conditions, operator=make)
