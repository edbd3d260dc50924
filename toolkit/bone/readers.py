"""Reading volume images: NIfTI, NRRD, InVesalius projects, raw arrays, by `read` DICOM series too.

All end in one frame, DICOM's: x to the patient's left, y to the back, z to the head, in mm. NIfTI
is right-anterior-superior and NRRD says what it is; their first two axes are turned where needed,
the voxels stay as they are stored. A file that does not say how it lies in space is read with a
note in `Image.notes`. Rank 0 reads and broadcasts, so everything here is collective.
"""

import operator
import plistlib
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from toolkit.bone.dicom import load_series
from toolkit.bone.image import UPRIGHT, Image, on_rank_0
from toolkit.errors import InputError

__all__ = ["read", "read_raw"]

UNREADABLE = (OSError, tarfile.TarError, plistlib.InvalidFileException, ExpatError)

_MM = {"mm": 1.0, "m": 1e3, "cm": 10.0, "um": 1e-3, "µm": 1e-3, "meter": 1e3, "micron": 1e-3}
_LPS = {  # of NRRD's space, the signs that make its axes left, posterior, superior
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}


def read(path: str | Path, *, series: str | None = None, comm: MPI.Comm = MPI.COMM_WORLD) -> Image:
    """Read an image: a folder of DICOM files, .nii, .nii.gz, .nrrd, .nhdr or .inv3; collective.

    Args:
        path: The folder or file.
        series: Which series of a folder, by (the end of) its SeriesInstanceUID; needed where the
            folder holds several.
        comm: Communicator of the ranks that get the image.

    Raises:
        InputError: No such file, an unknown format, a file that is damaged or no volume, and what
            `toolkit.bone.dicom` refuses in a series.
    """
    path = Path(path)
    return on_rank_0(comm, partial(_load, path, series), path)


