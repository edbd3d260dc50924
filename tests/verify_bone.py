"""The tables of docs/verification.md that are of images of bone; `tests.verify` makes them."""

import os
import time
from functools import partial
from pathlib import Path

import toolkit  # first: MPI and PETSc's options  # noqa: F401  # isort: skip
import numpy as np
from scipy import ndimage, spatial

from tests import test_bone_head as heads
from tests import test_bone_meshes as meshes
from tests.table import Row, Rows
from tests.test_bone_patch import DRAWN, HOLE, MIDDLE, Hole, R, T
from toolkit import Domain
from toolkit.bone import (
    Image,
    Mask,
    contour,
    cranial_patch,
    craniectomy,
    map_modulus,
    mirror_plane,
    read,
    tetrahedra,
    threshold,
    voxel_domain,
    zygomatic_patch,
)

HEAD = Path(os.environ.get("CRANIUM", "/usr/share/doc/invesalius-examples/examples/Cranium.inv3"))
LIMIT = 300.0  # seconds


def images() -> Rows:
    """Moduli from images: exact means on any grid, and voxels against tetrahedra of one CT.

    The image is linear in space and so is the law, so the modulus of each cell is that of its
    midpoint; the greatest relative difference is shown. The CT is of a tube of 2.5 and 5 mm in
    voxels of 1 and 0.5 mm, stretched and bent; the row is the difference of the two stiffnesses.
    So it is of a piece of the left parietal bone, 23 mm long and 18 mm wide, of the head CT of
    Debian's invesalius-examples, in its voxels of 0.96 × 0.96 × 1.5 mm and resampled to 0.6 mm;
    without that image its rows are left out.
    """
    rows = []
    domain = Domain.box((4, 3, 2.5), (3, 2, 2))
    x = domain.mesh.geometry.x[domain.mesh.geometry.dofmaps[0]].mean(axis=1)
    exact = domain.gather_cells(10 * (x @ meshes.GRADIENT + meshes.AT_ZERO))
    for grid in meshes.GRIDS:
        image = meshes.linear_image(grid)
        found = map_modulus(domain, image, calibration=meshes.UNIT, law=meshes.LINEAR)
        error = float(np.abs(meshes.values(domain, found.modulus) / exact - 1).max())
        rows.append(
            Row(f"{grid} grid: modulus", error, 0.0, 1e-12, "exact midpoint", absolute=True)
        )
    for h, size, limit in ((1.0, 2.5, 0.15), (0.5, 1.5, 0.03)):
        mask = threshold(meshes.tube(h, gradient=0), 300).cleaned()
        source = Mask(meshes.tube(h), mask.inside).extended()
        both = [
            meshes.tube_stiffness(
                each,
                map_modulus(each, source, calibration=meshes.UNIT, law=meshes.LINEAR).modulus,
                degree,
            )
            for each, degree in (
                (voxel_domain(mask), 1),
                (Domain.build(partial(tetrahedra, mask, size=size)), 2),
            )
        ]
        for word, voxels, smooth in zip(("stretched", "bent"), *both, strict=True):
            name = f"tube {word}, voxels of {h:g} mm [N/mm]"
            rows.append(Row(name, voxels, smooth, limit, f"tetrahedra of {size:g} mm"))
    if not HEAD.is_file():
        return rows
    image = read(HEAD)
    for h, size, limit in ((None, 2.0, 0.05), (0.6, 1.6, 0.03)):
        both = heads.plank_stiffness(image, 226, h, size)
        for word, voxels, smooth in zip(("stretched", "bent"), *both, strict=True):
            name = f"skull {word}, voxels {f'of {h:g} mm' if h else 'as they are'} [N/mm]"
            rows.append(Row(name, voxels, smooth, limit, f"tetrahedra of {size:g} mm"))
    return rows


