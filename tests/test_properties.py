"""Property maps: the splines against scipy's, the laws in a design, the file, and small samples.

Samples are held to what is exactly known: plates along the flow, Voigt's bound, and that
lengths enter as a scale alone.
"""

from dataclasses import dataclass
from functools import partial

import h5py
import numpy as np
import pytest
import ufl
from mpi4py import MPI
from scipy.interpolate import PchipInterpolator
from ufl.algorithms import expand_derivatives

from toolkit import Density, Domain, Functional, InputError, darcy, elasticity
from toolkit.adjoint import taylor_table
from toolkit.properties import Curve, PropertyMap, _drag, sample

COMM = MPI.COMM_WORLD
NU = 0.3
CURVES = {
    "rising": Curve(np.array([0.0, 0.2, 0.3, 0.7, 1.0]), np.array([0.0, 0.01, 0.05, 0.4, 1.0])),
    "falling to zero": Curve(np.array([0.2, 0.4, 0.5, 1.0]), np.array([0.1, 0.003, 0.001, 0.0])),
    "flat, then turning": Curve(np.array([0.0, 0.3, 0.6, 1.0]), np.array([0.1, 0.1, 0.4, 0.3])),
    "two knots": Curve(np.array([0.0, 1.0]), np.array([1.0, 3.0])),
}


def evaluated(expression: ufl.core.expr.Expr) -> float:
    return float(expression.evaluate(None, {}, (), ()))


def points(curve: Curve) -> np.ndarray:
    """Between the knots, at them, and beyond the ends."""
    ends = np.array([curve.knots[0] - 0.1, curve.knots[-1] + 0.1])
    return np.concatenate([np.linspace(*curve.knots[[0, -1]], 23), curve.knots, ends])


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_is_the_monotone_spline_of_its_samples(name):
    curve = CURVES[name]
    spline = PchipInterpolator(curve.knots, curve.values)
    ρ = np.linspace(*curve.knots[[0, -1]], 101)
    assert curve(curve.knots) == pytest.approx(curve.values, rel=1e-15, abs=0)
    assert curve(ρ) == pytest.approx(spline(ρ), rel=1e-12, abs=1e-16)
    assert curve.slope(ρ) == pytest.approx(spline.derivative()(ρ), rel=1e-10, abs=1e-13)
    assert isinstance(curve(0.5), float) and isinstance(curve.slope(0.5), float)
    assert curve(ρ.reshape(1, -1)).shape == curve.slope(ρ.reshape(1, -1)).shape == (1, 101)


@pytest.mark.parametrize("name", ["rising", "falling to zero"])
def test_a_curve_is_monotone_and_never_passes_its_limit(name):
    curve = CURVES[name]
    ρ = np.linspace(*curve.knots[[0, -1]], 4001)
    sign = np.sign(curve.values[-1] - curve.values[0])
    assert np.all(sign * np.diff(curve(ρ)) > 0)
    assert curve(ρ).min() == curve.values.min() == 0.0


@pytest.mark.parametrize("name", CURVES)
def test_beyond_its_ends_a_curve_goes_on_straight(name):
    curve = CURVES[name]
    for end, side in ((curve.knots[0], -1), (curve.knots[-1], 1)):
        slope = curve.slope(end)
        assert curve(end + 0.3 * side) == pytest.approx(curve(end) + 0.3 * side * slope, rel=1e-13)
        assert curve.slope(end + 0.3 * side) == pytest.approx(slope, rel=1e-13)


@pytest.mark.parametrize("name", CURVES)
def test_ufl_has_the_value_and_the_slope_of_the_numbers(name):
    curve = CURVES[name]
    for ρ in points(curve):
        variable = ufl.variable(ufl.as_ufl(float(ρ)))
        law = curve(variable)
        slope = expand_derivatives(ufl.diff(law, variable))
        assert evaluated(law) == pytest.approx(curve(ρ), rel=1e-13, abs=1e-16)
        assert evaluated(slope) == pytest.approx(curve.slope(ρ), rel=1e-11, abs=1e-13)


def isotropic(E: float, G: float) -> np.ndarray:
    """The stiffness of an isotropic material."""
    λ = G * (E - 2 * G) / (3 * G - E)
    C = np.diag([2 * G] * 3 + [G] * 3).astype(float)
    C[:3, :3] += λ
    return C


