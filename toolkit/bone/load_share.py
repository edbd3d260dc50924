"""Who carries the load: the force or moment through a section, by parts.

    N_i = ∫_i w(ζ) n·σn dx / ∫ w dz,      w = (1 − ζ²)² in a slab about the section, 0 outside

ζ goes from −1 to 1 across the slab. Where no load enters in the slab the force through each section
is the same, so the mean over the slab is it, and is a smooth functional of the stress, whatever the
cells are. Multiplied by a lever arm it is a moment.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.domain import Domain
from toolkit.errors import InputError
from toolkit.functional import Functional

__all__ = ["load_share", "section_load"]

LENGTH = 8 / 15  # ∫ w dz over the slab's width


def section_load(
    stress: Expr,
    *,
    over: Sequence[str],
    axis: Sequence[float],
    at: float,
    width: float,
    lever: Sequence[float] | None = None,
    centre: Sequence[float] | None = None,
) -> Functional:
    """Normal force through a section by parts [N], or bending moment [N mm], (parts,).

    Args:
        stress: σ as UFL, for example `toolkit.elasticity.stress`, in MPa.
        over: Names of the volumes that share the load.
        axis: Normal of the section, of any length; tension along it is positive.
        at: Where the section is: x·n, mm.
        width: Of the slab, a few cells or more, mm.
        lever: Direction of the lever arm of a moment, of any length; None for the force.
        centre: Point that the arm is taken from; the origin unless given.

    Raises:
        InputError: Unknown volumes, vectors of the wrong length, or a part that the slab misses.
    """
    domain = Domain.of(stress)
    if not over or isinstance(over, str):
        raise InputError(f"over={over!r}: give a list of the volumes that share the load.")
    if not width > 0:
        raise InputError(f"section_load: width = {width} must be positive.")
    x, n = ufl.SpatialCoordinate(domain.mesh), ufl.as_vector(_unit(domain, axis, "axis"))
    ζ = (ufl.dot(x, n) - at) / (width / 2)
    w = ufl.conditional(abs(ζ) < 1, (1 - ζ**2) ** 2, 0.0)
    for name in over:
        if not domain.integrate(w * domain.dx(name)) > 0:
            raise InputError(
                f"The slab at {at:g} ± {width / 2:g} along {tuple(axis)} has nothing of '{name}'."
            )
    arm: Any = fem.Constant(domain.mesh, 1.0)
    if lever is not None:
        origin = _vector(domain, [0.0] * domain.dimension if centre is None else centre, "centre")
        arm = ufl.dot(x - ufl.as_vector(origin), ufl.as_vector(_unit(domain, lever, "lever")))
    density = w * arm * ufl.dot(n, stress * n) / (LENGTH * width)
    return Functional(
        *(density * domain.dx(name) for name in over),
        of=lambda *loads: np.array(loads),
        name="section load",
        unit="N" if lever is None else "N mm",
    )


def load_share(
    stress: Expr,
    *,
    over: Sequence[str],
    axis: Sequence[float],
    at: float,
    width: float,
    lever: Sequence[float] | None = None,
    centre: Sequence[float] | None = None,
) -> Functional:
    """Each part's share of the force or moment through a section, (parts,); they add up to 1.

    The arguments are those of `section_load`. A part that pushes where the whole pulls has a
    negative share. Under bending the forces cancel: ask for the moment, by a lever.
    """
    loads = section_load(
        stress, over=over, axis=axis, at=at, width=width, lever=lever, centre=centre
    )
    return loads.map(lambda parts: parts / parts.sum(), name="load share")


def _vector(domain: Domain, value: Sequence[float], what: str) -> list[float]:
    """Components of a vector, or an error that names `what`."""
    numbers = [float(v) for v in value]
    if len(numbers) != domain.dimension:
        raise InputError(
            f"{what} = {tuple(value)} has {len(numbers)} components; '{domain.source}' is "
            f"{domain.dimension}-dimensional."
        )
    return numbers


def _unit(domain: Domain, value: Sequence[float], what: str) -> list[float]:
    """A direction, or an error that names `what`."""
    numbers = np.array(_vector(domain, value, what))
    length = np.linalg.norm(numbers)
    if not length > 0:
        raise InputError(f"{what} = {tuple(value)} is no direction.")
    return [float(v) for v in numbers / length]
