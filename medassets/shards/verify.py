"""Compare published shards with their records."""

import hashlib
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.files import explain_place
from medassets.shards.readback import find_damage
from medassets.shards.record import ShardRecord, is_as_written
from medassets.storage.ownership import describe_type
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import read_regular
from medassets.tars.header import HEADER_BYTES
from medassets.tars.reader import OpenTar, open_tar
from medassets.tars.scan import scan_until_damage

Trouble = tuple[str, str]
"""Sample key, empty for the shard as a whole, and what is wrong."""


@dataclass(frozen=True)
class Problem:
    """One difference between a shard on disk and its record.

    Attributes:
        partition: Partition key.
        path: The file that is wrong.
        sample: Sample key; empty for the shard as a whole.
        what: What is wrong.
        is_misplaced: Whether the files are those of another shard, which a build does not replace.
    """

    partition: str
    path: Path
    sample: str
    what: str
    is_misplaced: bool = False

    def __str__(self) -> str:
        """Return one line with the remedy."""
        where = f"{self.path}: {self.sample}" if self.sample else f"{self.path}"
        build = f"build partition {self.partition} again"
        remedy = "`medassets reconcile` puts it back" if self.is_misplaced else build
        return f"{where}: {self.what}; {remedy}"


def verify_shard(paths: DatasetPaths, partition_key: str, *, full: bool) -> list[Problem]:
    """Compare a shard with its record.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.
        full: Read every byte: digest of the tar, names and checksums of its members. Otherwise
            compare sizes only.
    """
    shard, record_path = paths.shard(partition_key), paths.record(partition_key)
    try:
        record = ShardRecord.read(record_path)
    except FileNotFoundError:
        return [Problem(partition_key, record_path, "", "the record is missing")]
    except ShardIntegrityError as error:
        return [
            Problem(partition_key, record_path, "", str(error).removeprefix(f"{record_path}: "))
        ]
    doubts = list(_find_doubts(paths, partition_key, record))
    problems = [Problem(partition_key, record_path, "", what) for what in doubts]
    if what := explain_place(paths, partition_key, record):
        problems.insert(0, Problem(partition_key, record_path, "", what, is_misplaced=True))
    size = _find_size(shard)
    if not isinstance(size, int):
        return [*problems, Problem(partition_key, shard, "", size)]
    if size != record.size_bytes:
        what = f"the shard has {size:,} bytes, its record says {record.size_bytes:,}"
        problems.append(Problem(partition_key, shard, "", what))
    if full:
        found = _read_through(shard, record, size)
        problems += [Problem(partition_key, shard, sample, what) for sample, what in found]
    return problems


def _find_doubts(paths: DatasetPaths, partition_key: str, record: ShardRecord) -> Iterator[str]:
    """Yield what shows that a record is not as it was published."""
    yield from record.find_contradictions()
    try:
        if not is_as_written(read_regular(paths.record(partition_key))):
            yield "its record was changed since it was published"
    except OSError as error:
        yield f"the record cannot be read ({error.strerror})"


def _find_size(shard: Path) -> int | str:
    """Return the size of a tar, or what is in its place."""
    try:
        found = shard.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "the shard is missing"
    except OSError as error:
        return f"the shard cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return f"{describe_type(found.st_mode)} is in the place of the shard; move it away"
    return found.st_size


def _read_through(shard: Path, record: ShardRecord, size: int) -> list[Trouble]:
    try:
        with open_tar(shard) as tar:
            found = list(_find_differences(tar, record, size))
            if found or size != record.size_bytes:
                # After a missing sample, all later samples are at other offsets.
                found = _find_displaced(tar, record) or found
    except (OSError, OverflowError, TypeError, ValueError) as error:
        # The disk cannot be read, or the numbers in the record are invalid.
        found = [("", f"it cannot be compared with its record ({error})")]
    return found


def _find_differences(tar: OpenTar, record: ShardRecord, size: int) -> Iterator[Trouble]:
    """Compare every sample at its recorded position; every byte is read once."""
    digest: Any = hashlib.sha256()
    position, whole = 0, size == record.size_bytes
    for sample in record.samples:
        if sample.offset + sample.size_bytes > size:
            yield sample.key, "is cut off or missing: the shard ends before it does"
            whole = False
            continue
        found = find_damage(tar, sample, feed=digest.update)
        if sample.offset != position:
            found.append("it does not begin where the sample before it ends")
        yield from ((sample.key, what) for what in found)
        whole = whole and not found
        position = sample.offset + sample.size_bytes
    for chunk in tar.iter_range(position, max(record.size_bytes - position, 0)):
        digest.update(chunk)
    if whole and digest.hexdigest() != record.sha256:
        yield "", "its sha256 is not that of the record, though every member's content is right"


def _find_displaced(tar: OpenTar, record: ShardRecord) -> list[Trouble]:
    """Name samples that are missing, unknown, repeated or in another order than in the record.

    Every other sample is compared at its actual position.

    Returns:
        Nothing if the samples that can be found are in the recorded order.
    """
    recorded = [sample.key for sample in record.samples]
    found, damage = scan_until_damage(tar)
    keys = [sample.key for sample in found]
    if keys == (recorded[: len(keys)] if damage else recorded):
        return []
    troubles = [*_compare_keys(recorded, keys, is_cut=bool(damage))]
    actual = {sample.key: sample for sample in reversed(found)}
    for entry in record.samples:
        if (sample := actual.get(entry.key)) and entry.members:
            start = next(iter(sample.members.values())).offset - HEADER_BYTES
            damaged = find_damage(tar, entry, moved_by=start - entry.offset)
            troubles += [(entry.key, what) for what in damaged]
    return [*troubles, ("", damage)] if damage else troubles


def _compare_keys(
    recorded: Sequence[str], keys: Sequence[str], *, is_cut: bool
) -> Iterator[Trouble]:
    known, counts = set(recorded), Counter(keys)
    missing = "is not found before the damage" if is_cut else "is missing"
    yield from ((key, missing) for key in dict.fromkeys(recorded) if key not in counts)
    yield from (
        (key, "is in the shard, but not in its record") for key in counts if key not in known
    )
    yield from ((key, f"is in the shard {n} times") for key, n in counts.items() if n > 1)
    expected = [key for key in dict.fromkeys(recorded) if key in counts]
    actual = [key for key in counts if key in known]
    for right, wrong in zip(expected, actual, strict=True):
        if right != wrong:
            yield wrong, f"is at the position of {right}"
