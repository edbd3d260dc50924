"""The bounds against tables, exactly solvable structures that meet them, and random laminates."""

from itertools import pairwise

import numpy as np
import pytest

from toolkit.bounds import (
    conductivity,
    cross_property,
    hashin_shtrikman,
    plate_channel,
    require_reachable,
    reuss,
    schwarz_p,
    tube,
    voigt,
)
from toolkit.errors import InputError

E, NU = 1.0, 0.3
STEEL = {"modulus": E, "poisson": NU}
PLANES = (None, "stress", "strain")
PAIRS = [  # modulus, poisson, empty, empty_poisson; the last has the larger K and the smaller G
    (1.0, 0.3, 0.0, 0.3),
    (1.0, 0.3, 0.1, 0.2),
    (0.2, 0.1, 3.0, 0.4),
    (1.0, 0.0, 0.8, 0.45),
]
TABLE = {  # ρ: K, G, E in plane stress, K, G in plane strain, K, G, E in 3D; E = 1, ν = 0.3
    0.1: (0.026738, 0.013405, 0.035714, 0.029586, 0.014680, 0.033841, 0.021154, 0.052519),
    0.3: (0.093168, 0.047022, 0.125000, 0.104895, 0.051055, 0.116959, 0.070513, 0.176141),
    0.5: (0.185185, 0.094340, 0.250000, 0.213675, 0.101215, 0.229885, 0.132212, 0.332829),
    0.7: (0.321101, 0.165877, 0.437500, 0.384615, 0.174825, 0.392157, 0.211538, 0.537897),
    0.9: (0.542169, 0.286624, 0.750000, 0.692308, 0.293351, 0.645161, 0.317308, 0.817844),
}


def moduli(modulus: float, poisson: float, plane: str | None) -> tuple[float, float]:
    """K and G by way of Lamé's constants."""
    μ = 1 / (2 * (1 + poisson))
    λ = poisson / ((1 + poisson) * (1 - 2 * poisson))
    if plane == "stress":
        λ = 2 * λ * μ / (λ + 2 * μ)
    return modulus * (λ + 2 * μ / (2 if plane else 3)), modulus * μ


def hooke(K: float, G: float, d: int) -> np.ndarray:
    """The stiffness matrix in Mandel's notation, in which tensors are vectors of equal norm."""
    n = d * (d + 1) // 2
    one = np.r_[np.ones(d), np.zeros(n - d)]
    return 2 * G * np.eye(n) + (K - 2 * G / d) * np.outer(one, one)


