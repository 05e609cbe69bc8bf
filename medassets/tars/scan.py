"""Samples of a tar that has no record, from its headers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from medassets.errors import DamagedTarError, UnterminatedTarError
from medassets.storage.foreign_bytes import iter_guarded
from medassets.storage.formats.lfs_pointers import explain_pointer
from medassets.tars.header import (
    CONTINUED,
    EXTENSIONS,
    HEADER_BYTES,
    IGNORED,
    MOST_END_BYTES,
    REGULAR,
    SPARSE,
    SPARSE_NAME,
    Header,
    decode_extension,
    decode_header,
    padding_bytes,
)
from medassets.tars.reader import Member, Members, OpenTar, open_tar

_MOST_EXTENDED_BYTES = 1 << 20
# Key and suffix are split at the first dot of the base name.
_SAMPLE_NAME = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]+)")
_META_NAME = re.compile(r"__[^/]*__($|/)")
_REMEDY = "; copy it again from where it was made, or pack it again"
_UNTERMINATED = "if no sample is missing, declare `accept_unterminated: true` (source webdataset), or pack it again"
_REPACK = "unpack the tar and pack the files again: `tar --sort=name -cf new.tar -C folder .`"


@dataclass
class ScannedSample:
    """One sample of a tar.

    Attributes:
        key: Path inside the tar up to the first dot of the base name.
        members: By suffix in lower case, in the order of the tar, without CRC-32.
    """

    key: str
    members: dict[str, Member] = field(default_factory=dict)


def scan_tar(path: Path, *, accept_unterminated: bool = False) -> dict[str, Members]:
    """Return the members of every sample of a tar, by key and in the order of the tar.

    Reads ustar archives with the long names of GNU and pax. Names without a suffix, hidden files
    and folders are skipped, as `webdataset` skips them.

    Zeros in the last 10,752 bytes are read as the end of the tar: without a record, a sample that
    was overwritten with zeros there cannot be told from padding.

    Args:
        path: The tar.
        accept_unterminated: Read a tar that ends behind a whole member, without the end mark of a
            closed tar; see `iter_samples`.

    Raises:
        UnterminatedTarError: If the tar ends behind a whole member, unless that is accepted.
        DamagedTarError: If the file is not a plain tar, is cut off or ends in more zeros than a tar
            does, or contains no sample, links, a member twice, or members of one sample that are
            not adjacent.
        OSError: If it cannot be read.
    """
    samples: dict[str, Members] = {}
    with open_tar(path) as tar:
        for sample in iter_samples(tar, accept_unterminated=accept_unterminated):
            if sample.key in samples:
                what = f"{sample.key}: has a member twice, or its members are not adjacent"
                _fail(tar, f"{what}; `tar --sort=name` packs them together")
            samples[sample.key] = sample.members
        if not samples:
            _fail(tar, "the tar contains no sample (members such as KEY.npy)")
    return samples


def iter_samples(tar: OpenTar, *, accept_unterminated: bool = False) -> Iterator[ScannedSample]:
    """Yield the samples of an open tar as they are found.

    A key is yielded twice if its members are not adjacent, or one of them occurs twice.

    Args:
        tar: The tar.
        accept_unterminated: Whether the tar may end behind a whole member. Members that were cut off
            with their headers cannot be missed then.

    Raises:
        DamagedTarError: If the tar is damaged, after the samples before the damage; the last of
            them may be incomplete.
        OSError: If it cannot be read.
    """
    sample = None
    files = _iter_files(tar, accept_unterminated=accept_unterminated)
    try:
        for name, offset, size in iter_guarded(files, partial(_explain_damage, tar)):
            parts = _split_name(name)
            if parts is None:
                continue
            key, suffix = parts
            if sample is None or sample.key != key or suffix in sample.members:
                if sample is not None:
                    yield sample
                sample = ScannedSample(key)
            sample.members[suffix] = Member(suffix, offset, size)
    except DamagedTarError:
        if sample is not None:
            yield sample
        raise
    if sample is not None:
        yield sample


def scan_until_damage(tar: OpenTar) -> tuple[list[ScannedSample], str]:
    """Return the samples of a tar up to the first damage, and what that is; empty if none.

    Args:
        tar: The tar; see `iter_samples` for repeated keys and the last sample before the damage.
    """
    found: list[ScannedSample] = []
    try:
        # A list keeps what it was extended with before the error.
        found.extend(iter_samples(tar))
    except DamagedTarError as error:
        return found, error.what
    return found, ""


def _split_name(name: str) -> tuple[str, str] | None:
    """Return key and lower-case suffix of a file; None if it does not belong to a sample."""
    match = _SAMPLE_NAME.fullmatch(name)
    return None if match is None or _META_NAME.match(name) else (match[1], match[2].lower())


def _iter_files(tar: OpenTar, *, accept_unterminated: bool) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset of the content and size of every regular file."""
    tar.expect_headers()
    total, position = tar.size_bytes, 0
    extended: dict[str, str] = {}
    while (header := _read_header(tar, position, accept_unterminated)) is not None:
        is_regular = header.kind in REGULAR
        name = extended.get("path", header.name)
        size = int(extended["size"]) if is_regular and "size" in extended else header.size_bytes
        start = position + HEADER_BYTES
        if total is not None and start + size > total:
            what = f"its content ends at byte {start + size:,}, the file at {total:,}: cut off"
            _fail(tar, f"{name}: {what}")
        if header.kind in EXTENSIONS:
            extended |= _read_extension(tar, header.kind, start, size)
        elif header.kind == SPARSE or SPARSE_NAME in extended:
            _fail(tar, _explain_sparse(extended.get(SPARSE_NAME) or name), remedy="")
        elif is_regular:
            yield name, start, size
        elif header.kind not in IGNORED:
            _refuse(tar, name, header.kind)
        if header.kind not in EXTENSIONS and header.kind != b"g":
            extended = {}
        position = start + size + padding_bytes(size)


