"""Separable: the convex separable subproblem of the method of moving asymptotes, on local slices.

    min over x, y, z   f₀(x) + a₀ z + Σ (cᵢ yᵢ + dᵢ yᵢ²/2)
    subject to         fᵢ(x) − aᵢ z − yᵢ ≤ 0,    α ≤ x ≤ β,    y, z ≥ 0
    where              fᵢ(x) = rᵢ + Σⱼ (pᵢⱼ/(Uⱼ − xⱼ) + qᵢⱼ/(xⱼ − Lⱼ) + sᵢⱼ xⱼ)

K. Svanberg, SIAM J. Optim. 12, 555–573, 2002, doi:10.1137/S1052623499362822, by its dual, as in his
paper of 1987 (doi:10.1002/nme.1620240207): given multipliers λ, the variables are independent of
each other, and the dual

    D(λ) = min over x (f₀ + λ·f) − Σ (λᵢ − cᵢ)₊²/(2 dᵢ),    λ ≥ 0,    a·λ ≤ a₀

is concave and smooth, with slopes f − y and a Hessian that jumps where a variable comes to a bound.
Newton's method solves the conditions of optimality with f linearised in λ, complementarity and all,
and a line search keeps D growing. A rank minimises over its own x in one loop (kernels.c); f and
its Jacobian are summed over the ranks, and rank 0 says where the next λ is.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from toolkit.errors import SolverError
from toolkit.kernels import Kernels
from toolkit.share import Share

__all__ = ["Elastic", "Separable", "Solution"]

Array = npt.NDArray[np.float64]

ROUND = 1e-14  # relative size of what is round-off
STEPS, TRIALS = 200, 60  # Newton's steps, points of a line search
FLAT = 1e-3  # least curvature of the dual, of that which a step from 0 to c has
PIVOTS = 10000  # changes of the active set in one of Newton's steps


class Elastic(NamedTuple):
    """Weights of the variables z, one number, and y, (m,): a ≥ 0, the others positive."""

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
        are taken as they are; row 0 is damped in any case, so that the minimiser is unique.
        """
        L, U = asymptotes
        straight = np.zeros((len(rows), 1)) if affine is None else affine[:, None] * 1.0
        s, slopes = straight * slopes, (1 - straight) * slopes
        damped = 1 - straight
        damped[0] = 1
        rest = 1e-3 * np.abs(slopes) + damped * raa[:, None] / share.span
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

    def solve(self, elastic: Elastic) -> Solution:
        """Minimise, to round-off; collective.

        Raises:
            SolverError: coefficients for which the multipliers were not found.
        """
        return _Dual(self, elastic).maximise()


class _Point(NamedTuple):
    """Multipliers λ (m,) and what belongs to them.

    D is the dual, f (m,) are the rows, H (m, m) is minus their Jacobian, y (m,) the elastic
    variables. `size` (m,) is of what the rows are sums of, `scale` of what D is.
    """

    λ: Array
    y: Array
    D: float
    f: Array
    H: Array
    size: Array
    scale: float


