"""The command line: `python -m toolkit convert x.msh`, `python -m toolkit gradients x.py`."""

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from toolkit import meshfile, optimize
from toolkit.adjoint import taylor_table
from toolkit.density import Density
from toolkit.errors import InputError, together
from toolkit.functional import Functional


def convert(source: Path, target: Path) -> None:
    """Write a gmsh mesh as HDF5, which every rank then reads in its own slice."""
    comm = MPI.COMM_WORLD
    with together(comm):
        if comm.rank == 0:
            if source.suffix != ".msh" or not source.is_file():
                raise InputError(f"convert needs an existing .msh file, not '{source}'.")
            mesh = meshfile.read_msh(source)
            try:
                meshfile.write_h5(mesh, target)
            except OSError as error:
                raise InputError(f"convert cannot write '{target}': {error}") from error
            shape, count = mesh.cell[0], len(mesh.cells)
            print(f"{target}: {count} cells ({shape}), {len(mesh.points)} nodes; read it with")
            print(f'    domain = Domain.read("{target}")')


def gradients(script: Path, arguments: Sequence[str]) -> None:
    """Run a script up to its first `minimize` or `pareto` and Taylor-test what it was given."""
    if not script.is_file():
        raise InputError(f"There is no script '{script}'.")
    optimize.takeover = _print_taylor_table
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
    raise InputError(f"'{script}' ended without calling minimize or pareto.")


def _print_taylor_table(functionals: Sequence[Functional], over: Density) -> None:
    """One line a functional; exits with 1 if a gradient is not exact."""
    failed = False
    rank0 = over.comm.rank == 0
    if rank0:
        print(f"{'functional':<24}{'J':>14}{'dJ·d':>14}{'R(h)':>12}{'R(h/16)':>12}{'order':>9}")
    for functional in functionals:
        test = taylor_table(functional, over=over)
        failed = failed or not test.passed
        order = "linear" if test.linear else f"{test.order:.3f}"
        if rank0:
            print(
                f"{test.name:<24}{test.value:>14.6e}{test.slope:>14.6e}{test.remainders[0]:>12.2e}"
                f"{test.remainders[-1]:>12.2e}{order:>9}  {'exact' if test.passed else 'WRONG'}",
                flush=True,
            )
    if failed:
        raise SystemExit(1)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m toolkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("convert", help="write a gmsh .msh as .h5 for reading in parallel")
    one.add_argument("mesh", type=Path)
    one.add_argument("target", type=Path, nargs="?", help="default: the same name with .h5")
    two = commands.add_parser("gradients", help="Taylor table of every functional of a script")
    two.add_argument("script", type=Path)
    two.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to the script")
    given = parser.parse_args()
    if given.command == "convert":
        convert(given.mesh, given.target or given.mesh.with_suffix(".h5"))
    else:
        gradients(given.script, given.arguments)


main()
