"""Mirror: SiMPL, sigmoidal mirror descent with a projected latent variable.

    x = l + (u − l) σ(ψ),    ψ ← ψ − α (∂J/∂x)/(∂V/∂x) − μ

with one scalar μ ≥ 0 by bisection such that the volume V meets its bound (D. Kim, B. S. Lazarov,
T. M. Surowiec & B. Keith, arXiv:2411.19421; B. Keith, D. Kim, B. S. Lazarov & T. M. Surowiec,
arXiv:2409.19341). The gradient is that of the scalar product that V weighs, so that steps do not
depend on the mesh. The step α is Barzilai and Borwein's in the latent variable,
α = ⟨δψ, δx⟩ / |⟨δg, δx⟩|, halved until Armijo's condition holds along the projected arc. Designs
stay strictly inside their bounds and the objective falls in every iteration.
"""

import numpy as np
import numpy.typing as npt

from toolkit.program import FEASIBLE
from toolkit.share import Share
from toolkit.stage import Ending, Request, Stage
from toolkit.volume import Volume

__all__ = ["Mirror"]

Array = npt.NDArray[np.float64]

ARMIJO = 1e-4  # share of the foreseen gain that is enough
LATENT = 30.0  # largest |ψ|: within 1e-13 of a bound, and still inside it
GROWTH = 10.0  # largest ratio of one step's first trial to the step before


class Mirror:
    """SiMPL as a method."""

    def check(self, request: Request) -> None:
        """Refuse all but one volume."""
        Volume.check(request, "simpl")

    def __call__(self, stage: Stage) -> Ending:
        """Accept steps until one ends the stage."""
        search = _Search(stage)
        ending = search.enter()
        while ending is None:
            ending = search.step()
        return ending


class _Search:
    """One stage of the method; vectors are local."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.share = stage, Share(stage.over, stage.comm)
        self.volume = Volume.of(stage, self.share)
        inside = (self.share.take(stage.x) - self.share.lower) / self.share.span
        edge = 1 / (1 + np.exp(LATENT))
        inside = np.clip(inside, edge, 1 - edge)
        self.latent = self._project(np.log(inside) - np.log1p(-inside))
        self.step_size = 0.0

    def enter(self) -> Ending | None:
        """Begin strictly inside the bounds and within the volume; collective."""
        if self.stage.ledger.best.violation <= FEASIBLE:
            return None
        trial = self.share.put(self._design(self.latent), self.stage.x)
        self.stage.evaluator.at(trial)
        return self.stage.accept(trial)

    def step(self) -> Ending | None:
        """One iteration: a step that is good enough; collective."""
        stage, share = self.stage, self.share
        x, base = share.take(stage.x), stage.x
        merit = stage.program.merit(stage.evaluator.at(base))
        slope = stage.program.weights[0] @ share.take(stage.evaluator.gradients())
        gradient = slope / self.volume.weights
        size = self._first_size(x, gradient)
        self.old = x, self.latent, gradient
        while (ending := stage.exhausted()) is None:
            latent = self._project(self.latent - size * gradient)
            trial = share.put(self._design(latent), base)
            stage.rejected += 1
            reached = stage.program.merit(stage.evaluator.at(trial))
            gain = share.dot(slope, share.take(trial) - x)
            if reached <= merit + ARMIJO * min(gain, 0.0):
                self.latent, self.step_size = latent, size
                return stage.accept(trial)
            size *= 0.5
        return ending

    def _first_size(self, x: Array, gradient: Array) -> float:
        """Barzilai and Borwein's step, or one latent unit at most where there is none before."""
        if not self.step_size:
            return 1 / (self.share.max(np.abs(gradient)) or 1.0)
        old_x, old_latent, old_gradient = self.old
        moved = self.volume.weights * (x - old_x)
        up = self.share.dot(moved, self.latent - old_latent)
        bend = abs(self.share.dot(moved, gradient - old_gradient))
        most = GROWTH * self.step_size
        return min(up / bend, most) if up > 0 and bend * most > up else most

    def _design(self, latent: Array) -> Array:
        return self.share.lower + self.share.span / (1 + np.exp(-latent))

    def _project(self, latent: Array) -> Array:
        """The latent variable shifted until the volume holds; collective."""

        def shifted(μ: float) -> Array:
            return np.clip(latent - μ, -LATENT, LATENT)

        little, much = 0.0, self.share.max(latent) + LATENT
        if self.volume.at(self._design(shifted(little))) <= 0:
            return shifted(little)
        while much - little > 1e-13 * max(much, 1.0):
            middle = 0.5 * (little + much)
            if middle in (little, much):
                break
            if self.volume.at(self._design(shifted(middle))) > 0:
                little = middle
            else:
                much = middle
        return shifted(much)
