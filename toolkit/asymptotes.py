"""Asymptotes: what the method of moving asymptotes remembers from one iteration to the next."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["Asymptotes"]

Array = npt.NDArray[np.float64]

WIDTH = 0.5  # first distance of an asymptote from the variable, of the variable's range
CLOSER, FURTHER = 0.7, 1.2  # where a variable turns back, where it goes on
NEAREST, FURTHEST = 0.01, 10.0  # distance, of the range
INSIDE = 0.1  # share of the distance that a step keeps from an asymptote


@dataclass(frozen=True)
class Asymptotes:
    """Two designs and the asymptotes about the last; K. Svanberg's rules of 1987 and 2007.

    `dataclasses.asdict` gives what has to be saved, and the class takes it back.

    Attributes:
        low: (local,) lower asymptotes; `upp` likewise.
        last: (local,) the design that they are about.
        older: (local,) the one before.
        iteration: number of designs so far.
    """

    low: Array
    upp: Array
    last: Array
    older: Array
    iteration: int = 0

    @classmethod
    def about(cls, x: Array, span: Array, width: float = WIDTH) -> Self:
        """Asymptotes about a start (local,), at a distance relative to the ranges (local,)."""
        return cls(x - width * span, x + width * span, x, x, 1)

    def follow(self, x: Array, span: Array, width: float = WIDTH) -> Self:
        """Those about the next design (local,): closer where it turns back."""
        if self.iteration < 2:
            low, upp = x - width * span, x + width * span
        else:
            turn = (x - self.last) * (self.last - self.older)
            factor = np.where(turn > 0, FURTHER, np.where(turn < 0, CLOSER, 1.0))
            low = x - np.clip(factor * (self.last - self.low), NEAREST * span, FURTHEST * span)
            upp = x + np.clip(factor * (self.upp - self.last), NEAREST * span, FURTHEST * span)
        return type(self)(low, upp, x, self.last, self.iteration + 1)

    def box(self, lower: Array, upper: Array, span: Array, move: float) -> tuple[Array, Array]:
        """Bounds of the next step: inside the asymptotes, the bounds and the move limit."""
        x = self.last
        down = np.minimum((1 - INSIDE) * (x - self.low), move * span)
        up = np.minimum((1 - INSIDE) * (self.upp - x), move * span)
        return np.maximum(x - down, lower), np.minimum(x + up, upper)
