"""A series of DICOM slices as one image, with everything that is wrong with it said.

Slices are put in order by their position along their normal, not by file name or number. The voxel
(i, j, k) is column i, row j of slice k; its centre is

    x = ImagePositionPatient(0) + i Δi cᵢ + j Δj cⱼ + k s

with the direction cosines and pixel spacing of the file (DICOM PS3.3, C.7.6.2) and s the step from
slice to slice. Under a tilted gantry s is not normal to the slices: the image is sheared, and read
so; nothing is resampled. A missing slice, an uneven step or a position that occurs twice is an
error that names the position in mm. Stored values become Hounsfield units by the slope and
intercept of their own slice. MONOCHROME1, which only asks a viewer to show it inverted, changes no
value.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.bone.image import Image
from toolkit.errors import InputError

__all__ = ["load_series"]

EVEN = 0.01  # of a step, by which positions may be off; at least ROUNDING mm
ROUNDING = 0.011  # mm: files round positions to a hundredth
TILT = 0.5  # degrees between the gantry's tilt as stated and as the positions have it
NEEDED = {  # and how many numbers each is
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "Rows": 1,
    "Columns": 1,
}


def load_series(folder: Path, series: str | None = None) -> Image:
    """Read the series of a folder; on one rank.

    Args:
        folder: Holds the files of the series, in any order, also with others that are no DICOM.
        series: (The end of) the SeriesInstanceUID, where there are several.

    Raises:
        InputError: No DICOM files or damaged ones, several series and none chosen, slices that do
            not say where they lie or do not fit each other, missing or uneven slices, and pixels
            that cannot be read or turned into Hounsfield units.
    """
    slices = _chosen(_slices(folder), folder, series)
    _check_alike(slices, folder)
    first = slices[0]
    along_row, along_column = np.asarray(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    positions = np.array([each.ImagePositionPatient for each in slices], dtype=float)
    order = np.argsort(positions @ normal, kind="stable")
    slices, positions = [slices[n] for n in order], positions[order]
    heights = positions @ normal
    _check_even(heights, folder)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    _check_straight(positions, step, folder)
    _check_tilt(first, _tilt(step, normal), folder)
    down, across = (float(h) for h in first.PixelSpacing)  # between rows, between columns
    affine = np.column_stack([along_row * across, along_column * down, step, positions[0]])
    values = np.stack([_hounsfield(each).T for each in slices], axis=2)
    return Image(values, affine, str(folder), tuple(_notes(slices, step, normal)))


def _slices(folder: Path) -> list[Any]:
    """All DICOM images of a folder, with their pixels."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    found = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.upper() == "DICOMDIR":
            continue
        try:
            each = pydicom.dcmread(path)
        except InvalidDicomError:
            continue
        if "PixelData" in each:
            found.append(each)
        elif not len(each) or "Image" in getattr(each.get("SOPClassUID"), "name", ""):
            raise InputError(f"'{path}' breaks off before its pixels. Copy the series again.")
    if not found:
        raise InputError(f"The folder '{folder}' holds no DICOM images.")
    return found


def _chosen(slices: list[Any], folder: Path, series: str | None) -> list[Any]:
    """The slices of the one series, or of the one that was asked for."""
    groups: dict[str, list[Any]] = {}
    for each in slices:
        groups.setdefault(str(each.get("SeriesInstanceUID", "")), []).append(each)
    chosen = [uid for uid in groups if series is None or uid.endswith(series)]
    if len(chosen) != 1:
        table = "; ".join(
            f"{uid} ({members[0].get('SeriesDescription', 'no description')}, "
            f"{len(members)} images)"
            for uid, members in groups.items()
        )
        what = "several series" if series is None else f"{len(chosen)} series '{series}'"
        raise InputError(
            f"The folder '{folder}' holds {what}: {table}. Choose one by series=, the end of its "
            "number will do."
        )
    return groups[chosen[0]]


def _check_alike(slices: Sequence[Any], folder: Path) -> None:
    """Refuse what is no stack of equal grey slices."""
    if len(slices) < 2:
        raise InputError(
            f"The series in '{folder}' has one image; a volume needs two slices at least. Files "
            "with many frames (enhanced CT) have to be split, or converted to NIfTI."
        )
    for each in slices:
        missing = [
            word
            for word, count in NEEDED.items()
            if each.get(word) is None or np.size(each.get(word)) != count
        ]
        if missing:
            raise InputError(f"'{each.filename}' does not say its {', '.join(missing)}.")
        kind = str(each.get("PhotometricInterpretation", ""))
        if not kind.startswith("MONOCHROME") or int(each.get("NumberOfFrames") or 1) != 1:
            raise InputError(
                f"'{each.filename}' is a picture of the kind '{kind}' with "
                f"{each.get('NumberOfFrames', 1)} frames. Slices of one grey frame are read."
            )
        for word in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            here, there = (np.asarray(s[word].value, dtype=float) for s in (each, slices[0]))
            if not np.allclose(here, there, rtol=0, atol=1e-4):
                raise InputError(
                    f"'{each.filename}' has {word} = {here.tolist()}, but "
                    f"'{slices[0].filename}' has {there.tolist()}: no stack of equal slices (a "
                    "scout view among them?). Move it out of the folder."
                )
    first = slices[0]
    axes = np.asarray(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    spacing = [float(h) for h in first.PixelSpacing]
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3) or min(spacing) <= 0:
        raise InputError(
            f"'{first.filename}' has no axes at right angles: ImageOrientationPatient = "
            f"{axes.ravel().tolist()}, PixelSpacing = {spacing} mm."
        )


