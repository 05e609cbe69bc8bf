"""Files of a shard on disk: the published tar with its record, and files of an unfinished shard."""

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import ShardIntegrityError
from medassets.shards.record import ShardRecord, require_known_head
from medassets.storage.checksums import sha256_file
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.paths import DatasetPaths, name_shard, split_partition_key
from medassets.storage.private_names import sweep_private
from medassets.storage.unreadable import open_regular, open_regular_fd

_FAILURE = ".failure"
_HEAD_BYTES = 1 << 13
# `ShardRecord.encode` writes one field a line, and the samples after all others.
_SAMPLES, _END = b',\n "samples": [', b"\n}\n"
# The rejected items are the last list before the checksum.
_NONE_REJECTED, _TAIL_BYTES = re.compile(rb'\n "rejected": \[\],\n "checksum": "\w+"\n}\n\Z'), 256
_PRIVATE = re.compile(r"\.+(shard-\d{6})\..+")


def read_whole_record(
    paths: DatasetPaths, partition_key: str, plan_fingerprint: str | None = None
) -> ShardRecord | None:
    """Return the record of a shard whose tar has the recorded size, else None.

    A record that is in the place of another shard, or contradicts itself, is no record of this one.
    A link is not a tar that this package published.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.
        plan_fingerprint: Also require that the shard was built from this plan.

    Raises:
        LaterVersionError: If a later version wrote the record: its shard is not to be made again.
    """
    try:
        record = ShardRecord.read(paths.record(partition_key))
        shard = paths.shard(partition_key).lstat()
    except (OSError, ShardIntegrityError):
        return None
    if explain_place(paths, partition_key, record) or any(record.find_contradictions()):
        return None
    fresh = plan_fingerprint is None or record.plan_fingerprint == plan_fingerprint
    is_whole = stat.S_ISREG(shard.st_mode) and record.size_bytes == shard.st_size
    return record if fresh and is_whole else None


def explain_place(paths: DatasetPaths, partition_key: str, record: ShardRecord) -> str:
    """Return what shows that a record is not the one of the shard beside which it is.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard at whose place the record is.
        record: The record.

    Returns:
        Empty if it is the record of this shard.
    """
    split, _ = split_partition_key(partition_key)
    name = f"{name_shard(partition_key)}.tar"
    expected = {"dataset": paths.dataset, "partition": partition_key, "split": split}
    for field, value in {**expected, "filename": name}.items():
        if (stated := getattr(record, field)) != value:
            return f"its record is that of {field} {stated!r}, expected {value!r}"
    return ""


@dataclass(frozen=True)
class ShardHead:
    """What the first lines of a record say.

    Attributes:
        plan_fingerprint: Hash of the catalog rows and the declaration it was made from.
        sha256: Digest of the tar.
        size_bytes: Size of the tar.
        place: Its dataset, partition key, split, and name of the tar.
        has_rejected: Whether it lists rejected items.
    """

    plan_fingerprint: str
    sha256: str
    size_bytes: int
    place: tuple[str, str, str, str]
    has_rejected: bool = False


def read_head(record: Path) -> ShardHead | None:
    """Return the head of a record, without the list of its samples; None if it is not a whole record.

    Ten thousand records of 128 samples are a GB; their heads are read in a quarter of a second.

    Raises:
        LaterVersionError: If a later version wrote it.
    """
    try:
        with open_regular(record) as file:
            text = file.read(_HEAD_BYTES)
            if _SAMPLES not in text:
                text += file.read()
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            tail = file.read()
        head = json.loads(text[: text.index(_SAMPLES)] + b"}")
        require_known_head(record, head)
        place = (head["dataset"], head["partition"], head["split"], head["filename"])
        rejects = _NONE_REJECTED.search(tail) is None
        found = ShardHead(
            head["plan_fingerprint"],
            head["sha256"],
            head["size_bytes"],
            place,
            has_rejected=rejects,
        )
        return found if tail.endswith(_END) else None
    except (OSError, *MALFORMED):
        return None


def partial_paths(shard: Path) -> tuple[Path, Path]:
    """Return the private names of an unfinished shard: partial tar and ledger."""
    return shard.with_name(f".{shard.name}.partial"), shard.with_name(f".{shard.stem}.ledger")


def written_bytes(paths: DatasetPaths, partition_key: str) -> int:
    """Return the size of the partial tar of a shard; 0 if nothing was written."""
    partial, _ = partial_paths(paths.shard(partition_key))
    try:
        return partial.stat().st_size
    except FileNotFoundError:
        return 0


def pending_record(shard: Path) -> Path:
    """Return the private name of a record whose tar is being published."""
    return shard.with_name(f".{shard.stem}.record")


def previous_record(shard: Path) -> Path:
    """Return the private name of the record of a tar that is being replaced."""
    return shard.with_name(f".{shard.stem}.previous")


def find_record(shard: Path) -> Path | None:
    """Return the record of a tar on disk; None if there is none.

    While a tar is replaced, and after a kill until the next build, its record has a private name. Which
    of two it is tells the digest of the tar.
    """
    for _ in range(2):
        if (record := shard.with_suffix(".json")).exists():
            return record
        for private in (pending_record(shard), previous_record(shard)):
            head = read_head(private)
            size = shard.stat().st_size
            if head and head.size_bytes == size and head.sha256 == sha256_file(shard):
                return private
    return None


def failure_note(shard: Path) -> Path:
    """Return the private name of the note of a shard that failed; see `medassets.shards.failure`."""
    return shard.with_name(f".{shard.stem}{_FAILURE}")


def lock_path(shard: Path) -> Path:
    """Return the lock file of a shard, held by the process that builds or deletes it."""
    return shard.with_name(f".{shard.stem}.lock")


def mark_begun(shard: Path) -> None:
    """Leave the lock file of a shard, unlocked, as a process that was killed leaves it.

    The next build then looks at the shard, although it is whole, and releases its staged files.
    """
    path = lock_path(shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(open_regular_fd(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW))


def remove_leftovers(shard: Path) -> None:
    """Remove the files of interrupted runs of this shard; the caller holds its lock."""
    tar, ledger = partial_paths(shard)
    pending = pending_record(shard)
    sweep_private(pending)
    for path in (pending, previous_record(shard), tar, ledger, failure_note(shard)):
        path.unlink(missing_ok=True)


def find_unfinished(folder: Path) -> set[str]:
    """Return the names, without suffix, of shards with private files of a running or killed run."""
    files = (path for path in folder.glob(".*") if path.suffix != _FAILURE)
    names = (_PRIVATE.fullmatch(path.name) for path in files)
    return {name[1] for name in names if name}
