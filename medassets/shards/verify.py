"""Published shards against their records."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.displaced import find_displaced
from medassets.shards.readback import find_damage, iter_chunks
from medassets.shards.record import ShardRecord
from medassets.storage.paths import DatasetPaths


@dataclass(frozen=True)
class Problem:
    """Why a shard on disk is not what its record says.

    Attributes:
        partition: Partition key.
        path: File that is wrong.
        sample: Sample key, empty when it is the shard as a whole.
        what: What is wrong.
    """

    partition: str
    path: Path
    sample: str
    what: str

    def __str__(self) -> str:
        """Return one line with the remedy."""
        where = f"{self.path}: {self.sample}" if self.sample else f"{self.path}"
        return f"{where}: {self.what}; build partition {self.partition} again"


def verify_shard(paths: DatasetPaths, partition_key: str, *, full: bool) -> list[Problem]:
    """Compare a shard with its record.

    Args:
        paths: Where the dataset lies.
        partition_key: The shard; it must have a record.
        full: Read every byte: digest of the tar, names and checksums of its members. Otherwise
            compare sizes only.
    """
    shard, record_path = paths.shard(partition_key), paths.record(partition_key)
    try:
        record = ShardRecord.read(record_path)
    except FileNotFoundError:
        return [Problem(partition_key, record_path, "", "the record is missing")]
    except ShardIntegrityError as error:
        return [Problem(partition_key, record_path, "", str(error))]
    try:
        size = shard.stat().st_size
    except FileNotFoundError:
        return [Problem(partition_key, shard, "", "the shard is missing")]
    problems: list[Problem] = []
    if size != record.size_bytes:
        what = f"the shard has {size:,} bytes, its record says {record.size_bytes:,}"
        problems.append(Problem(partition_key, shard, "", what))
    return problems + _read_through(shard, record, size) if full else problems


def _read_through(shard: Path, record: ShardRecord, size: int) -> list[Problem]:
    fd = os.open(shard, os.O_RDONLY)
    try:
        found = list(_find_differences(fd, record, size))
        if found or size != record.size_bytes:
            # What stands elsewhere than recorded only looks damaged.
            found = find_displaced(fd, shard, record) or found
    except (OSError, OverflowError, TypeError, ValueError) as error:
        # A disk that cannot be read, or a record whose numbers are none.
        found = [("", f"it cannot be compared with its record ({error})")]
    finally:
        os.close(fd)
    return [Problem(record.partition, shard, sample, what) for sample, what in found]


def _find_differences(fd: int, record: ShardRecord, size: int) -> Iterator[tuple[str, str]]:
    """Yield sample and trouble, reading every byte once."""
    digest: Any = hashlib.sha256()
    position, whole = 0, size == record.size_bytes
    for sample in record.samples:
        if sample.offset + sample.size_bytes > size:
            yield sample.key, "is cut off, or gone: the shard ends before it does"
            whole = False
            continue
        found = find_damage(fd, sample, feed=digest.update)
        if sample.offset != position:
            found.append("it does not begin where the sample before it ends")
        yield from ((sample.key, what) for what in found)
        whole = whole and not found
        position = sample.offset + sample.size_bytes
    for chunk in iter_chunks(fd, position, record.size_bytes - position):
        digest.update(chunk)
    if whole and digest.hexdigest() != record.sha256:
        yield "", "its sha256 is not that of the record, though every member's content is right"
    if record.num_samples != len(record.samples):
        yield "", f"its record counts {record.num_samples} samples and lists {len(record.samples)}"
