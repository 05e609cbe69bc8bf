"""Read NIfTI files as a stream of voxels: bounded memory, checked to the last byte."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import nibabel as nib
import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.foreign_bytes import open_foreign
from medassets.storage.formats.byte_streams import (
    GZIP_MAGIC,
    MAX_DEFLATE_RATIO,
    ByteStream,
    GzipStream,
    PlainStream,
)
from medassets.storage.formats.lfs_pointers import MAX_POINTER_BYTES, explain_pointer
from medassets.volumes.files.guarded import guard_volume
from medassets.volumes.files.header import MAX_SIDE, MAX_VOXELS, VolumeHeader
from medassets.volumes.files.nifti_transform import find_rival, read_transform

MAX_HEADER_BYTES = 1 << 24

_HEADER_BYTES = {348: 348, 540: 540}
_DTYPE_KINDS = frozenset("iuf")
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


@guard_volume
@contextmanager
def open_nifti(path: Path) -> Iterator["NiftiReader"]:
    """Open a `.nii` or `.nii.gz` file; the first bytes tell which of the two it is.

    Args:
        path: File to read.

    Raises:
        SampleRejectedError: If the header cannot be used (BAD_HEADER) or the gzip stream is
            damaged (CORRUPT_GZIP); on entry and on every later read. On entry also LFS_POINTER, and
            BAD_NAME for a file that is named `.gz` and is not compressed.
    """
    with open_foreign(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        head = file.read(MAX_POINTER_BYTES)
        file.seek(0)
        if head.startswith(GZIP_MAGIC):
            yield NiftiReader(GzipStream(file), num_bytes * MAX_DEFLATE_RATIO)
            return
        _check_head(head, path, num_bytes)
        yield NiftiReader(PlainStream(file), num_bytes)


def _check_head(head: bytes, path: Path, num_bytes: int) -> None:
    """Refuse a file that is not what its name says."""
    if (pointer := explain_pointer(head)) is not None:
        _reject(Reason.LFS_POINTER, pointer)
    if not path.name.endswith(".gz"):
        return
    if int.from_bytes(head[:4], "little") in _HEADER_BYTES or (
        int.from_bytes(head[:4], "big") in _HEADER_BYTES
    ):
        what = "an uncompressed NIfTI file whose name ends in .gz"
        _reject(Reason.BAD_NAME, f"{what}; rename it to end in .nii, or compress it with gzip")
    _reject(Reason.CORRUPT_GZIP, f"{num_bytes} bytes that do not begin like gzip")


def decode_header(block: bytes) -> tuple[VolumeHeader, int]:
    """Read a NIfTI-1 or NIfTI-2 header of a single-file image.

    Args:
        block: The first 540 bytes of the file (348 are enough for NIfTI-1).

    Returns:
        The header, and the byte at which the voxels begin. A `scl_slope` of 0, or one that is not
        finite, states no scaling.

    Raises:
        SampleRejectedError: BAD_HEADER, if it is not such a header or states impossible values.

    Source: NIfTI-1.1 and NIfTI-2 standards, https://nifti.nimh.nih.gov.
    """
    raw = _parse_header(block)
    fields: Any = raw.structarr
    offset = float(fields["vox_offset"])
    if not len(raw.binaryblock) <= offset <= MAX_HEADER_BYTES or offset != int(offset):
        _reject(Reason.BAD_HEADER, f"voxels cannot begin at byte {offset:g}")
    unit = _MM_PER_UNIT.get(int(fields["xyzt_units"]) & 7, 1.0)
    affine, affine_from = read_transform(raw)
    affine[:3] *= unit
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    scaled = np.isfinite(slope) and slope != 0
    if scaled and not np.isfinite(intercept):
        _reject(Reason.BAD_HEADER, f"scl_slope is {slope:g}, but scl_inter is {intercept:g}")
    i_mm, j_mm, k_mm = (abs(float(step)) * unit for step in fields["pixdim"][1:4])
    header = VolumeHeader(
        shape=_read_shape(fields["dim"]),
        dtype=_read_dtype(raw),
        pixdim_mm=(i_mm, j_mm, k_mm),
        affine=affine,
        affine_from=affine_from,
        slope=slope if scaled else None,
        intercept=intercept if scaled else None,
        rival_codes=find_rival(raw, affine) if affine_from == "sform" else None,
    )
    return header, int(offset)


def _parse_header(block: bytes) -> nib.Nifti1Header:
    for order in "<>":
        size = int(np.frombuffer(block[:4].ljust(4, b"\0"), f"{order}i4")[0])
        num_bytes = _HEADER_BYTES.get(size)
        if num_bytes is None or len(block) < num_bytes:
            continue
        kind = nib.Nifti1Header if size == 348 else nib.Nifti2Header
        header = kind(block[:num_bytes], order, check=False)
        magic = bytes(header.structarr["magic"])[:3]
        if magic in (b"n+1", b"n+2"):
            return header
        _reject(Reason.BAD_HEADER, f"expected a single-file NIfTI (n+1, n+2), got magic {magic!r}")
    _reject(Reason.BAD_HEADER, f"the first bytes {block[:4].hex()} are not those of NIfTI")


def _read_shape(dim: Any) -> tuple[int, int, int]:
    num_axes = int(dim[0])
    sides = [int(side) for side in dim[1 : num_axes + 1]] if 3 <= num_axes <= 7 else []
    if len(sides) < 3 or any(side not in (0, 1) for side in sides[3:]):
        _reject(Reason.BAD_HEADER, f"expected one 3-D volume, got dim {[int(n) for n in dim]}")
    i, j, k = sides[:3]
    if not (min(i, j, k) > 0 and max(i, j, k) <= MAX_SIDE and i * j * k <= MAX_VOXELS):
        _reject(Reason.BAD_HEADER, f"the header claims a shape of {i} x {j} x {k}")
    return i, j, k


def _read_dtype(header: nib.Nifti1Header) -> np.dtype[Any]:
    code = int(header.structarr["datatype"])
    try:
        dtype = header.get_data_dtype()
    except KeyError:
        _reject(Reason.BAD_HEADER, f"unknown datatype code {code}")
    if dtype.kind not in _DTYPE_KINDS or dtype.itemsize > 8:
        _reject(Reason.BAD_HEADER, f"datatype code {code} ({dtype}) is not one of CT")
    return dtype


class NiftiReader:
    """One open NIfTI file, read from its first slice to its last byte.

    Attributes:
        header: The decoded header.
        fortran: True: NIfTI stores the first axis fastest.
    """

    def __init__(self, stream: ByteStream, max_bytes: int) -> None:
        self._stream = stream
        # 352 is the smallest offset of a voxel: this first read consumes no voxel.
        start = bytearray(352)
        filled = stream.read_into(memoryview(start))
        if start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c"):
            rest = bytearray(540 - 352)
            filled += stream.read_into(memoryview(rest))
            start += rest
        self.header, data_offset = decode_header(bytes(start[:filled]))
        self.fortran = True
        claimed = data_offset + math.prod(self.header.shape) * self.header.dtype.itemsize
        if claimed > max_bytes:
            _reject(
                Reason.BAD_HEADER,
                f"the header claims {claimed} bytes; a file of this size holds at most {max_bytes}",
            )
        self._skip(data_offset - filled)

    def read_into(self, target: np.ndarray) -> None:
        """Read the next voxels as they are stored, first axis fastest.

        Args:
            target: C-contiguous, of the header's dtype; filled whole.

        Raises:
            SampleRejectedError: BAD_HEADER if the file ends before the target is full,
                CORRUPT_GZIP if its gzip stream is damaged.
        """
        view = target.reshape(-1).view(np.uint8).data
        filled = self._stream.read_into(view)
        if filled < len(view):
            _reject(Reason.BAD_HEADER, "the file holds fewer voxels than its header claims")

    def finish(self) -> None:
        """Read to the end, so that the checksum of the whole file is verified.

        Raises:
            SampleRejectedError: CORRUPT_GZIP if a checksum is wrong, BAD_HEADER if there are more
                voxels than the header claims.
        """
        if self._stream.read_into(memoryview(bytearray(1))):
            _reject(Reason.BAD_HEADER, "the file holds more bytes than its header claims")

    def _skip(self, num_bytes: int) -> None:
        rest = memoryview(bytearray(max(num_bytes, 0)))
        if self._stream.read_into(rest) < len(rest):
            _reject(Reason.BAD_HEADER, "the file ends inside its header")


def _reject(reason: Reason, detail: str) -> NoReturn:
    raise SampleRejectedError(reason, detail)
