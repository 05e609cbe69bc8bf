"""Publish tar and record of a shard together, and finish what a kill interrupted."""

from pathlib import Path

from medassets.errors import ShardIntegrityError
from medassets.shards.files import pending_record, previous_record
from medassets.shards.record import ShardRecord, is_record_of
from medassets.shards.replacement import Held
from medassets.storage.atomic import fsync_folder, publish_bytes, publish_file
from medassets.storage.checksums import sha256_file
from medassets.storage.ownership import is_plain_file, is_private, require_ours
from medassets.storage.paths import DatasetPaths


def publish_shard(paths: DatasetPaths, tar: Path, record: ShardRecord, held: Held) -> None:
    """Replace shard and record: readers never see a new tar with an old record, or the reverse.

    A shard that is made again often has its predecessor's size, so a record may never be beside a
    tar that it does not describe. The old record keeps a private name until the new tar is there, as
    evidence that the old tar is ours; the new record waits under another one.

    Args:
        paths: Paths of the dataset.
        tar: The new tar, under a private name.
        record: Its record.
        held: Samples of the tar that is replaced; a foreign one with the same bytes stays.
    """
    shard, final = paths.shard(record.partition), paths.record(record.partition)
    is_record = is_record_of(record.dataset, record.partition)
    require_ours(final, is_record)
    publish_bytes(pending_record(shard), record.encode(), is_ours=is_private)
    if final.exists():
        final.replace(previous_record(shard))
    if held.is_ours:
        publish_file(tar, shard, is_ours=is_plain_file)
    publish_file(pending_record(shard), final, is_ours=is_record)


def finish_publication(paths: DatasetPaths, partition_key: str) -> None:
    """Finish a publication that a kill interrupted, or undo it; the caller holds the shard's lock."""
    shard, final = paths.shard(partition_key), paths.record(partition_key)
    pending, previous = pending_record(shard), previous_record(shard)
    if not pending.exists() and not previous.exists():
        return
    if pending.exists():
        if _describes(pending, shard):
            publish_file(pending, final, is_ours=is_record_of(paths.dataset, partition_key))
        else:
            pending.unlink()
    if previous.exists() and not final.exists() and _describes(previous, shard):
        previous.replace(final)
    fsync_folder(shard.parent)


def _describes(record: Path, shard: Path) -> bool:
    try:
        return shard.exists() and sha256_file(shard) == ShardRecord.read(record).sha256
    except ShardIntegrityError:
        return False
