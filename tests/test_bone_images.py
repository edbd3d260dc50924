"""Images: where voxels lie in the patient whatever the file, and what is wrong with a series."""

import gzip
import io
import re
import shutil
import tarfile
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from mpi4py import MPI

from tests.dicom_series import write_series
from toolkit import InputError
from toolkit.bone import Image, read, read_raw

SHAPE = (7, 6, 5)
AXES = {  # as columns, millimetres
    "plain": np.diag([0.8, 0.8, 1.5]),
    "anisotropic": np.diag([0.5, 0.9, 3.0]),
    "flipped": np.diag([-0.8, 0.8, 1.5]),
    "sagittal": np.array([[0, 0, 1.5], [0.8, 0, 0], [0, -0.9, 0]]),
    "oblique": np.linalg.qr(np.array([[3, 1, 0.5], [-1, 2, 0.3], [0.2, -0.4, 2]]))[0]
    * [0.8, 0.7, 1.5],
    "tilted": np.array([[0.8, 0, 0], [0, 0.8 * np.cos(0.3), 0], [0, 0.8 * np.sin(0.3), 1.5]]),
}
pytestmark = [
    pytest.mark.parallel,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # of pynrrd
]


def sample(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole Hounsfield units without any symmetry, and the affine of their voxels."""
    axes = AXES[name]
    if name in ("sagittal", "oblique") and np.linalg.det(axes) < 0:
        axes = axes * [1, 1, -1]
    values = np.random.default_rng(0).integers(-900, 1900, SHAPE).astype(float)
    return values, np.column_stack([axes, [-12.5, 30.25, 4.75]])


def shared(comm: MPI.Comm, tmp_path: Path) -> Path:
    """One folder for all ranks."""
    return Path(comm.bcast(str(tmp_path)))


def places(affine: np.ndarray) -> np.ndarray:
    """Points inside the image, some between the centres of voxels."""
    at = np.random.default_rng(1).uniform(0, np.array(SHAPE) - 1, (40, 3))
    at[:20] = np.round(at[:20])
    return at @ affine[:, :3].T + affine[:, 3]


def same(image: Image, name: str, abs: float = 1e-3) -> None:
    """The image has the sample's values at the sample's places."""
    values, affine = sample(name)
    points = places(affine)
    assert image.at(points) == pytest.approx(Image(values, affine).at(points), abs=abs)
    assert image.voxel_volume == pytest.approx(abs_det(affine), rel=1e-5)


def abs_det(affine: np.ndarray) -> float:
    return float(np.abs(np.linalg.det(affine[:, :3])))


@pytest.mark.short
@pytest.mark.parametrize("name", AXES)
def test_dicom_series(name, tmp_path, comm):
    folder = shared(comm, tmp_path)
    if comm.rank == 0:
        write_series(folder, *sample(name), slope=1.0, intercept=-1024.0)
        (folder / "notes.txt").write_text("no DICOM")
    comm.barrier()
    same(read(folder), name, abs=2e-2)  # positions are written with nine decimals or fewer


@pytest.mark.parametrize("name", AXES)
def test_nifti(name, tmp_path, comm):
    path = shared(comm, tmp_path) / "image.nii.gz"
    values, affine = sample(name)
    if comm.rank == 0:
        ras = np.vstack([np.diag([-1, -1, 1]) @ affine, [0, 0, 0, 1]])
        file = nibabel.Nifti1Image(values.astype(np.int16), ras)
        file.header.set_xyzt_units("mm")
        nibabel.save(file, path)
    comm.barrier()
    image = read(path)
    same(image, name, abs=5e-2)  # the file keeps its affine in single precision
    assert image.notes == ()


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior", "LAS"])
@pytest.mark.parametrize("name", AXES)
def test_nrrd(name, space, tmp_path, comm):
    path = shared(comm, tmp_path) / "image.nrrd"
    values, affine = sample(name)
    signs = {"l": (1, 1, 1), "r": (-1, -1, 1), "L": (1, -1, 1)}[space[0]]
    if comm.rank == 0:
        turned = np.diag(signs) @ affine
        header = {"space": space, "space directions": turned[:, :3].T, "space origin": turned[:, 3]}
        nrrd.write(str(path), values.astype(np.int16), header, index_order="F")
    comm.barrier()
    same(read(path), name)


@pytest.mark.parametrize("name", AXES)
def test_raw(name, tmp_path, comm):
    path = shared(comm, tmp_path) / "image.raw"
    values, affine = sample(name)
    if comm.rank == 0:
        stored = ((values + 1024) / 0.5).astype(">u2")
        path.write_bytes(b"header" + stored.tobytes(order="F"))
    comm.barrier()
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    image = read_raw(
        path,
        shape=SHAPE,
        spacing=tuple(spacing),
        dtype=">u2",
        offset=6,
        slope=0.5,
        intercept=-1024,
        origin=tuple(affine[:, 3]),
        directions=affine[:, :3] / spacing,
    )
    same(image, name)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_slope_and_intercept_of_each_slice(photometric, tmp_path, comm):
    """PET and some CT rescale slice by slice; MONOCHROME1 is a matter of the screen alone."""
    folder = shared(comm, tmp_path)
    values, affine = sample("plain")
    if comm.rank == 0:
        write_series(
            folder,
            values,
            affine,
            intercept=0.0,
            PhotometricInterpretation=photometric,
            RescaleSlope=lambda k: k + 1,
            RescaleIntercept=lambda k: -100 * k,
        )
    comm.barrier()
    image, k = read(folder), np.arange(SHAPE[2])
    assert image.values == pytest.approx(values * (k + 1) - 100 * k)
    assert any("MONOCHROME1" in note for note in image.notes) == (photometric == "MONOCHROME1")


def test_a_tilted_gantry_is_a_sheared_grid(tmp_path, comm):
    folder = shared(comm, tmp_path)
    if comm.rank == 0:
        write_series(folder / "a", *sample("tilted"), GantryDetectorTilt=np.degrees(0.3))
        write_series(folder / "b", *sample("tilted"), GantryDetectorTilt=5)
        write_series(folder / "c", *sample("plain"), GantryDetectorTilt=5)
    comm.barrier()
    image = read(folder / "a")
    assert image.shear == pytest.approx(np.degrees(0.3), abs=1e-3)
    assert any("tilted by 17.19°" in note for note in image.notes)
    with pytest.raises(InputError, match=r"tilted by 17.19° by their positions, but by 5°"):
        read(folder / "b")
    assert any("taken for corrected" in note for note in read(folder / "c").notes)


FAULTS = {  # files, what is written over them, and what the message says
    "missing": r"lacks 1 of 5 slices, at 7\.75 mm along its normal \(step 1\.5 mm\)",
    "two missing": r"lacks 2 of 9 slices, at 7\.75, 10\.75 mm",
    "uneven": r"unevenly: mostly 1\.5 mm, but 1\.9 mm between 6\.25 and 8\.15 mm",
    "twice": r"more than one slice at 6\.25 mm",
    "sideways": r"do not lie along a line: .* is 0\.\d+ mm off",
    "turned": r"ImageOrientationPatient = .* no stack of equal slices",
    "scout": r"Rows = 3\.0, but .* no stack of equal slices",
    "colour": r"picture of the kind 'RGB' with 1 frames",
    "one": r"has one image; a volume needs two slices",
    "nowhere": r"does not say its ImagePositionPatient",
    "several": r"several series: 1\.2\.3\.4 \(thin, 5 images\); 1\.2\.3\.5 \(thick, 4 images\)",
    "no such series": r"holds 0 series '9': 1\.2\.3\.4 ",
    "empty": r"holds no DICOM images",
    "damaged": r"pixels of .* cannot be read: .*Export the series uncompressed",
    "broken off": r"breaks off before its pixels",
    "without spacing": r"does not say its PixelSpacing",
    "without numbers": r"does not say its ImagePositionPatient, ImageOrientationPatient",
    "long axes": r"no axes at right angles: ImageOrientationPatient = \[2\.0, ",
    "negative spacing": r"no axes at right angles: .*PixelSpacing = \[-1",
    "slope": r"by a table or by a slope of zero",
}


@pytest.mark.short
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_series_is_said_on_every_rank(fault, tmp_path, comm):
    folder = shared(comm, tmp_path) / "series"
    if comm.rank == 0:
        spoil(folder, fault)
    comm.barrier()
    with pytest.raises(InputError, match=FAULTS[fault]):
        read(folder, series="9" if fault == "no such series" else None)


def spoil(folder: Path, fault: str) -> None:
    """Write a series with a fault; slices are 1.5 mm apart, the first at 4.75 mm."""
    values, affine = sample("plain")
    position = affine[:, 3] + np.arange(5)[:, None] * affine[:, 2]
    elements = {}
    if fault == "uneven":
        position[2:] += [0, 0, 0.4]
    elif fault == "twice":
        position[2] = position[1]
    elif fault == "sideways":
        position[2] += [0.5, 0, 0]
    if fault in ("uneven", "twice", "sideways"):
        elements["ImagePositionPatient"] = lambda k: position[k].tolist()
    if fault == "turned":
        elements["ImageOrientationPatient"] = lambda k: [0, 1, 0, 1, 0, 0] if k == 3 else [
            1, 0, 0, 0, 1, 0]  # fmt: skip
    elements |= {
        "without spacing": {"PixelSpacing": None},
        "without numbers": {"ImagePositionPatient": [1, 2], "ImageOrientationPatient": None},
        "long axes": {"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]},
        "negative spacing": {"PixelSpacing": [-1, 1]},
        "slope": {"RescaleSlope": 0, "RescaleIntercept": None},
    }.get(fault, {})
    if fault == "colour":
        elements["PhotometricInterpretation"] = "RGB"
    if fault == "two missing":
        values = np.concatenate([values, values[..., :4]], axis=2)
    if fault in ("several", "no such series"):
        write_series(folder, values[..., :4], affine, uid="1.2.3.5", prefix="b",
                     SeriesDescription="thick")  # fmt: skip
        elements["SeriesDescription"] = "thin"
    paths = write_series(folder, values, affine, uid="1.2.3.4", prefix="a", **elements)
    if fault == "missing":
        paths[2].unlink()
    elif fault == "two missing":
        paths[2].unlink()
        paths[4].unlink()
    elif fault == "scout":
        write_series(folder, values[:, :3, :1], affine, uid="1.2.3.4", prefix="z")
    elif fault == "broken off":
        paths[4].write_bytes(paths[4].read_bytes()[:500])
    elif fault == "one":
        for path in paths[1:]:
            path.unlink()
    elif fault == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif fault in ("nowhere", "damaged"):
        import pydicom

        file = pydicom.dcmread(paths[3])
        if fault == "nowhere":
            del file.ImagePositionPatient
        else:
            file.PixelData = file.PixelData[:-20]
        file.save_as(paths[3])


def test_one_of_several_series_is_chosen(tmp_path, comm):
    folder = shared(comm, tmp_path)
    if comm.rank == 0:
        spoil(folder, "several")
    comm.barrier()
    assert read(folder, series="3.5").shape == (7, 6, 4)
    assert read(folder, series="1.2.3.4").shape == SHAPE


@pytest.mark.short
def test_files_that_are_no_images(tmp_path, comm):
    folder = shared(comm, tmp_path)
    values, _ = sample("plain")
    if comm.rank == 0:
        (folder / "image.tif").write_bytes(b"II*")
        (folder / "bad.nii").write_bytes(b"nothing")
        (folder / "bad.nii.gz").write_bytes(gzip.compress(b"nothing"))
        (folder / "bad.nrrd").write_bytes(b"NRRD0004\nnothing\n")
        nrrd.write(str(folder / "flat.nrrd"), values[:, :, 0].astype(np.int16))
        nrrd.write(str(folder / "sizeless.nrrd"), values.astype(np.int16))
        header = {"space dimension": 3, "space directions": np.eye(3)}
        nrrd.write(str(folder / "sideless.nrrd"), values.astype(np.int16), header)
        (folder / "short.raw").write_bytes(bytes(100))
    comm.barrier()
    for name, message in {
        "none.nii": "There is no image",
        "image.tif": "none of the endings .nii, .nii.gz, .nrrd, .nhdr",
        "bad.nii": "cannot be read as NIfTI",
        "bad.nii.gz": "cannot be read as NIfTI",
        "bad.nrrd": "cannot be read as NRRD",
        "flat.nrrd": "has 2 axes",
        "sizeless.nrrd": "neither 'space directions' nor three positive 'spacings'",
        "sideless.nrrd": "left and right are not known",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            read(folder / name)
    with pytest.raises(InputError, match=r"has 100 bytes, but .* need 420"):
        read_raw(folder / "short.raw", shape=SHAPE, spacing=(1, 1, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "foo"}, "dtype = 'foo'"),
        ({"dtype": "complex64"}, "of whole or real numbers"),
        ({"shape": (2.0, 3, 4)}, "shape = \\(2.0, 3, 4\\): 'float'"),
        ({"shape": (-2, -3, 4)}, "three counts"),
        ({"offset": -2}, "offset = -2 not negative"),
        ({"origin": (0, 0)}, "three coordinates"),
        ({"spacing": (1, 1, -1)}, "three positive lengths"),
    ],
)
def test_mistakes_about_raw_arrays_are_named(given, message, tmp_path, comm):
    folder = shared(comm, tmp_path)
    if comm.rank == 0:
        (folder / "a.raw").write_bytes(bytes(48))
    comm.barrier()
    with pytest.raises(InputError, match=message):
        read_raw(folder / "a.raw", **{"shape": (2, 3, 4), "spacing": (1, 1, 1)} | given)


def test_files_that_do_not_say_where_they_are_carry_a_note(tmp_path, comm):
    folder = shared(comm, tmp_path)
    values, _ = sample("plain")
    if comm.rank == 0:
        header = {"spacings": [0.5, 0.75, 2.0]}
        nrrd.write(str(folder / "a.nrrd"), values.astype(np.int16), header, index_order="F")
        file = nibabel.Nifti1Image(values.astype(np.int16), None)
        nibabel.save(file, folder / "a.nii")
    comm.barrier()
    image = read(folder / "a.nrrd")
    assert image.spacing == pytest.approx([0.5, 0.75, 2.0])
    assert "how it lies in the patient" in image.notes[0]
    notes = read(folder / "a.nii").notes
    assert "no sform, no qform" in notes[0] and "no unit of length" in notes[1]


@pytest.mark.parametrize("name", AXES)
def test_trilinear_values_cropping_and_resampling_keep_a_linear_field(name):
    """v = g·x + 3 is found exactly between the voxels, in any grid, and after cutting it out."""
    _, affine = sample(name)
    g = np.array([3.0, -2.0, 5.0])
    grid = np.indices((9, 8, 7)).reshape(3, -1).T @ affine[:, :3].T + affine[:, 3]
    image = Image((grid @ g + 3).reshape(9, 8, 7), affine)
    points = places(affine)
    assert image.at(points) == pytest.approx(points @ g + 3, rel=1e-12)
    assert image.points(image.indices(points)) == pytest.approx(points, rel=1e-12)
    part = image.cropped((1, 1, 1), (8, 7, 6))
    middle = (np.array(part.shape) - 1) / 2
    inner = points[(np.abs(part.indices(points) - middle) <= middle).all(axis=1)]
    assert len(inner) > 5
    assert part.at(inner) == pytest.approx(inner @ g + 3, rel=1e-12)
    even = image.resampled(0.6, fill=-1e300)
    assert even.shear == pytest.approx(0, abs=1e-6)
    assert even.spacing == pytest.approx([0.6] * 3)
    centre = image.points([[4, 3.5, 3]])
    assert even.at(centre) == pytest.approx(centre @ g + 3, rel=1e-9)
    size = np.prod(image.shape) * image.voxel_volume
    filled = (even.values > -1e299).sum() * even.voxel_volume
    assert filled == pytest.approx(size, rel=0.12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Image.of(np.zeros((3, 3)), (1, 1, 1)), "at least two voxels along each of three"),
        (lambda: Image.of(np.full((3, 3, 3), np.nan), (1, 1, 1)), "27 voxels that are not finite"),
        (lambda: Image.of(np.zeros((3, 3, 3)), (1, 0, 1)), "three positive lengths in mm"),
        (
            lambda: Image.of(np.zeros((3, 3, 3)), (1, 1, 1), directions=np.ones((3, 3))),
            "three unit vectors",
        ),
        (lambda: Image(np.zeros((3, 3, 3)), np.zeros((3, 4))), "affine map that is not"),
        (
            lambda: Image.of(np.zeros((3, 3, 3)), (1, 1, 1)).cropped((0, 0, 2), (3, 3, 3)),
            "does not leave two voxels",
        ),
        (lambda: Image.of(np.zeros((3, 3, 3)), (1, 1, 1)).resampled(-1), "spacing = -1 must be"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("text", [b"", b"<plist><dict>", b"<plist><dict></dict></plist>"])
def test_a_project_that_is_damaged_is_refused(tmp_path, text):
    with tarfile.open(tmp_path / "head.inv3", "w") as archive:
        member = tarfile.TarInfo("main.plist")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    with pytest.raises(InputError, match="InVesalius project"):
        read(tmp_path / "head.inv3")
