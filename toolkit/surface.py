"""Surfaces to print: the solid part of a 0/1 design, and a lattice whose porosity follows ρ.

    solid     { x ∈ Ω : ρ̄(x) > c }       ρ̄ the nodal, volume-averaged density, c such that the
                                         volume is that of the cells with ρ ≥ threshold
    lattice   { x ∈ Ω : |g(x)| < t(ρ̄) }  g a triply periodic function such as the gyroid's
                                         sin x cos y + sin y cos z + sin z cos x

t(ρ) is the function for which a whole period at constant t holds the volume fraction ρ; it is found
by meshing one period, so the local porosity follows ρ wherever ρ varies little across a period.
From the ρ on at which the pores part and close, there are none: what a boundary would cut of closed
pores are pits that nothing drains. Cells of density 1 are solid; what the nodes of the cells beside
them take from them comes on top. Level sets are taken by marching cubes on a regular grid padded
with void, which closes them by construction, and cut with the mesh's own boundary by exact Boolean
operations on manifolds (Manifold library), so that flat faces stay flat and edges sharp. A sheet
|g| < t is the difference of {g < t} and {g < −t}, each resolved by the grid however thin the sheet
is; |g| itself is not. Taking boundary facets of the kept cells instead would leave edges shared by
four triangles wherever two cells touch along an edge only, which no repair can make watertight in
an STL file.

Sources: Lorensen & Cline, doi:10.1145/37401.37422 (marching cubes); Al-Ketan & Abu Al-Rub,
doi:10.1002/adem.201900524 (sheet and network TPMS lattices, graded density).
In parallel the density is whole on every rank, the mesh is gathered and rank 0 does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyvista
import trimesh
from manifold3d import Error, Manifold, Mesh64
from numpy.typing import NDArray

from toolkit.errors import InputError, ToolkitError, agree, together
from toolkit.export import VTK_TYPE, Grid, gather_mesh

if TYPE_CHECKING:
    from toolkit.domain import Domain

type Array = NDArray[np.float64]

STEPS = 10  # grid steps in one period of the lattice
OFFSET = 0.37  # of a step: keeps the grid's planes off those of a mesh's boundary
MOST_POINTS = 8_000_000  # of the regular grid: 64 MB for each of its few fields

FACES = {
    "tetrahedron": ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    "hexahedron": (
        (0, 3, 2, 1),
        (4, 5, 6, 7),
        (0, 1, 5, 4),
        (1, 2, 6, 5),
        (2, 3, 7, 6),
        (3, 0, 4, 7),
    ),
}


class Surface(NamedTuple):
    """A closed triangle mesh and what was checked on it.

    Attributes:
        points: coordinates in single precision, as STL stores them, (points, 3); on rank 0.
        triangles: corners, counter-clockwise from outside, (triangles, 3); empty off rank 0.
        watertight: every edge joins two triangles that agree on the outside.
        volume: enclosed volume.
        expected: volume that the density asks for.
        components: number of separate bodies.
    """

    points: NDArray[np.float32]
    triangles: NDArray[np.int64]
    watertight: bool
    volume: float
    expected: float
    components: int


class _Lattice(NamedTuple):
    """A triply periodic function of period 2π in each coordinate; a sheet or a network.

    Attributes:
        function: g.
        sheet: |g| < t, or a network g < t.
        closes: The t from which on the pores are not connected: that of g's saddles.
    """

    function: Callable[[Array, Array, Array], Array]
    sheet: bool
    closes: float


def _gyroid(x: Array, y: Array, z: Array) -> Array:
    return np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)


def _primitive(x: Array, y: Array, z: Array) -> Array:
    return np.cos(x) + np.cos(y) + np.cos(z)


def _diamond(x: Array, y: Array, z: Array) -> Array:
    return np.cos(x) * np.cos(y) * np.cos(z) - np.sin(x) * np.sin(y) * np.sin(z)


FAMILIES = {
    "gyroid": _Lattice(_gyroid, sheet=True, closes=np.sqrt(2)),
    "diamond": _Lattice(_diamond, sheet=True, closes=np.sqrt(0.5)),
    "primitive": _Lattice(_primitive, sheet=True, closes=1.0),
    "gyroid network": _Lattice(_gyroid, sheet=False, closes=np.sqrt(2)),
}


def lattice_threshold(family: str) -> Callable[[Array], Array]:
    """The function t(ρ) of a family, monotone, piecewise linear until the pores close.

    One period is meshed as the lattice will be, at 49 levels, and its volume measured, so that the
    error of marching cubes on the coarse grid is part of the table.

    Raises:
        InputError: no such family.
    """
    if family not in FAMILIES:
        raise InputError(f"There is no lattice {family!r}; there are: {', '.join(FAMILIES)}.")
    lattice = FAMILIES[family]
    line = 2 * np.pi / STEPS * (np.arange(-2, STEPS + 3) - OFFSET)
    g = lattice.function(*np.meshgrid(line, line, line, indexing="ij", sparse=True))
    period = Manifold.cube((STEPS, STEPS, STEPS)).translate((2 + OFFSET,) * 3)
    most = 1.01 * float(np.abs(g).max())
    levels = np.linspace(-most, most, 97)
    volumes = [(_where_positive(t - g) ^ period).volume() / STEPS**3 for t in levels]
    fractions = np.maximum.accumulate(volumes)
    if lattice.sheet:
        levels, fractions = levels[48:], (fractions - fractions[::-1])[48:]
    closed = np.interp(lattice.closes, levels, fractions)
    return lambda density: np.where(density < closed, np.interp(density, fractions, levels), most)


def solid_surface(
    domain: Domain,
    density: Array,
    *,
    threshold: float = 0.5,
    spacing: float | None = None,
    islands: bool = True,
    region: str | Sequence[str] | None = None,
) -> Surface:
    """The surface of the solid part of a 0/1 design; collective.

    Args:
        domain: a 3D domain.
        density: density of each cell in mesh-file order, (cells,).
        threshold: cells from this density on are solid.
        spacing: step of the regular grid; half the cube root of the mean cell volume without.
        islands: keep bodies that are not joined to the largest one.
        region: the named volume or volumes that the design is of; else the whole domain.

    Raises:
        InputError: a 2D domain, no solid cell, an unknown region, a spacing that is not positive,
            or a grid of more than 8 million points.
    """
    if spacing is not None and not spacing > 0:
        raise InputError(f"The grid's spacing is {spacing}; it must be a positive length.")
    return _on_first_rank(
        domain,
        density,
        region,
        lambda grid, volumes, density: _solid(
            grid, volumes, density, threshold=threshold, spacing=spacing, islands=islands
        ),
    )


def lattice_surface(
    domain: Domain,
    density: Array,
    *,
    cell: float,
    family: str = "gyroid",
    region: str | Sequence[str] | None = None,
) -> Surface:
    """The surface of a lattice whose local volume fraction is the density; collective.

    Pieces that the boundary cuts off from the largest body are dropped, and closed pores, which
    would hold powder for ever, are filled.

    Args:
        domain: a 3D domain.
        density: density of each cell in mesh-file order, (cells,); between about 0.05 and 0.95.
        cell: the lattice's period, in the mesh's unit of length.
        family: "gyroid", "diamond" or "primitive" (sheets), or "gyroid network".
        region: the named volume or volumes that the design is of; else the whole domain.

    Raises:
        InputError: a 2D domain, an unknown family or region, a period that is not positive or so
            small that the regular grid (ten steps a period) would have more than 8 million points.
    """
    if not cell > 0:
        raise InputError(f"The lattice's cell is {cell}; it must be a positive length.")
    threshold = lattice_threshold(family)
    return _on_first_rank(
        domain,
        density,
        region,
        lambda grid, volumes, density: _lattice(
            grid, volumes, density, cell, threshold, FAMILIES[family]
        ),
    )


def smallest_cell(domain: Domain) -> float:
    """The smallest period of a lattice that `lattice_surface` takes for this domain; collective."""
    x = domain.mesh.geometry.x
    low = np.min(domain.comm.allgather(x.min(axis=0)), axis=0)
    high = np.max(domain.comm.allgather(x.max(axis=0)), axis=0)
    cell = STEPS * np.cbrt(np.prod(high - low) / MOST_POINTS)
    return float(STEPS * np.cbrt(np.prod(high - low + 0.8 * cell) / MOST_POINTS))


def write_stl(path: str | Path, surface: Surface, domain: Domain) -> Path:
    """Write a surface as binary STL; collective.

    Raises:
        InputError: a file that cannot be written.
    """
    path = Path(path)
    error: Exception | None = None
    if domain.comm.rank == 0:
        try:
            trimesh.Trimesh(surface.points, surface.triangles, process=False).export(path)
        except OSError as failure:
            error = InputError(f"The surface cannot be written to {path}: {failure}")
    agree(domain.comm, error)
    return path


def _on_first_rank(
    domain: Domain,
    density: Array,
    region: str | Sequence[str] | None,
    build: Callable[[Grid, Array, Array], Surface],
) -> Surface:
    """Gather the mesh or a region of it, build on rank 0, and tell the facts to every rank."""
    if domain.dimension != 3:
        raise InputError("A surface to print needs a 3D domain; this one is plane.")
    if np.shape(density) != (domain.num_cells,):
        raise InputError(
            f"The density has shape {np.shape(density)}; it needs one value for each of the "
            f"{domain.num_cells} cells, in mesh-file order."
        )
    if not np.isfinite(density).all():
        raise InputError(f"{np.sum(~np.isfinite(density))} densities are not finite numbers.")
    grid = gather_mesh(domain)
    volumes = domain.gather_cells(domain.cell_volumes)
    inside = np.ones(domain.num_cells, dtype=bool) if region is None else within(domain, region)
    surface: Surface | None = None
    with together(domain.comm):
        if grid is not None:
            surface = build(part_of(grid, inside), volumes[inside], density[inside])
    facts = domain.comm.bcast(None if surface is None else surface[2:], root=0)
    if surface is not None:
        return surface
    return Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.int64), *facts)


def within(domain: Domain, region: str | Sequence[str]) -> NDArray[np.bool_]:
    """Whether each cell is in some named volumes, in mesh-file order, on every rank; collective."""
    names = [region] if isinstance(region, str) else region
    cells = np.concatenate([domain.entities(3, name) for name in names])
    owned = np.isin(np.arange(len(domain.cells)), cells)
    return domain.gather_cells(owned) > 0


def part_of(grid: Grid, kept: NDArray[np.bool_]) -> Grid:
    """Some cells of a mesh, and the points that they mention."""
    used, corners = np.unique(grid.corners[kept], return_inverse=True)
    cells = np.searchsorted(used, grid.cells[kept])
    return Grid(grid.points[used], cells, corners.reshape(cells.shape), grid.shape)


class _Raster:
    """A regular grid over the mesh, with a margin of two steps, and the nodal density on it.

    Cells of density 1 may keep it, though their corners have the mean with what lies beside them.
    """

    def __init__(
        self, grid: Grid, volumes: Array, density: Array, step: float, *, keep: bool = False
    ) -> None:
        low, high = grid.points.min(axis=0), grid.points.max(axis=0)
        self.step = step
        self.origin = low - (2 + OFFSET) * step
        self.shape = tuple(int(n) for n in np.ceil((high - low) / step) + 6)
        if np.prod(self.shape, dtype=float) > MOST_POINTS:
            raise InputError(
                f"A step of {step:.3g} makes {np.prod(self.shape, dtype=float):.2g} grid points, "
                f"more than {MOST_POINTS:.0e}: choose a longer cell or spacing."
            )
        cells = pyvista.UnstructuredGrid({VTK_TYPE[grid.shape]: grid.cells}, grid.points)
        cells.point_data["density"] = _nodal(grid, volumes, density)
        cells.cell_data["whole"] = (density >= 1.0).astype(float)
        image = pyvista.ImageData(
            dimensions=self.shape, spacing=(step,) * 3, origin=tuple(self.origin)
        )
        sampled = image.sample(cells)
        self.inside = sampled["vtkValidPointMask"].reshape(self.shape, order="F") > 0
        values = np.array(sampled["density"])
        if keep:
            values[sampled["whole"] > 0] = 1.0
        self.density, self.near = _extended(
            values.reshape(self.shape, order="F"), self.inside, layers=3
        )

    def steps(self) -> tuple[Array, Array, Array]:
        """Steps from the bounding box's lowest corner along the three axes, ready to broadcast."""
        x, y, z = np.meshgrid(
            *(np.arange(n) - 2 - OFFSET for n in self.shape), indexing="ij", sparse=True
        )
        return x, y, z

    def where_positive(self, level: Array) -> Manifold:
        """The closed body near the mesh where a function on the grid is positive."""
        level = np.where(self.near, level, -np.abs(level).max())
        return _where_positive(level, origin=self.origin, step=self.step)