def read_raw(
    path: str | Path,
    *,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    dtype: str = "int16",
    offset: int = 0,
    slope: float = 1.0,
    intercept: float = 0.0,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    directions: npt.ArrayLike = UPRIGHT,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Image:
    """Read an array without a header, the first index fastest; collective.

    Args:
        path: The file.
        shape: Voxels along i (fastest in the file), j and k.
        spacing: mm along i, j and k.
        dtype: NumPy's name of the stored type, ">i2" where the first byte is the highest.
        offset: Bytes before the array.
        slope: HU a stored unit.
        intercept: HU of a stored zero.
        origin: Centre of the first voxel, mm.
        directions: Unit vectors of i, j, k as columns, (3, 3), in patient coordinates.
        comm: Communicator of the ranks that get the image.

    Raises:
        InputError: No such file, a type that holds no real numbers, or a size of the file that
            does not fit shape, type and offset.
    """
    path = Path(path)

    def load() -> Image:
        try:
            kind, sizes = np.dtype(dtype), [operator.index(n) for n in shape]
        except TypeError as bad:
            raise InputError(f"'{path}': dtype = {dtype!r}, shape = {shape}: {bad}.") from bad
        if kind.kind not in "iuf" or len(sizes) != 3 or min(*sizes, offset + 1) < 1:
            raise InputError(
                f"'{path}': dtype = {dtype!r} must be of whole or real numbers, shape = "
                f"{tuple(shape)} three counts, and offset = {offset} not negative."
            )
        count = int(np.prod(sizes))
        needed, size = offset + count * kind.itemsize, _existing(path).stat().st_size
        if needed != size:
            raise InputError(
                f"'{path}' has {size} bytes, but {tuple(shape)} voxels of {kind.name} behind an "
                f"offset of {offset} need {needed}. Check shape, dtype and offset."
            )
        stored = np.fromfile(path, dtype=kind, count=count, offset=offset)
        values = _rescaled(stored.reshape(shape, order="F"), slope, intercept)
        image = Image.of(values, spacing, origin=origin, directions=directions, source=str(path))
        return image.noted("raw array: spacing and orientation as given by the caller")

    return on_rank_0(comm, load, path)


def _load(path: Path, series: str | None) -> Image:
    """What `read` does, on one rank."""
    formats: dict[str, Callable[[Path], Image]] = {
        ".nii": _load_nifti,
        ".nii.gz": _load_nifti,
        ".nrrd": _load_nrrd,
        ".nhdr": _load_nrrd,
        ".inv3": _load_invesalius,
    }
    if path.is_dir():
        return load_series(path, series)
    _existing(path)
    for ending, load in formats.items():
        if path.name.lower().endswith(ending):
            return load(path)
    raise InputError(
        f"'{path}' has none of the endings {', '.join(formats)}. Give the folder of a DICOM "
        "series rather than one of its files, or read an array with read_raw."
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"There is no image '{path}'. Give a file, or a folder of DICOM files.")
    return path


def _rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    return np.asarray(stored * np.float64(slope) + intercept, dtype=np.float32)


def _load_nifti(path: Path) -> Image:
    """A NIfTI file; affine from its sform or qform, values scaled as its header says."""
    import nibabel

    try:
        file: Any = nibabel.load(path)
        values = np.asarray(file.get_fdata(dtype=np.float32))
    except Exception as error:
        raise InputError(f"'{path}' cannot be read as NIfTI: {error}.") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    notes = []
    if not (file.header["sform_code"] or file.header["qform_code"]):
        notes.append("the file does not say how it lies in the patient (no sform, no qform)")
    unit = file.header.get_xyzt_units()[0]
    if unit not in _MM:
        notes.append("the file names no unit of length: taken for mm")
    ras = np.asarray(file.affine, dtype=float)[:3] * _MM.get(unit, 1.0)
    return Image(values, np.diag([-1, -1, 1]) @ ras, str(path), tuple(notes))


def _load_nrrd(path: Path) -> Image:
    """An NRRD file, with its space, or with spacings alone."""
    import nrrd

    try:
        values, header = nrrd.read(str(path), index_order="F")
    except Exception as error:
        raise InputError(f"'{path}' cannot be read as NRRD: {error}.") from error
    if values.ndim != 3:
        raise InputError(
            f"'{path}' has {values.ndim} axes of the sizes {values.shape}. Give a volume of three."
        )
    space, notes = str(header.get("space", "")).lower(), []
    units = {str(unit).lower() for unit in header.get("space units", ["mm"])}
    if len(units) != 1 or (unit := units.pop()) not in _MM:
        raise InputError(f"'{path}' has the units {header['space units']}. Give one unit, as mm.")
    if "space directions" in header:
        columns = np.asarray(header["space directions"], dtype=float).T
        signs = _LPS.get(space)
        if signs is None:
            raise InputError(
                f"'{path}' lies in the space '{space or 'without a name'}', of which left and "
                f"right are not known. It may be: {', '.join(_LPS)}."
            )
        origin = np.asarray(header.get("space origin", np.zeros(3)), dtype=float)
        if columns.shape != (3, 3) or origin.shape != (3,):
            raise InputError(
                f"'{path}' has 'space directions' of the shape {columns.T.shape} and a 'space "
                f"origin' of {origin.size} numbers. Three of three, and three, make a volume."
            )
        affine = np.diag(signs) @ np.column_stack([columns, origin]) * _MM[unit]
    else:
        notes.append("the file does not say how it lies in the patient (no space directions)")
        spacings = np.asarray(header.get("spacings", np.full(3, np.nan)), dtype=float)
        if spacings.shape != (3,) or not np.all(spacings > 0):
            raise InputError(
                f"'{path}' has neither 'space directions' nor three positive 'spacings', so its "
                "voxels have no size. Add one of them to its header, or read it with read_raw."
            )
        affine = np.column_stack([np.diag(spacings), np.zeros(3)])
    return Image(np.asarray(values), affine, str(path), tuple(notes))


def _load_invesalius(path: Path) -> Image:
    """An InVesalius 3 project: an archive of a property list and the array, its y to the front."""
    try:
        with tarfile.open(path) as archive:
            members = {Path(each.name).name: each for each in archive.getmembers()}
            main = plistlib.loads(_content(archive, members["main.plist"]))
            array = main["matrix"]
            stored = np.frombuffer(
                _content(archive, members[array["filename"]]), dtype=np.dtype(array["dtype"])
            ).reshape(array["shape"])
        spacing = [float(h) for h in main["spacing"]]
    except (*UNREADABLE, KeyError, TypeError, ValueError) as bad:
        raise InputError(f"'{path}' cannot be read as an InVesalius project: {bad!r}.") from bad
    towards = np.diag([1.0, -1.0, 1.0])
    image = Image.of(stored.T.astype(np.float32), spacing, directions=towards, source=str(path))
    return image.noted(
        "InVesalius project: x taken for left, y for front and z for head; no origin"
    )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()
