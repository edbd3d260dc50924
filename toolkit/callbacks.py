"""Callbacks: nlopt's optimizers on the rows of a stage, the same on every rank.

nlopt's conservative method of moving asymptotes (K. Svanberg, SIAM J. Optim. 12, 555–573, 2002,
doi:10.1137/S1052623499362822) replaces J and g at the last accepted point by convex separable
upper approximations, and accepts their minimiser once it is better than the last point; trial
points that are not cost an evaluation but no gradients. An accepted point is an outer iteration.
nlopt's damping of the approximations has an absolute floor, so that rows reach it in a unit in
which their slope by one variable is a fixed multiple of that floor, however many variables.
SLSQP asks for gradients at its full steps too, so there each of those counts as one.

Every rank runs the same nlopt on all variables: this is the one room where designs and gradients
are whole. The point of rank 0 is broadcast before each evaluation. The optimizers are
deterministic, but an accept or reject decision amplifies differences of round-off between numbers
of ranks.
"""

from dataclasses import dataclass

import nlopt
import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.errors import InputError, ToolkitError, together
from toolkit.program import FEASIBLE, Extra
from toolkit.stage import Ending, Request, Stage

__all__ = ["Callbacks"]

Array = npt.NDArray[np.float64]

ALGORITHMS = {"mma": nlopt.LD_MMA, "ccsa": nlopt.LD_CCSAQ, "slsqp": nlopt.LD_SLSQP}
SLSQP_LIMIT = 500  # its dense quadratic programs cost the cube of the number of variables
DAMPING = 1e-3  # nlopt's first damping of rows whose slopes are about 1e-3; its floor is 1e-5
BROKEN = (nlopt.INVALID_ARGS, nlopt.OUT_OF_MEMORY)
ELASTIC = (1e2, 1e4, 1e6)  # weights c of the elastic variable, one after the other


@dataclass(frozen=True)
class Callbacks:
    """One of nlopt's algorithms as a method.

    Attributes:
        algorithm: "mma", "ccsa" or "slsqp".
    """

    algorithm: str
    whole = True
    remembers = False

    def check(self, request: Request) -> None:
        """Refuse many variables to SLSQP."""
        over = request.over
        free = over.comm.allreduce(int(np.count_nonzero(over.own_free)))
        if self.algorithm == "slsqp" and free > SLSQP_LIMIT:
            raise InputError(
                f"optimizer='slsqp' is for at most {SLSQP_LIMIT} variables and the design has "
                f"{free}: its cost grows with their cube. Use optimizer='mma'."
            )

    def __call__(self, stage: Stage) -> Ending:
        """Run nlopt from the last accepted point, with a larger elastic weight where needed."""
        for weight in ELASTIC:
            ending = _Search(stage, self.algorithm, weight).run()
            if ending is not None:
                return ending
        return Ending("infeasible", "No step reduces the violation of the constraints.")


class _Search:
    """One run of nlopt: its callbacks at one elastic weight."""

    def __init__(self, stage: Stage, algorithm: str, weight: float) -> None:
        self.stage, self.program, self.comm = stage, stage.program, stage.comm
        over, self.slices = stage.over, stage.over.slices
        self.free = over.free
        self.lower, self.upper = over.lower[self.free], over.upper[self.free]
        self.extra = Extra.of(self.program, stage.restart(), weight)
        self.ending: Ending | None = None
        self.error: BaseException | None = None
        self.opt = self._nlopt(algorithm)

    def run(self) -> Ending | None:
        """Search from the last accepted point; None asks for a larger elastic weight."""
        self.x = self.slices.gather(self.stage.x)
        z = np.concatenate([self.x[self.free], self.extra.start])
        self.opt.optimize(np.clip(z, self.opt.get_lower_bounds(), self.opt.get_upper_bounds()))
        code = self.opt.last_optimize_result()
        del self.opt  # it holds this object's methods where the garbage collector does not look
        if self.error is not None:
            raise self.error
        if self.ending is None and code in BROKEN:
            raise ToolkitError(
                f"nlopt gave up with code {code}: its memory or its arguments do not suffice. Try "
                "another optimizer."
            )
        resting = self.ending is None or self.ending.reason == "converged"
        if resting and self.stage.ledger.best.violation > FEASIBLE:
            return None
        return self.ending or Ending("converged", "The optimizer found no better point.")

    def _nlopt(self, algorithm: str) -> nlopt.opt:
        opt = nlopt.opt(ALGORITHMS[algorithm], len(self.lower) + len(self.extra.start))
        opt.set_lower_bounds(np.concatenate([self.lower, self.extra.lower]))
        opt.set_upper_bounds(np.concatenate([self.upper, self.extra.upper]))
        if algorithm != "slsqp":
            opt.set_param("inner_gradients", 0)
            opt.set_param("rho_init", DAMPING)
        opt.set_exceptions_enabled(False)
        opt.set_min_objective(self._objective)
        if len(self.program.offsets) > 1:
            opt.add_inequality_mconstraint(self._rows, np.zeros(len(self.program.offsets) - 1))
        return opt

    def _objective(self, z: Array, gradient: Array) -> float:
        """The minimised row; every evaluation happens here, at the point of rank 0."""
        if self.error is not None:
            return 0.0
        try:
            with together(self.comm):
                self._visit(z, gradient.size > 0)
        except BaseException as error:
            self.error = error
            self.opt.force_stop()
            return 0.0
        if gradient.size:
            gradient[:] = self.jacobian[0]
        return float(self.values[0])

    def _rows(self, result: Array, z: Array, gradient: Array) -> None:
        """The other rows at the point that the objective was called with."""
        result[:] = self.values[1:]
        if gradient.size:
            gradient[:] = self.jacobian[1:]

    def _visit(self, z: Array, wanted: bool) -> None:
        """Evaluate the rows, and accept the point if nlopt wants its gradients."""
        message = np.append(z, float(wanted))
        self.comm.Bcast(message)
        if self.comm.allreduce(bool(message[-1]) != wanted, op=MPI.LOR):
            raise ToolkitError(
                "The ranks' optimizers have come apart by round-off: run on processors of one kind."
            )
        z, evaluator = message[:-1], self.stage.evaluator
        self.x[self.free] = np.clip(z[: len(self.lower)], self.lower, self.upper)
        own = self.slices.take(self.x)
        values, unit = evaluator.at(own), DAMPING * len(self.lower)
        self.values = unit * (self.program.rows(values) + self.extra.columns @ z[len(self.lower) :])
        self.stage.rejected += 1
        ending = None
        if wanted:
            slopes = self.slices.gather(self.program.weights @ evaluator.gradients())[:, self.free]
            self.jacobian = unit * np.concatenate([slopes, self.extra.columns], axis=1)
            ending = self.stage.accept(own)
        self.ending = self.stage.exhausted() or ending
        if self.ending is not None:
            self.opt.force_stop()
