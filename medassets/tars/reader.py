"""The one reader for members of tar files: positioned reads, which release the GIL."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from medassets.arrays import BytesLike
from medassets.errors import DamagedTarError
from medassets.storage.checksums import byte_view, crc32
from medassets.storage.foreign_bytes import open_foreign_fd

_CHUNK_BYTES = 1 << 20
"""Chunks that are still in the CPU cache when they are hashed, checksummed or copied."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a tar.

    Attributes:
        suffix: Name after the sample key, without the dot.
        offset: Position of the first byte of its content in the tar.
        size_bytes: Length of its content.
        crc32: CRC-32 of its content; None where no record gives it.
    """

    suffix: str
    offset: int
    size_bytes: int
    crc32: int | None = None


Members = Mapping[str, Member]
"""Suffix -> member of one sample, in the order of the tar."""


def open_tar(path: Path | str) -> "OpenTar":
    """Open a tar for reading; use it in a `with` block, or let its last reference close it.

    Raises:
        OSError: If it cannot be opened, or is not a regular file.
    """
    return OpenTar(path, open_foreign_fd(path), owns_fd=True)


def iter_slices(view: memoryview) -> Iterator[memoryview]:
    """Yield a buffer in slices of the chunk size of `OpenTar.iter_range`, without a copy."""
    for start in range(0, len(view), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]


class OpenTar:
    """A tar that is open for positioned reads; any number of threads may share it.

    Args:
        path: Name of the tar in messages.
        fd: Descriptor to read from.
        owns_fd: Close the descriptor with this object.

    Attributes:
        path: As given.
        fd: As given.
    """

    def __init__(self, path: Path | str, fd: int, *, owns_fd: bool = False) -> None:
        self.path = path
        self.fd = fd
        self._owns_fd = owns_fd

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the tar."""
        self.close()

    def __del__(self) -> None:
        """Close the tar with its last reference."""
        self.close()

    def close(self) -> None:
        """Close the descriptor if it belongs to this object."""
        if self._owns_fd:
            self._owns_fd = False
            with suppress(OSError):
                os.close(self.fd)

    @property
    def size_bytes(self) -> int | None:
        """Size of the tar; None where it is not known before the end is reached."""
        return os.fstat(self.fd).st_size

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a buffer from a position of the tar.

        Args:
            view: Writable bytes.
            offset: Position in the tar.

        Returns:
            Number of bytes read; less than the buffer holds only at the end of the file.
        """
        done = 0
        # Linux reads at most 2 GiB per call.
        while done < len(view) and (got := os.preadv(self.fd, [view[done:]], offset + done)):
            done += got
        return done

    def read_range(self, offset: int, size_bytes: int) -> bytearray:
        """Return a range of the tar; shorter where the file ends before it."""
        content = bytearray(size_bytes)
        got = self.read_into(memoryview(content), offset)
        return content if got == size_bytes else content[:got]

    def iter_range(
        self, offset: int, size_bytes: int, buffer: BytesLike | None = None
    ) -> Iterator[memoryview]:
        """Yield a range of the tar chunk by chunk; ends early where the file does.

        Args:
            offset: Start of the range.
            size_bytes: Its length.
            buffer: Writable memory that every chunk is read into; its length is the chunk size.
                None allocates 1 MiB. A chunk is valid until the next one is asked for.
        """
        view = byte_view(bytearray(min(_CHUNK_BYTES, size_bytes)) if buffer is None else buffer)
        end = offset + size_bytes
        while offset < end and (got := self.read_into(view[: end - offset], offset)):
            yield view[:got]
            offset += got

    def read(self, member: Member) -> bytearray:
        """Return the content of a member, compared with its CRC-32 where that is known.

        Raises:
            DamagedTarError: If the tar ends before the member does, or the CRC-32 differs.
            OSError: If the file cannot be read.
        """
        content = bytearray(member.size_bytes)
        self.fill(member, [content])
        return content

    def iter_chunks(self, member: Member, buffer: BytesLike | None = None) -> Iterator[memoryview]:
        """Yield the content of a member chunk by chunk; see `iter_range`.

        Raises:
            DamagedTarError: After the last chunk, as `read`.
            OSError: If the file cannot be read.
        """
        crc, done = 0, 0
        for chunk in self.iter_range(member.offset, member.size_bytes, buffer):
            if member.crc32 is not None:
                crc = crc32(chunk, crc)
            done += len(chunk)
            yield chunk
        if done < member.size_bytes:
            raise self._cut_off(member, done)
        self._compare(member, crc)

    def fill(self, member: Member, pieces: Iterable[BytesLike], *, check: bool = True) -> None:
        """Read a whole member into buffers, one after the other.

        A piece is full when the next one is asked for. So a generator can yield the same memory
        several times, and process each piece while it is in the CPU cache.

        Args:
            member: The member.
            pieces: Writable C-contiguous buffers; together as long as the member.
            check: Compare the content with the member's CRC-32 where that is known.

        Raises:
            DamagedTarError: As `read`, or if the pieces have another length than the member.
            OSError: If the file cannot be read.
        """
        check = check and member.crc32 is not None
        position, crc = member.offset, 0
        for piece in pieces:
            whole = byte_view(piece)
            for view in iter_slices(whole) if check else (whole,):
                got = self.read_into(view, position)
                position += got
                if got < len(view):
                    raise self._cut_off(member, position - member.offset)
                crc = crc32(view, crc) if check else 0
        if (read := position - member.offset) != member.size_bytes:
            raise self._damage(member, f"has {member.size_bytes:,} bytes, {read:,} were asked for")
        if check:
            self._compare(member, crc)

    def expect_headers(self) -> None:
        """Tell the kernel that only headers will be read, so that it does not read contents ahead."""
        if self.fd >= 0:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)

    def expect(self, member: Member) -> None:
        """Tell the kernel that a member will be read soon."""
        os.posix_fadvise(self.fd, member.offset, member.size_bytes, os.POSIX_FADV_WILLNEED)

    def _compare(self, member: Member, crc: int) -> None:
        if member.crc32 is not None and crc != member.crc32:
            raise self._damage(member, "is damaged (CRC-32 differs)")

    def _cut_off(self, member: Member, read: int) -> DamagedTarError:
        end = member.offset + read
        return self._damage(member, f"ends at byte {end:,}: the tar is cut off")

    def _damage(self, member: Member, what: str) -> DamagedTarError:
        said = f"member .{member.suffix} {what}"
        return DamagedTarError(f"{self.path}: {said}; copy or build the tar again", said)