def _where_positive(
    level: Array, *, origin: Sequence[float] | Array = (0.0, 0.0, 0.0), step: float = 1.0
) -> Manifold:
    """The closed body where a function on a regular grid is positive; void outside the grid.

    Values near zero are moved away from it, so that no triangle is too small for an STL file.
    """
    scale = float(np.abs(level).max()) or 1.0
    least = 2e-3 * scale
    level = np.where(np.abs(level) < least, np.copysign(least, level), level)
    image = pyvista.ImageData(
        dimensions=tuple(n + 2 for n in level.shape),
        spacing=(step,) * 3,
        origin=tuple(np.asarray(origin) - step),
    )
    image.point_data["level"] = np.pad(level, 1, constant_values=-scale).ravel(order="F")
    found = image.contour([0.0], scalars="level", method="flying_edges", compute_normals=False)
    if found.n_cells == 0:
        return Manifold()
    return _manifold(np.asarray(found.points), found.faces.reshape(-1, 4)[:, 1:])


def _nodal(grid: Grid, volumes: Array, density: Array) -> Array:
    """Volume-weighted mean over the cells around each point; keeps ∫ρ on simplices."""
    corners = grid.cells.ravel()
    each = grid.cells.shape[1]
    weight = np.bincount(corners, np.repeat(volumes, each), len(grid.points))
    return np.bincount(corners, np.repeat(volumes * density, each), len(grid.points)) / weight


