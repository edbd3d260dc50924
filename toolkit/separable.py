"""Separable: the convex separable subproblem of the method of moving asymptotes, on local slices.

    min over x, y, z   f₀(x) + a₀ z + Σ (cᵢ yᵢ + dᵢ yᵢ²/2)
    subject to         fᵢ(x) − aᵢ z − yᵢ ≤ 0,    α ≤ x ≤ β,    y, z ≥ 0
    where              fᵢ(x) = rᵢ + Σⱼ (pᵢⱼ/(Uⱼ − xⱼ) + qᵢⱼ/(xⱼ − Lⱼ) + sᵢⱼ xⱼ)

K. Svanberg, SIAM J. Optim. 12, 555–573, 2002, doi:10.1137/S1052623499362822, with the primal–dual
interior point method of his notes "MMA and GCMMA" (2007): Newton's steps on the relaxed conditions
of optimality, their variables eliminated down to the m multipliers and z. A rank holds its own x;
the (m + 1)-square system is summed over the ranks and its solution broadcast by rank 0.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from toolkit.share import Share

__all__ = ["Elastic", "Separable", "Solution"]

Array = npt.NDArray[np.float64]

ACCURACY = 1e-7  # the last relaxation of the conditions of complementarity
STEPS, HALVINGS = 200, 50  # Newton's steps for each relaxation, halvings of a step


class Elastic(NamedTuple):
    """Weights of the variables z, one number, and y, (m,)."""

    a0: float
    a: Array
    c: Array
    d: Array


class Solution(NamedTuple):
    """The minimiser: x (local,), y (m,), z and the multipliers (m,)."""

    x: Array
    y: Array
    z: float
    multipliers: Array


class _Point(NamedTuple):
    """Unknowns: x with the multipliers ξ, η of its bounds (local,); y, λ, μ, s (m,); z, ζ (1,)."""

    x: Array
    ξ: Array
    η: Array
    y: Array
    λ: Array
    μ: Array
    s: Array
    z: Array
    ζ: Array

    def after(self, step: "_Point", length: float) -> "_Point":
        """The point a step away."""
        return _Point(*(u + length * du for u, du in zip(self, step, strict=True)))


@dataclass
class Separable:
    """Approximations of rows 0 … m about a design, and the box of the step.

    Attributes:
        share: who holds which variable.
        L: (local,) lower asymptotes; `U` the upper ones.
        α: (local,) lower bounds of the step; `β` the upper ones.
        p: (1 + m, local) coefficients of 1/(U − x); `q` of 1/(x − L), `s` of x.
        r: (1 + m,) constants.
    """

    share: Share
    L: Array
    U: Array
    α: Array
    β: Array
    p: Array
    q: Array
    s: Array
    r: Array

    @classmethod
    def of(
        cls,
        share: Share,
        x: Array,
        asymptotes: tuple[Array, Array],
        box: tuple[Array, Array],
        rows: Array,
        slopes: Array,
        raa: Array,
        affine: npt.NDArray[np.bool_] | None = None,
    ) -> Self:
        """Approximate rows (1 + m,) with slopes (1 + m, local) about x (local,); collective.

        raa (1 + m,) are the dampings: the larger, the more convex. Rows that are affine (1 + m,)
        are taken as they are.
        """
        L, U = asymptotes
        straight = np.zeros((len(rows), 1)) if affine is None else affine[:, None] * 1.0
        s, slopes = straight * slopes, (1 - straight) * slopes
        rest = 1e-3 * np.abs(slopes) + (1 - straight) * raa[:, None] / share.span
        p = (np.maximum(slopes, 0) + rest) * (U - x) ** 2
        q = (np.maximum(-slopes, 0) + rest) * (x - L) ** 2
        r = rows - share.sum(p @ (1 / (U - x)) + q @ (1 / (x - L)) + s @ x)
        return cls(share, L, U, *box, p, q, s, r)

    def values(self, x: Array) -> Array:
        """The approximations (1 + m,) at x (local,); collective."""
        up, down = 1 / (self.U - x), 1 / (x - self.L)
        return self.r + self.share.sum(self.p @ up + self.q @ down + self.s @ x)

    def curvature(self, x: Array, about: Array) -> float:
        """What a unit of damping adds at x to the approximations about another x; collective."""
        bend = (self.U - self.L) * (x - about) ** 2 / ((self.U - x) * (x - self.L))
        return float(self.share.sum(np.array([np.sum(bend / self.share.span)]))[0])

    def _sums(self, x: Array, up: Array, down: Array) -> Array:
        """This rank's part of rows 1 … m without their constants."""
        return self.p[1:] @ up + self.q[1:] @ down + self.s[1:] @ x

    def solve(self, elastic: Elastic, accuracy: float = ACCURACY) -> Solution:
        """Minimise; collective."""
        u, ε = self._start(elastic), 1.0
        while ε > accuracy:
            norm, largest = self._residual(u, elastic, ε)
            steps = 0
            while largest > 0.9 * ε and steps < STEPS:
                u, norm, largest = self._advance(u, elastic, ε, norm)
                steps += 1
            ε *= 0.1
        return Solution(u.x, u.y, float(u.z[0]), u.λ)

    def _start(self, elastic: Elastic) -> _Point:
        one, m = np.ones(1), np.ones(len(elastic.c))
        x = 0.5 * (self.α + self.β)
        ξ, η = np.maximum(1, 1 / (x - self.α)), np.maximum(1, 1 / (self.β - x))
        return _Point(x, ξ, η, m, m, np.maximum(1, elastic.c / 2), m, one, one)

    def _slope(self, λ: Array) -> tuple[Array, Array, Array]:
        """Coefficients p, q, s of the Lagrangian, (local,)."""
        p, q, s = (c[0] + λ @ c[1:] for c in (self.p, self.q, self.s))
        return p, q, s

    def _residual(self, u: _Point, elastic: Elastic, ε: float) -> tuple[float, float]:
        """Norm and largest entry of the relaxed conditions of optimality; collective."""
        a0, a, c, d = elastic
        up, down = 1 / (self.U - u.x), 1 / (u.x - self.L)
        p, q, s = self._slope(u.λ)
        local = np.concatenate(
            [
                p * up**2 - q * down**2 + s - u.ξ + u.η,
                u.ξ * (u.x - self.α) - ε,
                u.η * (self.β - u.x) - ε,
            ]
        )
        sums = self.share.sum(self._sums(u.x, up, down), np.array([local @ local]))
        same = np.concatenate(
            [
                c + d * u.y - u.μ - u.λ,
                a0 - u.ζ - a @ u.λ,
                self.r[1:] + sums[:-1] - a * u.z - u.y + u.s,
                u.μ * u.y - ε,
                u.ζ * u.z - ε,
                u.λ * u.s - ε,
            ]
        )
        largest = self.share.max(np.abs(local), np.abs(same))
        return float(np.sqrt(sums[-1] + same @ same)), largest

    def _advance(
        self, u: _Point, elastic: Elastic, ε: float, norm: float
    ) -> tuple[_Point, float, float]:
        """Newton's step, shortened to stay inside and to reduce the residual; collective."""
        step = self._newton(u, elastic, ε)
        gone = [-du / value for value, du in zip(u[1:], step[1:], strict=True)]
        gone += [-step.x / (u.x - self.α), step.x / (self.β - u.x)]
        length = 1 / max(1.0, 1.01 * self.share.max(*gone))
        for _ in range(HALVINGS):
            there = u.after(step, length)
            reached, largest = self._residual(there, elastic, ε)
            if reached <= norm:
                break
            length *= 0.5
        return there, reached, largest

    def _newton(self, u: _Point, elastic: Elastic, ε: float) -> _Point:
        """Newton's step, by way of the multipliers and z; collective."""
        a0, a, c, d = elastic
        m = len(a)
        up, down = 1 / (self.U - u.x), 1 / (u.x - self.L)
        under, over = u.x - self.α, self.β - u.x
        p, q, s = self._slope(u.λ)
        G = self.p[1:] * up**2 - self.q[1:] * down**2 + self.s[1:]
        g = p * up**2 - q * down**2 + s - ε / under + ε / over
        D = 2 * (p * up**3 + q * down**3) + u.ξ / under + u.η / over
        sums = self.share.sum((G / D) @ G.T, G @ (g / D), self._sums(u.x, up, down))
        schur, pushed, values = np.split(sums, [m * m, m * m + m])
        dy, Dy = c + d * u.y - u.λ - ε / u.y, d + u.μ / u.y
        matrix = np.zeros((m + 1, m + 1))
        matrix[:m, :m] = schur.reshape(m, m) + np.diag(u.s / u.λ + 1 / Dy)
        matrix[:m, m], matrix[m, :m], matrix[m, m] = a, a, -u.ζ[0] / u.z[0]
        right = np.empty(m + 1)
        right[:m] = self.r[1:] + values - a * u.z - u.y + ε / u.λ + dy / Dy - pushed
        right[m] = a0 - a @ u.λ - ε / u.z[0]
        solution = np.linalg.solve(matrix, right)
        self.share.comm.Bcast(solution)
        δλ, δz = solution[:m], solution[m:]
        δx, δy = -(g + δλ @ G) / D, (δλ - dy) / Dy
        return _Point(
            x=δx,
            ξ=ε / under - u.ξ - u.ξ * δx / under,
            η=ε / over - u.η + u.η * δx / over,
            y=δy,
            λ=δλ,
            μ=ε / u.y - u.μ - u.μ * δy / u.y,
            s=ε / u.λ - u.s - u.s * δλ / u.λ,
            z=δz,
            ζ=ε / u.z - u.ζ - u.ζ * δz / u.z,
        )
