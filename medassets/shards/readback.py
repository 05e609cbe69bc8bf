"""Compare the bytes of a sample on disk with its entry in the record."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from medassets.arrays import BytesLike
from medassets.errors import DamagedTarError
from medassets.shards.record import SampleEntry
from medassets.tars.header import HEADER_BYTES, encode_header, padding_bytes
from medassets.tars.reader import Member, OpenTar

Feed = Callable[[BytesLike], object]


def _ignore(_: BytesLike) -> None:
    """Discard the bytes."""


def find_damage(
    tar: OpenTar, sample: SampleEntry, *, moved_by: int = 0, feed: Feed = _ignore
) -> list[str]:
    """Return the differences between a sample in a tar and its entry: headers, contents, padding.

    Args:
        tar: The tar.
        sample: Its entry.
        moved_by: Distance from the recorded position to the actual one, in bytes.
        feed: Called with every byte of the sample in order, so that a digest needs no second read.
    """
    found: list[str] = []
    position = sample.offset
    for member in sample.members:
        found += _find_member_damage(tar, position + moved_by, sample.key, member, feed)
        if member.offset != position + HEADER_BYTES:
            found.append(f"member .{member.suffix} does not begin at its recorded offset")
        position = member.offset + member.size_bytes + padding_bytes(member.size_bytes)
    if position != sample.offset + sample.size_bytes:
        found.append("the sizes of its members do not add up to its size")
    return found


def _find_member_damage(
    tar: OpenTar, position: int, key: str, member: Member, feed: Feed
) -> Iterator[str]:
    header = tar.read_range(position, HEADER_BYTES)
    feed(header)
    if header != encode_header(f"{key}.{member.suffix}", member.size_bytes):
        yield f"member .{member.suffix} has a header that differs from its record"
    content = replace(member, offset=position + HEADER_BYTES)
    try:
        for chunk in tar.iter_chunks(content):
            feed(chunk)
    except DamagedTarError as error:
        yield error.what
    size = padding_bytes(member.size_bytes)
    padding = tar.read_range(content.offset + member.size_bytes, size)
    feed(padding)
    if padding != bytes(size):
        yield f"member .{member.suffix} is followed by padding that is not zero"
