"""Stokes–Brinkman flow on a rectangle of square cells: Q2 velocity, Q1 pressure, α constant a cell.

    J = ½ ∫ |∇u|² + α |u|²    with −Δu + α u + ∇p = 0,  ∇·u = 0,  u = ū on the whole boundary

All matrices are tensor products of one-dimensional ones.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

Array = np.ndarray


def dissipation(
    cells: tuple[int, int], h: float, α: Array, velocity: Callable[[Array], Array]
) -> tuple[float, Array]:
    """J and ∂J/∂α of each cell, (nx, ny).

    Args:
        cells: nx, ny.
        h: Edge of a cell.
        α: Drag, (nx, ny).
        velocity: ū of points (2, k), (2, k); used on the boundary.
    """
    M, K, D, C = _one_dimensional(h)
    mass, viscous = np.kron(M, M), np.kron(K, M) + np.kron(M, K)
    fine, coarse = _nodes(cells, 2), _nodes(cells, 1)
    nu, npr = fine.max() + 1, coarse.max() + 1
    A = _assemble(viscous + α.ravel()[:, None, None] * mass, fine, fine, nu, nu)
    Bx = _assemble(np.broadcast_to(np.kron(D, C), (α.size, 4, 9)), coarse, fine, npr, nu)
    By = _assemble(np.broadcast_to(np.kron(C, D), (α.size, 4, 9)), coarse, fine, npr, nu)
    B = sp.hstack([Bx, By])
    full = sp.block_array([[sp.block_diag([A, A]), -B.T], [-B, None]]).tocsr()

    shape = tuple(2 * n + 1 for n in cells)
    i, j = (index.ravel() for index in np.indices(shape))
    edge = (i == 0) | (i == shape[0] - 1) | (j == 0) | (j == shape[1] - 1)
    w = np.zeros(full.shape[0])
    w[: 2 * nu] = np.where(edge, velocity(np.stack([i, j]) * h / 2), 0.0).ravel()
    free = np.concatenate([~edge, ~edge, np.arange(npr) > 0])  # the pressure is zero at a corner
    w[free] = splu(full[free][:, free].tocsc()).solve(-(full @ w)[free])

    u = w[: 2 * nu].reshape(2, nu)
    slope = 0.5 * np.einsum("kci,ij,kcj->c", u[:, fine], mass, u[:, fine])
    return 0.5 * float(sum(v @ A @ v for v in u)), slope.reshape(cells)


def _one_dimensional(h: float) -> tuple[Array, Array, Array, Array]:
    """∫NN', ∫N'N', ∫L N', ∫L N on an interval: N quadratic, L linear."""
    s, weight = np.polynomial.legendre.leggauss(3)
    s, weight = (s + 1) / 2, weight * h / 2
    N = np.stack([(1 - s) * (1 - 2 * s), 4 * s * (1 - s), s * (2 * s - 1)])
    dN = np.stack([4 * s - 3, 4 - 8 * s, 4 * s - 1]) / h
    L = np.stack([1 - s, s])
    return (N * weight) @ N.T, (dN * weight) @ dN.T, (L * weight) @ dN.T, (L * weight) @ N.T


def _nodes(cells: tuple[int, int], degree: int) -> Array:
    """Node numbers of each cell, (cells, (degree + 1)²)."""
    nx, ny = cells
    number = np.arange((degree * nx + 1) * (degree * ny + 1)).reshape(degree * nx + 1, -1)
    steps = [
        number[a : a + degree * nx : degree, b : b + degree * ny : degree].ravel()
        for a in range(degree + 1)
        for b in range(degree + 1)
    ]
    return np.stack(steps, axis=1)


def _assemble(blocks: Array, rows: Array, columns: Array, height: int, width: int) -> sp.csr_matrix:
    i = np.repeat(rows, columns.shape[1], axis=1).ravel()
    j = np.tile(columns, rows.shape[1]).ravel()
    return sp.coo_matrix((np.ascontiguousarray(blocks).ravel(), (i, j)), (height, width)).tocsr()
