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
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from toolkit.kernels import Kernels
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
    """Unknowns: x and the multipliers ξ, η of its bounds (local,); y, λ, μ, s (m,); z, ζ (1,)."""

    local: list[Array]
    y: Array
    λ: Array
    μ: Array
    s: Array
    z: Array
    ζ: Array


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

    def solve(self, elastic: Elastic, accuracy: float = ACCURACY) -> Solution:
        """Minimise; collective."""
        search = _Search(self, elastic)
        ε = 1.0
        while ε > accuracy:
            search.relax(ε)
            ε *= 0.1
        u = search.u
        return Solution(u.local[0], u.y, float(u.z[0]), u.λ)


class _Search:
    """The interior point method, from one relaxation to the next.

    Attributes:
        u: Where it is.
    """

    def __init__(self, model: Separable, elastic: Elastic) -> None:
        """Start in the middle of the box; collective."""
        self._model, self._elastic, self._share = model, elastic, model.share
        self._kernels = Kernels(model.share.comm, 1, 1)
        data = (model.p, model.q, model.s, model.L, model.U, model.α, model.β)
        self._data = [np.ascontiguousarray(array, dtype=float) for array in data]
        x = 0.5 * (model.α + model.β)
        local = [x, np.maximum(1, 1 / (x - model.α)), np.maximum(1, 1 / (model.β - x))]
        one, m = np.ones(1), np.ones(len(elastic.c))
        self.u = _Point(local, m, m, np.maximum(1, elastic.c / 2), m, one, one)
        self._spare, self._step = ([np.zeros_like(x) for _ in local] for _ in range(2))

    def relax(self, ε: float) -> None:
        """Newton's steps until the conditions relaxed by ε hold; collective."""
        still = _Point(self._step, *(np.zeros_like(v) for v in self.u[1:]))
        _, norm, largest = self._there(still, 0.0, ε)
        steps = 0
        while largest > 0.9 * ε and steps < STEPS:
            norm, largest = self._advance(ε, norm)
            steps += 1

    def _run(self, name: str, λ: Array, ε: float, *arguments: Any) -> None:
        """One loop of kernels.c over this rank's variables."""
        self._kernels(name, len(self._spare[0]), len(λ), self._data, λ, ε, *arguments)

    def _there(self, step: _Point, length: float, ε: float) -> tuple[_Point, float, float]:
        """The point u + length step, in the spare arrays; collective.

        Returns:
            It, and norm and largest entry of the relaxed conditions of optimality there.
        """
        a0, a, c, d = self._elastic
        same = (v + length * dv for v, dv in zip(self.u[1:], step[1:], strict=True))
        u, sums = _Point(self._spare, *same), np.zeros(len(a) + 2)
        ways = (self.u.local, step.local, u.local)
        self._run("subproblem_residual", u.λ, ε, length, *ways, sums)
        largest = sums[-1:]
        sums = self._share.sum(sums[:-1])
        conditions = np.concatenate(
            [
                c + d * u.y - u.μ - u.λ,
                a0 - u.ζ - a @ u.λ,
                self._model.r[1:] + sums[:-1] - a * u.z - u.y + u.s,
                u.μ * u.y - ε,
                u.ζ * u.z - ε,
                u.λ * u.s - ε,
            ]
        )
        norm = float(np.sqrt(sums[-1] + conditions @ conditions))
        return u, norm, self._share.max(largest, np.abs(conditions))

    def _advance(self, ε: float, norm: float) -> tuple[float, float]:
        """Newton's step, shortened to stay inside and to reduce the residual; collective."""
        step, gone = self._newton(ε)
        shares = [-dv / v for v, dv in zip(self.u[1:], step[1:], strict=True)]
        length = 1 / max(1.0, 1.01 * self._share.max(gone, *shares))
        for _ in range(HALVINGS):
            there, reached, largest = self._there(step, length, ε)
            if reached <= norm:
                break
            length *= 0.5
        self.u, self._spare = there, self.u.local
        return reached, largest

    def _newton(self, ε: float) -> tuple[_Point, Array]:
        """Newton's step, by way of the multipliers and z; collective.

        Returns:
            The step, and how much of it uses up the way of a local variable to its bound, (1,).
        """
        a0, a, c, d = self._elastic
        u, m = self.u, len(a)
        sums = np.zeros(m * m + 2 * m)
        self._run("subproblem_schur", u.λ, ε, u.local, sums)
        schur, pushed, values = np.split(self._share.sum(sums), [m * m, m * m + m])
        dy, Dy = c + d * u.y - u.λ - ε / u.y, d + u.μ / u.y
        matrix = np.zeros((m + 1, m + 1))
        matrix[:m, :m] = schur.reshape(m, m) + np.diag(u.s / u.λ + 1 / Dy)
        matrix[:m, m], matrix[m, :m], matrix[m, m] = a, a, -u.ζ[0] / u.z[0]
        right = np.empty(m + 1)
        right[:m] = self._model.r[1:] + values - a * u.z - u.y + ε / u.λ + dy / Dy - pushed
        right[m] = a0 - a @ u.λ - ε / u.z[0]
        solution = np.linalg.solve(matrix, right)
        self._share.comm.Bcast(solution)
        δλ, δz = solution[:m], solution[m:]
        δy, gone = (δλ - dy) / Dy, np.zeros(1)
        self._run("subproblem_step", u.λ, ε, u.local, δλ, self._step, gone)
        step = _Point(
            self._step,
            y=δy,
            λ=δλ,
            μ=ε / u.y - u.μ - u.μ * δy / u.y,
            s=ε / u.λ - u.s - u.s * δλ / u.λ,
            z=δz,
            ζ=ε / u.z - u.ζ - u.ζ * δz / u.z,
        )
        return step, gone
