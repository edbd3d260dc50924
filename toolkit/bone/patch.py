"""A body that fills what is missing of a bone: the intersection of levels on a grid.

    P = { x : φ(x) = min over parts of φ_part(x) > 0 }

Each level is positive inside and is, near its zero, the distance from one part of the surface in
mm: the outer face, the inner one, the rim towards the bone. So a point on the surface belongs to
the part whose level is least there, and the surfaces of a mesh get their names. What is thinner
than twice a radius is taken off by an opening, and the largest body is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from mpi4py import MPI
from scipy import ndimage, spatial

from toolkit.bone.contour import Surface, contour
from toolkit.bone.image import Image
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane
from toolkit.bone.tetrahedra import tetrahedra
from toolkit.domain import Domain
from toolkit.errors import InputError

__all__ = ["Patch", "bone_distance", "missing", "patch_of_levels"]

type Array = npt.NDArray[np.float64]
type Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Patch:
    """An implant that fills a defect.

    Attributes:
        mask: Its voxels, on a grid of its own, finer than the image's; level 0 is its surface.
        parts: For each part of the surface, by name, its level on that grid.
        plane: The plane by which the healthy side was mirrored.
        outwards: Unit vector from the head's middle through the patch, along which it goes in.
        notes: What was found, for the report.
    """

    mask: Mask
    parts: Mapping[str, Image]
    plane: MirrorPlane
    outwards: Array
    notes: tuple[str, ...] = ()

    def surface(self, *, smoothing: int = 20) -> Surface:
        """Its closed surface, see `contour`."""
        return contour(self.mask, smoothing=smoothing)

    def nearest(self, points: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Names of the parts that points on the surface belong to, (n, 3) → (n,)."""
        levels = [image.at(points) for image in self.parts.values()]
        return np.array(list(self.parts))[np.argmin(np.abs(levels), axis=0)]

    def domain(
        self, *, size: float, smoothing: int = 20, comm: MPI.Comm = MPI.COMM_WORLD
    ) -> Domain:
        """Tetrahedra of an edge length in mm; collective.

        Names: the volume ``bone`` is the patch, ``surface`` its boundary, and each part's name its
        share of it.
        """
        domain = Domain.build(
            partial(tetrahedra, self.mask, size=size, smoothing=smoothing), comm=comm
        )
        for name in self.parts:
            domain.name(name, 2, lambda x, name=name: self.nearest(x.T) == name, midpoint=True)
        return domain


def patch_of_levels(
    levels: Mapping[str, Array], affine: Array, *, least: float, like: Patch | None = None
) -> tuple[Mask, dict[str, Image]]:
    """The mask and parts of a patch from its levels on a grid with one spacing.

    Args:
        levels: Of each part; where the opening cuts, the first part's level is lowered.
        affine: Of the grid, mm.
        least: What is thinner is taken off, mm.

    Raises:
        InputError: Nothing is left.
    """


def missing(mask: Mask, plane: MirrorPlane, near: npt.ArrayLike | None, least: float) -> Array:
    """Centres of the voxels of the largest body that the mirrored side has and this one has not."""
