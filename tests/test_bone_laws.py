"""Materials, units, calibrations and laws: against the formulas, ends of ranges, and each other."""

import re

import numpy as np
import pytest

from toolkit import InputError
from toolkit.bone import FLUIDS, LAWS, SOLIDS, Calibration, Law, carter_hayes, convert, law, solid
from toolkit.bone.laws import Piece
from toolkit.bone.materials import Property, Solid
from toolkit.bone.units import (
    from_g_cm3,
    from_gpa,
    from_m2,
    from_pa_s,
    to_g_cm3,
    to_gpa,
    to_m2,
    to_pa_s,
)

DOI = re.compile(r"10\.\d{4,}/\S+")
JOURNAL = r"(19|20)\d\d, (J\. |Biomaterials)"


def properties(material) -> list[Property]:
    return [each for each in vars(material).values() if isinstance(each, Property)]


@pytest.mark.parametrize("material", [*SOLIDS.values(), *FLUIDS.values()], ids=lambda m: m.name)
def test_every_property_has_a_range_and_a_source(material):
    assert len(properties(material)) >= (4 if isinstance(material, Solid) else 2)
    for each in properties(material):
        assert each.low <= each.value <= each.high and each.low > 0
        if each.doi is None:
            assert re.search("textbook|ASTM|" + JOURNAL, each.source)
        else:
            assert DOI.fullmatch(each.doi) and re.search(r"(19|20)\d\d", each.source)


def test_materials_are_physical():
    """Isotropic solids have −1 < ν < ½; strains at the strength are those of their class."""
    for each in SOLIDS.values():
        assert -1 < each.poisson.low and each.poisson.high < 0.5
        assert float(each.strength) < 0.05 * float(each.modulus)
        assert each.endurance is None or float(each.endurance) < float(each.strength)
    stiff = ["CoCrMo", "316L", "tantalum", "Ti-6Al-4V", "cortical bone", "PEEK", "cancellous bone"]
    moduli = [float(solid(name).modulus) for name in stiff]
    assert moduli == sorted(moduli, reverse=True)


def test_a_property_outside_its_range_and_an_unknown_material_are_refused():
    with pytest.raises(InputError, match="outside its range, 2 to 3"):
        Property(1.0, 2.0, 3.0)
    with pytest.raises(InputError, match=r"no solid 'titanium'\. There are: Ti-6Al-4V, "):
        solid("titanium")


def test_units_go_there_and_back():
    pairs = [(from_gpa, to_gpa), (from_m2, to_m2), (from_pa_s, to_pa_s), (from_g_cm3, to_g_cm3)]
    for there, back in pairs:
        assert back(there(3.7)) == pytest.approx(3.7, rel=1e-15)
    assert from_gpa(110) == pytest.approx(110e3)
    assert from_m2(1e-9) == pytest.approx(1e-3)  # of cancellous bone
    assert (
        from_pa_s(0.04) == pytest.approx(4e-8) == pytest.approx(float(FLUIDS["marrow"].viscosity))
    )
    assert from_g_cm3(4.43) == pytest.approx(4.43e-9)


@pytest.mark.parametrize(
    ("name", "density", "modulus"),
    [
        ("Morgan, pooled", 0.4, 1667.8),
        ("Morgan, femoral neck", 0.4, 1748.9),
        ("Morgan, vertebra", 0.4, 1132.6),
        ("Morgan, proximal tibia", 0.4, 2647.7),
        ("Morgan, greater trochanter", 0.4, 2036.4),
        ("Carter-Hayes", 0.4, 184.0),
        ("Carter-Hayes", 1.8, 16767),
        ("Keyak, femur", 0.1, 213.89),
        ("Keyak, femur", 0.4, 2591.8),
        ("Keyak, femur", 0.8, 6513.5),
        ("Wirtz, cancellous", 1.0, 1904),
        ("Wirtz, cortical", 2.0, 2065 * 2**3.09),
    ],
)
def test_laws_give_the_published_moduli(name, density, modulus):
    assert float(law(name)(density)) == pytest.approx(modulus, rel=1e-4)


