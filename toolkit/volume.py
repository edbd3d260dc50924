"""Volume: the one linear constraint of optimality criteria and of SiMPL, on local slices."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.errors import InputError
from toolkit.evaluator import probe
from toolkit.program import Single
from toolkit.share import Share
from toolkit.stage import Request, Stage

__all__ = ["Volume"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """The row w·(x − x₀) + r₀ ≤ 0 with w > 0.

    Attributes:
        share: who holds which variable.
        weights: w, (local,).
        about: x₀, (local,).
        excess: r₀.
    """

    share: Share
    weights: Array
    about: Array
    excess: float

    @staticmethod
    def check(request: Request, optimizer: str) -> None:
        """Refuse programs of another form; collective.

        Raises:
            InputError: several objectives, another number of constraints than one, or one that is
                not linear in the design and growing with every variable.
        """
        way_out = "Use optimizer='mma' or 'mma-distributed'."
        form = f"optimizer='{optimizer}' is for one objective under one linear bound from above"
        if not isinstance(request.goal, Single):
            raise InputError(f"{form}, and {request.goal.name} is several objectives. {way_out}")
        if len(request.constraints) != 1:
            count = len(request.constraints)
            raise InputError(f"{form}, such as volume <= 0.5, and there are {count}. {way_out}")
        constraint, reduced = request.constraints[0]
        if constraint.sense < 0 or constraint.functional.states:
            raise InputError(f"{form}, such as volume <= 0.5: {constraint.name} is not. {way_out}")
        over, beta = request.over, request.over.beta
        try:
            over.sharpen(max(request.betas))
            slopes = probe(reduced, over)
        finally:
            over.sharpen(beta)
        fits = np.all(slopes > 0) and np.allclose(slopes, slopes[0], rtol=1e-6, atol=0)
        if not over.comm.allreduce(bool(fits), op=MPI.LAND):
            raise InputError(
                f"{form}: {constraint.name} does not grow by a fixed amount with every variable, "
                f"as a volume does without projection. {way_out}"
            )

    @classmethod
    def of(cls, stage: Stage, share: Share) -> Self:
        """The constraint of a stage at its start."""
        rows = stage.program.weights @ share.take(stage.evaluator.gradients())
        excess = stage.program.rows(stage.evaluator.values)[1]
        return cls(share, rows[1], share.take(stage.x), float(excess))

    def at(self, x: Array) -> float:
        """The row at a design (local,); collective."""
        return self.excess + self.share.dot(self.weights, x - self.about)
