"""What the records on disk tell of the plan that their shards were made from."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.datasets.recovery.places import list_places, list_stages, look_at_place
from medassets.errors import CatalogError, ShardIntegrityError
from medassets.shards.plan_copy import PlanCopy, read_plan_copy
from medassets.shards.record import ShardRecord
from medassets.storage.paths import DatasetPaths, split_partition_key


@dataclass(frozen=True)
class KeptShard:
    """One shard as its record tells of it; without one, as the manifest or the tar does.

    Attributes:
        partition: Its partition key.
        record: Its record, or the file that tells its members in place of it.
        keys: Keys of its items, samples and rejected ones, in the order of the plan as far as known.
        revision: Revision of its source.
        copy: Its part of the plan in JSON form; empty in records of earlier versions.
        is_certain: Whether it is known to be a shard of the dataset; if not, it counts only as far
            as it agrees with the others and the source.
    """

    partition: str
    record: Path
    keys: tuple[str, ...] = field(repr=False)
    revision: str | None
    copy: Mapping[str, Any] = field(repr=False)
    is_certain: bool = True

    @property
    def split(self) -> str:
        """Its split."""
        return split_partition_key(self.partition)[0]

    def read_copy(self) -> PlanCopy | None:
        """Return its part of the plan; None if its record has none.

        Raises:
            ShardIntegrityError: If it is damaged.
        """
        return read_plan_copy(self.copy, str(self.record))


def iter_kept(
    paths: DatasetPaths, is_wanted: Callable[[str, int], bool] = lambda _partition, _count: True
) -> Iterator[KeptShard]:
    """Yield the shards of all stages of a dataset that have a usable record, wherever it is.

    Args:
        paths: Paths of the dataset.
        is_wanted: Decides by partition key and number of items which are yielded.
    """
    for stage in list_stages(paths):
        for place in list_places(stage):
            record = look_at_place(stage, place).record
            if record is None or record.dataset != paths.dataset:
                continue
            # A record that was edited still names its samples, if it names each once.
            keys = [entry.key for entry in (*record.samples, *record.rejected)]
            if len(set(keys)) == len(keys) and is_wanted(record.partition, len(keys)):
                yield _keep(record, stage.record(place))


def join_kept(shards: Iterable[KeptShard]) -> dict[str, KeptShard]:
    """Return one shard per partition key: stages share a plan, and one may be of an earlier one.

    Raises:
        CatalogError: If two records of one shard, or of two, contradict each other.
    """
    found: dict[str, KeptShard] = {}
    for shard in shards:
        other = found.setdefault(shard.partition, shard)
        is_better = (len(shard.keys), bool(shard.copy)) > (len(other.keys), bool(other.copy))
        larger, smaller = (shard, other) if is_better else (other, shard)
        if not set(smaller.keys) <= set(larger.keys):
            msg = (
                f"{smaller.record} and {larger.record} are both records of {shard.partition} and "
                f"list different samples; move the one away that is wrong, and run again"
            )
            raise CatalogError(msg)
        found[shard.partition] = larger
    _check_disjoint(found.values())
    return found


def add_unrecorded(
    found: Mapping[str, KeptShard], more: Iterable[KeptShard]
) -> dict[str, KeptShard]:
    """Return shards with others that have no record: first those that are certain.

    Args:
        found: Partition key -> shard, as the records tell.
        more: Shards without a usable record.

    Returns:
        Nothing if no shard is certain: what is there may be of another program.

    Raises:
        CatalogError: If one that is certain has samples of another.
    """
    listed, joined = list(more), dict(found)
    for one in listed:
        if one.is_certain:
            joined.setdefault(one.partition, one)
    _check_disjoint(joined.values())
    taken = {key for shard in joined.values() for key in shard.keys}
    for one in listed if joined else ():
        if one.partition not in joined and taken.isdisjoint(one.keys):
            joined[one.partition] = one
            taken.update(one.keys)
    return joined


def _check_disjoint(shards: Iterable[KeptShard]) -> None:
    owner: dict[str, KeptShard] = {}
    for shard in shards:
        for key in shard.keys:
            if (other := owner.setdefault(key, shard)) is not shard:
                msg = (
                    f"{key} is in {other.record} and in {shard.record}, and a plan gives a sample to "
                    f"one shard only; move the one away that is wrong, and run again"
                )
                raise CatalogError(msg)


def _keep(record: ShardRecord, path: Path) -> KeptShard:
    return KeptShard(
        partition=record.partition,
        record=path,
        keys=_order_keys(record),
        revision=record.source.get("revision"),
        copy=record.plan,
    )


def _order_keys(record: ShardRecord) -> tuple[str, ...]:
    """Return the keys of a record in the order of the plan; earlier versions did not state it."""
    samples = [entry.key for entry in record.samples]
    rejected = [entry.key for entry in record.rejected]
    if not rejected:
        return tuple(samples)
    try:
        copy = read_plan_copy(record.plan, record.filename)
    except ShardIntegrityError:
        copy = None
    stated = [str(row["key"]) for row in copy.rows if "key" in row] if copy is not None else []
    if sorted(stated) == sorted([*samples, *rejected]):
        return tuple(stated)
    return tuple(heapq.merge(samples, rejected))
