"""A body that fills what is missing of a bone: the intersection of levels on a grid.

    P = { x : min over parts of φ_part(x) > 0 }

Each level is positive inside and is, near its zero, the distance in mm from one part of the
surface: the outer face, the inner one, the rim towards the bone. So a point on the surface belongs
to the part whose level is least there, and the surfaces of a mesh get their names. What an opening
takes off is too thin to be made; of what is left the largest body is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from mpi4py import MPI
from scipy import ndimage

from toolkit.bone.contour import Surface, contour
from toolkit.bone.defect import Box
from toolkit.bone.image import Image
from toolkit.bone.mask import Mask
from toolkit.bone.mirror_plane import MirrorPlane
from toolkit.bone.tetrahedra import tetrahedra
from toolkit.domain import Domain
from toolkit.errors import InputError

__all__ = ["Patch", "intersection"]

type Array = npt.NDArray[np.float64]

NO_EDGE = 180.0  # degrees: gmsh finds no closed curves of edges on a rim that follows bone


@dataclass(frozen=True, eq=False)
class Patch:
    """An implant that fills a defect.

    Attributes:
        mask: Its voxels, on a grid of its own, finer than the image's.
        parts: For each part of the surface, by name, its level on that grid.
        plane: By which the healthy side was mirrored.
        outwards: Unit vector along which it is lifted out, (3,).
    """

    mask: Mask
    parts: Mapping[str, Image]
    plane: MirrorPlane
    outwards: Array

    def surface(self, *, smoothing: int = 20) -> Surface:
        """Its closed surface, see `contour`."""
        return contour(self.mask, smoothing=smoothing)

    def part(self, points: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Names of the parts that points on the surface belong to, (n, 3) → (n,)."""
        levels = [level.at(points) for level in self.parts.values()]
        return np.array(list(self.parts))[np.argmin(levels, axis=0)]

    def _belongs(self, name: str, x: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(self.part(x.T) == name)

    def domain(
        self, *, size: float, smoothing: int = 20, comm: MPI.Comm = MPI.COMM_WORLD
    ) -> Domain:
        """Tetrahedra with edges of `size` mm; collective.

        Names: the volume ``bone`` is the patch, ``surface`` its boundary, and each part of that
        has its name.
        """
        model = partial(tetrahedra, self.mask, size=size, smoothing=smoothing, sharp=NO_EDGE)
        domain = Domain.build(model, comm=comm)
        for name in self.parts:
            domain.name(name, 2, partial(self._belongs, name), midpoint=True)
        return domain


def intersection(
    levels: Mapping[str, Array], box: Box, source: str, *, least: float
) -> tuple[Mask, dict[str, Image]]:
    """The mask and the parts of a patch from the levels of its parts.

    Args:
        levels: On the grid, by name; the first one is lowered where the opening cuts.
        box: The grid.
        source: What the patch is called.
        least: What is thinner is taken off, mm.

    Raises:
        InputError: Nothing is left.
    """
    h = box.spacing
    inside = np.minimum.reduce(list(levels.values())) > 0
    deep = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1] * h > least / 2
    labels, count = ndimage.label(deep)
    if not count:
        raise InputError(
            f"The patch of '{source}' is nowhere {least:.3g} mm thick. Give a smaller gap, a "
            "greater thickness, or another point near the defect."
        )
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    kept = least / 2 + h - ndimage.distance_transform_edt(~largest) * h
    first, *others = levels
    cut = np.where(inside & (kept < 0), np.minimum(levels[first], kept), levels[first])
    parts = {first: cut} | {name: levels[name] for name in others}
    body = np.minimum.reduce(list(parts.values()))
    labels, _ = ndimage.label(body > 0)
    inside = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    mask = Mask(box.image(body, source), ndimage.binary_fill_holes(inside), 0.0)
    return mask, {name: box.image(level, source) for name, level in parts.items()}
