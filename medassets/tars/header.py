"""Members of a tar file whose bytes depend on nothing but names and contents."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medassets.errors import ShardIntegrityError
from medassets.tars.blocks import HEADER_BYTES

_RECORD_BYTES = 20 * HEADER_BYTES
_LARGEST_MEMBER = 8**11 - 1
_LONGEST_NAME = 100
# Readers part key and suffix at the first dot, and lower the case of the suffix.
_SUFFIX = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+")


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


def check_names(key: str, suffixes: Iterable[str]) -> None:
    """Refuse a sample that `webdataset`, `wids` or `tarfile` would read as something else.

    Raises:
        ShardIntegrityError: If the key or a suffix is no plain name, a suffix stands twice, or a
            member's name is longer than the 100 bytes every reader knows.
    """
    listed = list(suffixes)
    plain = _KEY.fullmatch(key) and all(_SUFFIX.fullmatch(suffix) for suffix in listed)
    longest = max((len(key) + 1 + len(suffix) for suffix in listed), default=0)
    if not plain or not listed or len(set(listed)) < len(listed) or longest > _LONGEST_NAME:
        msg = (
            f"sample {key!r}: members {listed} do not make a readable sample; expected a key of "
            f"A-Z a-z 0-9 _ -, different lower-case suffixes, names of {_LONGEST_NAME} bytes at most"
        )
        raise ShardIntegrityError(msg)


def encode_header(name: str, size_bytes: int) -> bytes:
    """Return the 512-byte header of one regular file: no time, no owner, mode 644.

    Written out here, because the bytes `tarfile` makes have changed between versions of Python.

    Raises:
        ShardIntegrityError: If the member is too large for the format.

    Source: POSIX.1-1988 ustar; sizes below 8 GiB, names in the first field only.
    """
    if size_bytes > _LARGEST_MEMBER:
        msg = f"{name}: {size_bytes:,} bytes are more than a tar member holds ({_LARGEST_MEMBER:,})"
        raise ShardIntegrityError(msg)
    fields = (
        name.encode().ljust(_LONGEST_NAME, b"\0")
        + b"0000644\0" + b"0000000\0" * 2
        + b"%011o\0" % size_bytes + b"00000000000\0"
        + b" " * 8 + b"0"
        + bytes(100)
        + b"ustar\00000"
    )  # fmt: skip
    header = bytearray(fields.ljust(HEADER_BYTES, b"\0"))
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def encode_end(size_bytes: int) -> bytes:
    """Return the end of an archive of `size_bytes`: two empty blocks, filled to a whole record."""
    end = 2 * HEADER_BYTES
    return bytes(end + -(size_bytes + end) % _RECORD_BYTES)
