"""A solver that fails tries harder before it gives up."""

import numpy as np
import pytest
import ufl
from dolfinx import fem

from toolkit import Domain, State
from toolkit.errors import SolverError
from toolkit.solver import Recipe

pytestmark = pytest.mark.parallel


def poisson(limit, name, contrast=1.0):
    """−∇·(κ ∇p) = 0 with p = x prescribed all around: p = x where κ is one number."""
    domain = Domain.box((1, 1), (24, 24))
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    held = fem.Function(space)
    held.interpolate(lambda x: x[0])
    faces = np.concatenate([domain.entities(1, n) for n in ("xmin", "xmax", "ymin", "ymax")])
    dofs = fem.locate_dofs_topological(space, 1, faces)
    κ = fem.Constant(domain.mesh, contrast)
    return State(
        space,
        lambda u, v: κ * ufl.inner(ufl.grad(u), ufl.grad(v)) * domain.dx,
        name=name,
        conditions=[fem.dirichletbc(held, dofs)],
        recipe=Recipe(Recipe.diagonal(rtol=1e-10).options | {"ksp_max_it": limit}, True),
    )


@pytest.mark.parametrize(
    ("limit", "words"),
    [(30, "not solved in 30 iterations, but in"), (2, "It was solved by a factorisation")],
)
def test_more_iterations_then_a_factorisation(limit, words, comm):
    p = poisson(limit, f"weak_{limit}")
    if comm.rank == 0:
        with pytest.warns(UserWarning, match=words):
            p.solve()
    else:
        p.solve()
    x = p.function_space.tabulate_dof_coordinates()[: p.owned, 0]
    np.testing.assert_allclose(p.x.array[: p.owned], x, atol=1e-7)


def test_what_nothing_solves_is_an_error():
    p = poisson(30, "nothing", contrast=np.nan)
    with pytest.raises(SolverError, match="'nothing"):
        p.solve()
