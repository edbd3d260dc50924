"""Scalars of tensors: isotropic and cubic closed forms, rotations, and the complex step."""

from itertools import permutations

import numpy as np
import pytest
import ufl

from toolkit import InputError, lame
from toolkit.moduli import (
    bulk,
    poisson,
    shear,
    smallest_eigenvalue,
    tortuosity,
    young,
    zener,
)

E, NU = 7.0, 0.3
G = E / (2 * (1 + NU))
CUBIC = (10.0, 6.0, 5.0)  # C₁₁, C₁₂, C₄₄
TILTED = (0.3, -0.5, 0.8)
RNG = np.random.default_rng(5)


def isotropic(plane: str | None) -> np.ndarray:
    λ, μ = (float(ufl.as_ufl(c).evaluate(None, {}, (), ())) for c in lame(E, NU, plane=plane))
    return cubic(λ + 2 * μ, λ, μ, d=2 if plane else 3)


def cubic(c11: float, c12: float, c44: float, d: int = 3) -> np.ndarray:
    shears = d * (d - 1) // 2
    C = np.diag([c11 - c12] * d + [c44] * shears).astype(float)
    C[:d, :d] += c12
    return C


def general(n: int, d: int) -> np.ndarray:
    """A symmetric positive definite matrix without further symmetry."""
    A = RNG.normal(size=(n, n))
    return A @ A.T / n + d * np.eye(n)


def full(C: np.ndarray) -> np.ndarray:
    """The fourth-order tensor, (d, d, d, d)."""
    d = 2 if len(C) == 3 else 3
    pairs = [(0, 1)] if d == 2 else [(1, 2), (0, 2), (0, 1)]
    place = np.zeros((d, d), int)
    for number, (i, j) in enumerate([*((i, i) for i in range(d)), *pairs]):
        place[i, j] = place[j, i] = number
    return C[place[:, :, None, None], place[None, None]]


@pytest.mark.parametrize("plane", [None, "stress", "strain"])
def test_isotropic_moduli(plane):
    C = isotropic(plane)
    d = 2 if plane else 3
    n, m = TILTED[:d], (0.5, 0.3, 0.0)[:d]
    solid = {  # K, E and ν of uniaxial stress in the plane
        None: (E / (3 * (1 - 2 * NU)), E, NU),
        "stress": (E / (2 * (1 - NU)), E, NU),
        "strain": (E / (2 * (1 + NU) * (1 - 2 * NU)), E / (1 - NU**2), NU / (1 - NU)),
    }
    K, tension, contraction = solid[plane]
    assert bulk(C) == pytest.approx(K, rel=1e-14)
    assert shear(C) == pytest.approx(G, rel=1e-14)
    assert young(C, n) == pytest.approx(tension, rel=1e-13)
    assert poisson(C, n, m) == pytest.approx(contraction, rel=1e-13)
    assert zener(C) == pytest.approx(1.0, rel=1e-14)


@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (1, 1, 1), TILTED])
def test_cubic_young_modulus_by_direction(direction):
    """1/E = S₁₁ − 2 (S₁₁ − S₁₂ − S₄₄/2)(n₁²n₂² + n₂²n₃² + n₃²n₁²), Nye 1957."""
    C = cubic(*CUBIC)
    S = np.linalg.inv(C)
    n = np.array(direction) / np.linalg.norm(direction)
    a, b, c = n**2
    compliance = S[0, 0] - 2 * (S[0, 0] - S[0, 1] - S[3, 3] / 2) * (a * b + b * c + c * a)
    assert 1 / young(C, direction) == pytest.approx(compliance, rel=1e-13)


def test_cubic_bulk_shear_and_anisotropy():
    c11, c12, c44 = CUBIC
    C = cubic(*CUBIC)
    assert bulk(C) == pytest.approx((c11 + 2 * c12) / 3, rel=1e-14)
    assert shear(C) == pytest.approx((c11 - c12 + 3 * c44) / 5, rel=1e-14)
    assert zener(C) == pytest.approx(2 * c44 / (c11 - c12), rel=1e-14)
    square = cubic(*CUBIC, d=2)
    assert bulk(square) == pytest.approx((c11 + c12) / 2, rel=1e-14)
    assert shear(square) == pytest.approx((c11 - c12 + 2 * c44) / 4, rel=1e-14)
    assert zener(square) == pytest.approx(2 * c44 / (c11 - c12), rel=1e-14)


