"""Sequential reading of the bytes of a file, plain or inflated."""

import io
from typing import IO, Any, NoReturn, Protocol

from isal import igzip_lib

from medassets.errors import Reason, SampleRejectedError

MAX_DEFLATE_RATIO = 1032
"""Maximum ratio of deflate. Source: RFC 1951, 258 bytes from 2 bits."""

GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a gzip member. Source: RFC 1952, 2.3.1."""

# Pieces stay in the second-level cache; smaller ones cost calls, larger ones gain nothing.
_READ_BYTES = 1 << 18
# malloc takes larger results from the system and returns them with each call: one page fault per 4 KB.
_MOST_INFLATED_BYTES = 1 << 17
# Limit of one read: the directory of a zip file of 40,000 arrays fits.
_MAX_PIECE_BYTES = 1 << 22
_InflateError: Any = igzip_lib.IsalError


class ByteStream(Protocol):
    """Bytes that can be read once, from first to last."""

    def read_into(self, target: memoryview) -> int:
        """Fill the target and return how much was filled; less only at the end."""
        ...


def read_bytes(stream: ByteStream, num_bytes: int) -> bytes:
    """Return the next bytes of a stream; fewer only at the end."""
    target = bytearray(num_bytes)
    return bytes(target[: stream.read_into(memoryview(target))])


class FileWindow:
    """Part of a file with the interface of a file.

    Args:
        file: Unbuffered file that is not read elsewhere at the same time.
        offset: Offset of the first byte.
        size_bytes: Size of the part; it may exceed the end of the file.
    """

    def __init__(self, file: IO[bytes], offset: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._file: Any = file
        self._offset = offset
        self._position = 0

    def part(self, offset: int, size_bytes: int) -> "FileWindow":
        """Return a window within this one."""
        return FileWindow(self._file, self._offset + offset, size_bytes)

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the offset, as `seek` of a file.

        Raises:
            io.UnsupportedOperation: If the offset is negative.
        """
        position = offset + (0, self._position, self.size_bytes)[whence]
        if position < 0:
            msg = f"no byte {position}"
            raise io.UnsupportedOperation(msg)
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read up to this many bytes; all remaining bytes if negative.

        Raises:
            ValueError: If they exceed the limit of one read.
        """
        left = max(self.size_bytes - self._position, 0)
        wanted = min(size, left) if size >= 0 else left
        if wanted > _MAX_PIECE_BYTES:
            msg = f"{wanted} bytes at once"
            raise ValueError(msg)
        target = bytearray(wanted)
        filled = PlainStream(self).read_into(memoryview(target))
        return bytes(target[:filled])

    def readinto(self, target: memoryview) -> int:
        """Read into the start of the target; 0 means the end."""
        left = max(self.size_bytes - self._position, 0)
        self._file.seek(self._offset + self._position)
        count = self._file.readinto(target[:left]) or 0
        self._position += count
        return count


class PlainStream:
    """Bytes of a file as they are stored."""

    def __init__(self, file: IO[bytes] | FileWindow) -> None:
        self._file: Any = file

    def read_into(self, target: memoryview) -> int:
        """Fill the target and return how much was filled; less only at the end."""
        filled = 0
        while filled < len(target):
            count = self._file.readinto(target[filled:])
            if not count:
                break
            filled += count
        return filled


class InflateStream:
    """Inflates one raw deflate stream directly into the target.

    Args:
        file: File that contains the stream and nothing else.
        read_bytes: Size of one read.
    """

    _kind, _name, _reason = igzip_lib.DECOMP_DEFLATE, "deflate", Reason.CORRUPT_NPZ

    def __init__(self, file: IO[bytes] | FileWindow, *, read_bytes: int = _READ_BYTES) -> None:
        self._file: Any = file
        self._buffer = memoryview(bytearray(read_bytes))
        self._pending = memoryview(b"")
        self._inflate = igzip_lib.IgzipDecompressor(self._kind)
        self._ended = False

    def read_into(self, target: memoryview) -> int:
        """Fill the target and return how much was filled; less only at the end.

        Raises:
            SampleRejectedError: If the stream is damaged or ends early.
        """
        filled = 0
        while filled < len(target) and not self._ended:
            try:
                wanted = min(len(target) - filled, _MOST_INFLATED_BYTES)
                piece = self._inflate.decompress(self._next_input(), wanted)
            except _InflateError as error:
                self._reject(f"inflate failed: {error}")
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
            if self._inflate.eof:
                self._end_member()
        return filled

    def _next_input(self) -> memoryview:
        if not self._inflate.needs_input:
            return memoryview(b"")
        if not self._pending:
            count = self._file.readinto(self._buffer)
            if not count:
                self._reject(f"the {self._name} stream ends before its last byte")
            self._pending = self._buffer[:count]
        pending, self._pending = self._pending, memoryview(b"")
        return pending

    def _end_member(self) -> None:
        if self._inflate.unused_data or self._file.readinto(self._buffer):
            self._reject(f"the {self._name} stream ends before the space that is meant for it")
        self._ended = True

    def _reject(self, detail: str) -> NoReturn:
        raise SampleRejectedError(self._reason, detail)


class GzipStream(InflateStream):
    """Inflates a gzip file, with several members and zero padding if present."""

    _kind, _name, _reason = igzip_lib.DECOMP_GZIP, "gzip", Reason.CORRUPT_GZIP

    def _end_member(self) -> None:
        rest = self._inflate.unused_data.lstrip(b"\0")
        while not rest:
            count = self._file.readinto(self._buffer)
            if not count:
                self._ended = True
                return
            rest = bytes(self._buffer[:count]).lstrip(b"\0")
        if rest[:2] != GZIP_MAGIC[: len(rest)]:
            self._reject(
                f"bytes that are not gzip ({_shorten(rest)}) follow a whole gzip member whose checksum "
                f"is right; cut them off, or copy the file again"
            )
        self._inflate = igzip_lib.IgzipDecompressor(self._kind)
        self._pending = memoryview(rest)


class ZlibStream(InflateStream):
    """Inflates one zlib stream, whose checksum is verified at its end. Source: RFC 1950."""

    _kind, _name, _reason = igzip_lib.DECOMP_ZLIB, "zlib", Reason.CORRUPT_GZIP


def _shorten(content: bytes) -> str:
    """Return the first bytes as text where they are printable, else in hexadecimal."""
    head = content[:16]
    is_text = all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return repr(head.decode("ascii")) if is_text else head.hex(" ")
