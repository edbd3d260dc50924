"""Cells that a symmetry makes one variable: the orbits of mirror planes and of exchanged axes.

"orthotropic" mirrors the cell in the planes through its middle across each axis, "cubic" exchanges
the axes as well. A design that is constant on orbits has the symmetry, and so have the properties
of a filter and a mesh that share it.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from dolfinx import mesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from toolkit.domain import Domain
from toolkit.errors import InputError, together

__all__ = ["Symmetry", "orbits"]

Symmetry = Literal["orthotropic", "cubic"]


def orbits(domain: Domain, symmetry: Symmetry) -> npt.NDArray[np.int64]:
    """Number of the orbit of each cell, (cells,), in mesh-file order; collective.

    Raises:
        InputError: The mesh lacks the symmetry.
    """
    if symmetry not in ("orthotropic", "cubic"):
        raise InputError(f"symmetry='{symmetry}' is neither 'orthotropic' nor 'cubic'.")
    d = domain.dimension
    owned = np.arange(len(domain.cells), dtype=np.int32)
    centres = mesh.compute_midpoints(domain.mesh, d, owned)
    x = np.stack([domain.gather_cells(centres[:, axis]) for axis in range(d)], axis=1)
    with together(domain.comm):
        return _orbits(x, domain, symmetry)


def _orbits(
    x: npt.NDArray[np.float64], domain: Domain, symmetry: Symmetry
) -> npt.NDArray[np.int64]:
    low, high = x.min(axis=0), x.max(axis=0)
    middle, extent = (low + high) / 2, high - low
    if symmetry == "cubic" and np.ptp(extent) > 1e-6 * extent.max():
        raise InputError(
            f"symmetry='cubic' needs equal extents along all axes; '{domain.source}' has "
            f"{extent.tolist()} between its cells."
        )
    near = 1e-6 * extent.max()
    tree = cKDTree(x)
    maps = [_mirror(x, middle, axis) for axis in range(x.shape[1])]
    if symmetry == "cubic":
        maps += [_exchange(x, middle, axis) for axis in range(x.shape[1] - 1)]
    images = []
    for image in maps:
        gap, onto = tree.query(image)
        if gap.max() > near:
            raise InputError(
                f"The mesh '{domain.source}' has not the symmetry '{symmetry}': a cell's image is "
                f"{gap.max():.3g} off the nearest cell. Use a box of quadrilaterals or hexahedra, "
                "or a mesh made by mirroring."
            )
        images.append(onto)
    onto, cells = np.concatenate(images), np.tile(np.arange(len(x)), len(images))
    graph = coo_array((np.ones(len(onto)), (cells, onto)), (len(x), len(x)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _mirror(
    x: npt.NDArray[np.float64], middle: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    image = x.copy()
    image[:, axis] = 2 * middle[axis] - x[:, axis]
    return image


def _exchange(
    x: npt.NDArray[np.float64], middle: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    image = x - middle
    image[:, [axis, axis + 1]] = image[:, [axis + 1, axis]]
    return image + middle
