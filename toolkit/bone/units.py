"""The units of this package: mm, N, MPa and s, and the ways to and from the others.

Forces are in N and lengths in mm, hence moduli, stresses and pressures in MPa = N/mm², permeability
in mm², viscosity in MPa s, and mass in tonnes. One exception is the field's habit: densities are
in g/cm³ wherever they are read or reported, and `from_g_cm3` makes them t/mm³, the density that
goes with the other units where inertia or weight is computed. Numbers and arrays alike.
"""

__all__ = [
    "from_g_cm3",
    "from_gpa",
    "from_m2",
    "from_pa_s",
    "to_g_cm3",
    "to_gpa",
    "to_m2",
    "to_pa_s",
]


def from_gpa(modulus: float) -> float:
    """GPa to MPa."""
    return modulus * 1e3


def to_gpa(modulus: float) -> float:
    """MPa to GPa."""
    return modulus / 1e3


def from_m2(permeability: float) -> float:
    """m² to mm²."""
    return permeability * 1e6


def to_m2(permeability: float) -> float:
    """mm² to m²."""
    return permeability / 1e6


def from_pa_s(viscosity: float) -> float:
    """Pa s to MPa s."""
    return viscosity / 1e6


def to_pa_s(viscosity: float) -> float:
    """MPa s to Pa s."""
    return viscosity * 1e6


def from_g_cm3(density: float) -> float:
    """g/cm³ to t/mm³."""
    return density / 1e9


def to_g_cm3(density: float) -> float:
    """t/mm³ to g/cm³."""
    return density * 1e9
