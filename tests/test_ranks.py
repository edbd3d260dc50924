"""The same numbers on any number of ranks, and at any contrast.

Each rank also computes alone, on its own copy of the mesh (COMM_SELF): the mesh-file order makes
the vectors of both comparable, and nothing need be stored from another run.
"""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import ufl
from mpi4py import MPI
from shapes import cube

from toolkit import (
    Density,
    Domain,
    Functional,
    Reduced,
    brinkman,
    darcy,
    elasticity,
    kozeny_carman,
    p_norm,
    perimeter,
    simp,
    stokes,
)

pytestmark = [pytest.mark.parallel, pytest.mark.short]
MESHES = {
    "gmsh tetrahedra": lambda comm: Domain.build(partial(cube, size=0.3), comm=comm),
    "quadrilaterals": lambda comm: Domain.box((2, 1), (8, 4), comm=comm),
    "hexahedra": lambda comm: Domain.box((2, 1, 1), (6, 3, 3), comm=comm),
}


def iterate_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make systems of every size be solved by multigrid."""
    for room in ("darcy", "elasticity"):
        monkeypatch.setattr(import_module(f"toolkit.{room}"), "DIRECT_DOFS", {2: 0, 3: 0})


def supports(domain: Domain) -> tuple[str, str]:
    """A face to hold and a face to load, also of a body whose faces are one."""
    if "boundary" in domain.names(domain.dimension - 1):
        domain.name("xmin", 2, lambda x: x[0] < 1e-9)
        domain.name("xmax", 2, lambda x: x[0] > 1 - 1e-9)
    return "xmin", "xmax"


def solid_and_pores(design: Density) -> list[Functional]:
    domain, ρ, d = design.domain, design.physical, design.domain.dimension
    held, loaded = supports(domain)
    t = ufl.as_vector([0.0] * (d - 1) + [-1.0])
    u = elasticity(
        domain,
        modulus=simp(ρ, full=1.0, empty=1e-6),
        poisson=0.3,
        displacement=[held],
        traction={loaded: t},
    )
    κ = kozeny_carman(ρ, surface=3.0)
    p = darcy(domain, permeability=κ, pressure={held: 1, loaded: 0})
    compliance = Functional(ufl.inner(t, u) * domain.ds(loaded))
    flow = p_norm(κ**2 * ufl.inner(ufl.grad(p), ufl.grad(p)), domain, power=2)
    return [compliance, compliance * flow.map(np.log) + perimeter(design)]


def channel(design: Density) -> list[Functional]:
    domain, α = design.domain, brinkman(design.physical, drag=500.0)
    flow = stokes(
        domain,
        viscosity=1.0,
        velocity={"xmin": (1, *[0] * (domain.dimension - 1)), "ymin": 0, "ymax": 0},
        pressure={"xmax": 0},
        slip=["zmin", "zmax"] if domain.dimension == 3 else [],
        drag=α,
    )
    v = flow.velocity
    power = ufl.inner(ufl.grad(v), ufl.grad(v)) + α * ufl.inner(v, v)
    return [Functional(power * domain.dx), Functional(flow.pressure**2 * domain.ds("xmin"))]


def answers(comm: MPI.Comm, mesh: str, make, rtol: float | None) -> list[np.ndarray]:
    """(J, ∇J) of each functional at ten fixed designs."""
    domain = MESHES[mesh](comm)
    design = Density(domain, radius=0.5, start=0.5)
    design.sharpen(2)
    functionals = make(design)
    for state in functionals[-1].states:
        if rtol is not None:
            assert not state.operator.solver.direct
            state.operator.solver.rtol = rtol
    found = []
    for seed in range(10):
        x = np.random.default_rng(seed).uniform(0.1, 0.9, design.size)
        for J in (Reduced(functional, over=design) for functional in functionals):
            found += [np.array([J.value(x)]), J.gradient(x)]
    return found


@pytest.mark.parametrize(
    ("mesh", "make", "rtol", "tolerance"),
    [
        ("gmsh tetrahedra", solid_and_pores, None, 1e-9),
        ("quadrilaterals", solid_and_pores, None, 1e-9),
        ("quadrilaterals", channel, None, 1e-9),
        ("gmsh tetrahedra", solid_and_pores, 1e-10, 1e-7),
        ("hexahedra", solid_and_pores, 1e-10, 1e-7),
    ],
)
def test_values_and_gradients_do_not_depend_on_the_ranks(mesh, make, rtol, tolerance, monkeypatch):
    if rtol is not None:
        iterate_always(monkeypatch)
    together, alone = (answers(c, mesh, make, rtol) for c in (MPI.COMM_WORLD, MPI.COMM_SELF))
    for ours, theirs in zip(together, alone, strict=True):
        assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


@pytest.mark.parametrize("empty", [1e-6, 1e-9])
def test_multigrid_converges_with_voids(empty, monkeypatch):
    """A truss cut out of a block, 0/1: the iterative answer is that of a factorisation."""
    domain = Domain.box((2, 1, 1), (16, 8, 8))
    domain.name(
        "hole", 3, lambda x: (x[0] > 0.25 - 1e-9) & (abs(x[1] - 0.5) < 0.26) & (x[0] < 1.76)
    )
    domain.name("slot", 3, lambda x: (abs(x[0] - 1) < 0.26) & (x[2] > 0.25 - 1e-9) & (x[2] < 0.76))
    design = Density(domain, radius=None, start=1.0, void=["hole", "slot"])
    E = simp(design.physical, full=1.0, empty=empty)
    given = {
        "modulus": E,
        "poisson": 0.3,
        "displacement": ["xmin"],
        "traction": {"xmax": (0, 0, -1)},
    }
    exact = elasticity(domain, **given, name="factorised")
    iterate_always(monkeypatch)
    u = elasticity(domain, **given, name="iterated")
    compliance = [Functional(-v[2] * domain.ds("xmax")).value for v in (exact, u)]
    assert 0 < u.operator.solver.iterations[-1] < 200
    assert compliance[1] == pytest.approx(compliance[0], rel=1e-5)
