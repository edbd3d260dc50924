"""Evaluator: the functionals at a design, the same numbers on every rank.

Values and gradients of rank 0 are broadcast, so that processors that round differently see one
trajectory. An error on one rank is raised on all of them.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from toolkit.adjoint import Reduced
from toolkit.density import Density
from toolkit.errors import EvaluationError, ToolkitError, together

__all__ = ["Evaluator", "probe"]

Array = npt.NDArray[np.float64]

PROBES = (
    0.1,
    0.3,
    0.6,
)  # designs at which slopes are compared: shares of the box, unlike x ↦ 1 − x
GOLDEN = 0.6180339887  # no two variables are alike in any of them


def probe(reduced: Reduced, over: Density) -> Array:
    """Slopes of a functional by the free variables at designs all over the box; collective.

    Returns:
        (3, free): all the same if the functional is affine. The density is left as it was.
    """
    before, number = over.vector.copy(), np.arange(over.size)
    slopes: list[Array] = []
    try:
        for least in PROBES:
            share = least + 0.3 * np.modf((number + 10 * least) * GOLDEN)[0]
            x = np.where(over.free, over.lower + share * (over.upper - over.lower), before)
            slopes.append(reduced.gradient(x)[over.free])
    finally:
        over.update(before)
    return np.array(slopes)


@dataclass
class Evaluator:
    """Values and gradients of the functionals at a design, cached at the last one; collective."""

    reduced: list[Reduced]
    over: Density
    count: int = 0
    design: Array | None = None
    values: Array = field(default_factory=lambda: np.empty(0))
    slopes: Array | None = None

    def forget(self) -> None:
        """Evaluate again at the next call, since the projection has changed."""
        self.design = None

    def at(self, x: Array) -> Array:
        """Values (k,) at a design (size,).

        Raises:
            EvaluationError: a value that is not finite.
        """
        if self.design is None or not np.array_equal(x, self.design):
            self.design, self.slopes = None, None
            self.count += 1
            with together(self.over.comm):
                self.values = np.array([float(reduced.value(x)) for reduced in self.reduced])
            self.over.comm.Bcast(self.values)
            self._check(np.isfinite(self.values), "is", self.values)
            self.design = x.copy()
        return self.values

    def gradients(self) -> Array:
        """Gradients (k, size) at the last design.

        Raises:
            EvaluationError: a gradient that is not finite.
        """
        if self.design is None:
            raise ToolkitError("A gradient was asked for before a value.")
        if self.slopes is None:
            slopes = np.empty((len(self.reduced), len(self.design)))
            with together(self.over.comm):
                for row, reduced in zip(slopes, self.reduced, strict=True):
                    row[:] = reduced.gradient(self.design)
            self.over.comm.Bcast(slopes)
            self._check(np.isfinite(slopes).all(axis=1), "has a gradient with", np.sum(slopes, 1))
            self.slopes = slopes
        return self.slopes

    def affine(self) -> npt.NDArray[np.bool_]:
        """Which functionals (k,) are affine in the design at its present steepness; collective."""
        straight = []
        for reduced in self.reduced:
            slopes = [] if reduced.functional.states else probe(reduced, self.over)
            straight.append(len(slopes) > 0 and np.allclose(slopes, slopes[0], rtol=1e-9, atol=0))
        return np.array(self.over.comm.bcast(straight))

    def _check(self, finite: npt.NDArray[np.bool_], verb: str, shown: Array) -> None:
        for reduced, good, number in zip(self.reduced, finite, shown, strict=True):
            if not good:
                raise EvaluationError(
                    f"{reduced.functional.name} {verb} {number} at evaluation {self.count}. Look "
                    "for a division by zero, a power of a negative number, or a void that is too "
                    "soft."
                )
