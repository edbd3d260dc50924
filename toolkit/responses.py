"""Functionals that are asked for often, as UFL of the design and the states.

The others are one line each in a script: a compliance is `Functional(inner(t, u) * ds("head"))`,
a dissipation `Functional(0.5 * (μ * inner(grad(v), grad(v)) + α * inner(v, v)) * dx)`, a flow rate
`Functional(dot(v, n) * ds("outlet"))`.
"""

import math
from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.core.expr import Expr

from toolkit.density import Density
from toolkit.domain import Domain
from toolkit.errors import InputError
from toolkit.functional import Functional

__all__ = ["largest", "p_norm", "perimeter"]


def perimeter(design: Density, *, smoothing: float = 0.01) -> Functional:
    """Perimeter (area in 3D) between solid and void inside the domain, Σ_facets |[ρ]| A.

    |s| is smoothed to √(s² + η²) − η with η = `smoothing`, which takes up to η off the jump of each
    facet of a grey interface. Facets follow an outline in steps, which makes it longer: by
    Σ A_f |cos| over facets of all directions, 4/π times in 2D and 3/2 times in 3D, and the sum is
    divided by that. The bias left depends on direction: on a grid a plane across an axis comes out
    π/4 (2/3 in 3D) of its area, one along the diagonal 1.11 (1.15) times; a disc or a ball is right
    to some 5 % there and on gmsh's triangles, but up to 26 % off on a box cut into right triangles.
    Haber, Jog & Bendsøe 1996, doi:10.1007/BF01279647.
    """
    if not smoothing > 0:
        raise InputError(f"perimeter: smoothing = {smoothing} must be positive.")
    domain = design.domain
    jump = ufl.jump(design.physical)
    η = fem.Constant(domain.mesh, float(smoothing))
    bias = 4 / math.pi if domain.dimension == 2 else 1.5
    form = (ufl.sqrt(jump**2 + η**2) - η) / bias * domain.dS
    return Functional(form, name="perimeter")


def p_norm(
    integrand: Expr, domain: Domain, *, power: float = 8, region: str | None = None
) -> Functional:
    """(1/|Ω| ∫ fᵖ dx)^(1/p): a smooth maximum of a non-negative UFL expression f.

    Args:
        integrand: f, scalar and non-negative, for example a von Mises stress over its limit.
        domain: The mesh.
        power: p; the larger, the closer to the maximum and the harder to optimise.
        region: Named volume to integrate over; everywhere unless given.
    """
    if power < 1:
        raise InputError(f"p_norm: power = {power} must be at least 1.")
    dx = domain.dx if region is None else domain.dx(region)
    one = fem.Constant(domain.mesh, 1.0)
    volume = domain.integrate(one * dx)
    return Functional(
        integrand**power * dx, of=lambda total: (total / volume) ** (1 / power), name="p-norm"
    )


def largest(integrand: Expr, domain: Domain, *, over: Sequence[str]) -> float:
    """The largest value at the midpoints of cells, a number to report beside `p_norm`; collective.

    It has no gradient, and at a corner where stress is singular it grows with every refinement.

    Args:
        integrand: Scalar UFL; states in it are taken as they are, not solved.
        domain: The mesh.
        over: Names of volumes (areas in 2D) to look in.
    """
    values = fem.Function(domain.cellwise)
    points = domain.cellwise.element.interpolation_points
    values.interpolate(fem.Expression(ufl.as_ufl(integrand), points))
    cells = np.concatenate([domain.entities(domain.dimension, name) for name in over])
    found = values.x.array[domain.cell_dofs[cells]]
    return float(domain.comm.allreduce(found.max(initial=-np.inf), op=MPI.MAX))
