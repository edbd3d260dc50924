"""From an image to a modulus for each cell: the mean of the law over the cell.

    E_c = 1/|c| ∫_c E(ρ(v(x))) dx        v the image, trilinear; ρ the calibration; E the law

The law comes first and the mean second, as the modulus of a mean density is not the mean modulus.
Each cell integrates the image over all of itself by quadrature fine enough for the voxels
(`toolkit.bone.quadrature`), so that Σ E_c |c| is the integral of E over the mesh whatever the
cells are: for the cells of `voxel_domain` and a linear law to round-off. On several ranks every
rank maps its own cells, by the same arithmetic; sums of the report are over all.

Reference: Taddei et al. 2007, doi:10.1016/j.medengphy.2006.10.014 (averaging the modulus, not the
Hounsfield units, is the more accurate).
"""

from typing import Any, NamedTuple

import basix.ufl
import numpy as np
import numpy.typing as npt
from dolfinx import fem

from toolkit.bone.calibration import Calibration
from toolkit.bone.image import Image
from toolkit.bone.laws import Law, Outside, check_outside, convert, describe
from toolkit.bone.mapping_report import MappingReport
from toolkit.bone.quadrature import composite
from toolkit.domain import Domain
from toolkit.errors import InputError

__all__ = ["Mapping", "map_modulus"]

type Array = npt.NDArray[np.float64]

POINTS_AT_ONCE = 2**16  # bounds the memory, and keeps it in the cache
NEAR = 0.5  # voxels by which a mesh may leave the image: a smooth surface bulges
SUBCELLS = {"hexahedron": 2.0, "tetrahedron": 1.0}  # parts of an edge for each voxel along it


class Mapping(NamedTuple):
    """Fields of one value a cell, and how they were found.

    Attributes:
        modulus: Young's modulus, MPa, to be given to `elasticity`.
        density: Mean of the density that the law takes, g/cm³.
        report: Every setting and the numbers that came out.
    """

    modulus: fem.Function
    density: fem.Function
    report: MappingReport


class _Integrals(NamedTuple):
    """What is integrated over each cell: values, and where each treatment applies (0 or 1)."""

    hounsfield: Array
    density: Array
    modulus: Array
    below: Any
    above: Any
    raised: Any
    beyond: Any


class _Settings(NamedTuple):
    """How values of the image become moduli."""

    calibration: Calibration
    law: Law
    outside: Outside
    minimum: float


def map_modulus(
    domain: Domain,
    image: Image,
    *,
    calibration: Calibration,
    law: Law,
    outside: Outside = "warn",
    minimum: float = 0.0,
    subcells: float | None = None,
) -> Mapping:
    """Young's modulus of each cell of a domain from an image; collective.

    Args:
        domain: Tetrahedra or hexahedra with straight edges, mm, in the frame of the image.
        image: Whole on every rank.
        calibration: From HU to a density, converted to the one that the law takes.
        law: From density to modulus.
        outside: Where densities leave the law's valid range, "warn" extrapolates and warns (on
            rank 0) with the shares of the volume, "clamp" moves them into it.
        minimum: Least modulus at any point, MPa.
        subcells: Into how many parts for each voxel along it an edge of a cell is cut; 2 in
            hexahedra, which is exact for the cells of `voxel_domain`, and 1 in tetrahedra.

    Raises:
        InputError: Other cells, a mesh that leaves the image by more than half a voxel, settings
            out of range, and cells without stiffness.
    """
    check_outside(outside)
    shape = domain.mesh.topology.cell_name()
    straight = domain.mesh.geometry.cmaps[0].degree == 1
    if shape not in SUBCELLS or not straight:
        raise InputError(
            f"'{domain.source}' has cells of the shape {shape}, degree "
            f"{domain.mesh.geometry.cmaps[0].degree}. An image is mapped on tetrahedra or "
            "hexahedra of degree 1."
        )
    subcells = SUBCELLS[shape] if subcells is None else subcells
    if not 0 < subcells < np.inf or not 0 <= minimum < np.inf:
        raise InputError(
            f"map_modulus: subcells = {subcells:g} must be positive and minimum = {minimum:g} MPa "
            "not negative."
        )
    corners = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0][: len(domain.cells)]]
    _check_inside(domain, image, corners)
    settings = _Settings(calibration, law, outside, minimum)
    parts = _parts(image, corners, subcells)
    means = _means(domain, image, corners, parts, settings)
    _check_stiff(domain, means.modulus)
    report = _report(domain, image, means, parts, settings)
    if outside == "warn" and domain.comm.rank == 0:
        law.warn(report.below, report.above)
    fields = [_field(domain, getattr(means, name), name) for name in ("modulus", "density")]
    return Mapping(fields[0], fields[1], report)


