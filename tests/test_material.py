"""The laws at their ends, their slopes against differences, and Lamé's constants."""

import numpy as np
import pytest
import ufl
from ufl.constantvalue import as_ufl

from toolkit import InputError, brinkman, gibson_ashby, kozeny_carman, lame, ramp, simp

LAWS = {  # law, value in void, value in solid
    "simp": (lambda ρ: simp(ρ, full=7.0, empty=0.1), 0.1, 7.0),
    "simp of power 2.5": (lambda ρ: simp(ρ, full=7.0, empty=0.1, power=2.5), 0.1, 7.0),
    "ramp": (lambda ρ: ramp(ρ, full=7.0, empty=0.1, q=3), 0.1, 7.0),
    "brinkman": (lambda ρ: brinkman(ρ, drag=50.0, empty=0.5, q=0.1), 0.5, 50.0),
    "gibson_ashby": (lambda ρ: gibson_ashby(ρ, full=7.0), 0.0, 7.0),
    "kozeny_carman": (lambda ρ: kozeny_carman(ρ, surface=2.0), 1 / 20, 0.0),
}


def at(law, value: float) -> float:
    """The law of a UFL variable, evaluated."""
    return float(law(as_ufl(value)).evaluate(None, {}, (), ()))


@pytest.mark.parametrize("name", LAWS)
def test_laws_take_their_values_in_void_and_solid(name):
    law, void, solid = LAWS[name]
    assert at(law, 0.0) == pytest.approx(void, abs=1e-15)
    assert at(law, 1.0) == pytest.approx(solid, abs=1e-14)


@pytest.mark.parametrize("name", LAWS)
def test_laws_are_monotonic(name):
    law, void, solid = LAWS[name]
    values = [at(law, ρ) for ρ in np.linspace(0, 1, 41)]
    assert np.all(np.diff(values) * np.sign(solid - void) >= 0)


def test_closed_forms():
    """The formulas of the cited papers at one density each."""
    ρ, ε = 0.3, 0.7
    assert at(lambda r: simp(r, full=2, empty=0), ρ) == pytest.approx(2 * ρ**3)
    assert at(lambda r: ramp(r, full=2, empty=0, q=4), ρ) == pytest.approx(2 * ρ / (1 + 4 * ε))
    borrvall = 9 + (0 - 9) * ε * 1.1 / (ε + 0.1)
    assert at(lambda r: brinkman(r, drag=9, q=0.1), ρ) == pytest.approx(borrvall)
    spheres = 0.5**2 * ε**3 / (180 * ρ**2)
    assert at(lambda r: kozeny_carman(r, grain=0.5), ρ) == pytest.approx(spheres)


@pytest.mark.parametrize(("plane", "dimension"), [(None, 3), ("strain", 2), ("stress", 2)])
def test_lame_constants_invert_the_uniaxial_test(plane, dimension):
    """Under σ = diag(1, 0, 0) the strain is (1, −ν, −ν)/E; in plane strain ε₃₃ = 0."""
    E, ν = 7.0, 0.3
    λ, μ = (float(ufl.as_ufl(c).evaluate(None, {}, (), ())) for c in lame(E, ν, plane=plane))
    C = λ * np.ones((dimension, dimension)) + 2 * μ * np.eye(dimension)
    ε = np.linalg.solve(C, np.eye(dimension)[0])
    if plane == "strain":
        expected = [(1 - ν**2) / E, -ν * (1 + ν) / E]
    else:
        expected = [1 / E, -ν / E, -ν / E][:dimension]
    assert ε == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ρ: ramp(ρ, full=1, empty=0, q=-1), ["q = -1"]),
        (lambda ρ: brinkman(ρ, drag=1, q=0), ["q = 0", "positive"]),
        (lambda ρ: kozeny_carman(ρ), ["surface", "grain"]),
        (lambda ρ: kozeny_carman(ρ, surface=1, grain=1), ["either"]),
        (lambda ρ: kozeny_carman(ρ, surface=-2), ["positive", "-2"]),
        (lambda ρ: simp(ρ, full=1, empty=0, power=0.5), ["0.5", "at least 1"]),
        (lambda ρ: lame(1.0, 0.5), ["0.5", "0.49"]),
        (lambda ρ: lame(1.0, -1.0), ["-1"]),
    ],
)
def test_parameters_outside_their_range_are_refused(call, words):
    with pytest.raises(InputError) as error:
        call(as_ufl(0.5))
    assert all(word in str(error.value) for word in words)
