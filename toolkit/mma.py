"""MovingAsymptotes: MMA of which each rank holds a slice of the design.

The separable approximations about the last design (separable.py) are minimised within the
asymptotes and a move limit. The minimiser is taken if it meets the constraints as well as was
foreseen, and improves the objective or is as good as was foreseen. Else the approximations that lie
below their functions are damped as in K. Svanberg's globally convergent variant (2002,
doi:10.1137/S1052623499362822) and minimised again. So a first trial costs no more than in plain
MMA, the objective falls from one feasible design to the next, and steep projections cannot make it
oscillate. The first asymptotes of a stage are the closer, the steeper its projection (J. K. Guest,
A. Asadpoure & S.-H. Ha, Struct. Multidisc. Optim. 44, 443–453, 2011,
doi:10.1007/s00158-011-0676-1). The elastic variables y let infeasible starts in, and z is the slack
of a goal.
"""

import numpy as np
import numpy.typing as npt

from toolkit.asymptotes import WIDTH, Asymptotes
from toolkit.program import FEASIBLE, Program
from toolkit.separable import Elastic, Separable
from toolkit.share import Share
from toolkit.stage import Ending, Request, Stage

__all__ = ["MovingAsymptotes"]

Array = npt.NDArray[np.float64]

DAMPING = 1e-3  # first damping, of a row's mean slope
PENALTY, CURVATURE = 1e3, 1.0  # c and d of the elastic variables
VARIABLES = 100  # number of them whose rows are of order one for the interior point method


class MovingAsymptotes:
    """MMA on slices, for every program."""

    def check(self, request: Request) -> None:
        """Refuse nothing."""

    def __call__(self, stage: Stage) -> Ending:
        """Accept minimisers of the approximations until one ends the stage."""
        search = _Search(stage)
        ending = None
        while ending is None:
            ending = search.step()
        return ending


class _Search:
    """One stage of the method."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.program, self.share = stage, stage.program, Share(stage.over, stage.comm)
        self.unit = max(1.0, self.share.size / VARIABLES)
        self.low, self.elastic = _slacks(self.program, stage.evaluator.values, self.unit)
        self.width = WIDTH / (1 + stage.over.beta)
        x = self.share.take(stage.x)
        self.state = Asymptotes.about(x, self.share.span, self.width)

    def step(self) -> Ending | None:
        """Go on to the next design that is good enough; collective."""
        stage, share, state = self.stage, self.share, self.state
        values = stage.evaluator.at(stage.x)
        rows, merit = self._rows(values), self.program.merit(values)
        slopes = self.unit * self.program.weights @ share.take(stage.evaluator.gradients())
        first = DAMPING * share.sum(np.abs(slopes) @ share.span) / share.size
        raa = np.maximum(first, 1e-12)
        box = state.box(share.lower, share.upper, share.span, stage.move)
        while (ending := stage.exhausted()) is None:
            model = Separable.of(share, state.last, (state.low, state.upp), box, rows, slopes, raa)
            x = model.solve(self.elastic).x
            trial = share.put(np.clip(x, share.lower, share.upper), stage.x)
            stage.rejected += 1
            reached = self._rows(stage.evaluator.at(trial))
            foreseen = model.values(x)
            if self._good(reached, foreseen, merit):
                ending = stage.accept(trial)
                self.state = state.follow(share.take(trial), share.span, self.width)
                break
            bend = max(model.curvature(x, state.last), 1e-30)
            more = np.maximum(reached - foreseen, 0) / bend
            raa = np.where(more > 0, np.minimum(1.1 * (raa + more), 100 * raa), raa)
        return ending

    def _rows(self, values: Array) -> Array:
        """The rows (1 + m,) at the lowest slack, in the unit of the interior point method."""
        return self.unit * (self.program.rows(values) + self.program.slack * self.low)

    def _good(self, reached: Array, foreseen: Array, merit: float) -> bool:
        """Whether a trial keeps what the approximations promise, or better than the last point."""
        hard, least = self.program.hard, FEASIBLE * self.unit
        promised = max(float(np.max(foreseen[hard:], initial=0.0)), 0.5 * least)
        held = float(np.max(reached[hard:], initial=0.0)) <= promised
        better = self.program.merit(self.stage.evaluator.values) <= merit
        return held and (better or bool(np.all(reached[:hard] <= foreseen[:hard] + 1e-3 * least)))


def _slacks(program: Program, values: Array, unit: float) -> tuple[float, Elastic]:
    """The lowest slack of the goal, and the weights of z above it and of y."""
    m = len(program.offsets) - 1
    c, d = np.full(m, PENALTY), np.full(m, CURVATURE / unit)
    if not program.slack.any():
        return 0.0, Elastic(unit, np.zeros(m), c, d)
    low = min(program.tightest(values), 0.0) - 1
    return low, Elastic(unit * program.slack[0], -unit * program.slack[1:], c, d)
