"""From Hounsfield units to a density: ρ = intercept + slope · HU, of one scanner and one protocol.

A phantom with inserts of known density, scanned with the bone, gives the line. Which density it is
depends on the phantom: inserts of hydroxyapatite or K₂HPO₄ give an equivalent mineral density
("qct"), which is neither ash nor apparent density (see `toolkit.bone.laws.convert`). Densities are
in g/cm³. A line from another scanner is an assumption and has to be reported as one.

Reference: Knowles et al. 2016, doi:10.1186/s40634-016-0072-2 (what studies do, and do not report).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from toolkit.errors import InputError

__all__ = ["Calibration", "Kind"]

Kind = Literal["apparent", "ash", "qct"]


@dataclass(frozen=True)
class Calibration:
    """A line from Hounsfield units to a density in g/cm³.

    Attributes:
        slope: g/cm³ a Hounsfield unit.
        intercept: g/cm³ at 0 HU, which is water.
        gives: Which density comes out: "apparent", "ash" or "qct".
        source: How it was found, for the report.
        determination: R² of the fit to a phantom; 1 for two points.
    """

    slope: float
    intercept: float
    gives: Kind = "qct"
    source: str = "given as a line"
    determination: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and self.slope > 0 and np.isfinite(self.intercept)):
            raise InputError(
                f"A calibration with slope = {self.slope:g} g/cm³ per HU and intercept = "
                f"{self.intercept:g} g/cm³ does not rise with HU. Give a positive finite slope."
            )
        if self.gives not in get_args(Kind):
            raise InputError(
                f"A calibration to the density '{self.gives}' is unknown. Give one of: "
                f"{', '.join(get_args(Kind))}."
            )

    @classmethod
    def two_point(
        cls, first: tuple[float, float], second: tuple[float, float], *, gives: Kind = "qct"
    ) -> "Calibration":
        """The line through two pairs (HU, density in g/cm³).

        Raises:
            InputError: The two have one HU, or the line does not rise.
        """
        (x, p), (y, q) = first, second
        if x == y:
            raise InputError(f"Both points of the calibration are at {x:g} HU. Give two values.")
        slope = (q - p) / (y - x)
        source = f"two points: {x:g} HU = {p:g} g/cm³, {y:g} HU = {q:g} g/cm³"
        return cls(slope, p - slope * x, gives, source)

    @classmethod
    def phantom(
        cls, hounsfield: Sequence[float], density: Sequence[float], *, gives: Kind = "qct"
    ) -> "Calibration":
        """The least-squares line through a phantom's inserts.

        Args:
            hounsfield: Mean HU in each insert.
            density: Its density, g/cm³.
            gives: Which density the phantom states.

        Raises:
            InputError: Fewer than two inserts, lengths that differ, one HU for all, or a line that
                does not rise.
        """
        h, p = np.asarray(hounsfield, dtype=float), np.asarray(density, dtype=float)
        if h.ndim != 1 or h.shape != p.shape or len(h) < 2 or not np.ptp(h) > 0:
            raise InputError(
                f"A phantom needs a HU and a density for each of at least two different inserts, "
                f"not {h.tolist()} HU with {p.tolist()} g/cm³."
            )
        slope, intercept = np.polyfit(h, p, 1)
        residual = p - intercept - slope * h
        spread = ((p - p.mean()) ** 2).sum()
        determination = 1 - (residual**2).sum() / spread if spread > 0 else 0.0
        source = (
            f"phantom of {len(h)} inserts, {p.min():g} to {p.max():g} g/cm³, "
            f"R² = {determination:.4f}, largest residual {np.abs(residual).max():.3g} g/cm³"
        )
        return cls(float(slope), float(intercept), gives, source, float(determination))

    def __call__(self, hounsfield: Any) -> Any:
        """Density in g/cm³ of Hounsfield units, any shape."""
        return self.intercept + self.slope * np.asarray(hounsfield)
