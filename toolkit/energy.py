"""Mutual energies of load cases: Gᵢⱼ = Lᵢ(uⱼ) + Lⱼ(uᵢ) − a(uᵢ, uⱼ), where a(uᵢ, v) = Lᵢ(v).

At the solutions Gᵢⱼ = Lᵢ(uⱼ), and G is stationary in every u, since a is symmetric. So its error is
quadratic in the solver's, and dG/dρ = ∂G/∂ρ: no adjoint is solved (the envelope theorem). The loads
L(f; v) are linear in f, so with W = Σ sₘ qₘ qₘᵀ a weighted sum is one of diagonal terms,

    Σ Wᵢⱼ Gᵢⱼ = Σ sₘ (2 L(fₘ; uₘ) − a(uₘ, uₘ))      uₘ = Σ qₘᵢ uᵢ,   fₘ = Σ qₘᵢ fᵢ,

and that is what is differentiated and assembled. Everything is distributed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from toolkit.domain import completed
from toolkit.functional import Functional, Integral
from toolkit.solver import Operator
from toolkit.state import State

__all__ = ["Energies", "Energy"]

Array = npt.NDArray[np.float64]


class Energies:
    """The energies of n load cases, as integrals that functionals are made of.

    Attributes:
        states: The solutions uᵢ.
        operator: The matrix of a, that all cases share.
        form: Σ Wᵢⱼ Gᵢⱼ with the weights last given, as UFL of functions that stand for the states:
            its derivative by anything but the states is that of the weighted sum.
    """

    def __init__(
        self,
        space: fem.FunctionSpace,
        bilinear: Callable[[Any, Any], ufl.Form],
        load: Callable[[Any, Any], ufl.Form],
        loads: Sequence[Array],
        *,
        name: str,
        conditions: Sequence[fem.DirichletBC] = (),
        operator: Callable[[ufl.Form], Operator],
    ) -> None:
        """State the n cases.

        Args:
            space: Where the uᵢ live.
            bilinear: a(u, v), symmetric.
            load: L(f; v), linear in f and in v.
            loads: The fᵢ, arrays of one shape.
            name: Options prefix of the solver; the states are called name_1, name_2, ….
            conditions: Dirichlet conditions, all zero.
            operator: Makes the solver of the bilinear form.
        """
        mesh = space.mesh
        self._comm = mesh.comm
        self._loads = np.array(loads, dtype=float)
        n = len(loads)
        self.states: list[State] = []
        for number, f in enumerate(self._loads, start=1):
            force = fem.Constant(mesh, f)

            def residual(u: Any, v: Any, force: fem.Constant = force) -> ufl.Form:
                return bilinear(u, v) - load(force, v)

            self.states.append(
                State(
                    space,
                    residual,
                    name=f"{name}_{number}",
                    conditions=conditions,
                    operator=self.states[0].operator if self.states else operator,
                )
            )
        for state in self.states:
            state.together = self.states
        self.operator = self.states[0].operator
        self._strengths = [fem.Constant(mesh, 0.0) for _ in range(n)]
        self._forces = [fem.Constant(mesh, np.zeros_like(self._loads[0])) for _ in range(n)]
        self._fields = [fem.Function(space) for _ in range(n)]
        parts = [
            s * (2 * load(f, u) - bilinear(u, u))
            for s, f, u in zip(self._strengths, self._forces, self._fields, strict=True)
        ]
        self.form = completed(sum(parts[1:], parts[0]))
        self.pairs = [(i, j) for i in range(n) for j in range(i, n)]
        self._solved: list[int] = []
        self._matrix = np.zeros((n, n))

    def functional(self, *others: ufl.Form, of: Callable[..., Any], name: str) -> Functional:
        """A functional of the matrix G and of further integrals.

        Args:
            others: UFL integrals.
            of: Analytic function of G, (n, n), and of the integrals' values.
            name: How files and messages call it.
        """
        integrals = tuple(Energy(self, *pair) for pair in self.pairs)
        n = len(self.states)
        number = np.zeros((n, n), dtype=int)
        for k, (i, j) in enumerate(self.pairs):
            number[i, j] = number[j, i] = k
        count = len(self.pairs)

        def outer(values: npt.NDArray[Any]) -> Any:
            return of(values[:count][number], *values[count:])

        further = tuple(Integral(form) for form in others)
        return Functional.of_integrals(integrals + further, outer, name=name)

    @property
    def matrix(self) -> Array:
        """G at the states' present values, (n, n); collective."""
        solved = [state.solves for state in self.states]
        if solved != self._solved:
            self._matrix, self._solved = self._evaluate(), solved
        return self._matrix

    def _evaluate(self) -> Array:
        states = self.states
        n = states[0].owned
        u = np.array([state.x.array[:n] for state in states])
        L = np.array([state.load for state in states])
        self.operator.update()
        a = np.array([self.operator.apply(each) for each in u])
        parts = self._comm.allreduce(np.array([L @ u.T, u @ a.T]))
        works, energies = parts
        return np.asarray(works + works.T - 0.5 * (energies + energies.T))

    def weigh(self, weights: Mapping[tuple[int, int], float]) -> None:
        """Set the weights of `form`, one for each pair, at the states' values; collective."""
        n = len(self.states)
        W = np.zeros((n, n))
        for (i, j), weight in weights.items():
            W[i, j] += weight / 2
            W[j, i] += weight / 2
        strengths, directions = self._comm.bcast(np.linalg.eigh(W))  # one sign on every rank
        for m, q in enumerate(directions.T):
            self._strengths[m].value = strengths[m]
            self._forces[m].value[...] = np.tensordot(q, self._loads, axes=1)
            x = self._fields[m].x.array
            x[:] = 0.0
            if strengths[m] != 0.0:
                for qi, state in zip(q, self.states, strict=True):
                    x += qi * state.x.array


class Energy(Integral):
    """Gᵢⱼ as an integral: its value comes from the group, its derivative from the group's form."""

    def __init__(self, group: Energies, i: int, j: int) -> None:
        self.group, self.pair = group, (i, j)
        self.comm = group._comm

    @property
    def states(self) -> list[State]:
        """The states of all cases: they are solved together."""
        return self.group.states

    def value(self) -> float:
        """Gᵢⱼ at the states' present values; collective."""
        return float(self.group.matrix[self.pair])
