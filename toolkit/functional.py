"""A functional J = f(∫ a dx, ∫ b ds, …): a smooth function of UFL integrals.

The outer function f is differentiated by the complex step, ∂f/∂Iᵢ = Im f(I + i h eᵢ) / h, exact to
round-off for analytic f (Squire & Trapp 1998, doi:10.1137/S003614459631241X). At its first
use the result is compared with a central difference, which unmasks functions that drop the
imaginary part in silence (eigvalsh, abs, max, norm).
"""

import hashlib
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, jit
from mpi4py import MPI

from toolkit.domain import completed
from toolkit.errors import EvaluationError, InputError, together
from toolkit.kernels import processor
from toolkit.state import State, check_shared_vectors, states_of, with_upstream

__all__ = ["Constraint", "Functional", "compiled", "everyone"]

Outer = Callable[[npt.NDArray[Any]], Any]


def compiled(form: ufl.Form) -> fem.Form:
    """A form compiled for this processor: its vector instructions take a quarter of the time.

    The cache tells forms by the compiler's arguments, of which the last one names the processor.
    """
    given = jit.get_options()["cffi_extra_compile_args"]
    name = hashlib.sha256(processor().encode()).hexdigest()[:16]
    arguments = [*given, "-O3", "-march=native", f"-DPROCESSOR_{name}"]
    return fem.form(form, jit_options={"cffi_extra_compile_args": arguments})


class Integral:
    """One UFL integral, compiled on first use.

    Attributes:
        comm: The ranks that evaluate it together.
        wide: Whether these are more than those of the mesh: the groups that a total is over.
    """

    comm: MPI.Comm
    wide: bool = False

    def __init__(self, form: ufl.Form) -> None:
        if not isinstance(form, ufl.Form):
            raise InputError(
                f"A functional takes integrals such as `f * dx`, not {type(form).__name__}."
            )
        if form.arguments():
            raise InputError("A functional's integral must not contain test or trial functions.")
        check_shared_vectors(form)
        self.form = completed(form)
        self.comm = form.ufl_domain().ufl_cargo().comm

    @cached_property
    def _compiled(self) -> fem.Form:
        return compiled(self.form)

    @property
    def states(self) -> list[State]:
        """The states that it mentions."""
        return states_of(self.form)

    def together(self) -> AbstractContextManager[None]:
        """A block after which all who evaluate a wide one agree on errors."""
        return nullcontext()

    def value(self) -> float:
        """Its value at the present data, summed over ranks; collective."""
        local = fem.assemble_scalar(self._compiled)
        return float(self._compiled.mesh.comm.allreduce(local))


