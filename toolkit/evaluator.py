"""Evaluator: the functionals at a design, the same numbers on every rank.

Designs and gradients are slices, each rank's own variables. The values of rank 0 are broadcast, so
that processors that round differently see one trajectory. An error on one rank is raised on all of
them. Where a functional is a total over groups all their ranks are meant, gradients are the first
group's, and what has no total must be the same in each.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.adjoint import Reduced
from toolkit.density import Density
from toolkit.errors import EvaluationError, InputError, ToolkitError, agree, together
from toolkit.functional import everyone
from toolkit.journal import Journal

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
        (3, own free): all the same if the functional is affine. The density is left as it was.
    """
    before, free, span = over.own.copy(), over.own_free, over.own_upper - over.own_lower
    slopes: list[Array] = []
    try:
        for least in PROBES:
            share = least + 0.3 * np.modf((over.owned + 10 * least) * GOLDEN)[0]
            over.assign(np.where(free, over.own_lower + share * span, before))
            slopes.append(reduced.slope()[free])
    finally:
        over.assign(before)
    return np.array(slopes)


@dataclass
class Evaluator:
    """Values and gradients of the functionals at a design, cached at the last one; collective.

    Attributes:
        comm: The ranks that evaluate together: the design's, or those of all groups.
        journal: Where evaluations are kept and come from, or None.
        reproducible: Whether each evaluation begins as the first one does: nothing in it depends on
            those before.
    """

    reduced: list[Reduced]
    over: Density
    journal: Journal | None = None
    reproducible: bool = False
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
        """Values (k,) at a design (own,).

        Raises:
            EvaluationError: a value that is not finite.
            Interrupted: the run was asked to stop.
        """
        journal, other = self.journal, self.design is None or not np.array_equal(x, self.design)
        stop = journal is not None and journal.asked()
        found = self.comm.allreduce(int(other) + 2 * int(stop), op=MPI.BOR)
        if not found & 1:
            return self.values
        if journal is not None and found & 2:
            journal.stop()
        self.design, self.slopes = None, None
        self.count += 1
        record = None if journal is None else journal.recall(self.count, x, self.over.beta)
        if record is None or record.last:
            self.values = self._solve(x)
        if journal is not None and record is None:
            journal.keep(self.count, x, self.over.beta, self.values)
        if journal is not None and record is not None:
            if record.last:
                journal.verify(self.count, record.values, self.values)
            self.over.assign(x)
            self.values, self.slopes = record.values, record.slopes
            for reduced, solves in zip(self.reduced, record.adjoints, strict=True):
                reduced.adjoint_solves += solves
        self.design = x.copy()
        return self.values

    def _solve(self, x: Array) -> Array:
        """Values (k,) at a design (own,), the same on every rank."""
        with together(self.comm):
            if self.reproducible:
                for reduced in self.reduced:
                    reduced.reset()
            self.over.assign(x)
            own = np.array([float(reduced.value()) for reduced in self.reduced])
        values = own.copy()
        self.comm.Bcast(values)
        if self.wide and self.count == 1:
            self._compare_groups(own, values)
        self._check(np.isfinite(values), "is", values)
        return values

    def gradients(self) -> Array:
        """Gradients (k, own) at the last design.

        Raises:
            EvaluationError: a gradient that is not finite.
        """
        if self.design is None:
            raise ToolkitError("A gradient was asked for before a value.")
        if self.slopes is None:
            slopes = np.empty((len(self.reduced), len(self.design)))
            before = [reduced.adjoint_solves for reduced in self.reduced]
            with together(self.comm):
                self.over.assign(self.design)
                for row, reduced in zip(slopes, self.reduced, strict=True):
                    row[:] = reduced.slope()
            slopes = self.alike(slopes)
            sums = self.over.comm.allreduce(np.sum(slopes, axis=1))
            self._check(np.isfinite(sums), "has a gradient with", sums)
            self.slopes = slopes
            if self.journal is not None:
                pairs = zip(before, self.reduced, strict=True)
                adjoints = [reduced.adjoint_solves - solves for solves, reduced in pairs]
                evaluated = (self.over.beta, self.values, slopes, adjoints)
                self.journal.keep(self.count, self.design, *evaluated)
        return self.slopes

    def alike(self, own: Array) -> Array:
        """Slices (…, own) as the first group has them, where groups evaluate together."""
        if not self.wide:
            return own
        whole = self.over.slices.gather(own)
        self.comm.Bcast(whole)
        return self.over.slices.take(whole)

    def affine(self) -> npt.NDArray[np.bool_]:
        """Which functionals (k,) are affine in the design at its present steepness; collective."""
        found = np.array([not reduced.functional.states for reduced in self.reduced])
        for j in np.flatnonzero(found):
            slopes = probe(self.reduced[j], self.over)
            found[j] = np.allclose(slopes, slopes[0], rtol=1e-9, atol=0)
        self.over.comm.Allreduce(MPI.IN_PLACE, found, op=MPI.LAND)
        return found

    def _compare_groups(self, own: Array, values: Array) -> None:
        """Refuse a functional that groups state differently and that is no total over them."""
        error, scale = None, np.abs(values).max()
        for reduced, mine, told in zip(self.reduced, own, values, strict=True):
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
