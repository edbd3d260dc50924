"""The surface of a mask: a smooth triangle mesh, closed, in millimetres.

    { x : v(x) = level },      v trilinear, and mirrored at the level where the mask disagrees

Marching cubes finds the surface between the voxels, at the level that the mask was thresholded by,
so that it is no staircase. Taubin's filter takes out the noise of the grid and keeps the volume.
Where the mask reaches the border of the image the bone is cut there: the surface is that of the
image continued outwards, cut by the box of its voxels with exact Boolean operations, so that cuts
are flat and their edges sharp. All of it happens in the indices of the voxels, so that a tilted
grid is no different. It needs no communicator, and is meant for rank 0.

Sources: Lorensen & Cline 1987, doi:10.1145/37401.37422 (marching cubes); Taubin 1995,
doi:10.1145/218380.218473 (smoothing without shrinkage).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from manifold3d import Error, Manifold, Mesh64

from toolkit.bone.mask import Mask
from toolkit.errors import InputError

__all__ = ["Surface", "contour"]

type Array = npt.NDArray[np.float64]

MARGIN = 4  # voxels by which the image is continued where bone is cut by its border
PASS_BAND = 0.1  # of Taubin's filter: wavelengths of some ten triangles pass


class Surface(NamedTuple):
    """A closed triangle mesh around one body.

    Attributes:
        points: mm, (points, 3).
        triangles: Corners, counter-clockwise from outside, (triangles, 3).
        volume: Enclosed, mm³.
        voxels: Volume of the mask's voxels, mm³, beside it.
        dropped: Volume of fragments and voids that were left out, mm³.
    """

    points: Array
    triangles: npt.NDArray[np.int64]
    volume: float
    voxels: float
    dropped: float

    @property
    def holes(self) -> int:
        """How many go through the body: its genus, 1 − χ/2 by Euler's characteristic χ."""
        return 1 - (len(self.points) - len(self.triangles) // 2) // 2


def contour(mask: Mask, *, smoothing: int = 20) -> Surface:
    """The surface of the largest body of a mask.

    Args:
        mask: Cleaned; enclosed voids are filled, as no void is meshed.
        smoothing: Iterations of Taubin's filter; 0 for none.

    Raises:
        InputError: Negative smoothing, or a surface that encloses no body, as of a mask that is
            one voxel thin.
    """
    if smoothing < 0:
        raise InputError(f"contour: smoothing = {smoothing} must not be negative.")
    body = Manifold(_marched(mask, smoothing))
    shells = [body] if body.status() == Error.NoError else []
    if shells and _cut(mask.inside):
        shells = [body ^ Manifold.cube(mask.inside.shape).translate((-0.5, -0.5, -0.5))]
    shells = [part for each in shells for part in each.decompose()]  # voids: negative volumes
    largest = max(shells, key=lambda part: part.volume(), default=None)
    if largest is None or not largest.volume() > 0:
        raise InputError(
            f"The mask of '{mask.image.source}' has no closed surface with a volume in it. Clean "
            "it (Mask.cleaned), or take a finer image: parts one voxel thin have none."
        )
    scale, mesh = mask.image.voxel_volume, largest.to_mesh64()
    points = mask.image.points(np.asarray(mesh.vert_properties)[:, :3])
    triangles = np.asarray(mesh.tri_verts, dtype=np.int64)
    if np.linalg.det(mask.image.affine[:, :3]) < 0:
        triangles = triangles[:, ::-1]
    dropped = sum(abs(part.volume()) for part in shells) - largest.volume()
    return Surface(points, triangles, largest.volume() * scale, mask.volume, dropped * scale)


def _cut(inside: npt.NDArray[np.bool_]) -> bool:
    """Whether the mask reaches the border of the image."""
    ends = (np.moveaxis(inside, axis, 0)[end] for axis in range(3) for end in (0, -1))
    return any(end.any() for end in ends)


def _marched(mask: Mask, smoothing: int) -> Mesh64:
    """The contour in indices, closed outside of the image."""
    import pyvista  # takes seconds, so only where a surface is made

    field = np.pad(mask.signed(), MARGIN, mode="edge")
    field = np.pad(field, 1, constant_values=-float(np.abs(field).max()))
    grid = pyvista.ImageData(dimensions=field.shape, origin=(-1.0 - MARGIN,) * 3)
    grid.point_data["field"] = field.ravel(order="F")
    surface = grid.contour([0.0], scalars="field")
    if smoothing and surface.n_cells:
        surface = surface.smooth_taubin(n_iter=smoothing, pass_band=PASS_BAND)
    triangles = surface.faces.reshape(-1, 4)[:, 1:]
    return Mesh64(np.asarray(surface.points, dtype=np.float64), triangles.astype(np.uint64))
