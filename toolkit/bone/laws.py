"""From a density to Young's modulus: laws by site, their valid ranges, and between densities.

    E = a + b ρᶜ        piecewise in ρ; E in MPa, ρ in g/cm³

A law holds for the density it was measured with: the apparent density (wet mass per total volume),
the ash density (mineral mass per total volume) or a CT-equivalent one. Taking one for the other
errs by a factor of two in ρ and of about four in E. Between them stand

    ρ_ash = 0.877 ρ_QCT + 0.079,        ρ_ash = 0.598 ρ_app                 (Schileo et al. 2008)

of human femora and a phantom of hydroxyapatite. Outside the densities that were measured a law is
an extrapolation: `Law.moduli` warns with the share of the volume that this concerns, or clamps the
density to the range on request. Densities below zero, which CT gives in fat and air, are zero to a
law.

References:
    Morgan et al. 2003, doi:10.1016/S0021-9290(03)00071-X;
    Carter & Hayes 1977, doi:10.2106/00004623-197759070-00021;
    Keyak et al. 1998, J. Biomech. 31, 125–133;
    Wirtz et al. 2000, J. Biomech. 33, 1325–1330;
    Schileo et al. 2008, An accurate estimation of bone density improves the accuracy of
        subject-specific finite element models, J. Biomech.;
    Helgason et al. 2008, Mathematical relationships between bone density and mechanical
        properties, Clin. Biomech. (review of laws and their ranges).
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from toolkit.bone.calibration import Kind
from toolkit.errors import InputError

__all__ = ["LAWS", "Law", "Outside", "Piece", "carter_hayes", "convert", "law"]

Outside = Literal["warn", "clamp"]
type Array = npt.NDArray[np.float64]

ASH_OF_QCT = (0.877, 0.079)  # slope, intercept in g/cm³
ASH_OF_APPARENT = 0.598


class Piece(NamedTuple):
    """E = constant + factor ρᵖᵒʷᵉʳ from the density `start` on, up to the next piece's start."""

    start: float
    constant: float
    factor: float
    power: float


@dataclass(frozen=True)
class Law:
    """Young's modulus in MPa as a function of a density in g/cm³.

    Attributes:
        name: By author and site.
        takes: Which density: "apparent", "ash" or "qct".
        pieces: In rising order of their start, the first at 0.
        valid: The densities that the law was fitted to.
        source: Author and year, and what was measured.
        doi: Of the source, where it was looked up.
        certain: Whether `valid` is the source's own; else it is what the law is used for.
    """

    name: str
    takes: Kind
    pieces: tuple[Piece, ...]
    valid: tuple[float, float]
    source: str
    doi: str | None = None
    certain: bool = True

    def __post_init__(self) -> None:
        starts = [piece.start for piece in self.pieces]
        if not starts or starts[0] != 0 or any(np.diff(starts) <= 0):
            raise InputError(
                f"The pieces of the law '{self.name}' start at {starts}; they must start at 0 and "
                "rise."
            )
        if not 0 <= self.valid[0] < self.valid[1]:
            raise InputError(f"The law '{self.name}' has no range: {self.valid}.")

    @classmethod
    def linear(cls, factor: float, *, takes: Kind = "apparent", constant: float = 0.0) -> "Law":
        """E = constant + factor ρ of all densities: for checks and for laws of one's own."""
        name = f"linear, {constant:g} + {factor:g} ρ MPa"
        return cls(name, takes, (Piece(0.0, constant, factor, 1.0),), (0.0, np.inf), "given")

    def __call__(self, density: Any) -> Array:
        """Modulus in MPa of densities in g/cm³, any shape; extrapolates, and takes ρ < 0 for 0."""
        ρ = np.maximum(np.asarray(density, dtype=float), 0.0)
        which = np.searchsorted([piece.start for piece in self.pieces], ρ, side="right") - 1
        constant, factor, power = (
            np.array([getattr(piece, name) for piece in self.pieces])
            for name in ("constant", "factor", "power")
        )
        if len(self.pieces) == 1:
            return np.asarray(constant[0] + factor[0] * ρ ** power[0])
        return np.asarray(constant[which] + factor[which] * ρ ** power[which])

    def outside(self, density: Any, weights: Any = None) -> tuple[float, float]:
        """Shares of the weights (of the count, without) below and above the valid range."""
        ρ = np.asarray(density, dtype=float)
        w = np.ones_like(ρ) if weights is None else np.broadcast_to(weights, ρ.shape)
        total = float(w.sum())
        low, high = self.valid
        below, above = float(w[ρ < low].sum()), float(w[ρ > high].sum())
        return (below / total, above / total) if total else (0.0, 0.0)

    def clamped(self, density: Any) -> Array:
        """The densities moved into the valid range."""
        return np.clip(np.asarray(density, dtype=float), *self.valid)

    def moduli(self, density: Any, *, weights: Any = None, outside: Outside = "warn") -> Array:
        """Modulus in MPa, with a warning about densities outside the range, or these clamped.

        Args:
            density: g/cm³, any shape.
            weights: The volume that each stands for; equal ones if not given.
            outside: "warn" extrapolates and warns with the shares; "clamp" moves densities into
                the range without a word.
        """
        check_outside(outside)
        if outside == "clamp":
            return self(self.clamped(density))
        self.warn(*self.outside(density, weights))
        return self(density)

    def warn(self, below: float, above: float, *, stacklevel: int = 3) -> None:
        """Warn if any share of the volume lies outside the range."""
        if below + above > 0:
            low, high = self.valid
            warnings.warn(
                f"The law '{self.name}' holds for {self.takes} densities from {low:g} to {high:g} "
                f"g/cm³; {below:.2%} of the volume is below and {above:.2%} above. It is "
                'extrapolated there; outside="clamp" takes the ends of the range.',
                stacklevel=stacklevel,
            )


