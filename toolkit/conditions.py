"""Values on named parts of the boundary: what a user may write, as UFL or Dirichlet conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from toolkit.domain import Domain
from toolkit.errors import InputError
from toolkit.state import State

__all__ = ["check_degree", "positive_value", "prescribed", "scalar_value", "vector_value"]


def vector_value(domain: Domain, value: Any, what: str, *, fill: bool = False) -> Expr:
    """A vector of the domain's dimension as UFL, or an error that names `what`."""
    d = domain.dimension
    if fill and np.ndim(value) == 0 and not isinstance(value, Expr):
        value = (value,) * d
    if isinstance(value, Expr):
        shape = value.ufl_shape
    else:
        value = np.asarray(value, dtype=object)
        shape = value.shape
    if shape != (d,):
        raise InputError(
            f"The {what} has shape {shape}, but '{domain.source}' is {d}-dimensional: give {d} "
            "components."
        )
    if isinstance(value, Expr):
        return value
    if all(isinstance(v, int | float | np.number) for v in value):
        return _constant(domain, value.astype(float), what)
    return ufl.as_vector(list(value))


def scalar_value(domain: Domain, value: Any, what: str) -> Expr:
    """A scalar as UFL, or an error that names `what`."""
    if isinstance(value, Expr):
        if value.ufl_shape:
            raise InputError(f"The {what} must be a scalar, not of shape {value.ufl_shape}.")
        return value
    if not isinstance(value, int | float | np.number):
        raise InputError(f"The {what} must be a number or UFL, not {value!r}.")
    return _constant(domain, float(value), what)


def positive_value(domain: Domain, value: Any, what: str) -> Expr:
    """A scalar as UFL, positive if it is a number, or an error that names `what`."""
    if isinstance(value, int | float | np.number) and not value > 0:
        raise InputError(f"The {what} must be positive, not {value}.")
    return scalar_value(domain, value, what)


def check_degree(degree: int, what: str) -> None:
    """Refuse a polynomial degree that is no whole number from 1."""
    if not isinstance(degree, int) or degree < 1:
        raise InputError(f"{what}: degree = {degree!r} must be a whole number from 1.")


def prescribed(
    domain: Domain,
    space: fem.FunctionSpace,
    values: Sequence[str] | Mapping[str, Any],
    *,
    what: str,
) -> list[fem.DirichletBC]:
    """Dirichlet conditions from names (zero) or name → value; collective.

    Args:
        domain: Holds the names.
        space: Scalar or vector space, maybe a part of a mixed one, whose dofs are prescribed.
        values: Names of boundaries held at zero, or name → number, vector (None leaves a
            component free), UFL without states or design, or function of coordinates (3, n).
        what: What is prescribed, for messages.

    Where two named parts meet, the later one holds.
    """
    if isinstance(values, str):
        raise InputError(f"{what} takes a list of names: ['{values}'].")
    pairs = values.items() if isinstance(values, Mapping) else ((name, 0.0) for name in values)
    conditions: list[fem.DirichletBC] = []
    for name, value in pairs:
        dim = _dimension(domain, name)
        entities = domain.entities(dim, name)
        conditions += _condition(domain, space, dim, entities, value, f"{what} on '{name}'")
    return conditions


def _condition(
    domain: Domain, space: fem.FunctionSpace, dim: int, entities: Any, value: Any, what: str
) -> list[fem.DirichletBC]:
    """One condition, or one for each component that is prescribed."""
    vectors = space.value_shape
    partial = isinstance(value, tuple | list) and any(v is None for v in value)
    if partial:
        if len(value) != vectors[0]:
            raise InputError(f"The {what} needs {vectors[0]} components, not {len(value)}.")
        if all(v is None for v in value):
            raise InputError(f"The {what} leaves every component free.")
        return [
            _component(domain, space, i, dim, entities, v, what)
            for i, v in enumerate(value)
            if v is not None
        ]
    nested = space.component() != []
    collapsed = space.collapse()[0] if nested else space
    function = _interpolated(domain, collapsed, value, what)
    if nested:
        dofs = fem.locate_dofs_topological((space, collapsed), dim, entities)
        return [fem.dirichletbc(function, dofs, space)]
    return [fem.dirichletbc(function, fem.locate_dofs_topological(space, dim, entities))]


def _component(
    domain: Domain,
    space: fem.FunctionSpace,
    i: int,
    dim: int,
    entities: Any,
    value: Any,
    what: str,
) -> fem.DirichletBC:
    part = space.sub(i)
    collapsed, _ = part.collapse()
    function = _interpolated(domain, collapsed, value, what)
    dofs = fem.locate_dofs_topological((part, collapsed), dim, entities)
    return fem.dirichletbc(function, dofs, part)


def _interpolated(domain: Domain, space: fem.FunctionSpace, value: Any, what: str) -> fem.Function:
    """A value as a function of the space."""
    function = fem.Function(space)
    if isinstance(value, Expr):
        _refuse_dependency(value, what)
        function.interpolate(fem.Expression(value, space.element.interpolation_points))
    elif callable(value):
        function.interpolate(value)
    else:
        shape = space.value_shape
        try:
            number = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            number = np.array(np.nan)
        if number.ndim == 0 and (number == 0 or not shape):
            number = np.full(shape, float(number))
        if number.shape != shape or not np.isfinite(number).all():
            raise InputError(
                f"The {what} is {value!r}; '{domain.source}' is {domain.dimension}-dimensional: "
                f"give {shape[0] if shape else 'one'} finite number(s), UFL or a function of x."
            )
        constant = fem.Constant(domain.mesh, number)
        points = space.element.interpolation_points
        function.interpolate(fem.Expression(constant, points))
    return function


def _refuse_dependency(value: Expr, what: str) -> None:
    """Dirichlet values are data: one that depends on a state or a field would lose its gradient."""
    for f in ufl.algorithms.extract_coefficients(value):
        kind = "state" if isinstance(f, State) else "function"
        if isinstance(f, fem.Function):
            raise InputError(
                f"The {what} depends on the {kind} '{f.name}'; prescribed values must be data. Use "
                "coordinates, or impose it weakly as a load."
            )


def _dimension(domain: Domain, name: str) -> int:
    """Dimension of the boundary part of that name: facets, else curves, else points."""
    for dim in range(domain.dimension - 1, -1, -1):
        if name in domain.names(dim):
            return dim
    return domain.dimension - 1


def _constant(domain: Domain, value: Any, what: str) -> fem.Constant:
    if not np.isfinite(value).all():
        raise InputError(f"The {what} is {value}, not a finite number.")
    return fem.Constant(domain.mesh, value)
