"""Damage of every sort, done to a shard of medassets."""

from pathlib import Path

from medassets.shards.record import SampleEntry, ShardRecord
from medassets.tars.header import encode_header
from medassets.tars.reader import Member


def read_samples(shard: Path) -> list[SampleEntry]:
    return list(ShardRecord.read(shard.with_suffix(".json")).samples)


def find_member(sample: SampleEntry, suffix: str) -> Member:
    return next(member for member in sample.members if member.suffix == suffix)


def cut(shard: Path, sample: SampleEntry) -> bytes:
    """Return all of one sample, headers and padding too."""
    return shard.read_bytes()[sample.offset : sample.offset + sample.size_bytes]


def end_of(sample: SampleEntry) -> int:
    return sample.offset + sample.size_bytes


def replace_range(shard: Path, start: int, stop: int, content: bytes) -> None:
    there = shard.read_bytes()
    shard.write_bytes(there[:start] + content + there[stop:])


def flip(shard: Path, offset: int) -> None:
    replace_range(shard, offset, offset + 1, bytes([shard.read_bytes()[offset] ^ 1]))


def rename(content: bytes, sample: SampleEntry, key: str) -> bytes:
    """Return a whole sample under another key, each header as a writer would make it."""
    renamed = bytearray(content)
    for member in sample.members:
        start = member.offset - sample.offset - 512
        header = encode_header(f"{key}.{member.suffix}", member.size_bytes)
        renamed[start : start + 512] = header
    return bytes(renamed)


def put_text(shard: Path, sample: SampleEntry, content: bytes) -> None:
    """Write another `txt` of any length, with a header that says so."""
    member = find_member(sample, "txt")
    header = encode_header(f"{sample.key}.txt", len(content))
    stop = member.offset + member.size_bytes
    stop += -stop % 512
    replace_range(shard, member.offset - 512, stop, header + content + bytes(-len(content) % 512))
