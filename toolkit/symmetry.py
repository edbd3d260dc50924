"""Cells that a symmetry makes one variable: the orbits of mirror planes and of exchanged axes.

"orthotropic" mirrors the cell in the planes through its middle across each axis, "cubic" exchanges
the axes as well. A design that is constant on orbits has the symmetry, and so have the properties
of a filter and a mesh that share it.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from dolfinx import common, la, mesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from toolkit.domain import Domain
from toolkit.errors import InputError, together

__all__ = ["Orbits", "Symmetry", "orbits"]

Symmetry = Literal["orthotropic", "cubic"]


class Orbits:
    """Between variables, one an orbit, and the cells of the orbits, slice by slice.

    A variable is on the rank that owns the orbit's first cell in mesh-file order. The numbers of
    all cells' orbits are on every rank while this is made, and not after.

    Attributes:
        owned: (own,) numbers of this rank's variables.
        cells: (own,) number of cells of each.
    """

    def __init__(self, domain: Domain, symmetry: Symmetry) -> None:
        """Find the orbits and who needs whose variables; collective.

        Raises:
            InputError: The mesh lacks the symmetry.
        """
        comm, numbers = domain.comm, orbits(domain, symmetry)
        first = np.unique(numbers, return_index=True)[1]
        self.owned = np.flatnonzero(np.isin(first, domain.cells)).astype(np.int64)
        division = comm.allgather(self.owned)
        order = np.concatenate(division)
        place, owner = np.empty(len(first), dtype=np.int64), np.empty(len(first), dtype=np.int32)
        place[order] = np.arange(len(order))
        owner[order] = np.repeat(np.arange(comm.size), [len(part) for part in division])
        here = numbers[domain.cells]
        others = np.unique(here[owner[here] != comm.rank])
        index = common.IndexMap(comm, len(self.owned), place[others], owner[others], 0)
        self._vector = la.vector(index, 1)
        at = np.full(len(first), -1, dtype=np.int64)
        at[self.owned] = np.arange(len(self.owned))
        at[others] = len(self.owned) + np.arange(len(others))
        self._at = at[here]
        self.cells = self.sums(np.ones(len(here)))

    def spread(self, own: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each owned cell's variable, (owned cells,), from the variables (own,); collective."""
        self._vector.array[: len(own)] = own
        self._vector.scatter_forward()
        return self._vector.array[self._at]

    def sums(self, cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The transpose: sums (own,) over the cells of each variable; collective."""
        values = self._vector.array
        values[:] = np.bincount(self._at, cells, len(values))
        self._vector.scatter_reverse(la.InsertMode.add)
        return values[: len(self.owned)].copy()


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
