"""Member names and offsets of a tar that comes without a record."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from medassets.errors import ShardIntegrityError
from medassets.tars.blocks import HEADER_BYTES, padding_bytes

_MOST_EXTENDED_BYTES = 1 << 20
# Two blocks of zeros end a tar, and more fill it up to a multiple of 20 blocks.
# Source: POSIX.1-2001, pax interchange format; GNU tar manual, "The Blocking Factor of an Archive".
_MOST_END_BYTES = 2 * HEADER_BYTES + 20 * HEADER_BYTES - HEADER_BYTES
_REGULAR = frozenset((b"0", b"\0", b"7"))
_IGNORED = frozenset((b"5", b"g"))
_LONG_NAME, _LONG_LINK, _EXTENDED = b"L", b"K", b"x"
# Key and suffix are parted at the first dot of the base name.
_SAMPLE_NAME = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]+)")
_META_NAME = re.compile(r"__[^/]*__($|/)")
_REMEDY = "; copy it again from where it was made, or pack it again"


@dataclass
class ScannedSample:
    """One sample of a tar.

    Attributes:
        key: Path inside the tar up to the first dot of the base name.
        members: (suffix in lower case, offset, size in bytes) in the order of the tar.
    """

    key: str
    members: list[tuple[str, int, int]] = field(default_factory=list)


def scan_tar(path: Path) -> list[ScannedSample]:
    """Return the samples of a tar from its headers alone.

    Zeros within the last 10,752 bytes pass for the end that every tar has: a sample lost there
    cannot be told from filling without a record.

    Reads ustar archives with the long names of GNU and pax. Names without a suffix, hidden files
    and folders are passed over, as `webdataset` does.

    Raises:
        ShardIntegrityError: If the file is no plain tar, is cut off or ends in more zeros than
            a tar does, or holds no sample, links, a member twice or members of one sample apart
            from each other.
    """
    samples: list[ScannedSample] = []
    seen: set[str] = set()
    for name, offset, size in iter_members(path):
        parts = split_name(name)
        if parts is None:
            continue
        key, suffix = parts
        if not samples or samples[-1].key != key:
            if key in seen:
                _fail(path, f"{key}: its members stand apart; pack them with `tar --sort=name`")
            seen.add(key)
            samples.append(ScannedSample(key))
        if any(suffix == other for other, _, _ in samples[-1].members):
            _fail(path, f"{key}: member .{suffix} is there twice; pack the shard again")
        samples[-1].members.append((suffix, offset, size))
    if not samples:
        _fail(path, "a tar without a single sample (members such as KEY.npy)")
    return samples


def split_name(name: str) -> tuple[str, str] | None:
    """Return key and lower-case suffix of a member, None for what belongs to no sample."""
    match = _SAMPLE_NAME.fullmatch(name)
    return None if match is None or _META_NAME.match(name) else (match[1], match[2].lower())


def strip_scan_error(error: ShardIntegrityError, path: Path) -> str:
    """Return what is wrong with a tar without its path and the remedy."""
    return str(error).removeprefix(f"{path}: ").removesuffix(_REMEDY)


def iter_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset of the content and size of every regular file.

    Raises:
        ShardIntegrityError: If the tar is damaged; what stands before the damage was yielded.
    """
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        total = os.fstat(fd).st_size
        # Contents of hundreds of megabytes lie between headers; reading ahead would fetch them.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        yield from _walk(path, fd, total)


