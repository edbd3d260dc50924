"""Minimum compliance on a grid of square or cubic cells, after top88.

Andreassen et al. 2011, doi:10.1007/s00158-010-0594-7:

    min fᵀu   with K(x̃) u = f,  E = Emin + x̃³ (1 − Emin),  mean x̃ ≤ V,  0 ≤ x ≤ 1

Bilinear or trilinear elements, exactly integrated; x̃ = F x by a cone or by Helmholtz's equation
with two-point fluxes between cells. Optimality criteria as in top88, or nlopt's MMA on plain
vectors. Linear systems in 2D are factorised, in 3D solved by CG with geometric multigrid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import nlopt
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg, splu

Array = np.ndarray


@dataclass
class Grid:
    """A problem: `cells` per axis of edge h; `fixed` dofs and `load` on nodes × components."""

    cells: tuple[int, ...]
    h: float
    fixed: Array  # bool, nodes × d
    load: Array  # nodes × d
    volume: float
    filtered: Callable[[Array], Array]  # linear map of cell values
    transposed: Callable[[Array], Array] | None = None  # itself where it is symmetric
    poisson: float = 0.3
    empty: float = 1e-9

    def pulled(self, dual: Array) -> Array:
        """Transpose of the filter."""
        return (self.transposed or self.filtered)(dual)

    @cached_property
    def free(self) -> Array:
        return ~self.fixed.ravel()

    @cached_property
    def dofs(self) -> Array:
        """Dofs of each cell, (cells, 2^d d)."""
        return _cell_dofs(self.cells)

    @cached_property
    def unit(self) -> Array:
        return element_stiffness(len(self.cells), self.poisson, self.h)

    @cached_property
    def _pattern(self) -> tuple[Array, Array]:
        k = self.dofs.shape[1]
        return np.repeat(self.dofs, k, axis=1).ravel(), np.tile(self.dofs, k).ravel()

    def stiffness(self, modulus: Array) -> sp.csr_matrix:
        """K with the identity in the fixed rows and columns."""
        entries = (modulus[:, None, None] * self.unit).ravel()
        size = self.fixed.size
        K = sp.coo_matrix((entries, self._pattern), shape=(size, size)).tocsr()
        keep = sp.diags(self.free.astype(float))
        return (keep @ K @ keep + sp.diags((~self.free).astype(float))).tocsr()

    def compliance(self, x: Array) -> tuple[float, Array]:
        """fᵀu and its gradient by x."""
        ρ = self.filtered(x)
        f = np.where(self.free, self.load.ravel(), 0.0)
        K = self.stiffness(self.empty + ρ**3 * (1 - self.empty))
        if len(self.cells) == 2:
            u = splu(K.tocsc()).solve(f)
        else:
            u = self._multigrid(K, f)
        ue = u[self.dofs]
        energy = np.einsum("ci,ij,cj->c", ue, self.unit, ue)
        return float(f @ u), self.pulled(-3 * ρ**2 * (1 - self.empty) * energy)

    def _multigrid(self, K: sp.csr_matrix, f: Array) -> Array:
        """CG with V(2,2) cycles of damped Jacobi; Galerkin coarse matrices."""
        levels = [(K, None)]
        for P in self._interpolations:
            A = (P.T @ levels[-1][0] @ P).tocsr()
            A = A + sp.diags((A.diagonal() == 0).astype(float))
            levels.append((A.tocsr(), P))
        coarsest = splu(levels[-1][0].tocsc())

        def cycle(b: Array, level: int = 0) -> Array:
            if level == len(levels) - 1:
                return coarsest.solve(b)
            A, P = levels[level][0], levels[level + 1][1]
            damped = 0.3 / A.diagonal()  # the largest eigenvalue of D⁻¹A is below 6.6
            x = damped * b
            x += damped * (b - A @ x)
            x += P @ cycle(P.T @ (b - A @ x), level + 1)
            for _ in range(2):
                x += damped * (b - A @ x)
            return x

        guess = getattr(self, "_last", np.zeros_like(f))
        u, failed = cg(K, f, x0=guess, rtol=1e-7, maxiter=500, M=LinearOperator(K.shape, cycle))
        if failed:
            raise RuntimeError("CG did not converge")
        self._last = u
        return u

    @cached_property
    def _interpolations(self) -> list[sp.csr_matrix]:
        maps, cells, free = [], self.cells, self.free
        while all(n % 2 == 0 and n > 4 for n in cells):
            coarse = tuple(n // 2 for n in cells)
            P = sp.identity(1)
            for n in coarse:
                P = sp.kron(P, _interpolation(n))
            P = sp.kron(P, sp.identity(len(cells))).tocsr()
            held = _held(free, cells)
            P = sp.diags(free.astype(float)) @ P @ sp.diags((~held).astype(float))
            maps.append(P.tocsr())
            cells, free = coarse, ~held
        return maps


def element_stiffness(d: int, poisson: float, h: float) -> Array:
    """Stiffness of a square (plane stress) or cube of edge h with E = 1."""
    corners = np.array(list(product((0, 1), repeat=d)))
    points = 0.5 + np.array([-1, 1]) / np.sqrt(12)
    μ = 1 / (2 * (1 + poisson))
    λ = poisson / (1 - poisson**2) if d == 2 else poisson / ((1 + poisson) * (1 - 2 * poisson))
    K = np.zeros((len(corners), d, len(corners), d))
    for ξ in product(points, repeat=d):
        N = np.where(corners, ξ, 1 - np.array(ξ))
        g = np.array([
            [(2 * c[i] - 1) * np.prod(np.delete(row, i)) for i in range(d)]
            for c, row in zip(corners, N, strict=True)
        ]) / h  # fmt: skip
        K += (h / 2) ** d * (
            λ * np.einsum("ai,bj->aibj", g, g)
            + μ * np.einsum("aj,bi->aibj", g, g)
            + μ * np.einsum("ak,bk,ij->aibj", g, g, np.eye(d))
        )
    return K.reshape(len(corners) * d, -1)


def helmholtz(cells: tuple[int, ...], h: float, r2: float) -> Callable[[Array], Array]:
    """x ↦ x̃ of x̃ − r² Δx̃ = x, one unknown a cell, no flux through the boundary."""
    L = sp.csr_matrix((1, 1))
    for n in cells:
        D = sp.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n))
        L = sp.kron(L, sp.identity(n)) + sp.kron(sp.identity(L.shape[0]), D.T @ D)
    factor = splu((sp.identity(L.shape[0]) + r2 / h**2 * L).tocsc())
    return lambda x: factor.solve(x)


def cone(cells: tuple[int, ...], radius: float) -> sp.csr_matrix:
    """top88's density filter: weights max(0, R − distance) in cells, divided by their row sums."""
    places = np.array(list(np.ndindex(*cells)))
    reach = int(np.ceil(radius)) - 1
    rows, columns, weights = [], [], []
    for step in product(range(-reach, reach + 1), repeat=len(cells)):
        weight = radius - np.linalg.norm(step)
        to = places + step
        inside = ((to >= 0) & (to < cells)).all(axis=1)
        if weight > 0:
            rows.append(np.flatnonzero(inside))
            columns.append(np.ravel_multi_index(tuple(to[inside].T), cells))
            weights.append(np.full(inside.sum(), weight))
    H = sp.coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))))
    return (sp.diags(1 / np.asarray(H.sum(axis=1)).ravel()) @ H).tocsr()


