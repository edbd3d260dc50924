"""The design: x → filtered → projected → passive regions = physical, all cell-wise, and back.

The filter solves ρ̃ − r² Δρ̃ = x with zero flux on the boundary by cell-centred finite volumes with
two-point fluxes,

    V_c ρ̃_c + r² Σ_f T_f (ρ̃_c − ρ̃_n) = V_c x_c,    T_f = A_f·d / |d|²,    d between centroids.

T_f > 0 on every mesh of convex cells, so the matrix is an M-matrix: ρ̃ stays within the bounds of x
without clipping, and ∫ρ̃ = ∫x. It is symmetric, so the transpose is V A⁻¹. By the divergence theorem
Σ_f T_f |d|² = dim · |Ω| (up to boundary cells), the trace that the Laplacian has, on every mesh. A
cone filter of radius R has the same second moment per axis for r² = R² (d+1) / (2 (d+2) (d+3)).

The projection is tanh-shaped and keeps 0 and 1 (Wang, Lazarov & Sigmund 2011,
doi:10.1007/s00158-010-0602-y); the filter is that of Lazarov & Sigmund 2011, doi:10.1002/nme.3072.
Every map stands beside its transpose. A variable is a cell or the cells that a symmetry makes one,
and is on one rank: what is called `own` holds this rank's variables, those numbered `owned` in
mesh-file order. Whole vectors x, the same on every rank, are for users and files: they are put
together when they are asked for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem, la, mesh
from mpi4py import MPI

from toolkit.domain import Domain
from toolkit.errors import InputError, together
from toolkit.slices import Slices
from toolkit.solver import LinearSolver, Recipe, cell_matrix
from toolkit.symmetry import Orbits, Symmetry

__all__ = ["Density"]

Vector = npt.NDArray[np.float64]


class Density:
    """A density field with one design variable a cell, or one for all cells of an orbit.

    Attributes:
        domain: Where it lives.
        radius: The cone filter's radius that the filter stands for, or None.
        size: Number of variables.
        slices: Who holds which variable.
        owned: Numbers of this rank's variables, (own,).
        own: Their present values, (own,); `own_lower`, `own_upper` and `own_start` likewise.
        own_free: False for variables of solid or void regions alone, (own,).
        beta: Steepness of the projection; 0 is none.
        value: x as a cell-wise function; `filtered` and `physical` likewise.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        radius: float | None,
        start: float | Vector,
        bounds: tuple[float, float] = (0.0, 1.0),
        solid: Sequence[str] = (),
        void: Sequence[str] = (),
        threshold: float = 0.5,
        symmetry: Symmetry | None = None,
    ) -> None:
        """Make the design of a domain and set it to its start.

        Args:
            domain: The mesh.
            radius: Filter radius (length), of a cone filter with the same second moment; None
                for no filter.
            start: Initial value, one number, one a cell in mesh-file order, or one a variable.
            bounds: Lower and upper bound of x.
            solid: Named regions whose physical density is 1 whatever x is.
            void: Named regions whose physical density is 0.
            threshold: η, the filtered density that the projection leaves at about 0.5.
            symmetry: "orthotropic" (mirror planes through the middle) or "cubic" (and exchanged
                axes): cells that it maps to one another are one variable.

        Raises:
            InputError: A radius, bound, start or threshold outside its range, an unknown region.
        """
        _check(radius, bounds, threshold)
        self.domain, self.comm, self.radius, self.threshold = domain, domain.comm, radius, threshold
        self._orbits = None if symmetry is None else Orbits(domain, symmetry)
        self.owned = domain.cells if self._orbits is None else self._orbits.owned
        self.slices = Slices(domain.comm, self.owned)
        self.size = self.slices.size
        self.own_lower, self.own_upper = (np.full(len(self.owned), float(b)) for b in bounds)
        self.beta = 0.0
        self.value, self.filtered, self.physical = (
            fem.Function(domain.cellwise, name=name) for name in ("design", "filtered", "density")
        )
        self._passive = self._passive_regions(solid, void)
        passive = np.isfinite(self._passive).astype(float)
        self.own_free = self._sums(passive) < self._sums(np.ones(len(passive)))
        self._filter = None if radius is None else _Helmholtz(domain, radius)
        self.own_start = self._start(start)
        self.own = np.full(len(self.owned), np.nan)
        self.assign(self.own_start)

    # ---- whole vectors ----------------------------------------------------------------------

    @property
    def vector(self) -> Vector:
        """The present x, (variables,), the same on every rank; collective."""
        return self.slices.gather(self.own)

    @property
    def start(self) -> Vector:
        """The initial x, (variables,); collective."""
        return self.slices.gather(self.own_start)

    @property
    def lower(self) -> Vector:
        """Lower bounds of x, (variables,), to be read only; collective."""
        return self._read_only(self.own_lower)

    @property
    def upper(self) -> Vector:
        """Upper bounds of x, (variables,), to be read only; collective."""
        return self._read_only(self.own_upper)

    @property
    def free(self) -> npt.NDArray[np.bool_]:
        """False for variables of solid or void regions alone, (variables,); collective."""
        return self._read_only(self.own_free).astype(bool)

    def _read_only(self, own: npt.NDArray[Any]) -> Vector:
        """Whole, and an error where a script would write into it in vain."""
        whole = self.slices.gather(own)
        whole.setflags(write=False)
        return whole

    def update(self, x: Vector) -> None:
        """Set the design; collective.

        Args:
            x: (variables,), the same on every rank; or (cells,), which a symmetry averages.
        """
        x = np.asarray(x, dtype=float)
        if x.shape != (self.size,) and not self._one_a_cell(x):
            raise InputError(f"A design of this mesh has shape ({self.size},), not {x.shape}.")
        self.assign(self._taken(x))

    # ---- x → physical -----------------------------------------------------------------------

    def assign(self, own: Vector) -> None:
        """Set the design from each rank's variables (own,); collective."""
        if not self.comm.allreduce(not np.array_equal(own, self.own), op=MPI.LOR):
            return
        owned = own if self._orbits is None else self._orbits.spread(own)
        self._set(self.value, owned)
        if self._filter is not None:
            owned = self._filter(owned)
        self._set(self.filtered, owned)
        self._project()
        self.own = own.copy()

    def sharpen(self, beta: float) -> None:
        """Set the steepness β of the projection (0: none); collective."""
        if beta < 0:
            raise InputError(f"sharpen: the steepness {beta} must be at least 0.")
        self.beta = float(beta)
        self._project()

    def _project(self) -> None:
        ρ = self._owned(self.filtered)
        physical = ρ if self.beta == 0 else _tanh(ρ, self.beta, self.threshold)
        self._set(self.physical, np.where(np.isfinite(self._passive), self._passive, physical))

    # ---- and back ---------------------------------------------------------------------------

    def pullback(self, **duals: la.Vector) -> Vector:
        """The derivative of `own_pullback`, (variables,), the same on every rank; collective."""
        return self.slices.gather(self.own_pullback(**duals))

    def own_pullback(
        self,
        physical: la.Vector | None = None,
        filtered: la.Vector | None = None,
        value: la.Vector | None = None,
    ) -> Vector:
        """Transpose of x → (physical, filtered, value) at the present x; collective.

        Args:
            physical: Derivative of a functional by the physical density, cell-wise, assembled.
            filtered: The same by the filtered density, for functionals that mention it.
            value: The same by x itself.

        Returns:
            Derivative by this rank's variables, (own,).
        """
        dual = np.zeros(len(self.domain.cells))
        if physical is not None:
            ρ = self._owned(self.filtered)
            slope = 1.0 if self.beta == 0 else _tanh_slope(ρ, self.beta, self.threshold)
            dual += np.where(np.isfinite(self._passive), 0.0, slope * self._owned(physical))
        if filtered is not None:
            dual += self._owned(filtered)
        if self._filter is not None:
            dual = self._filter.transposed(dual)
        if value is not None:
            dual += self._owned(value)
        return self._sums(dual)

    def greyness(self) -> float:
        """4 ∫ρ (1 − ρ) / |Ω| over the cells that are not passive: 0 is black and white."""
        ρ, V = self._owned(self.physical), self.domain.cell_volumes
        active = ~np.isfinite(self._passive)
        local = np.array([(4 * ρ * (1 - ρ) * V)[active].sum(), V[active].sum()])
        grey, volume = self.comm.allreduce(local)
        return float(grey / volume) if volume > 0 else 0.0

    # ---- inside -----------------------------------------------------------------------------

    def _one_a_cell(self, x: Vector) -> bool:
        return self._orbits is not None and x.shape == (self.domain.num_cells,)

    def _taken(self, x: Vector) -> Vector:
        """This rank's variables (own,) of a whole vector of variables or cells; collective."""
        if self._orbits is None or not self._one_a_cell(x):
            return self.slices.take(x)
        return self._orbits.sums(self.domain.scatter_cells(x)) / self._orbits.cells

    def _sums(self, cells: Vector) -> Vector:
        """Sums over the cells of each variable: the transpose of x ↦ the cells' values."""
        return cells if self._orbits is None else self._orbits.sums(cells)

    def _owned(self, f: fem.Function | la.Vector) -> Vector:
        vector = f.x if isinstance(f, fem.Function) else f
        return vector.array[self.domain.cell_dofs[: len(self.domain.cells)]]

    def _set(self, f: fem.Function, owned: Vector) -> None:
        f.x.array[self.domain.cell_dofs[: len(owned)]] = owned
        f.x.scatter_forward()

    def _passive_regions(self, solid: Sequence[str], void: Sequence[str]) -> Vector:
        """Prescribed physical density of each owned cell, NaN where it is free."""
        prescribed = np.full(len(self.domain.cells), np.nan)
        for names, density in ((void, 0.0), (solid, 1.0)):
            if isinstance(names, str):
                raise InputError(f"solid and void take lists of names: ['{names}'].")
            for name in names:
                cells = self.domain.entities(self.domain.dimension, name)
                prescribed[cells[cells < len(prescribed)]] = density
        return prescribed

    def _start(self, start: float | Vector) -> Vector:
        try:
            x = np.asarray(start, dtype=float)
        except (TypeError, ValueError):
            raise InputError(f"start = {start!r} is not a number or a vector of them.") from None
        if x.ndim and x.shape != (self.size,) and not self._one_a_cell(x):
            raise InputError(
                f"start has shape {x.shape}; give one number or one a cell, "
                f"({self.domain.num_cells},)."
            )
        own = self._taken(x) if x.ndim else np.full(len(self.owned), float(x))
        with together(self.comm):
            outside = ~((own >= self.own_lower) & (own <= self.own_upper))
            if outside.any():
                raise InputError(
                    f"start = {own[outside][0]:g} lies outside the bounds "
                    f"({self.own_lower[0]:g}, {self.own_upper[0]:g})."
                )
        return own


