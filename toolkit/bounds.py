"""What a composite of two isotropic phases can reach: proved bounds, and references for flow.

All elementary bounds are one function of a phase property a, the fractions f and a number y ≥ 0
that stands for the surroundings of a grain,

    F(y) = 1 / (f₁/(a₁ + y) + f₂/(a₂ + y)) − y,      F(0) = Reuss,   F(∞) = Voigt,

and grows with y. Hashin and Shtrikman put the moduli of the stiffest phase (upper bound) or of the
most compliant one (lower bound) into

    bulk          y = 2 (d − 1) G / d
    shear         y = G (9K + 8G) / (6K + 12G) in 3D,   K G / (K + 2G) in 2D
    conductivity  y = (d − 1) σ

with K = λ + G in plane strain and K = E/(2 − 2ν) in plane stress. Taking the largest and the
smallest K and G of both phases, whichever phase has them, is Walpole's form: it holds for any pair.

**Cross-property bounds** (`cross_property`) join the bulk modulus of a porous solid (void pores)
and a conductivity. Fields j and τ without divergence obey ⟨Q(τ + c j)⟩ ≥ Q(⟨τ⟩ + c⟨j⟩) for
Q(X) = (d − 1)|X|² − (tr X)², here with one current for each axis as the rows of j; subtracting such
a Q from the energy, with the largest factors that leave it convex in each phase, gives

    pores conduct, 3D   y(K) / (4G/3)  +  y(σ) / (2σ₂)  ≤  1,
    pores conduct, 2D   K = 0 or σ = 0: a solid connected in all directions closes the pores,

where y(·) inverts F; the line joins the two Hashin–Shtrikman points and is met by parallel plates.
In 2D ⟨τ : cof j⟩ = ⟨τ⟩ : cof ⟨j⟩, and τ and j do not overlap, so one of their means is zero.
If the solid conducts, τ is paired with gradients, whose product with τ is conserved on average:

    1/(d K)  ≥  (1/(d K₁) + t f₂)/f₁ + z (σ₁/σ − 1/f₁),
    t = (1/(2G₁) − 1/(d K₁))/d, in 3D at least 0,        z = 1/(2G₁) − (d − 1) t,

which is K₁/K − 1 ≥ (σ₁/σ − 1)(1 − ν)/(1 − 2ν) in 3D for ν ≥ 0. The method is that of Gibiansky &
Torquato, who also bound pairs of phases that both carry and conduct; that case is not here.

**Where they hold.** The bulk and conductivity bounds hold for any symmetry, for the bulk modulus
(1:C:1)/d² and the mean of the principal conductivities, except that the 2D cross-property bounds
and the one of a conducting solid ask for the bulk modulus under hydrostatic stress, 1/(1:C⁻¹:1):
with square or cubic symmetry these agree. Shear and Young's modulus are bounded for isotropic
composites; a directional Young's modulus may lie anywhere between Reuss and Voigt.

**Permeability has no bound in terms of porosity**: large pores let any amount through.
`plate_channel`, `tube` and `schwarz_p` are references to draw beside a result, not limits.

References:
    Hashin & Shtrikman 1963, doi:10.1016/0022-5096(63)90060-7 (elasticity);
    Hashin & Shtrikman 1962, doi:10.1063/1.1728579 (conductivity);
    Hashin 1965, doi:10.1016/0022-5096(65)90015-3 (two dimensions);
    Walpole 1966, doi:10.1016/0022-5096(66)90035-4 (any pair of phases);
    Gibiansky & Torquato 1993, doi:10.1103/PhysRevLett.71.2927 (cross-property, 2D);
    Gibiansky & Torquato 1996, doi:10.1098/rspa.1996.0015 (cross-property, 3D);
    Jung & Torquato 2005, doi:10.1103/PhysRevE.72.056319 (permeability of minimal surfaces).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.errors import InputError

__all__ = [
    "Bound",
    "Moduli",
    "Reference",
    "conductivity",
    "cross_property",
    "hashin_shtrikman",
    "plate_channel",
    "require_reachable",
    "reuss",
    "schwarz_p",
    "tube",
    "voigt",
]

Array = NDArray[np.float64]
Plane = Literal["stress", "strain"] | None

ROUND_OFF = 1e-9  # a target on a bound is within it


class Bound(NamedTuple):
    """The two ends of what is possible, each of the shape of ρ."""

    lower: Array
    upper: Array


class Moduli(NamedTuple):
    """Bounds on the moduli of an isotropic composite, in the unit of the phases' modulus."""

    bulk: Bound
    shear: Bound
    young: Bound


