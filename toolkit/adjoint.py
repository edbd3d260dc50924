"""Reduced functionals x ↦ J(x), ∇J(x) by exact discrete adjoints, and the Taylor test.

With the Lagrangian L = J(u, ρ) + Σₛ Fₛ(uₛ, λₛ; ρ), each adjoint λₛ solves ∂L/∂uₛ = 0, in the
reverse of the states' order, and dJ/dρ = ∂L/∂ρ. All derivatives are UFL's. One solve per state and
functional, and none where the adjoint lies in the span of the state's own fields (a compliance, a
dissipation): that span is where every adjoint solve starts, and where its residual is small
enough already it is not solved. Forms are compiled and vectors made once.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from ufl.algorithms import expand_derivatives

from toolkit.density import Density
from toolkit.energy import Energies, Energy
from toolkit.errors import EvaluationError, InputError
from toolkit.functional import Functional, compiled
from toolkit.solver import Fingerprint
from toolkit.state import State
from toolkit.total import Total

__all__ = ["Reduced", "TaylorTest", "taylor_table", "taylor_test"]

Vector = npt.NDArray[np.float64]


class Reduced:
    """A functional as a function of the design vector.

    Attributes:
        functional: J.
        over: The design.
        adjoint_solves: Number of linear systems solved for adjoints so far.
    """

    def __init__(self, functional: Functional, *, over: Density) -> None:
        """Derive and compile the adjoint equations of J.

        Raises:
            InputError: Two states of one name.
        """
        self.functional, self.over = functional, over
        self.adjoint_solves = 0
        states = functional.states
        names = [state.name for state in states]
        if len(set(names)) < len(names):
            raise InputError(
                f"'{functional.name}' needs states of one name: {', '.join(names)}. Give each its "
                "own `name`, which is its options prefix."
            )
        mesh = over.domain.mesh
        self._weights = [fem.Constant(mesh, 1.0) for _ in functional.integrals]
        self._groups: dict[Energies, dict[int, tuple[int, int]]] = {}
        self._totals: dict[int, tuple[Total, Reduced]] = {}
        lagrangian = ufl.Form([])
        for k, integral in enumerate(functional.integrals):
            if isinstance(integral, Energy):
                self._groups.setdefault(integral.group, {})[k] = integral.pair
            elif isinstance(integral, Total):
                integral.groups.check_domain(over.domain)
                self._totals[k] = integral, Reduced(integral.own, over=over)
            else:
                lagrangian = lagrangian + self._weights[k] * integral.form
        for group in self._groups:
            lagrangian = lagrangian + group.form
        self._adjoints: list[_Adjoint] = []
        for state in reversed(states):
            if state not in lagrangian.coefficients():
                continue  # nothing depends on it but what is stationary in it
            adjoint = _Adjoint(state, lagrangian)
            lagrangian = lagrangian + ufl.replace(state.residual, {state.test: adjoint.function})
            self._adjoints.append(adjoint)
        self._duals = {
            stage: _Dual(lagrangian, field)
            for stage, field in (
                ("physical", over.physical),
                ("filtered", over.filtered),
                ("value", over.value),
            )
            if field in lagrangian.coefficients()
        }
        forms = [dual.form for dual in self._duals.values()]
        self._affine = not self._adjoints and not any(form.coefficients() for form in forms)
        self._fingerprint = Fingerprint(over.comm, *forms)
        self._slope: Vector = np.zeros(0)

    def value(self, x: Vector | None = None) -> float:
        """J at a design, the same on every rank; may be NaN; collective.

        Args:
            x: (variables,), mesh-file order, the same on every rank; else the present design.

        Raises:
            SolverError: A state was not solved.
        """
        if x is not None:
            with self.functional.together():
                self.over.update(x)
            self.over.update(x)
        return float(self.functional)

    def gradient(self, x: Vector) -> Vector:
        """∇J at a design, (variables,), the same on every rank; collective.

        Raises:
            SolverError: A state or an adjoint was not solved.
            EvaluationError: The gradient has entries that are not numbers.
        """
        with self.functional.together():
            self.over.update(x)
        return self.over.slices.gather(self.slope())

    def reset(self) -> None:
        """Let the next value and gradient depend on nothing that was solved before; collective."""
        for state in self.functional.states:
            state.reset()
        for adjoint in self._adjoints:
            adjoint.function.x.array[:] = 0.0
        self._fingerprint.forget()
        for _, reduced in self._totals.values():
            reduced.reset()

    def slope(self) -> Vector:
        """∇J at the present design by this rank's variables, (own,); collective.

        Of a functional that is affine in the filtered density, as a volume is, it is kept.

        Raises:
            SolverError: A state or an adjoint was not solved.
            EvaluationError: The gradient has entries that are not numbers.
        """
        with self.functional.together():
            for state in self.functional.states:
                state.solve()
        slopes = self.functional.partials()
        with self.functional.together():
            own = self._in_group(slopes)
        for k, (total, reduced) in self._totals.items():
            with self.functional.together():
                before = reduced.adjoint_solves
                whole = self.over.slices.gather(reduced.slope())
                self.adjoint_solves += reduced.adjoint_solves - before
            own += slopes[k] * self.over.slices.take(total.groups.add(whole))
        return own

    def _in_group(self, slopes: Vector) -> Vector:
        """∇J (own,) by what the mesh's ranks hold, for the integrals' partials; collective."""
        if len(self._totals) == len(slopes):
            return np.zeros(len(self.over.owned))
        for weight, slope in zip(self._weights, slopes, strict=True):
            weight.value = slope
        for group, pairs in self._groups.items():
            group.weigh({pair: slopes[k] for k, pair in pairs.items()})
        if not (self._affine and self.over.beta == 0):
            return self._differentiated()
        if self._fingerprint.renew():
            self._slope = self._differentiated()
        return self._slope.copy()

    def _differentiated(self) -> Vector:
        """∇J (own,) for the present weights of the integrals; collective."""
        for adjoint in self._adjoints:
            self.adjoint_solves += adjoint.solve()
        duals = {stage: dual.assemble() for stage, dual in self._duals.items()}
        gradient = self.over.own_pullback(**duals)
        if self.over.comm.allreduce(not np.isfinite(gradient).all(), op=MPI.LOR):
            raise EvaluationError(
                f"The gradient of '{self.functional.name}' has entries that are not numbers: a law "
                "or an integrand is singular at this design."
            )
        return gradient


class _Adjoint:
    """The adjoint λ of one state: (∂F/∂u)ᵀ λ = −∂L/∂u, zero where the state is prescribed."""

    def __init__(self, state: State, lagrangian: ufl.Form) -> None:
        self.state = state
        space = state.function_space
        self.function = fem.Function(space, name=f"{state.name}_adjoint")
        self._form = compiled(ufl.derivative(lagrangian, state))
        self._right = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)
        self._comm = space.mesh.comm

    def solve(self) -> bool:
        """Compute λ; True if a linear system had to be solved; collective."""
        b, operator, n = self._right, self.state.operator, self.state.owned
        operator.update()  # another load case may have filled the matrix since
        b.array[:] = 0.0
        fem.assemble_vector(b.array, self._form)
        b.scatter_reverse(la.InsertMode.add)
        b.array[:] *= -1.0
        scale = self._norm(b.array[:n])
        if not np.isfinite(scale):
            raise EvaluationError(
                f"A functional's derivative by the state '{self.state.name}' is not a number: its "
                "integrand is singular there, as √(u·u) is at u = 0."
            )
        b.array[operator.fixed] = 0.0
        enough = 10 * operator.solver.rtol * scale
        λ = self.function.x
        if operator.symmetric:
            λ.array[:n], left = self._in_span_of_state(b.array[:n])
            if left <= enough:
                λ.scatter_forward()
                return False
        operator.solve(b, λ, transposed=True)
        return True

    def _in_span_of_state(self, b: Vector) -> tuple[Vector, float]:
        """The λ = Σ cᵢ (field i of the state) with the least residual, and that residual's norm."""
        operator, n = self.state.operator, self.state.owned
        fields = []
        for dofs in self.state.blocks:
            field = np.zeros(n)
            field[dofs] = self.state.x.array[dofs]
            fields.append(field)
        images = [operator.apply(field) for field in fields]
        gram = self._comm.allreduce(np.array([[p @ q for q in images] for p in images]))
        right = self._comm.allreduce(np.array([p @ b for p in images]))
        scales = np.sqrt(np.diag(gram))
        scales[scales == 0.0] = 1.0
        c = (
            np.linalg.lstsq(gram / np.outer(scales, scales), right / scales, rcond=1e-14)[0]
            / scales
        )
        λ = sum((ci * field for ci, field in zip(c, fields, strict=True)), np.zeros(n))
        left = b - sum((ci * image for ci, image in zip(c, images, strict=True)), np.zeros(n))
        return λ, self._norm(left)

    def _norm(self, owned: Vector) -> float:
        return float(np.sqrt(self._comm.allreduce(float(owned @ owned))))


