"""A tar on disk and the one that is to take its place: nothing that only the first holds may go."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import Reason, ShardIntegrityError
from medassets.shards.record import ShardRecord
from medassets.tars.scan import scan_tar

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


@dataclass(frozen=True)
class Held:
    """What a tar on disk holds.

    Attributes:
        keys: Keys of its samples; none where there is no tar.
        is_ours: Whether a record says that this dataset made it.
    """

    keys: frozenset[str]
    is_ours: bool


def look_at_tar(shard: Path, record: Path) -> Held:
    """Return what the tar under a shard's name holds, by its headers, or else by its record.

    Args:
        shard: The tar.
        record: The record beside it.

    Raises:
        ShardIntegrityError: If neither can be read: nobody knows what it is.
    """
    if not shard.exists():
        return Held(frozenset(), is_ours=True)
    noted = _read_noted_keys(record)
    try:
        return Held(frozenset(sample.key for sample in scan_tar(shard)), noted is not None)
    except ShardIntegrityError as error:
        if noted is not None:
            return Held(noted, is_ours=True)
        msg = (
            f"{shard}: there is a tar without a record, and it cannot be read ({error}). It is not "
            f"replaced, for nobody knows what it holds; move it away and build again"
        )
        raise ShardIntegrityError(msg) from error


def _read_noted_keys(record: Path) -> frozenset[str] | None:
    try:
        return frozenset(sample.key for sample in ShardRecord.read(record).samples)
    except (FileNotFoundError, ShardIntegrityError):
        return None


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
