"""A volume image in space: values at the voxels' centres, and an affine map to millimetres.

    x = A (i, j, k)ᵀ + b        patient coordinates: x to the left, y to the back, z to the head

The axes of the grid may point anywhere, have any spacing and, under a tilted gantry, not be at
right angles: nothing is resampled on reading, since the affine map says where each voxel is.
Between the centres the image is trilinear in (i, j, k); in the outer half of the voxels of the
border it is constant, so that its integral over all voxels is the sum of the voxels' values.

In parallel an image is whole on every rank (4 bytes a voxel and rank): rank 0 reads the files and
broadcasts. What is made of it, meshes and fields, is distributed. Crop what is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mpi4py import MPI
from scipy import ndimage

from toolkit.errors import InputError, together

__all__ = ["Image", "on_rank_0"]

type Array = npt.NDArray[np.float64]

UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))  # axes along left, back, head


@dataclass(frozen=True, eq=False)
class Image:
    """A volume image.

    Attributes:
        values: Hounsfield units of CT, (ni, nj, nk), single or double precision.
        affine: From indices to millimetres, (3, 4); the last column is the centre of voxel 0 0 0.
        source: What it was read from, for messages and reports.
        notes: What was found or done on the way, for the report.
    """

    values: npt.NDArray[np.floating]
    affine: Array
    source: str = "array"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values, affine = np.asarray(self.values), np.asarray(self.affine, dtype=float)
        if values.dtype not in (np.float32, np.float64):
            values = values.astype(np.float32)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "affine", affine)
        if values.ndim != 3 or min(values.shape) < 2:
            raise InputError(
                f"The image '{self.source}' has the shape {values.shape}. Give a volume of at "
                "least two voxels along each of three axes."
            )
        if not np.isfinite(values).all():
            raise InputError(
                f"The image '{self.source}' has {int((~np.isfinite(values)).sum())} voxels that "
                "are not finite numbers. Replace them before reading."
            )
        edges = np.linalg.norm(affine[:, :3], axis=0) if affine.shape == (3, 4) else np.zeros(3)
        volume = abs(np.linalg.det(affine[:, :3])) if edges.all() else 0.0
        if not (np.isfinite(affine).all() and volume > 1e-6 * np.prod(edges)):
            raise InputError(
                f"The image '{self.source}' has an affine map that is not a (3, 4) map of a "
                f"volume: {affine.tolist()}."
            )

    @classmethod
    def of(
        cls,
        values: npt.ArrayLike,
        spacing: Sequence[float],
        *,
        origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
        directions: npt.ArrayLike = UPRIGHT,
        source: str = "array",
    ) -> "Image":
        """An image from an array.

        Args:
            values: (ni, nj, nk).
            spacing: Distance of the voxels' centres along i, j and k, mm.
            origin: Centre of the first voxel, mm.
            directions: Unit vectors of i, j, k as columns, (3, 3).
            source: What to call it.

        Raises:
            InputError: Shapes that do not fit, a spacing that is not positive.
        """
        if len(spacing) != 3 or not all(0 < h < np.inf for h in spacing):
            raise InputError(
                f"'{source}': spacing = {tuple(spacing)} must be three positive lengths in mm."
            )
        turn = np.asarray(directions, dtype=float)
        if turn.shape != (3, 3) or not np.allclose(np.linalg.norm(turn, axis=0), 1, atol=1e-3):
            raise InputError(
                f"'{source}': directions = {turn.tolist()} must be three unit vectors as columns."
            )
        if np.shape(origin) != (3,):
            raise InputError(f"'{source}': origin = {origin} must be three coordinates in mm.")
        affine = np.column_stack([turn * np.asarray(spacing, dtype=float), origin])
        return cls(np.asarray(values), affine, source)

    # ---- geometry -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j and k."""
        return self.values.shape

    @property
    def spacing(self) -> Array:
        """Distance of neighbouring centres along i, j and k, mm, (3,)."""
        return np.linalg.norm(self.affine[:, :3], axis=0)

    @property
    def voxel_volume(self) -> float:
        """mm³, of the parallelepiped that a voxel is."""
        return float(abs(np.linalg.det(self.affine[:, :3])))

    @property
    def shear(self) -> float:
        """By how many degrees the least right of the three angles between the axes misses 90°."""
        axes = self.affine[:, :3] / self.spacing
        cosines = np.abs(axes.T @ axes - np.eye(3)).max()
        return float(np.degrees(np.arcsin(min(cosines, 1.0))))

    def points(self, indices: npt.ArrayLike) -> Array:
        """Millimetres of indices, whole or not, (n, 3) → (n, 3)."""
        return np.asarray(indices, dtype=float) @ self.affine[:, :3].T + self.affine[:, 3]

    def indices(self, points: npt.ArrayLike) -> Array:
        """Indices, not whole ones, of points in millimetres, (n, 3) → (n, 3)."""
        inverse = np.linalg.inv(self.affine[:, :3])
        return (np.asarray(points, dtype=float) - self.affine[:, 3]) @ inverse.T

    def beyond(self, indices: Array) -> Array:
        """How far indices lie outside the voxels, in voxels, 0 inside, (n, 3) → (n,)."""
        middle = (np.array(self.shape) - 1) / 2
        over = (np.abs(indices[:, a] - middle[a]) - middle[a] - 0.5 for a in range(3))
        return reduce(np.maximum, over, np.zeros(len(indices)))

    def sampled(self, indices: Array) -> Array:
        """Trilinear values at indices, (n, 3) → (n,); constant beyond the outermost centres."""
        return ndimage.map_coordinates(
            self.values, indices.T, order=1, mode="nearest", output=np.float64
        )

    def at(self, points: npt.ArrayLike) -> Array:
        """Trilinear values at points in millimetres, (n, 3) → (n,)."""
        return self.sampled(self.indices(points))

    # ---- making another one ---------------------------------------------------------------------

    def noted(self, *notes: str) -> "Image":
        """The same image with further notes for the report."""
        return replace(self, notes=(*self.notes, *notes))

    def cropped(self, first: tuple[int, int, int], last: tuple[int, int, int]) -> "Image":
        """The voxels `first` ≤ (i, j, k) < `last`; they stay where they are in space.

        Raises:
            InputError: Indices outside the image, or fewer than two voxels left along an axis.
        """
        inside = all(
            0 <= a and a + 2 <= b <= n for a, b, n in zip(first, last, self.shape, strict=True)
        )
        if not inside:
            raise InputError(
                f"Cropping '{self.source}' from {tuple(first)} to {tuple(last)} does not leave two "
                f"voxels along each axis of its {self.shape}."
            )
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        affine = self.affine.copy()
        affine[:, 3] = self.points([first])[0]
        note = f"cropped to voxels {tuple(first)} to {tuple(last)}"
        return Image(self.values[box].copy(), affine, self.source, (*self.notes, note))

    def resampled(self, spacing: float | None = None, *, fill: float = -1000.0) -> "Image":
        """The image on a grid with right angles and one spacing, by trilinear interpolation.

        Meshes and maps do not need it, nor does a tilted gantry: it smooths the image. It is for
        programs that know rectangular voxels only.

        Args:
            spacing: mm; the smallest of the image if not given.
            fill: Value of voxels whose centres lie outside the image.

        Raises:
            InputError: A spacing that is not positive, or that leaves fewer than two voxels.
        """
        h = float(self.spacing.min() if spacing is None else spacing)
        if not 0 < h < np.inf:
            raise InputError(f"Resampling '{self.source}': spacing = {h:g} must be positive.")
        turn, _ = np.linalg.qr(self.affine[:, :3])
        turn = turn * np.where(np.sum(turn * self.affine[:, :3], axis=0) < 0, -1, 1)
        ends = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(self.shape) - 0.5
        along = self.points(ends) @ turn
        low, high = along.min(axis=0), along.max(axis=0)
        shape = tuple(int(n) for n in np.maximum(np.round((high - low) / h), 1))
        affine = np.column_stack([turn * h, turn @ (low + h / 2)])
        values = np.full(shape, fill, dtype=self.values.dtype)
        grid = np.indices(shape[1:]).reshape(2, -1)
        for i in range(shape[0]):
            points = np.vstack([np.full(grid.shape[1], i), grid]).T @ affine[:, :3].T + affine[:, 3]
            at = self.indices(points)
            layer = np.where(self.beyond(at) <= 1e-9, self.sampled(at), fill)
            values[i] = layer.reshape(shape[1:])
        note = f"resampled to {h:g} mm from a spacing of {self.spacing.round(4).tolist()} mm"
        return Image(values, affine, self.source, (*self.notes, note))


def on_rank_0(comm: MPI.Comm, read: Callable[[], Image], what: str | Path) -> Image:
    """Read on rank 0, broadcast the image, or its error, to all; collective."""
    image = None
    with together(comm):
        if comm.rank == 0:
            image = read()
    head = None if image is None else (image.shape, image.values.dtype, image.affine, image.notes)
    shape, dtype, affine, notes = comm.bcast(head)
    values = np.empty(shape, dtype) if image is None else np.ascontiguousarray(image.values)
    for layer in values:  # one at a time, as counts of MPI are 32 bits wide
        comm.Bcast(layer)
    return Image(values, affine, str(what), notes)
