"""Members of shards whose record is gone or damaged, while the catalog is gone as well.

The published manifest lists them, and the tar has them without what was rejected. Otherwise such a
shard would be planned again from the samples that come next, which differ where the source grew.
"""

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from medassets.datasets.recovery.kept_plan import KeptShard
from medassets.datasets.recovery.places import FoundShard, list_places, list_stages, look_at_place
from medassets.errors import CatalogError, ShardIntegrityError
from medassets.shards.manifest import Manifest, read_published
from medassets.shards.record import is_record_of
from medassets.storage.paths import DatasetPaths, format_partition_key, split_partition_key
from medassets.tars.scan import scan_tar


def iter_unrecorded(
    paths: DatasetPaths, splits: Collection[str], known: Collection[str]
) -> Iterator[KeptShard]:
    """Yield shards of all stages that have no usable record; the caller found no catalog.

    Those that nothing but a tar or a manifest tells of are not certain: a tar may be that of another
    program, a manifest that of an earlier plan.

    Args:
        paths: Paths of the dataset.
        splits: Its splits.
        known: Partition keys whose members are known.

    Raises:
        CatalogError: If a record is damaged, and neither manifest nor tar names the members.
        LaterVersionError: If a later version wrote a record or manifest.
    """
    for stage in list_stages(paths):
        told = _Stage(stage)
        for place in list_places(stage):
            one = look_at_place(stage, place) if place not in known else None
            shard = told.keep(one) if one is not None and one.record is None else None
            if shard is not None:
                yield shard
        for split in splits:
            yield from told.list_shards(split).values()


@dataclass(frozen=True)
class _Stage:
    """One stage of shards and its manifests."""

    paths: DatasetPaths

    @cached_property
    def _listed(self) -> dict[str, dict[str, KeptShard]]:
        return {}

    def keep(self, one: FoundShard) -> KeptShard | None:
        """Return a shard at whose place is no usable record; None if nothing tells its members."""
        record = self.paths.record(one.place)
        listed = self.list_shards(split_partition_key(one.place)[0]).get(one.place)
        if listed is not None:
            return replace(listed, is_certain=True)
        is_ours = is_record_of(self.paths.dataset, one.place)(record)
        try:
            keys = tuple(scan_tar(one.shard)) if one.has_tar else ()
        except (OSError, ShardIntegrityError):
            keys = ()
        if keys:
            return KeptShard(one.place, one.shard, keys, None, {}, is_certain=is_ours)
        if not is_ours:
            return None
        msg = (
            f"{record}: the record is damaged, and neither a manifest nor the tar tells which samples "
            f"are in the shard, so that the plan cannot be restored. Restore catalog, record or tar "
            f"from a copy, or move record and tar away: its samples are then planned again"
        )
        raise CatalogError(msg)

    def list_shards(self, split: str) -> dict[str, KeptShard]:
        """Return the shards that the manifest of a split lists, by partition key."""
        if split not in self._listed:
            manifest = read_published(self.paths, split)
            kept = self._keep_entries(split, manifest) if manifest is not None else ()
            self._listed[split] = {shard.partition: shard for shard in kept}
        return self._listed[split]

    def _keep_entries(self, split: str, manifest: Manifest) -> Iterator[KeptShard]:
        source = manifest.get("source") or {}
        for entry in manifest["shards"]:
            # Those of earlier versions may lack the keys.
            if not entry.get("keys"):
                continue
            rejected = [item["key"] for item in entry.get("rejected") or ()]
            yield KeptShard(
                partition=format_partition_key(split, entry["shard_index"]),
                record=self.paths.manifest(split),
                keys=tuple(heapq.merge(entry["keys"], rejected)),
                revision=None if "revisions" in source else source.get("revision"),
                copy={},
                is_certain=False,
            )