def power_laws(direction: tuple[float, ...] = (1.0, 0.0, 0.0)) -> PropertyMap:
    """A map of E = ρ², G = 0.4 ρ², k = (1 − ρ)³/12 along x and a tenth across, D = 1 − ρ."""
    ρ = np.array([0.2, 0.35, 0.5, 0.65, 0.8])
    axes = np.diag([1.0, 0.1, 0.1])
    return PropertyMap(
        "power laws",
        ρ,
        np.array([isotropic(r**2, 0.4 * r**2) for r in ρ]),
        np.array([(1 - r) ** 3 / 12 * axes for r in ρ]),
        np.array([(1 - r) * axes for r in ρ]),
        poisson_ratio=NU,
        direction=np.array(direction),
        provenance={"resolution": "none", "origin": "formulas"},
    )


def test_laws_take_the_samples_and_the_units():
    laws = power_laws()
    ρ = laws.density
    assert laws.range == (0.2, 0.8)
    assert laws.modulus(ρ, full=114e3) == pytest.approx(114e3 * ρ**2, rel=1e-12)
    assert laws.shear(ρ, full=2.0) == pytest.approx(0.8 * ρ**2, rel=1e-12)
    assert laws.poisson(ρ) == pytest.approx(1 / 0.8 - 1, rel=1e-12)
    assert laws.bulk(ρ) == pytest.approx(ρ**2 / (3 * (1 - 2 * 0.25)), rel=1e-12)
    assert laws.zener(ρ) == pytest.approx(1.0, rel=1e-12)
    assert laws.permeability(ρ, length=2.0) == pytest.approx((1 - ρ) ** 3 / 3, rel=1e-12)
    assert laws.diffusivity(ρ, full=3.0) == pytest.approx(3 * (1 - ρ), rel=1e-12)


def test_solid_and_void_are_joined_to_the_samples():
    laws = power_laws()
    solid = {
        "modulus": 1.0,
        "bulk": 1 / (3 * (1 - 2 * NU)),
        "shear": 1 / (2 * (1 + NU)),
        "poisson": NU,
        "zener": 1.0,
        "permeability": 0.0,
        "diffusivity": 0.0,
    }
    void = {"modulus": 0.0, "bulk": 0.0, "shear": 0.0, "diffusivity": 1.0, "poisson": 0.25}
    assert {name: laws.curves[name](1.0) for name in solid} == pytest.approx(solid, abs=1e-13)
    assert {name: laws.curves[name](0.0) for name in void} == pytest.approx(void, abs=1e-13)
    assert laws.curves["poisson"].slope(0.2) == pytest.approx(0.0, abs=1e-14)
    below = laws.permeability(np.array([0.0, 0.1, 0.2]), length=1.0)
    assert np.all(np.diff(below) < 0) and below[0] < 1 / 12  # it has no limit there, and is convex


def test_a_map_follows_its_direction():
    along, across = (power_laws(n).permeability(0.5, length=1.0) for n in ((1, 0, 0), (0, 1, 0)))
    assert along == pytest.approx(10 * across, rel=1e-13)


@pytest.mark.parallel
def test_laws_in_a_design_pass_the_taylor_test():
    """Compliance and permeance of a box by the laws, over the densities where they were joined."""
    domain = Domain.box((2, 1), (8, 4))
    design = Density(domain, radius=0.4, start=0.5)
    laws, ρ = power_laws(), design.physical
    E = laws.modulus(ρ, full=7.0)
    κ = laws.permeability(ρ, length=2.0) * laws.diffusivity(ρ)
    u = elasticity(
        domain, modulus=E, poisson=NU, displacement=["xmin"], traction={"xmax": (0.0, -1.0)}
    )
    p = darcy(domain, permeability=κ, pressure={"xmin": 1.0, "xmax": 0.0})
    compliance = Functional(-u[1] * domain.ds("xmax"))
    permeance = Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx)
    for J in (compliance, permeance):
        assert taylor_table(J, over=design).passed
        assert not taylor_table(J, over=design, gradient_error=1e-2).passed


