"""Criteria: optimality criteria for one objective that material makes better, under one volume.

    x ← x (max(−∂J/∂x, 0) / (λ ∂V/∂x))^½      within the bounds and the move limit

with λ by bisection such that V meets its bound (M. P. Bendsøe & O. Sigmund, Topology Optimization,
2003, doi:10.1007/978-3-662-05086-6, section 1.2). There is no line search: the objective may rise.
"""

import numpy as np
import numpy.typing as npt

from toolkit.share import Share
from toolkit.stage import Ending, Request, Stage
from toolkit.volume import Volume

__all__ = ["Criteria"]

Array = npt.NDArray[np.float64]

REACH = 1e12  # ratio of the multipliers tried to the largest that a variable asks for
LEAST = 1e-3  # share of its range that a variable grows from at least


class Criteria:
    """Optimality criteria as a method."""

    def check(self, request: Request) -> None:
        """Refuse all but one volume."""
        Volume.check(request, "oc")

    def __call__(self, stage: Stage) -> Ending:
        """Accept each update until one ends the stage."""
        share = Share(stage.over, stage.comm)
        volume = Volume.of(stage, share)
        ending = None
        while ending is None:
            slope = stage.program.weights[0] @ share.take(stage.evaluator.gradients())
            trial = share.put(_update(volume, share.take(stage.x), slope, stage.move), stage.x)
            stage.evaluator.at(trial)
            stage.rejected += 1
            ending = stage.accept(trial) or stage.exhausted()
        return ending


def _update(volume: Volume, x: Array, slope: Array, move: float) -> Array:
    """The next design (local,); collective."""
    share = volume.share
    low = np.maximum(share.lower, x - move * share.span)
    high = np.minimum(share.upper, x + move * share.span)
    base = np.maximum(x, share.lower + LEAST * share.span)
    gain = np.maximum(-slope, 0) / volume.weights
    scale = share.max(gain) or 1.0

    def design(logarithm: float) -> Array:
        return np.clip(base * np.sqrt(gain / (scale * np.exp(logarithm))), low, high)

    little, much = -np.log(REACH), np.log(REACH)
    if volume.at(design(little)) <= 0:
        return design(little)
    while much - little > 1e-13 * np.log(REACH):
        middle = 0.5 * (little + much)
        if volume.at(design(middle)) > 0:
            little = middle
        else:
            much = middle
    return design(much)