def strain_of(normal: np.ndarray) -> np.ndarray:
    """The matrix that maps a to the symmetric part of a ⊗ n in Mandel's notation."""
    d = normal.size
    pairs = [(i, i) for i in range(d)] + [(1, 2), (0, 2), (0, 1)][3 - d * (d - 1) // 2 :]
    rows = np.zeros((len(pairs), d))
    for row, (i, j) in zip(rows, pairs, strict=True):
        if i == j:
            row[i] = normal[i]
        else:
            row[i], row[j] = normal[j] / np.sqrt(2), normal[i] / np.sqrt(2)
    return rows


def layered(A: np.ndarray, B: np.ndarray, f: float, N: np.ndarray) -> np.ndarray:
    """Exact laminate of the fraction f of A with B; jumps of the field are in the range of N."""
    Γ = N @ np.linalg.solve(N.T @ ((1 - f) * A + f * B) @ N, N.T)
    return f * A + (1 - f) * B - f * (1 - f) * (A - B) @ Γ @ (A - B)


def coated_sphere(f: float, core: tuple[float, float], coat: tuple[float, float], d: int) -> float:
    """Hashin's assemblage: the modulus of a core of fraction f in a coat, from its radial fields.

    A phase is (s, t): flux s a − t b r⁻ᵈ of the field a r + b r¹⁻ᵈ, which is (d K, 2 (d − 1) G) for
    the radial stress and (σ, (d − 1) σ) for the current.
    """
    r = f ** (1 / d)
    matching = [
        [r, -r, -(r ** (1 - d))],  # the field is continuous at r
        [core[0], -coat[0], coat[1] * r**-d],  # and so is the flux
        [0, 1, 1],  # the field at the outer radius 1
    ]
    _, a, b = np.linalg.solve(matching, [0, 0, 1])
    return float(coat[0] * a - coat[1] * b)


@pytest.mark.parametrize("rho", TABLE)
def test_upper_bounds_of_porous_solids_are_the_tabulated_ones(rho):
    solid, plate, strain = (hashin_shtrikman(rho, **STEEL, plane=plane) for plane in PLANES)
    values = [*plate, *strain[:2], *solid]
    assert [bound.upper for bound in values] == pytest.approx(TABLE[rho], abs=6e-7)
    assert [bound.lower for bound in values] == [0] * 8


@pytest.mark.parametrize("nu", [-0.5, 0.0, 0.3, 0.45])
def test_a_plate_with_holes_has_a_stiffness_without_poisson_ratio(nu):
    """E ≤ ρ/(3 − 2ρ) for any ν: ρ/3 of a sparse triangular grid; a honeycomb has K = ρ/4."""
    ρ = np.linspace(0, 1, 11)
    plate = hashin_shtrikman(ρ, modulus=2.0, poisson=nu, plane="stress")
    assert plate.young.upper == pytest.approx(2 * ρ / (3 - 2 * ρ), rel=1e-13)
    sparse = hashin_shtrikman(1e-8, modulus=1.0, poisson=nu, plane="stress")
    assert sparse.bulk.upper / 1e-8 == pytest.approx(1 / 4, rel=1e-7)
    assert sparse.young.upper / 1e-8 == pytest.approx(1 / 3, rel=1e-7)


def test_conductivity_bounds_of_maxwell():
    ε = np.linspace(0, 1, 11)
    pores = {"full": 0.0, "empty": 3.0}
    assert conductivity(1 - ε, **pores).upper == pytest.approx(3 * 2 * ε / (3 - ε), rel=1e-13)
    cylinders = conductivity(1 - ε, **pores, dimension=2)
    assert cylinders.upper == pytest.approx(3 * ε / (2 - ε), rel=1e-13)
    assert cylinders.lower == pytest.approx(3.0 * (ε == 1))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("pair", PAIRS)
def test_bounds_are_in_order_and_meet_at_pure_phases(pair, plane):
    E1, ν1, E2, ν2 = pair
    ρ = np.linspace(0, 1, 21)
    bounds = hashin_shtrikman(ρ, modulus=E1, poisson=ν1, empty=E2, empty_poisson=ν2, plane=plane)
    solid, other = moduli(E1, ν1, plane), moduli(E2, ν2, plane)
    for bound, one, two in zip(bounds, solid, other, strict=False):
        chain = [reuss(ρ, one, two), bound.lower, bound.upper, voigt(ρ, one, two)]
        assert all(np.all(a <= b + 1e-13) for a, b in pairwise(chain))
        assert all(end[[0, -1]] == pytest.approx([two, one], abs=1e-14) for end in chain)
        assert np.all(bound.upper[1:-1] < chain[3][1:-1])
    assert np.all(bounds.young.lower <= bounds.young.upper + 1e-13)


@pytest.mark.parametrize("plane", PLANES)
def test_bounds_of_equal_phases_are_the_phase(plane):
    bounds = hashin_shtrikman([0.2, 0.7], modulus=2.0, poisson=0.3, empty=2.0, plane=plane)
    for bound, exact in zip(bounds, moduli(2.0, 0.3, plane), strict=False):
        assert np.concatenate(bound) == pytest.approx(exact, rel=1e-14)
    alike = conductivity([0.2, 0.7], full=4.0, empty=4.0)
    assert np.concatenate(alike) == pytest.approx(4.0, rel=1e-14)


@pytest.mark.parametrize("plane", PLANES)
def test_coated_spheres_have_the_bounds_of_bulk_modulus_and_conductivity(plane):
    """A soft coat gives the lower bound and a stiff one the upper."""
    ρ, d = 0.35, 2 if plane else 3
    (K1, G1), (K2, G2) = moduli(1.0, 0.3, plane), moduli(0.1, 0.2, plane)
    stiff, soft = (d * K1, 2 * (d - 1) * G1), (d * K2, 2 * (d - 1) * G2)
    bulk = hashin_shtrikman(
        ρ, modulus=1.0, poisson=0.3, empty=0.1, empty_poisson=0.2, plane=plane
    ).bulk
    assert coated_sphere(ρ, stiff, soft, d) / d == pytest.approx(bulk.lower, rel=1e-12)
    assert coated_sphere(1 - ρ, soft, stiff, d) / d == pytest.approx(bulk.upper, rel=1e-12)
    good, poor = (5.0, (d - 1) * 5.0), (0.2, (d - 1) * 0.2)
    limit = conductivity(ρ, full=5.0, empty=0.2, dimension=d)
    assert coated_sphere(ρ, good, poor, d) == pytest.approx(limit.lower, rel=1e-12)
    assert coated_sphere(1 - ρ, poor, good, d) == pytest.approx(limit.upper, rel=1e-12)


def isotropic_laminate(core: np.ndarray, coat: np.ndarray, f: float, d: int) -> np.ndarray:
    """Rank 3 in 2D, rank 6 in 3D: coats equally along triangle or icosahedron axes, exact.

    Francfort & Murat: f (C − C₁)⁻¹ = (C₂ − C₁)⁻¹ + (1 − f) ⟨Γ₁(n)⟩ for a core C₂ of fraction f.
    """
    φ = (1 + np.sqrt(5)) / 2
    if d == 2:
        axes = [(np.cos(a), np.sin(a)) for a in np.pi / 3 * np.arange(3)]
    else:
        axes = [np.roll((0, s, φ), i) for s in (1, -1) for i in range(3)]
    Γ = np.zeros_like(coat)
    for axis in axes:
        N = strain_of(np.array(axis) / np.linalg.norm(axis))
        Γ += N @ np.linalg.solve(N.T @ coat @ N, N.T) / len(axes)
    return coat + f * np.linalg.inv(np.linalg.inv(core - coat) + (1 - f) * Γ)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("empty", [0.0, 0.1])
def test_isotropic_laminates_have_all_moduli_at_the_bound(plane, empty):
    ρ, d = 0.4, 2 if plane else 3
    solid = hooke(*moduli(1.0, 0.3, plane), d)
    other = hooke(*moduli(empty, 0.2, plane), d)
    bounds = hashin_shtrikman(
        ρ, modulus=1.0, poisson=0.3, empty=empty, empty_poisson=0.2, plane=plane
    )
    cases = {"upper": isotropic_laminate(other, solid, 1 - ρ, d)}
    if empty:
        cases["lower"] = isotropic_laminate(solid, other, ρ, d)
    for end, C in cases.items():
        K, G, young = (float(getattr(bound, end)) for bound in bounds)
        assert pytest.approx(hooke(K, G, d), abs=1e-12) == C
        assert 1 / np.linalg.inv(C)[0, 0] == pytest.approx(young, rel=1e-11)


@pytest.mark.parametrize("nu", [-0.4, 0.0, 0.3, 0.45])
@pytest.mark.parametrize("plane", PLANES)
def test_cross_property_bounds_end_in_the_points_of_hashin_and_shtrikman(plane, nu):
    ρ, d = np.linspace(0.1, 0.9, 9), 2 if plane else 3
    metal = {"modulus": 2.0, "poisson": nu, "plane": plane}
    most = hashin_shtrikman(ρ, **metal).bulk.upper
    pores = conductivity(ρ, full=0, empty=3.0, dimension=d).upper
    closed = cross_property(ρ, 0.0, **metal, conductivities=(0, 3.0))
    opened = cross_property(ρ, pores, **metal, conductivities=(0, 3.0))
    assert closed == pytest.approx(most, rel=1e-13)
    assert opened == pytest.approx(np.zeros(9), abs=1e-14)
    solid = conductivity(ρ, full=3.0, empty=0, dimension=d).upper
    assert cross_property(ρ, 0.0, **metal, conductivities=(3.0, 0)) == pytest.approx(np.zeros(9))
    full = cross_property(ρ, solid, **metal, conductivities=(3.0, 0))
    assert full == pytest.approx(most, rel=1e-12)


@pytest.mark.parametrize("sigma", [(0.0, 1.0), (1.0, 0.0)])
def test_cross_property_bounds_of_pure_phases(sigma):
    """Full solid has its own bulk modulus, and no solid none."""
    ends = cross_property([1.0, 0.0], list(sigma), **STEEL, conductivities=sigma)
    assert ends == pytest.approx([1 / (3 * (1 - 2 * NU)), 0.0])


def test_cross_property_bound_of_conducting_pores_is_met_by_sheets_and_prisms():
    """Three structures exact at any ρ, by the means (1:C:1)/9 and tr σ/3 of their tensors.

    Sheets of solid; columns of solid in a connected pore; columns of pore in solid (both Hashin's
    assemblages of coated cylinders, with E ρ along them, and Hill's connection for the rest).
    """
    ρ = np.linspace(0.1, 0.9, 9)
    ε = 1 - ρ
    strain = hashin_shtrikman(ρ, **STEEL, plane="strain").bulk.upper
    structures = [
        (ρ * 2 * E / (9 * (1 - NU)), ε * 2 / 3),
        (ρ * E / 9, (ε + 2 * ε / (1 + ρ)) / 3),
        ((ρ * E + 4 * strain * (1 + NU) ** 2) / 9, ε / 3),
    ]
    for K, σ in structures:
        assert cross_property(ρ, σ, **STEEL) == pytest.approx(K, rel=1e-12)


def test_minimal_surfaces_nearly_meet_the_bound_and_do_not_pass_it():
    """P, G and D networks at 50 %: computed K and D_eff, the latter to 1 %."""
    for name, K, σ in (("P", 0.156, 0.330), ("G", 0.157, 0.332), ("D", 0.158, 0.332)):
        most = cross_property(0.5, σ, **STEEL)
        assert 0.95 * most < K < 1.001 * most, name
        require_reachable(0.5, **STEEL, bulk=K, conductivity=σ)


def test_holes_in_plates_nearly_meet_the_bound_of_a_conducting_solid():
    """Square array of circular holes of area f: K and D of the same cell, by spectral elements."""
    holes = {  # f: K, D
        0.1: (0.54215986, 0.81817676),
        0.3: (0.32002078, 0.53757998),
        0.5: (0.17816238, 0.32465447),
        0.7: (0.06881709, 0.13454044),
    }
    for f, (K, D) in holes.items():
        most = cross_property(1 - f, D, **STEEL, conductivities=(1, 0), plane="stress")
        assert K <= most * (1 + 1e-6)
        assert most < hashin_shtrikman(1 - f, **STEEL, plane="stress").bulk.upper
    dilute = cross_property(0.9, holes[0.1][1], **STEEL, conductivities=(1, 0), plane="stress")
    assert holes[0.1][0] == pytest.approx(dilute, rel=1e-4)


def test_spherical_voids_obey_the_bound_of_a_conducting_solid():
    """Simple cubic array of voids c: K and D of the same cell; K₁/K − 1 ≥ 1.75 (1/D − 1)."""
    voids = {0.1: (0.64507119, 0.85711190), 0.5: (0.201312, 0.37373488)}
    for c, (K, D) in voids.items():
        most = cross_property(1 - c, D, **STEEL, conductivities=(1, 0))
        assert 1 / (3 * 0.4) / most - 1 == pytest.approx(1.75 * (1 / D - 1), rel=1e-12)
        assert 0.9 * most < K <= most * (1 + 1e-6)


def random_laminates(seed: int, nu: float, d: int, sigma: tuple[float, float]):
    """Trees of layers in random directions: ρ and exact stiffness and conductivity tensors."""
    random = np.random.default_rng(seed)
    K, G = moduli(1.0, nu, "strain" if d == 2 else None)
    tiny = 1e-9
    leaves = [
        (1.0, hooke(K, G, d), max(sigma[0], tiny) * np.eye(d)),
        (0.0, hooke(K * tiny, G * tiny, d), max(sigma[1], tiny) * np.eye(d)),
    ]

    def merge(first, second):
        n = random.normal(size=d)
        n /= np.linalg.norm(n)
        f = random.uniform(0.05, 0.95)
        return (
            f * first[0] + (1 - f) * second[0],
            layered(first[1], second[1], f, strain_of(n)),
            layered(first[2], second[2], f, n[:, None]),
        )

    for _ in range(60):
        tree = merge(*leaves)
        for _ in range(random.integers(0, 7)):
            tree = merge(leaves[0], tree) if random.random() < 0.8 else merge(leaves[1], tree)
        yield tree
        yield merge(tree, merge(*leaves))


@pytest.mark.parametrize("nu", [-0.4, 0.3])
@pytest.mark.parametrize("sigma", [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("d", [2, 3])
def test_no_random_laminate_passes_a_bound(d, sigma, nu):
    """Of any symmetry: mean bulk modulus and conductivity, and Young's modulus along the axes."""
    metal = {"modulus": 1.0, "poisson": nu, "plane": "strain" if d == 2 else None}
    one = np.r_[np.ones(d), np.zeros(d * (d - 1) // 2)]
    slack, most_share = 1e-6, 0.0
    for ρ, C, σ in random_laminates(5, nu, d, sigma):
        S = np.linalg.inv(C)
        stretched, pressed = one @ C @ one / d**2, 1 / (one @ S @ one)
        D = np.trace(σ) / d
        assert pressed <= stretched * (1 + slack)
        assert stretched <= hashin_shtrikman(ρ, **metal).bulk.upper + slack
        limit = conductivity(ρ, full=sigma[0], empty=sigma[1], dimension=d).upper
        assert limit + slack >= D
        young = 1 / np.diag(S)[:d]
        directional = 1.0 if d == 3 else 1 / (1 - nu**2)
        assert np.all(young <= ρ * directional + slack)
        if d == 2 and sigma[0] == 0:
            assert pressed * D <= slack
            continue
        K = stretched if sigma[0] == 0 else pressed
        bound = cross_property(ρ, min(D, limit), **metal, conductivities=sigma)
        assert bound + slack >= K
        most_share = max(most_share, K / (bound + slack))
    assert most_share > 0.8 or (d == 2 and sigma[0] == 0)


def test_a_plane_solid_closes_its_pores():
    K = cross_property(0.5, [0.0, 1e-6, 0.2], **STEEL, plane="stress")
    assert K == pytest.approx([0.1851851852, 0, 0])


def test_permeability_references():
    """Poiseuille's gap φ L in a period L, and his tube π r⁴/8 in a square L²."""
    assert plate_channel(0.4, 2.0).value == pytest.approx(0.8**3 / 12 / 2)
    assert tube(np.pi * 0.25**2).value == pytest.approx(1.533981e-3, rel=1e-6)
    assert schwarz_p(2.0).value == pytest.approx(4 * 0.003373)
    assert schwarz_p(nodal=True).value < schwarz_p().value < plate_channel(0.5).value
    assert "plate" in plate_channel(0.5).name and "nodal" in schwarz_p(nodal=True).name
    assert plate_channel([0.2, 0.6]).value.shape == (2,)


@pytest.mark.parametrize("plane", PLANES)
def test_targets_on_a_bound_pass(plane):
    K, G, young = (bound.upper for bound in hashin_shtrikman(0.3, **STEEL, plane=plane))
    D = conductivity(0.3, full=0, empty=1, dimension=2 if plane else 3).upper
    for name, value in {"bulk": K, "shear": G, "young": young, "conductivity": D}.items():
        require_reachable(0.3, **STEEL, plane=plane, **{name: float(value)})
        with pytest.raises(InputError, match=f"^{name} = .* upper bound at rho = 0.3.*at most"):
            require_reachable(0.3, **STEEL, plane=plane, **{name: float(value) * 1.0001})
        with pytest.raises(InputError, match=f"^{name} = .* lower bound"):
            require_reachable(0.3, **STEEL, plane=plane, **{name: -0.1})


def test_a_pair_that_each_bound_allows_is_refused_together():
    require_reachable(0.5, **STEEL, bulk=0.2)
    require_reachable(0.5, **STEEL, conductivity=0.35)
    with pytest.raises(InputError, match=r"bulk = 0.2 .*cross-property .*0.35.*at most 0.1\d+"):
        require_reachable(0.5, **STEEL, bulk=0.2, conductivity=0.35)
    with pytest.raises(InputError, match=r"bulk = 0.1 .*cross-property .*at most 0,"):
        require_reachable(0.5, **STEEL, plane="stress", bulk=0.1, conductivity=0.1)
    require_reachable(0.5, **STEEL, bulk=0.2, conductivity=0.35, empty=1e-3)


def test_directional_targets_are_held_against_voigt():
    """Fibres reach E ρ along one axis, which no isotropic composite does."""
    require_reachable(0.5, **STEEL, young=(0.5, 0.1, 0.0), conductivity=[0.5, 0.3, 0.3])
    with pytest.raises(InputError, match=r"young = 0.5 .*isotropic Hashin"):
        require_reachable(0.5, **STEEL, young=0.5)
    with pytest.raises(InputError, match=r"young\[1\] = 0.51 .*Voigt"):
        require_reachable(0.5, **STEEL, young=(0.1, 0.51, 0.0))
    with pytest.raises(InputError, match=r"mean conductivity = 0.45 .*Hashin"):
        require_reachable(0.5, **STEEL, conductivity=(0.45, 0.45, 0.45))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hashin_shtrikman(1.2, **STEEL), ["rho = 1.2", "0 to 1"]),
        (lambda: hashin_shtrikman([0.2, np.nan], **STEEL), ["rho = nan"]),
        (lambda: hashin_shtrikman(0.2, modulus=0, poisson=0.3), ["modulus = 0", "positive"]),
        (lambda: hashin_shtrikman(0.2, modulus=1, poisson=0.5), ["0.5", "outside"]),
        (lambda: hashin_shtrikman(0.2, **STEEL, empty=-1), ["empty = -1", "0 for void"]),
        (lambda: hashin_shtrikman(0.2, **STEEL, plane="stres"), ["'stres'", "strain"]),
        (lambda: conductivity(0.2, full=-1), ["-1", "negative"]),
        (lambda: conductivity(0.2, full=1, dimension=4), ["dimension = 4"]),
        (lambda: cross_property(0.2, 0.1, **STEEL, conductivities=(1, 2)), ["(1, 2)", "one"]),
        (lambda: cross_property(0.2, 0.1, **STEEL, conductivities=(0, 0)), ["(0, 0)"]),
        (lambda: cross_property(0.5, [0.1, 0.41], **STEEL), ["0.41", "at most 0.4"]),
        (lambda: cross_property(0.5, [0.1, -0.1], **STEEL), ["-0.1", "lower"]),
        (lambda: require_reachable(0.5, **STEEL, young=(1, 2)), ["2 values", "3"]),
        (lambda: require_reachable(0.5, **STEEL, bulk=np.nan), ["bulk = nan"]),
        (lambda: tube(0.8), ["0.8", "overlap"]),
        (lambda: plate_channel(1.5), ["porosity = 1.5"]),
        (lambda: schwarz_p(-1), ["length = -1"]),
    ],
)
def test_values_outside_their_range_are_refused(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert all(word in str(error.value) for word in words)
