"""CPU seconds of a cell's tensors, beside peers that run in the same minutes.

    stiffness      six load cases of a sheet gyroid of 50 % in n³ voxels, void 1e-9
    permeability   one direction of a simple cubic bed of spheres of 21.6 % in n³ voxels

The peers are benchmarks/peers/fft_homog.py and, with --peers, the scripts lbm_perm.py and
fe_homog.py of another folder, run by the interpreter --python, as far as their libraries are there.
Compiled forms are cached by a run at 4³ that is not counted. Every process is held to one thread.
results/unit_cell/ gets times.json and times.md.

Run:  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.unit_cell
      [--stiffness 32 64] [--permeability 16 32 64] [--peers FOLDER --python PYTHON]
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from math import pi
from pathlib import Path

import toolkit  # first: MPI and PETSc's options  # isort: skip
import numpy as np
from dolfinx import fem

from benchmarks.peers.fft_homog import VOID, sheet_gyroid
from toolkit import Cell, Density, Reduced, permeability, properties, stiffness
from toolkit.geometry import sphere_packing

HERE = Path(__file__).parent
RADIUS = (3 * 0.216 / (4 * pi)) ** (1 / 3)
EXACT = 1 / (6 * pi * RADIUS * 7.44195)  # Zick & Homsy 1982, doi:10.1017/S0022112082000627


class Clock:
    """CPU seconds since the last reading."""

    def __init__(self):
        self.began = time.process_time()

    def read(self):
        """Seconds, from here on counted anew."""
        now = time.process_time()
        seconds, self.began = now - self.began, now
        return round(seconds, 3)


def time_stiffness(n):
    """Mesh, forms, assembly, six solves, and the gradient of C11 by all voxels."""
    solid = sheet_gyroid(n).astype(float)
    clock = Clock()
    cell = Cell.box((1, 1, 1), (n, n, n))
    found = {"code": "toolkit", "n": n, "mesh": clock.read()}
    design = Density(cell, radius=None, start=1.0)
    C = stiffness(cell, modulus=VOID + (1 - VOID) * design.physical, poisson=0.3)
    design.update(solid.ravel())
    found["forms"] = clock.read()
    operator = C.states[0].operator
    operator.update()
    found["assembly"] = clock.read()
    tensor = C.value
    found["solve"] = clock.read()
    found["total"] = round(sum(found[part] for part in ("mesh", "forms", "assembly", "solve")), 3)
    found["iterations"] = operator.solver.iterations
    found["C11"], found["C12"], found["C44"] = tensor[0, 0], tensor[0, 1], tensor[3, 3]
    reduced = Reduced(C.map(lambda C: C[0, 0]), over=design)
    clock.read()
    reduced.gradient(solid.ravel())
    found["gradient"] = clock.read()
    return found


def time_permeability(n):
    """Mesh, forms, assembly, one solve from zero; the drag of voxels by their solid fraction."""
    fractions = sphere_packing("sc", radius=RADIUS).voxels((n, n, n))
    drag = properties._drag(fractions, 1 / n, 1.0).ravel()
    clock = Clock()
    cell = Cell.box((1, 1, 1), (n, n, n))
    found = {"code": "toolkit", "n": n, "mesh": clock.read()}
    α = fem.Function(cell.cellwise)
    α.x.array[cell.cell_dofs[: len(cell.cells)]] = cell.scatter_cells(drag)
    k = permeability(cell, drag=α, symmetry="cubic")
    found["forms"] = clock.read()
    operator = k.states[0].operator
    operator.update()
    found["assembly"] = clock.read()
    value = k.value[0, 0]
    found["solve"] = clock.read()
    found["total"] = round(sum(found[part] for part in ("mesh", "forms", "assembly", "solve")), 3)
    found["iterations"] = operator.solver.iterations
    found["k"], found["error"] = value, value / EXACT - 1
    return found


def run_peer(python, script, *arguments):
    """What a peer prints, as numbers by name; `failed` where it cannot run."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [python, str(script), *map(str, arguments)]
    found = {"code": " ".join([script.stem, *map(str, arguments[1:])]), "n": int(arguments[0])}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | threads, timeout=1800
        )
    except subprocess.TimeoutExpired:
        return found | {"failed": "more than half an hour"}
    if done.returncode:
        return found | {"failed": done.stderr.strip().splitlines()[-1]}
    words = {"cpu": "total", "C11": "C11", "C12": "C12", "C44": "C44", "k/L2": "k"}
    for word, name in words.items():
        if match := re.search(rf"(?:^|\s){word}\s+(\S+)", done.stdout):
            found[name] = float(match[1])
    if "k" in found:
        found["error"] = found["k"] / EXACT - 1
    return found


def markdown(title, rows, columns):
    """The rows as a table, with the ratio of each total to the toolkit's at the same n."""
    ours = {row["n"]: row["total"] for row in rows if row["code"] == "toolkit"}
    head = ["code", "n", "total", "over toolkit", *columns]
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['code']} | {row['n']} | did not run: {row['failed']} |")
            continue
        row["over toolkit"] = row["total"] / ours[row["n"]]
        lines.append("| " + " | ".join(shown(row.get(key, "")) for key in head) + " |")
    return "\n".join(lines) + "\n"


def shown(value):
    """A number to five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--stiffness", type=int, nargs="*", default=[32, 64])
parser.add_argument("--permeability", type=int, nargs="*", default=[16, 32, 64])
parser.add_argument("--peers", type=Path)
parser.add_argument("--python", default=sys.executable)
given = parser.parse_args()

time_stiffness(4)
time_permeability(4)
elastic, flow = [], []
for n in given.stiffness:
    elastic.append(time_stiffness(n))
    elastic.append(run_peer(sys.executable, HERE / "peers" / "fft_homog.py", n, 1e-5))
    if given.peers:
        elastic.append(run_peer(given.python, given.peers / "fe_homog.py", n, "amg"))
for n in given.permeability:
    flow.append(time_permeability(n))
    if given.peers:
        flow.append(run_peer(given.python, given.peers / "lbm_perm.py", n, "sc"))

parts = ["mesh", "forms", "assembly", "solve"]
page = markdown(
    "Stiffness, CPU seconds", elastic, [*parts, "gradient", "iterations", "C11", "C12", "C44"]
)
page += "\n" + markdown("Permeability, CPU seconds", flow, [*parts, "iterations", "k", "error"])
gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
page += f"\ntoolkit {toolkit.__version__}, numpy {np.__version__}; at most {gigabytes:.2f} GB.\n"
folder = Path("results") / "unit_cell"
folder.mkdir(parents=True, exist_ok=True)
(folder / "times.md").write_text(page)
(folder / "times.json").write_text(json.dumps({"stiffness": elastic, "permeability": flow}))
print(page)
