"""Property maps: the effective properties of a family of cells as laws of the density.

`sample` homogenises a family of periodic bodies at a few porosities, voxel by voxel with the solid
fraction f of each voxel, for a solid of E = 1 and a fluid of μ = 1, D = 1:

    stiffness      E = f + 1e-6 (1 − f)
    permeability   α = min(1.8 μ/h² · f/(1 − f), 1e6 μ/L²)      h, L edges of voxel and cell
    diffusion      D = (1 − f) + 1e-6 f

The modulus and the diffusivity of a voxel are means because the strain varies little within it:
∫ E ε:ε over the voxel is then the mean of E times that of ε:ε, as if the body had been cut out
exactly. This is Voigt's bound, so both are too large. For cubic arrays of spheres that fill 20 and
40 %, C is 0.2 to 0.5 % and D 0.1 % too large at 32 voxels, 1 to 2 % and 0.4 % at 16. The void's
modulus keeps the matrix definite and adds about 1e-6 of the solid's. The drag is fitted to spheres
and gyroids; for spheres k is within 0.2 % at 32 voxels and 3 to 4 % too large at 16. Where a body
is closed along an axis, the stabilisation of the pressure lets about ε h²/12 pass, 6e-5 L² at 32
voxels for ε = 0.75: smaller permeabilities mean none.

`PropertyMap` joins the samples by cubics that are monotone where the samples are, with continuous
slope (Fritsch & Carlson 1980, doi:10.1137/0717021; slopes of Fritsch & Butland 1984,
doi:10.1137/0905021), in Bernstein's form, which has no cancellation: a law that falls to zero never
passes it. What solid and void are known to be is joined to the samples.

Sampling, reading and writing are collective; the maps are the same on every rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import h5py
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from ufl.core.expr import Expr

from toolkit import checkpoint, homogenize, moduli
from toolkit.cell import Cell
from toolkit.elasticity import Plane
from toolkit.errors import InputError, together
from toolkit.material import lame

__all__ = ["Curve", "PropertyMap", "sample"]

type Array = NDArray[np.float64]

FORMAT = "implant-toolkit property map"
VOID = 1e-6  # modulus of the void, diffusivity of the solid
WALL = 1.8  # drag of a half solid voxel, μ/h²
CAP = 1e6  # drag of the solid, μ/L²
PACKAGES = ("toolkit", "dolfinx", "petsc")


class Body(Protocol):
    """A periodic body, as `toolkit.geometry` makes them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def lengths(self) -> Sequence[float]:
        """The period along each axis, (d,)."""

    def voxels(self, resolution: Sequence[int], /) -> Array:
        """Solid fraction of each voxel, of shape `resolution`, [i, j, k] ↔ x, y, z."""


