"""Members of a tar file whose bytes depend on nothing but names and contents."""

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from medassets.arrays import BytesLike
from medassets.storage.checksums import byte_view, crc32

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """One file inside a shard.

    Attributes:
        suffix: Name behind the sample key, without the dot.
        offset: Where its content begins in the shard, in bytes.
        size_bytes: Length of its content.
        crc32: CRC-32 of its content.
    """

    suffix: str
    offset: int
    size_bytes: int
    crc32: int


def encode_header(name: str, size_bytes: int) -> bytes:
    """Return the 512-byte header of one regular file: no time, no owner, mode 644.

    Source: POSIX.1-1988 ustar, as `tarfile.USTAR_FORMAT`; readers take sizes up to 8 GiB.
    """
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(format=tarfile.USTAR_FORMAT)


def encode_sample(
    key: str, members: Sequence[tuple[str, BytesLike]], *, offset: int
) -> tuple[list[BytesLike], list[Member]]:
    """Return the pieces of a sample in the order they are written, and what they are.

    Args:
        key: Sample key.
        members: (suffix, content) in order.
        offset: Where the sample begins in the shard, in bytes.
    """
    pieces: list[BytesLike] = []
    described: list[Member] = []
    for suffix, content in members:
        view = byte_view(content)
        header = encode_header(f"{key}.{suffix}", view.nbytes)
        described.append(Member(suffix, offset + len(header), view.nbytes, crc32(view)))
        padding = bytes(-view.nbytes % _BLOCK)
        pieces += [header, view, padding]
        offset += len(header) + view.nbytes + len(padding)
    return pieces, described


def encode_end(size_bytes: int) -> bytes:
    """Return the end of an archive of `size_bytes`: two empty blocks, filled to a whole record."""
    end = 2 * _BLOCK
    return bytes(end + -(size_bytes + end) % tarfile.RECORDSIZE)
