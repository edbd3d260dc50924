"""A mask as a mesh: one hexahedron for each voxel.

Each cell is the parallelepiped that its voxel is in space, so the mesh lies where the patient does,
turned, flipped or sheared as the image is. The boundary is a staircase: volumes are those of the
mask, surfaces and stresses on them are not. Rank 0 makes the mesh, which is then distributed.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit import meshfile
from toolkit.bone.mask import Mask
from toolkit.domain import Domain
from toolkit.errors import together
from toolkit.meshfile import MeshArrays

__all__ = ["voxel_domain"]

type Integers = npt.NDArray[np.int64]

_QUAD = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])  # corners in DOLFINx's order
_CUBE = np.array([[i, j, k] for k in (0, 1) for j in (0, 1) for i in (0, 1)])


def voxel_domain(mask: Mask, *, comm: MPI.Comm = MPI.COMM_WORLD) -> Domain:
    """The voxels of a mask as a domain of hexahedra, mm; collective.

    Names: the region ``bone`` and its boundary ``surface``; `Domain.name` adds others. For larger
    cells coarsen the mask (`Mask.coarsened`), and map the image as it is.

    Args:
        mask: What to mesh; one body, or a part of the mesh may float.
        comm: Communicator of the mesh.
    """
    source = f"voxels of {Path(mask.image.source).name}"
    arrays = meshfile._EMPTY
    with together(comm):
        if comm.rank == 0:
            arrays = _arrays(mask)
    return Domain._distribute(meshfile.dealt(arrays, comm), comm, source)


def _arrays(mask: Mask) -> MeshArrays:
    """The whole mesh, cells in the order of the voxels, the last index fastest."""
    voxels = np.argwhere(mask.inside)
    shape = np.array(mask.inside.shape) + 1
    corners = _numbers((voxels[:, None, :] + _CUBE).reshape(-1, 3), shape)
    quads = np.concatenate([_numbers(part, shape) for part in _boundary(mask.inside)])
    used, cells = np.unique(corners, return_inverse=True)
    cells = cells.reshape(-1, 8).astype(np.int64)
    if np.linalg.det(mask.image.affine[:, :3]) < 0:
        cells = cells[:, [1, 0, 3, 2, 5, 4, 7, 6]]
    surface = np.searchsorted(used, quads).reshape(-1, 4).astype(np.int64)
    points = mask.image.points(np.stack(np.unravel_index(used, shape), axis=1) - 0.5)
    digest = hashlib.sha256(b"voxels")
    for part in (points, cells, surface):
        digest.update(np.ascontiguousarray(part).tobytes())
    named = {(3, "bone"): cells, (2, "surface"): surface}
    return MeshArrays(points, cells, ("hexahedron", 1), named, digest.hexdigest()[:16])


def _numbers(nodes: Integers, shape: Integers) -> Integers:
    """One number for the indices of each node, (n, 3) → (n,)."""
    return np.ravel_multi_index(tuple(nodes.T), tuple(shape)).astype(np.int64)


def _boundary(inside: npt.NDArray[np.bool_]) -> list[Integers]:
    """Corners of the faces between a voxel of the mask and none, (4 faces, 3), for each side."""
    padded, found = np.pad(inside, 1), []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        quad = np.zeros((4, 3), dtype=np.int64)
        quad[:, others] = _QUAD
        for side in (0, 1):
            beside = np.roll(padded, 1 - 2 * side, axis=axis)[1:-1, 1:-1, 1:-1]
            faces = np.argwhere(inside & ~beside)
            faces[:, axis] += side
            found.append((faces[:, None, :] + quad).reshape(-1, 3))
    return found
