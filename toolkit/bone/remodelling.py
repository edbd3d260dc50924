"""Bone that adapts its density to its load: strain-adaptive remodelling with a lazy zone.

    dρ/dt = B (S − (1 + s) k)      where S > (1 + s) k       bone forms
            B (S − (1 − s) k)      where S < (1 − s) k       bone resorbs
            0                      between                   the lazy zone

    S = U / ρ,    U = ½ σ(u):ε(u) with a modulus E ∝ ρᵍ,    ρ in [0.01, 1.74] g/cm³

k is one number, at which bone is at rest everywhere (Weinans), or the stimulus of the intact bone
at the same place (Huiskes): then the intact femur stays as it is and an implant changes it. U is
the mean over each cell, and over load cases, each with its weight, where there are several: any
UFL of the states. Densities are cell-wise, so that they scale the solver's element tensors, and
nothing is built anew in the course of time.

With Φ(ρ) = P(ρ) / g + ∫ k ρ dx and P minus the least potential energy (half the compliance under
forces alone) dρ/dt is −B ∂Φ/∂ρ, lowered by s k toward zero: ∂P/∂ρ = −g U/ρ in each cell. The
stress of the solved state is admissible at any other density, so that by the principle of
complementary energy

    P(ρ) ≤ P(ρₙ) + ∫ Uₙ ((ρₙ/ρ)ᵍ − 1) dx,       with the same slope at ρₙ.

The implicit step holds the stress and takes the density at the step's end: in each cell the one
root of ρ = ρₙ + B Δt (Sₙ (ρₙ/ρ)ᵍ⁺¹ − (1 ± s) k), then moved into the bounds. It minimises the right
side with the work of the change, so Φ falls in steps of any length, at one solve a step. The
explicit step is Euler's, no longer than the time in which a cell would come to rest under its
present stress, which also lets Φ fall. Both are of first order in time.

With one density a cell the law is known to grow checkerboards where g > 1 (Weinans et al. 1992):
among neighbours that deform alike the denser draws the load and grows. `radius` lets cells sense
the mean stimulus around them, as osteocytes do (Mullender et al. 1994), by the filter of designs,
and compare it with the mean reference there; Φ is then no longer certain to fall.

References:
    Huiskes et al. 1987, doi:10.1016/0021-9290(87)90030-3;
    Weinans, Huiskes & Grootenboer 1992, J. Biomech. 25, 1425–1441;
    Mullender, Huiskes & Weinans 1994, J. Biomech. 27, 1389–1394.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.core.expr import Expr

from toolkit.bone.prognosis import Prognosis, Record
from toolkit.density import Density
from toolkit.domain import Domain, completed
from toolkit.errors import InputError
from toolkit.state import states_of, with_upstream

__all__ = ["Remodelling"]

type Array = npt.NDArray[np.float64]

NUDGE = 1.001  # factor of the density at which the energy's exponent is tried
ROUNDS = 200  # of Newton's method, which comes to the root from below and needs some twenty


class Remodelling:
    """The density of a bone in time.

    Attributes:
        density: ρ, the function that the script's modulus mentions; it is changed in place.
        time: How far it has come, in the unit that `rate` has.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        density: fem.Function,
        energy: Expr,
        power: float,
        reference: float | Expr,
        lazy: float = 0.0,
        rate: float = 1.0,
        bounds: tuple[float, float] = (0.01, 1.74),
        tissue: Sequence[str] = (),
        radius: float | None = None,
    ) -> None:
        """State the law; nothing is solved yet.

        Args:
            domain: The mesh, mm.
            density: ρ at the beginning, g/cm³, cell-wise; also where nothing is remodelled.
            energy: U as UFL of the states, MPa = J/cm³; of several load cases their weighted sum.
            power: g, with which the modulus follows the density: E = C ρᵍ.
            reference: k, J/g: a number, or UFL, of which the mean over each cell is taken now.
            lazy: s, half the width of the lazy zone as a share of k.
            rate: B, (g/cm³) / (J/g) per unit of time, for example a month.
            bounds: Least and greatest density, g/cm³.
            tissue: Named regions that remodel; all cells if none is named.
            radius: Of the cone filter that stimulus and reference are averaged with in the tissue,
                mm; None for none.

        Raises:
            InputError: A number out of its range, a density or reference that is not cell-wise,
                a density that leaves the bounds in the tissue, an energy without a state.
        """
        _check(power, lazy, rate, bounds)
        self.domain, self.density, self.time = domain, density, 0.0
        self._power, self._lazy, self._speed, self._bounds = power, lazy, rate, bounds
        self._dofs = domain.cell_dofs[: len(domain.cells)]
        self._tissue = self._named(tissue)
        self._reference = self._means(reference)
        self._check_density()
        form = completed(energy * ufl.TestFunction(domain.cellwise) * domain.dx)
        self._states = with_upstream(states_of(form))
        if not self._states:
            raise InputError("The energy mentions no state. Give ½ σ(u):ε(u) of an elasticity.")
        self._energy, self._integral = fem.form(form), fem.Function(domain.cellwise)
        self._checked = False
        self._filter = None if radius is None else Density(domain, radius=radius, start=0.0)
        if self._filter is not None:
            self._filter.assign(self._tissue.astype(float))
            self._inside = self._owned(self._filter.filtered)
            self._reference = self._averaged(self._reference)

    # ---- the law ----------------------------------------------------------------------------

    def stimulus(self) -> fem.Function:
        """S in the tissue at the present density, J/g, cell-wise, zero elsewhere; collective.

        The reference that it is for another bone is this function of the intact one. It is each
        cell's own; `radius` averages it, and the reference, in the law.
        """
        function = fem.Function(self.domain.cellwise, name="stimulus")
        self._set(function, self._own_stimulus())
        return function

    def _stimulus(self) -> Array:
        """S as the law has it, (owned,)."""
        return self._averaged(self._own_stimulus())

    def _averaged(self, S: Array) -> Array:
        """The mean around each cell of the tissue, (owned,), by the filter if there is one."""
        if self._filter is None:
            return S
        self._filter.assign(np.where(self._tissue, S, 0.0))
        return np.where(self._tissue, self._owned(self._filter.filtered) / self._inside, 0.0)

    def _own_stimulus(self) -> Array:
        """S of this rank's cells, (owned,), zero outside the tissue; solves; collective."""
        for state in self._states:
            state.solve()
        U = self._energies()
        if not self._checked:
            self._check_power(U)
        ρ = np.where(self._tissue, self._owned(self.density), 1.0)
        return np.where(self._tissue, U / (self.domain.cell_volumes * ρ), 0.0)

    def _energies(self) -> Array:
        """∫ U dx over each of this rank's cells at the present fields, (owned,)."""
        self._integral.x.array[:] = 0.0
        fem.assemble_vector(self._integral.x.array, self._energy)
        return self._owned(self._integral)

    def _target(self, S: Array) -> Array:
        """The stimulus at which each cell comes to rest: S itself in the lazy zone, (owned,)."""
        k, s = self._reference, self._lazy
        return np.where(self._tissue, np.clip(S, (1 - s) * k, (1 + s) * k), S)

    # ---- steps ------------------------------------------------------------------------------

    def implicit(self, duration: float) -> None:
        """One step of any length, with the stress of its beginning; collective."""
        self._check_duration(duration)
        ρ, S = self._owned(self.density), self._stimulus()
        moving = (K := self._target(S)) != S
        new = ρ.copy()
        new[moving] = _rooted(
            ρ[moving], self._speed * duration, S[moving], K[moving], self._power + 1, self._bounds
        )
        self._set(self.density, new)
        self.time += duration

    def explicit(self, duration: float, *, tolerance: float = 1e-3) -> int:
        """Euler's steps, as many as it takes; collective.

        Args:
            duration: How far to go.
            tolerance: Of the error of each step, estimated by the change of the rate, g/cm³.

        Returns:
            The number of steps.
        """
        self._check_duration(duration)
        left, h, steps = duration, duration, 0
        rate, longest = self._rate()
        while left > 0:
            h = min(left, h, longest)
            before = self._owned(self.density)
            self._set(self.density, self._bounded(before + h * rate))
            after, next_longest = self._rate()
            error = 0.5 * h * self._largest(np.where(self._at_bound(), 0.0, after - rate))
            ratio = 0.9 * np.sqrt(tolerance / error) if error > 0 else np.inf
            if error > tolerance:
                self._set(self.density, before)
            else:
                left, rate, longest, steps = left - h, after, next_longest, steps + 1
            h *= float(np.clip(ratio, 0.1, 5.0))
        self.time += duration
        return steps

    def run(
        self,
        duration: float,
        *,
        steps: int,
        regions: Sequence[str] = (),
        by: Callable[[float], Any] | None = None,
    ) -> Prognosis:
        """Go on in equal steps and record each; collective.

        Args:
            duration: How far.
            steps: Number of equal parts.
            regions: Named regions whose bone is counted; all of the tissue always is.
            by: What makes a step, `implicit` unless given.
        """
        if steps < 1:
            raise InputError(f"run: {steps} steps are none; give 1 or more.")
        own = {"all": self._tissue} | {n: self._named([n]) & self._tissue for n in regions}
        record = Record(self.domain, own, start=self._owned(self.density))
        record.add(self.time, self.density)
        for _ in range(steps):
            (by or self.implicit)(duration / steps)
            record.add(self.time, self.density)
        return record.prognosis()

    def _rate(self) -> tuple[Array, float]:
        """dρ/dt, (owned,), and the longest step: no cell passes where its stress lets it rest."""
        ρ, S = self._owned(self.density), self._stimulus()
        K = self._target(S)
        rate = self._speed * (S - K)
        low, high = self._bounds
        rate[(ρ <= low) & (rate < 0) | (ρ >= high) & (rate > 0)] = 0.0
        moving = rate != 0
        rest = ρ[moving] * (S[moving] / K[moving]) ** (1 / (self._power + 1))
        times = (rest - ρ[moving]) / rate[moving]
        shortest = times[times > 0].min(initial=np.inf)
        return rate, float(self.domain.comm.allreduce(shortest, op=MPI.MIN))

    # ---- inside -----------------------------------------------------------------------------

    def _owned(self, function: fem.Function) -> Array:
        return np.asarray(function.x.array[self._dofs])

    def _set(self, function: fem.Function, owned: Array) -> None:
        function.x.array[self._dofs] = owned
        function.x.scatter_forward()

    def _bounded(self, ρ: Array) -> Array:
        return np.where(self._tissue, np.clip(ρ, *self._bounds), ρ)

    def _at_bound(self) -> npt.NDArray[np.bool_]:
        return np.isin(self._owned(self.density), self._bounds)

    def _largest(self, values: Array) -> float:
        """The largest magnitude on any rank; collective."""
        return float(self.domain.comm.allreduce(np.abs(values).max(initial=0.0), op=MPI.MAX))

    def _named(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether each owned cell is in one of some regions; all are, if none is named."""
        if isinstance(names, str):
            raise InputError(f"tissue and regions take lists of names: ['{names}'].")
        found = np.full(len(self.domain.cells), not names)
        for name in names:
            cells = self.domain.entities(self.domain.dimension, name)
            found[cells[cells < len(found)]] = True
        return found

    def _means(self, given: float | Expr) -> Array:
        """The mean over each owned cell of a number or UFL, (owned,)."""
        if not isinstance(given, Expr):
            return np.full(len(self.domain.cells), float(given))
        test = ufl.TestFunction(self.domain.cellwise)
        form = completed(given * test * self.domain.dx)
        integrals = fem.assemble_vector(fem.form(form)).array[self._dofs]
        return np.asarray(integrals / self.domain.cell_volumes)

    def _check_density(self) -> None:
        """Refuse densities out of bounds and references that are not positive; collective."""
        if self.density.function_space.element != self.domain.cellwise.element or (
            self.density.function_space.mesh is not self.domain.mesh
        ):
            raise InputError(
                f"The density '{self.density.name}' must be cell-wise on '{self.domain.source}', "
                "as domain.by_region and fem.Function(domain.cellwise) are."
            )
        ρ, k = self._owned(self.density)[self._tissue], self._reference[self._tissue]
        low, high = self._bounds
        wrong = int(((ρ < low) | (ρ > high)).sum()), int((~(k >= 0)).sum())
        outside, negative = self.domain.comm.allreduce(np.array(wrong))
        if outside:
            raise InputError(
                f"The density of {outside} cells lies outside the bounds {low:g} to {high:g} "
                "g/cm³. Name the regions that remodel by tissue=[...], or clip it."
            )
        if negative:
            raise InputError(f"The reference of {negative} cells is not a stimulus of 0 or more.")

    def _check_power(self, U: Array) -> None:
        """Refuse an energy that follows the density with another power; collective."""
        ρ = self._owned(self.density)
        self._set(self.density, np.where(self._tissue, NUDGE * ρ, ρ))
        nudged = self._energies()
        self._set(self.density, ρ)
        sums = [float(values[self._tissue].sum()) for values in (U, nudged)]
        before, after = self.domain.comm.allreduce(np.array(sums))
        found = np.log(after / before) / np.log(NUDGE) if before > 0 else self._power
        if abs(found - self._power) > 0.02:
            raise InputError(
                f"The energy follows the density with a power of {found:.2f}, not {self._power:g}. "
                "Give the power of the law in the modulus: E = C ρᵍ."
            )
        self._checked = True

    @staticmethod
    def _check_duration(duration: float) -> None:
        if not 0 < duration < np.inf:
            raise InputError(f"A step of {duration:g} must be positive.")


def _rooted(ρ: Array, h: float, S: Array, K: Array, m: float, bounds: tuple[float, float]) -> Array:
    """The root r of r = ρ + h (S (ρ/r)ᵐ − K) for each cell, moved into the bounds.

    The residual rises and is concave, so Newton's method climbs to the root from any point below.
    Where the cell would rest under its stress is such a point if bone resorbs, ρ is if it forms.
    """
    low, high = bounds
    r = np.clip(np.minimum(ρ, ρ * (S / K) ** (1 / m)), low, None)
    for _ in range(ROUNDS):
        pull = h * S * (ρ / r) ** m
        change = (ρ - r + pull - h * K) / (1 + m * pull / r)
        r += np.maximum(change, 0.0)
        if not (change > 1e-14 * r).any():
            break
    return np.clip(r, low, high)


def _check(power: float, lazy: float, rate: float, bounds: tuple[float, float]) -> None:
    for word, value in {"power": power, "rate": rate}.items():
        if not 0 < value < np.inf:
            raise InputError(f"Remodelling: {word} = {value:g} must be positive.")
    if not 0 <= lazy < 1:
        raise InputError(f"Remodelling: lazy = {lazy:g} must be at least 0 and less than 1.")
    if not 0 < bounds[0] < bounds[1] < np.inf:
        raise InputError(f"Remodelling: bounds = {bounds} must be two densities, 0 < low < high.")