class Reference(NamedTuple):
    """A permeability to compare with: what it is of, and its value in units of length²."""

    name: str
    value: Array


class _Elastic(NamedTuple):
    """Bulk and shear modulus of an isotropic material in d dimensions."""

    K: float
    G: float


def voigt(rho: ArrayLike, full: float, empty: float = 0.0) -> Array:
    """Arithmetic mean, an upper bound on K, G and σ, and on E if both phases have the same ν."""
    ρ = _fraction(rho)
    return ρ * full + (1 - ρ) * empty


def reuss(rho: ArrayLike, full: float, empty: float = 0.0) -> Array:
    """Harmonic mean: a lower bound on K, G, E and σ of any composite."""
    return _mix(_fraction(rho), full, empty, 0.0)


def hashin_shtrikman(
    rho: ArrayLike,
    *,
    modulus: float,
    poisson: float,
    empty: float = 0.0,
    empty_poisson: float | None = None,
    plane: Plane = None,
) -> Moduli:
    """Hashin–Shtrikman–Walpole bounds on the moduli of an isotropic composite.

    Args:
        rho: Volume fraction of the phase of `modulus`, in [0, 1], of any shape.
        modulus: Young's modulus E of that phase.
        poisson: Its Poisson ratio ν.
        empty: Young's modulus of the other phase; 0 is void.
        empty_poisson: Poisson ratio of the other phase; `poisson` unless given.
        plane: None in 3D, "stress" or "strain" in 2D; the moduli are then those of the plane,
            K = (C₁₁ + C₁₂)/2, G = C₃₃ and E = 1/S₁₁ of the 3×3 matrices.

    Raises:
        InputError: ρ, a modulus or a Poisson ratio is out of its range.
    """
    ρ = _fraction(rho)
    solid, other = _phases(modulus, poisson, empty, empty_poisson, plane)
    stiff = _Elastic(max(solid.K, other.K), max(solid.G, other.G))
    soft = _Elastic(min(solid.K, other.K), min(solid.G, other.G))
    d = 2 if plane else 3
    bulk = [_mix(ρ, solid.K, other.K, _bulk_surroundings(end, d)) for end in (soft, stiff)]
    shear = [_mix(ρ, solid.G, other.G, _shear_surroundings(end, d)) for end in (soft, stiff)]
    young = [_young(K, G, d) for K, G in zip(bulk, shear, strict=True)]
    return Moduli(Bound(*bulk), Bound(*shear), Bound(*young))


def conductivity(
    rho: ArrayLike, *, full: float, empty: float = 0.0, dimension: Literal[2, 3] = 3
) -> Bound:
    """Hashin–Shtrikman bounds on a conductivity or diffusivity, per total volume.

    Args:
        rho: Volume fraction of the phase of `full`, in [0, 1], of any shape.
        full: Conductivity of that phase; 0 for an insulating solid.
        empty: Conductivity of the other phase, so `full=0, empty=1` is diffusion in the pores.
        dimension: 2 or 3.

    Raises:
        InputError: ρ is outside [0, 1] or a conductivity is negative.
    """
    ρ = _fraction(rho)
    _require_conductivities((full, empty))
    if dimension not in (2, 3):
        raise InputError(f"dimension = {dimension} is neither 2 nor 3.")
    ends = (min(full, empty), max(full, empty))
    return Bound(*(_mix(ρ, full, empty, (dimension - 1) * end) for end in ends))


