"""progress: one plain line for each outer iteration, printed by rank 0 (of each group).

`minimize` and `pareto` call every watcher with an `Iteration` on every rank, so a watcher may use
collective calls; this one only prints.
"""

from dataclasses import dataclass
from typing import NamedTuple

from toolkit.memory import Memory
from toolkit.slices import Whole

__all__ = ["Bounded", "Iteration", "progress"]


class Bounded(NamedTuple):
    """A constraint's functional at a design: its value beside its bound."""

    name: str
    value: float
    relation: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:#.4g} {self.relation} {self.bound:.4g}"


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """An accepted point of an optimisation.

    Attributes:
        label: which point of a front this is ("point 3/9"), or what `minimize` was told.
        index: outer iterations so far; 0 is the start.
        evaluations: designs evaluated so far, rejected trial points included.
        name: name of the objective.
        objective: value of the objective, in the user's units.
        constraints: the constraints' values and bounds, in the user's units.
        infeasibility: largest normalised violation, 0 where every constraint holds.
        change: largest change of a design variable since the last accepted point.
        greyness: 4 ∫ρ(1−ρ)/|Ω| of the physical density.
        beta: steepness of the projection.
        seconds: wall time of this iteration.
        rank: the rank this record is on, among those that optimise together.
        memory: what the optimizer needs to go on from here, of "mma-distributed"; else None.
        design: (size,) design vector in mesh-file order; where the optimizer works on slices it is
            gathered when first asked for, on every rank: then that is collective.
        gradients: (functionals, size) gradients of the objectives, then of the constraints;
            likewise.
    """

    label: str
    index: int
    evaluations: int
    name: str
    objective: float
    constraints: tuple[Bounded, ...]
    infeasibility: float
    change: float
    greyness: float
    beta: float
    seconds: float
    rank: int
    memory: Memory | None
    design: Whole = Whole()  # noqa: RUF009
    gradients: Whole = Whole()  # noqa: RUF009


def progress(iteration: Iteration) -> None:
    """Print an iteration as one line: its number, with the evaluations in brackets, and values."""
    if iteration.rank:
        return
    held = "feasible" if iteration.infeasibility == 0 else f"off by {iteration.infeasibility:.0e}"
    words = [
        iteration.label,
        f"{iteration.index:3d} ({iteration.evaluations:3d})",
        f"{iteration.name} {iteration.objective:.4e}",
        *map(str, iteration.constraints),
        held if iteration.constraints else "",
        f"change {iteration.change:.0e}",
        f"grey {iteration.greyness:.2f}",
        f"{iteration.seconds:.1f} s",
    ]
    print("  ".join(word for word in words if word), flush=True)