@pytest.mark.parametrize("d", [2, 3])
def test_bulk_and_shear_are_the_invariants_of_the_tensor(d):
    """K = C_iijj/d² and G = (C_ijij − C_iijj/d) / ((d − 1)(d + 2)), whatever the symmetry."""
    C = general(3 if d == 2 else 6, d)
    c = full(C)
    trace, mixed = np.einsum("iijj", c), np.einsum("ijij", c)
    assert bulk(C) == pytest.approx(trace / d**2, rel=1e-13)
    assert shear(C) == pytest.approx((mixed - trace / d) / ((d - 1) * (d + 2)), rel=1e-13)


@pytest.mark.parametrize("d", [2, 3])
def test_a_direction_is_an_axis_of_the_turned_tensor(d):
    """E and ν along n and m are those along x and y after n and m have been turned there."""
    C = general(3 if d == 2 else 6, d)
    Q, _ = np.linalg.qr(RNG.normal(size=(d, d)))
    c = np.einsum("ai,bj,ck,dl,ijkl", Q, Q, Q, Q, full(C))
    pairs = [(i, i) for i in range(d)] + ([(0, 1)] if d == 2 else [(1, 2), (0, 2), (0, 1)])
    turned = np.array([[c[*a, *b] for b in pairs] for a in pairs])
    S = np.linalg.inv(turned)
    assert young(C, Q[0]) == pytest.approx(1 / S[0, 0], rel=1e-12)
    assert poisson(C, Q[0], 3 * Q[1]) == pytest.approx(-S[1, 0] / S[0, 0], rel=1e-12)


def test_smallest_eigenvalue_is_close_and_above():
    Q, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    k = Q @ np.diag([2.0, 3.0, 50.0]) @ Q.T
    for power in (4, 12, 40):
        found = smallest_eigenvalue(k, power=power)
        assert 2.0 < found <= 2.0 * 3 ** (1 / power)
    assert smallest_eigenvalue(5e-30 * np.eye(3)) == pytest.approx(5e-30, rel=1e-14)
    assert smallest_eigenvalue(1e-40 * k) == pytest.approx(1e-40 * smallest_eigenvalue(k))


def test_tortuosity_of_straight_channels_is_one():
    assert tortuosity(0.4, 0.4) == 1.0
    assert tortuosity(0.2 * np.eye(3), 0.4) == pytest.approx(2.0)


SCALARS = {
    "bulk": bulk,
    "shear": shear,
    "young": lambda C: young(C, TILTED),
    "poisson": lambda C: poisson(C, TILTED, (0.5, 0.3, 0.0)),
    "zener": zener,
    "smallest eigenvalue": lambda C: smallest_eigenvalue(C[:3, :3]),
    "tortuosity": lambda C: tortuosity(C[:3, :3], 0.4),
}


@pytest.mark.parametrize("name", SCALARS)
def test_the_complex_step_is_the_derivative(name):
    f, C, h = SCALARS[name], general(6, 3), 1e-5
    for i, j in [*permutations(range(6), 2)][::7]:
        direction = np.zeros((6, 6))
        direction[i, j] += 1.0
        direction[j, i] += 1.0
        step = float(np.imag(f(C + 1e-30j * direction)) / 1e-30)
        difference = (f(C + h * direction) - f(C - h * direction)) / (2 * h)
        assert step == pytest.approx(difference, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bulk(np.eye(4)), ["(6, 6)", "(4, 4)"]),
        (lambda: young(np.eye(6), (1, 0)), ["3 numbers", "(1, 0)"]),
        (lambda: young(np.eye(3), (0, 0)), ["not all zero"]),
        (lambda: poisson(np.eye(6), (1, 0, 0), (1, 1, 0)), ["perpendicular", "(1, 1, 0)"]),
        (lambda: smallest_eigenvalue(np.eye(3), power=0), ["power", "0"]),
        (lambda: smallest_eigenvalue(np.ones(3)), ["(d, d)"]),
        (lambda: tortuosity(np.eye(3), 0.0), ["porosity", "0.0"]),
        (lambda: tortuosity(np.ones(3), 0.5), ["(3,)"]),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(InputError) as error:
        call()
    assert all(word in str(error.value) for word in words)