def check_outside(outside: str) -> None:
    """Refuse a treatment of densities outside the range that is not known."""
    if outside not in get_args(Outside):
        raise InputError(f"outside='{outside}' is unknown. Give 'warn' or 'clamp'.")


def convert(density: Any, have: Kind, want: Kind) -> Any:
    """One density from another, g/cm³, any shape; the relations of the module's head.

    Raises:
        InputError: A density that is none of apparent, ash and qct.
    """
    for kind in (have, want):
        if kind not in get_args(Kind):
            raise InputError(f"The density '{kind}' is unknown. Give one of: apparent, ash, qct.")
    if have == want:
        return density
    slope, intercept = ASH_OF_QCT
    ash = {
        "ash": lambda ρ: ρ,
        "qct": lambda ρ: slope * ρ + intercept,
        "apparent": lambda ρ: ASH_OF_APPARENT * ρ,
    }[have](np.asarray(density))
    return {
        "ash": lambda ρ: ρ,
        "qct": lambda ρ: (ρ - intercept) / slope,
        "apparent": lambda ρ: ρ / ASH_OF_APPARENT,
    }[want](ash)


def describe(have: Kind, want: Kind) -> str:
    """The conversion from one density to another in words, for a report."""
    if have == want:
        return f"none: the law takes {want} density"
    words = {
        "qct": f"ash = {ASH_OF_QCT[0]:g} qct + {ASH_OF_QCT[1]:g} g/cm³",
        "apparent": f"ash = {ASH_OF_APPARENT:g} apparent",
    }
    used = " and ".join(words[kind] for kind in (have, want) if kind in words)
    return f"{have} to {want} by {used} (Schileo et al. 2008, J. Biomech.)"


def carter_hayes(rate: float = 0.01) -> Law:
    """E = 3790 ε̇^0.06 ρ³ of apparent density, of cancellous and cortical bone.

    Args:
        rate: Strain rate in 1/s; 0.01 is that of walking, and gives 2875 ρ³.
    """
    if not rate > 0:
        raise InputError(f"Carter & Hayes: a strain rate of {rate:g} /s must be positive.")
    piece = Piece(0.0, 0.0, 3790 * rate**0.06, 3.0)
    source = f"Carter & Hayes 1977, human and bovine bone in compression, strain rate {rate:g} /s"
    doi = "10.2106/00004623-197759070-00021"
    return Law("Carter-Hayes", "apparent", (piece,), (0.07, 2.0), source, doi)


def _morgan(site: str, factor: float, power: float, valid: tuple[float, float]) -> Law:
    """A law of Morgan et al.; the ranges as Helgason et al. tabulate them."""
    source = f"Morgan et al. 2003, human trabecular bone on its axis, {site}"
    doi = "10.1016/S0021-9290(03)00071-X"
    return Law(f"Morgan, {site}", "apparent", (Piece(0.0, 0.0, factor, power),), valid, source, doi)


_WIRTZ = (
    "Wirtz et al. 2000, J. Biomech. 33, 1325–1330, human femora, {}, along the axis; the range is "
    "the one of use"
)
_KEYAK = "Keyak et al. 1998, J. Biomech. 31, 125–133, human femora; the range is the one of use"

LAWS = {
    each.name: each
    for each in (
        _morgan("pooled", 8920, 1.83, (0.09, 0.75)),
        _morgan("femoral neck", 6850, 1.49, (0.26, 0.75)),
        _morgan("vertebra", 4730, 1.56, (0.11, 0.35)),
        _morgan("proximal tibia", 15520, 1.93, (0.09, 0.41)),
        _morgan("greater trochanter", 15010, 2.18, (0.14, 0.28)),
        Law(
            "Keyak, femur",
            "ash",
            (
                Piece(0.0, 0.0, 33900, 2.20),
                Piece(0.27, 469, 5307, 1.0),
                Piece(0.60, 0.0, 10200, 2.01),
            ),
            (0.05, 1.25),
            _KEYAK,
            certain=False,
        ),
        Law(
            "Wirtz, cancellous",
            "apparent",
            (Piece(0.0, 0.0, 1904, 1.64),),
            (0.1, 1.2),
            _WIRTZ.format("cancellous bone"),
            certain=False,
        ),
        Law(
            "Wirtz, cortical",
            "apparent",
            (Piece(0.0, 0.0, 2065, 3.09),),
            (1.2, 2.0),
            _WIRTZ.format("cortical bone"),
            certain=False,
        ),
        carter_hayes(),
    )
}


def law(name: str) -> Law:
    """A law by its name.

    Raises:
        InputError: There is none of that name; lists those there are.
    """
    if name not in LAWS:
        raise InputError(f"There is no law '{name}'. There are: {'; '.join(LAWS)}.")
    return LAWS[name]
