"""The bone before the operation: what an implant's effect on it is measured against.

Its stimulus is a number for each zone, and a field for each point. Both are computed once,
outside of any optimisation, and are constants from then on.
"""

from weakref import WeakKeyDictionary

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from ufl.core.expr import Expr

from toolkit.bone.carry import carried
from toolkit.domain import Domain
from toolkit.errors import InputError
from toolkit.functional import Functional

__all__ = ["IntactBone"]

UNLOADED = 1e-6  # of the largest stimulus: what counts as none


class IntactBone:
    """The stimulus S₀ of the bone without an implant.

    Attributes:
        stimulus: S₀, UFL.
        domain: The intact mesh.
    """

    def __init__(self, stimulus: Expr) -> None:
        """Remember a stimulus; it is evaluated when first asked for.

        Args:
            stimulus: Non-negative UFL scalar on the intact mesh, usually `strain_energy` of its
                displacement, per volume [MPa] or divided by the density, or a mean of such over
                load cases.

        Raises:
            InputError: It is no scalar, or lives on no `Domain`.
        """
        if not isinstance(stimulus, Expr) or stimulus.ufl_shape:
            raise InputError(
                f"IntactBone: a stimulus is a UFL scalar such as strain_energy(u, ...), not "
                f"{str(stimulus)[:60]}."
            )
        self.stimulus, self.domain = stimulus, Domain.of(stimulus)
        self._means: dict[str, float] = {}
        self._fields: WeakKeyDictionary[Domain, dict[int, fem.Function]] = WeakKeyDictionary()

    def mean(self, region: str) -> float:
        """⟨S₀⟩ over a named volume of the intact mesh; collective.

        Raises:
            InputError: No such volume, or nothing is strained there.
        """
        if region not in self._means:
            dx = self.domain.dx(region)
            volume = self.domain.integrate(fem.Constant(self.domain.mesh, 1.0) * dx)
            self._means[region] = float(Functional(self.stimulus * dx)) / volume
        if not self._means[region] > 0:
            raise InputError(
                f"The intact bone has a stimulus of {self._means[region]:g} in '{region}', so no "
                "ratio to it can be made. Load the intact bone as the operated one."
            )
        return self._means[region]

    def on(self, domain: Domain, *, degree: int = 2) -> fem.Function:
        """S₀ at the quadrature points of a domain with an implant; collective.

        Points of one mesh are found in the other within volumes of the same names
        (`toolkit.bone.carry`); on the intact mesh itself S₀ is evaluated. Where the intact bone is
        hardly strained, below 10⁻⁶ of the largest value, that value is taken.

        Args:
            domain: The mesh with the implant.
            degree: Of the quadrature, to be given to `dx(degree=…)` as well.

        Raises:
            InputError: Cells of the domain are in volumes that the intact mesh lacks.
        """
        known = self._fields.setdefault(domain, {})
        if degree not in known:
            for state in Functional(self.stimulus * self.domain.dx).states:
                state.solve()
            field = carried(self.stimulus, self.domain, domain, degree=degree)
            values = field.x.array
            largest = domain.comm.allreduce(float(np.nanmax(values, initial=0.0)), op=MPI.MAX)
            np.maximum(values, UNLOADED * largest, out=values)
            known[degree] = field
        return known[degree]
