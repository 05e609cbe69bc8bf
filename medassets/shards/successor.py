"""A tar on disk and the one that is to take its place: nothing that only the first holds may go."""

from collections.abc import Collection
from pathlib import Path

from medassets.errors import Reason, ShardIntegrityError
from medassets.shards.record import ShardRecord
from medassets.storage.tar_scan import scan_tar

SOURCE_TROUBLE = frozenset(
    {
        Reason.MISSING_UPSTREAM,
        Reason.MISSING_SOURCE,
        Reason.UNREADABLE_SOURCE,
        Reason.CHECKSUM_MISMATCH,
        Reason.CORRUPT_GZIP,
        Reason.CORRUPT_NPZ,
        Reason.CORRUPT_TAR,
        Reason.BAD_HEADER,
    }
)
"""Rejections after which the shard on disk may be the only copy; others follow from the settings."""

_NAMED = 3


def read_held_keys(shard: Path, record: Path) -> set[str]:
    """Return the keys of the samples in a tar on disk; none where there is no tar.

    Args:
        shard: The tar.
        record: The record beside it. Without a usable one, the headers of the tar are read.

    Raises:
        ShardIntegrityError: If there is neither a record nor a readable tar: nobody knows what it is.
    """
    if not shard.exists():
        return set()
    try:
        return {sample.key for sample in ShardRecord.read(record).samples}
    except (FileNotFoundError, ShardIntegrityError):
        pass
    try:
        return {sample.key for sample in scan_tar(shard)}
    except ShardIntegrityError as error:
        msg = (
            f"{shard}: there is a tar without a record, and it cannot be read ({error}). It is not "
            f"replaced, for nobody knows what it holds; move it away and build again"
        )
        raise ShardIntegrityError(msg) from error


def check_planned(shard: Path, held: Collection[str], planned: Collection[str]) -> None:
    """Refuse to replace a tar that holds samples of another plan, or of somebody else.

    Raises:
        ShardIntegrityError: Naming some of them.
    """
    strange = sorted(set(held) - set(planned))
    if strange:
        msg = (
            f"{shard}: holds {_name(strange)}, which today's plan lays elsewhere or does not know. It "
            f"is not replaced; move the tar and its record away if they are not wanted, and build again"
        )
        raise ShardIntegrityError(msg)


def check_kept(shard: Path, held: Collection[str], new: ShardRecord) -> None:
    """Refuse to replace a tar by one that lacks samples for trouble with their sources.

    Raises:
        ShardIntegrityError: Naming some of them.
    """
    lost = {r.key: f"{r.reason}: {r.detail}" for r in new.rejected if r.reason in SOURCE_TROUBLE}
    only_here = sorted(set(held) & set(lost))
    if only_here:
        msg = (
            f"{shard}: holds {_name(only_here)}, and cannot be made again whole "
            f"({lost[only_here[0]]}). It is not replaced, for it may be the only copy; bring the "
            f"sources back, or move the tar and its record away, and build again"
        )
        raise ShardIntegrityError(msg)


def _name(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more samples" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
