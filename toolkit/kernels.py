"""The loops over cells of kernels.c, compiled for a shape of cell on first use and kept.

The compiler is the one that forms are compiled with; the library lies in the same cache.
"""

import ctypes
import hashlib
import os
import shlex
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import jit
from mpi4py import MPI

from toolkit.errors import ToolkitError

__all__ = ["Kernels", "processor"]

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = (
    *("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fopenmp-simd", "-shared", "-fPIC", "-std=c11"),
)
Array = npt.NDArray[np.float64]


class Kernels:
    """The compiled loops for `nodes` nodes a cell and `block` unknowns a node.

    Arguments are passed as they stand in kernels.c: arrays as contiguous NumPy arrays of that type,
    several fields as a list of arrays.
    """

    def __init__(self, comm: MPI.Comm, nodes: int, block: int) -> None:
        """Load the library, compiled by rank 0 where it is new; collective."""
        self._library = jit.mpi_jit_decorator(_load)(comm, nodes, block)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Run one loop."""
        getattr(self._library, name)(*(_passed(a) for a in arguments))


def _passed(argument: Any) -> Any:
    """An argument as C takes it."""
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, list):
        return (ctypes.c_void_p * len(argument))(*(a.ctypes.data for a in argument))
    return ctypes.c_double(argument) if isinstance(argument, float) else ctypes.c_int64(argument)


@cache
def _load(nodes: int, block: int) -> ctypes.CDLL:
    """The library from the cache, made if it is not there."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    text = SOURCE.read_text(encoding="utf-8")
    sizes = (f"-DNV={nodes}", f"-DBS={block}")
    key = hashlib.sha256("\n".join([text, processor(), *compiler, *FLAGS, *sizes]).encode())
    path = Path(jit.get_options()["cache_dir"]) / f"libimplant_{key.hexdigest()[:24]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            command = [*compiler, *FLAGS, *sizes, "-o", str(made), str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise ToolkitError(f"kernels.c did not compile: {done.stderr.strip()}")
            made.rename(path)
    return ctypes.CDLL(str(path))


def processor() -> str:
    """What the machine's instructions are, since the library is made for them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return sysconfig.get_platform()
    return next((line for line in lines if line.startswith("flags")), sysconfig.get_platform())
