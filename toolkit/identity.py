"""What a minimisation is: text and numbers by which a later run is known to be of the same problem.

Forms count by UFL's signature, in which names of variables and numbers of ranks play no part. The
numbers in them, constants and the start are compared to 1e-6, since areas and means are summed in
another order on other ranks. What no form shows, such as a function of Python between integrals
or the values of a coefficient, is seen when an evaluation is repeated (`journal`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import ufl
from ufl.constantvalue import FloatValue
from ufl.corealg.traversal import unique_post_traversal

from toolkit.density import Density
from toolkit.energy import Energy
from toolkit.functional import Constraint, Functional, Integral
from toolkit.total import Total

__all__ = ["Identity", "differences", "identity"]

type Identity = dict[str, str | list[float]]

CLOSE = 1e-6


def identity(
    functionals: Iterable[Functional],
    constraints: Iterable[Constraint],
    over: Density,
    options: Mapping[str, object],
) -> Identity:
    """Versions, mesh, design, forms, bounds and options of a minimisation, by name; collective.

    Args:
        functionals: the objectives.
        constraints: what the design has to satisfy.
        over: the density, at its start.
        options: what else decides where the optimizer goes.
    """
    found: Identity = {
        "toolkit version": version("implant-toolkit"),
        "nlopt version": version("nlopt"),
        "mesh fingerprint": over.domain.fingerprint,
        "variables": str(over.size),
        "start": _moments(over.slices.gather(over.own)),
        "bounds": _digest(over.lower, over.upper),
        "free variables": _digest(over.free),
        "filter radius": str(over.radius),
        "threshold": str(over.threshold),
    }
    found |= {name: str(value) for name, value in options.items()}
    for number, functional in enumerate(functionals, start=1):
        found |= _functional(f"objective {number}", functional)
    for number, constraint in enumerate(constraints, start=1):
        sense = "at most" if constraint.sense > 0 else "at least"
        found[f"constraint {number}, {sense}"] = [constraint.bound]
        found |= _functional(f"constraint {number}", constraint.functional)
    return found


def differences(earlier: Identity, now: Identity) -> list[str]:
    """What differs between two problems, one line each; none for the same."""
    lines = []
    for name in dict.fromkeys([*now, *earlier]):
        a, b = earlier.get(name), now.get(name)
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            pairs = [(p, q) for p, q in zip(a, b, strict=True) if not _close(p, q)]
            if pairs:
                lines.append(f"{name}: {pairs[0][0]:g} then, {pairs[0][1]:g} now")
        elif a != b:
            lines.append(f"{name}: {_shown(a)} then, {_shown(b)} now")
    return lines


def _close(a: float, b: float) -> bool:
    return bool(np.isclose(a, b, rtol=CLOSE, atol=0, equal_nan=True))


def _shown(value: str | list[float] | None) -> str:
    if value is None:
        return "absent"
    return value[:16] if isinstance(value, str) else f"{len(value)} numbers"


def _functional(name: str, functional: Functional) -> Identity:
    """The forms of a functional and of its states."""
    found: Identity = {}
    for number, integral in enumerate(functional.integrals, start=1):
        found |= _integral(f"{name}, integral {number}", integral)
    for state in functional.states:
        found |= _form(f"equation of {state.name}", state.residual)
        held = [np.ravel(c.g.value) for c in state.conditions if hasattr(c.g, "value")]
        found[f"values held by {state.name}"] = np.concatenate([np.zeros(0), *held]).tolist()
    return found


def _integral(name: str, integral: Integral) -> Identity:
    if isinstance(integral, Total):
        return _functional(f"{name} of all groups", integral.own)
    if isinstance(integral, Energy):
        return {name: f"energy {integral.pair}"}  # its form is that of its states
    return _form(name, integral.form)


def _form(name: str, form: ufl.Form) -> Identity:
    """The signature of a form without its numbers, and the numbers."""
    inside = dict.fromkeys(
        node
        for integral in form.integrals()
        for node in unique_post_traversal(integral.integrand())
        if isinstance(node, FloatValue)
    )
    bare = ufl.replace(form, {value: FloatValue(k + 2.5) for k, value in enumerate(inside)})
    constants = [np.ravel(constant.value) for constant in form.constants()]
    numbers = np.concatenate([[float(value) for value in inside], *constants])
    return {name: bare.signature(), f"{name}, numbers": numbers.tolist()}


def _moments(x: npt.NDArray[np.float64]) -> list[float]:
    """Three numbers that two designs hardly share."""
    return [float(np.mean(f)) for f in (x, x**2, x * np.arange(len(x)))]


def _digest(*arrays: npt.NDArray[np.generic]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
