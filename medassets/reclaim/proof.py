"""The proof that the samples of a source file are in a shard: made again, compared byte by byte."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medassets.arrays import BytesLike
from medassets.errors import SampleRejectedError
from medassets.reclaim.source_files import CHANGED, FileStat, SourceFile
from medassets.samples import Encode, EncodedSample, SourceItem, Staged
from medassets.shards.record import SampleEntry
from medassets.storage.checksums import byte_view
from medassets.tars.reader import Member, OpenTar, open_tar

Entries = Mapping[str, tuple[Path, SampleEntry]]
"""Sample key -> the tar that holds it, and its entry in the record."""


@dataclass
class Proof:
    """Result of comparing one file with the shards.

    Attributes:
        file: The file.
        stat: Its facts before it was read; None if it could not be read.
        sha256: Sample key -> digest of the sample's source.
        why: Why the file must be kept; empty if it may be deleted.
        is_other: Whether the shard was made from other content than the file has.
        problems: Samples in the shard that differ from what the file makes.
    """

    file: SourceFile
    stat: FileStat | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    why: str = ""
    is_other: bool = False
    problems: list[str] = field(default_factory=list)


def prove_file(
    file: SourceFile,
    examine: Callable[[], FileStat],
    *,
    entries: Entries,
    stage: Callable[[SourceItem], Staged],
    encode: Encode,
) -> Proof:
    """Make every sample of a file again and compare it with the shards on disk.

    Args:
        file: The file.
        examine: Returns its facts.
        entries: What the shards hold.
        stage: Reads an item's source and gives its digest.
        encode: Makes the samples.
    """
    proof = Proof(file)
    try:
        proof.stat = examine()
        for item in file.items:
            _prove_item(proof, item, entries, stage=stage, encode=encode)
            if proof.why or proof.problems:
                return proof
        if examine() != proof.stat:
            proof.why = CHANGED
    except OSError as error:
        proof.why = f"it cannot be read ({error.strerror})"
    return proof


def _prove_item(
    proof: Proof,
    item: SourceItem,
    entries: Entries,
    *,
    stage: Callable[[SourceItem], Staged],
    encode: Encode,
) -> None:
    if item.key not in entries:
        proof.problems.append(f"{item.key}: no shard holds it")
        return
    shard, entry = entries[item.key]
    staged = stage(item)
    if isinstance(staged, SampleRejectedError):
        proof.why = f"it cannot be read again: {staged.detail}"
        return
    proof.sha256[item.key] = staged.sha256
    if staged.sha256 != entry.facts.get("source_sha256"):
        proof.why = "its content is not what the shard was made of"
        proof.is_other = True
        return
    (made,) = encode([item], staged)
    if isinstance(made, SampleRejectedError):
        proof.why = f"it makes no sample any more: {made}"
        return
    try:
        different = _find_difference(shard, entry, made)
    except OSError as error:
        # An error of the shard, not of the source: none of its sources may be deleted.
        different = f"the shard cannot be read ({error.strerror})"
    finally:
        made.release()
    if different:
        proof.problems.append(f"{shard}: {item.key}: {different}; build its shard again")


def _find_difference(shard: Path, entry: SampleEntry, made: EncodedSample) -> str:
    """Return which member on disk differs from what was made; empty if none."""
    suffixes = [member.suffix for member in entry.members]
    if [suffix for suffix, _ in made.members] != suffixes:
        return f"members {suffixes} differ from what its source makes"
    with open_tar(shard) as tar:
        for member, (suffix, content) in zip(entry.members, made.members, strict=True):
            if not _is_equal(tar, member, content):
                return f"member .{suffix} on disk differs from what its source makes"
    return ""


def _is_equal(tar: OpenTar, member: Member, content: BytesLike) -> bool:
    expected = byte_view(content)
    if expected.nbytes != member.size_bytes:
        return False
    made, position = np.frombuffer(expected, np.uint8), 0
    for chunk in tar.iter_range(member.offset, member.size_bytes):
        there = np.frombuffer(chunk, np.uint8)
        # memoryview compares values as Python objects, one by one.
        if not np.array_equal(there, made[position : position + len(chunk)]):
            return False
        position += len(chunk)
    return position == member.size_bytes