@pytest.mark.parametrize("each", LAWS.values(), ids=lambda each: each.name)
def test_laws_rise_and_hold_together(each):
    """E rises with ρ, jumps by less than 0.1 % between pieces, and has a source."""
    ρ = np.linspace(0, each.valid[1], 2001)
    assert (np.diff(each(ρ)) > 0).all()
    for piece in each.pieces[1:]:
        below, at = each([piece.start - 1e-9, piece.start])
        assert at == pytest.approx(below, rel=1e-3)
    assert DOI.fullmatch(each.doi) if each.doi else re.search(JOURNAL, each.source)
    assert each(-0.2) == each(0.0) == 0.0


def test_strain_rate_of_carter_and_hayes():
    ratio = carter_hayes(1.0)(0.5) / carter_hayes(0.01)(0.5)
    assert float(ratio) == pytest.approx(100**0.06, rel=1e-12)
    with pytest.raises(InputError, match="strain rate of 0"):
        carter_hayes(0)


def test_outside_of_the_range_is_told_with_its_share_of_volume_or_clamped():
    vertebra = law("Morgan, vertebra")  # 0.11 to 0.35 g/cm³
    ρ, volume = np.array([0.05, 0.2, 0.3, 0.5]), np.array([1.0, 5.0, 3.0, 1.0])
    with pytest.warns(UserWarning, match=r"10.00% of the volume is below and 10.00% above"):
        extrapolated = vertebra.moduli(ρ, weights=volume)
    assert extrapolated == pytest.approx(4730 * ρ**1.56)
    clamped = vertebra.moduli(ρ, weights=volume, outside="clamp")  # warnings are errors here
    assert clamped == pytest.approx(4730 * np.array([0.11, 0.2, 0.3, 0.35]) ** 1.56)
    with pytest.raises(InputError, match="outside='cut' is unknown"):
        vertebra.moduli(ρ, outside="cut")


def test_densities_convert_there_and_back():
    kinds = ("apparent", "ash", "qct")
    ρ = np.array([0.2, 1.0])
    for have in kinds:
        for want in kinds:
            assert convert(convert(ρ, have, want), want, have) == pytest.approx(ρ, rel=1e-14)
    assert convert(1.0, "qct", "ash") == pytest.approx(0.956)
    assert convert(0.598, "ash", "apparent") == pytest.approx(1.0)
    assert convert(0.5, "qct", "apparent") == pytest.approx((0.877 * 0.5 + 0.079) / 0.598)
    with pytest.raises(InputError, match="density 'wet' is unknown"):
        convert(1.0, "wet", "ash")


def test_calibrations():
    line = Calibration.two_point((0, 0.01), (1000, 0.81), gives="ash")
    assert line([0, 500, 1000]) == pytest.approx([0.01, 0.41, 0.81])
    inserts = np.array([-50.0, 100.0, 400.0, 900.0])
    exact = Calibration.phantom(inserts, 0.02 + 7e-4 * inserts)
    assert (exact.slope, exact.intercept) == pytest.approx((7e-4, 0.02))
    assert exact.determination == pytest.approx(1.0)
    noise = np.array([0.01, -0.01, -0.01, 0.01])  # orthogonal to 1 and to these HU
    h = np.array([0.0, 1.0, 2.0, 3.0])
    noisy = Calibration.phantom(h, 0.1 + 0.2 * h + noise)
    assert (noisy.slope, noisy.intercept) == pytest.approx((0.2, 0.1))
    assert noisy.determination == pytest.approx(1 - 4e-4 / (0.04 * 5 + 4e-4))
    assert "phantom of 4 inserts" in noisy.source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Calibration.two_point((5, 0), (5, 1)), "Both points of the calibration are at 5"),
        (lambda: Calibration.two_point((0, 1), (100, 0)), "does not rise with HU"),
        (lambda: Calibration(1.0, 0.0, "wet"), "density 'wet' is unknown"),
        (lambda: Calibration.phantom([1, 2], [0.1]), "at least two different inserts"),
        (lambda: Calibration.phantom([3, 3], [0.1, 0.2]), "at least two different inserts"),
        (lambda: law("Morgan, skull"), "no law 'Morgan, skull'. There are: Morgan, pooled; "),
        (lambda: Law("x", "ash", (Piece(0.1, 0, 1, 1),), (0, 1), "mine"), "must start at 0"),
        (lambda: Law("x", "ash", (Piece(0.0, 0, 1, 1),), (1, 0), "mine"), "has no range"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
