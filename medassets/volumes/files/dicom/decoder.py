"""Stored values of one slice, decoded by SimpleITK whatever its transfer syntax."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.foreign_bytes import open_foreign_fd
from medassets.volumes.files.dicom.header import SliceHeader, hide_name
from medassets.volumes.files.dicom.packages import import_simpleitk

# By so much a value that was scaled and scaled back may differ from a whole number.
_MOST_ROUNDING = 0.01


def decode_slice(path: Path, header: SliceHeader) -> npt.NDArray[np.float64]:
    """Return the stored values of a slice, shape (row, column), whole numbers as float64.

    SimpleITK gives slope * stored + intercept in float64, which is turned back: values are rescaled once,
    and padding can be told by its stored value.

    Args:
        path: The file.
        header: Its header.

    Raises:
        SampleRejectedError: CORRUPT_DICOM if the pixels cannot be decoded, UNREADABLE_SOURCE if the file cannot
            be opened.
        OSError: If the machine is the cause; without the name of the file.
    """
    try:
        hu = _read_float64(path, header)
    except OSError as error:
        raise hide_name(error) from None
    slope, intercept = header.scaling
    stored = (hu - intercept) / slope
    whole = np.rint(stored)
    if not np.abs(stored - whole).max(initial=0.0) <= _MOST_ROUNDING:
        detail = "decoded values are not slope times whole numbers plus intercept"
        raise SampleRejectedError(Reason.CORRUPT_DICOM, detail)
    return _undo_inversion(whole, header) if header.is_inverted else whole


def _undo_inversion(
    stored: npt.NDArray[np.float64], header: SliceHeader
) -> npt.NDArray[np.float64]:
    """Return what is stored where GDCM turned MONOCHROME1 to MONOCHROME2, as if values were brightness.

    Source: measured with ITK 5.4: 2**BitsStored - 1 - stored, and -1 - stored of signed values.
    """
    return (-1 if header.is_signed else (1 << header.words["bits_stored"]) - 1) - stored


def _read_float64(path: Path, header: SliceHeader) -> npt.NDArray[np.float64]:
    sitk: Any = import_simpleitk()
    descriptor = open_foreign_fd(path)
    try:
        reader = sitk.ImageFileReader()
        # By its descriptor: a pipe of this name would block, and messages would name the file.
        reader.SetFileName(f"/dev/fd/{descriptor}")
        reader.SetImageIO("GDCMImageIO")
        reader.SetOutputPixelType(sitk.sitkFloat64)
        image = reader.Execute()
    except RuntimeError as error:
        detail = f"the pixels cannot be decoded (transfer syntax {header.syntax or 'not stated'})"
        raise SampleRejectedError(Reason.CORRUPT_DICOM, detail) from error
    finally:
        os.close(descriptor)
    columns, rows = header.shape
    size = tuple(image.GetSize())
    if (
        size not in ((columns, rows), (columns, rows, 1))
        or image.GetNumberOfComponentsPerPixel() != 1
    ):
        detail = (
            f"decoded pixels are {' x '.join(map(str, size))}, the header says {columns} x {rows}"
        )
        raise SampleRejectedError(Reason.CORRUPT_DICOM, detail)
    return sitk.GetArrayFromImage(image).reshape(rows, columns)
