"""Linear elasticity: −∇·σ(u) = b, σ = λ tr(ε) I + 2 μ ε, ε = ½ (∇u + ∇uᵀ).

Weakly ∫σ(u):ε(v) dx + ∫k u·v ds = ∫b·v dx + ∫t·v ds + ∫q·v dl + Σ P·v. Load cases share one
matrix and one factorisation. Small problems are factorised, large ones solved by conjugate
gradients: on boxes without a matrix (see `elementwise`), elsewhere with smoothed aggregation, whose
coarse spaces hold the rigid motions.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.conditions import check_degree, prescribed, vector_value
from toolkit.domain import Domain
from toolkit.elementwise import operator
from toolkit.errors import InputError
from toolkit.material import lame
from toolkit.solver import Recipe
from toolkit.state import State

__all__ = ["elasticity", "strain", "stress"]

Load = Mapping[str, Any]
Plane = Literal["strain", "stress"]
NONE: Load = MappingProxyType({})
RTOL = 1e-6
DIRECT_DOFS = {2: 200_000, 3: 12_000}  # below these a factorisation is faster


def strain(u: Any) -> Expr:
    """ε(u) = ½ (∇u + ∇uᵀ)."""
    return ufl.sym(ufl.grad(u))


def stress(u: Any, *, modulus: float | Expr, poisson: float, plane: Plane | None = None) -> Expr:
    """σ(u), (d, d), in the units of `modulus`."""
    λ, μ = lame(modulus, poisson, plane=plane)
    ε = strain(u)
    return λ * ufl.tr(ε) * ufl.Identity(len(u)) + 2 * μ * ε


def elasticity(
    domain: Domain,
    *,
    modulus: float | Expr,
    poisson: float,
    displacement: Sequence[str] | Mapping[str, Any] = (),
    traction: Load | Sequence[Load] = NONE,
    line: Load = NONE,
    point: Load = NONE,
    body: Any = None,
    spring: Mapping[str, Any] = NONE,
    plane: Plane | None = None,
    degree: int = 1,
    name: str = "displacement",
) -> Any:
    """The displacement of a linear elastic solid.

    Args:
        domain: The mesh; lengths in mm when moduli are in MPa.
        modulus: Young's modulus, a number or UFL of the density.
        poisson: Poisson's ratio.
        displacement: Names of clamped boundaries, or name → value: a vector, a tuple with None
            for free components (a roller), a number 0, or a function of coordinates. Names of
            curves and points hold too.
        traction: Boundary → force per area, a vector or UFL (also of other states). A list of
            such makes load cases on one operator and returns a tuple of states.
        line: Named curve of a 3D mesh → force per length.
        point: Named point → force.
        body: Force per volume.
        spring: Boundary → stiffness per area, a number (all directions) or a vector.
        plane: In 2D, "strain" (the default) or "stress".
        degree: Polynomial degree of the displacement.
        name: Options prefix and name in files; load cases get _1, _2, … appended.

    Returns:
        The `State`, or a tuple of one for each load case.

    Raises:
        InputError: Unknown names, vectors of the wrong length, supports that leave a rigid motion.
    """
    d = domain.dimension
    check_degree(degree, "elasticity")
    if plane is not None and d == 3:
        raise InputError(f"plane='{plane}' is for 2D meshes; '{domain.source}' is 3D.")
    cases = [traction] if isinstance(traction, Mapping) else list(traction)
    if not cases:
        raise InputError("traction=[] has no load case. Give a dict, or a list of dicts.")
    space = fem.functionspace(domain.mesh, ("Lagrange", degree, (d,)))
    conditions = prescribed(domain, space, displacement, what="displacement")
    springs = {n: vector_value(domain, k, f"spring '{n}'", fill=True) for n, k in spring.items()}
    modes = _rigid_motions(space)
    _check_supports(domain, space, conditions, _sprung(domain, spring), modes)
    rest = _loads(domain, {**line}, {**point}, body)
    make = partial(
        operator,
        domain,
        conditions=conditions,
        name=name,
        recipe=_recipe(space, d),
        rtol=RTOL,
        near_null=modes,
    )
    states: list[State] = []
    for number, case in enumerate(cases, start=1):
        terms = rest + [
            (vector_value(domain, t, f"traction on '{n}'"), domain.ds(n)) for n, t in case.items()
        ]

        def residual(u: Any, v: Any, terms: Any = terms) -> ufl.Form:
            σ = stress(u, modulus=modulus, poisson=poisson, plane=plane)
            F = ufl.inner(σ, strain(v)) * domain.dx
            for n, k in springs.items():
                F += ufl.inner(ufl.elem_mult(k, u), v) * domain.ds(n)
            for force, measure in terms:
                F -= ufl.inner(force, v) * measure
            return F

        states.append(
            State(
                space,
                residual,
                name=name if len(cases) == 1 else f"{name}_{number}",
                conditions=conditions,
                operator=states[0].operator if states else make,
            )
        )
    return states[0] if isinstance(traction, Mapping) else tuple(states)


def _loads(domain: Domain, line: Load, point: Load, body: Any) -> list[tuple[Expr, ufl.Measure]]:
    """The loads that all cases have in common, with their measures."""
    terms = [
        (vector_value(domain, q, f"line load on '{n}'"), domain.dl(n)) for n, q in line.items()
    ]
    terms += [
        (vector_value(domain, P, f"point load on '{n}'"), domain.dP(n)) for n, P in point.items()
    ]
    if body is not None:
        terms.append((vector_value(domain, body, "body force"), domain.dx))
    return terms


def _recipe(space: fem.FunctionSpace, d: int) -> Recipe:
    dofs = space.dofmap.index_map.size_global * space.dofmap.index_map_bs
    iterative = Recipe.multigrid(rtol=RTOL, comm=space.mesh.comm)
    return Recipe.direct(definite=True) if dofs <= DIRECT_DOFS[d] else iterative


def _rigid_motions(space: fem.FunctionSpace) -> list[npt.NDArray[np.float64]]:
    """Owned entries of the 3 or 6 rigid motions, scaled to the domain's size."""
    d = space.mesh.geometry.dim
    n = space.dofmap.index_map.size_local
    x = space.tabulate_dof_coordinates()[:n]
    comm = space.mesh.comm
    total = comm.allreduce(np.append(x.sum(axis=0), float(n)))
    x = x - total[:3] / total[3]
    x /= np.sqrt(comm.allreduce(float((x**2).sum())) / total[3])
    modes = [np.eye(d)[i] * np.ones((n, 1)) for i in range(d)]
    for i, j in [(0, 1), (1, 2), (2, 0)][: 1 if d == 2 else 3]:
        spin = np.zeros((n, d))
        spin[:, i], spin[:, j] = -x[:, j], x[:, i]
        modes.append(spin)
    return [mode.ravel() for mode in modes]


