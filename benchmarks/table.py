"""The benchmarks of a folder as Markdown tables: table.md beside the JSON files.

Run:  python benchmarks/table.py results/bench
"""

import json
import sys
from pathlib import Path
from statistics import mean

PHASES = ("assembly", "preconditioner", "krylov", "adjoint", "filter", "optimizer", "io", "other")


def row(*cells):
    """One line of a table; numbers to three digits."""
    return f"| {' | '.join(f'{c:.3g}' if isinstance(c, float) else str(c) for c in cells)} |"


def loops(found):
    """CPU seconds of an iteration, by phases, one line a run."""
    head = ("loop", "cells", "dofs", "ranks", "CPU s", "wall s", *PHASES, "Krylov", "GB")
    lines = [row(*head), "|---" * len(head) + "|"]
    for run in found:
        phases = [run["phases"][phase] for phase in PHASES]
        cost = (run["cpu_seconds_per_iteration"], run["wall_seconds_per_iteration"])
        krylov, memory = float(mean(run["krylov_iterations"])), run["peak_memory_gb"]
        size = (run["cells"], run["dofs"], run["ranks"])
        lines.append(row(run["benchmark"], *size, *cost, *phases, krylov, memory))
    return lines


def peers(found):
    """Runs beside a peer: CPU seconds of an iteration, and their ratio."""
    head = ("loop", "cells", "peer", "its CPU s", "its GB", "toolkit CPU s", "peer over toolkit")
    lines = [row(*head), "|---" * len(head) + "|"]
    for run in found:
        peer = run["peer"]
        if "failed" in peer:
            lines.append(row(run["benchmark"], run["cells"], f"did not run: {peer['failed']}"))
            continue
        theirs, ours = (r["cpu_seconds_per_iteration"] for r in (peer, run))
        lines.append(
            row(
                *(run["benchmark"], run["cells"], peer["code"], theirs),
                *(peer["peak_memory_gb"], ours, theirs / ours),
            )
        )
    return lines


folder = Path(sys.argv[1])
runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
parts = [loops([run for run in runs if "phases" in run])]
if beside := [run for run in runs if run.get("peer")]:
    parts.append(peers(beside))
if triads := [run for run in runs if run["benchmark"] == "triad"]:
    lines = [row("ranks", "GB/s"), "|---" * 2 + "|"]
    parts.append(lines + [row(run["ranks"], run["gigabytes_per_second"]) for run in triads])
page = "\n\n".join("\n".join(lines) for lines in parts) + "\n"
(folder / "table.md").write_text(page)
print(page)
