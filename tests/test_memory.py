"""What a rank allocates and is sent, rank 0 as any other, from the mesh file to the second design.

A cube of tetrahedra, whose file is written slice by slice, is read, as a domain and as a periodic
cell, set up and optimised, under tracemalloc, to which NumPy reports its buffers. What one rank
needs when it is alone is the whole; of it each rank of several may need its share, times `SLACK`,
the design vectors named in `DESIGNS`, and `OBJECTS` for what is not of mesh size. So is bounded the
peak of each phase, hence each allocation in it, and of what outlives the phase the largest block.
Messages are counted by a communicator that looks at what passes.

What the libraries in C and C++ allocate is not seen: docs/performance.md has resident sizes.
"""

import gc
import pickle
import tracemalloc
from contextlib import contextmanager
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import ufl
from dolfinx import jit
from mpi4py import MPI

from toolkit import Density, Domain, Functional, darcy, meshfile, minimize
from toolkit.cell import Cell, _Grid
from toolkit.export import write_vtkhdf

COMM = MPI.COMM_WORLD
CELLS = 24  # along each edge, six tetrahedra each
PARTS = 4  # slices in which the file is written
SLACK = 1.2  # ghosts, and shares that are not equal
OBJECTS = 100_000  # bytes of what is not of mesh size: Python's objects, names
FORMS = 600_000  # bytes that the form compiler takes at most for a while, on any mesh
DESIGNS = {
    "read": 0,
    "read cell": 0,
    "set-up": 6,
    "mma-distributed": 13,
    "mma": 23,
    "fields": 0,
}
"""Whole vectors of 8 bytes a variable that a rank may hold at once in each phase.

Set-up: design, start, bounds, the order of cells. "mma-distributed": these, the best and the last
design, the gradients of two functionals. "mma": what nlopt keeps beside them.
"""
SENT = {"set-up": 1, "mma-distributed": 2, "mma": 2}
"""Whole vectors in the largest message: one design; the gradients of two functionals.

Else the largest is no more than a rank's share of the largest array, of four numbers a cell or, of
the corners that are written, twelve.
"""
pytestmark = pytest.mark.parallel


class Phase(NamedTuple):
    """Bytes of one phase on this rank: at most at once, largest block left, largest message."""

    peak: int
    block: int
    message: int


class Counting(MPI.Intracomm):
    """A communicator that notes the size of the largest message that this rank sends or gets."""

    largest = 0

    @classmethod
    def note(cls, *buffers):
        for buffer in buffers:
            array = buffer[0] if isinstance(buffer, list | tuple) else buffer
            if isinstance(array, np.ndarray):
                cls.largest = max(cls.largest, array.nbytes)


def _object(name, method):
    def call(self, *args, **options):
        found = method(self, *args, **options)
        sent = [len(pickle.dumps(each)) for each in (args[:1], found)]
        Counting.largest = max(Counting.largest, *sent)
        return found

    return call


def _buffer(name, method):
    def call(self, *args, **options):
        Counting.note(*args)
        return method(self, *args, **options)

    return call


for _name in ("allgather", "gather", "bcast", "scatter", "alltoall", "allreduce"):
    setattr(Counting, _name, _object(_name, getattr(MPI.Intracomm, _name)))
for _name in ("Allgather", "Allgatherv", "Gather", "Gatherv", "Bcast", "Scatter", "Scatterv"):
    setattr(Counting, _name, _buffer(_name, getattr(MPI.Intracomm, _name)))
for _name in ("Alltoall", "Alltoallv", "Allreduce", "Reduce"):
    setattr(Counting, _name, _buffer(_name, getattr(MPI.Intracomm, _name)))