def second_moment(response: Array, h: float, axis: int) -> float:
    """Σ (x − x₀)² w / Σ w of a response about its centre of gravity."""
    x = np.indices(response.shape)[axis] * h
    mean = (x * response).sum() / response.sum()
    return float((((x - mean) ** 2) * response).sum() / response.sum())


def optimality_criteria(
    grid: Grid, iterations: int, *, change: float = 0.01, move: float = 0.2
) -> tuple[Array, list[float]]:
    """top88's loop: the last design and the compliances of the designs before each update."""
    x = np.full(int(np.prod(grid.cells)), grid.volume)
    dv, history = grid.pulled(np.ones_like(x)), []
    for _ in range(iterations):
        c, dc = grid.compliance(x)
        history.append(c)
        low, high = 0.0, 1e9
        while (high - low) / (low + high) > 1e-3:
            middle = 0.5 * (low + high)
            step = x * np.sqrt(-np.minimum(dc, 0) / dv / middle)
            new = np.clip(step, np.maximum(0, x - move), np.minimum(1, x + move))
            if grid.filtered(new).mean() > grid.volume:
                low = middle
            else:
                high = middle
        moved, x = np.abs(new - x).max(), new
        if moved < change:
            break
    return x, history


def mma(grid: Grid, iterations: int) -> tuple[Array, list[float]]:
    """nlopt's conservative MMA: the best feasible design and the compliances of accepted points."""
    n = int(np.prod(grid.cells))
    start = np.full(n, grid.volume * (1 - 1e-9))  # feasible: nlopt leaps from a start that is not
    scale = n / grid.compliance(start)[0]
    dv = grid.pulled(np.ones(n)) / n
    accepted: list[tuple[float, Array]] = []
    since = 0  # trial points since the last accepted one; many mean that only round-off is left
    opt = nlopt.opt(nlopt.LD_MMA, n)

    def objective(x: Array, gradient: Array) -> float:
        nonlocal since
        c, dc = grid.compliance(x)
        since += 1
        if gradient.size:
            gradient[:] = scale * dc
            accepted.append((c, x.copy()))
            since = 0
        if len(accepted) > iterations or since > 12:
            opt.force_stop()
        return scale * c

    def volume(x: Array, gradient: Array) -> float:
        if gradient.size:
            gradient[:] = n * dv / grid.volume
        return float(n * (dv @ x / grid.volume - 1))

    opt.set_lower_bounds(np.zeros(n))
    opt.set_upper_bounds(np.ones(n))
    opt.set_min_objective(objective)
    opt.add_inequality_constraint(volume, 0.0)
    opt.set_param("inner_gradients", 0)
    opt.set_exceptions_enabled(False)
    opt.optimize(start)
    feasible = [(c, x) for c, x in accepted if dv @ x <= grid.volume * (1 + 1e-6)]
    return min(feasible, key=lambda pair: pair[0])[1], [c for c, _ in accepted]