class Family(Protocol):
    """Bodies by their porosity: `partial(gyroid, form="sheet")`, `lambda porosity: …`."""

    def __call__(self, *, porosity: float) -> Body:
        """The body of that porosity."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A monotone cubic spline with continuous slope; beyond its ends, the tangents there.

    Attributes:
        knots: Increasing, (n,).
        values: At the knots, (n,).
    """

    knots: Array
    values: Array

    def __call__(self, rho: Any) -> Any:
        """The value at a density: UFL of UFL, a number or an array of numbers."""
        if isinstance(rho, Expr):
            return self._ufl(rho)
        ρ = np.asarray(rho, dtype=float)
        x, i, t = self._local(ρ)
        a, b, c, e = self._control[i].T.reshape(4, *ρ.shape)
        s = 1 - t
        inside = s**3 * a + 3 * s**2 * t * b + 3 * s * t**2 * c + t**3 * e
        found = inside + self._slopes[np.where(ρ > x, -1, 0)] * (ρ - x)
        return found if ρ.ndim else float(found)

    def slope(self, rho: Any) -> Any:
        """The derivative at a number or an array of numbers."""
        ρ = np.asarray(rho, dtype=float)
        _, i, t = self._local(ρ)
        p, q, r = (3 * np.diff(self._control)[i].T / np.diff(self.knots)[i].T).reshape(3, *ρ.shape)
        found = (1 - t) ** 2 * p + 2 * (1 - t) * t * q + t**2 * r
        return found if ρ.ndim else float(found)

    def _local(self, ρ: Array) -> tuple[Array, NDArray[np.intp], Array]:
        """The nearest point between the ends, its interval, and its place in it, in [0, 1]."""
        knots = self.knots
        x = np.clip(ρ, knots[0], knots[-1])
        i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
        return x, i, (x - knots[i]) / (knots[i + 1] - knots[i])

    def _ufl(self, ρ: Expr) -> Expr:
        """The cubics in a chain of conditionals; the slope is exact at the knots also."""
        if ρ.ufl_shape:
            raise InputError(f"A property map takes a scalar density, not shape {ρ.ufl_shape}.")
        x, y, slopes = (array.tolist() for array in (self.knots, self.values, self._slopes))
        pieces = [y[0] + slopes[0] * (ρ - x[0])]
        for left, right, (a, b, c, e) in zip(x, x[1:], self._control.tolist(), strict=False):
            t, s = (ρ - left) / (right - left), (right - ρ) / (right - left)
            pieces.append(s**3 * a + 3 * s**2 * t * b + 3 * s * t**2 * c + t**3 * e)
        found = y[-1] + slopes[-1] * (ρ - x[-1])
        for end, piece in zip(reversed(x), reversed(pieces), strict=True):
            found = ufl.conditional(ufl.lt(ρ, end), piece, found)
        return found

    @cached_property
    def _slopes(self) -> Array:
        """At the knots, (n,)."""
        spline = PchipInterpolator(self.knots, self.values)
        return np.asarray(spline.derivative()(self.knots))

    @cached_property
    def _control(self) -> Array:
        """Bernstein's coefficients of each cubic, (n − 1, 4)."""
        y, d, third = self.values, self._slopes, np.diff(self.knots) / 3
        inner = (y[:-1] + d[:-1] * third, y[1:] - d[1:] * third)
        return np.stack([y[:-1], *inner, y[1:]], axis=1)


