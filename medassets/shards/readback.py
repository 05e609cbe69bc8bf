"""Bytes on disk against what is known of them, without trust in either."""

import os
from collections.abc import Callable, Iterator

from medassets.arrays import BytesLike
from medassets.shards.record import SampleEntry
from medassets.storage.checksums import crc32
from medassets.tars.blocks import HEADER_BYTES, padding_bytes
from medassets.tars.header import Member, encode_header

_CHUNK_BYTES = 1 << 20
"""Pieces that stay in the cache between the hash, the checksum and the copy."""


def _ignore(_: BytesLike) -> None:
    """Take bytes that nobody wants."""


def iter_chunks(fd: int, offset: int, size_bytes: int) -> Iterator[memoryview]:
    """Yield a range of a file piece by piece, in one buffer that is used again.

    Ends early where the file does.
    """
    buffer = memoryview(bytearray(min(_CHUNK_BYTES, size_bytes)))
    end = offset + size_bytes
    while offset < end:
        got = os.preadv(fd, [buffer[: end - offset]], offset)
        if not got:
            return
        yield buffer[:got]
        offset += got


def iter_slices(view: memoryview) -> Iterator[memoryview]:
    """Yield a buffer in pieces of the same size as `iter_chunks`, without a copy."""
    for start in range(0, len(view), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]


def find_damage(
    fd: int, sample: SampleEntry, *, feed: Callable[[BytesLike], object] = _ignore
) -> list[str]:
    """Return what of a sample in a tar is not as its entry says: headers, contents, padding.

    Args:
        fd: Descriptor of the tar.
        sample: What should be there.
        feed: Given every byte of the sample in order, so that a digest needs no second reading.
    """
    found: list[str] = []
    position = sample.offset
    for member in sample.members:
        found += _find_member_damage(fd, position, sample.key, member, feed)
        position = member.offset + member.size_bytes + padding_bytes(member.size_bytes)
    if position != sample.offset + sample.size_bytes:
        found.append("its members and its size do not agree")
    return found


def _find_member_damage(
    fd: int, position: int, key: str, member: Member, feed: Callable[[BytesLike], object]
) -> Iterator[str]:
    name = f"member .{member.suffix}"
    header = os.pread(fd, HEADER_BYTES, position)
    feed(header)
    expected = encode_header(f"{key}.{member.suffix}", member.size_bytes)
    if header != expected or member.offset != position + HEADER_BYTES:
        yield f"{name} has another header than the record says"
    crc = 0
    for chunk in iter_chunks(fd, member.offset, member.size_bytes):
        feed(chunk)
        crc = crc32(chunk, crc)
    if crc != member.crc32:
        yield f"{name} is damaged (CRC-32 differs)"
    size = padding_bytes(member.size_bytes)
    padding = os.pread(fd, size, member.offset + member.size_bytes)
    feed(padding)
    if padding != bytes(size):
        yield f"{name} is followed by bytes that are not empty"