def _extended(
    values: Array, known: NDArray[np.bool_], *, layers: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Values carried outwards by layers of grid points, each the mean of known neighbours.

    Also returns where they now are.
    """
    values = np.where(known, values, 0.0)
    known = known.copy()
    for _ in range(layers):
        total, count = np.zeros_like(values), np.zeros(values.shape, dtype=np.int8)
        for axis in range(3):
            for shift in (-1, 1):
                total += np.roll(values, shift, axis)
                count += np.roll(known, shift, axis)
        new = ~known & (count > 0)
        values[new] = total[new] / count[new]
        known |= new
    return values, known


def _manifold(points: Array, triangles: NDArray[np.int64]) -> Manifold:
    """A body from its oriented boundary."""
    body = Manifold(
        Mesh64(
            np.ascontiguousarray(points, dtype=np.float64),
            np.ascontiguousarray(triangles, dtype=np.uint64),
        )
    )
    if body.status() != Error.NoError:
        raise ToolkitError(f"A surface does not close ({body.status().name}): check the mesh.")
    return body


def _domain_body(grid: Grid) -> Manifold:
    """The whole domain as a body: the facets that belong to one cell only."""
    faces = np.array(FACES[grid.shape])
    facets = grid.cells[:, faces]
    edges = grid.points[grid.cells[:, [1, 3 if faces.shape[1] == 4 else 2, -1]]]
    if grid.shape == "hexahedron":
        edges[:, 2] = grid.points[grid.cells[:, 4]]
    flipped = np.linalg.det(edges - grid.points[grid.cells[:, :1]]) < 0
    facets[flipped] = facets[flipped, :, ::-1]
    facets = facets.reshape(-1, faces.shape[1])
    _, first, count = np.unique(
        np.sort(facets, axis=1), axis=0, return_index=True, return_counts=True
    )
    outer = facets[first[count == 1]]
    if outer.shape[1] == 4:
        outer = np.concatenate([outer[:, [0, 1, 2]], outer[:, [0, 2, 3]]])
    used, numbered = np.unique(outer, return_inverse=True)
    return _manifold(grid.points[used], numbered.reshape(-1, 3))


def _solid(
    grid: Grid,
    volumes: Array,
    density: Array,
    *,
    threshold: float,
    spacing: float | None,
    islands: bool,
) -> Surface:
    """The solid on rank 0: the level whose body has the kept cells' volume, by correction."""
    kept = density >= threshold
    expected = float(volumes[kept].sum())
    if not kept.any():
        raise InputError(
            f"No cell reaches the density {threshold}; the largest is {density.max():.3g}."
        )
    body = _domain_body(grid)
    if not kept.all():
        raster = _Raster(grid, volumes, density, spacing or 0.5 * np.cbrt(volumes.mean()))
        body = _of_volume(raster, body, expected)
    return _checked(_kept_shells(body, islands=islands, cavities=True), expected)


def _of_volume(raster: _Raster, whole: Manifold, expected: float) -> Manifold:
    """The body {ρ̄ > c} in the domain whose volume is the expected one to 0.1 %, by bisection."""
    inside = raster.density[raster.inside]
    low, high = float(inside.min()), float(inside.max())
    for _ in range(12):
        level = 0.5 * (low + high)
        body = raster.where_positive(raster.density - level) ^ whole
        excess = body.volume() / expected - 1
        if abs(excess) < 1e-3:
            break
        low, high = (level, high) if excess > 0 else (low, level)
    return body


def _lattice(
    grid: Grid,
    volumes: Array,
    density: Array,
    cell: float,
    threshold: Callable[[Array], Array],
    lattice: _Lattice,
) -> Surface:
    """The lattice on rank 0."""
    raster = _Raster(grid, volumes, density, cell / STEPS, keep=True)
    x, y, z = (2 * np.pi / STEPS * axis for axis in raster.steps())
    g = lattice.function(x, y, z)
    t = threshold(raster.density)
    body = raster.where_positive(t - g) ^ _domain_body(grid)
    if lattice.sheet:
        body = body - raster.where_positive(-t - g)
    body = _kept_shells(body, islands=False, cavities=False)
    return _checked(body, float(volumes @ density))


def _kept_shells(body: Manifold, *, islands: bool, cavities: bool) -> Manifold:
    """Drop what is not wanted of a body's closed shells.

    A shell of negative volume bounds a cavity; without islands only those inside the largest
    shell can stay.
    """
    shells = body.decompose()
    outer = [shell for shell in shells if shell.volume() > 0]
    inner = [shell for shell in shells if shell.volume() < 0] if cavities else []
    if not outer:
        raise InputError("Nothing is left of the surface: the parts are thinner than the grid.")
    if not islands:
        largest = max(outer, key=Manifold.volume)
        outer, inner = [largest], [shell for shell in inner if _is_inside(shell, largest)]
    return _joined(outer + inner)


def _joined(shells: Sequence[Manifold]) -> Manifold:
    """One body from shells that do not touch; those of negative volume stay cavities."""
    meshes = [shell.to_mesh64() for shell in shells]
    firsts = np.cumsum([0, *(len(mesh.vert_properties) for mesh in meshes)])
    return _manifold(
        np.concatenate([mesh.vert_properties[:, :3] for mesh in meshes]),
        np.concatenate(
            [mesh.tri_verts.astype(np.int64) + k for mesh, k in zip(meshes, firsts, strict=False)]
        ),
    )


def _is_inside(shell: Manifold, outer: Manifold) -> bool:
    """Whether a shell's first point lies inside another: its winding number, by solid angles."""
    mesh = outer.to_mesh64()
    point = shell.to_mesh64().vert_properties[0, :3]
    a, b, c = np.moveaxis(mesh.vert_properties[mesh.tri_verts.astype(np.int64), :3] - point, 1, 0)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    dots = [np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a))]
    angles = 2 * np.arctan2(volume, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb)
    return abs(float(angles.sum())) > 2 * np.pi