def cross_property(
    rho: ArrayLike,
    conductivity: ArrayLike,
    *,
    modulus: float,
    poisson: float,
    conductivities: tuple[float, float] = (0.0, 1.0),
    plane: Plane = None,
) -> Array:
    """The largest bulk modulus that a porous solid of this conductivity can have.

    The pores are void, and one of the two phases insulates. If the pores conduct, the bound falls
    with the conductivity, from Hashin–Shtrikman's bulk modulus to zero; in 2D it is zero at once.
    If the solid conducts, it rises from zero to Hashin–Shtrikman's bulk modulus.

    Args:
        rho: Volume fraction of solid, in [0, 1].
        conductivity: Effective conductivity per total volume; broadcasts with `rho`.
        modulus: Young's modulus of the solid.
        poisson: Its Poisson ratio.
        conductivities: Those of the solid and of the pores; (0, D) is diffusion in the pores,
            (σ, 0) conduction in the solid.
        plane: None in 3D, "stress" or "strain" in 2D.

    Returns:
        The bound on K in the unit of `modulus`, of the broadcast shape.

    Raises:
        InputError: a value is out of its range, neither phase insulates or both do, or
            `conductivity` is itself beyond the bounds of Hashin and Shtrikman.
    """
    _require_conductivities(conductivities)
    if (conductivities[0] == 0) == (conductivities[1] == 0):
        raise InputError(
            f"cross_property: conductivities = {conductivities} of solid and pores. The bound is "
            "proved where one of them is 0 and the other positive."
        )
    ρ, σ = np.broadcast_arrays(_fraction(rho), np.asarray(conductivity, dtype=np.float64))
    d = 2 if plane else 3
    _require_conducting(ρ, σ, conductivities, d)
    solid, _ = _phases(modulus, poisson, 0.0, None, plane)
    if conductivities[0] > 0:
        return _conducting_solid(ρ, σ / conductivities[0], solid, d)
    return _conducting_pores(ρ, σ / conductivities[1], solid, d)


def require_reachable(
    rho: float,
    *,
    modulus: float,
    poisson: float,
    empty: float = 0.0,
    empty_poisson: float | None = None,
    plane: Plane = None,
    conductivities: tuple[float, float] = (0.0, 1.0),
    bulk: float | None = None,
    shear: float | None = None,
    young: float | Sequence[float] | None = None,
    conductivity: float | Sequence[float] | None = None,
) -> None:
    """Refuse targets that no structure of this solid fraction can have.

    A target on a bound passes. Targets that pass may still be out of reach: the bounds are
    necessary. A bulk modulus and a conductivity given together are also held against the
    cross-property bound, where the pores are void and one phase insulates. There is no target for
    permeability, since no bound of it follows from the porosity.

    Args:
        rho: Volume fraction of solid, in [0, 1].
        modulus: Young's modulus of the solid.
        poisson: Its Poisson ratio.
        empty: Young's modulus of the pores; 0 is void.
        empty_poisson: Poisson ratio of the pores; `poisson` unless given.
        plane: None in 3D, "stress" or "strain" in 2D.
        conductivities: Those of the solid and of the pores.
        bulk: Target bulk modulus.
        shear: Target shear modulus of an isotropic composite.
        young: Target Young's modulus of an isotropic composite, or a sequence of moduli along the
            axes, which are held against Voigt and Reuss.
        conductivity: Target conductivity of an isotropic or cubic composite, or the sequence of
            principal ones, of which each is held against Voigt and Reuss and their mean against
            Hashin–Shtrikman.

    Raises:
        InputError: a target is beyond a bound; names the target, the bound and what would pass.
    """
    limits = hashin_shtrikman(
        rho,
        modulus=modulus,
        poisson=poisson,
        empty=empty,
        empty_poisson=empty_poisson,
        plane=plane,
    )
    phases = _phases(modulus, poisson, empty, empty_poisson, plane)
    d = 2 if plane else 3
    if bulk is not None:
        _require_within("bulk", bulk, rho, limits.bulk, "Hashin–Shtrikman")
    if shear is not None:
        _require_within("shear", shear, rho, limits.shear, "isotropic Hashin–Shtrikman")
    if young is not None:
        _require_young(young, rho, limits.young, phases, d)
    if conductivity is None:
        return
    σ = _require_conductivity(conductivity, rho, conductivities, d)
    one_insulates = (conductivities[0] == 0) != (conductivities[1] == 0)
    if bulk is not None and empty == 0 and one_insulates:
        K = cross_property(
            rho,
            σ,
            modulus=modulus,
            poisson=poisson,
            conductivities=conductivities,
            plane=plane,
        )
        source = f"cross-property (with conductivity = {σ:.6g})"
        _require_within("bulk", bulk, rho, Bound(np.zeros(()), K), source)


def plate_channel(porosity: ArrayLike, length: float = 1.0) -> Reference:
    """Flow between flat plates of period `length`: φ³ L²/12 along the plates, none across.

    φ is the porosity, so the gap between two plates is φ L.
    """
    φ = _fraction(porosity, "porosity")
    return Reference("plate channel, along the plates", φ**3 * _length(length) ** 2 / 12)


