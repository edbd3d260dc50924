"""Designs and gradients in slices: the same numbers on any number of ranks, and no whole vector."""

import numpy as np
import pytest
import ufl
from fakes import FakeDensity
from mpi4py import MPI

from toolkit import Cell, Density, Domain, Functional, elasticity, minimize, simp, stiffness
from toolkit.adjoint import Reduced
from toolkit.moduli import bulk
from toolkit.slices import Slices

pytestmark = [pytest.mark.parallel, pytest.mark.short]


def bracket(comm, symmetry=None):
    """A loaded plate with a passive row, its compliance and its volume."""
    domain = Domain.box((2, 1), (16, 8), comm=comm)
    domain.name("rail", 2, lambda x: x[1] < 0.13)
    design = Density(domain, radius=0.2, start=0.4, solid=["rail"], symmetry=symmetry)
    E, t = simp(design.physical, full=1, empty=1e-4), ufl.as_vector((0, -1))
    u = elasticity(domain, modulus=E, poisson=0.3, displacement=["xmin"], traction={"xmax": t})
    compliance = Functional(ufl.inner(t, u) * domain.ds("xmax"), name="compliance")
    return design, compliance, Functional(design.physical * domain.dx) / domain.volume


@pytest.mark.parametrize("symmetry", [None, "orthotropic"])
def test_slopes_are_the_slices_of_the_gradient_on_one_rank(symmetry):
    found = []
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        design, compliance, _ = bracket(comm, symmetry)
        x = 0.3 + 0.4 * np.modf(np.arange(design.size) * 0.618)[0]
        reduced = Reduced(compliance, over=design)
        design.assign(design.slices.take(x))
        whole = design.slices.gather(reduced.slope())
        np.testing.assert_array_equal(reduced.gradient(x), whole)
        assert len(design.own) == len(reduced.slope()) == len(design.owned)
        found.append((reduced.value(), whole, design.free))
    (J, g, free), (K, h, same) = found
    assert pytest.approx(K, rel=1e-9) == J
    np.testing.assert_allclose(h, g, atol=1e-6 * np.abs(g).max())
    np.testing.assert_array_equal(free, same)


@pytest.mark.parametrize("optimizer", ["mma-distributed", "oc", "simpl"])
def test_no_whole_vector_is_made_on_the_way(optimizer, monkeypatch):
    """Of the methods on slices; and the first iterations are those of one rank."""
    histories, gathered = [], []
    gather = Slices.gather
    monkeypatch.setattr(Slices, "gather", lambda *given: gathered.append(1) or gather(*given))
    monkeypatch.setattr(Domain, "gather_cells", lambda *given: gathered.append(1))
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        design, compliance, volume = bracket(comm)
        result = minimize(
            compliance,
            over=design,
            subject_to=volume <= 0.5,
            optimizer=optimizer,
            iterations=8,
            tolerance=0,
            watch=(),
        )
        assert not gathered
        histories.append(result.history.objective)
        assert result.design.shape == (design.size,) and len(gathered) == 1
        np.testing.assert_array_equal(design.vector, result.design)
        gathered.clear()
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)


def test_a_symmetric_cell_on_any_number_of_ranks():
    histories = []
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        cell = Cell.box((1, 1), (12, 12), comm=comm)
        x = (np.arange(12) + 0.5) / 12
        start = 0.5 - 0.2 * np.outer(np.sin(np.pi * x), np.sin(np.pi * x)).ravel()
        design = Density(cell, radius=0.2, start=start, symmetry="cubic")
        C = stiffness(cell, modulus=simp(design.physical, full=1, empty=1e-3), poisson=0.3)
        volume = Functional(design.physical * cell.dx) / cell.volume
        result = minimize(
            -C.map(bulk, name="bulk"),
            over=design,
            subject_to=volume <= 0.5,
            optimizer="mma-distributed",
            iterations=5,
            tolerance=0,
            watch=(),
        )
        assert design.comm.allreduce(len(design.own)) == design.size == 21
        histories.append(result.history.objective)
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-6)


def test_rows_are_gathered_where_a_rank_holds_nothing():
    design = FakeDensity([0.3], 0, 1)
    own = np.outer([1.0, 2.0], design.own)
    np.testing.assert_array_equal(design.slices.gather(own), [[0.3], [0.6]])
    np.testing.assert_array_equal(design.slices.gather(design.own), [0.3])


def test_bounds_are_to_be_read_only():
    design, _, _ = bracket(MPI.COMM_WORLD)
    with pytest.raises(ValueError, match="read-only"):
        design.lower[:] = 0.1