def _sprung(domain: Domain, spring: Mapping[str, Any]) -> dict[str, list[int]]:
    """The components that each spring holds: those whose stiffness is positive, or UFL."""
    held = {}
    for name, stiffness in spring.items():
        alike = np.ndim(stiffness) == 0 and not isinstance(stiffness, Expr)
        parts = [stiffness] * domain.dimension if alike else list(stiffness)
        numbers = [k for k in parts if not isinstance(k, Expr)]
        if any(k < 0 for k in numbers):
            raise InputError(f"The spring '{name}' has a negative stiffness: {stiffness}.")
        held[name] = [i for i, k in enumerate(parts) if isinstance(k, Expr) or k > 0]
    return held


def _check_supports(
    domain: Domain,
    space: fem.FunctionSpace,
    conditions: Sequence[fem.DirichletBC],
    springs: Mapping[str, Sequence[int]],
    modes: Sequence[npt.NDArray[np.float64]],
) -> None:
    """Refuse supports that leave a rigid motion free: the held rows of the modes lack rank."""
    d = domain.dimension
    owned = space.dofmap.index_map.size_local * d
    held = [np.zeros(0, np.int32), *(bc.dof_indices()[0] for bc in conditions)]
    for name, components in springs.items():
        nodes = fem.locate_dofs_topological(space, d - 1, domain.entities(d - 1, name))
        held.append((nodes[:, None] * d + np.array(components, int)).ravel().astype(np.int32))
    dofs = np.unique(np.concatenate(held))
    rows = np.array([mode[dofs[dofs < owned]] for mode in modes])
    gram = domain.comm.allreduce(rows @ rows.T)
    values, vectors = np.linalg.eigh(gram)
    if values[-1] <= 0.0 or values[0] <= 1e-9 * values[-1]:
        axes = ["x", "y", "z"][:d]
        words = [f"translation along {a}" for a in axes]
        words += ["rotation about z", "rotation about x", "rotation about y"][: len(modes) - d]
        share = np.abs(vectors[:, 0])
        turns = share[d:].max() > 1e-6  # about an axis anywhere, so with a translation in it
        loose = words[int(d + share[d:].argmax() if turns else share.argmax())]
        loose = loose if values[-1] > 0 else "every motion"
        raise InputError(
            f"The displacement supports leave a rigid body motion free ({loose}), so there is no "
            f"unique solution. Hold more boundaries: {', '.join(domain.names(d - 1))}."
        )
