"""Implant Toolkit: multi-objective design of porous bone implants on FEniCSx, PETSc and nlopt.

The words below are all there is to know; docs/architecture.md shows how they fit together.
"""

from typing import TYPE_CHECKING

from toolkit import start  # first: MPI, thread counts and PETSc's options  # isort: skip
from toolkit.adjoint import Reduced, TaylorTest, taylor_test
from toolkit.cell import Cell
from toolkit.darcy import darcy
from toolkit.density import Density
from toolkit.domain import Domain
from toolkit.elasticity import elasticity, strain, stress
from toolkit.errors import EvaluationError, InputError, SolverError, ToolkitError
from toolkit.functional import Constraint, Functional
from toolkit.groups import Groups
from toolkit.homogenize import conductivity, permeability, stiffness
from toolkit.material import brinkman, gibson_ashby, kozeny_carman, lame, ramp, simp
from toolkit.optimize import Result, minimize
from toolkit.pareto import Front, pareto
from toolkit.progress import progress
from toolkit.properties import PropertyMap, sample
from toolkit.responses import p_norm, perimeter
from toolkit.state import State
from toolkit.stokes import Flow, stokes

if TYPE_CHECKING:
    from toolkit.report import write_result

__all__ = [
    "Cell",
    "Constraint",
    "Density",
    "Domain",
    "EvaluationError",
    "Flow",
    "Front",
    "Functional",
    "Groups",
    "InputError",
    "PropertyMap",
    "Reduced",
    "Result",
    "SolverError",
    "State",
    "TaylorTest",
    "ToolkitError",
    "brinkman",
    "conductivity",
    "darcy",
    "elasticity",
    "gibson_ashby",
    "kozeny_carman",
    "lame",
    "minimize",
    "p_norm",
    "pareto",
    "perimeter",
    "permeability",
    "progress",
    "ramp",
    "sample",
    "simp",
    "stiffness",
    "stokes",
    "strain",
    "stress",
    "taylor_test",
    "write_result",
]

__version__ = start.version()


def __getattr__(name: str) -> object:
    """Import `write_result` on first use: the libraries that draw take seconds to load."""
    if name == "write_result":
        from toolkit.report import write_result

        return write_result
    raise AttributeError(f"module 'toolkit' has no attribute '{name}'")
