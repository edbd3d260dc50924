"""Slip at an interface: the relative displacement across a thin compliant layer.

Between implant and bone lies a layer of thickness t whose cells take the motion between them. With
φ harmonic in the layer, 0 on the implant and 1 on the bone, n = ∇φ/|∇φ| is its normal and
t = 1/|∇φ| its thickness, on curved surfaces too; so the slip, shear strain times thickness, is

    s = 2 t (εn − (n·εn) n) = 2 (ε∇φ − (∇φ·ε∇φ/|∇φ|²) ∇φ)/|∇φ|²

A rotation of the whole is no slip, as ε does not see it. φ is found once, outside of any
optimisation. Bone grows into implants that move by less than about 40 µm and not beyond 150 µm
(Pilliar, Lee & Maniatopoulos 1986, Clin. Orthop. 208, 108–113; Jasty et al. 1997, J. Bone Joint
Surg. 79-A, 707–714).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode

from toolkit.domain import Domain
from toolkit.elasticity import strain
from toolkit.errors import InputError
from toolkit.functional import Functional
from toolkit.solver import Recipe
from toolkit.state import State

__all__ = ["interface_slip"]

MICROMETRES = 1e3  # in a millimetre

type Side = str | Sequence[str]


def interface_slip(
    u: Any, *, over: str, between: tuple[Side, Side], power: float = 2.0
) -> Functional:
    """Mean tangential motion between the two sides of a layer [µm], of a mesh in mm.

    Args:
        u: Displacement, a state.
        over: Name of the layer, a volume of one or more cells across.
        between: Name or names of the volumes on its one side, and on its other.
        power: p of the mean (1/|Ω| ∫ |s|ᵖ dx)^(1/p): 2 is the root mean square, 8 is near the
            largest value.

    Raises:
        InputError: Unknown volumes, a side that does not touch the layer, or a power below 2.
    """
    if not power >= 2:
        raise InputError(f"interface_slip: power = {power} must be 2 or more, to be smooth at 0.")
    domain = Domain.of(u)
    g = ufl.grad(_across(domain, over, between))
    ε = strain(u)
    shear = ε * g - ufl.dot(g, ε * g) / ufl.dot(g, g) * g
    s = MICROMETRES * 2 * shear / ufl.dot(g, g)
    dx = domain.dx(over)
    volume = domain.integrate(fem.Constant(domain.mesh, 1.0) * dx)
    return Functional(
        ufl.dot(s, s) ** (power / 2) * dx,
        of=lambda total: (total / volume) ** (1 / power),
        name="interface slip",
        unit="µm",
    )


def _across(domain: Domain, layer: str, between: tuple[Side, Side]) -> fem.Function:
    """φ: 0 where the layer meets one side, 1 where it meets the other, harmonic between."""
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    inside = _touched(domain, space, layer)
    one, other = (_touched(domain, space, side) & inside for side in between)
    owned = space.dofmap.index_map.size_local
    for side, touching in zip(between, (one, other), strict=True):
        if not domain.comm.allreduce(int(touching[:owned].sum())):
            raise InputError(f"The layer '{layer}' does not touch {side!r}.")
    end = fem.Function(space)
    end.x.array[:] = other & ~one
    held = np.flatnonzero(one | other | ~inside).astype(np.int32)
    if domain.comm.allreduce(int((~(one | other) & inside)[:owned].sum())) == 0:
        return end
    k = fem.Function(domain.cellwise)
    k.x.array[domain.cell_dofs[domain.entities(domain.dimension, layer)]] = 1.0
    φ = State(
        space,
        lambda φ, ψ: k * ufl.inner(ufl.grad(φ), ufl.grad(ψ)) * domain.dx,
        name="across_layer",
        conditions=[fem.dirichletbc(end, held)],
        recipe=Recipe.direct(definite=True),
    )
    φ.solve()
    end.x.array[:] = φ.x.array
    return end


def _touched(domain: Domain, space: fem.FunctionSpace, names: Side) -> npt.NDArray[np.bool_]:
    """Which local nodes are corners of a volume's cells, on whatever rank these are."""
    mark = fem.Function(space)
    for name in [names] if isinstance(names, str) else names:
        cells = domain.entities(domain.dimension, name)
        mark.x.array[np.unique(space.dofmap.list[cells])] = 1.0
    mark.x.scatter_reverse(InsertMode.add)
    mark.x.scatter_forward()
    return np.asarray(mark.x.array > 0)