@pytest.mark.parallel
def test_a_map_is_read_as_it_was_written(tmp_path):
    folder = COMM.bcast(tmp_path)
    laws = power_laws()
    found = PropertyMap.read(laws.write(folder / "laws.h5"))
    assert (found.name, found.plane, found.range) == (laws.name, laws.plane, laws.range)
    assert dict(found.provenance) == dict(laws.provenance)
    ρ = np.linspace(-0.1, 1.1, 31)
    for name, curve in laws.curves.items():
        np.testing.assert_array_equal(found.curves[name](ρ), curve(ρ))


@pytest.mark.parallel
def test_files_that_hold_no_map_are_refused(tmp_path):
    folder = COMM.bcast(tmp_path)
    with pytest.raises(InputError, match="no file"):
        PropertyMap.read(folder / "none.h5")
    with pytest.raises(InputError, match="cannot be written"):
        power_laws().write(folder / "no folder" / "laws.h5")
    path = power_laws().write(folder / "laws.h5")
    if COMM.rank == 0:
        with h5py.File(path, "a") as file:
            del file["stiffness"]
        with h5py.File(folder / "other.h5", "w") as file:
            file.attrs["format"] = "other"
        (folder / "text.h5").write_text("no map")
    COMM.barrier()
    for name, words in (("laws", "stiffness"), ("other", "not one of"), ("text", "not a whole")):
        with pytest.raises(InputError, match=words):
            PropertyMap.read(folder / f"{name}.h5")


@dataclass(frozen=True)
class Cosines:
    """Solid where cos X + cos Y + cos Z exceeds the quantile that leaves the porosity."""

    porosity: float
    length: float = 1.0
    name: str = "cosines"

    @property
    def lengths(self) -> tuple[float, float, float]:
        return (self.length,) * 3

    def voxels(self, resolution: tuple[int, ...]) -> np.ndarray:
        fine = [4 * n for n in resolution]
        X = np.meshgrid(*(2 * np.pi * (np.arange(n) + 0.5) / n for n in fine), indexing="ij")
        φ = sum(np.cos(x) for x in X)
        solid = (φ > np.quantile(φ, self.porosity)).astype(float)
        return solid.reshape([m for n in resolution for m in (n, 4)]).mean(axis=(1, 3, 5))


@dataclass(frozen=True)
class Plates:
    """Plates across the last axis, twice as long along x."""

    porosity: float
    lengths: tuple[float, ...] = (2.0, 1.0, 1.0)
    name: str = "plates"

    def voxels(self, resolution: tuple[int, ...]) -> np.ndarray:
        z = (np.arange(resolution[-1]) + 0.5) / resolution[-1]
        return np.broadcast_to(z > self.porosity, resolution).astype(float)


@pytest.mark.parallel
def test_plates_are_what_they_are_known_to_be():
    """Along plates E = ρ and D = ε; across them both phases are in series."""
    laws = sample(Plates, [0.25, 0.5, 0.75], resolution=8, poisson=NU)
    ρ, void = laws.density, 1e-6
    assert ρ == pytest.approx([0.25, 0.5, 0.75])
    assert laws.provenance["resolution"] == "8 4 4"
    assert laws.modulus(ρ) == pytest.approx(ρ + void * (1 - ρ), rel=1e-8)
    assert laws.diffusivity(ρ) == pytest.approx(1 - ρ + void * ρ, rel=1e-8)
    across = 1 / (ρ / void + (1 - ρ))
    assert laws.diffusivity_tensor[:, 2, 2] == pytest.approx(across, rel=1e-6)
    k = laws.permeability_tensor
    assert k[:, 1, 1] == pytest.approx(k[:, 0, 0], rel=1e-6)


@pytest.mark.parallel
@pytest.mark.parametrize("plane", ["strain", "stress"])
def test_strips_in_the_plane(plane):
    """Along strips E = ρ E₁ with E₁ that of the plane, and k = ε³/12 of the gap's width squared."""
    strips = partial(Plates, lengths=(2.0, 1.0))
    laws = sample(strips, [0.5, 0.75], resolution=32, poisson=NU, plane=plane)
    ρ = laws.density
    solid = 1 / (1 - NU**2) if plane == "strain" else 1.0
    assert laws.modulus(np.append(ρ, 1.0)) == pytest.approx(solid * np.append(ρ, 1.0), rel=1e-5)
    width = 1.0 / 2.0  # of the period, in units of the first
    k = laws.permeability(ρ, length=1.0)
    assert k == pytest.approx((1 - ρ) ** 3 / 12 * width**2, rel=0.02)


