"""Evaluator: the functionals at a design, the same numbers on every rank.

Values and gradients of rank 0 are broadcast, so that processors that round differently see one
trajectory. An error on one rank is raised on all of them. Where a functional is a total over groups
all their ranks are meant, and what has no total must be the same in each.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.adjoint import Reduced
from toolkit.density import Density
from toolkit.errors import EvaluationError, InputError, ToolkitError, agree, together
from toolkit.functional import everyone

__all__ = ["Evaluator"]

Array = npt.NDArray[np.float64]


@dataclass
class Evaluator:
    """Values and gradients of the functionals at a design, cached at the last one; collective.

    Attributes:
        comm: The ranks that evaluate together: the design's, or those of all groups.
    """

    reduced: list[Reduced]
    over: Density
    count: int = 0
    design: Array | None = None
    values: Array = field(default_factory=lambda: np.empty(0))
    slopes: Array | None = None
    comm: MPI.Comm = field(init=False)

    def __post_init__(self) -> None:
        functionals = [reduced.functional for reduced in self.reduced]
        self.wide = any(functional.wide for functional in functionals)
        self.comm = everyone(functionals, self.over.comm)

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
            with together(self.comm):
                self.values = np.array([float(reduced.value(x)) for reduced in self.reduced])
            own = self.values.copy()
            self.comm.Bcast(self.values)
            if self.wide and self.count == 1:
                self._compare_groups(own)
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
            with together(self.comm):
                for row, reduced in zip(slopes, self.reduced, strict=True):
                    row[:] = reduced.gradient(self.design)
            self.comm.Bcast(slopes)
            self._check(np.isfinite(slopes).all(axis=1), "has a gradient with", np.sum(slopes, 1))
            self.slopes = slopes
        return self.slopes

    def _compare_groups(self, own: Array) -> None:
        """Refuse a functional that groups state differently and that is no total over them."""
        error, scale = None, np.abs(self.values).max()
        for reduced, mine, told in zip(self.reduced, own, self.values, strict=True):
            if not np.isclose(mine, told, rtol=1e-3, atol=1e-9 * scale, equal_nan=True):
                error = InputError(
                    f"{reduced.functional.name} is {told:.6g} in the first group and {mine:.6g} in "
                    "another: what a group states for itself belongs into groups.total(…)."
                )
        agree(self.comm, error)

    def _check(self, finite: npt.NDArray[np.bool_], verb: str, shown: Array) -> None:
        for reduced, good, number in zip(self.reduced, finite, shown, strict=True):
            if not good:
                raise EvaluationError(
                    f"{reduced.functional.name} {verb} {number} at evaluation {self.count}. Look "
                    "for a division by zero, a power of a negative number, or a void that is too "
                    "soft."
                )
