"""What must happen before the first import of dolfinx and PETSc, in this order.

One thread a rank (the parallelism is MPI's), MPI loaded (dolfinx and petsc4py find libmpi through
it), the FEniCSx build checked, PETSc initialised with the command line (so that
`-displacement_ksp_rtol 1e-8` works), and an excepthook under which no rank is left waiting.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys

import threadpoolctl

_CHOICES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
if not any(choice in os.environ for choice in _CHOICES):
    os.environ.update(dict.fromkeys(_CHOICES, "1"))
    threadpoolctl.threadpool_limits(1)  # of what a script has imported before, such as NumPy

from mpi4py import MPI  # noqa: E402

from toolkit.errors import install_excepthook  # noqa: E402

FENICSX = "0.11"
PATIENCE = 60  # seconds that a form may be compiled by another group, which we wait for
WAYS = f"""Get FEniCSx {FENICSX} by one of
    pip install 'implant-toolkit[fenicsx]'            (Linux x86-64, Python 3.12 to 3.14)
    conda install -c conda-forge fenics-dolfinx={FENICSX} mpich
    docker run -ti dolfinx/dolfinx:v{FENICSX}.0
    spack install py-fenics-dolfinx@{FENICSX}"""


def version() -> str:
    """The version of the installed distribution."""
    return importlib.metadata.version("implant-toolkit")


def _check_launcher() -> None:
    """Stop when a launcher started several processes that do not form one communicator."""
    asked = {
        name: int(os.environ[name])
        for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
        if os.environ.get(name, "").isdigit()
    }
    if MPI.COMM_WORLD.size == 1 and max(asked.values(), default=1) > 1:
        name = max(asked, key=lambda key: asked[key])
        sys.exit(
            f"The launcher started {asked[name]} processes ({name}), but each of them is alone: "
            "it belongs to another MPI than this Python's mpi4py. Use the mpirun that lies beside "
            f"{sys.executable}, or under Slurm `srun --mpi=pmi2`."
        )


def _start_fenicsx() -> None:
    """Initialise PETSc and import dolfinx, or say how to get them."""
    if importlib.util.find_spec("dolfinx_solver") is not None:
        importlib.import_module("dolfinx_solver")  # the wheel's own loader of its libraries
    missing = [name for name in ("dolfinx", "petsc4py") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{' and '.join(missing)} not found. {WAYS}")
    _initialise_petsc()  # before dolfinx, which would initialise it without options
    found: str = importlib.import_module("dolfinx").__version__
    if not found.startswith(f"{FENICSX}."):
        raise ImportError(f"dolfinx {found} found, {FENICSX} needed. {WAYS}")
    jit = importlib.import_module("dolfinx.jit")
    jit.DOLFINX_DEFAULT_JIT_OPTIONS["timeout"] = (PATIENCE, "Timeout for JIT compilation")


def _initialise_petsc() -> None:
    """Hand PETSc its options from the command line: `-name value`, never our `--words`."""
    options = [word for word in sys.argv[1:] if not word.startswith("--")]
    report = "yes" if any(word.startswith("-") for word in options) else "no"
    importlib.import_module("petsc4py").init([sys.argv[0], *options, "-options_left", report])


_check_launcher()
_start_fenicsx()
install_excepthook()
