"""Headers of tar members: encoding ours, decoding those of any tar, and the arithmetic of blocks.

Source: POSIX.1-1988 ustar; POSIX.1-2001 pax interchange format; GNU tar manual, "Basic Tar Format".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medassets.errors import ShardIntegrityError

HEADER_BYTES = 512
"""Length of a block, and of the header of a member."""

MOST_END_BYTES = 2 * HEADER_BYTES + 20 * HEADER_BYTES - HEADER_BYTES
"""Two blocks of zeros end a tar; more of them fill its last record of 20 blocks.

Source: GNU tar manual, "The Blocking Factor of an Archive".
"""

REGULAR = frozenset((b"0", b"\0", b"7"))
IGNORED = frozenset((b"5", b"g", b"V", b"D", b"A"))
"""Folders, global pax headers, volume labels, dumps' lists of a folder, and access lists of Solaris.

None of them holds data of a file. Their content is skipped.
"""

SPARSE, CONTINUED = b"S", b"M"
LONG_NAME, LONG_LINK, EXTENDED, EXTENDED_SOLARIS = b"L", b"K", b"x", b"X"
EXTENSIONS = frozenset((LONG_NAME, LONG_LINK, EXTENDED, EXTENDED_SOLARIS))

SPARSE_NAME = "GNU.sparse"
"""Key of a decoded pax header that says that the member behind it is sparse; the value may name it."""

_RECORD_BYTES = 20 * HEADER_BYTES
_LARGEST_MEMBER = 8**11 - 1
_LONGEST_NAME = 100
# A position in a file is a signed number of 64 bits.
_LARGEST_SIZE = 2**63 - 1
_MOST_DIGITS = len(str(_LARGEST_SIZE))
_OCTAL = re.compile(rb"[0-7]{1,12}")
# Readers split key and suffix at the first dot, and convert the suffix to lower case.
_SUFFIX = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Header:
    """The header block of one archive member.

    Attributes:
        name: Name of the member; an extension before it may give a longer one.
        size_bytes: Length of its content; a pax extension before it may give another.
        kind: Type flag, one byte.
    """

    name: str
    size_bytes: int
    kind: bytes


def padding_bytes(size_bytes: int) -> int:
    """Return the number of zeros that fill the last block of a member."""
    return -size_bytes % HEADER_BYTES


def check_names(key: str, suffixes: Iterable[str]) -> None:
    """Check that `webdataset`, `wids` and `tarfile` read back the same key and suffixes.

    Raises:
        ShardIntegrityError: If the key or a suffix has other characters than these readers keep, a
            suffix occurs twice, or the name of a member is longer than 100 bytes.
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
    """Return the 512-byte ustar header of a regular file: no time, no owner, mode 644.

    `tarfile` is not used because the bytes that it writes have changed between versions of Python.

    Raises:
        ShardIntegrityError: If the member is too large for the format (8 GiB).
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


def decode_header(block: bytes) -> Header | None:
    """Return what the header block of a member says; None if its checksum is wrong.

    Raises:
        ValueError: If its size is not a number that a file can have.
    """
    expected = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    digits = block[148:156].strip(b" \0") or b"0"
    if not _OCTAL.fullmatch(digits) or int(digits, 8) != expected:
        return None
    return Header(_decode_name(block), _decode_size(block[124:136]), block[156:157])


def decode_extension(kind: bytes, content: bytes) -> dict[str, str]:
    """Return `path`, `size` and `SPARSE_NAME` that an extension gives for the member behind it.

    Args:
        kind: Type flag of the extension.
        content: Its content.

    Raises:
        ValueError: If it is not a valid pax header, or the size is not a number that a file can have.
    """
    if kind == LONG_NAME:
        return {"path": content.rstrip(b"\0").decode(errors="replace")}
    return {} if kind == LONG_LINK else _decode_pax(content)


def _decode_pax(content: bytes) -> dict[str, str]:
    """Decode lines `<length> <keyword>=<value>`; the length includes the whole line."""
    found: dict[str, str] = {}
    while content:
        length, _, rest = content.partition(b" ")
        end = int(length) if length.isdigit() and len(length) <= _MOST_DIGITS else 0
        name, equals, value = rest[: end - len(length) - 1].partition(b"=")
        if end <= len(length) + 1 or end > len(content) or not equals:
            digits = f": a record states its length with {len(length):,} digits"
            msg = "the pax header cannot be read" + digits * (len(length) > _MOST_DIGITS)
            raise ValueError(msg)
        if name in (b"path", b"size"):
            found[name.decode()] = value.rstrip(b"\n").decode(errors="replace")
        elif name.startswith(b"GNU.sparse"):
            named = value.rstrip(b"\n").decode(errors="replace") if name.endswith(b"name") else ""
            found[SPARSE_NAME] = found.get(SPARSE_NAME) or named
        content = content[end:]
    _check_pax_size(found.get("size", "0"))
    return found


def _check_pax_size(size: str) -> None:
    if not re.fullmatch("[0-9]+", size):
        msg = "the size in the pax header is not a number"
        raise ValueError(msg)
    if len(size.lstrip("0")) > _MOST_DIGITS or int(size) > _LARGEST_SIZE:
        msg = "the size in the pax header is larger than a file can be"
        raise ValueError(msg)


def _decode_name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="replace")


def _decode_size(digits: bytes) -> int:
    """Decode octal digits, or GNU's base 256 for sizes that 11 octal digits cannot hold."""
    if digits[0] & 0x80:
        size = int.from_bytes(digits[1:], "big")
        # The other bits of the first byte belong to the number; all set mean a negative one.
        if digits[0] != 0x80 or size > _LARGEST_SIZE:
            msg = "the size in the header is negative, or larger than a file can be"
            raise ValueError(msg)
        return size
    stripped = digits.strip(b" \0") or b"0"
    if not _OCTAL.fullmatch(stripped):
        msg = "the size in the header is not a number"
        raise ValueError(msg)
    return int(stripped, 8)