def _checked(body: Manifold, expected: float) -> Surface:
    """Round to single precision, as STL does, and check what is left.

    Where rounding makes two edges one, edges shorter than a growing tolerance are collapsed first.
    """
    size = float(np.ptp(np.reshape(body.bounding_box(), (2, 3)), axis=0).max())
    for tolerance in (0.0, 1e-6, 1e-5, 1e-4):
        tried = body.as_original().simplify(tolerance * size) if tolerance else body
        points, triangles = _rounded(tried)
        mesh = trimesh.Trimesh(points.astype(np.float64), triangles, process=False)
        closed = bool(mesh.is_watertight and mesh.is_winding_consistent)
        if closed:
            break
    components = sum(shell.volume() > 0 for shell in body.decompose())
    return Surface(points, triangles, closed, float(mesh.volume), expected, components)


def _rounded(body: Manifold) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points in single precision, equal ones merged, and the triangles with three of them."""
    mesh = body.to_mesh64()
    rounded = mesh.vert_properties[:, :3].astype(np.float32) + np.float32(0)
    points, inverse = np.unique(rounded, axis=0, return_inverse=True)
    triangles = inverse[mesh.tri_verts.astype(np.int64)].reshape(-1, 3)
    a, b, c = triangles.T
    return points, triangles[(a != b) & (b != c) & (c != a)]