def tube(porosity: ArrayLike, length: float = 1.0) -> Reference:
    """Flow through one round tube in each square of side `length`: φ² L²/(8π) along the tube.

    Raises:
        InputError: φ > π/4, where neighbouring tubes overlap.
    """
    φ = _fraction(porosity, "porosity")
    if np.any(φ > np.pi / 4):
        raise InputError(
            f"tube: at a porosity of {np.max(φ):g} the tubes overlap. Use at most π/4 = 0.785."
        )
    return Reference("round tube, along the tube", φ**2 * _length(length) ** 2 / (8 * np.pi))


def schwarz_p(length: float = 1.0, *, nodal: bool = False) -> Reference:
    """Schwarz' P surface of period `length` at a porosity of 1/2, equal in all directions.

    The numbers were computed with fundamental solutions on the smooth surface, to 1e-6 L²; they are
    3 to 7 % below the 0.00348 L² of Jung & Torquato, which has finite resolution.

    Args:
        length: Period of the cubic cell.
        nodal: The surface cos x + cos y + cos z = 0 instead of the minimal surface near it.
    """
    name, k = ("nodal Schwarz P", 0.0032470) if nodal else ("Schwarz P", 0.003373)
    return Reference(f"{name} at 50 % porosity", np.asarray(k * _length(length) ** 2))


def _mix(ρ: Array, full: float, empty: float, y: float | Array) -> Array:
    """F(y), written so that void and y = 0 need no limit other than that of one phase alone."""
    mean = ρ * full + (1 - ρ) * empty
    below = (1 - ρ) * full + ρ * empty + y
    above = full * empty + y * mean
    return np.divide(above, below, out=np.array(mean + 0 * below), where=below > 0)


def _bulk_surroundings(phase: _Elastic, d: int) -> float:
    return 2 * (d - 1) * phase.G / d


def _shear_surroundings(phase: _Elastic, d: int) -> float:
    K, G = phase
    if G == 0:
        return 0.0
    return K * G / (K + 2 * G) if d == 2 else G * (9 * K + 8 * G) / (6 * K + 12 * G)


def _young(K: Array, G: Array, d: int) -> Array:
    """4KG/(K + G) in the plane, 9KG/(3K + G) in space; zero where both vanish."""
    above, below = (4 * K * G, K + G) if d == 2 else (9 * K * G, 3 * K + G)
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def _conducting_pores(ρ: Array, σ: Array, solid: _Elastic, d: int) -> Array:
    """Largest K if the pores, of conductivity 1, conduct σ and the solid insulates."""
    if d == 2:
        return np.where(σ > 0, 0.0, _mix(ρ, solid.K, 0.0, solid.G))
    below = 2 * (1 - ρ - σ)
    share = np.divide(ρ * σ, below, out=np.zeros_like(below), where=below > 0)
    y = _bulk_surroundings(solid, d) * np.maximum(1 - share, 0)
    return _mix(ρ, solid.K, 0.0, y)


def _conducting_solid(ρ: Array, σ: Array, solid: _Elastic, d: int) -> Array:
    """Largest K if the solid, of conductivity 1, conducts σ and the pores insulate."""
    hydrostatic, deviatoric = 1 / (d * solid.K), 1 / (2 * solid.G)
    t = (deviatoric - hydrostatic) / d
    t = max(t, 0.0) if d == 3 else t
    z = deviatoric - (d - 1) * t
    below = d * ((hydrostatic + t * (1 - ρ) - z) * σ + z * ρ)
    return np.divide(ρ * σ, below, out=np.zeros_like(below), where=below > 0)


def _phases(
    modulus: float, poisson: float, empty: float, empty_poisson: float | None, plane: Plane
) -> tuple[_Elastic, _Elastic]:
    if plane not in (None, "stress", "strain"):
        raise InputError(f'plane = {plane!r} is none of None (3D), "stress" and "strain".')
    if not 0 < modulus < np.inf:
        raise InputError(f"modulus = {modulus} of the solid must be positive and finite.")
    if not 0 <= empty < np.inf:
        raise InputError(f"empty = {empty} must be a modulus, or 0 for void.")
    other = poisson if empty_poisson is None else empty_poisson
    return _elastic(modulus, poisson, plane), _elastic(empty, other, plane)