@pytest.mark.parallel
def test_a_cubic_family_is_ordered_bounded_and_without_length():
    porosities = [0.7, 0.3, 0.5]
    laws = sample(Cosines, porosities, resolution=8, poisson=NU)
    ρ, C = laws.density, laws.stiffness
    assert ρ == pytest.approx([0.3, 0.5, 0.7], abs=5e-3)
    for name in ("modulus", "bulk", "shear"):
        curve = laws.curves[name]
        assert np.all(np.diff(curve.values) > 0)
        assert np.all(curve.values[1:-1] < ρ * curve.values[-1])  # Voigt's bound
    k, D = laws.curves["permeability"].values, laws.curves["diffusivity"].values
    assert np.all(np.diff(k) < 0) and np.all(np.diff(D) < 0)
    assert np.all(D[1:-1] < 1 - ρ)
    assert np.allclose(C, np.swapaxes(C, 1, 2), rtol=0, atol=1e-10)
    assert C[:, 0, 0] == pytest.approx(C[:, 1, 1], rel=1e-8)
    assert laws.permeability(0.5, length=1.0) == pytest.approx(0.003247, rel=0.3)  # nodal P
    larger = sample(partial(Cosines, length=3.0), porosities[:2], resolution=8, poisson=NU)
    assert larger.permeability_tensor == pytest.approx(laws.permeability_tensor[::2], rel=1e-6)
    assert larger.stiffness == pytest.approx(C[::2], rel=1e-6, abs=1e-12)


@pytest.mark.parallel
@pytest.mark.short
def test_ranks_together_sample_what_one_does_alone():
    together, alone = (
        sample(Cosines, [0.4, 0.6], resolution=6, comm=comm) for comm in (COMM, MPI.COMM_SELF)
    )
    for name, curve in alone.curves.items():
        assert together.curves[name].values == pytest.approx(curve.values, rel=1e-8, abs=1e-14)


def test_the_drag_joins_fluid_and_solid():
    f = np.linspace(0, 1, 101)
    α = _drag(f, 0.1, 2.0)
    assert α[0] == 0.0
    assert α[50] == pytest.approx(1.8 / 0.1**2)
    assert α[-1] == pytest.approx(1e6 / 2.0**2)
    assert np.all(np.diff(α) > 0)


@dataclass(frozen=True)
class Broken(Cosines):
    """A body whose fractions leave [0, 1]."""

    def voxels(self, resolution: tuple[int, ...]) -> np.ndarray:
        return 2 * super().voxels(resolution)


def stretched(*, porosity: float) -> Plates:
    return Plates(porosity, lengths=(1.0 + porosity, 1.0, 1.0))


def closed(*, porosity: float) -> Plates:
    raise ValueError(f"porosity = {porosity} closes the pores")


@pytest.mark.parametrize(
    ("family", "porosities", "options", "words"),
    [
        (Cosines, [0.5], {}, ["two or more", "0.5"]),
        (Cosines, [0.5, 1.0], {}, ["between 0 and 1", "1.0"]),
        (Cosines, [0.5, 0.5], {}, ["one density"]),
        (Cosines, [0.4, 0.6], {"resolution": 2}, ["resolution = 2"]),
        (Cosines, [0.4, 0.6], {"direction": (1, 0)}, ["3 numbers", "(1, 0)"]),
        (Cosines, [0.4, 0.6], {"direction": (0, 0, 0)}, ["not all zero"]),
        (Broken, [0.4, 0.6], {}, ["cosines", "to 2"]),
        (closed, [0.4, 0.6], {}, ["no body", "0.4 closes the pores"]),
        (stretched, [0.25, 0.5], {}, ["different periods", "1.25"]),
    ],
)
@pytest.mark.parallel
def test_what_cannot_be_sampled_is_refused(family, porosities, options, words):
    with pytest.raises(InputError) as error:
        sample(family, porosities, **{"resolution": 4, **options})
    assert all(word in str(error.value) for word in words)


def test_a_vector_is_no_density():
    with pytest.raises(InputError, match="scalar"):
        power_laws().modulus(ufl.as_vector([0.5, 0.5]))
