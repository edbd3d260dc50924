"""Memory: what an optimizer knows after an accepted point beside the point itself.

With it the iterations that follow are those of the run that was interrupted, on any number of
ranks. `checkpoint.write_memory` and `read_memory` bring it to a file and back.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from toolkit.slices import Slices

__all__ = ["Memory"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """Slices of vectors, and numbers that are the same on every rank.

    Attributes:
        slices: who holds which variable.
        vectors: name → (own,) this rank's variables; "design" is the accepted point.
        numbers: name → array of any shape.
    """

    slices: Slices
    vectors: dict[str, Array]
    numbers: dict[str, Array]

    def beside(self, **numbers: object) -> Self:
        """The same with more numbers."""
        more = {name: np.array(value, dtype=float) for name, value in numbers.items()}
        return replace(self, numbers=self.numbers | more)

    def integer(self, name: str) -> int:
        """A number that counts something."""
        return int(self.numbers[name])
