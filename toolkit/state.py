"""A function that knows the equation it solves.

A `State` u is given by its residual F(u; v), affine in u, as UFL. It stands bare in other forms and
is found there by `form.coefficients()`: what a functional needs, and what another state needs
("one-way coupling by mention"), is read off the forms. A state is solved when it is asked for and
something that its residual mentions has changed since.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from ufl.algorithms.check_arities import ArityMismatch

from toolkit.domain import completed
from toolkit.errors import InputError
from toolkit.solver import Fingerprint, Operator, Recipe

__all__ = ["State", "states_of"]

Residual = Callable[[Any, Any], ufl.Form]


class State(fem.Function):
    """The solution u of F(u; v) = 0 for all v, with u given on part of the boundary.

    Attributes:
        name: Options prefix of its solver and its name in messages and files.
        residual: F(u; v), a form in this function and the test function `test`.
        test: The test function v.
        operator: Matrix ∂F/∂u and its solver; load cases share one.
        upstream: The other states that the residual mentions.
        together: The states of the same operator that are solved when this one is.
        solves: How often it has been solved.
    """

    _living: ClassVar["weakref.WeakSet[State]"] = weakref.WeakSet()

    def __init__(
        self,
        space: fem.FunctionSpace,
        residual: Residual,
        *,
        name: str,
        conditions: Sequence[fem.DirichletBC] = (),
        symmetric: bool = True,
        recipe: Recipe | None = None,
        near_null: Sequence[npt.NDArray[np.float64]] = (),
        preconditioner: object | None = None,
        operator: Operator | Callable[[ufl.Form], Operator] | None = None,
    ) -> None:
        """State an equation; nothing is solved yet.

        Args:
            space: Where u lives.
            residual: Function of (u, v) whose body is the equation, F(u; v) = 0; affine in u.
            name: Options prefix, for example "displacement".
            conditions: Dirichlet conditions on `space`.
            symmetric: Whether ∂F/∂u is symmetric.
            recipe: How to solve; a factorisation unless given.
            near_null: Modes for multigrid.
            preconditioner: Context of a python preconditioner, if the recipe asks for one.
            operator: Another state's operator, for a further load case, or a function that makes
                one of the bilinear form ∂F/∂u.

        Raises:
            InputError: The residual is not affine in u, or has no term with u.
        """
        super().__init__(space, name=name)
        self.test = ufl.TestFunction(space)
        self.residual = completed(residual(self, self.test))
        check_shared_vectors(self.residual)
        bilinear, linear = _split(self.residual, self, name)
        self.conditions = list(conditions)
        if callable(operator):
            operator = operator(bilinear)
        if operator is not None and _identity(bilinear) != _identity(operator.form):
            raise InputError(
                f"The state '{name}' was given the operator of another equation. States can share "
                "one if they differ in their loads alone."
            )
        self.operator = operator or Operator(
            bilinear,
            self.conditions,
            name=name,
            recipe=recipe or Recipe.direct(definite=False),
            symmetric=symmetric,
            near_null=near_null,
            preconditioner=preconditioner,
        )
        self.upstream = tuple(s for s in states_of(self.residual) if s is not self)
        self.together: list[State] = [self]
        self.solves = 0
        self._load = fem.form(linear)
        self._add_load = self.operator.load(linear)
        self._right = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)
        self._fingerprint = Fingerprint(
            space.mesh.comm, bilinear, linear, conditions=self.conditions
        )
        self._bilinear = self.operator.compiled
        State._living.add(self)

    def solve(self) -> None:
        """Make u the solution for the present data; free if nothing has changed; collective.

        Raises:
            SolverError: The linear solver failed; names this state.
        """
        stale = [state for state in self.together if state._is_stale()]
        if not stale:
            return
        try:
            self.operator.update()
            self.operator.solve_all(
                [state._assemble_load() for state in stale], [state.x for state in stale]
            )
        except Exception:
            for state in stale:
                state.forget()
            raise
        for state in stale:
            state.solves += 1

    def reset(self) -> None:
        """Solve from zero the next time, with a preconditioner made for it; collective."""
        self.x.array[:] = 0.0
        self.forget()
        self.operator.reset()

    def forget(self) -> None:
        """Solve again when next asked, whatever has changed."""
        self._fingerprint.forget()

    def _is_stale(self) -> bool:
        """Whether what the residual mentions has changed; solves upstream states; collective."""
        for state in self.upstream:
            state.solve()
        return self._fingerprint.renew()

    @cached_property
    def blocks(self) -> list[npt.NDArray[np.int32]]:
        """Owned dofs without Dirichlet value of each field that u consists of; collective."""
        space = self.function_space
        free = np.ones(self.owned, dtype=bool)
        free[self.operator.fixed] = False
        if isinstance(space.ufl_element(), basix.ufl._MixedElement):
            parts = [space.sub(i).collapse()[1] for i in range(space.num_sub_spaces)]
        else:
            parts = [np.arange(self.owned)]
        fields = [np.unique(part)[np.unique(part) < self.owned] for part in parts]
        return [dofs[free[dofs]].astype(np.int32) for dofs in fields]

    @property
    def owned(self) -> int:
        """Number of dofs that this rank owns."""
        dofmap = self.function_space.dofmap
        return int(dofmap.index_map.size_local * dofmap.index_map_bs)

    @property
    def load(self) -> npt.NDArray[np.float64]:
        """Owned entries of the right-hand side of the last solve."""
        return self._right.array[: self.owned]

    def split(self) -> tuple[Any, ...]:
        """UFL parts of a mixed state, which keep the dependency (a sub-Function would lose it)."""
        return tuple(ufl.split(self))

    def sub(self, i: int) -> Any:
        """UFL part i of a mixed state, which keeps the dependency."""
        return self.split()[i]

    def _assemble_load(self) -> la.Vector:
        """Right-hand side with the Dirichlet values lifted."""
        b = self._right
        b.array[:] = 0.0
        if self._add_load is not None:
            self._add_load(b.array)
        else:
            fem.assemble_vector(b.array, self._load)
        if any(np.any(values) for values in map(_prescribed, self.conditions)):
            fem.apply_lifting(b.array, [self._bilinear], [self.conditions])
        b.scatter_reverse(la.InsertMode.add)
        for condition in self.conditions:
            condition.set(b.array)
        return b


def states_of(*forms: ufl.Form) -> list[State]:
    """The states that stand in some forms, each once."""
    return list({c: None for form in forms for c in form.coefficients() if isinstance(c, State)})


def with_upstream(states: Iterable[State]) -> list[State]:
    """States and all that they need, each after what it needs."""
    ordered: dict[State, None] = {}
    for state in states:
        for needed in with_upstream(state.upstream):
            ordered[needed] = None
        ordered[state] = None
    return list(ordered)


def check_shared_vectors(form: ufl.Form) -> None:
    """Refuse a Function that shares a State's vector: its dependency would be lost in silence."""
    for f in form.coefficients():
        if isinstance(f, State) or not isinstance(f, fem.Function):
            continue
        for state in State._living:
            if len(f.x.array) and np.shares_memory(f.x.array, state.x.array):
                raise InputError(
                    f"The function '{f.name}' shares the vector of the state '{state.name}', so "
                    "its dependency on the design would be lost. Use the state itself, or the "
                    "parts that `state.split()` returns."
                )


def _prescribed(condition: fem.DirichletBC) -> npt.NDArray[np.float64]:
    """The values that a Dirichlet condition prescribes, and maybe others."""
    g = condition.g
    return np.asarray(g.value if hasattr(g, "value") else g.x.array)


def _identity(form: ufl.Form) -> tuple[str, set[Any], set[Any]]:
    """What two forms must have in common to be one."""
    return form.signature(), set(form.coefficients()), set(form.constants())


def _split(residual: ufl.Form, u: State, name: str) -> tuple[ufl.Form, ufl.Form]:
    """Bilinear and linear part of an affine residual: F(u; v) = a(u, v) − L(v)."""
    try:
        bilinear, linear = ufl.system(
            ufl.replace(residual, {u: ufl.TrialFunction(u.function_space)})
        )
    except (ValueError, RuntimeError, ArityMismatch):
        bilinear = ufl.Form([])
    if len(bilinear.arguments()) != 2:
        raise InputError(f"The residual of the state '{name}' must be affine in it and contain it.")
    if linear.empty():
        zero = fem.Constant(u.function_space.mesh, np.zeros(u.test.ufl_shape))
        linear = ufl.inner(zero, u.test) * ufl.dx
    return bilinear, linear
