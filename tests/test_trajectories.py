"""The optimizer's path and end on any number of ranks, against one rank, on real states."""

import numpy as np
import pytest
import ufl
from mpi4py import MPI

from toolkit import Density, Domain, Functional, darcy, elasticity, kozeny_carman, minimize, simp

pytestmark = [pytest.mark.parallel, pytest.mark.short]


def stiff_and_permeable(comm: MPI.Comm, iterations: int):
    """A plate that carries a load under bounds on volume and permeance."""
    domain = Domain.box((2, 1), (24, 12), comm=comm)
    dx, ds = domain.dx, domain.ds
    design = Density(domain, radius=0.2, start=0.4)
    ρ = design.physical
    t = ufl.as_vector((0, -1))
    u = elasticity(
        domain,
        modulus=simp(ρ, full=1, empty=1e-4),
        poisson=0.3,
        displacement=["xmin"],
        traction={"xmax": t},
    )
    κ = kozeny_carman(ρ, surface=3)
    p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0})
    compliance = Functional(ufl.inner(t, u) * ds("xmax"), name="compliance")
    permeance = Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * dx, name="permeance")
    volume = Functional(ρ * dx, name="volume") / domain.volume
    return minimize(
        compliance,
        over=design,
        subject_to=[volume <= 0.5, permeance >= float(permeance)],
        iterations=iterations,
        tolerance=0,
        watch=(),
    )


def test_first_ten_iterations_and_the_end():
    alone = stiff_and_permeable(MPI.COMM_SELF, 60)
    together = stiff_and_permeable(MPI.COMM_WORLD, 60)
    first = slice(0, 11)
    assert together.history.objective[first] == pytest.approx(
        alone.history.objective[first], rel=1e-6
    )
    assert np.abs(together.history.constraints[first] - alone.history.constraints[first]).max() < (
        1e-6 * np.abs(alone.history.constraints).max()
    )
    assert together.objective == pytest.approx(alone.objective, rel=1e-3)
    assert alone.objective < 0.6 * alone.history.objective[0] and alone.feasible