def _check_even(heights: npt.NDArray[np.float64], folder: Path) -> None:
    """Refuse positions, in rising order, that occur twice, are missing or have uneven steps."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    tolerance = max(EVEN * usual, ROUNDING)
    twice = heights[1:][steps <= tolerance]
    if len(twice):
        raise InputError(
            f"The series in '{folder}' has more than one slice at {_listed(twice)} mm along its "
            "normal. Choose one acquisition, and one time."
        )
    off = np.flatnonzero(np.abs(steps - usual) > tolerance)
    if not len(off):
        return
    skipped = np.round(steps / usual)
    if np.abs(steps - skipped * usual).max() <= tolerance and (skipped >= 1).all():
        missing = [heights[n] + usual * m for n in off for m in range(1, int(skipped[n]))]
        raise InputError(
            f"The series in '{folder}' lacks {len(missing)} of {len(heights) + len(missing)} "
            f"slices, at {_listed(missing)} mm along its normal (step {usual:g} mm). Export it "
            "again, complete."
        )
    worst = off[np.abs(steps[off] - usual).argmax()]
    raise InputError(
        f"The slices in '{folder}' are spaced unevenly: mostly {usual:g} mm, but "
        f"{steps[worst]:g} mm between {heights[worst]:g} and {heights[worst + 1]:g} mm along "
        f"their normal, and {len(off)} of {len(steps)} steps are off. Export a series of one step."
    )


def _listed(heights: Sequence[float] | npt.NDArray[np.float64]) -> str:
    """Some numbers in words, eight at most."""
    more = f" and {len(heights) - 8} more" if len(heights) > 8 else ""
    return ", ".join(f"{height:.6g}" for height in heights[:8]) + more


def _check_straight(
    positions: npt.NDArray[np.float64], step: npt.NDArray[np.float64], folder: Path
) -> None:
    """Refuse slices that are shifted sideways against the line through the first and the last."""
    line = positions[0] + np.arange(len(positions))[:, None] * step
    error = np.linalg.norm(positions - line, axis=1)
    tolerance = max(EVEN * float(np.linalg.norm(step)), ROUNDING)
    if error.max() > tolerance:
        at = int(error.argmax())
        raise InputError(
            f"The slices in '{folder}' do not lie along a line: the one at position "
            f"{positions[at].tolist()} mm is {error[at]:.3g} mm off. Export one acquisition only."
        )


def _tilt(step: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> float:
    """Angle between the way from slice to slice and their normal, degrees."""
    aside = np.linalg.norm(step - (step @ normal) * normal)
    return float(np.degrees(np.arctan2(aside, step @ normal)))


def _check_tilt(first: Any, angle: float, folder: Path) -> None:
    """Refuse a tilt by the positions that is not the one stated."""
    stated = abs(float(first.get("GantryDetectorTilt") or 0.0))
    if min(angle, stated) > TILT and abs(angle - stated) > TILT:
        raise InputError(
            f"The slices in '{folder}' are tilted by {angle:.2f}° by their positions, but by "
            f"{stated:g}° by GantryDetectorTilt. One of them is wrong: correct the files."
        )


def _hounsfield(each: Any) -> npt.NDArray[np.float32]:
    """The pixels of one slice in Hounsfield units, (rows, columns)."""
    try:
        stored = each.pixel_array
    except Exception as error:
        raise InputError(
            f"The pixels of '{each.filename}' cannot be read: {error}. Export the series "
            "uncompressed, or install the decoder that pydicom names."
        ) from error
    slope, intercept = (
        default if each.get(word) is None else float(each.get(word))
        for word, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0 or "ModalityLUTSequence" in each:
        raise InputError(
            f"The values of '{each.filename}' become Hounsfield units by a table or by a slope of "
            "zero, not by a line. Convert the series to NIfTI."
        )
    return np.asarray(stored * slope + intercept, dtype=np.float32)


def _notes(
    slices: Sequence[Any], step: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]
) -> list[str]:
    """What a reader of results should know about the series."""
    first, notes = slices[0], []
    distance = float(step @ normal)
    for word in ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "KVP"):
        if first.get(word):
            notes.append(f"{word} = {first.get(word)}")
    if str(first.get("Modality", "")) != "CT":
        notes.append(f"modality '{first.get('Modality', '')}': values are no Hounsfield units")
    if first.get("RescaleSlope") is None or first.get("RescaleIntercept") is None:
        notes.append("no rescale slope and intercept: stored values taken for Hounsfield units")
    if first.PhotometricInterpretation == "MONOCHROME1":
        notes.append("MONOCHROME1: shown inverted by viewers, values unchanged")
    thickness = float(first.get("SliceThickness") or distance)
    if abs(thickness - distance) > EVEN * distance + ROUNDING:
        word = "overlap" if thickness > distance else "leave gaps"
        notes.append(f"slices of {thickness:g} mm every {distance:g} mm {word}")
    tilt, angle = float(first.get("GantryDetectorTilt") or 0.0), _tilt(step, normal)
    if angle > TILT:
        notes.append(f"gantry tilted by {angle:.2f}°: a sheared grid, not resampled")
    elif abs(tilt) > TILT:
        notes.append(
            f"GantryDetectorTilt = {tilt:g}°, but positions without tilt: taken for corrected"
        )
    return notes
