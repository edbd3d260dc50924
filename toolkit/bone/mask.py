"""Which voxels of an image are bone: by threshold, and cleaned.

Cleaning is morphology on the voxels: opening removes specks and bridges thinner than its width,
closing fills gaps, then holes inside are filled and the largest bodies kept. Bodies are connected
through faces, since voxels that meet in an edge or corner only would be a hinge in a mesh. The
order is fixed and each step's effect is noted. Everything is the same on every rank.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.bone.image import Image
from toolkit.errors import InputError

__all__ = ["Mask", "threshold"]

LEAST = 1e-3  # of the range of values, by which a voxel is off the level of a surface at least


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels of an image.

    Attributes:
        image: The image.
        inside: Whether each voxel belongs to it, (ni, nj, nk).
        level: The value on its surface, by which the surface is found between voxels; None for a
            mask that was drawn, whose surface is that of its voxels, smoothed.
        notes: How it was made, for the report.
    """

    image: Image
    inside: npt.NDArray[np.bool_]
    level: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        inside = np.asarray(self.inside, dtype=bool)
        object.__setattr__(self, "inside", inside)
        if inside.shape != self.image.shape:
            raise InputError(
                f"A mask of the shape {inside.shape} does not fit the image "
                f"'{self.image.source}' of {self.image.shape} voxels."
            )
        if not inside.any():
            raise InputError(
                f"The mask of '{self.image.source}' is empty ({'; '.join(self.notes) or 'drawn'}). "
                f"Values of the image go from {self.image.values.min():g} to "
                f"{self.image.values.max():g}."
            )

    @property
    def volume(self) -> float:
        """mm³."""
        return float(self.inside.sum()) * self.image.voxel_volume

    @property
    def bodies(self) -> int:
        """Number of parts that are not connected through faces of voxels."""
        return int(ndimage.label(self.inside)[1])

    @property
    def centroid(self) -> npt.NDArray[np.float64]:
        """Mean of the voxels' centres, mm, (3,)."""
        return self.image.points(np.argwhere(self.inside)).mean(axis=0)

    def signed(self) -> npt.NDArray[np.float32]:
        """A field that is positive in the mask, negative elsewhere, zero on its surface."""
        if self.level is None:
            return ndimage.gaussian_filter(self.inside.astype(np.float32), 0.7) - np.float32(0.5)
        off = np.abs(self.image.values - self.level)
        off = np.maximum(off, LEAST * float(np.ptp(self.image.values)))
        return np.where(self.inside, off, -off).astype(np.float32)

    def cleaned(
        self, *, opening: int = 0, closing: int = 0, fill: bool = True, keep: int | None = 1
    ) -> "Mask":
        """Without specks, gaps and holes.

        Args:
            opening: Steps of erosion and then dilation, in voxels.
            closing: Steps of dilation and then erosion.
            fill: Whether voids enclosed by the mask become part of it: the marrow of a closed
                bone does.
            keep: How many bodies to keep, the largest; None for all.

        Raises:
            InputError: Negative steps, `keep` below one, or nothing left.
        """
        if opening < 0 or closing < 0 or (keep is not None and keep < 1):
            raise InputError(
                f"Cleaning a mask: opening = {opening} and closing = {closing} must not be "
                f"negative, and keep = {keep} must be at least 1 or None."
            )
        inside, notes = self.inside, list(self.notes)
        for word, steps, act in (
            ("opening", opening, ndimage.binary_erosion),
            ("closing", closing, ndimage.binary_dilation),
        ):
            if not steps:
                continue
            back = ndimage.binary_dilation if word == "opening" else ndimage.binary_erosion
            padded = np.pad(inside, steps + 1, mode="edge")  # the border of an image is no surface
            padded = back(act(padded, iterations=steps), iterations=steps, border_value=1)
            inner = slice(steps + 1, -steps - 1)
            done = padded[inner, inner, inner]
            notes.append(f"{word} by {steps}: {int(done.sum()) - int(inside.sum()):+d} voxels")
            inside = done
        if keep is not None:
            inside = self._largest(inside, keep, notes)
        if fill:
            done = ndimage.binary_fill_holes(inside)
            notes.append(f"holes filled: {int(done.sum()) - int(inside.sum()):+d} voxels")
            inside = done
        return Mask(self.image, inside, self.level, tuple(notes))

    def _largest(
        self, inside: npt.NDArray[np.bool_], keep: int, notes: list[str]
    ) -> npt.NDArray[np.bool_]:
        labels, count = ndimage.label(inside)
        sizes = np.bincount(labels.ravel())[1:]
        kept = 1 + np.argsort(-sizes, kind="stable")[:keep]
        done = np.isin(labels, kept)
        notes.append(
            f"{len(kept)} of {count} bodies kept: {int(done.sum()) - int(inside.sum()):+d} voxels"
        )
        return done

    def coarsened(self, factor: int) -> "Mask":
        """Blocks of factor³ voxels, in the mask where at least half of them are.

        The image behind it has the blocks' means. It is for meshing: maps take the image as it is.

        Raises:
            InputError: A factor below one, or no block that is half full.
        """
        if factor < 1:
            raise InputError(f"Coarsening a mask: factor = {factor} must be at least 1.")
        rest = [(0, -n % factor) for n in self.inside.shape]
        count = [(n + more) // factor for n, (_, more) in zip(self.inside.shape, rest, strict=True)]
        blocks = [each for n in count for each in (n, factor)]
        share = np.pad(self.inside, rest).reshape(blocks).mean(axis=(1, 3, 5))
        values = np.pad(self.image.values, rest, mode="edge").reshape(blocks).mean(axis=(1, 3, 5))
        affine = self.image.affine.copy()
        affine[:, 3] = self.image.points([[(factor - 1) / 2] * 3])[0]
        affine[:, :3] *= factor
        note = f"coarsened: blocks of {factor} voxels along each axis"
        image = Image(values, affine, self.image.source, (*self.image.notes, note))
        return Mask(image, share >= 0.5, None, (*self.notes, note))

    def extended(self) -> Image:
        """The image with each voxel outside the mask given the value of the nearest one inside.

        Voxels on the surface of bone hold soft tissue too, and interpolation mixes in more of it,
        so that the outer layer of a thin cortex is mapped too soft. Mapping this image instead
        keeps what lies outside out of the interpolation. Distances are in mm between right-angled
        axes; a tilted grid is taken for one.
        """
        nearest = ndimage.distance_transform_edt(
            ~self.inside,
            sampling=self.image.spacing,
            return_distances=False,
            return_indices=True,
        )
        values = self.image.values[tuple(nearest)]
        note = "outside the mask: value of the nearest voxel inside"
        return Image(values, self.image.affine, self.image.source, (*self.image.notes, note))


def threshold(image: Image, above: float, below: float | None = None) -> Mask:
    """The voxels with above ≤ value (< below); bone in CT begins at 200 to 300 HU.

    Raises:
        InputError: Bounds in the wrong order, or no voxel between them.
    """
    if not np.isfinite(above) or (below is not None and not above < below):
        raise InputError(f"threshold: above = {above:g} must be finite and less than {below}.")
    inside = image.values >= above
    if below is not None:
        inside &= image.values < below
    note = f"threshold: value >= {above:g}" + ("" if below is None else f" and < {below:g}")
    return Mask(image, inside, None if below is not None else float(above), (note,))
