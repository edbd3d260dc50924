"""Bytes per second that memory moves: a = s c, a = a + b on arrays that no cache holds.

Each rank does so on arrays of its own, in the same seconds; the rates are added. Counted are five
words an entry, without what a write first reads. The best of ten sweeps.

Run:  python benchmarks/triad.py --json out.json          (and under mpirun -n 2)
"""

import json
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from mpi4py import MPI

parser = ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--entries", type=int, default=20_000_000, help="of each array of a rank")
parser.add_argument("--json", type=Path)
given = parser.parse_args()
comm = MPI.COMM_WORLD

a, b, c = (np.full(given.entries, value) for value in (0.0, 1.0, 2.0))
fastest = np.inf
for _ in range(10):
    comm.Barrier()
    began = time.perf_counter()
    np.multiply(c, 3.0, out=a)
    np.add(a, b, out=a)
    fastest = min(fastest, time.perf_counter() - began)
rate = comm.allreduce(5 * 8 * given.entries / fastest / 1e9)
if comm.rank == 0:
    found = {"benchmark": "triad", "ranks": comm.size, "gigabytes_per_second": rate}
    print(json.dumps(found))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found) + "\n")
