"""Published shards against their records."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import ShardIntegrityError
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
    if size != record.size_bytes:
        what = f"the shard has {size:,} bytes, its record says {record.size_bytes:,}"
        return [Problem(partition_key, shard, "", what)]
    return _read_through(shard, record) if full else []


def _read_through(shard: Path, record: ShardRecord) -> list[Problem]:
    fd = os.open(shard, os.O_RDONLY)
    try:
        digest = hashlib.sha256()
        for chunk in iter_chunks(fd, 0, record.size_bytes):
            digest.update(chunk)
        if digest.hexdigest() == record.sha256:
            return []
        found = [
            Problem(record.partition, shard, sample.key, what)
            for sample in record.samples
            for what in find_damage(fd, sample)
        ]
    finally:
        os.close(fd)
    what = "its sha256 is not that of the record, though every member's content is right"
    return found or [Problem(record.partition, shard, "", what)]
