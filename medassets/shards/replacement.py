"""Checks before a tar is replaced: samples that only the old tar has must not be lost."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import ForeignFileError, Reason, ShardIntegrityError
from medassets.shards.record import ShardRecord
from medassets.storage.checksums import sha256_file
from medassets.storage.ownership import is_plain_file, require_ours
from medassets.storage.paths import DatasetPaths
from medassets.tars.scan import scan_tar

SOURCE_TROUBLE = frozenset(
    {
        Reason.MISSING_UPSTREAM,
        Reason.MISSING_SOURCE,
        Reason.UNREADABLE_SOURCE,
        Reason.READER_FAILED,
        Reason.OUT_OF_MEMORY,
        Reason.TOO_LARGE,
        Reason.CHECKSUM_MISMATCH,
        Reason.CORRUPT_GZIP,
        Reason.CORRUPT_NPZ,
        Reason.CORRUPT_TAR,
        Reason.BAD_HEADER,
    }
)
"""Rejections because of the source: the shard on disk may be the only copy of these samples."""

_NAMED = 3


@dataclass(frozen=True)
class Held:
    """Samples of a tar on disk.

    Attributes:
        keys: Keys of its samples; empty if there is no tar.
        is_ours: Whether a record of this shard describes it.
    """

    keys: frozenset[str]
    is_ours: bool


def read_held(paths: DatasetPaths, partition_key: str) -> Held:
    """Return the samples of the tar at a shard's path, from its headers or else from its record.

    A tar with samples that its record does not list is foreign.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.

    Raises:
        ForeignFileError: If the path is a link or a folder, or the tar cannot be read and no record of
            this shard describes it.
    """
    shard = paths.shard(partition_key)
    if not os.path.lexists(shard):
        return Held(frozenset(), is_ours=True)
    require_ours(shard, is_plain_file)
    recorded = _read_recorded_keys(paths, partition_key)
    try:
        keys = frozenset(scan_tar(shard))
    except ShardIntegrityError as error:
        if recorded is not None:
            return Held(recorded, is_ours=True)
        msg = (
            f"{shard}: this tar has no record and cannot be read ({error}), so its content is "
            f"unknown. It is not replaced; move it away and build again"
        )
        raise ForeignFileError(msg) from error
    return Held(keys, is_ours=recorded is not None and keys <= recorded)


def _read_recorded_keys(paths: DatasetPaths, partition_key: str) -> frozenset[str] | None:
    """Return the keys of a shard's record; None if there is no readable record of this shard."""
    try:
        record = ShardRecord.read(paths.record(partition_key))
    except (FileNotFoundError, ShardIntegrityError):
        return None
    if (record.dataset, record.partition) != (paths.dataset, partition_key):
        return None
    return frozenset(sample.key for sample in record.samples)


def check_same(shard: Path, held: Held, new: ShardRecord) -> None:
    """Refuse to replace a tar that no record describes, unless the new one has the same bytes.

    Raises:
        ForeignFileError: If its bytes differ from those of the new tar.
    """
    if not held.is_ours and sha256_file(shard) != new.sha256:
        msg = (
            f"{shard}: no record of {new.dataset} describes this tar, and its bytes are not those of "
            f"{new.partition}. It is not replaced; move it away and build again"
        )
        raise ForeignFileError(msg)


def check_planned(shard: Path, held: Collection[str], planned: Collection[str]) -> None:
    """Refuse to replace a tar with samples that the current plan does not assign to it.

    Raises:
        ShardIntegrityError: The message names some of them.
    """
    strange = sorted(set(held) - set(planned))
    if strange:
        msg = (
            f"{shard}: holds {_name(strange)}, which the current plan assigns to another shard or does not have. It "
            f"is not replaced. After an older catalog was put back, `medassets reconcile` restores the "
            f"plan; else move the tar and its record away if they are not needed, and build again"
        )
        raise ShardIntegrityError(msg)


def check_kept(shard: Path, held: Collection[str], new: ShardRecord) -> None:
    """Refuse a new tar that lacks samples of the old one because their sources cannot be read.

    Raises:
        ShardIntegrityError: The message names some of them.
    """
    lost = {r.key: f"{r.reason}: {r.detail}" for r in new.rejected if r.reason in SOURCE_TROUBLE}
    only_here = sorted(set(held) & set(lost))
    if only_here:
        msg = (
            f"{shard}: holds {_name(only_here)}, which cannot be made again "
            f"({lost[only_here[0]]}). It is not replaced, because it may be the only copy; restore "
            f"the sources, or move the tar and its record away, and build again"
        )
        raise ShardIntegrityError(msg)


def _name(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more samples" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
