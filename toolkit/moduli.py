"""Scalars of effective tensors, for `Functional.map`: analytic, so that the complex step holds.

With S = C⁻¹, and s the unit stress n nᵀ and t the direction m mᵀ in Voigt order
(11 22 33 23 13 12, in 2D 11 22 12; shears of strain are engineering shears),

    E(n) = 1 / (s·S s)        ν(n, m) = −(t·S s) / (s·S s)
    K = (1 : C : 1) / d²      G = mean shear stiffness over all orientations (Voigt)

K is the bulk modulus where the symmetry is cubic (square in 2D), and G the shear modulus where it
is isotropic; elsewhere they are the stiffness's averages, upper bounds on those of an aggregate
(Hill 1952, doi:10.1088/0370-1298/65/5/307). Nothing here takes an absolute value, a maximum or an
eigenvalue, which would drop the imaginary part in silence.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import InputError

__all__ = ["bulk", "poisson", "shear", "smallest_eigenvalue", "tortuosity", "young", "zener"]

type Tensor = NDArray[Any]
type Direction = Sequence[float] | NDArray[np.float64]


def bulk(C: Tensor) -> Any:
    """The bulk modulus (1 : C : 1)/d² of a stiffness, 6×6 or 3×3, in its unit."""
    d = _dimension(C)
    return C[:d, :d].sum() / d**2


def shear(C: Tensor) -> Any:
    """Voigt's average shear modulus of a stiffness, 6×6 or 3×3, in its unit."""
    d = _dimension(C)
    normal, trace, shears = C[:d, :d].sum(), np.trace(C[:d, :d]), np.trace(C[d:, d:])
    return (d * trace - normal + 2 * d * shears) / (d * (d - 1) * (d + 2))


def young(C: Tensor, direction: Direction) -> Any:
    """Young's modulus under uniaxial stress along a direction.

    Args:
        C: Stiffness, 6×6 or 3×3.
        direction: Of the stress, (d,), of any length but zero.

    Returns:
        The modulus in the unit of C.

    Raises:
        InputError: The direction does not fit the tensor or is zero.
    """
    s = _dyad(_unit(C, direction))
    return 1 / (s @ np.linalg.solve(C, s))


def poisson(C: Tensor, direction: Direction, across: Direction) -> Any:
    """Poisson's ratio: contraction along `across` by extension under stress along `direction`.

    Args:
        C: Stiffness, 6×6 or 3×3.
        direction: Of the stress, (d,), of any length but zero.
        across: Perpendicular to it, (d,).

    Raises:
        InputError: A direction does not fit the tensor or is zero, or the two are not
            perpendicular.
    """
    n, m = _unit(C, direction), _unit(C, across)
    if abs(n @ m) > 1e-9:
        raise InputError(
            f"poisson: across = {tuple(across)} is not perpendicular to direction = "
            f"{tuple(direction)}."
        )
    s = _dyad(n)
    strain = np.linalg.solve(C, s)
    return -(_dyad(m) @ strain) / (s @ strain)


def zener(C: Tensor) -> Any:
    """Zener's ratio 2 C₄₄/(C₁₁ − C₁₂) of a cubic (square) stiffness, 1 where it is isotropic.

    Entries that the symmetry makes equal are averaged.
    """
    d = _dimension(C)
    trace = np.trace(C[:d, :d])
    across = (C[:d, :d].sum() - trace) / (d * (d - 1))
    shears = np.trace(C[d:, d:]) / (len(C) - d)
    return 2 * shears / (trace / d - across)


def smallest_eigenvalue(k: Tensor, power: int = 12) -> Any:
    """A smooth smallest eigenvalue, (tr k⁻ᵖ / d)^(−1/p), in the unit of k.

    It exceeds the smallest eigenvalue by a factor of at most d^(1/p), 1.10 in 3D for p = 12, and
    by nothing where all are equal.

    Args:
        k: Symmetric positive definite tensor, (d, d).
        power: p, a whole number; the larger, the closer.

    Raises:
        InputError: k is not a square matrix or p is not a positive whole number.
    """
    if np.ndim(k) != 2 or k.shape[0] != k.shape[1]:
        raise InputError(f"smallest_eigenvalue: k has shape {np.shape(k)}, not (d, d).")
    if not isinstance(power, int) or power < 1:
        raise InputError(f"smallest_eigenvalue: power = {power!r} must be a whole number from 1.")
    d = len(k)
    mean = np.trace(k) / d  # taken out, so that no power overflows
    inverse = np.linalg.matrix_power(np.linalg.inv(k / mean), power)
    return mean * (np.trace(inverse) / d) ** (-1 / power)


def tortuosity(D: Tensor, porosity: float) -> Any:
    """τ = ε / D: how much longer than straight the diffusive ways are (a square of lengths).

    Args:
        D: Effective diffusivity over that of the free fluid, per total area: a number, or a
            tensor (d, d), of which the mean over directions, tr D / d, is taken.
        porosity: ε, the share of the volume in which the diffusion takes place, in (0, 1].

    Raises:
        InputError: The porosity is outside (0, 1], or D is neither a number nor a square matrix.
    """
    if not 0 < porosity <= 1:
        raise InputError(f"tortuosity: porosity = {porosity} is outside (0, 1].")
    shape = np.shape(D)
    if shape and (len(shape) != 2 or shape[0] != shape[1]):
        raise InputError(f"tortuosity: D has shape {shape}; give a number or a (d, d) tensor.")
    return porosity / (np.trace(D) / shape[0] if shape else D)


def _dimension(C: Tensor) -> int:
    """2 or 3, by the shape of a stiffness."""
    shape = np.shape(C)
    if shape not in ((3, 3), (6, 6)):
        raise InputError(f"A stiffness has shape (6, 6), or (3, 3) in 2D, not {shape}.")
    return 2 if shape == (3, 3) else 3


def _unit(C: Tensor, direction: Direction) -> NDArray[np.float64]:
    """The direction, of length 1, if it fits the tensor."""
    d = _dimension(C)
    n = np.asarray(direction, dtype=float)
    length = float(np.sqrt(n @ n)) if n.shape == (d,) else 0.0
    if not 0 < length < np.inf:
        raise InputError(f"direction = {direction!r} must be {d} numbers, not all zero.")
    return n / length


def _dyad(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """The stress of unit tension along n, in Voigt order; its product with a strain is n·ε n."""
    pairs = [(0, 1)] if len(n) == 2 else [(1, 2), (0, 2), (0, 1)]
    return np.array([*(n * n), *(n[i] * n[j] for i, j in pairs)])