def _explain_sparse(name: str) -> str:
    return f"{name}: a sparse file, of which the tar stores no holes; {_REPACK}, without `--sparse`"


def _refuse(tar: OpenTar, name: str, kind: bytes) -> NoReturn:
    if kind == CONTINUED:
        what = f"{name}: the rest of a file of another volume; unpack all volumes with `tar -M`"
        _fail(tar, f"{what} and pack the files into one tar", remedy="")
    _fail(tar, f"{name}: not a regular file; pack with `tar --hard-dereference -h`")


def _read_header(tar: OpenTar, position: int, accept_unterminated: bool) -> Header | None:
    """Return the header at a position; None at the end of the tar."""
    block = tar.read_range(position, HEADER_BYTES)
    if not position and (pointer := explain_pointer(bytes(block))) is not None:
        _fail(tar, pointer, remedy="")
    if not block and position and accept_unterminated:
        return None
    if len(block) < HEADER_BYTES:
        ends = f"ends at byte {position + len(block):,} without an end mark: cut off"
        if block or not position:
            _fail(tar, ends)
        what = f"{ends}, or never closed; {_UNTERMINATED}"
        msg = f"{tar.path}: {what}"
        raise UnterminatedTarError(msg, what)
    if not any(block):
        _check_end(tar, position)
        return None
    try:
        header = decode_header(bytes(block))
    except ValueError as error:
        _fail(tar, f"{error}, at byte {position:,}: damaged")
    if header is None:
        what = "not a tar, or a compressed one that has to be unpacked" if not position else ""
        _fail(tar, what or f"no tar header at byte {position:,}: damaged")
    return header


def _check_end(tar: OpenTar, position: int) -> None:
    """Refuse zeros that replace samples: an incomplete copy into a file of the full size."""
    end = tar.read_range(position, MOST_END_BYTES + 1)
    if len(end) > MOST_END_BYTES:
        what = f"zeros at byte {position:,}, more than {MOST_END_BYTES:,} bytes before its end"
        how = "if it is whole, its padding is larger than tar's own (`tar -b 20`)"
        _fail(tar, f"{what}: an incomplete copy, or several tars in one; {how}")
    if any(end):
        _fail(tar, f"zeros at byte {position:,} instead of a header: damaged")


def _read_extension(tar: OpenTar, kind: bytes, start: int, size: int) -> dict[str, str]:
    if size > _MOST_EXTENDED_BYTES:
        _fail(tar, f"a header of {size:,} bytes at byte {start:,}; expected a name")
    try:
        return decode_extension(kind, bytes(tar.read_range(start, size)))
    except ValueError as error:
        _fail(tar, f"{error}, at byte {start:,}")


def _explain_damage(tar: OpenTar, _: Exception, what: str) -> DamagedTarError:
    return DamagedTarError(f"{tar.path}: {what}{_REMEDY}", what)


def _fail(tar: OpenTar, what: str, *, remedy: str = _REMEDY) -> NoReturn:
    msg = f"{tar.path}: {what}{remedy}"
    raise DamagedTarError(msg, what)