class Functional:
    """A scalar or tensor that depends smoothly on integrals of states and design.

    `+ − * / **` with numbers and functionals, and `map`, make new ones; `<=` and `>=` a number make
    a `Constraint`.

    Attributes:
        integrals: The `Integral`s it depends on.
        unit: The unit of its value, for tables and pictures, or None.
        states: The states they mention, with all that those need, in solving order.
    """

    unit: str | None = None

    def __init__(
        self,
        *integrals: ufl.Form,
        of: Callable[..., Any] | None = None,
        name: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Make a functional of one or more integrals.

        Args:
            integrals: UFL forms without arguments.
            of: Analytic function of as many numbers, returning a number or an array; a single
                integral needs none, several give the array of their values.
            name: How files and messages call it; else the script's variable is found.
            unit: Unit of its value, shown beside the name in tables and pictures.
        """
        if not integrals:
            raise InputError("Functional() needs at least one integral.")
        self.integrals = tuple(Integral(form) for form in integrals)
        self._given_name = name
        self._derived_name = "J"
        self.unit = unit
        self._checked = of is None
        self._outer: Outer
        if of is not None:
            self._outer = lambda values: of(*values)
        else:
            self._outer = (lambda values: values[0]) if len(integrals) == 1 else np.asarray

    @classmethod
    def of_integrals(cls, integrals: tuple[Integral, ...], outer: Outer, *, name: str) -> Self:
        """A functional of integrals that exist already.

        Args:
            integrals: Those that it depends on.
            outer: Analytic function of the array of their values.
            name: What it is called where the script has no variable for it.
        """
        return cls._derived(integrals, outer, name, checked=False)

    @classmethod
    def _derived(
        cls, integrals: tuple[Integral, ...], outer: Outer, name: str, *, checked: bool
    ) -> Self:
        """A functional of existing integrals."""
        new = cls.__new__(cls)
        new.integrals, new._outer = integrals, outer
        new._given_name, new._derived_name, new._checked = None, name, checked
        return new

    @property
    def name(self) -> str:
        """The name given, else that of the script's variable, else what it was made from."""
        if self._given_name:
            return self._given_name
        script = vars(sys.modules["__main__"])
        own = (key for key, value in script.items() if value is self and not key.startswith("_"))
        return next(own, self._derived_name)

    @property
    def label(self) -> str:
        """Name and unit, for example "compliance [N mm]"."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    @cached_property
    def states(self) -> tuple[State, ...]:
        """All states it needs, each after those that it needs itself."""
        return tuple(with_upstream(state for i in self.integrals for state in i.states))

    @property
    def value(self) -> Any:
        """Its value at the present design: a float or an array; solves states; collective."""
        with self.together():
            for state in self.states:
                state.solve()
        return self._of([i.value() for i in self.integrals])

    @property
    def wide(self) -> bool:
        """Whether it has a total over groups."""
        return any(integral.wide for integral in self.integrals)

    @property
    def comm(self) -> MPI.Comm:
        """The ranks that evaluate it together: those of the mesh, or of all groups."""
        wide = (integral.comm for integral in self.integrals if integral.wide)
        return next(wide, self.integrals[0].comm)

    def together(self) -> AbstractContextManager[None]:
        """A block that each group runs for itself and that raises in all if it fails in one.

        So either all groups come to the next sum over them, or none does.
        """
        wide = (integral.together() for integral in self.integrals if integral.wide)
        return next(wide, nullcontext())

    def __float__(self) -> float:
        value = self.value
        if np.ndim(value):
            raise InputError(f"'{self.name}' has shape {np.shape(value)}; use .map to a number.")
        return float(value)

    def partials(self) -> npt.NDArray[np.float64]:
        """∂J/∂Iᵢ at the present values of the integrals, for a scalar J; collective."""
        values = np.array([i.value() for i in self.integrals])
        if not np.isfinite(values).all():
            raise EvaluationError(f"'{self.name}' has an integral that is not a number: {values}.")
        with together(self.comm):
            slopes = np.array([_complex_step(self._outer, values, k) for k in range(len(values))])
            if not self._checked:
                self._compare_with_difference(values, slopes)
                self._checked = True
        return slopes

    def map(self, function: Callable[[Any], Any], *, name: str | None = None) -> "Functional":
        """f(J) for an analytic f, for example `C.map(lambda C: 1 / np.linalg.inv(C)[2, 2])`."""
        outer = self._outer
        new = Functional._derived(
            self.integrals,
            lambda values: function(outer(values)),
            f"map({self._derived_name})",
            checked=False,
        )
        new._given_name = name
        return new

    def _of(self, values: list[float]) -> Any:
        with together(self.comm):
            value = self._outer(np.array(values))
            return value if np.ndim(value) else float(value)

    def _compare_with_difference(self, values: Any, slopes: Any) -> None:
        """Refuse an outer function whose complex step disagrees with a central difference."""
        for k, slope in enumerate(slopes):
            h = 1e-5 * (abs(values[k]) or 1.0)
            ends = []
            for sign in (1.0, -1.0):
                moved = values.copy()
                moved[k] += sign * h
                ends.append(float(np.real(self._outer(moved))))
            difference = (ends[0] - ends[1]) / (2 * h)
            noise = 1e-8 * max(map(abs, ends)) / h
            if not abs(slope - difference) <= 1e-3 * max(abs(slope), abs(difference)) + noise:
                raise InputError(
                    f"The function that maps integrals to '{self.name}' is not analytic: its "
                    f"complex step gives {slope:.6g}, a difference {difference:.6g}. Functions "
                    "such as eigvalsh, abs, max, norm and conj drop the imaginary part; for a "
                    "smooth smallest eigenvalue use (trace(k^-p)/d)^(-1/p)."
                )

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any], sign: str) -> "Functional":
        if isinstance(other, Functional):
            return self._join(other, operation, sign)
        if not isinstance(other, int | float | np.number):
            return NotImplemented
        outer = self._outer
        return Functional._derived(
            self.integrals,
            lambda values: operation(outer(values), other),
            f"{self.name} {sign} {other:g}",
            checked=self._checked,
        )

    def _join(
        self, other: "Functional", operation: Callable[[Any, Any], Any], sign: str
    ) -> "Functional":
        integrals = tuple(dict.fromkeys(self.integrals + other.integrals))
        mine = [integrals.index(i) for i in self.integrals]
        theirs = [integrals.index(i) for i in other.integrals]
        left, right = self._outer, other._outer
        return Functional._derived(
            integrals,
            lambda values: operation(left(values[mine]), right(values[theirs])),
            f"{self.name} {sign} {other.name}",
            checked=self._checked and other._checked,
        )

    def __add__(self, other: Any) -> "Functional":
        return self._combine(other, lambda a, b: a + b, "+")

    def __radd__(self, other: Any) -> "Functional":
        return self._combine(other, lambda a, b: b + a, "+")

    def __sub__(self, other: Any) -> "Functional":
        return self._combine(other, lambda a, b: a - b, "−")

    def __rsub__(self, other: Any) -> "Functional":
        return -self + other

    def __mul__(self, other: Any) -> "Functional":
        return self._combine(other, lambda a, b: a * b, "·")

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Functional":
        if isinstance(other, int | float | np.number):
            new = self._combine(other, lambda a, b: a / b, "/")
            new._derived_name = self._derived_name
            return new
        return self._combine(other, lambda a, b: a / b, "/")

    def __rtruediv__(self, other: Any) -> "Functional":
        return self._combine(other, lambda a, b: b / a, "⁻¹ ·")

    def __pow__(self, power: float) -> "Functional":
        return self._combine(power, lambda a, b: a**b, "^")

    def __neg__(self) -> "Functional":
        outer = self._outer
        new = Functional._derived(
            self.integrals,
            lambda values: -outer(values),
            f"-{self.name}",
            checked=self._checked,
        )
        new.unit = self.unit
        return new

    def __le__(self, bound: float) -> "Constraint":
        return Constraint(self, bound, 1)

    def __ge__(self, bound: float) -> "Constraint":
        return Constraint(self, bound, -1)


class Constraint:
    """J ≤ bound (sense 1) or J ≥ bound (sense −1)."""

    def __init__(self, functional: Functional, bound: float, sense: int) -> None:
        if not isinstance(bound, int | float | np.number) or not np.isfinite(bound):
            raise InputError(f"A bound on '{functional.name}' must be a number, not {bound!r}.")
        self.functional, self.bound, self.sense = functional, float(bound), sense

    @property
    def name(self) -> str:
        """For example "volume <= 0.45"."""
        return f"{self.functional.name} {'<=' if self.sense > 0 else '>='} {self.bound:g}"

    def __bool__(self) -> bool:
        raise InputError(
            f"The constraint '{self.name}' has no truth value. Write 0.3 <= J <= 0.4 as two "
            "constraints: [J >= 0.3, J <= 0.4]."
        )


def everyone(functionals: Iterable[Functional], comm: MPI.Comm) -> MPI.Comm:
    """The ranks that evaluate some functionals of a mesh on comm: all groups' if one is wide."""
    return next((functional.comm for functional in functionals if functional.wide), comm)


def _complex_step(outer: Outer, values: npt.NDArray[np.float64], k: int) -> float:
    h = 1e-30 * (abs(values[k]) or 1.0)
    stepped = values.astype(complex)
    stepped[k] += 1j * h
    return float(np.imag(outer(stepped)) / h)
