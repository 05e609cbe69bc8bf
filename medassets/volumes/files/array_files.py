"""Arrays of `.npz`, `.npy` or plain bytes as streams: bounded memory, never unpickled."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.foreign_bytes import open_foreign, rejecting_foreign
from medassets.storage.formats.byte_streams import ByteStream, FileWindow, PlainStream, read_bytes
from medassets.storage.formats.lfs_pointers import MAX_POINTER_BYTES, explain_pointer
from medassets.storage.formats.npy import NpyHeader, read_dtype, read_npy_header
from medassets.storage.formats.zip_members import ZipMember
from medassets.tars.reader import Member
from medassets.volumes.files.guarded import guard_volume
from medassets.volumes.files.header import MAX_SIDE, MAX_VOXELS, VolumeHeader

_DTYPE_KINDS = frozenset("iuf")
_HEADER_READ_BYTES = 1 << 12


class ArrayStream:
    """Values of one 3-D array, in the order in which they are stored.

    Attributes:
        header: Shape (i, j, k) and dtype of the array: integers or floating-point numbers of at most
            8 bytes. An array states neither spacing nor affine nor scaling.
        fortran: Whether i is stored fastest, and not k.
    """

    def __init__(self, header: NpyHeader, stream: ByteStream, verify: Callable[[], None]) -> None:
        self.header = VolumeHeader.of_array(header.shape, header.dtype)
        self.fortran = header.fortran
        self._stream = stream
        self._verify = verify

    def read_into(self, target: np.ndarray) -> None:
        """Read the next values as they are stored.

        Args:
            target: C-contiguous, of the stored dtype; filled whole.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if values are missing or the file is damaged.
        """
        view = target.reshape(-1).view(np.uint8).data
        if self._stream.read_into(view) < len(view):
            _reject(Reason.CORRUPT_NPZ, "the file ends before the last value of the array")

    def finish(self) -> None:
        """Read to the end, so that the checksum of a zip member is verified; may be called twice.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if the checksum is wrong or bytes are left.
        """
        if self._stream.read_into(memoryview(bytearray(1))):
            _reject(Reason.CORRUPT_NPZ, "the file holds more bytes than its array takes")
        self._verify()


@guard_volume
@contextmanager
def open_npz_array(path: Path, key: str, *, within: Member | None = None) -> Iterator[ArrayStream]:
    """Open one array of a `.npz` file, stored or deflated.

    Args:
        path: File to read.
        key: Name of the array; that of the member may end in `.npy`.
        within: Member of a tar that is the `.npz`; None if the file is.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if the file is not a zip file or is damaged, BAD_HEADER if the
            array is missing or of an unsupported kind; on entry and on every later read.
    """
    with _open_window(path, within) as window:
        member = ZipMember(window, key)
        header = _read_member_header(member)
        yield ArrayStream(header, member, member.verify)


@guard_volume
@contextmanager
def open_npy_array(path: Path, *, within: Member | None = None) -> Iterator[ArrayStream]:
    """Open a `.npy` file.

    Args:
        path: File to read.
        within: Member of a tar that is the `.npy`; None if the file is.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if it ends early, BAD_HEADER if its kind of array is
            not supported or it is longer than its header states.
    """
    with _open_window(path, within) as window:
        stream = PlainStream(window)
        header, num_header_bytes = _read_header(stream)
        _check_size(header, window.size_bytes - num_header_bytes)
        yield ArrayStream(header, stream, _verify_nothing)


@guard_volume
@contextmanager
def open_raw_array(
    path: Path, *, shape: tuple[int, ...], dtype: str, within: Member | None = None
) -> Iterator[ArrayStream]:
    """Open values without a header, in C order.

    Args:
        path: File to read.
        shape: Axes (i, j, k), k stored fastest.
        dtype: Name such as `float16` or `>i2`.
        within: Member of a tar that contains the values; None if the file does.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if there are too few bytes, BAD_HEADER if there are too
            many, or shape or dtype are not supported.
    """
    try:
        header = NpyHeader(tuple(shape), fortran=False, dtype=read_dtype(dtype))
    except ValueError as error:
        _reject(Reason.BAD_HEADER, f"dtype {dtype!r}: {error}")
    _check_header(header)
    with _open_window(path, within) as window:
        _check_size(header, window.size_bytes)
        yield ArrayStream(header, PlainStream(window), _verify_nothing)


@rejecting_foreign()
def read_npz_header(path: Path, key: str) -> NpyHeader:
    """Return what the header of one array says, from a few KB of the file.

    Args:
        path: `.npz` file.
        key: Name of the array.

    Raises:
        SampleRejectedError: As `open_npz_array` on entry.
    """
    with _open_window(path, None) as window:
        return _read_member_header(ZipMember(window, key, read_bytes=_HEADER_READ_BYTES))


@contextmanager
def _open_window(path: Path, within: Member | None) -> Iterator[FileWindow]:
    with open_foreign(path) as file:
        if within is None and (pointer := explain_pointer(file.read(MAX_POINTER_BYTES))):
            _reject(Reason.LFS_POINTER, pointer)
        offset, size = (0, _measure(file)) if within is None else (within.offset, within.size_bytes)
        yield FileWindow(file, offset, size)


def _measure(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _read_member_header(member: ZipMember) -> NpyHeader:
    header, num_header_bytes = _read_header(member)
    claimed = num_header_bytes + header.num_bytes
    if claimed != member.num_bytes:
        detail = f"the header claims {claimed} bytes; the zip directory says {member.num_bytes}"
        _reject(Reason.BAD_HEADER, detail)
    return header


def _read_header(stream: ByteStream) -> tuple[NpyHeader, int]:
    """Return a checked header and its bytes; the next value of the stream is then the first."""
    try:
        header, num_header_bytes = read_npy_header(partial(read_bytes, stream))
    except ValueError as error:
        # A rejection of the stream is a ValueError too.
        if isinstance(error, SampleRejectedError):
            raise
        detail = f"not an array of plain numbers ({error}); others are never unpickled"
        raise SampleRejectedError(Reason.BAD_HEADER, detail) from error
    _check_header(header)
    return header, num_header_bytes


def _check_header(header: NpyHeader) -> None:
    if header.dtype.kind not in _DTYPE_KINDS or header.dtype.itemsize > 8:
        _reject(Reason.BAD_HEADER, f"an array of {header.dtype} is not one of CT")
    if len(header.shape) != 3:
        _reject(Reason.BAD_HEADER, f"expected one 3-D volume, got an array of {header.shape}")
    i, j, k = header.shape
    if not (min(i, j, k) > 0 and max(i, j, k) <= MAX_SIDE and i * j * k <= MAX_VOXELS):
        _reject(Reason.BAD_HEADER, f"the header claims a shape of {i} x {j} x {k}")


def _check_size(header: NpyHeader, num_bytes: int) -> None:
    """Compare the bytes that are there with those of the array."""
    claimed = header.num_bytes
    detail = f"{header.dtype} of {header.shape} takes {claimed} bytes, and there are {num_bytes}"
    if num_bytes < claimed:
        _reject(Reason.CORRUPT_NPZ, detail)
    if num_bytes > claimed:
        _reject(Reason.BAD_HEADER, detail)


def _verify_nothing() -> None:
    """Do nothing: `.npy` files and plain bytes have no checksum."""


def _reject(reason: Reason, detail: str) -> NoReturn:
    raise SampleRejectedError(reason, detail)