@dataclass(frozen=True, eq=False)
class PropertyMap:
    """The effective properties of a family as laws of its density ρ, the share of solid.

    Every law takes UFL, a number or an array of numbers, and is returned as the same. With n the
    direction of the map and m a perpendicular, the laws are E(n), K, Voigt's G, the mean of
    ν(n, m) over m, Zener's ratio, n·k n and n·D n.

    The laws hold between the sampled densities, `range`. Beyond it they are joined to what is
    known: at ρ = 1 the solid; at ρ = 0 the void, without stiffness and with free diffusion. Below
    the range ν and Zener's ratio stay as they are at its end, and the permeability, which has
    no limit, goes on along its tangent, below its true value. Outside [0, 1] all laws go on along
    their tangents. Beyond the range a family may fall to pieces or close its pores, of which the
    laws know nothing: use `range` as the bounds of a design.

    Attributes:
        name: Of the family.
        density: Of the sampled bodies as voxels, increasing, (n,).
        stiffness: Over the solid's Young's modulus, (n, 6, 6), in 2D (n, 3, 3).
        permeability_tensor: Over the square of the first period, (n, d, d).
        diffusivity_tensor: Over that of the free fluid, per total area, (n, d, d).
        poisson_ratio: Of the solid.
        direction: n, (d,).
        plane: In 2D, "strain" or "stress".
        provenance: Resolution, versions and date, as text by name.
    """

    name: str
    density: Array
    stiffness: Array
    permeability_tensor: Array
    diffusivity_tensor: Array
    poisson_ratio: float
    direction: Array
    plane: Plane | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest density sampled."""
        return float(self.density[0]), float(self.density[-1])

    def modulus(self, rho: Any, *, full: float = 1.0) -> Any:
        """Young's modulus along the map's direction, in the unit of `full`, the solid's."""
        return full * self.curves["modulus"](rho)

    def bulk(self, rho: Any, *, full: float = 1.0) -> Any:
        """The bulk modulus; `full` is the Young's modulus of the solid."""
        return full * self.curves["bulk"](rho)

    def shear(self, rho: Any, *, full: float = 1.0) -> Any:
        """Voigt's shear modulus; `full` is the Young's modulus of the solid."""
        return full * self.curves["shear"](rho)

    def poisson(self, rho: Any) -> Any:
        """Poisson's ratio under stress along the map's direction."""
        return self.curves["poisson"](rho)

    def zener(self, rho: Any) -> Any:
        """Zener's ratio of anisotropy, 1 where isotropic."""
        return self.curves["zener"](rho)

    def permeability(self, rho: Any, *, length: float) -> Any:
        """The permeability along the map's direction, in the unit of `length` squared.

        Args:
            rho: Density.
            length: The first period of the cells as they are to be built.
        """
        return length**2 * self.curves["permeability"](rho)

    def diffusivity(self, rho: Any, *, full: float = 1.0) -> Any:
        """The diffusivity along the map's direction; `full` is that of the free fluid."""
        return full * self.curves["diffusivity"](rho)

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """The laws of a unit solid, fluid and period, by name; each has a `slope` also."""
        ρ, n = self.density, self.direction
        solid = _solid(self.poisson_ratio, len(n), self.plane)
        elastic = np.array([_scalars(C, n) for C in [*self.stiffness, solid]]).T
        k, D = (
            np.einsum("i,sij,j->s", n, tensors, n)
            for tensors in (self.permeability_tensor, self.diffusivity_tensor)
        )
        to_solid, whole = np.append(ρ, 1.0), np.concatenate([[0.0], ρ, [1.0]])
        found = {
            name: Curve(whole, np.append(0.0, values))
            for name, values in zip(("modulus", "bulk", "shear"), elastic[:3], strict=True)
        }
        for name, values in zip(("poisson", "zener"), elastic[3:], strict=True):
            found[name] = Curve(whole, np.append(values[0], values))
        found["permeability"] = Curve(to_solid, np.append(k, 0.0))
        found["diffusivity"] = Curve(whole, np.concatenate([[1.0], D, [0.0]]))
        return found

    def write(self, path: str | Path, *, comm: MPI.Comm = MPI.COMM_WORLD) -> Path:
        """Write the samples and where they are from as HDF5, on rank 0; collective.

        Raises:
            InputError: The file cannot be written.
        """
        path = Path(path)
        with together(comm):
            if comm.rank == 0:
                try:
                    with h5py.File(path, "w") as file:
                        self._fill(file)
                except OSError as failure:
                    raise InputError(
                        f"The property map cannot be written to {path}: {failure}"
                    ) from failure
        return path

    def _fill(self, file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["name"] = self.name
        file.attrs["poisson"] = self.poisson_ratio
        file.attrs["plane"] = self.plane or ""
        for name in _ARRAYS:
            file.create_dataset(name, data=getattr(self, name), fletcher32=True)
        file.create_group("provenance").attrs.update(self.provenance)
        for name, curve in self.curves.items():
            file[f"curves/{name}"] = np.stack([curve.knots, curve.values])

    @classmethod
    def read(cls, path: str | Path, *, comm: MPI.Comm = MPI.COMM_WORLD) -> Self:
        """Read what `write` wrote, on rank 0; collective.

        Raises:
            InputError: No such file, not a property map's file, or a damaged one.
        """
        found = None
        with together(comm):
            if comm.rank == 0:
                found = cls._load(Path(path))
        return cls(**comm.bcast(found))

    @staticmethod
    def _load(path: Path) -> dict[str, Any]:
        if not path.is_file():
            raise InputError(f"There is no file {path}; write a property map by map.write(path).")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != FORMAT:
                    raise InputError(f"{path} is an HDF5 file, but not one of a property map.")
                return {
                    "name": str(file.attrs["name"]),
                    "poisson_ratio": float(file.attrs["poisson"]),
                    "plane": str(file.attrs["plane"]) or None,
                    "provenance": {k: str(v) for k, v in file["provenance"].attrs.items()},
                    **{name: file[name][()] for name in _ARRAYS},
                }
        except (OSError, KeyError, RuntimeError) as failure:
            raise InputError(
                f"{path} is not a whole file of a property map ({failure}); sample again."
            ) from failure


_ARRAYS = ("density", "stiffness", "permeability_tensor", "diffusivity_tensor", "direction")


def sample(
    family: Family,
    porosities: Sequence[float],
    *,
    resolution: int = 32,
    poisson: float = 0.3,
    direction: Sequence[float] | None = None,
    plane: Plane | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> PropertyMap:
    """Homogenise a family of periodic bodies at some porosities; collective.

    Args:
        family: Called as family(porosity=…) on rank 0; returns a body with `name`, `lengths` and
            `voxels(resolution)`, such as those of `toolkit.geometry`.
        porosities: Two or more, in (0, 1), in any order.
        resolution: Voxels along the longest period; the others follow, so that voxels are nearly
            cubes.
        poisson: Poisson's ratio of the solid.
        direction: Along which E, ν, k and D are taken, (d,); x unless given.
        plane: In 2D, "strain" (the default) or "stress".
        comm: Communicator of the cells.

    Raises:
        InputError: A porosity outside (0, 1) or what the family can have, fewer than two of them,
            bodies of different periods, two bodies of the same density, fractions that are not of
            the voxels or not in [0, 1], or a direction that does not fit.
    """
    bodies = _Bodies("", (), (), np.zeros((0, 0)))
    with together(comm):
        if comm.rank == 0:
            bodies = _bodies(family, porosities, resolution)
    bodies = comm.bcast(bodies)
    d = len(bodies.lengths)
    axis = np.eye(d)[0] if direction is None else np.asarray(direction, dtype=float)
    if axis.shape != (d,) or not 0 < axis @ axis < np.inf:
        raise InputError(f"direction = {direction!r} must be {d} numbers, not all zero.")
    tensors = _homogenised(bodies, poisson, plane, comm)
    return PropertyMap(
        bodies.name,
        bodies.fractions.mean(axis=1),
        *tensors,
        poisson_ratio=float(poisson),
        direction=axis / np.sqrt(axis @ axis),
        plane=plane,
        provenance={
            "family": bodies.name,
            "lengths": " ".join(f"{L:.17g}" for L in bodies.lengths),
            "resolution": " ".join(map(str, bodies.resolution)),
            "ranks": str(comm.size),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            **{name: checkpoint._version(checkpoint.PACKAGES[name]) for name in PACKAGES},
        },
    )


@dataclass(frozen=True)
class _Bodies:
    """The members of a family as voxels: fractions (bodies, voxels), by increasing density."""

    name: str
    lengths: tuple[float, ...]
    resolution: tuple[int, ...]
    fractions: Array


def _bodies(family: Family, porosities: Sequence[float], resolution: int) -> _Bodies:
    values = [float(p) for p in porosities]
    if len(values) < 2 or not all(0 < p < 1 for p in values):
        raise InputError(
            f"porosities = {values} must be two or more numbers between 0 and 1, both excluded."
        )
    if not isinstance(resolution, int) or resolution < 3:
        raise InputError(f"resolution = {resolution!r} must be a whole number from 3.")
    try:
        bodies = [family(porosity=p) for p in values]
    except ValueError as refusal:  # of the geometry; the same kind on all ranks
        raise InputError(f"The family has no body at each of {values}: {refusal}") from refusal
    lengths = {tuple(float(L) for L in body.lengths) for body in bodies}
    if len(lengths) > 1:
        raise InputError(
            f"The bodies of the family have different periods: {sorted(lengths)}. A map is of one "
            "period, with which its permeability scales."
        )
    (periods,) = lengths
    shape = tuple(max(3, round(resolution * L / max(periods))) for L in periods)
    name = bodies[0].name
    fractions = np.array([_fractions(body, shape) for body in bodies])
    order = np.argsort(fractions.mean(axis=1))
    densities = fractions.mean(axis=1)[order]
    if not (np.diff(densities) > 1e-6).all():
        raise InputError(
            f"Two of the bodies of '{name}' have one density: {densities.tolist()} at porosities "
            f"{sorted(values, reverse=True)}. Give porosities that differ."
        )
    return _Bodies(name, periods, shape, fractions[order])


def _fractions(body: Body, shape: tuple[int, ...]) -> Array:
    """Solid fractions of a body's voxels, (voxels,), z fastest."""
    f = np.asarray(body.voxels(shape), dtype=float)
    if f.shape != shape or not ((f >= 0) & (f <= 1)).all():
        raise InputError(
            f"The voxels of '{body.name}' have shape {f.shape} and values from {f.min():.4g} to "
            f"{f.max():.4g}; a solid fraction in [0, 1] for each of {shape} is needed."
        )
    return f.ravel()


def _homogenised(
    bodies: _Bodies, poisson: float, plane: Plane | None, comm: MPI.Comm
) -> tuple[Array, Array, Array]:
    """Stiffness, permeability over the first period squared, diffusivity of each body."""
    cell = Cell.box(bodies.lengths, bodies.resolution, comm=comm)
    E, α, D = (fem.Function(cell.cellwise, name=name) for name in ("modulus", "drag", "diffusion"))
    effective = (
        homogenize.stiffness(cell, modulus=E, poisson=poisson, plane=plane),
        homogenize.permeability(cell, drag=α),
        homogenize.conductivity(cell, coefficient=D),
    )
    d = len(bodies.lengths)
    h, L = (
        float(np.prod(edges)) ** (1 / d)
        for edges in (np.divide(bodies.lengths, bodies.resolution), bodies.lengths)
    )
    found: tuple[list[Array], ...] = ([], [], [])
    for fractions in bodies.fractions:
        f = cell.scatter_cells(fractions)
        _set(cell, E, f + VOID * (1 - f))
        _set(cell, α, _drag(f, h, L))
        _set(cell, D, (1 - f) + VOID * f)
        for values, functional in zip(found, effective, strict=True):
            values.append(np.asarray(functional.value))
    C, k, D_ = (np.array(values) for values in found)
    return C, k / bodies.lengths[0] ** 2, D_


def _drag(f: Array, h: float, L: float) -> Array:
    """Drag of voxels by their solid fraction, for μ = 1."""
    cap = CAP / L**2
    fluid = np.maximum(1 - f, WALL * f / (h**2 * cap))  # where the drag reaches its cap
    return np.asarray(WALL / h**2 * f / fluid)


def _set(cell: Cell, function: fem.Function, owned: Array) -> None:
    function.x.array[cell.cell_dofs[: len(cell.cells)]] = owned
    function.x.scatter_forward()


def _solid(poisson: float, d: int, plane: Plane | None) -> Array:
    """The stiffness of the solid of E = 1."""
    λ, μ = (float(c) for c in lame(1.0, poisson, plane=plane))
    C = np.diag([2 * μ] * d + [μ] * (d * (d - 1) // 2))
    C[:d, :d] += λ
    return C


def _scalars(C: Array, n: Array) -> tuple[float, ...]:
    """E(n), K, G, ν(n) and Zener's ratio."""
    others = np.linalg.svd(n[None])[2][1:]  # an orthonormal basis across n
    ν = np.mean([moduli.poisson(C, n, m) for m in others])
    return moduli.young(C, n), moduli.bulk(C), moduli.shear(C), float(ν), moduli.zener(C)
