"""Groups: the ranks in k parts that work side by side, on tasks or on the terms of a sum.

    groups = Groups(2)
    domain = Domain.read("meshes/beam.msh", comm=groups.comm)     each group holds the whole mesh

    results = groups.map(task, items)        item i is a task of group i mod k
    front = pareto(…, groups=groups)         k points of a front at a time
    J = groups.total(own)                    Σ over groups of a functional of the group's states

Rank r of n belongs to group ⌊r k/n⌋, so groups are of nearly equal size. Who does what follows from
its number alone: a solver begins at its last solution, hence an answer depends, to the solver's
tolerance, on what its group did before, and a run that deals to whoever is free could not be
repeated. Every rank gets every result. An error in one group is raised on all ranks.
"""

import pickle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.errors import InputError, agree, together
from toolkit.functional import Functional
from toolkit.total import Total

if TYPE_CHECKING:
    from toolkit.domain import Domain

__all__ = ["Groups"]

Array = npt.NDArray[np.float64]


class Groups:
    """The ranks of a communicator in groups.

    Attributes:
        number: How many groups there are.
        index: Which one this rank belongs to, from 0.
        comm: The ranks of this rank's group; to be given to what makes the mesh.
        world: All ranks.
    """

    def __init__(self, number: int, *, comm: MPI.Comm = MPI.COMM_WORLD) -> None:
        """Split the ranks; collective.

        Args:
            number: How many groups; 1 is no split, and all else works as well.
            comm: The ranks to be split.

        Raises:
            InputError: A number that is not whole, or less than one rank a group.
        """
        if not isinstance(number, int | np.integer) or not 1 <= number <= comm.size:
            ranks = "1 rank" if comm.size == 1 else f"{comm.size} ranks"
            raise InputError(
                f"Groups({number!r}) on {ranks}: there are from 1 group to as many as ranks. Start "
                "more ranks by mpirun -n, or make fewer groups."
            )
        self.number, self.world = int(number), comm
        self.index = comm.rank * self.number // comm.size
        self.comm = comm.Split(self.index, comm.rank)
        self._busy = False

    def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """task(item) for each item, the groups side by side; collective over all of them.

        Args:
            task: Called on every rank of a group, with the group's own mesh and design; what it
                returns on the group's first rank counts. It is sent to the others, so it holds
                numbers, arrays and results, no functions of a mesh.
            items: The same on every rank.

        Returns:
            The results in the order of the items, the same on every rank.

        Raises:
            Exception: What a task has raised, once the other groups are through with theirs.
        """
        items = list(items)
        self.check_idle("map")
        self._busy = True
        try:
            with together(self.world):
                own = [task(item) for item in items[self.index :: self.number]]
                packed = pickle.dumps(own)
        finally:
            self._busy = False
        heads = self.world.allgather(packed if self.comm.rank == 0 else None)
        parts = [pickle.loads(part) for part in heads if part is not None]
        return [parts[n % self.number][n // self.number] for n in range(len(items))]

    def first(self, task: Callable[[], Any]) -> Any:
        """What a task returns in the first group, which alone does it; collective over all.

        For files, which only one group shall write: `groups.first(lambda: write_result(…))`.

        Raises:
            Exception: What the task has raised.
        """
        with together(self.world):
            result = task() if self.index == 0 else None
        return self.world.bcast(result)

    def deal(self, items: Iterable[Any]) -> list[Any]:
        """Those of the items, for example load cases, that belong to this rank's group.

        Raises:
            InputError: Fewer items than groups.
        """
        items = list(items)
        if len(items) < self.number:
            raise InputError(
                f"{self.number} groups cannot share {len(items)} items: one would have none. Make "
                "fewer groups."
            )
        return items[self.index :: self.number]

    def total(self, own: Functional) -> Functional:
        """The sum over the groups of a scalar functional that each states for itself.

        It is a functional like others, to be minimised or bounded by all ranks together. What all
        groups state alike, such as a volume, needs no total.

        Args:
            own: The functional of this rank's group.

        Raises:
            InputError: A functional that has a total already.
        """
        if own.wide:
            raise InputError(f"'{own.name}' has a total over groups already.")
        return Functional.of_integrals((Total(own, self),), lambda values: values[0], name=own.name)

    def add(self, own: Array) -> Array:
        """The sum over the groups of an array that each group has; the same on every rank."""
        total = np.empty_like(own)
        self.world.Reduce(own if self.comm.rank == 0 else np.zeros_like(own), total)
        self.world.Bcast(total)
        return total

    def check_domain(self, domain: "Domain") -> None:
        """Refuse a mesh that does not lie whole on each group; collective over all.

        Raises:
            InputError: A mesh on other ranks, or groups with different meshes.
        """
        self.check_idle("A problem of all groups")
        error: InputError | None = None
        if MPI.Comm.Compare(domain.comm, self.comm) not in (MPI.IDENT, MPI.CONGRUENT):
            error = InputError(
                f"The mesh '{domain.source}' lies on {domain.comm.size} of the ranks, which are "
                f"not the {self.comm.size} of a group. Give the group's communicator to what makes "
                "the mesh: comm=groups.comm."
            )
        agree(self.world, error)
        if len(set(self.world.allgather(domain.fingerprint))) > 1:
            raise InputError("The groups have different meshes: every group must make the same.")

    def check_idle(self, what: str) -> None:
        """Refuse what needs all groups inside a task of one.

        Raises:
            InputError: A task of `map` runs.
        """
        if self._busy:
            raise InputError(
                f"{what} needs all groups and was asked for in a task of one. A total over groups, "
                "and map, cannot be used inside map or pareto(groups=…)."
            )