class _Helmholtz:
    """The filter as a map of owned cell values, ρ̃ = A⁻¹ V x."""

    def __init__(self, domain: Domain, radius: float) -> None:
        d = domain.dimension
        r2 = radius**2 * (d + 1) / (2 * (d + 2) * (d + 3))
        self._volumes = domain.cell_volumes
        self._dofs = domain.cell_dofs[: len(domain.cells)]
        matrix = _assemble(domain, r2)
        sweeps = Recipe.diagonal(rtol=1e-13).options | {"pc_type": "sor"}  # symmetric, rank by rank
        self._solver = LinearSolver(matrix, "filter", Recipe(sweeps, definite=True))
        self._right, self._left = (fem.Function(domain.cellwise) for _ in range(2))

    def __call__(self, x: Vector) -> Vector:
        return self._solve(self._volumes * x, x)

    def transposed(self, dual: Vector) -> Vector:
        return self._volumes * self._solve(dual, dual / self._volumes)

    def _solve(self, right: Vector, guess: Vector) -> Vector:
        self._right.x.array[self._dofs] = right
        self._left.x.array[self._dofs] = guess
        self._solver.solve(self._solver.view(self._right.x), self._solver.view(self._left.x))
        return self._left.x.array[self._dofs].copy()


def _assemble(domain: Domain, r2: float) -> Any:
    """The matrix V + r² T from the facets between cells; each rank fills its own rows."""
    pairs, T = _transmissibilities(domain)
    owned = len(domain.cells)
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
    flux = r2 * np.concatenate([T, T])
    mine = rows < owned
    rows, columns, flux = rows[mine], columns[mine], flux[mine]
    diagonal = domain.cell_volumes + np.bincount(rows, flux, minlength=owned)
    cells = np.arange(owned)
    dof = domain.cell_dofs
    return cell_matrix(
        domain.cellwise,
        dof[np.concatenate([cells, rows])],
        dof[np.concatenate([cells, columns])],
        np.concatenate([diagonal, -flux]),
    )


