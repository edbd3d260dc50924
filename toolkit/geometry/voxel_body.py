"""The body of an optimised cell: solid where its density field exceeds the threshold of its volume.

The values of the voxels are interpolated linearly and periodically between their centres. The
filtered density is the field to take: it is smooth where the projected one has steps, so that its
level set is the smooth surface that the design means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.geometry.connectivity import require_cell
from toolkit.geometry.implicit import Implicit
from toolkit.geometry.threshold import at_porosity, grid_field

__all__ = ["voxel_body"]


def voxel_body(
    density: NDArray[np.float64],
    lengths: Sequence[float],
    *,
    porosity: float | None = None,
    name: str = "design",
) -> Implicit:
    """The body whose surface is a level set of voxel values.

    Args:
        density: value of each voxel, (n₁, n₂) or (n₁, n₂, n₃), larger in the solid.
        lengths: period along each axis.
        porosity: the pore space's share of the volume; that of the density unless given.
        name: what the body is called.

    Raises:
        ValueError: the array has not as many axes as `lengths`, a value outside [0, 1], or a
            porosity that is not between 0 and 1.
    """
    density, _ = require_cell(density, None)
    if density.ndim != len(lengths):
        raise ValueError(
            f"{name}: voxels of shape {density.shape} do not fit lengths = {tuple(lengths)}."
        )
    steps = [
        np.abs(np.diff(density, axis=axis, append=density.take([0], axis=axis))).max() * n / length
        for axis, (n, length) in enumerate(zip(density.shape, lengths, strict=True))
    ]
    return at_porosity(
        name,
        grid_field(name, density, lengths),
        lengths,
        porosity=1 - float(density.mean()) if porosity is None else porosity,
        steepness=float(np.linalg.norm(steps)),
    )