def half_mbb(cells: tuple[int, int], filtered: Callable[[Array], Array], volume: float) -> Grid:
    """Half an MBB beam of unit cells: symmetry at x = 0, a roller at the right lower corner."""
    nx, ny = cells
    node, shape = _numbers(cells), ((nx + 1) * (ny + 1), 2)
    fixed, load = np.zeros(shape, dtype=bool), np.zeros(shape)
    fixed[node[0, :], 0] = True
    fixed[node[nx, 0], 1] = True
    load[node[0, ny], 1] = -1
    return Grid(cells, 1.0, fixed, load, volume, filtered)


def cantilever_2d(
    cells: tuple[int, int], filtered: Callable[[Array], Array], volume: float
) -> Grid:
    """A cantilever of unit cells clamped at x = 0 with a unit load at the bottom of its tip."""
    nx, ny = cells
    node, shape = _numbers(cells), ((nx + 1) * (ny + 1), 2)
    fixed, load = np.zeros(shape, dtype=bool), np.zeros(shape)
    fixed[node[0, :]] = True
    load[node[nx, 0], 1] = -1
    return Grid(cells, 1.0, fixed, load, volume, filtered)


def cantilever_3d(n: int, filtered: Callable[[Array], Array]) -> Grid:
    """TopOpt in PETSc's cantilever on 2n × n × n cells of the box 2 × 1 × 1."""
    cells = (2 * n, n, n)
    node = _numbers(cells)
    fixed, load = np.zeros((node.size, 3), dtype=bool), np.zeros((node.size, 3))
    fixed[node[0].ravel()] = True
    line = node[2 * n, :, 0]
    load[line, 2] = -0.001
    load[line[[0, -1]], 2] /= 2
    return Grid(cells, 1 / n, fixed, load, 0.12, filtered)


def _numbers(cells: tuple[int, ...]) -> Array:
    shape = tuple(n + 1 for n in cells)
    return np.arange(np.prod(shape)).reshape(shape)


def _cell_dofs(cells: tuple[int, ...]) -> Array:
    d, node = len(cells), _numbers(cells)
    corner = [
        node[tuple(slice(c, c + n) for c, n in zip(offset, cells, strict=True))].ravel()
        for offset in product((0, 1), repeat=d)
    ]
    return (np.stack(corner, axis=1)[:, :, None] * d + np.arange(d)).reshape(len(corner[0]), -1)


def _interpolation(n: int) -> sp.csr_matrix:
    """Linear interpolation from n + 1 to 2n + 1 points."""
    even = sp.coo_matrix((np.ones(n + 1), (2 * np.arange(n + 1), np.arange(n + 1))))
    i = np.arange(n)
    rows, columns = np.tile(2 * i + 1, 2), np.concatenate([i, i + 1])
    odd = sp.coo_matrix((np.full(2 * n, 0.5), (rows, columns)), shape=even.shape)
    return (even + odd).tocsr()


def _held(free: Array, cells: tuple[int, ...]) -> Array:
    """Coarse dofs that coincide with fixed fine ones."""
    d = len(cells)
    fine = ~free.reshape(*(n + 1 for n in cells), d)
    return fine[(slice(None, None, 2),) * d].ravel()