def write_box(path, cells):
    """A cube of tetrahedra as a converted file, no more of it in memory than a slice."""
    grid = _Grid(np.ones(3), np.full(3, cells), (False,) * 3, "tetrahedron")
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["fingerprint"] = meshfile.FORMAT, f"cube of {cells}"
        for part in range(PARTS):
            arrays = grid.part(part, PARTS)
            file.attrs["cell"], file.attrs["degree"] = arrays.cell
            named = {f"named/{dim}/{name}": rows for (dim, name), rows in arrays.named.items()}
            for name, rows in {"points": arrays.points, "cells": arrays.cells, **named}.items():
                if name not in file:
                    file.create_dataset(
                        name, (0, rows.shape[1]), rows.dtype, maxshape=(None, rows.shape[1])
                    )
                data = file[name]
                data.resize(len(data) + len(rows), axis=0)
                data[len(data) - len(rows) :] = rows


def phases(path, comm):
    """Bytes of every phase of an optimisation on this rank."""
    found = {}

    @contextmanager
    def phase(name):
        gc.collect()
        Counting.largest = 0
        tracemalloc.start()
        yield
        peak = tracemalloc.get_traced_memory()[1]
        traces = tracemalloc.take_snapshot().traces
        tracemalloc.stop()
        found[name] = Phase(peak, max((t.size for t in traces), default=0), Counting.largest)

    with phase("read"):
        domain = Domain.read(path, comm=Counting(comm))
    with phase("read cell"):
        Cell.read(path, comm=Counting(comm))
    plain, domain.comm = domain.comm, Counting(domain.comm)
    with phase("set-up"):
        design = Density(domain, radius=0.2, start=0.5)
        ρ = design.physical
        κ = 1e-3 + ρ**3
        p = darcy(domain, permeability=κ, pressure={"xmin": 1, "xmax": 0}, source=1.0)
        power = Functional(κ * ufl.inner(ufl.grad(p), ufl.grad(p)) * domain.dx)
        volume = Functional(ρ * domain.dx) / domain.volume
    options = {"over": design, "subject_to": [volume <= 0.5], "iterations": 2, "watch": ()}
    for optimizer in ("mma-distributed", "mma"):
        with phase(optimizer):
            minimize(power, optimizer=optimizer, **options)
    alone = str(COMM.rank) if comm.size == 1 else ""
    fields = {"density": ρ, "pressure": p}
    with phase("fields"):
        write_vtkhdf(path.with_name(f"{path.stem}{alone}.vtkhdf"), domain, fields)
    domain.comm = plain
    return found


@pytest.mark.short
@pytest.mark.skipif(COMM.size == 1, reason="one rank holds the whole")
def test_every_rank_allocates_its_share_and_the_named_designs(tmp_path, monkeypatch):
    folder = COMM.bcast(tmp_path)
    # A cache of its own: with each form that is loaded, Python lists all that the cache holds.
    default = jit.DOLFINX_DEFAULT_JIT_OPTIONS["cache_dir"]
    monkeypatch.setitem(
        jit.DOLFINX_DEFAULT_JIT_OPTIONS, "cache_dir", (str(folder / "cache"), default[1])
    )
    small, large = (folder / f"{name}.h5" for name in ("small", "large"))
    if COMM.rank == 0:
        write_box(small, 3)
        write_box(large, CELLS)
    COMM.barrier()
    for comm in (COMM, MPI.COMM_SELF):  # compiles the forms and fills Python's caches
        phases(small, comm)
    ours, whole = (phases(large, comm) for comm in (COMM, MPI.COMM_SELF))
    vector = 8 * 6 * CELLS**3
    assert whole["read"].peak > 6 * vector > 6 * FORMS
    for name, mine in ours.items():
        designs = DESIGNS[name] * vector
        share = SLACK * max(whole[name].peak - designs, 0) / COMM.size
        assert mine.peak <= share + designs + FORMS, name
        block = vector if designs else SLACK * vector / COMM.size
        assert mine.block <= block + OBJECTS, name
        numbers = {"read": 0, "read cell": 4, "fields": 12}.get(name, 0) / COMM.size
        sent = SENT.get(name, SLACK * numbers) * vector
        assert mine.message <= sent + OBJECTS, name
