"""Functionals: arithmetic and its exact partials, names, constraints, what is refused."""

import sys

import numpy as np
import pytest
import ufl
from dolfinx import fem

from toolkit import Constraint, Domain, Functional, InputError, darcy, stokes

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def domain():
    return Domain.box((2, 1), (2, 2))


@pytest.fixture(scope="module")
def integrals(domain):
    """a = ∫x dx = 2 and b = ∫ds = 6."""
    x = ufl.SpatialCoordinate(domain.mesh)[0]
    one = fem.Constant(domain.mesh, 1.0)
    return x * domain.dx, one * domain.ds


@pytest.fixture(scope="module")
def pair(integrals):
    return tuple(Functional(integral) for integral in integrals)


ARITHMETIC = {  # of A = 2 and B = 6: value, ∂/∂A, ∂/∂B
    "sum": (lambda A, B: A + B, 8, 1, 1),
    "difference": (lambda A, B: A - B, -4, 1, -1),
    "product": (lambda A, B: A * B, 12, 6, 2),
    "quotient": (lambda A, B: A / B, 1 / 3, 1 / 6, -1 / 18),
    "numbers on the left": (lambda A, B: 3 + 2 * A - (1 - B) * 1, 3 + 4 + 5, 2, 1),
    "reciprocal": (lambda A, B: 6 / A + 0 * B, 3, -1.5, 0),
    "minus": (lambda A, B: -A - -B, 4, -1, 1),
    "map": (lambda A, B: (A * B).map(np.sqrt), 12**0.5, 3 / 12**0.5, 1 / 12**0.5),
    "map of a map": (lambda A, B: A.map(np.log).map(np.exp) + B * 0, 2, 1, 0),
}


@pytest.mark.short
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_and_its_partials(pair, name):
    make, *exact = ARITHMETIC[name]
    J = make(*pair)
    assert len(J.integrals) == 2  # each integral once, however often it appears
    assert J.value == pytest.approx(exact[0], rel=1e-13)
    assert float(J) == J.value
    assert J.partials() == pytest.approx(exact[1:], rel=1e-13, abs=1e-13)


def test_of_several_integrals(integrals):
    J = Functional(*integrals, of=lambda a, b: a * np.exp(-b / 6))
    assert J.value == pytest.approx(2 / np.e)
    assert J.partials() == pytest.approx([1 / np.e, -1 / 3 / np.e], rel=1e-13)
    array = Functional(*integrals)
    assert array.value == pytest.approx([2, 6])
    assert array.map(lambda v: v[1] - v[0]).partials() == pytest.approx([-1, 1])


def test_partials_of_a_matrix_function(integrals):
    """1/(C⁻¹)₁₁ of C = [[a, 1], [1, b]] is a − 1/b."""
    C = Functional(*integrals, of=lambda a, b: np.array([[a, 1.0], [1.0, b]]))
    E = C.map(lambda C: 1 / np.linalg.inv(C)[0, 0])
    assert E.value == pytest.approx(2 - 1 / 6)
    assert E.partials() == pytest.approx([1, 1 / 36], rel=1e-12)


REFUSED = {
    "eigvalsh": lambda v: np.linalg.eigvalsh(np.array([[v[0], 1.0], [1.0, v[1]]]))[0],
    "abs": lambda v: abs(v[0] - v[1]),
    "norm": np.linalg.norm,
    "conj": lambda v: (v[0] * np.conj(v[1])).real,
    "real": lambda v: v[0].real,
}


@pytest.mark.parametrize("name", REFUSED)
def test_functions_that_are_not_analytic_are_refused(integrals, name):
    J = Functional(*integrals).map(REFUSED[name])
    with pytest.raises(InputError, match=r"not analytic.*eigvalsh"):
        J.partials()


def test_max_is_refused_where_it_matters(integrals):
    """At a tie of its arguments the step and the difference part."""
    J = Functional(*integrals).map(lambda v: np.max(np.array([3 * v[0], v[1]])))
    with pytest.raises(InputError, match="not analytic"):
        J.partials()


def test_constraints(pair):
    A, B = pair
    constraint = A <= 3
    assert (constraint.functional, constraint.bound, constraint.sense) == (A, 3.0, 1)
    assert isinstance(B >= 3, Constraint) and (B >= 3).sense == -1
    with pytest.raises(InputError, match="two constraints"):
        0.3 <= A <= 0.4  # noqa: B015
    with pytest.raises(InputError, match="must be a number"):
        A <= B  # noqa: B015
    with pytest.raises(InputError, match="nan"):
        A <= float("nan")  # noqa: B015


def test_names(pair, integrals, monkeypatch):
    A, _ = pair
    assert Functional(integrals[0]).name == "J"
    assert Functional(integrals[0], name="compliance").name == "compliance"
    assert (A.map(np.sqrt, name="root") <= 1).name == "root <= 1"
    monkeypatch.setattr(sys.modules["__main__"], "stiffness", A, raising=False)
    assert A.name == "stiffness"
    assert (2 * A).name == "stiffness · 2"
    assert (A >= 0.5).name == "stiffness >= 0.5"


def test_states_are_found_with_what_they_need(domain):
    p = darcy(domain, permeability=1.0, pressure={"xmin": 1, "xmax": 0}, name="first")
    q = darcy(domain, permeability=1.0, pressure={"xmin": 0}, source=p, name="second")
    assert Functional(q * domain.dx).states == (p, q)
    assert Functional(p * domain.dx).states == (p,)
    # −q″ = 1 − x/2 is solved exactly at the nodes 0, 1, 2: q = 0, 7/12, 8/12.
    assert Functional(q * domain.dx).value == pytest.approx(11 / 12, rel=1e-12)


def test_a_function_that_shares_a_states_vector_is_refused(domain):
    """`Function.sub` would lose the dependency; `split` and `sub` of a state return UFL parts."""
    flow = stokes(
        domain, viscosity=1.0, velocity=["xmin", "ymin", "ymax"], pressure={"xmax": 0}, name="flow"
    )
    assert Functional(flow.sub(1) * domain.dx).states == (flow,)
    assert Functional(flow.split()[1] * domain.dx).states == (flow,)
    part = fem.Function.sub(flow, 1)
    with pytest.raises(InputError, match=r"shares the vector of the state 'flow'.*split"):
        Functional(part * domain.dx)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: Functional(), "at least one integral"),
        (lambda d: Functional(3.0), "not float"),
        (lambda d: Functional(ufl.TestFunction(d.cellwise) * d.dx), "test or trial"),
    ],
)
def test_what_is_no_integral_is_refused(domain, make, words):
    with pytest.raises(InputError, match=words):
        make(domain)


def test_a_tensor_has_no_float(integrals):
    with pytest.raises(InputError, match=r"shape \(2,\).*map"):
        float(Functional(*integrals))
