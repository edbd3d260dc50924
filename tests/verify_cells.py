"""The tables of docs/verification.md that are of unit cells; `tests.verify` makes them.

Lengths are in periods, moduli in those of the solid, permeabilities per whole cell.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import pi, sqrt, tanh
from typing import Any
from unittest.mock import patch

import toolkit  # first: MPI and PETSc's options  # noqa: F401  # isort: skip
import gmsh
import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from tests.table import Row, Rows, on_ranks
from toolkit import (
    Cell,
    Functional,
    conductivity,
    darcy,
    homogenize,
    permeability,
    properties,
    stiffness,
)
from toolkit.errors import SolverError
from toolkit.geometry import (
    Implicit,
    body_fitted,
    diamond,
    gyroid,
    hole_cell,
    iwp,
    laminate_cell,
    random_field,
    schwarz_p,
    sphere_cell,
    sphere_packing,
)
from toolkit.material import lame

Array = NDArray[np.float64]
NU = 0.3
VOID = 1e-9
SPECTRAL = "spectral elements, converged to 1e-7"


def field(cell: Cell, values: Array) -> fem.Function:
    """A cell-wise function of an array of voxels."""
    f = fem.Function(cell.cellwise)
    f.x.array[cell.cell_dofs[: len(cell.cells)]] = cell.scatter_cells(np.ravel(values))
    f.x.scatter_forward()
    return f


def centres(*resolution: int) -> list[Array]:
    """Coordinates of the voxels of a unit square or cube."""
    axes = [(np.arange(n) + 0.5) / n for n in resolution]
    return np.meshgrid(*axes, indexing="ij")


def moved(body: Implicit, by: float) -> Implicit:
    """The body shifted along the diagonal, so that no vertex of a mesh lies on its surface."""
    return Implicit(body.name, body.lengths, lambda x: body.level(x - by), body.steepness)


def radius_of(fraction: float, *, spheres: int = 1) -> float:
    """The radius of the spheres that fill this fraction of a unit cube."""
    return float(np.cbrt(3 * fraction / (4 * pi * spheres)))


# ---- stiffness -----------------------------------------------------------------------------------


def laminates() -> Rows:
    """Layers across x, E = 1 and 0.1 (or 1e-6) in equal shares, ν = 0.3, against closed forms.

    With 1e-6 the differences are in units of the solid's modulus: C is a difference of two numbers
    of that size, which round-off spoils in the sixteenth digit.
    """
    rows = []
    for d, plane in ((2, "stress"), (2, "strain"), (3, None)):
        for soft in (0.1, 1e-6):
            n = (4, 3, 3)[:d]
            cell = Cell.box((1.0, 0.7, 0.5)[:d], n)
            E = field(cell, np.where(centres(*n)[0] < 0.5, 1.0, soft))
            C = stiffness(cell, modulus=E, poisson=NU, plane=plane).value
            title = f"{d}D{f', plane {plane}' if plane else ''}, E₂ = {soft:g}"
            rows += layered(C, title, soft, plane)
    gmsh_cell = Cell.build(partial(laminate_cell, fractions=[0.5, 0.5], size=0.15))
    E = gmsh_field(gmsh_cell, {"layer1": 1.0, "layer2": 0.1})
    C = stiffness(gmsh_cell, modulus=E, poisson=NU).value
    return rows + layered(C, "3D, gmsh tetrahedra, E₂ = 0.1", 0.1, None)


def layered(C: Array, title: str, soft: float, plane: Any) -> Rows:
    """C of equal layers of E = 1 and soft, against the means of their moduli (Backus 1962)."""
    λ, μ = np.array([[float(c) for c in lame(E, NU, plane=plane)] for E in (1.0, soft)]).T
    M = λ + 2 * μ
    across, ratio = 1 / (1 / M).mean(), (λ / M).mean()
    exact = {
        "11": across,
        "12": ratio * across,
        "22": (M - λ**2 / M).mean() + ratio**2 * across,
    }
    if len(C) == 6:
        exact["23"] = (λ - λ**2 / M).mean() + ratio**2 * across
        exact["44"] = μ.mean()
        exact["55"] = exact["66"] = 1 / (1 / μ).mean()
    else:
        exact["33"] = 1 / (1 / μ).mean()
    rows = []
    for ij, value in exact.items():
        ours = C[int(ij[0]) - 1, int(ij[1]) - 1]
        rows.append(Row(f"{title}: C{ij}", ours, value, 1e-10, "exact", absolute=soft < 1e-3))
    return rows


def gmsh_field(cell: Cell, values: dict[str, float]) -> fem.Function:
    """A cell-wise function of one value for each named region."""
    f = fem.Function(cell.cellwise)
    for name, value in values.items():
        f.x.array[cell.cell_dofs[cell.entities(cell.dimension, name)]] = value
    f.x.scatter_forward()
    return f


PLANE_STRESS = {  # C11, C12, C66 by the area of the hole
    0.1: (0.83899294, 0.24532678, 0.27372135),
    0.2: (0.65827707, 0.17465344, 0.18268365),
    0.3: (0.52032268, 0.11971889, 0.11423920),
    0.4: (0.40739401, 0.07800581, 0.06632231),
    0.5: (0.30939465, 0.04693010, 0.03471855),
    0.6: (0.21939178, 0.02433713, 0.01511025),
    0.7: (0.12902194, 0.00861224, 0.00404545),
    pi * 0.25**2: (0.66397800, 0.17694471, 0.18560887),
    pi * 0.4**2: (0.30693032, 0.04622914, 0.03406061),
}
PLANE_STRAIN = {
    0.3: (0.59253576, 0.17387541, 0.12195506),
    0.5: (0.34468659, 0.06567924, 0.03781465),
    pi * 0.25**2: (0.76988845, 0.26622568, 0.19467437),
    pi * 0.4**2: (0.34187033, 0.06467672, 0.03710427),
}


def holes() -> Rows:
    """Square array of circular holes, E = 1, ν = 0.3: P2 on curved triangles of edge 0.02.

    Where 70 % is hole, three cells span the ligament.
    """
    rows = []
    for plane, table in (("stress", PLANE_STRESS), ("strain", PLANE_STRAIN)):
        for f, values in table.items():
            model = partial(hole_cell, radius=sqrt(f / pi), size=0.02, phase="matrix")
            C = stiffness(Cell.build(model), modulus=1.0, poisson=NU, plane=plane, degree=2).value
            found = (C[0, 0], C[0, 1], C[2, 2])
            for name, ours, value in zip(("C11", "C12", "C66"), found, values, strict=True):
                title = f"plane {plane}, hole {f:.4g}: {name}"
                rows.append(Row(title, ours, value, 2e-3, SPECTRAL))
    return rows


def rectangle() -> Rows:
    """Bendsøe and Kikuchi's rectangular hole, 0.4 × 0.6, in D₁₁₁₁ = 30, D₁₁₂₂ = D₁₂₁₂ = 10.

    The published numbers are those of 20 × 20 bilinear cells and not converged.
    """
    values = {
        20: (13.01481, 3.24096, 17.55232, 2.78488),
        40: (12.89591, 3.17354, 17.46434, 2.69084),
        80: (12.84174, 3.13808, 17.42355, 2.65002),
    }
    rows = []
    for n, exact in values.items():
        cell = Cell.box((1, 1), (n, n))
        x, y = centres(n, n)
        E = np.where((abs(x - 0.5) < 0.2) & (abs(y - 0.5) < 0.3), 25 * VOID, 25.0)
        D = stiffness(cell, modulus=field(cell, E), poisson=0.25, plane="strain").value
        found = (D[0, 0], D[0, 1], D[1, 1], D[2, 2])
        source = "Bendsøe & Kikuchi 1988, to more digits" if n == 20 else "recomputed in numpy"
        rows += [
            Row(f"{n} × {n}: D{ij}", ours, value, 1e-5, source)
            for ij, ours, value in zip(("1111", "1122", "2222", "1212"), found, exact, strict=True)
        ]
    return rows


def wireframe() -> Rows:
    """homo3D's cube of 12 edges of radius 0.1 in 40³ voxels, void 1e-6.

    Its page prints 7.1876, 0.3875 and 0.1489, which is what μ = 79.6 gives.
    """
    near = [np.minimum(c, 1 - c) for c in centres(40, 40, 40)]
    pairs = [np.hypot(near[i], near[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    solid = np.min(pairs, axis=0) <= 0.1
    source = "homo3D (Dong, Tang & Zhao 2019), recomputed in numpy"
    rows = [Row("density", float(solid.mean()), 0.0855, 1e-3, source)]
    for λ, μ, values in (
        (115.4, 79.6, (7.18790, 0.38762, 0.148948)),
        (115.4, 76.923, (6.97055, 0.38037, 0.144575)),
    ):
        E, ν = μ * (3 * λ + 2 * μ) / (λ + μ), λ / (2 * (λ + μ))
        cell = Cell.box((1, 1, 1), (40, 40, 40))
        modulus = field(cell, np.where(solid, E, 1e-6 * E))
        C = stiffness(cell, modulus=modulus, poisson=ν, symmetry="cubic").value
        found = (C[0, 0], C[0, 1], C[3, 3])
        rows += [
            Row(f"λ = {λ}, μ = {μ}: {name}", ours, value, 1e-3, source)
            for name, ours, value in zip(("C11", "C12", "C44"), found, values, strict=True)
        ]
    return rows


VOIDS = {  # C11, C12, C44 by the volume of the void
    0.1: (1.07644482, 0.42938438, 0.31234975),
    0.125: (1.02029058, 0.39862192, 0.29508576),
    0.2: (0.86999904, 0.31785886, 0.24619551),
    0.3: (0.69925884, 0.23117446, 0.18845890),
    0.4: (0.54852178, 0.16124545, 0.13855060),
    0.5: (0.403048, 0.100444, 0.093311),
}
OCTANT = "spectral elements on an octant, converged to 1e-5"


def voids() -> Rows:
    """Simple cubic array of spherical voids, E = 1, ν = 0.3: P2 on curved tetrahedra of edge 0.08.

    Cells are not refined in the necks: that of the largest void is a fifth of a cell wide.
    """
    rows = []
    for c, values in VOIDS.items():
        model = partial(sphere_cell, radius=radius_of(c), size=0.08, phase="matrix")
        C = stiffness(Cell.build(model), modulus=1.0, poisson=NU, degree=2, symmetry="cubic").value
        rows += cubic_rows(f"void {c}", C, values, 5e-3)
    return rows


def cubic_rows(title: str, C: Array, values: Sequence[float], tolerance: float) -> Rows:
    """C11, C12 and C44 against spectral elements."""
    found = (C[0, 0], C[0, 1], C[3, 3])
    return [
        Row(f"{title}: {name}", ours, value, tolerance, OCTANT)
        for name, ours, value in zip(("C11", "C12", "C44"), found, values, strict=True)
    ]


# ---- permeability and conductivity ---------------------------------------------------------------


def ducts() -> Rows:
    """Straight ducts, per whole cell, and gaps filled with a drag: closed forms."""
    rows = []
    plate = Cell.box((1, 0.5), (3, 8), periodic=(True, False))
    k = permeability(plate, walls=["ymin", "ymax"]).value[0, 0]
    rows.append(Row("gap of 0.5: k", k, 0.5**2 / 12, 1e-10, "h²/12"))
    for title, sides, value in (
        ("square duct", (1.0, 1.0), 0.0351442537),
        ("2:1 duct", (1.0, 2.0), 0.0571704193),
    ):
        n = (8, 8 * round(sides[1]), 3)
        duct = Cell.box((*sides, 0.5), n, periodic=(False, False, True))
        walls = ["xmin", "xmax", "ymin", "ymax"]
        k = permeability(duct, walls=walls).value[2, 2]
        rows.append(Row(f"{title}: k", k, value, 1e-3, "series"))
    a, b = 0.3, 0.2
    by_axes = pi * (a * b) ** 3 / (4 * (a**2 + b**2))
    for title, model, value in (
        ("tube, r = 0.25", partial(ellipse_duct, (0.25, 0.25)), pi * 0.25**4 / 8),
        (
            "ellipse, 0.3 and 0.2",
            partial(ellipse_duct, (a, b)),
            by_axes,
        ),
        ("triangle of side 0.6", partial(triangle_duct, 0.6), sqrt(3) / 4 * 0.6**4 / 80),
    ):
        duct = Cell.build(model, lengths=(1, 1, 0.3), periodic=(False, False, True))
        k = permeability(duct, walls=["wall"]).value[2, 2]
        rows.append(Row(f"{title}: k", k, value, 1e-3, "area fraction × that of the duct"))
    for α, n in ((1.0, 64), (100.0, 64), (1e4, 256)):
        gap = Cell.box((3 / n, 1), (3, n), periodic=(True, False))
        m = sqrt(α)
        exact = (1 - tanh(m / 2) / (m / 2)) / α
        for pair in ("taylor-hood", "stabilised"):
            k = permeability(gap, drag=α, walls=["ymin", "ymax"], pair=pair).value[0, 0]
            rows.append(Row(f"gap of drag {α:g}, {pair}: k", k, exact, 2e-3, "exact"))
    for α in (1e2, 1e4, 1e6):
        for pair in ("taylor-hood", "stabilised"):
            k = two_layers(256, α, pair)
            exact = slip(0.25, 0.5, α)
            rows.append(Row(f"half fluid, half drag {α:g}, {pair}: k", k, exact, 1e-2, "exact"))
    for pair, theory in (("taylor-hood", 4), ("stabilised", 2)):
        errors = [abs(two_layers(n, 1e3, pair) / slip(0.25, 0.5, 1e3) - 1) for n in (64, 128)]
        order = float(np.log2(errors[0] / errors[1]))
        title = f"half fluid, half drag 1000, {pair}: order of k"
        rows.append(Row(title, order, theory, 0.1, "theory", absolute=True))
    return rows


def two_layers(n: int, α: float, pair: Any) -> float:
    """k along the layers of a unit cell whose middle half is fluid."""
    cell = Cell.box((3 / n, 1), (3, n))
    y = centres(3, n)[1]
    drag = field(cell, np.where(abs(y - 0.5) < 0.25, 0.0, α))
    return float(permeability(cell, drag=drag, pair=pair).value[0, 0])


def slip(a: float, h: float, α: float) -> float:
    """k of a fluid layer of half-width a beside a layer of drag α up to h."""
    m = sqrt(α)
    return (a**3 / 3 + 2 * a / α + a**2 / (m * tanh(m * (h - a))) + (h - a) / α) / h


def ellipse_duct(axes: tuple[float, float]) -> None:
    """A straight tube along z with an elliptic section, in gmsh."""
    disc = gmsh.model.occ.addDisk(0.5, 0.5, 0, *axes)
    extruded(disc, size=0.08)


def triangle_duct(side: float) -> None:
    """A straight tube along z whose section is an equilateral triangle, in gmsh."""
    occ = gmsh.model.occ
    corners = [(0.2, 0.2), (0.2 + side, 0.2), (0.2 + side / 2, 0.2 + sqrt(0.75) * side)]
    points = [occ.addPoint(*corner, 0) for corner in corners]
    lines = [occ.addLine(points[i], points[(i + 1) % 3]) for i in range(3)]
    extruded(occ.addPlaneSurface([occ.addCurveLoop(lines)]), size=0.06)


def extruded(surface: int, *, size: float) -> None:
    """Three layers of second-order tetrahedra over a section, 0.3 deep; the sides are `wall`."""
    parts = gmsh.model.occ.extrude([(2, surface)], 0, 0, 0.3, numElements=[3])
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(3, [parts[1][1]], name="fluid")
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in parts[2:]], name="wall")
    gmsh.model.mesh.setSize(gmsh.model.getEntities(0), size)
    gmsh.model.mesh.generate(3)
    gmsh.model.mesh.setOrder(2)


DRAGS = {  # K = F / (6π μ a U) by arrangement and the fraction of spheres
    "sc": {
        0.008: 1.5249,
        0.027: 2.00777,
        0.064: 2.81020,
        0.125: 4.29159,
        0.216: 7.44195,
        0.343: 15.3995,
        0.45: 28.086,
        0.5: 37.011,
    },
    "bcc": {0.125: 4.44639, 0.45: 31.689},
    "fcc": {0.125: 4.44573, 0.45: 33.49},
}
NUMBER = {"sc": 1, "bcc": 2, "fcc": 4}


def spheres() -> Rows:
    """Arrays of solid spheres: Taylor–Hood on curved tetrahedra of edge 0.07 (SC) or 0.05.

    Around the smallest, edges are 0.4 radii. At a fraction of 0.5 the gap of 0.015 is a fifth of a
    cell.
    """
    rows = []
    for arrangement, drags in DRAGS.items():
        n = NUMBER[arrangement]
        for c, K in drags.items():
            a = radius_of(c, spheres=n)
            model = partial(
                sphere_cell,
                radius=a,
                size=min(0.07 if n == 1 else 0.05, 0.4 * a),
                arrangement=arrangement,
                phase="matrix",
            )
            k = permeability(Cell.build(model), walls=["interface"], symmetry="cubic").value[0, 0]
            tolerance = 5e-3 if c <= 0.45 else 2e-2
            source = "Zick & Homsy 1982; Sangani & Acrivos 1982; recomputed"
            exact = 1 / (6 * pi * a * n * K)
            rows.append(Row(f"{arrangement}, {c}: k", k, exact, tolerance, source))
    return rows


SQUARE = {  # k across, k along, D by the fraction of cylinders
    0.05: (6.42763e-2, 1.287680e-1, 0.90476173),
    0.1: (4.02711e-2, 8.126802e-2, 0.81817676),
    0.2: (1.940732e-2, 4.082488e-2, 0.66653068),
    0.3: (9.719939e-3, 2.245907e-2, 0.53757998),
    0.4: (4.589381e-3, 1.262886e-2, 0.42535123),
    0.5: (1.877765e-3, 7.074681e-3, 0.32465447),
    0.6: (5.670306e-4, 3.897406e-3, 0.23031795),
    0.7: (7.39692e-5, 2.098714e-3, 0.13454044),
}
HEXAGONAL = {  # k across / a², k along / a², D
    0.05: (3.992434, 7.984887, 0.90476190),
    0.1: (1.250036, 2.500200, 0.81818181),
    0.2: (0.3071104, 0.6149158, 0.66666533),
    0.3: (0.1081890, 0.2178868, 0.53844202),
    0.4: (4.227785e-2, 8.672829e-2, 0.42844530),
    0.5: (1.643855e-2, 3.528256e-2, 0.33280901),
    0.6: (5.807396e-3, 1.379112e-2, 0.24834295),
    0.7: (1.620265e-3, 4.875892e-3, 0.17208347),
    0.8: (2.41971e-4, 1.449222e-3, 0.10041546),
}


def along(cell: Cell) -> float:
    """Permeability along cylinders, ∫w/|Y| with −Δw = 1 in the fluid and w = 0 on their walls."""
    w = darcy(cell, permeability=1, pressure={"interface": 0}, source=1, degree=2, name="axial")
    return float(Functional(w * cell.dx)) / cell.volume


def cylinders() -> Rows:
    """Arrays of solid, insulating cylinders: curved triangles of edge 0.02.

    Flow across is Stokes flow in the plane; along the cylinders the velocity w solves −Δw = 1.
    """
    rows = []
    for arrangement, table in (("square", SQUARE), ("hexagonal", HEXAGONAL)):
        area = 1.0 if arrangement == "square" else sqrt(3.0) / 2
        for c, (k, k_along, D) in table.items():
            a = sqrt(c * area / pi)
            model = partial(hole_cell, radius=a, size=0.02, arrangement=arrangement, phase="matrix")
            cell = Cell.build(model)
            flow = permeability(cell, walls=["interface"]).value
            diffusion = conductivity(cell, degree=2).value
            unit = 1.0 if arrangement == "square" else a * a
            exact = k * unit
            title = f"{arrangement}, {c}"
            rows += [
                Row(f"{title}: k", flow[0, 0], exact, 2e-3, SPECTRAL),
                Row(f"{title}: k₃₃", along(cell), k_along * unit, 2e-3, SPECTRAL),
                Row(f"{title}: D", diffusion[0, 0], D, 2e-3, SPECTRAL),
            ]
            if arrangement == "hexagonal":
                rows.append(Row(f"{title}: k₂₂", flow[1, 1], exact, 2e-3, "isotropy"))
    return rows


INSULATORS = {
    0.1: 0.85711190,
    0.125: 0.82344987,
    0.2: 0.72670304,
    0.3: 0.60566125,
    0.4: 0.49010992,
    0.45: 0.43271758,
    0.5: 0.37373488,
}


def insulators() -> Rows:
    """Diffusion around insulating spheres, simple cubic: P2 on curved tetrahedra of edge 0.08.

    Cylinders are with those of the flow.
    """
    rows = []
    for c, value in INSULATORS.items():
        model = partial(sphere_cell, radius=radius_of(c), size=0.08, phase="matrix")
        D = conductivity(Cell.build(model), degree=2, symmetry="cubic").value[0, 0]
        rows.append(Row(f"spheres, {c}: D", D, value, 1e-3, OCTANT))
    return rows


SURFACES = {  # k, D at a porosity of 0.5, of I-WP at 0.53078
    "Schwarz P": (schwarz_p(), 0.0032470, 0.330),
    "gyroid": (moved(gyroid(), 0.013), 0.0022489, 0.332),
    "Schwarz D": (moved(diamond(), 0.013), 0.0014011, 0.332),
    "I-WP": (iwp(porosity=0.53078), 0.0019185, 0.364),
}


def surfaces() -> Rows:
    """Pore networks of nodal surfaces: body-fitted tetrahedra, 16 cells a period.

    Geometry is of first order: its error falls with the square of the cell. The references of D
    are voxel cells of 24 and 48, extrapolated, to ± 1 %.
    """
    rows = []
    for name, (body, k, D) in SURFACES.items():
        model = partial(body_fitted, body, resolution=16, phase="fluid")
        cell = Cell.build(model, lengths=body.lengths)
        flow = permeability(cell, walls=["interface"], symmetry="cubic").value[0, 0]
        diffusion = conductivity(cell, degree=2, symmetry="cubic").value[0, 0]
        rows += [
            Row(f"{name}: k", flow, k, 1e-2, "fundamental solutions, converged to 1e-4"),
            Row(f"{name}: D", diffusion, D, 1e-2, "voxels, extrapolated"),
        ]
    return rows


def voxels() -> Rows:
    """Cells of 64³ voxels, each with its solid fraction f: E ∝ f, and the drag of property maps."""
    n = (64, 64, 64)
    cell = Cell.box((1, 1, 1), n)
    E, α, D = (fem.Function(cell.cellwise) for _ in range(3))
    C = stiffness(cell, modulus=E, poisson=NU, symmetry="cubic")
    k = permeability(cell, drag=α, symmetry="cubic")
    void = sphere_packing("sc", radius=radius_of(0.3), solid="matrix").voxels(n)
    E.x.array[:] = field(cell, void + VOID * (1 - void)).x.array
    rows = cubic_rows("spherical void 0.3", C.value, VOIDS[0.3], 2e-2)
    beds = [(name, body, exact) for name, (body, exact, _) in SURFACES.items()]
    for c in (0.216, 0.343):
        a = radius_of(c)
        exact = 1 / (6 * pi * a * DRAGS["sc"][c])
        beds.append((f"spheres, {c}", sphere_packing("sc", radius=a), exact))
    for name, body, value in beds:
        α.x.array[:] = field(cell, properties._drag(body.voxels(n), 1 / 64, 1.0)).x.array
        rows.append(Row(f"{name}: k", k.value[0, 0], value, 2e-2, "as on body-fitted meshes"))
    solid = sphere_packing("sc", radius=radius_of(0.3)).voxels(n)
    D.x.array[:] = field(cell, (1 - solid) + properties.VOID * solid).x.array
    found = conductivity(cell, coefficient=D, symmetry="cubic").value[0, 0]
    rows.append(Row("insulating spheres, 0.3: D", found, INSULATORS[0.3], 2e-2, OCTANT))
    return rows


# ---- ranks and iterations ------------------------------------------------------------------------


def cell_ranks() -> Rows:
    """The tensors of cells on 2 and 3 ranks against one rank: the largest difference of an entry.

    Tensors are symmetric by their making; so that of the mean velocities, which need not be, is
    compared with its transpose. Not a number is a solver that failed.
    """
    alone = on_ranks(1, "tests.verify_cells")
    rows = []
    for count in (2, 3):
        for name, many in on_ranks(count, "tests.verify_cells").items():
            gap = apart(alone[name], many)
            rows.append(Row(f"{name}, {count} ranks", gap, 0.0, 1e-8, "one rank", True))
    for name, flow in alone.items():
        if "velocities" in name:
            skew = apart(flow, np.transpose(flow))
            rows.append(Row(f"{name}: asymmetry", skew, 0.0, 1e-8, "reciprocity", True))
    return rows


def apart(one: Any, other: Any) -> float:
    """The largest difference of an entry over the largest entry."""
    return float(np.abs(np.subtract(one, other)).max() / np.abs(one).max())


def sample() -> None:
    """Print the tensors of a few cells as JSON, on any number of ranks; nan if a solver fails."""
    found: dict[str, Any] = {}
    for cell in _sampled():
        for name, functional in _tensors(cell):
            title = f"{cell.num_cells} {cell.mesh.topology.cell_name()}s: {name}"
            for state in functional.states:
                if not state.operator.solver.direct:
                    state.operator.solver.rtol = 1e-10
            try:
                found[title] = functional.value.tolist()
            except SolverError as failure:
                print(f"{title}, {cell.comm.size} ranks: {failure}", file=sys.stderr)
                found[title] = np.nan
            if name == "k":
                found[f"{title}, mean velocities"] = [
                    [cell.integrate(state[j] * cell.dx) for j in range(cell.dimension)]
                    for state in functional.states
                ]
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(found))


def _sampled() -> Iterator[Cell]:
    """Voxels in 2D and 3D, and curved tetrahedra around a sphere."""
    yield Cell.box((1.0, 0.8), (24, 25))
    yield Cell.box((1.0, 0.8, 1.2), (16, 17, 15))
    yield Cell.build(partial(sphere_cell, radius=0.3, size=0.15, phase="matrix"))


def _tensors(cell: Cell) -> Iterator[tuple[str, Functional]]:
    """C, D and k: of a random density in voxels, of the fluid or the solid in a gmsh cell."""
    if "interface" in cell.names(cell.dimension - 1):
        yield "C", stiffness(cell, modulus=1.0, poisson=NU, degree=2)
        yield "D", conductivity(cell, degree=2)
        yield "k", permeability(cell, walls=["interface"])
    else:
        ρ = np.random.default_rng(cell.dimension).random(cell.num_cells)
        E = field(cell, 1e-3 + ρ**3)
        yield "C", stiffness(cell, modulus=E, poisson=NU)
        yield "D", conductivity(cell, coefficient=E)
        yield "k", permeability(cell, drag=field(cell, 1e4 * ρ**4))


RESOLUTIONS = (16, 32, 64)
DRAG_CAPS = (1e3, 1e6, 1e9)


def iterations() -> Rows:
    """Growth of the Krylov iterations of the permeability cell from 16³ to 64³ voxels of 0 or 1.

    FGMRES to 1e-8 from zero: some steps that show the permeability, hence ε, and the rest with the
    preconditioner of that ε; both are counted. The source column has the iterations and the CPU
    seconds of update and solve at 16, 32 and 64 voxels a period. Most of the growth lies between
    16 and 32: at 16 voxels the throats are two to four voxels wide and one cycle for the
    velocities is nearly exact. The rows that miss do so by the aggressive coarsening of the first
    aggregates: without it the gyroid takes 24 and 34 iterations at 16 and 64 voxels and a drag of
    1e6, which is within the limit, and more time.
    """
    bodies = {
        "spheres 0.216": sphere_packing("sc", radius=radius_of(0.216)),
        "gyroid network 0.5": gyroid(),
        "random field 0.5": random_field(porosity=0.5, seed=1),
    }
    counts: dict[tuple[str, float], list[tuple[int, float]]] = {}
    with patch.dict(homogenize.SMALL, {3: 0}):
        for n in RESOLUTIONS:
            cell = Cell.box((1, 1, 1), (n, n, n))
            α = fem.Function(cell.cellwise)
            k = permeability(cell, drag=α, symmetry="cubic")
            for name, body in bodies.items():
                solid = field(cell, body.voxels((n, n, n), samples=1).round()).x.array
                for drag in (500.0, *DRAG_CAPS):
                    α.x.array[:] = drag * solid
                    counts.setdefault((name, drag), []).append(cold_solve(k))
    rows = []
    for (name, drag), found in counts.items():
        if drag in DRAG_CAPS:
            its, seconds = zip(*found, strict=True)
            source = f"{'/'.join(map(str, its))}; {' / '.join(f'{s:.2g}' for s in seconds)} s"
            growth = max(1.0, its[-1] / its[0])
            title = f"{name}, drag {drag:.0e}: growth"
            rows.append(Row(title, growth, 1.0, 0.5, source, absolute=True))
    return rows


def cold_solve(k: Functional) -> tuple[int, float]:
    """Iterations of a solve from zero, and CPU seconds of all of it."""
    for state in k.states:
        state.x.array[:] = 0.0
    counted = k.states[0].operator.solver.iterations
    counted.clear()
    began = time.process_time()
    assert k.value[0, 0] > 0
    return sum(counted), time.process_time() - began


TABLES: dict[str, Callable[[], Rows]] = {
    "laminates": laminates,
    "holes": holes,
    "rectangle": rectangle,
    "wireframe": wireframe,
    "voids": voids,
    "ducts": ducts,
    "spheres": spheres,
    "cylinders": cylinders,
    "insulators": insulators,
    "surfaces": surfaces,
    "voxels": voxels,
    "cell-ranks": cell_ranks,
    "iterations": iterations,
}