class _Dual:
    """∂L/∂ρ for one cell-wise field ρ, assembled into one vector."""

    def __init__(self, lagrangian: ufl.Form, field: fem.Function) -> None:
        test = ufl.TestFunction(field.function_space)
        self.form = expand_derivatives(ufl.derivative(lagrangian, field, test))
        self._compiled = compiled(self.form)
        space = field.function_space
        self._vector = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)

    def assemble(self) -> la.Vector:
        self._vector.array[:] = 0.0
        fem.assemble_vector(self._vector.array, self._compiled)
        self._vector.scatter_reverse(la.InsertMode.add)
        return self._vector


class TaylorTest(NamedTuple):
    """Remainders R(h) = max |J(x ± h d) − J(x) ∓ h ∇J·d| over halved steps.

    Of a wrong slope a ≠ 0 and a curvature b, one side alone sees |a h ± b h²|, whose order may
    exceed 2; the larger side is |a| h + |b| h², whose order is below 2 for every a. The steps end
    near the noise, where the first term is most visible.

    Attributes:
        name: The functional.
        value: J(x).
        slope: ∇J·d.
        steps: h, (5,).
        remainders: R(h), (5,).
        orders: log₂ R(h)/R(h/2) where both are above the noise.
        linear: Whether R is at the noise for a large step: J is linear in x.
    """

    name: str
    value: float
    slope: float
    steps: Vector
    remainders: Vector
    orders: Vector
    linear: bool

    @property
    def order(self) -> float:
        """The least of the orders above the noise; infinite if linear, NaN if nothing is seen."""
        if self.linear:
            return float("inf") if abs(self.slope) >= 1e-6 * abs(self.value) else float("nan")
        return float(self.orders.min()) if len(self.orders) else float("nan")

    @property
    def passed(self) -> bool:
        """Second order or linear, and a slope that is not negligible."""
        return self.order >= 1.95 and abs(self.slope) >= 1e-6 * abs(self.value)


