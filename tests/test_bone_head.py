"""The head CT of Debian's invesalius-examples: from its file to a mesh with moduli.

InVesalius keeps its own mask and surface in the file, made by other code: they are the reference.
`CRANIUM=/path/to/Cranium.inv3` names a copy that lies elsewhere.
"""

import os
import plistlib
import tarfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from mpi4py import MPI
from scipy.spatial import cKDTree
from ufl import as_vector

from toolkit import Domain, Functional, elasticity
from toolkit.bone import (
    Calibration,
    Image,
    Mask,
    contour,
    cranial_patch,
    craniectomy,
    law,
    map_modulus,
    mirror_plane,
    read,
    tetrahedra,
    threshold,
    voxel_domain,
    zygomatic_patch,
)

FILE = Path(os.environ.get("CRANIUM", "/usr/share/doc/invesalius-examples/examples/Cranium.inv3"))
pytestmark = [
    pytest.mark.parallel,
    pytest.mark.skipif(
        not FILE.is_file(), reason=f"no {FILE}: apt-get install invesalius-examples"
    ),
]


LINE = Calibration.two_point((0, 0), (1500, 1.2), gives="qct")  # assumed: there is no phantom
CHEEK, REMOVED = (168.4, -184.7, 40.5), 24.0  # a ball about the left cheekbone [mm]


class Head(NamedTuple):
    """The image, and what InVesalius made of it."""

    image: Image
    level: int
    mask: np.ndarray
    volume: float


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Head:
    comm = MPI.COMM_WORLD
    folder = Path(comm.bcast(str(tmp_path_factory.mktemp("head"))))
    if comm.rank == 0:
        with tarfile.open(FILE) as archive:
            for member in archive.getmembers():
                name = Path(member.name).name
                if name in ("mask_0.dat", "mask_0.plist", "surface_0.plist"):
                    (folder / name).write_bytes(archive.extractfile(member).read())
    comm.barrier()
    mask, surface = (
        plistlib.loads((folder / f"{name}.plist").read_bytes()) for name in ("mask_0", "surface_0")
    )
    image = read(FILE)
    bytes_ = np.fromfile(folder / "mask_0.dat", dtype=np.uint8).reshape(mask["mask_shape"])
    inside = bytes_[1:, 1:, 1:].transpose(2, 1, 0) > 127
    return Head(image, mask["threshold_range"][0], inside, surface["volume"])


def test_threshold_and_volume_are_those_of_invesalius(head):
    mask = threshold(head.image, head.level)
    assert (mask.inside == head.mask).all()
    assert mask.volume == pytest.approx(head.volume, rel=0.01)


def test_the_skull_is_cleaned_and_its_surface_holds_its_volume(head):
    mask = threshold(head.image, head.level).cleaned(closing=1)
    assert mask.bodies == 1
    assert 550e3 < mask.volume < threshold(head.image, head.level).volume + 20e3  # mm³
    coarse = mask.coarsened(2).cleaned()
    surface = contour(coarse)
    assert surface.volume == pytest.approx(coarse.volume, rel=0.05)
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    assert (high - low > [130, 160, 130]).all() and (high - low < [180, 220, 170]).all()


@pytest.mark.filterwarnings("ignore:The law")
def test_moduli_of_the_skull_on_voxels_and_of_a_piece_on_tetrahedra(head):
    """The same piece of the parietal bone, meshed in both ways, is as stiff in the mean."""
    piece = head.image.cropped((100, 30, 80), (150, 80, 108))
    mask = threshold(piece, head.level).cleaned(opening=0, closing=2)
    reports = [
        map_modulus(domain, mask.extended(), calibration=LINE, law=law("Carter-Hayes")).report
        for domain in (
            voxel_domain(mask),
            Domain.build(partial(tetrahedra, mask, size=4.0, smoothing=40)),
        )
    ]
    voxels, smooth = reports
    assert voxels.volume == pytest.approx(mask.volume, rel=1e-9)
    assert smooth.volume == pytest.approx(mask.volume, rel=0.05)
    assert smooth.modulus[1] == pytest.approx(voxels.modulus[1], rel=0.1)
    assert 1e3 < voxels.modulus[1] < 20e3  # MPa, bone
    assert isinstance(mask, Mask)


def plank_stiffness(image: Image, level: float, h: float | None, size: float) -> np.ndarray:
    """N/mm of a piece of the left parietal bone on voxels and on tetrahedra, (2, 2).

    It is 23 mm long from back to front and 18 mm wide, clamped behind, stretched and bent by a
    traction in front. Both meshes are of one image, as it is or resampled to `h`, the voxels
    linear and the tetrahedra of `size` mm quadratic; the moduli are from the image as it is.
    """
    piece = image.cropped((188, 84, 70), (212, 108, 82))
    source = threshold(piece, level).cleaned(closing=1).extended()
    fine = piece if h is None else piece.resampled(h)
    mask = threshold(fine, level).cleaned(closing=1)
    return np.array(
        [
            _plank(domain, source, degree)
            for domain, degree in (
                (voxel_domain(mask), 1),
                (Domain.build(partial(tetrahedra, mask, size=size)), 2),
            )
        ]
    )


