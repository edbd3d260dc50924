"""Laws of the density ρ as pure UFL: they differentiate themselves.

ρ is the solid's volume fraction, 1 in solid and 0 in void; ε = 1 − ρ is the porosity.

References:
    Bendsøe & Sigmund 1999, doi:10.1007/s004190050248 (SIMP);
    Stolpe & Svanberg 2001, doi:10.1007/s001580100129 (RAMP);
    Borrvall & Petersson 2003, doi:10.1002/fld.426 (Brinkman);
    Gibson & Ashby 1997, doi:10.1017/CBO9781139878326 (cellular solids);
    Carman 1937, doi:10.1016/S0263-8762(97)80003-2 (Kozeny–Carman).
"""

from numbers import Real
from typing import Literal

import ufl
from ufl.core.expr import Expr

from toolkit.errors import InputError

__all__ = ["brinkman", "gibson_ashby", "kozeny_carman", "lame", "ramp", "simp"]


def simp(rho: Expr, *, full: float | Expr, empty: float | Expr, power: float = 3) -> Expr:
    """Power-law interpolation: empty + ρᵖ (full − empty)."""
    _check_ends("simp", full, empty)
    return empty + _power(rho, power) * (full - empty)


def ramp(rho: Expr, *, full: float | Expr, empty: float | Expr, q: float = 8) -> Expr:
    """Rational interpolation: empty + ρ / (1 + q (1 − ρ)) (full − empty); slope > 0 at ρ = 0."""
    _check_ends("ramp", full, empty)
    if q <= -1:
        raise InputError(f"ramp: q = {q} makes 1 + q (1 − ρ) vanish in [0, 1]. Use q > −1.")
    return empty + rho / (1 + q * (1 - rho)) * (full - empty)


def brinkman(rho: Expr, *, drag: float | Expr, empty: float | Expr = 0.0, q: float = 0.1) -> Expr:
    """Drag coefficient α(ρ) of Borrvall & Petersson, μ/k of the penalised solid.

    α = drag + (empty − drag) ε (1 + q) / (ε + q) with ε = 1 − ρ: `drag` in solid, `empty` in
    fluid, and the more convex the smaller q.
    """
    if q <= 0:
        raise InputError(f"brinkman: q = {q} must be positive; 0.01 to 0.1 is usual.")
    ε = 1 - rho
    return drag + (empty - drag) * ε * (1 + q) / (ε + q)


def gibson_ashby(
    rho: Expr, *, full: float | Expr, power: float = 2, coefficient: float = 1
) -> Expr:
    """Young's modulus of a cellular solid: coefficient · full · ρᵖᵒʷᵉʳ (open cells: 1, 2)."""
    return coefficient * full * _power(rho, power)


def kozeny_carman(
    rho: Expr,
    *,
    surface: float | None = None,
    grain: float | None = None,
    constant: float = 5.0,
) -> Expr:
    """Permeability of a porous solid, ε³ / (constant · S²), in units of length².

    Args:
        rho: Volume fraction of solid, ρ = 1 − ε.
        surface: S, the wetted surface per total volume (1/length); a sheet gyroid of period L
            has about 6.2/L, its network half of that.
        grain: Instead of `surface`, the diameter d of the grains or struts, S = 6 ρ/d; then
            k = d² ε³ / (180 ρ²), which has no limit at ρ = 0.
        constant: Kozeny's constant, 5 for granular beds.
    """
    if (surface is None) == (grain is None):
        raise InputError("kozeny_carman: give either `surface` (1/length) or `grain` (length).")
    given = surface if grain is None else grain
    if given is None or not given > 0:
        raise InputError(f"kozeny_carman: surface or grain must be positive, not {given}.")
    S = given if grain is None else 6 * rho / given
    return (1 - rho) ** 3 / (constant * S**2)


def lame(
    modulus: float | Expr,
    poisson: float,
    *,
    plane: Literal["strain", "stress"] | None = None,
) -> tuple[Expr, Expr]:
    """Lamé's λ and μ from E and ν; `plane="stress"` gives the λ of a thin plate."""
    if not isinstance(modulus, Expr) and not (isinstance(modulus, Real) and float(modulus) > 0):
        raise InputError(f"The modulus must be positive or UFL of the density, not {modulus!r}.")
    E = ufl.as_ufl(modulus)
    if E.ufl_shape:
        raise InputError(f"The modulus must be a scalar, not of shape {E.ufl_shape}.")
    if not isinstance(poisson, Real) or not -1 < float(poisson) < 0.5:
        raise InputError(
            f"Poisson ratio {poisson} is outside (−1, 0.5). For nearly incompressible material use "
            "at most 0.49."
        )
    ν = float(poisson)
    μ = E / (2 * (1 + ν))
    λ = E * ν / (1 - ν**2) if plane == "stress" else E * ν / ((1 + ν) * (1 - 2 * ν))
    return λ, μ


def _check_ends(law: str, full: float | Expr, empty: float | Expr) -> None:
    for name, value in (("full", full), ("empty", empty)):
        if isinstance(value, Real) and float(value) < 0:
            raise InputError(f"{law}: {name} = {value} must not be negative.")


def _power(rho: Expr, power: float) -> Expr:
    """ρᵖ; a power that is not whole is taken of max(ρ, 0), as a filter may return −1e-17."""
    if not power >= 1:
        raise InputError(f"A power of {power} is not smooth at ρ = 0. Use at least 1.")
    if float(power).is_integer():
        return rho ** int(power)
    return ufl.max_value(rho, 0.0) ** power