def _check_inside(domain: Domain, image: Image, corners: Array) -> None:
    """Refuse meshes that leave the image; collective."""
    flat = corners.reshape(-1, 3)
    far = float(image.beyond(image.indices(flat)).max(initial=0.0))
    bounds = (flat.min(axis=0, initial=np.inf), flat.max(axis=0, initial=-np.inf))
    every = domain.comm.allgather((far, *bounds))
    worst = max(each[0] for each in every)
    if worst <= NEAR:
        return
    mesh = np.min([each[1] for each in every], axis=0), np.max([each[2] for each in every], axis=0)
    ends = image.points(np.indices((2, 2, 2)).reshape(3, -1).T * np.array(image.shape) - 0.5)
    words = [
        f"{low.round(3).tolist()} to {high.round(3).tolist()} mm"
        for low, high in (mesh, (ends.min(axis=0), ends.max(axis=0)))
    ]
    raise InputError(
        f"The mesh '{domain.source}' leaves the image '{image.source}' by {worst:.3g} voxels. It "
        f"reaches from {words[0]}, the image from {words[1]}, in patient coordinates (x left, y "
        "back, z head). Move the mesh, or read more of the image."
    )


def _parts(image: Image, corners: Array, subcells: float) -> npt.NDArray[np.int64]:
    """Into how many parts the edges of each cell are cut, (cells,)."""
    extent = np.ptp(image.indices(corners.reshape(-1, 3)).reshape(corners.shape), axis=1)
    whole = np.ceil(extent.max(axis=1, initial=0.0) - 1e-6)
    return np.maximum(np.ceil(subcells * whole), 1).astype(np.int64)


