"""Restore a plan from the records of its shards: its file is gone, or an older one was put back.

Where a record is gone or damaged as well, the manifest or the tar tells the members.

Shards keep their members, in their order, and with them their fingerprints. A place between shards
that no record knows was planned and never made: it is filled with the samples that come next by
their keys, as the first plan did. All other samples are new to the plan, and the next refresh gives
them their shards.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from medassets.datasets.recovery.kept_plan import KeptShard, add_unrecorded, iter_kept, join_kept
from medassets.datasets.recovery.unrecorded import iter_unrecorded
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, LostCatalogError
from medassets.shards.catalog.files import write_catalog
from medassets.shards.catalog.plan import PLAN_KEY, CatalogPlan, plan_of
from medassets.shards.catalog.planning import arrange_catalog
from medassets.shards.catalog.previous import PreviousCatalog, name_dataset, open_previous
from medassets.shards.catalog.settings import read_settings, store_settings
from medassets.shards.plan_copy import PlanCopy
from medassets.storage.arrow import kernels
from medassets.storage.ownership import name_first
from medassets.storage.paths import format_partition_key, split_partition_key
from medassets.storage.scratch import open_scratch

ReadRows = Callable[[str | None], pa.Table]
"""Returns the rows of the source at a revision; None means the current one."""


@dataclass(frozen=True)
class PlannedBefore:
    """The plan that a refresh grows.

    Attributes:
        catalog: The catalog, restored where that was needed; None before the first plan.
        version: Version of the catalog on disk; None if there is none.
        restored: Partition keys whose members were taken from records, in order.
    """

    catalog: PreviousCatalog | None
    version: str | None = None
    restored: tuple[str, ...] = ()


@contextmanager
def open_planned(workspace: Workspace, read_rows: ReadRows) -> Iterator[PlannedBefore]:
    """Open the catalog that a plan grows from, restored from records where it lacks what they have.

    Nothing is written to the dataset; the restored catalog exists for the length of the block.

    Args:
        workspace: The dataset.
        read_rows: Reads the source, where the records do not keep the rows.

    Raises:
        CatalogError: If the catalog is not readable, or the records contradict each other, or a row
            is neither in a record nor in the source.
    """
    name, path = workspace.kind.spec.name, workspace.paths.catalog
    with open_previous(path, name) as stored:
        plan = plan_of(stored.read_columns("key")) if stored is not None else None
        lost = find_lost_shards(workspace, plan)
        version = plan.version if plan is not None else None
        if not lost:
            yield PlannedBefore(stored, version)
            return
        restoration = _Restoration(workspace, lost, stored, plan, read_rows)
        table = restoration.make()
    with open_scratch() as folder:
        write_catalog(table, folder / path.name)
        with open_previous(folder / path.name, name) as restored:
            yield PlannedBefore(restored, version, tuple(restoration.recorded))


def find_lost_shards(workspace: Workspace, plan: CatalogPlan | None) -> dict[str, KeptShard]:
    """Return the shards whose records have items that the plan does not give them.

    Args:
        workspace: The dataset.
        plan: Its plan; None if the catalog is gone.

    Raises:
        CatalogError: If the records contradict each other, or nothing tells the members of a shard.
    """
    paths, splits = workspace.paths, workspace.kind.spec.splits
    known = plan.partitions if plan is not None else {}
    found = join_kept(iter_kept(paths, lambda key, count: count > known.get(key, 0)))
    if plan is not None:
        return found
    return add_unrecorded(found, iter_unrecorded(paths, splits, found))


def require_newest_plan(workspace: Workspace) -> None:
    """Refuse a catalog that is older than the shards on disk, where no refresh restores the plan.

    Raises:
        LostCatalogError: If a record has items that the plan does not give its shard.
        CatalogError: If there is no catalog yet.
    """
    lost = find_lost_shards(workspace, workspace.read_plan())
    if lost:
        msg = (
            f"{workspace.paths.catalog}: the catalog is older than the shards on disk, and does not "
            f"know all samples of {name_first(lost)}; `{workspace.paths.reconcile_command}` "
            f"restores the plan from their records"
        )
        raise LostCatalogError(msg)


def explain_loss(workspace: Workspace, restored: Sequence[str]) -> str:
    """Return one line on a plan that is restored from records.

    Args:
        workspace: The dataset.
        restored: Partition keys whose members are taken from records.
    """
    name = workspace.kind.spec.name
    count = f"{len(restored)} shard" + "s" * (len(restored) != 1)
    return (
        f"{name}: the catalog is gone, or older than the shards on disk: the members of {count} are "
        f"restored from their records ({name_first(restored)})"
    )


@dataclass(frozen=True)
class _Restoration:
    """One plan that is restored.

    Attributes:
        workspace: The dataset.
        lost: Shards whose members are taken from their records.
        stored: The older catalog, if there is one.
        plan: Its plan.
        read_rows: Reads the source.
    """

    workspace: Workspace
    lost: Mapping[str, KeptShard]
    stored: PreviousCatalog | None
    plan: CatalogPlan | None
    read_rows: ReadRows = field(repr=False)

    def make(self) -> pa.Table:
        """Return the catalog: planned rows only; the refresh adds the others."""
        pieces = dict(self.recorded)
        pieces |= self._read_stored()
        pieces |= self._fill_holes(pieces)
        order = sorted(pieces, key=self._place)
        table = pa.concat_tables([pieces[key] for key in order], promote_options="permissive")
        counts = {key: pieces[key].num_rows for key in order}
        metadata = dict(self.stored.schema.metadata or {}) if self.stored is not None else {}
        metadata.pop(PLAN_KEY, None)
        table = store_settings(table.replace_schema_metadata(metadata), self._settings)
        table = name_dataset(table, self.workspace.kind.spec.name)
        return arrange_catalog(table, counts, size=self._size)

    @cached_property
    def recorded(self) -> dict[str, pa.Table]:
        """Rows of the shards whose members are restored, by partition key."""
        read = {key: self._read_shard(shard) for key, shard in self.lost.items()}
        return {key: rows for key, rows in read.items() if rows is not None}

    def _place(self, partition: str) -> tuple[int, str, int]:
        """Return where a shard is in the plan: splits in the order of the declaration."""
        split, index = split_partition_key(partition)
        splits = self.workspace.kind.spec.splits
        return splits.index(split) if split in splits else len(splits), split, index

    @cached_property
    def _copies(self) -> dict[str, PlanCopy]:
        copies = {key: shard.read_copy() for key, shard in self.lost.items()}
        return {key: copy for key, copy in copies.items() if copy is not None}

    @cached_property
    def _settings(self) -> dict[str, object]:
        kept: dict[str, object] = {}
        for copy in self._copies.values():
            kept |= copy.settings
        return {**kept, **read_settings(self.stored.schema if self.stored is not None else None)}

    @property
    def _size(self) -> int:
        """Samples of a full shard."""
        if self.plan is not None:
            return self.plan.samples_per_shard
        if self._copies:
            return max(copy.samples_per_shard for copy in self._copies.values())
        counts = [len(shard.keys) for shard in self.lost.values()]
        splits = [shard.split for shard in self.lost.values()]
        # Only the last shard of a split is short.
        is_known = len(splits) > len(set(splits))
        return max([*counts, 0 if is_known else self.workspace.kind.spec.samples_per_shard])

    def _read_shard(self, shard: KeptShard) -> pa.Table | None:
        """Return the rows of a shard; None for one that is not certain and does not fit the source."""
        copy = self._copies.get(shard.partition)
        if copy is not None:
            return pa.Table.from_pylist([dict(row) for row in copy.rows])
        rows = self._rows_at(shard.revision)
        numbers = kernels.index_in(pa.array(shard.keys), value_set=_keys_of(rows))
        missing = [k for k, n in zip(shard.keys, numbers.to_pylist(), strict=True) if n is None]
        found = rows.take(numbers.drop_null())
        is_of_split = not set(found["split"].to_pylist()) - {shard.split}
        if not shard.is_certain and (missing or not is_of_split):
            return None
        if missing:
            msg = (
                f"{shard.record}: the source no longer has {name_first(missing)}, and this file does "
                f"not keep their rows as records do today, so that the plan cannot be restored. "
                f"Restore {self.workspace.paths.catalog} from a copy, or move shard and record away"
            )
            raise CatalogError(msg)
        if not is_of_split:
            msg = (
                f"{shard.record}: its samples are of split {shard.split}, and today's settings give "
                f"them another one. Declare, or give to the build, the settings of the lost plan"
            )
            raise CatalogError(msg)
        return _as_planned(found)

    def _read_stored(self) -> dict[str, pa.Table]:
        """Return the rows of the other shards of the older catalog, without samples of `lost`."""
        if self.stored is None or self.plan is None:
            return {}
        taken = pa.array([key for shard in self.lost.values() for key in shard.keys], pa.string())
        pieces: dict[str, pa.Table] = {}
        for key, start in self.plan.starts.items():
            if key in self.lost:
                continue
            rows = self.stored.fetch(np.arange(start, start + self.plan.partitions[key]))
            rows = rows.filter(kernels.invert(kernels.is_in(rows["key"], value_set=taken)))
            if rows.num_rows:
                pieces[key] = rows.drop_columns(["partition", "state"])
        return pieces

    def _fill_holes(self, pieces: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Return rows for shards that were planned between others and never made."""
        holes = list(_find_holes(pieces))
        if not holes:
            return {}
        rows = self._rows_at(None)
        taken = pa.concat_arrays([_keys_of(piece) for piece in pieces.values()])
        is_free = kernels.and_(
            kernels.is_null(rows["excluded"]),
            kernels.invert(kernels.is_in(rows["key"], value_set=taken)),
        )
        free = rows.filter(is_free).sort_by("key")
        filled: dict[str, pa.Table] = {}
        for split, indices in holes:
            of_split, start = free.filter(kernels.equal(free["split"], split)), 0
            for index in indices:
                part = of_split.slice(start, self._size)
                start += part.num_rows
                if part.num_rows == self._size:
                    filled[format_partition_key(split, index)] = part
        return filled

    def _rows_at(self, revision: str | None) -> pa.Table:
        if revision not in self._read:
            self._read[revision] = self.read_rows(revision)
        return self._read[revision]

    @cached_property
    def _read(self) -> dict[str | None, pa.Table]:
        return {}


def _find_holes(partitions: Mapping[str, pa.Table]) -> Iterator[tuple[str, list[int]]]:
    """Yield the indices that are missing before the last shard of each split."""
    known: dict[str, set[int]] = {}
    for key in partitions:
        split, index = split_partition_key(key)
        known.setdefault(split, set()).add(index)
    for split, indices in known.items():
        if missing := sorted(set(range(max(indices))) - indices):
            yield split, missing


def _keys_of(rows: pa.Table) -> pa.Array:
    return rows["key"].cast(pa.string()).combine_chunks()


def _as_planned(rows: pa.Table) -> pa.Table:
    """Clear the reason for exclusion: what is in a shard was planned, whatever today's rules say."""
    excluded = kernels.is_valid(rows["excluded"])
    for name in ("excluded", "detail"):
        cleared = kernels.if_else(excluded, pa.scalar(None, rows[name].type), rows[name])
        rows = rows.set_column(rows.column_names.index(name), name, cleared)
    return rows