def _elastic(E: float, ν: float, plane: Plane) -> _Elastic:
    if not -1 < ν < 0.5:
        raise InputError(f"Poisson ratio {ν} is outside (−1, 0.5).")
    G = E / (2 * (1 + ν))
    if plane == "stress":
        return _Elastic(E / (2 * (1 - ν)), G)
    return _Elastic(G / (1 - 2 * ν) if plane else E / (3 * (1 - 2 * ν)), G)


def _fraction(value: ArrayLike, name: str = "rho") -> Array:
    array = np.asarray(value, dtype=np.float64)
    outside = array[~((array >= 0) & (array <= 1))]
    if outside.size:
        raise InputError(f"{name} = {outside.flat[0]:g} is no volume fraction. Give 0 to 1.")
    return array


def _length(value: float) -> float:
    if not 0 < value < np.inf:
        raise InputError(f"length = {value} of the period must be positive and finite.")
    return value


def _require_conductivities(values: tuple[float, float]) -> None:
    for value in values:
        if not 0 <= value < np.inf:
            raise InputError(f"A conductivity of {value} must be finite and not negative.")


def _conducting(ρ: ArrayLike, conductivities: tuple[float, float], d: int) -> Bound:
    full, empty = conductivities
    return conductivity(ρ, full=full, empty=empty, dimension=2 if d == 2 else 3)


def _require_conducting(ρ: Array, σ: Array, conductivities: tuple[float, float], d: int) -> None:
    """Refuse conductivities that Hashin and Shtrikman exclude, by the worst of them."""
    if σ.size == 0:
        return
    upper = _conducting(ρ, conductivities, d).upper
    for worst in (np.argmin(σ), np.argmax(σ - upper)):
        limit = Bound(np.zeros(()), np.ravel(upper)[worst])
        at, value = np.ravel(ρ)[worst], np.ravel(σ)[worst]
        _require_within("conductivity", value, at, limit, "Hashin–Shtrikman")


def _require_young(
    target: float | Sequence[float],
    rho: float,
    isotropic: Bound,
    phases: tuple[_Elastic, _Elastic],
    d: int,
) -> None:
    values = np.asarray(target, dtype=np.float64)
    if values.ndim == 0:
        _require_within("young", float(values), rho, isotropic, "isotropic Hashin–Shtrikman")
        return
    solid, other = phases
    means = [_young(f(rho, solid.K, other.K), f(rho, solid.G, other.G), d) for f in (reuss, voigt)]
    _require_along_axes("young", values, rho, Bound(*means), d)


def _require_conductivity(
    target: float | Sequence[float], rho: float, conductivities: tuple[float, float], d: int
) -> float:
    """Hold a conductivity, or principal ones and their mean, against the bounds; the mean."""
    values = np.asarray(target, dtype=np.float64)
    if values.ndim:
        means = Bound(reuss(rho, *conductivities), voigt(rho, *conductivities))
        _require_along_axes("conductivity", values, rho, means, d)
    name = "mean conductivity" if values.ndim else "conductivity"
    limit = _conducting(rho, conductivities, d)
    _require_within(name, float(values.mean()), rho, limit, "Hashin–Shtrikman")
    return float(values.mean())


def _require_along_axes(name: str, values: Array, rho: float, limit: Bound, d: int) -> None:
    if values.shape != (d,):
        raise InputError(f"{name} has {values.size} values. Give one, or {d}: one for each axis.")
    for axis, value in enumerate(values):
        _require_within(f"{name}[{axis}]", value, rho, limit, "Voigt–Reuss")


def _require_within(name: str, target: float, rho: float, limit: Bound, source: str) -> None:
    """Refuse a target beyond either end of a bound; an end itself passes."""
    lower, upper = float(limit.lower), float(limit.upper)
    if not np.isfinite(target):
        raise InputError(f"{name} = {target} is no target. Give a finite number.")
    if lower * (1 - ROUND_OFF) <= target <= upper * (1 + ROUND_OFF):
        return
    end, way = (
        ("lower", f"at least {lower:.6g}") if target < lower else ("upper", f"at most {upper:.6g}")
    )
    raise InputError(
        f"{name} = {target:.6g} is beyond the {source} {end} bound at rho = {rho:g}: no structure "
        f"has it. Ask for {way}, or change rho or the phases."
    )