def _transmissibilities(domain: Domain) -> tuple[npt.NDArray[np.int32], Vector]:
    """Pairs of neighbouring local cells, (facets, 2), and T_f = A_f·d / |d|² of each."""
    topology, d = domain.mesh.topology, domain.dimension
    to_cells = topology.connectivity(d - 1, d)
    inner = np.flatnonzero(np.diff(to_cells.offsets) == 2).astype(np.int32)
    pairs = to_cells.array[to_cells.offsets[inner][:, None] + np.arange(2)]
    normal = _facet_areas(domain, inner)
    every = np.arange(len(domain.cell_dofs), dtype=np.int32)
    centres = mesh.compute_midpoints(domain.mesh, d, every)
    span = domain.between(centres[pairs[:, 0]], centres[pairs[:, 1]])
    T = np.abs((normal * span).sum(axis=1)) / (span**2).sum(axis=1)
    return pairs, T


def _facet_areas(domain: Domain, facets: npt.NDArray[np.int32]) -> Vector:
    """Area vector of each facet, (facets, 3), of either sign."""
    nodes = mesh.entities_to_geometry(domain.mesh, domain.dimension - 1, facets)
    x = domain.mesh.geometry.x[nodes]
    if domain.dimension == 2:
        edge = x[:, 1] - x[:, 0]
        return np.stack([edge[:, 1], -edge[:, 0], np.zeros(len(edge))], axis=1)
    if not domain.tensor_cells:
        return 0.5 * np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])
    return 0.5 * np.cross(x[:, 3] - x[:, 0], x[:, 2] - x[:, 1])  # diagonals of a quadrilateral