def _means(
    domain: Domain,
    image: Image,
    corners: Array,
    parts: npt.NDArray[np.int64],
    settings: _Settings,
) -> _Integrals:
    """The mean of each integrand over each cell of this rank."""
    shape = domain.mesh.topology.cell_name()
    element = basix.ufl.element("Lagrange", shape, 1)
    integrals = np.zeros((len(_Integrals._fields), len(corners)))
    for number in np.unique(parts):
        points, weights = composite(shape, int(number))
        table = element.tabulate(1, points)
        own = np.flatnonzero(parts == number)
        step = max(1, POINTS_AT_ONCE // len(points))
        for start in range(0, len(own), step):
            some = own[start : start + step]
            x, w = _placed(corners[some], table, weights)
            for row, values in zip(
                integrals, _evaluated(image, x.reshape(-1, 3), settings), strict=True
            ):
                row[some] = np.einsum("cq,cq->c", values.reshape(w.shape), w)
    return _Integrals(*(integrals / domain.cell_volumes))


def _placed(corners: Array, table: Array, weights: Array) -> tuple[Array, Array]:
    """Points in space of each cell, (cells, points, 3), and weights with the volume in them.

    Args:
        corners: (cells, corners, 3).
        table: Shape functions and their three derivatives, (4, points, corners).
        weights: On the reference cell, (points,).
    """
    if corners.shape[1] == 4:  # an affine map has one Jacobian for all points
        gradients = table[1:, :1] @ corners[:, None]
    else:
        gradients = table[1:] @ corners[:, None]
    a, b, c = np.moveaxis(gradients, 1, 0)
    return table[0] @ corners, np.abs(np.sum(np.cross(a, b) * c, axis=2)) * weights


def _evaluated(image: Image, x: Array, settings: _Settings) -> _Integrals:
    """The integrands at points (n, 3), each (n,)."""
    calibration, law, outside, minimum = settings
    at = image.indices(x)
    hounsfield = image.sampled(at)
    density = convert(calibration(hounsfield), calibration.gives, law.takes)
    modulus = law(law.clamped(density) if outside == "clamp" else density)
    return _Integrals(
        hounsfield=hounsfield,
        density=density,
        modulus=np.maximum(modulus, minimum),
        below=density < law.valid[0],
        above=density > law.valid[1],
        raised=np.less(modulus, minimum),
        beyond=np.greater(image.beyond(at), 1e-9),
    )


def _check_stiff(domain: Domain, modulus: Array) -> None:
    """Refuse cells without stiffness; collective."""
    soft = int(domain.comm.allreduce(int((~(modulus > 0)).sum())))
    if soft:
        raise InputError(
            f"{soft} of {domain.num_cells} cells of '{domain.source}' have no stiffness: their "
            "densities are zero or less, as in fat and air. Raise the threshold of the mask, map "
            'mask.extended(), clamp (outside="clamp"), or give minimum= a modulus in MPa.'
        )


def _field(domain: Domain, owned: Array, name: str) -> fem.Function:
    """A cell-wise function of this rank's values, ghosts included; collective."""
    field = fem.Function(domain.cellwise, name=name)
    field.x.array[domain.cell_dofs[: len(owned)]] = owned
    field.x.scatter_forward()
    return field


def _report(
    domain: Domain,
    image: Image,
    means: _Integrals,
    parts: npt.NDArray[np.int64],
    settings: "_Settings",
) -> MappingReport:
    """The report, from the means over each cell of this rank; collective."""
    volumes = domain.cell_volumes
    share = {
        name: float(domain.comm.allreduce(float(values @ volumes))) / domain.volume
        for name, values in means._asdict().items()
    }
    ends = domain.comm.allgather([(v.min(initial=np.inf), v.max(initial=-np.inf)) for v in means])

    def spread(name: str) -> tuple[float, float, float]:
        own = [each[means._fields.index(name)] for each in ends]
        return float(min(e[0] for e in own)), share[name], float(max(e[1] for e in own))

    rounded = [float(f"{value:.5e}") for value in np.unique(means.modulus)]
    distinct = len({value for each in domain.comm.allgather(rounded) for value in each})
    shape = domain.mesh.topology.cell_name()
    known = [n for each in domain.comm.allgather(np.unique(parts).tolist()) for n in each]
    fewest, most = (len(composite(shape, n)[1]) for n in (min(known), max(known)))
    calibration, law, clamp = settings.calibration, settings.law, settings.outside == "clamp"
    low, high = law.valid
    return MappingReport(
        image=image.source,
        voxels=image.shape,
        spacing=(float(image.spacing[0]), float(image.spacing[1]), float(image.spacing[2])),
        shear=image.shear,
        image_notes=image.notes,
        mesh=f"{domain.source}, {domain.num_cells} cells ({shape})",
        calibration=f"{calibration.gives} density = {calibration.intercept:.6g} + "
        f"{calibration.slope:.6g} HU g/cm³ ({calibration.source})",
        conversion=describe(calibration.gives, law.takes),
        law=f"{law.name}, of {law.takes} density {low:g} to {high:g} g/cm³ ({law.source}"
        + (f", doi:{law.doi})" if law.doi else ")"),
        interpolation="trilinear between the centres of voxels",
        average="law at each point, then mean over the cell",
        points=(fewest, most),
        outside=settings.outside,
        below=share["below"],
        above=share["above"],
        clamped=share["below"] + share["above"] if clamp else 0.0,
        minimum=settings.minimum,
        raised=share["raised"],
        beyond=share["beyond"],
        volume=domain.volume,
        distinct=distinct,
        modulus=spread("modulus"),
        density=spread("density"),
        hounsfield=spread("hounsfield"),
    )
