"""Stress shielding: how much less an implant lets the bone be strained than it was.

    U = ½ σ:ε        shielding of a zone = 1 − ⟨S⟩/⟨S₀⟩        S = U, or U/ρ per mass

S₀ is the stimulus of the intact bone under the same load, `IntactBone`. Bone that has lost more
than a share s of its stimulus is resorbed; the shielded volume is the share of the bone where this
is so, with a smooth step in the ratio r = S/S₀, of Hill's form,

    1/|Ω| ∫ 1/(1 + (r/(1 − s))ⁿ) dx        n the sharpness

½ at the threshold, 1 for unstrained bone, and the sharper the larger n; no exponential of a large
number is in it. All are functionals: their gradients are the toolkit's adjoints.

References:
    Huiskes et al. 1987, doi:10.1016/0021-9290(87)90030-3 (stimulus against the intact bone);
    Weinans, Huiskes & Grootenboer 1992, J. Biomech. 25, 1425–1441 (energy per mass);
    Kuiper & Huiskes 1997, J. Biomech. Eng. 119, 166–174 (resorbed mass in an optimisation).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.bone.intact import IntactBone
from toolkit.domain import Domain
from toolkit.elasticity import strain, stress
from toolkit.errors import InputError
from toolkit.functional import Functional

__all__ = ["GRUEN", "shielded_volume", "shielding", "strain_energy"]

GRUEN = tuple(f"gruen {zone}" for zone in range(1, 8))
SHARPEST = 30.0  # rⁿ stays a number for the largest r


def strain_energy(
    u: Any,
    *,
    modulus: float | Expr,
    poisson: float,
    plane: Literal["strain", "stress"] | None = None,
) -> Expr:
    """U = ½ σ:ε, the strain energy per volume, as UFL; in MPa = N mm/mm³ for moduli in MPa."""
    σ = stress(u, modulus=modulus, poisson=poisson, plane=plane)
    return 0.5 * ufl.inner(σ, strain(u))


def shielding(stimulus: Expr, intact: IntactBone, *, over: str | Sequence[str]) -> Functional:
    """1 − ⟨S⟩/⟨S₀⟩ for each zone: 0 as before the operation, 1 without any load.

    Negative where bone carries more than it did. The means are over the zone as each mesh has it.

    Args:
        stimulus: S of the operated bone, UFL, formed as that of `intact`.
        intact: The bone before.
        over: Name of a volume of both meshes, for a number, or names, for an array, (zones,).

    Raises:
        InputError: A mesh has no such volume, or nothing is strained in the intact one.
    """
    domain = Domain.of(stimulus)
    names = _names(over)
    before = np.array([intact.mean(name) * _volume(domain, name) for name in names])

    def share(*energies: Any) -> Any:
        lost = 1 - np.array(energies) / before
        return lost[0] if isinstance(over, str) else lost

    return Functional(*(stimulus * domain.dx(n) for n in names), of=share, name="shielding")


def shielded_volume(
    stimulus: Expr,
    intact: IntactBone,
    *,
    over: str | Sequence[str],
    threshold: float = 0.75,
    sharpness: float = 10.0,
    density: float | Expr = 1.0,
    degree: int = 2,
) -> Functional:
    """Share of the bone that has lost more than a threshold of its stimulus, in [0, 1].

    Args:
        stimulus: S of the operated bone, UFL, formed as that of `intact`.
        intact: The bone before; its field is carried to this mesh, once.
        over: Name or names of volumes of both meshes; their union counts.
        threshold: s; 0.75 in Huiskes's and Kuiper's studies.
        sharpness: n, from 2 to 30; at 10 the step goes from 0.9 to 0.1 while r grows by half.
        density: Weight; the bone's density for a share of its mass.
        degree: Of the quadrature.

    Raises:
        InputError: Unknown volumes, or a number out of range.
    """
    if not 0 < threshold < 1:
        raise InputError(f"shielded_volume: threshold = {threshold} must lie between 0 and 1.")
    if not 2 <= sharpness <= SHARPEST:
        raise InputError(
            f"shielded_volume: sharpness = {sharpness} must lie between 2 and {SHARPEST:g}."
        )
    domain, names = Domain.of(stimulus), _names(over)
    for name in names:
        intact.mean(name)
    dx = domain.dx(*names, degree=degree)
    r = stimulus / intact.on(domain, degree=degree)
    lost = 1 / (1 + (r / (1 - threshold)) ** sharpness)
    weight = fem.Constant(domain.mesh, 1.0) * density
    return Functional(
        weight * lost * dx, weight * dx, of=lambda part, whole: part / whole, name="shielded volume"
    )


def _names(over: str | Sequence[str]) -> list[str]:
    """Names of volumes, at least one."""
    names = [over] if isinstance(over, str) else list(over)
    if not names:
        raise InputError("over=[] names no volume. Give one at least.")
    return names


def _volume(domain: Domain, *names: str) -> float:
    """Volume of the union of named volumes; collective."""
    return domain.integrate(fem.Constant(domain.mesh, 1.0) * domain.dx(*names))
