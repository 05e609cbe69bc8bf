"""Files of a shard on disk: the published tar with its record, and files of an unfinished shard."""

import re
from pathlib import Path

from medassets.errors import ShardIntegrityError
from medassets.shards.record import ShardRecord
from medassets.storage.paths import DatasetPaths
from medassets.storage.private_names import sweep_private

_FAILURE = ".failure"
_PRIVATE = re.compile(r"\.+(shard-\d{6})\..+")


def read_whole_record(
    paths: DatasetPaths, partition_key: str, plan_fingerprint: str | None = None
) -> ShardRecord | None:
    """Return the record of a shard whose tar has the recorded size, else None.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.
        plan_fingerprint: Also require that the shard was built from this plan.
    """
    try:
        record = ShardRecord.read(paths.record(partition_key))
        size = paths.shard(partition_key).stat().st_size
    except (FileNotFoundError, ShardIntegrityError):
        return None
    fresh = plan_fingerprint is None or record.plan_fingerprint == plan_fingerprint
    return record if fresh and record.size_bytes == size else None


def partial_paths(shard: Path) -> tuple[Path, Path]:
    """Return the private names of an unfinished shard: partial tar and ledger."""
    return shard.with_name(f".{shard.name}.partial"), shard.with_name(f".{shard.stem}.ledger")


def pending_record(shard: Path) -> Path:
    """Return the private name of a record whose tar is being published."""
    return shard.with_name(f".{shard.stem}.record")


def previous_record(shard: Path) -> Path:
    """Return the private name of the record of a tar that is being replaced."""
    return shard.with_name(f".{shard.stem}.previous")


def failure_note(shard: Path) -> Path:
    """Return the private name of the note of a shard that failed; see `medassets.shards.failure`."""
    return shard.with_name(f".{shard.stem}{_FAILURE}")


def lock_path(shard: Path) -> Path:
    """Return the lock file of a shard, held by the process that builds or deletes it."""
    return shard.with_name(f".{shard.stem}.lock")


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
