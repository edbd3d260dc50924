"""A density and functionals of numpy alone, for tests of the optimiser's own mathematics."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from mpi4py import MPI

from toolkit.functional import Functional
from toolkit.slices import Slices


class FakeState:
    """A state that nothing solves."""

    upstream = ()
    operator = SimpleNamespace(solver=None)


class FakeDensity:
    """A design vector with bounds; filter, projection and mesh are absent."""

    def __init__(
        self,
        start: Any,
        lower: Any = 0.0,
        upper: Any = 1.0,
        *,
        passive: Any = (),
        comm: MPI.Comm = MPI.COMM_WORLD,
    ) -> None:
        self.comm = comm
        self.start = np.array(start, dtype=float)
        self.size = len(self.start)
        self.lower = np.broadcast_to(np.asarray(lower, dtype=float), (self.size,)).copy()
        self.upper = np.broadcast_to(np.asarray(upper, dtype=float), (self.size,)).copy()
        self.free = np.ones(self.size, dtype=bool)
        self.free[list(passive)] = False
        self.owned = np.arange(self.comm.rank, self.size, self.comm.size)
        self.slices = Slices(self.comm, self.owned)
        whole = (self.start, self.lower, self.upper, self.free)
        self.own, self.own_lower, self.own_upper, self.own_free = map(self.slices.take, whole)
        self.beta, self.radius, self.threshold = 1.0, None, 0.5
        self._x = self.start.copy()
        self.domain = SimpleNamespace(
            comm=comm, num_cells=self.size, fingerprint="fake", source="fake"
        )

    @property
    def vector(self) -> np.ndarray:
        return self._x

    def update(self, x: np.ndarray) -> None:
        assert x.shape == (self.size,)
        self._x, self.own = x.copy(), self.slices.take(x)

    def assign(self, own: np.ndarray) -> None:
        self.update(self.slices.gather(own))

    def sharpen(self, beta: float) -> None:
        self.beta = beta

    def greyness(self) -> float:
        ρ = self._x[self.free]
        return float(4 * np.mean(ρ * (1 - ρ)))


class FakeFunctional(Functional):
    """A functional given by numpy functions of the design vector and of the steepness."""

    wide = False
    integrals = ()

    def __init__(
        self,
        over: FakeDensity,
        function: Callable[[np.ndarray], float],
        gradient: Callable[[np.ndarray], Any],
        *,
        name: str,
        states: Sequence[Any] = (),
    ) -> None:
        self.over, self.function, self.slope = over, function, gradient
        self._given_name, self.states = name, tuple(states)
        self.calls = 0

    @property
    def value(self) -> float:
        return float(self.function(self.over.vector))

    def __neg__(self) -> "FakeFunctional":
        return FakeFunctional(
            self.over,
            lambda x: -self.function(x),
            lambda x: -np.asarray(self.slope(x)),
            name=f"-{self.name}",
            states=self.states,
        )


class FakeReduced:
    """The value and gradient of a fake functional, with the interface of `Reduced`."""

    def __init__(self, functional: FakeFunctional, *, over: FakeDensity) -> None:
        self.functional, self.over, self.adjoint_solves = functional, over, 0

    def reset(self) -> None:
        pass

    def value(self, x: np.ndarray | None = None) -> float:
        self.functional.calls += 1
        if x is not None:
            self.over.update(x)
        return self.functional.value

    def slope(self) -> np.ndarray:
        return self.over.slices.take(self.gradient(self.over.vector))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        self.over.update(x)
        return np.broadcast_to(np.asarray(self.functional.slope(x), dtype=float), x.shape).copy()


def linear(over: FakeDensity, weights: Any, name: str) -> FakeFunctional:
    """w·x."""
    w = np.broadcast_to(np.asarray(weights, dtype=float), (over.size,))
    return FakeFunctional(over, lambda x: w @ x, lambda x: w, name=name)


def distance(
    over: FakeDensity, target: Any, name: str, states: Sequence[Any] = ()
) -> FakeFunctional:
    """|x − a|²."""
    a = np.asarray(target, dtype=float)
    return FakeFunctional(
        over, lambda x: np.sum((x - a) ** 2), lambda x: 2 * (x - a), name=name, states=states
    )
