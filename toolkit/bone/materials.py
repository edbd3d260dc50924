"""Implant and bone materials: moduli, strengths and densities, each with its range and its source.

Units are those of `toolkit.bone.units`: MPa, MPa s, and g/cm³ for densities. A value is what a
first calculation would take, its range what the literature spans, and neither is a certificate:
the supplier's data sheet and a test decide. Values are isotropic; bone and fibres are not.
A source without a DOI is a standard, a value from textbooks or a paper by its journal, and says so.

References:
    Long & Rack 1998, Biomaterials 19, 1621–1639 (titanium alloys);
    Niinomi 1998, doi:10.1016/S0921-5093(97)00806-X (titanium alloys);
    Leuders et al. 2013, doi:10.1016/j.ijfatigue.2012.11.011 (laser-melted Ti-6Al-4V in fatigue);
    Kurtz & Devine 2007, doi:10.1016/j.biomaterials.2007.07.013 (PEEK);
    Hench 1991, Bioceramics: from concept to clinic, J. Am. Ceram. Soc. (bioceramics);
    Reilly & Burstein 1975, doi:10.1016/0021-9290(75)90075-5 (compact bone);
    Bayraktar et al. 2004, doi:10.1016/S0021-9290(03)00257-4 (femoral bone tissue);
    Morgan et al. 2003, doi:10.1016/S0021-9290(03)00071-X (trabecular bone);
    Gurkan & Akkus 2008, doi:10.1007/s10439-008-9577-x (marrow).
"""

from dataclasses import dataclass
from typing import Literal

from toolkit.errors import InputError

__all__ = ["FLUIDS", "SOLIDS", "Fluid", "Property", "Solid", "solid"]

TEXTBOOK = "typical textbook value"
LONG_RACK = ("Long & Rack 1998, Biomaterials 19, 1621–1639", None)
NIINOMI = ("Niinomi 1998", "10.1016/S0921-5093(97)00806-X")
LEUDERS = ("Leuders et al. 2013", "10.1016/j.ijfatigue.2012.11.011")
KURTZ = ("Kurtz & Devine 2007", "10.1016/j.biomaterials.2007.07.013")
HENCH = ("Hench 1991, J. Am. Ceram. Soc.", None)
REILLY = ("Reilly & Burstein 1975", "10.1016/0021-9290(75)90075-5")
BAYRAKTAR = ("Bayraktar et al. 2004", "10.1016/S0021-9290(03)00257-4")
MORGAN = ("Morgan et al. 2003", "10.1016/S0021-9290(03)00071-X")
GURKAN = ("Gurkan & Akkus 2008", "10.1007/s10439-008-9577-x")


@dataclass(frozen=True)
class Property:
    """A number with its range and where it comes from.

    Attributes:
        value: What a first calculation takes.
        low: Lower end of what is reported.
        high: Upper end.
        source: Who reports it, and under which conditions where these matter.
        doi: Of the source; None for standards and textbook values, which `source` calls so, and
            for papers by their journal.
    """

    value: float
    low: float
    high: float
    source: str = TEXTBOOK
    doi: str | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise InputError(
                f"A property of {self.value:g} lies outside its range, {self.low:g} to "
                f"{self.high:g}. Give low <= value <= high."
            )

    def __float__(self) -> float:
        return float(self.value)


@dataclass(frozen=True)
class Solid:
    """A solid, linear elastic up to its strength.

    Attributes:
        name: What it is, with its state.
        modulus: Young's modulus, MPa.
        poisson: Poisson's ratio.
        density: g/cm³.
        strength: Yield stress, or fracture stress in tension of what does not yield, MPa.
        failure: Which of the two.
        endurance: Stress amplitude or maximum that is borne for 10⁷ cycles, as its source says,
            MPa; None where no limit can be named.
    """

    name: str
    modulus: Property
    poisson: Property
    density: Property
    strength: Property
    failure: Literal["yield", "fracture"]
    endurance: Property | None


@dataclass(frozen=True)
class Fluid:
    """A Newtonian fluid.

    Attributes:
        name: What it is.
        viscosity: Dynamic viscosity, MPa s.
        density: g/cm³.
    """

    name: str
    viscosity: Property
    density: Property


