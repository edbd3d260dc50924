"""Total: the sum over groups of a functional that each group states for itself.

    J = Σ_g J_g(x)      ∇J = Σ_g ∇J_g(x)

Design vectors are whole on every rank and in mesh-file order, so that gradients of groups, which
each hold the whole mesh, are added entry by entry. As an integral, a total takes part in further
functionals with its value and its exact derivative. What a group evaluates alone is agreed on by
all before the sum, so that an error in one group is raised in every one.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from toolkit.errors import together
from toolkit.functional import Functional, Integral
from toolkit.state import State

if TYPE_CHECKING:
    from toolkit.groups import Groups

__all__ = ["Total"]

Array = npt.NDArray[np.float64]


class Total(Integral):
    """Σ over groups of a scalar functional, as an integral that functionals are made of.

    Attributes:
        own: The functional of this rank's group.
        groups: Those that it is summed over.
    """

    wide = True

    def __init__(self, own: Functional, groups: "Groups") -> None:
        """Sum what each group states for itself."""
        self.own, self.groups, self.comm = own, groups, groups.world

    @property
    def states(self) -> list[State]:
        """The states that this group's functional needs."""
        return list(self.own.states)

    def together(self) -> AbstractContextManager[None]:
        """A block after which all groups agree on errors.

        Raises:
            InputError: The groups are at tasks of their own.
        """
        self.groups.check_idle(f"'{self.own.name}'")
        return together(self.comm)

    def value(self) -> float:
        """The sum at the present design; collective over all groups."""
        with self.together():
            value = np.array([float(self.own)])
        return float(self.groups.add(value)[0])