def _tanh(ρ: Vector, β: float, η: float) -> Vector:
    """Smooth step with 0 ↦ 0 and 1 ↦ 1."""
    low, high = np.tanh(β * η), np.tanh(β * (1 - η))
    return (low + np.tanh(β * (ρ - η))) / (low + high)


def _tanh_slope(ρ: Vector, β: float, η: float) -> Vector:
    """Derivative of `_tanh` by ρ."""
    return β / np.cosh(β * (ρ - η)) ** 2 / (np.tanh(β * η) + np.tanh(β * (1 - η)))


def _check(radius: Any, bounds: Any, threshold: Any) -> None:
    def number(value: Any) -> bool:
        return isinstance(value, int | float | np.number) and bool(np.isfinite(value))

    if radius is not None and not (number(radius) and radius > 0):
        raise InputError(f"radius = {radius!r} must be positive; use radius=None for no filter.")
    pair = isinstance(bounds, tuple | list) and len(bounds) == 2 and all(map(number, bounds))
    if not pair or not 0 <= bounds[0] < bounds[1] <= 1:
        raise InputError(f"bounds = {bounds} must be two numbers, 0 <= lower < upper <= 1.")
    if not (number(threshold) and 0 < threshold < 1):
        raise InputError(f"threshold = {threshold} must lie between 0 and 1.")