def _walk(path: Path, fd: int, total: int) -> Iterator[tuple[str, int, int]]:
    position = 0
    extended: dict[str, str] = {}
    while True:
        header = os.pread(fd, HEADER_BYTES, position)
        if len(header) < HEADER_BYTES:
            _fail(path, f"ends at byte {total:,} without the mark of its end: cut off")
        if not any(header):
            _check_end(path, fd, position, total)
            return
        _check_header(path, header, position)
        kind = header[156:157]
        size = _read_number(path, header[124:136], position)
        start = position + HEADER_BYTES
        if kind in _REGULAR and "size" in extended:
            size = _read_decimal(path, extended["size"], position)
        if start + size > total:
            name = extended.get("path", _read_name(header))
            what = f"its content ends at byte {start + size:,}, the file at {total:,}: cut off"
            _fail(path, f"{name}: {what}")
        position = start + size + padding_bytes(size)
        if kind in (_LONG_NAME, _LONG_LINK, _EXTENDED):
            extended |= _read_extension(path, fd, kind, start, size)
            continue
        if kind in _REGULAR:
            yield extended.get("path", _read_name(header)), start, size
        elif kind not in _IGNORED:
            name = extended.get("path", _read_name(header))
            _fail(path, f"{name}: not a plain file; pack with `tar --hard-dereference -h`")
        if kind != b"g":
            extended = {}


def _check_end(path: Path, fd: int, position: int, total: int) -> None:
    """Refuse zeros that are no end but lost samples: a preallocated copy that was broken off."""
    left = total - position
    if left > _MOST_END_BYTES:
        what = f"zeros at byte {position:,}, {left:,} before its end, where a sample should begin"
        how = "if it is whole, its padding is larger than tar's own (`tar -b 20`)"
        _fail(path, f"{what}: an incomplete copy, or several tars in one; {how}")
    if any(os.pread(fd, left, position)):
        _fail(path, f"zeros at byte {position:,} instead of a header: damaged")


def _read_extension(path: Path, fd: int, kind: bytes, start: int, size: int) -> dict[str, str]:
    if size > _MOST_EXTENDED_BYTES:
        _fail(path, f"a header of {size:,} bytes at byte {start:,}; expected a name")
    content = os.pread(fd, size, start)
    if kind == _LONG_NAME:
        return {"path": content.rstrip(b"\0").decode(errors="replace")}
    return _parse_pax(path, content, start) if kind == _EXTENDED else {}


def _parse_pax(path: Path, content: bytes, start: int) -> dict[str, str]:
    """Return the records `length key=value` of a pax header that change where a member lies.

    Source: POSIX.1-2001, pax interchange format.
    """
    found: dict[str, str] = {}
    while content:
        length, _, rest = content.partition(b" ")
        end = int(length) if length.isdigit() else 0
        name, equals, value = rest[: end - len(length) - 1].partition(b"=")
        if end <= len(length) + 1 or end > len(content) or not equals:
            _fail(path, f"the pax header at byte {start:,} cannot be read")
        if name in (b"path", b"size"):
            found[name.decode()] = value.rstrip(b"\n").decode(errors="replace")
        elif name.startswith(b"GNU.sparse"):
            _fail(path, f"a sparse file at byte {start:,}; pack without `--sparse`")
        content = content[end:]
    return found


def _check_header(path: Path, header: bytes, position: int) -> None:
    expected = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    try:
        stored = int(header[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        stored = -1
    if stored != expected:
        what = "not a tar, or a compressed one that has to be unpacked" if not position else ""
        _fail(path, what or f"no tar header at byte {position:,}: damaged")


def _read_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="replace")


def _read_number(path: Path, digits: bytes, position: int) -> int:
    """Read a size: octal digits, or GNU's base 256 for what they cannot hold."""
    if digits[0] & 0x80:
        return int.from_bytes(digits[1:], "big")
    try:
        return int(digits.strip(b" \0") or b"0", 8)
    except ValueError:
        _fail(path, f"the size in the header at byte {position:,} is no number: damaged")


def _read_decimal(path: Path, digits: str, position: int) -> int:
    if not digits.isdecimal():
        _fail(path, f"the size in the pax header before byte {position:,} is no number: damaged")
    return int(digits)


def _fail(path: Path, what: str) -> NoReturn:
    msg = f"{path}: {what}{_REMEDY}"
    raise ShardIntegrityError(msg)