class _Dual:
    """The search for the multipliers."""

    def __init__(self, model: Separable, elastic: Elastic) -> None:
        """Take the coefficients as they are; collective."""
        self._model, self._elastic, self._share = model, elastic, model.share
        self._kernels = Kernels(model.share.comm, 1, 1)
        data = (model.p, model.q, model.s, model.L, model.U, model.α, model.β)
        self._data = [np.ascontiguousarray(array, dtype=float) for array in data]
        bent, straight = model.p.any(axis=1) | model.q.any(axis=1), model.s.any(axis=1)
        self._kinds = bent.astype(np.int64), straight.astype(np.int64)
        self._x = np.empty(len(model.L))

    def maximise(self) -> Solution:
        """Newton's steps until the conditions of optimality hold; collective."""
        a0, a, c, _ = self._elastic
        λ, z = np.ones(len(c)), 0.0
        here = self._at(λ / max(1.0, float(a @ λ) / a0))
        for _ in range(STEPS):
            goal, z = self._newton(here, z)
            if self._residual(here, z) <= ROUND:
                return Solution(self._x, here.y, z, here.λ)
            here = self._search(here, goal)
        raise SolverError(
            f"The subproblem of mma-distributed was not solved in {STEPS} steps: its conditions "
            f"hold to {self._residual(here, z):.1g}. Scale the functionals, or use optimizer='mma'."
        )

    def _at(self, λ: Array) -> _Point:
        """The dual at λ of rank 0, with x at its minimiser; collective."""
        model, (_, _, c, d), m = self._model, self._elastic, len(λ)
        self._share.comm.Bcast(λ)
        sums, weight = np.empty(1 + m + m * m), np.append(1.0, λ)
        n, kinds = len(self._x), self._kinds
        self._kernels("subproblem", n, m, *kinds, self._data, weight, self._x, sums)
        rows, H = np.split(self._share.sum(sums), [1 + m])
        f, H, y = model.r + rows, H.reshape(m, m), np.maximum(0, λ - c) / d
        size = np.abs(model.r) + np.abs(rows)
        size[1:] += (λ > c) * λ / d + np.abs(H) @ λ
        D = f[0] + λ @ f[1:] - d @ y**2 / 2
        return _Point(λ, y, float(D), f[1:], H, size[1:], float(size @ weight))

    def _residual(self, at: _Point, z: float) -> float:
        """How far the conditions of optimality are from holding, relatively."""
        a0, a, *_ = self._elastic
        gap = at.f - at.y - a * z
        off = np.where(at.λ > 0, np.abs(gap), np.maximum(gap, 0)) / np.maximum(at.size, 1e-300)
        worst = float(np.max(off, initial=0.0))
        return max(worst, abs(a0 - float(a @ at.λ)) / a0) if z > 0 else worst

    def _newton(self, at: _Point, z: float) -> tuple[Array, float]:
        """The multipliers and z that are optimal for rows linearised in λ; collective.

        With w = (y + a z − f, c + d y − λ, a₀ − a·λ) that is 0 ≤ (λ, y, z) ⟂ w ≥ 0, a
        complementarity problem of order 2 m + 1. Its matrix is positive definite: rows that do not
        depend on λ are given some slope, as much as vanishes with what they are off.
        """
        (a0, a, c, d), m = self._elastic, len(at.λ)
        gap = np.abs(at.f - at.y - a * z)
        H = at.H + np.diag(np.maximum(gap, FLAT * np.abs(at.f - at.y)) / c)
        diagonal = np.diag(H)
        unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        H *= np.outer(unit, unit)
        H[np.diag_indices(m)] = 1 + 1e-13
        stretch = float(np.linalg.norm(a * unit)) or 1.0
        a_, y_ = (a * unit / stretch)[:, None], 1 / np.sqrt(d)
        between, none = np.diag(unit * y_), np.zeros((m, 1))
        M = np.block(
            [[H, between, a_], [-between, np.eye(m), none], [-a_.T, none.T, np.full((1, 1), 1e-14)]]
        )
        w = (unit * (at.y + a * z - at.f), y_ * (c + d * at.y - at.λ), [(a0 - a @ at.λ) / stretch])
        now = (at.λ / unit, at.y / y_, [z * stretch])
        found = _complementary(M, np.concatenate(w), np.concatenate(now))
        self._share.comm.Bcast(found)
        λ, z = found[:m] * unit, float(found[-1]) / stretch
        used = float(a @ λ) / a0
        return np.where(a > 0, λ / (used if z > 0 else max(1.0, used)), λ), z

    def _search(self, at: _Point, goal: Array) -> _Point:
        """A better point on the way to the goal; collective."""
        δ = goal - at.λ
        rise, doubt = float((at.f - at.y) @ δ), ROUND * float(at.size @ np.abs(δ))
        low, high, t = (0.0, rise), (1.0, 0.0), 1.0
        for trial in range(TRIALS):
            there = self._at(goal if t == 1 else at.λ + t * δ)
            slope = float((there.f - there.y) @ δ)
            if t == 1 and (slope >= 0 or rise <= doubt):
                break
            if abs(slope) <= 0.5 * rise and there.D >= at.D - ROUND * at.scale:
                break
            low, high = ((t, slope), high) if slope > 0 else (low, (t, slope))
            part = 0.5 if trial % 2 else low[1] / (low[1] - high[1])
            t = low[0] + part * (high[0] - low[0])
        return there


def _complementary(M: Array, w: Array, now: Array) -> Array:
    """The u ≥ 0 with w + M (u − now) ≥ 0, one of both zero in each row, for positive definite M.

    K. G. Murty's rule, the first row that is wrong changes sides, which ends: J. Rohn, Math.
    Program. 46, 1990, doi:10.1007/BF01585743.
    """
    basic, doubt = now > 0, 1e-14 * np.max(np.abs(w) + np.abs(M) @ now)
    for _ in range(PIVOTS):
        δ = np.where(basic, 0.0, -now)
        δ[basic] = np.linalg.solve(M[np.ix_(basic, basic)], -(w + M @ δ)[basic])
        wrong = np.flatnonzero(np.where(basic, now + δ, w + M @ δ) < -doubt)
        if not len(wrong):
            return np.maximum(now + δ, 0)
        basic[wrong[0]] ^= True
    raise SolverError(f"The active set of mma-distributed's subproblem changed {PIVOTS} times.")
