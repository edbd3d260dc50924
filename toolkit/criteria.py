"""Criteria: optimality criteria for one objective that material makes better, under one volume.

    x ← x (max(−∂J/∂x, 0) / (λ ∂V/∂x))^½      within the bounds and the move limit

with λ by Brent's method such that V meets its bound (M. P. Bendsøe & O. Sigmund, Topology
Optimization, 2003, doi:10.1007/978-3-662-05086-6, section 1.2). There is no line search: the
objective may rise.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from toolkit.stage import Ending, Request, Stage
from toolkit.volume import Volume

__all__ = ["Criteria"]

Array = npt.NDArray[np.float64]

REACH = 1e12  # ratio of the multipliers tried to the largest that a variable asks for
CLOSE = 1e-12  # of the multiplier's logarithm
LEAST = 1e-3  # share of its range that a variable grows from at least


class Criteria:
    """Optimality criteria as a method."""

    whole = False
    remembers = False

    def check(self, request: Request) -> None:
        """Refuse all but one volume."""
        Volume.check(request, "oc")

    def __call__(self, stage: Stage) -> Ending:
        """Accept each update until one ends the stage."""
        share = stage.share
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

    full = base * np.sqrt(gain / scale)

    def design(logarithm: float) -> Array:
        return np.clip(full * np.exp(-0.5 * logarithm), low, high)

    little, much = -np.log(REACH), np.log(REACH)
    for end in (little, much):
        if (volume.at(design(end)) <= 0) == (end < 0):
            return design(end)  # the bound is not met between the two
    root = brentq(lambda logarithm: volume.at(design(logarithm)), little, much, xtol=CLOSE)
    return design(root + CLOSE)  # on the side that meets the bound