def patches() -> Rows:
    """Cranial patches: a round head with a hole, and the head CT of Debian's invesalius-examples.

    The round head has a radius of 60 mm and a cylindrical hole of 32 mm. The head lacks a strip of
    its frontal bone, for which a patch is made; then 60 mm of its left parietal bone are taken out
    and the patch is compared with what was there, away from its edge. Times are of one rank, from
    the file to the closed surface. Last its left cheekbone is taken out, all bone in a ball of
    48 mm, and sought within one of 76 mm. The patch is the other side's bone, so it is no nearer to
    what was there than the head is symmetric: the mirrored bone's own figure is the reference.
    """
    hole, began = Hole(), time.perf_counter()
    surface = (patch := cranial_patch(hole.mask, plane=MIDDLE, **DRAWN)).surface()
    fit, part = HOLE - DRAWN["gap"], patch.part(surface.points)
    height, radius = np.linalg.norm(surface.points, axis=1), hole.radius(surface.points)
    deep = radius < fit - 1.5
    wall = (part == "rim") & (height > R - DRAWN["thickness"] + 1) & (height < R - 2)
    rows = [
        Row("round head: mm³ removed", hole.whole.volume - hole.mask.volume,
            hole.volume(HOLE, T), 0.01, "closed form"),
        Row("round head: mm³ of the patch", surface.volume,
            hole.volume(fit, DRAWN["thickness"]), 0.015, "closed form"),
        Row("round head: outer radius, mean [mm]",
            height[deep & (part == "outer")].mean(), R, 2e-3, "sphere"),
        Row("round head: inner radius, mean [mm]",
            height[deep & (part == "inner")].mean(), R - DRAWN["thickness"], 2e-3, "sphere"),
        Row("round head: gap, mean [mm]", HOLE - radius[wall].mean(), DRAWN["gap"], 0.05,
            "as asked", absolute=True),
    ]  # fmt: skip
    if not HEAD.is_file():
        return rows
    began = time.perf_counter()
    image = read(HEAD)
    skull = threshold(image, 226).cleaned(closing=1, fill=False)
    surface = cranial_patch(skull, thickness=5.0).surface()
    seconds = time.perf_counter() - began
    field = Image(skull.signed(), image.affine)
    share = float((field.at(surface.points) > 0).mean())
    edges = np.sort(surface.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    shared = np.unique(edges, axis=0, return_counts=True)[1]
    rows += [
        Row("head: seconds to the patch", seconds, 0.0, LIMIT, "limit 300 s", absolute=True),
        Row("head: edges not of two triangles", float((shared != 2).sum()), 0.0, 0.0,
            f"closed; {surface.volume:.0f} mm³", absolute=True),
        Row("head: points of the patch in bone", share, 0.0, 0.0, "none", absolute=True),
    ]  # fmt: skip
    at = (189.0, -91.0, 118.0)
    opened = craniectomy(skull, at, 60)
    plane = mirror_plane(opened)
    patch = cranial_patch(opened, thickness=6.0, near=at, plane=plane)
    points = patch.surface().points
    x, axis = points - skull.centroid, np.array(at) - skull.centroid
    axis /= np.linalg.norm(axis)
    far = np.sqrt(np.sum(x * x, axis=1) - (x @ axis) ** 2)
    outer = points[(patch.part(points) == "outer") & (far < 27)]
    steps = np.arange(-4, 4, 0.05)
    bone = np.stack([field.at(outer + s * axis) for s in steps], axis=1) > 0
    error = steps[bone.shape[1] - 1 - np.argmax(bone[:, ::-1], axis=1)] + 0.025
    removed = skull.inside & ~opened.inside
    voxels = image.points(np.indices(image.shape).reshape(3, -1).T)
    grid = patch.mask.image.indices(voxels)
    there = (patch.mask.image.sampled(grid) > 0) & (patch.mask.image.beyond(grid) <= 0)
    there = there.reshape(image.shape)
    dice = _dice(there, removed)
    thick = 2 * ndimage.distance_transform_edt(removed, sampling=image.spacing).max()
    angle = float(np.degrees(np.arccos(min(1.0, plane.normal @ mirror_plane(skull).normal))))
    rows += [
        Row("60 mm out: plane turned [degrees]", angle, 0.0, 0.3, "whole head", absolute=True),
        Row("60 mm out: outer face, mean [mm]", error.mean(), 0.0, 0.3, "removed bone",
            absolute=True),
        Row("60 mm out: outer face, rms [mm]", np.sqrt(np.mean(error**2)), 0.0, 0.6,
            "removed bone", absolute=True),
        Row("60 mm out: Dice coefficient", dice, 1.0, 0.2,
            f"removed bone, up to {thick:.1f} mm thick; the patch is 6 mm"),
    ]  # fmt: skip
    return rows + cheekbone(skull)


def cheekbone(skull: Mask) -> Rows:
    """A cheekbone taken out and brought back."""
    plane, left = mirror_plane(skull), heads.without_cheek(skull)
    patch = zygomatic_patch(left, near=heads.CHEEK, within=38, plane=plane)
    points, bone = patch.surface().points, contour(skull).points
    outer, surface = points[patch.part(points) == "outer"], spatial.cKDTree(bone)
    removed = bone[np.linalg.norm(bone - heads.CHEEK, axis=1) < heads.REMOVED]
    apart = heads.rms(surface.query(plane.mirrored(removed))[0])
    voxels = skull.image.points(np.indices(skull.image.shape).reshape(3, -1).T)
    ball = np.linalg.norm(voxels - heads.CHEEK, axis=1) < heads.REMOVED
    was = ball & skull.inside.ravel()
    at = skull.image.indices(plane.mirrored(voxels))
    other = ball & (ndimage.map_coordinates(skull.signed(), at.T, order=1, mode="nearest") > 0)
    near = np.round(patch.mask.image.indices(voxels)).astype(int)
    known = (near >= 0).all(axis=1) & (near < patch.mask.inside.shape).all(axis=1)
    there = np.zeros(len(voxels), dtype=bool)
    there[known] = patch.mask.inside[tuple(near[known].T)]
    beyond = np.linalg.norm(points - heads.CHEEK, axis=1).max() - heads.REMOVED
    own = heads.rms(surface.query(outer)[0])
    return [
        Row("cheekbone: reaches beyond the ball [mm]", beyond, 0.0, 4.0, "asymmetry 3, voxel 1 mm",
            absolute=True),
        Row("cheekbone: face against mirrored bone, rms [mm]",
            heads.rms(surface.query(plane.mirrored(outer))[0]), 0.0, 0.6, "voxels of 1.5 mm",
            absolute=True),
        Row("cheekbone: face against removed bone, rms [mm]", own, apart, 0.25, "mirrored bone"),
        Row("cheekbone: Dice coefficient with removed bone", _dice(there, was),
            _dice(other, was), 0.05, "mirrored bone"),
        Row("cheekbone: Dice coefficient with mirrored bone", _dice(there, other), 1.0, 0.1,
            "in the ball"),
    ]  # fmt: skip


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


TABLES = {"images": images, "patches": patches}