def _plank(domain: Domain, source: Image, degree: int) -> list[float]:
    modulus = map_modulus(domain, source, calibration=LINE, law=law("Carter-Hayes")).modulus
    y = domain.comm.allgather(
        (domain.mesh.geometry.x[:, 1].min(), domain.mesh.geometry.x[:, 1].max())
    )
    front, back = min(low for low, _ in y), max(high for _, high in y)
    domain.name("front", 2, lambda x: np.isclose(x[1], front, atol=1e-6))
    domain.name("back", 2, lambda x: np.isclose(x[1], back, atol=1e-6))
    area = domain.area("front")
    pulls = [as_vector((0, -1 / area, 0)), as_vector((1 / area, 0, 0))]  # forces of 1 N
    states = elasticity(
        domain,
        modulus=modulus,
        poisson=0.3,
        displacement=["back"],
        traction=[{"front": pull} for pull in pulls],
        degree=degree,
    )
    return [
        1 / float(Functional(pull[i] * u[i] * domain.ds("front")))
        for pull, u, i in zip(pulls, states, (1, 0), strict=True)
    ]


@pytest.mark.filterwarnings("ignore:The law")
def test_a_piece_of_skull_is_as_stiff_on_voxels_as_on_tetrahedra(head):
    """Within 3 %, stretched and bent."""
    voxels, smooth = plank_stiffness(head.image, head.level, 0.75, 2.0)
    assert voxels == pytest.approx(smooth, rel=0.03)


def test_a_patch_for_the_hole_in_the_forehead(head):
    """This head lacks a strip of its right frontal bone: a watertight patch, in minutes."""
    began = time.perf_counter()
    skull = threshold(head.image, head.level).cleaned(closing=1, fill=False)
    patch = cranial_patch(skull, thickness=5.0)
    surface = patch.surface()
    assert time.perf_counter() - began < 120
    edges = np.concatenate([surface.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    both = {tuple(edge) for edge in edges}
    assert len(both) == len(edges) and all((b, a) in both for a, b in both)
    assert len(surface.points) - len(edges) // 2 + len(surface.triangles) == 2
    assert (Image(skull.signed(), head.image.affine).at(surface.points) < 0).all()
    assert patch.outwards[0] < 0 and patch.outwards[1] < -0.5  # right and front
    assert np.ptp(surface.points @ np.array([0, 0, 1])) > 50  # mm
    assert patch.plane.mismatch < 0.5 and abs(patch.plane.normal[0]) > 0.999


def test_a_patch_brings_back_the_bone_that_was_taken_out(head):
    """A virtual craniectomy of 60 mm in the left parietal bone: what was there is the reference."""
    skull = threshold(head.image, head.level).cleaned(closing=1, fill=False)
    at = (189.0, -91.0, 118.0)
    opened = craniectomy(skull, at, 60)
    plane = mirror_plane(opened)
    assert np.degrees(np.arccos(min(1.0, plane.normal @ mirror_plane(skull).normal))) < 0.3
    patch = cranial_patch(opened, thickness=6.0, gap=0.5, near=at, plane=plane, spacing=0.7)
    points = patch.surface().points
    field = Image(skull.signed(), head.image.affine)
    x = points - skull.centroid
    axis = (np.array(at) - skull.centroid) / np.linalg.norm(np.array(at) - skull.centroid)
    far = np.sqrt(np.sum(x * x, axis=1) - (x @ axis) ** 2)
    outer = points[(patch.part(points) == "outer") & (far < 27)]
    steps = np.arange(-4, 4, 0.1)  # along the axis, to where the bone's surface was
    along = np.stack([field.at(outer + s * axis) for s in steps], axis=1) > 0
    last = along.shape[1] - 1 - np.argmax(along[:, ::-1], axis=1)
    error = steps[last]
    assert abs(error.mean()) < 0.3
    assert np.sqrt(np.mean(error**2)) < 0.6  # mm


def without_cheek(skull: Mask) -> Mask:
    """The skull without the bone in a ball about the left cheekbone."""
    image = skull.image
    voxels = image.points(np.indices(image.shape).reshape(3, -1).T)
    away = np.linalg.norm(voxels - CHEEK, axis=1).reshape(image.shape) - REMOVED
    field = np.minimum(skull.signed(), 500 * away)  # HU, as steep as bone's surface
    return Mask(Image(field, image.affine), field > 0, 0.0).cleaned(fill=False)


def rms(distances: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(distances**2)))


def test_a_cheekbone_that_was_taken_out_is_as_far_off_as_the_head_is_asymmetric(head):
    """The patch is the other side's bone, and none of what is left has come along."""
    skull = threshold(head.image, head.level).cleaned(closing=1, fill=False)
    plane, left = mirror_plane(skull), without_cheek(skull)
    patch = zygomatic_patch(left, near=CHEEK, within=38, plane=plane)
    points = patch.surface().points
    assert np.linalg.norm(points - CHEEK, axis=1).max() < REMOVED + 4  # the asymmetry, a voxel
    assert (Image(left.signed(), head.image.affine).at(points) > 0).mean() < 1e-3
    outer, bone = points[patch.part(points) == "outer"], contour(skull).points
    surface = cKDTree(bone)
    assert rms(surface.query(plane.mirrored(outer))[0]) < 0.6  # a voxel is 1.5 mm high
    removed = bone[np.linalg.norm(bone - CHEEK, axis=1) < REMOVED]
    assert rms(surface.query(outer)[0]) < rms(surface.query(plane.mirrored(removed))[0])
