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

from toolkit import Domain
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
)

FILE = Path(os.environ.get("CRANIUM", "/usr/share/doc/invesalius-examples/examples/Cranium.inv3"))
pytestmark = [
    pytest.mark.parallel,
    pytest.mark.skipif(
        not FILE.is_file(), reason=f"no {FILE}: apt-get install invesalius-examples"
    ),
]


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
    line = Calibration.two_point((0, 0), (1500, 1.2), gives="qct")  # assumed: there is no phantom
    reports = [
        map_modulus(domain, mask.extended(), calibration=line, law=law("Carter-Hayes")).report
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
