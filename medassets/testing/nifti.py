"""Writes NIfTI-1 files with any header, valid or invalid."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medassets.arrays import Affine

_DATA_OFFSET = 352


def encode_nifti(
    stored: np.ndarray,
    *,
    affine: Affine,
    slope: float = float("nan"),
    intercept: float = float("nan"),
    big_endian: bool = False,
    header_changes: dict[str, Any] | None = None,
) -> bytes:
    """Encode one uncompressed NIfTI-1 file.

    Args:
        stored: Voxels as stored, axes (i, j, k), any dtype NIfTI knows.
        affine: Voxel index -> mm; written as qform and sform (code 1, scanner).
        slope: `scl_slope`; NaN says that there is no scaling.
        intercept: `scl_inter`.
        big_endian: Byte order of header and voxels.
        header_changes: Raw header fields to overwrite at the end, such as
            `{"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}`.
    """
    order = ">" if big_endian else "<"
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header["vox_offset"] = _DATA_OFFSET
    header["scl_slope"], header["scl_inter"] = slope, intercept
    for field, value in (header_changes or {}).items():
        header[field] = value
    voxels = stored.astype(stored.dtype.newbyteorder(order)).tobytes(order="F")
    return header.binaryblock + bytes(_DATA_OFFSET - len(header.binaryblock)) + voxels


def write_nifti(path: Path, content: bytes) -> None:
    """Write an encoded NIfTI file; gzip-compressed without time and name if the path ends in `.gz`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compress(content) if path.suffix == ".gz" else content)


def compress(content: bytes) -> bytes:
    """Compress with gzip, without time and file name."""
    return gzip.compress(content, compresslevel=1, mtime=0)