SOLIDS = {
    "Ti-6Al-4V": Solid(
        "Ti-6Al-4V ELI, wrought and annealed",
        modulus=Property(110e3, 101e3, 114e3, *LONG_RACK),
        poisson=Property(0.34, 0.33, 0.342),
        density=Property(4.43, 4.42, 4.45),
        strength=Property(795, 795, 880, "ASTM F136, smallest 0.2 % yield stress; range: textbook"),
        failure="yield",
        endurance=Property(500, 450, 600, f"{NIINOMI[0]}, polished, in air", NIINOMI[1]),
    ),
    "Ti-6Al-4V L-PBF": Solid(
        "Ti-6Al-4V, laser powder bed fusion, stress relieved, surface as built",
        modulus=Property(110e3, 94e3, 120e3),
        poisson=Property(0.34, 0.33, 0.342),
        density=Property(4.41, 4.35, 4.43),
        strength=Property(825, 795, 1100, "ASTM F2924, smallest 0.2 % yield stress"),
        failure="yield",
        endurance=Property(
            250, 150, 550, f"{LEUDERS[0]} and textbooks; upper end after HIP, polished", LEUDERS[1]
        ),
    ),
    "316L": Solid(
        "316L stainless steel",
        modulus=Property(193e3, 190e3, 200e3),
        poisson=Property(0.30, 0.27, 0.30),
        density=Property(7.95, 7.9, 8.0),
        strength=Property(190, 190, 690, "ASTM F138, smallest: annealed 190, cold worked 690"),
        failure="yield",
        endurance=Property(180, 180, 415, f"{TEXTBOOK}; annealed, upper end cold worked"),
    ),
    "CoCrMo": Solid(
        "Co-28Cr-6Mo, cast",
        modulus=Property(220e3, 210e3, 240e3, *LONG_RACK),
        poisson=Property(0.30, 0.29, 0.31),
        density=Property(8.3, 8.2, 8.4),
        strength=Property(450, 450, 1000, "ASTM F75, smallest 0.2 % yield stress; upper: wrought"),
        failure="yield",
        endurance=Property(250, 200, 500, f"{TEXTBOOK}; upper end wrought"),
    ),
    "PEEK": Solid(
        "PEEK, unfilled",
        modulus=Property(3.7e3, 3.5e3, 4.0e3, *KURTZ),
        poisson=Property(0.36, 0.36, 0.40, *KURTZ),
        density=Property(1.30, 1.29, 1.32, *KURTZ),
        strength=Property(93, 90, 107, *KURTZ),
        failure="yield",
        endurance=Property(60, 50, 65, f"{TEXTBOOK}; tension and compression"),
    ),
    "CFR-PEEK": Solid(
        "PEEK with 30 % of chopped carbon fibres",
        modulus=Property(18e3, 13e3, 22e3, *KURTZ),
        poisson=Property(0.40, 0.36, 0.44),
        density=Property(1.41, 1.40, 1.44),
        strength=Property(170, 120, 230, f"{TEXTBOOK}; along the flow of the moulding"),
        failure="fracture",
        endurance=Property(70, 50, 100, f"{TEXTBOOK}; along the flow of the moulding"),
    ),
    "tantalum": Solid(
        "tantalum, solid and annealed",
        modulus=Property(186e3, 179e3, 190e3),
        poisson=Property(0.34, 0.34, 0.35),
        density=Property(16.6, 16.6, 16.7),
        strength=Property(140, 140, 345, "ASTM F560, smallest: annealed 140, cold worked 345"),
        failure="yield",
        endurance=None,
    ),
    "HA": Solid(
        "hydroxyapatite, dense",
        modulus=Property(95e3, 80e3, 110e3, *HENCH),
        poisson=Property(0.27, 0.27, 0.28),
        density=Property(3.1, 3.05, 3.16, "textbook; 3.16 is the crystal"),
        strength=Property(60, 40, 100, f"{TEXTBOOK}; in tension"),
        failure="fracture",
        endurance=None,
    ),
    "β-TCP": Solid(
        "β-tricalcium phosphate, dense",
        modulus=Property(60e3, 33e3, 90e3),
        poisson=Property(0.28, 0.26, 0.30),
        density=Property(3.0, 2.9, 3.07, "textbook; 3.07 is the crystal"),
        strength=Property(40, 15, 100, f"{TEXTBOOK}; in tension"),
        failure="fracture",
        endurance=None,
    ),
    "cortical bone": Solid(
        "human cortical bone, along its axis",
        modulus=Property(17e3, 12e3, 20e3, *REILLY),
        poisson=Property(0.30, 0.28, 0.45),
        density=Property(1.85, 1.8, 2.0, f"{TEXTBOOK}; apparent, wet"),
        strength=Property(108, 96, 130, f"{BAYRAKTAR[0]}, in tension", BAYRAKTAR[1]),
        failure="yield",
        endurance=Property(30, 25, 35),
    ),
    "cancellous bone": Solid(
        "human cancellous bone",
        modulus=Property(500, 50, 2000, f"order of {MORGAN[0]}; take a law of density", MORGAN[1]),
        poisson=Property(0.25, 0.1, 0.35),
        density=Property(0.35, 0.09, 0.75, f"{MORGAN[0]}; apparent, wet", MORGAN[1]),
        strength=Property(4, 1, 12),
        failure="yield",
        endurance=None,
    ),
}

FLUIDS = {
    "marrow": Fluid(
        "marrow at body temperature",
        viscosity=Property(
            4e-8, 1e-8, 4e-7, f"order of the values reviewed by {GURKAN[0]}; wide", GURKAN[1]
        ),
        density=Property(1.0, 0.93, 1.06),
    ),
    "water": Fluid(
        "water at 37 °C",
        viscosity=Property(6.9e-10, 6.8e-10, 7.0e-10),
        density=Property(0.993, 0.993, 0.994),
    ),
}


def solid(name: str) -> Solid:
    """A solid by its name.

    Raises:
        InputError: There is none of that name; lists those there are.
    """
    if name not in SOLIDS:
        raise InputError(f"There is no solid '{name}'. There are: {', '.join(SOLIDS)}.")
    return SOLIDS[name]
