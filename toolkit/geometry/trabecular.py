"""Random periodic structures that resemble trabecular bone: Voronoi struts and Gaussian fields.

    struts     solid = { d(x) < r },  d the distance to the nearest edge of a Voronoi tessellation
    field      solid = { f(x) > t },  f(x) = √(2/N) Σ cos(qᵢ·x + φᵢ),  |qᵢ| ≈ 2π / wavelength

The seeds of the tessellation are placed one by one at random, no two nearer than a least distance;
struts along Voronoi edges are a usual design of irregular scaffolds (doi:10.3390/mi12060664). The
field is the superposition of standing waves of Cahn 1965, doi:10.1063/1.1695731, made periodic by
wave vectors that fit the box as in Soyarslan et al. 2018, doi:10.1016/j.actamat.2018.01.005: for
many waves it is Gaussian with unit variance. Either is stretched by an anisotropy. Everything
random comes from the seed, so the body is the same on every rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from toolkit.geometry.dimensions import require_below, require_positive
from toolkit.geometry.implicit import Implicit, cubic_resolution, values_at_centres
from toolkit.geometry.strut_network import StrutNetwork
from toolkit.geometry.threshold import (
    Porosity,
    at_porosity,
    at_threshold,
    require_porosity,
    threshold,
)

__all__ = ["mixed_porosity", "random_field", "voronoi_struts"]

type _Triple = tuple[float, float, float]


def voronoi_struts(
    *,
    porosity: Porosity | None = None,
    radius: float | None = None,
    cells: int = 20,
    seed: int = 0,
    regularity: float = 0.6,
    anisotropy: _Triple = (1.0, 1.0, 1.0),
    lengths: _Triple = (1.0, 1.0, 1.0),
) -> Implicit:
    """Round struts along the edges of a periodic Voronoi tessellation, all of one radius.

    One of `porosity` and `radius` is given.

    Args:
        porosity: the pore space's share, a number or a field (see `at_porosity`).
        radius: of the struts, in the unit of `lengths`.
        cells: pores in the box.
        seed: of the positions of the cells.
        regularity: least distance of two seeds, as a share of their distance in the densest
            packing; 0 is a Poisson tessellation.
        anisotropy: how far the cells are stretched along each axis; only the ratios matter.
        lengths: of the box.

    Raises:
        ValueError: both or none of `porosity` and `radius` are given, a dimension is not positive,
            `regularity` is not in [0, 0.75], there are so few cells that one reaches across half
            the box, or the porosity or radius leaves no pore or no strut.
    """
    if (porosity is None) == (radius is None):
        raise ValueError("voronoi_struts: give either porosity or radius.")
    _require_box(lengths, anisotropy)
    stretch = np.array(anisotropy) / np.cbrt(np.prod(anisotropy))
    box = np.array(lengths) / stretch
    starts, ends = _voronoi_edges(_seeds(box, cells, seed, regularity), box)
    network = StrutNetwork.of(starts * stretch, ends * stretch, lengths)
    name = f"Voronoi struts, {cells} cells, seed {seed}"

    def field(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return -network.distance(x)

    if porosity is not None:
        return at_porosity(name, field, lengths, porosity=porosity, steepness=1.0, resolution=48)
    assert radius is not None
    require_positive(radius=radius)
    widest = -float(values_at_centres(field, lengths, cubic_resolution(lengths, 32)).min())
    require_below("radius", radius, widest, why="no pore is left")
    return at_threshold(name, field, lengths, threshold=-radius, steepness=1.0)


def random_field(
    *,
    porosity: Porosity = 0.7,
    seed: int = 0,
    wavelength: float = 0.4,
    anisotropy: _Triple = (1.0, 1.0, 1.0),
    waves: int = 60,
    lengths: _Triple = (1.0, 1.0, 1.0),
) -> Implicit:
    """Solid where a periodic Gaussian random field exceeds the threshold of a porosity.

    The mean distance from strut to strut is about the wavelength. Both phases are in one piece for
    porosities between about 0.2 and 0.8, and nearly so a little beyond; `morphology` tells for a
    given seed.

    Args:
        porosity: the pore space's share, a number or a field (see `at_porosity`).
        seed: of the waves' directions and phases.
        wavelength: of the waves, in the unit of `lengths`.
        anisotropy: how far the structure is stretched along each axis; only the ratios matter.
        waves: number of them, or as many as fit the box if they are fewer.
        lengths: of the box.

    Raises:
        ValueError: `porosity` is not between 0 and 1, a dimension is not positive, or fewer than
            six waves of that length fit the box.
    """
    field = _Waves.random(seed, wavelength, anisotropy, waves, lengths)
    name = f"random field, wavelength {wavelength:g}, seed {seed}"
    steepness = field.steepness()
    return at_porosity(name, field, lengths, porosity=porosity, steepness=steepness, resolution=48)


def mixed_porosity(
    *,
    porosity: float = 0.7,
    micro: float = 0.15,
    seed: int = 0,
    wavelength: float = 0.5,
    micro_wavelength: float = 0.125,
    anisotropy: _Triple = (1.0, 1.0, 1.0),
    waves: int = 40,
    lengths: _Triple = (1.0, 1.0, 1.0),
) -> Implicit:
    """Two scales of pores: walls between large pores are themselves porous.

    Solid where both of two independent random fields, of the long and of the short wavelength,
    exceed their thresholds. Then both thresholds are moved together, by the same multiple of a
    field's slope, until the porosity is met.

    Args:
        porosity: share of all pores in the volume.
        micro: share of the small pores in the walls; below about 0.15 most of them are closed.
        seed: of the waves' directions and phases.
        wavelength: of the large pores, in the unit of `lengths`.
        micro_wavelength: of the small pores.
        anisotropy: how far the large pores are stretched along each axis; only the ratios matter.
        waves: number of them for each field.
        lengths: of the box.

    Raises:
        ValueError: `porosity` or `micro` is not between 0 and 1, `porosity` is not above `micro`,
            `micro_wavelength` is not below `wavelength`, or as for `random_field`.
    """
    require_porosity(micro, of="the walls")
    require_porosity(porosity, of=f"walls that have a porosity of {micro:g} themselves", low=micro)
    require_below("micro_wavelength", micro_wavelength, wavelength, why="it is not the short one")
    large = _Waves.random(2 * seed, wavelength, anisotropy, waves, lengths)
    small = _Waves.random(2 * seed + 1, micro_wavelength, (1.0, 1.0, 1.0), waves, lengths)
    walls = (1 - porosity) / (1 - micro)
    t = threshold(large, lengths, fraction=walls, resolution=32, samples=2)
    s = threshold(small, lengths, fraction=1 - micro, resolution=32, samples=2)

    def field(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(wavelength * (large(x) - t), micro_wavelength * (small(x) - s))

    steepness = max(wavelength * large.steepness(), micro_wavelength * small.steepness())
    name = f"mixed porosity, wavelengths {wavelength:g} and {micro_wavelength:g}, seed {seed}"
    return at_porosity(name, field, lengths, porosity=porosity, steepness=steepness, resolution=48)


@dataclass(frozen=True)
class _Waves:
    """A sum of N cosines with variance 1; `vectors` (N, 3) fit the box of `lengths`."""

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    lengths: _Triple

    @classmethod
    def random(
        cls, seed: int, wavelength: float, anisotropy: _Triple, waves: int, lengths: _Triple
    ) -> Self:
        """Waves chosen at random among those that fit the box and have nearly the wavelength."""
        require_positive(wavelength=wavelength)
        _require_box(lengths, anisotropy)
        stretch = np.array(anisotropy) / np.cbrt(np.prod(anisotropy))
        whole = _whole_waves(np.array(lengths) / (wavelength * stretch))
        if len(whole) < 6 or waves < 6:
            raise ValueError(
                f"random field: wavelength = {wavelength:g} and waves = {waves} leave "
                f"{min(len(whole), waves)} waves that fit the box {tuple(lengths)}. Give at least "
                "6 waves and a wavelength of at most half the shortest length."
            )
        numbers = _random(seed)
        chosen = np.argsort(numbers.random(len(whole)), kind="stable")[:waves]
        vectors = 2 * pi * whole[chosen] / np.array(lengths)
        return cls(vectors, 2 * pi * numbers.random(len(chosen)), lengths)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The field at points (3, n)."""
        return self._sum(x, np.cos)

    def steepness(self) -> float:
        """A bound of the slope, at most a seventh above the largest.

        A sum of waves with |q| ≤ σ that reaches its maximum M at a point is at least M cos(σδ) at
        the distance δ from it (the comparison theorem of Duffin and Schaeffer), and so is its slope
        in the direction where that is largest. So the largest slope on a grid tells the largest.
        """
        σ = float(np.linalg.norm(self.vectors, axis=1).max())
        cells = int(np.ceil(sqrt(3) * max(self.lengths) * σ))
        shape = cubic_resolution(self.lengths, cells)
        δ = float(np.linalg.norm(np.array(self.lengths) / shape)) / 2
        slopes = values_at_centres(self._slope, self.lengths, shape)
        return float(slopes.max()) / cos(σ * δ)

    def _slope(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm([self._sum(x, np.sin, q) for q in self.vectors.T], axis=0)

    def _sum(
        self,
        x: NDArray[np.float64],
        wave: np.ufunc,
        weights: NDArray[np.float64] | float = 1.0,
    ) -> NDArray[np.float64]:
        """√(2/N) Σ weightsᵢ wave(qᵢ·x + φᵢ), a part of the points at a time."""
        amplitudes = np.broadcast_to(sqrt(2 / len(self.phases)) * weights, self.phases.shape)
        values = np.empty(x.shape[1])
        for start in range(0, x.shape[1], 8192):
            part = slice(start, start + 8192)
            phase = self.vectors @ x[:, part]
            phase += self.phases[:, None]
            values[part] = amplitudes @ wave(phase, out=phase)
        return values


def _whole_waves(longest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers of waves along the axes, of a length near what is asked.

    The tolerance is half a wave in the box, and at least a tenth.

    Args:
        longest: numbers of waves along each axis, if they ran along it.

    Returns:
        One of each pair h, −h, of shape (n, 3), in a fixed order.
    """
    tolerance = max(0.1, 0.5 / float(np.cbrt(np.prod(longest))))
    most = np.ceil((1 + tolerance) * longest).astype(int)
    h = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1)
    h = h.reshape(-1, 3)[h.size // 6 + 1 :]  # the second half: (0, 0, 0) is in the middle
    length = np.linalg.norm(h / longest, axis=1)
    return h[np.abs(length - 1) <= tolerance].astype(float)


def _seeds(
    box: NDArray[np.float64], cells: int, seed: int, regularity: float
) -> NDArray[np.float64]:
    """Points (cells, 3) in a periodic box, placed in turn where they keep the least distance."""
    if not 0 <= regularity <= 0.75:
        raise ValueError(
            f"regularity = {regularity:g} is outside what random placement reaches. "
            "Give 0 <= regularity <= 0.75."
        )
    least = regularity * float(np.cbrt(sqrt(2) * np.prod(box) / max(cells, 1)))
    numbers = _random(seed)
    placed = np.empty((0, 3))
    for _ in range(20_000 * cells):
        if len(placed) == cells:
            return placed
        point = box * numbers.random(3)
        apart = placed - point
        apart -= box * np.rint(apart / box)
        if np.all(np.einsum("ni,ni->n", apart, apart) >= least**2):
            placed = np.vstack([placed, point])
    raise ValueError(
        f"{len(placed)} of cells = {cells} found a place with regularity = {regularity:g}. "
        "Give a lower regularity, or another seed."
    )


def _voronoi_edges(
    seeds: NDArray[np.float64], box: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends (n, 3) of the edges of a period of the tessellation of seeds in a periodic box."""
    shifts = box * (np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1) - 1)
    tiled = (seeds + shifts[:, None]).reshape(-1, 3)
    diagram = Voronoi(tiled)
    polygons = [np.array(ridge) for ridge in diagram.ridge_vertices if min(ridge) >= 0]
    edges = np.concatenate([np.stack([p, np.roll(p, 1)], axis=1) for p in polygons])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    starts, ends = diagram.vertices[edges[:, 0]], diagram.vertices[edges[:, 1]]
    middle = (starts + ends) / 2
    within = np.all((middle >= -1e-9 * box) & (middle <= (1 + 1e-9) * box), axis=1)
    starts, ends = starts[within], ends[within]
    if not (len(starts) and np.all(_reach(starts, seeds, box) < box.min())):
        raise ValueError(
            f"cells = {len(seeds)} leaves a cell that reaches across the box. Give more cells, or "
            "less anisotropy."
        )
    return starts, ends


def _reach(
    corners: NDArray[np.float64], seeds: NDArray[np.float64], box: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far outside the box the nearest seeds of corners (n, 3) can be, (n,)."""
    apart = corners[:, None] - seeds
    apart -= box * np.rint(apart / box)
    radius = np.sqrt((apart**2).sum(axis=-1).min(axis=1))
    return radius + np.linalg.norm(corners - np.clip(corners, 0, box), axis=1)


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _require_box(lengths: Sequence[float], anisotropy: Sequence[float]) -> None:
    require_positive(**{f"length along {a}": v for a, v in zip("xyz", lengths, strict=True)})
    require_positive(**{f"anisotropy along {a}": v for a, v in zip("xyz", anisotropy, strict=True)})
