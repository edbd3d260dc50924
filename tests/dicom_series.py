"""DICOM series for the tests, written by pydicom from the standard's definitions alone."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_series(
    folder: Path,
    hounsfield: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    intercept: float = -1024.0,
    uid: str | None = None,
    prefix: str = "",
    **elements: Any,
) -> list[Path]:
    """One file a slice, named in an order that is not theirs.

    Args:
        folder: Where to.
        hounsfield: (columns, rows, slices).
        affine: Of the voxels' centres, mm, left-posterior-superior, (3, 4).
        slope: Of the stored values.
        intercept: Of the stored values.
        uid: Of the series.
        prefix: Of the files' names.
        **elements: Further elements of each file, or functions of the slice's number.

    Returns:
        The files in the order of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid, stored = uid or generate_uid(), np.round((hounsfield - intercept) / slope)
    axes, spacing = affine[:, :3], np.linalg.norm(affine[:, :3], axis=0)
    names = np.random.default_rng(3).permutation(hounsfield.shape[2])
    paths = []
    for k in range(hounsfield.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = (
            CTImageStorage,
            ExplicitVRLittleEndian,
        )
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"{prefix}{names[k]:03d}.dcm"
        file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.Modality = uid, "CT"
        file.ImageOrientationPatient = _decimals(axes[:, 0] / spacing[0], axes[:, 1] / spacing[1])
        file.ImagePositionPatient = _decimals(affine[:, 3] + k * axes[:, 2])
        file.PixelSpacing = _decimals([spacing[1], spacing[0]])  # between rows, between columns
        file.Rows, file.Columns = hounsfield.shape[1], hounsfield.shape[0]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 1
        file.RescaleSlope, file.RescaleIntercept = f"{slope:.10g}", f"{intercept:.10g}"
        for name, value in elements.items():
            setattr(file, name, value(k) if callable(value) else value)
        file.PixelData = np.ascontiguousarray(stored[:, :, k].T.astype("<i2")).tobytes()
        file.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _decimals(*parts: Any) -> list[str]:
    """Decimal strings, which DICOM has at most 16 characters of."""
    return [f"{value:.9f}"[:16] for value in np.concatenate([np.ravel(part) for part in parts])]
