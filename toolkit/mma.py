"""MovingAsymptotes: MMA of which each rank holds a slice of the design.

The separable approximations about the last design (separable.py) are minimised within the
asymptotes and a move limit. The minimiser is taken if it meets the constraints as well as was
foreseen, and improves the objective by a share of what was foreseen (C. Zillober, Struct. Optim. 6,
166–174, 1993, doi:10.1007/BF01743509) or is as good as was foreseen (K. Svanberg, SIAM J. Optim.
12, 555–573, 2002, doi:10.1137/S1052623499362822). Else the approximations that lie below their
functions are damped, and minimised again. Rows that are affine in the design are their own
approximations. So the objective falls from one feasible design to the next, and steep projections
cannot make it oscillate. The first asymptotes of a stage are the closer, the steeper its projection
(J. K. Guest, A. Asadpoure & S.-H. Ha, Struct. Multidisc. Optim. 44, 443–453, 2011,
doi:10.1007/s00158-011-0676-1). The elastic variables y let infeasible starts in, and z is the slack
of a goal.
"""

import numpy as np
import numpy.typing as npt

from toolkit.asymptotes import WIDTH, Asymptotes
from toolkit.memory import Memory
from toolkit.program import FEASIBLE, Program
from toolkit.separable import Elastic, Separable
from toolkit.stage import Ending, Request, Stage

__all__ = ["MovingAsymptotes"]

Array = npt.NDArray[np.float64]

DAMPING = 1e-3  # least damping, of a row's mean slope: next to plain MMA
KEPT = 0.1  # share of an iteration's last damping that the next one begins with
SUFFICIENT = 1e-4  # share of the foreseen gain that is enough
PENALTY, CURVATURE = 1e3, 1.0  # c and d of the elastic variables
VARIABLES = 100  # number of them whose rows are of order one beside c and d


class MovingAsymptotes:
    """MMA on slices, for every program."""

    whole = False
    remembers = True

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
        self.stage, self.program, self.share = stage, stage.program, stage.share
        self.unit = max(1.0, self.share.size / VARIABLES)
        self.low, self.elastic = _slacks(self.program, stage.evaluator.values, self.unit)
        self.width = WIDTH / (1 + stage.over.beta)
        self.affine = self.program.affine(stage.evaluator.affine())
        x = self.share.take(stage.x)
        self.state = Asymptotes.about(x, self.share.span, self.width)
        self.damping = np.full(len(self.affine), DAMPING)
        if stage.memory is not None:
            self._recall(stage.memory)

    def _memory(self) -> Memory:
        """What the next step depends on beside values and slopes."""
        state, share, x = self.state, self.share, self.stage.x
        vectors = {
            "design": share.put(state.last, x),
            "older": share.put(state.older, x),
            "low": share.put(state.low, x),
            "upp": share.put(state.upp, x),
        }
        memory = Memory(self.stage.over.slices, vectors, {})
        return memory.beside(designs=state.iteration, damping=self.damping, slack=self.low)

    def _recall(self, memory: Memory) -> None:
        low, upp, last, older = (
            self.share.take(memory.vectors[name]) for name in ("low", "upp", "design", "older")
        )
        self.state = Asymptotes(low, upp, last, older, memory.integer("designs"))
        self.damping, self.low = memory.numbers["damping"], float(memory.numbers["slack"])

    def step(self) -> Ending | None:
        """Go on to the next design that is good enough; collective."""
        stage, share, state = self.stage, self.share, self.state
        values = stage.evaluator.at(stage.x)
        rows, merit = self._rows(values), self.program.merit(values)
        slopes = self.unit * self.program.weights @ share.take(stage.evaluator.gradients())
        mean = np.maximum(share.sum(np.abs(slopes) @ share.span) / share.size, 1e-12)
        raa = self.damping * mean
        box = state.box(share.lower, share.upper, share.span, stage.move)
        while (ending := stage.exhausted()) is None:
            ends = (state.low, state.upp)
            model = Separable.of(share, state.last, ends, box, rows, slopes, raa, self.affine)
            x = model.solve(self.elastic).x
            trial = share.put(np.clip(x, share.lower, share.upper), stage.x)
            stage.rejected += 1
            reached = self._rows(stage.evaluator.at(trial))
            foreseen = model.values(x)
            if self._good(reached, foreseen, merit):
                self.state = state.follow(share.take(trial), share.span, self.width)
                self.damping = np.maximum(KEPT * raa / mean, DAMPING)
                ending = stage.accept(trial, self._memory())
                break
            bend = max(model.curvature(x, state.last), 1e-30)
            more = np.maximum(reached - foreseen, 0) / bend
            raa = np.where(more > 0, np.minimum(1.1 * (raa + more), 100 * raa), raa)
        return ending

    def _rows(self, values: Array) -> Array:
        """The rows (1 + m,) at the lowest slack, in the unit of the subproblem."""
        return self.unit * (self.program.rows(values) + self.program.slack * self.low)

    def _good(self, reached: Array, foreseen: Array, merit: float) -> bool:
        """Whether a trial keeps what the approximations promise, or better than the last point."""
        hard, least = self.program.hard, FEASIBLE * self.unit
        noise = 1e-3 * least
        promised = max(float(np.max(foreseen[hard:], initial=0.0)), 0.5 * least)
        held = float(np.max(reached[hard:], initial=0.0)) <= promised + noise
        gain = merit - self.program.merit_of(foreseen / self.unit - self.program.slack * self.low)
        enough = merit - SUFFICIENT * max(gain, 0.0)
        better = self.program.merit(self.stage.evaluator.values) <= enough
        return held and (better or bool(np.all(reached[:hard] <= foreseen[:hard] + noise)))


def _slacks(program: Program, values: Array, unit: float) -> tuple[float, Elastic]:
    """The lowest slack of the goal, and the weights of z above it and of y."""
    m = len(program.offsets) - 1
    c, d = np.full(m, PENALTY), np.full(m, CURVATURE / unit)
    if not program.slack.any():
        return 0.0, Elastic(unit, np.zeros(m), c, d)
    low = min(program.tightest(values), 0.0) - 1
    return low, Elastic(unit * program.slack[0], -unit * program.slack[1:], c, d)