def taylor_test(J: Functional, *, over: Density, seed: int = 0) -> float:
    """Order of the Taylor remainder of J at a random design: 2 for an exact gradient, ∞ if linear.

    Args:
        J: Scalar functional.
        over: Design.
        seed: Of the random design in [0.2, 0.8] (within the bounds) and the random direction.

    Returns:
        The least observed order over four halvings; infinite for a linear functional, NaN for one
        that does not change.
    """
    return taylor_table(J, over=over, seed=seed).order


def taylor_table(
    J: Functional, *, over: Density, seed: int = 0, gradient_error: float = 0.0
) -> TaylorTest:
    """The Taylor test in full; states are solved as tightly as their solvers allow; collective.

    Args:
        J: Scalar functional.
        over: Design; left as it was.
        seed: Of the random design and direction.
        gradient_error: Relative error put into ∇J·d, to see that the test would notice.
    """
    before = over.vector
    random = np.random.default_rng(seed)
    low, high = np.maximum(over.lower, 0.2), np.minimum(over.upper, 0.8)
    low, high = np.where(low < high, low, over.lower), np.where(low < high, high, over.upper)
    d = random.uniform(-1, 1, over.size)
    x = low + (high - low) * random.uniform(0.1, 0.9, over.size)
    largest = 1e-3 * float((high - low).min())
    reduced = Reduced(J, over=over)
    solvers = {id(s.operator): s.operator.solver for s in J.states}.values()
    loose = [solver.rtol for solver in solvers]
    for solver in solvers:
        solver.rtol = 1e-12
    try:
        value = reduced.value(x)
        slope = float(reduced.gradient(x) @ d) * (1 + gradient_error)
        relative = 1e-11 if any(not solver.direct for solver in solvers) else 1e-13
        noise = (relative if J.states else 1e-15) * max(abs(value), abs(slope) * largest)
        close = [reduced.value(x + k * 1e-15 * d) for k in (1, 2, 3)]  # apart by round-off alone
        noise = max(noise, 0.1 * float(np.abs(np.array(close) - value).max()))

        def sides(h: float) -> Vector:
            ends = np.array([reduced.value(x + h * d), reduced.value(x - h * d)])
            return ends - value - np.array([h, -h]) * slope

        probe = sides(largest)
        linear = bool(np.abs(probe).max() <= 1e-10 * abs(value))
        steps = _first_step(probe, largest, noise) * 0.5 ** np.arange(5)
        remainders = np.array([np.abs(sides(h)).max() for h in steps])
    finally:
        for solver, rtol in zip(solvers, loose, strict=True):
            solver.rtol = rtol
        over.update(before)
    trusted = (remainders[:-1] > 100 * noise) & (remainders[1:] > 100 * noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = np.log2(remainders[:-1] / remainders[1:])[trusted]
    return TaylorTest(J.name, value, slope, np.asarray(steps), remainders, orders, linear)


def _first_step(probe: Vector, largest: float, noise: float) -> float:
    """The step whose sixteenth has a remainder of 300× the noise by curvature, if not larger."""
    curvature = abs(probe.sum()) / (2 * largest**2)
    least = 16 * np.sqrt(300 * noise)
    return float(least / np.sqrt(curvature)) if least < largest * np.sqrt(curvature) else largest
