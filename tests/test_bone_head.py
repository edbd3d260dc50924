"""The head CT of Debian's invesalius-examples: from its file to a mesh with moduli.

InVesalius keeps its own mask and surface in the file, made by other code: they are the reference.
`CRANIUM=/path/to/Cranium.inv3` names a copy that lies elsewhere.
"""

import os
import plistlib
import tarfile
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
    law,
    map_modulus,
    read_raw,
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
                if name in ("main.plist", "matrix.dat", "mask_0.dat", "mask_0.plist"):
                    (folder / name).write_bytes(archive.extractfile(member).read())
                elif name == "surface_0.plist":
                    (folder / name).write_bytes(archive.extractfile(member).read())
    comm.barrier()
    main, mask, surface = (
        plistlib.loads((folder / f"{name}.plist").read_bytes())
        for name in ("main", "mask_0", "surface_0")
    )
    k, j, i = main["matrix"]["shape"]
    image = read_raw(
        folder / "matrix.dat",
        shape=(i, j, k),
        spacing=tuple(main["spacing"]),
        dtype=main["matrix"]["dtype"],
    )
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
