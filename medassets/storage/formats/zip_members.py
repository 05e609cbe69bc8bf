"""Reads one member of a zip file as a stream; the standard library reads the directory only."""

import struct
import zipfile
from typing import Any, NoReturn

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.checksums import crc32
from medassets.storage.formats.byte_streams import (
    MAX_DEFLATE_RATIO,
    ByteStream,
    FileWindow,
    InflateStream,
    PlainStream,
)

# The checksum of a piece is computed while it is in the second-level cache.
_PIECE_BYTES = 1 << 18
_MAX_NAMES = 8
# PKWARE APPNOTE 4.3.7: signature, 22 bytes that the directory repeats, lengths of name and extra.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\3\4"
# APPNOTE 4.4.4: bits 0, 5, 6 and 13: encrypted, patched, strongly encrypted, masked directory.
_UNREADABLE_FLAGS = 0x2061
_NOT_A_ZIP: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    struct.error,
)


class ZipMember:
    """Bytes of one array of a `.npz` file, with their checksum.

    Args:
        window: The `.npz` file.
        key: Name of the array; the name of the member may end in `.npy`.
        read_bytes: Size of one read.

    Attributes:
        num_bytes: Size according to the directory.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if the file is not a whole zip file, BAD_HEADER if the member
            is missing or cannot be read.
    """

    def __init__(self, window: FileWindow, key: str, *, read_bytes: int = _PIECE_BYTES) -> None:
        info = _find_member(window, key)
        data = _find_data(window, info)
        self.num_bytes = info.file_size
        self._wanted_crc, self._crc = info.CRC, 0
        self._stream: ByteStream = PlainStream(data)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            self._stream = InflateStream(data, read_bytes=read_bytes)

    def read_into(self, target: memoryview) -> int:
        """Fill the target and return how much was filled; less only at the end.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if the member is damaged.
        """
        filled = 0
        while filled < len(target):
            piece = target[filled : filled + _PIECE_BYTES]
            count = self._stream.read_into(piece)
            self._crc = crc32(piece[:count], self._crc)
            filled += count
            if count < len(piece):
                break
        return filled

    def verify(self) -> None:
        """Compare the checksum of the bytes read.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if it differs from the directory's.
        """
        if self._crc != self._wanted_crc:
            detail = f"CRC-32 is {self._crc:08x}, the zip directory says {self._wanted_crc:08x}"
            _reject(Reason.CORRUPT_NPZ, detail)


def _find_member(window: FileWindow, key: str) -> zipfile.ZipInfo:
    """Return the directory's entry of an array, if the member can be read."""
    members = read_directory(window)
    # A member of exactly that name takes precedence, as in numpy.
    found = [info for name in (key, f"{key}.npy") for info in members if info.filename == name]
    if not found:
        names = [info.filename.removesuffix(".npy") for info in members]
        shown = ", ".join(map(repr, names[:_MAX_NAMES])) or "none"
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        _reject(Reason.BAD_HEADER, f"no array {key!r}; the file holds {shown}{more}")
    info = found[0]
    if [other.filename for other in found].count(info.filename) > 1:
        _reject(Reason.BAD_HEADER, f"several arrays are called {key!r}")
    if info.flag_bits & _UNREADABLE_FLAGS:
        _reject(Reason.BAD_HEADER, f"array {key!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        detail = f"array {key!r} is compressed by method {info.compress_type}; expected deflate"
        _reject(Reason.BAD_HEADER, detail)
    return info


def read_directory(window: FileWindow) -> list[zipfile.ZipInfo]:
    """Return the entries of the directory of a `.npz` file.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if it is not a whole zip file.
    """
    file: Any = window
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except _NOT_A_ZIP as error:
        cause = error.__context__
        # zipfile reports disk errors as damage; of those, only a seek before the start is damage.
        if isinstance(cause, OSError) and cause.errno is not None:
            raise cause from None
        detail = f"{window.size_bytes} bytes are not a whole zip file, as a .npz file is"
        raise SampleRejectedError(Reason.CORRUPT_NPZ, detail) from error


def _find_data(window: FileWindow, info: zipfile.ZipInfo) -> FileWindow:
    """Return the part of the file with a member's data.

    It is not in the directory: numpy gives the local header an additional extra field.
    Source: PKWARE APPNOTE 6.3.10, section 4.3.7.
    """
    fields = b""
    if info.header_offset >= 0:
        window.seek(info.header_offset)
        fields = window.read(_LOCAL_HEADER.size)
    if len(fields) < _LOCAL_HEADER.size or not fields.startswith(_LOCAL_SIGNATURE):
        _reject(Reason.CORRUPT_NPZ, "the array does not begin where the zip directory says")
    _, num_name_bytes, num_extra_bytes = _LOCAL_HEADER.unpack(fields)
    offset = info.header_offset + _LOCAL_HEADER.size + num_name_bytes + num_extra_bytes
    if offset + info.compress_size > window.size_bytes:
        _reject(Reason.CORRUPT_NPZ, "the array ends beyond the end of the file")
    ratio = MAX_DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1
    if info.file_size > info.compress_size * ratio:
        detail = (
            f"the zip directory claims {info.file_size} bytes; "
            f"{info.compress_size} stored ones hold at most {info.compress_size * ratio}"
        )
        _reject(Reason.CORRUPT_NPZ, detail)
    return window.part(offset, info.compress_size)


def _reject(reason: Reason, detail: str) -> NoReturn:
    raise SampleRejectedError(reason, detail)
