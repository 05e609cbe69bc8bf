"""The catalog: one row per source item, and the plan that gives each sample its shard.

Columns every kind of dataset has: `key, split, path, revision, excluded, detail` from the source,
`partition` and `state` from the plan. A kind adds columns of its own; they are content.

One row group is one shard, in the order of the plan, so that a partition's run reads its own rows
only; the plan itself stands in the file's footer.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medassets.errors import CatalogError
from medassets.samples import SourceItem
from medassets.shards.fingerprint import rows_fingerprint
from medassets.storage.atomic import publish_file, sweep_private
from medassets.storage.checksums import canonical_json, fingerprint
from medassets.storage.paths import check_member_path, format_partition_key, split_partition_key

STATE_PLANNED = "planned"
STATE_HELD = "held"
STATE_EXCLUDED = "excluded"

REQUIRED_COLUMNS = ("key", "split", "path", "revision", "excluded", "detail")

_PLAN_KEY = b"medassets.plan"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")


def plan_catalog(
    rows: pa.Table,
    previous: pa.Table | None,
    *,
    samples_per_shard: int | None = None,
    limit: int | None = None,
    limit_splits: Collection[str] = (),
    pinned: bool = True,
) -> pa.Table:
    """Lay rows into shards; a plan only grows.

    Full shards keep their samples for ever, and with a pinned source their rows word for word. The
    last short shard of a split is planned anew when new samples come; they go behind the others.

    Args:
        rows: What the source holds now, with `REQUIRED_COLUMNS` and the kind's own.
        previous: The catalog this one grows from.
        samples_per_shard: Samples of a full shard; None keeps the previous plan's number.
        limit: Plan at most so many samples in all splits together; the rest is held.
        limit_splits: Count the limit in these splits only and hold every new sample of the
            others; empty means all.
        pinned: Whether a revision names the same bytes for ever. If not, planned rows take the
            content of today, for the old bytes are gone.

    Returns:
        The catalog: planned rows in the order of the shards, then held, then excluded ones.

    Raises:
        CatalogError: If columns are missing, a key is unusable or stands twice, or the previous
            plan was made with another shard size.
    """
    _check_rows(rows)
    before = plan_of(previous) if previous is not None else None
    size = _check_size(samples_per_shard, before)
    growth = _grow(rows, previous, size=size, limit=limit, limit_splits=limit_splits)
    table = _assemble(rows, previous, growth, pinned=pinned)
    return _with_plan(table, size)


def plan_of(catalog: pa.Table) -> "CatalogPlan":
    """Return the plan of a catalog; it stands in the table's metadata."""
    return _parse_plan(catalog.schema.metadata or {}, "catalog")


def read_plan(path: Path) -> "CatalogPlan":
    """Return the plan of a catalog on disk, reading the file's footer only.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with _reading(path):
        metadata = pq.read_schema(path).metadata or {}
    return _parse_plan(metadata, str(path))


def read_catalog(path: Path) -> pa.Table:
    """Return the whole catalog.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with _reading(path):
        return pq.read_table(path)


def read_partition(path: Path, partition_key: str) -> list[SourceItem]:
    """Return the samples of one shard in order, reading their own row group only.

    Raises:
        CatalogError: If the plan does not know the partition, or the file is not a catalog.
    """
    split_partition_key(partition_key)
    with _reading(path), pq.ParquetFile(path) as file:
        plan = _parse_plan(file.schema_arrow.metadata or {}, str(path))
        group = plan.row_group(partition_key)
        if group is None:
            msg = (
                f"{path}: the plan has no partition {partition_key!r}; refresh the catalog, or "
                f"choose one of its {len(plan.partitions)} partitions"
            )
            raise CatalogError(msg)
        return [_as_item(row) for row in file.read_row_group(group).to_pylist()]


def write_catalog(catalog: pa.Table, path: Path) -> None:
    """Write a catalog, one row group per shard, and publish it atomically.

    The caller holds the catalog's lock; what a killed writer left is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_private(path)
    private = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Every run reads the footer: smallest and largest texts of every shard would double it.
        with pq.ParquetWriter(
            private, catalog.schema, compression="zstd", write_statistics=False
        ) as writer:
            start = 0
            for count in plan_of(catalog).partitions.values():
                writer.write_table(catalog.slice(start, count))
                start += count
            writer.write_table(catalog.slice(start))
        publish_file(private, path)
    finally:
        private.unlink(missing_ok=True)


@dataclass(frozen=True)
class CatalogPlan:
    """What a catalog planned.

    Attributes:
        samples_per_shard: Samples of a full shard.
        partitions: Partition key -> number of samples, splits in the order of the source, shards
            by number.
        digests: Partition key -> hash of its rows' content.
        num_rows: All rows.
        num_held: Rows that wait for a refresh without limit.
        excluded: Split -> reason -> number of rows.
        version: Digest of all rows; the same as before when nothing changed.
    """

    samples_per_shard: int
    partitions: dict[str, int]
    digests: dict[str, str] = field(repr=False)
    num_rows: int
    num_held: int
    excluded: dict[str, dict[str, int]]
    version: str

    def row_group(self, partition_key: str) -> int | None:
        """Return the row group that holds a partition, None if the plan does not know it."""
        keys = list(self.partitions)
        return keys.index(partition_key) if partition_key in self.partitions else None

    def excluded_by_reason(self) -> dict[str, int]:
        """Return the number of excluded rows of all splits, by reason."""
        total: dict[str, int] = {}
        for reasons in self.excluded.values():
            for reason, count in reasons.items():
                total[reason] = total.get(reason, 0) + count
        return dict(sorted(total.items()))

    def splits(self) -> dict[str, list[str]]:
        """Return the partition keys of each split, in order."""
        found: dict[str, list[str]] = {}
        for key in self.partitions:
            found.setdefault(split_partition_key(key)[0], []).append(key)
        return found


@dataclass(frozen=True)
class _Growth:
    """Which key goes where, and from which table its row is taken.

    Attributes:
        partitions: Partition key -> sample keys, sorted.
        touched: Partitions that are new or planned anew.
        held: Keys beyond the limit.
    """

    partitions: dict[str, list[str]]
    touched: set[str]
    held: set[str]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        msg = (
            f"{path}: not a readable catalog ({error}); restore it from a copy. Without one, "
            f"remove it and refresh: the plan is made anew, and shards may get other samples"
        )
        raise CatalogError(msg) from error


def _check_rows(rows: pa.Table) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in rows.column_names]
    if missing:
        msg = f"catalog rows: columns {missing} are missing; a kind's read_rows must give them"
        raise CatalogError(msg)
    seen: set[str] = set()
    columns = (rows[name].to_pylist() for name in ("key", "path", "excluded"))
    for key, path, excluded in zip(*columns, strict=True):
        if key in seen:
            msg = f"catalog rows: key {key!r} stands twice; keys must differ"
            raise CatalogError(msg)
        seen.add(key)
        if excluded is not None:
            continue
        if not _KEY.fullmatch(key or ""):
            msg = f"catalog rows: key {key!r} is not 1 to 90 of A-Z a-z 0-9 _ -"
            raise CatalogError(msg)
        check_member_path(path or "")


def _check_size(asked: int | None, before: CatalogPlan | None) -> int:
    if before is None:
        if asked is None:
            msg = "samples_per_shard: the first plan needs it"
            raise CatalogError(msg)
        return asked
    if asked is not None and asked != before.samples_per_shard:
        msg = (
            f"samples_per_shard: the plan was made with {before.samples_per_shard}, got {asked}. A "
            f"plan only grows; build under another dataset name for another shard size"
        )
        raise CatalogError(msg)
    return before.samples_per_shard


def _grow(
    rows: pa.Table,
    previous: pa.Table | None,
    *,
    size: int,
    limit: int | None,
    limit_splits: Collection[str],
) -> _Growth:
    partitions = _planned_keys(previous)
    known = {key for keys in partitions.values() for key in keys}
    counted = sum(
        len(keys)
        for partition, keys in partitions.items()
        if not limit_splits or split_partition_key(partition)[0] in limit_splits
    )
    room = None if limit is None else max(limit - counted, 0)
    growth = _Growth(partitions={}, touched=set(), held=set())
    for split, keys in _new_keys(rows, known).items():
        taken = keys
        if room is not None:
            taken = keys[:room] if not limit_splits or split in limit_splits else []
            room -= len(taken)
        growth.held.update(keys[len(taken) :])
        _grow_split(growth, split, _of_split(partitions, split), taken, size)
    for split in _splits_in_order(partitions):
        if not _of_split(growth.partitions, split):
            growth.partitions.update(_of_split(partitions, split))
    return growth


def _grow_split(
    growth: _Growth, split: str, old: dict[str, list[str]], new: list[str], size: int
) -> None:
    kept = dict(old)
    tail: list[str] = []
    if new and old and len(old[last := next(reversed(old))]) < size:
        tail = kept.pop(last)
    growth.partitions.update(kept)
    # New samples go behind those that already have a place, whatever their names.
    keys = tail + new
    for i in range(0, len(keys), size):
        key = format_partition_key(split, len(kept) + i // size)
        growth.partitions[key] = keys[i : i + size]
        growth.touched.add(key)


def _planned_keys(previous: pa.Table | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if previous is not None:
        keys, partitions = previous["key"].to_pylist(), previous["partition"].to_pylist()
        for key, partition in zip(keys, partitions, strict=True):
            if partition is not None:
                found.setdefault(partition, []).append(key)
    return found


def _new_keys(rows: pa.Table, known: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    columns = (rows[name].to_pylist() for name in ("split", "key", "excluded"))
    for split, key, excluded in zip(*columns, strict=True):
        keys = found.setdefault(split, [])
        if excluded is None and key not in known:
            keys.append(key)
    return {split: sorted(keys) for split, keys in found.items()}


def _of_split(partitions: Mapping[str, list[str]], split: str) -> dict[str, list[str]]:
    return {k: v for k, v in partitions.items() if split_partition_key(k)[0] == split}


def _splits_in_order(partitions: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(split_partition_key(key)[0] for key in partitions))


def _assemble(
    rows: pa.Table, previous: pa.Table | None, growth: _Growth, *, pinned: bool
) -> pa.Table:
    """Take each row from today's rows or from the previous catalog, in the order of the plan."""
    today = {k: i for i, k in enumerate(rows["key"].to_pylist())}
    excluded = rows["excluded"].to_pylist()
    before: dict[str, int] = {}
    tables = [_with_places(rows)]
    if previous is not None:
        before = {k: i + rows.num_rows for i, k in enumerate(previous["key"].to_pylist())}
        tables.append(previous.replace_schema_metadata(None))
    taken: list[int] = []
    places: list[str | None] = []
    for partition, keys in growth.partitions.items():
        for key in keys:
            # A row that vanished, or that a later table excludes, keeps its place and its words.
            usable = key in today and excluded[today[key]] is None
            fresh = usable and (partition in growth.touched or not pinned)
            taken.append(today[key] if fresh or key not in before else before[key])
            places.append(partition)
    planned = set().union(*growth.partitions.values()) if growth.partitions else set()
    rest = [(excluded[i] is not None, i) for k, i in today.items() if k not in planned]
    taken += [i for _, i in sorted(rest)]
    places += [None] * len(rest)
    whole = pa.concat_tables(tables, promote_options="default").take(pa.array(taken, pa.int64()))
    return _set_places(whole, places, rows.schema.metadata)


def _with_places(rows: pa.Table) -> pa.Table:
    nothing = pa.nulls(rows.num_rows, pa.string())
    bare = rows.replace_schema_metadata(None)
    return bare.append_column("partition", nothing).append_column("state", nothing)


def _set_places(
    table: pa.Table, places: list[str | None], metadata: Mapping[bytes, bytes] | None
) -> pa.Table:
    excluded = table["excluded"].to_pylist()
    states = [
        STATE_PLANNED if place else STATE_HELD if reason is None else STATE_EXCLUDED
        for place, reason in zip(places, excluded, strict=True)
    ]
    for name, values in (("partition", places), ("state", states)):
        column = table.schema.get_field_index(name)
        table = table.set_column(column, name, pa.array(values, pa.string()))
    return table.replace_schema_metadata(dict(metadata or {})).combine_chunks()


def _with_plan(table: pa.Table, size: int) -> pa.Table:
    plan = _summarize(table, size)
    metadata = {**(table.schema.metadata or {}), _PLAN_KEY: canonical_json(_plan_document(plan))}
    return table.replace_schema_metadata(metadata)


def _summarize(table: pa.Table, size: int) -> CatalogPlan:
    partitions: dict[str, int] = {}
    digests: dict[str, str] = {}
    excluded: dict[str, dict[str, int]] = {}
    held, rest = 0, []
    for place, rows in _iter_groups(table):
        if place is not None:
            partitions[place] = len(rows)
            digests[place] = _digest(place, rows)
            continue
        for row in rows:
            rest.append([row["key"], row["split"], row["excluded"]])
            held += row["excluded"] is None
            if row["excluded"] is not None:
                reasons = excluded.setdefault(row["split"], {})
                reasons[row["excluded"]] = reasons.get(row["excluded"], 0) + 1
    version = fingerprint({"size": size, "digests": digests, "rest": rest})
    return CatalogPlan(
        samples_per_shard=size,
        partitions=partitions,
        digests=digests,
        num_rows=table.num_rows,
        num_held=held,
        excluded={split: dict(sorted(reasons.items())) for split, reasons in excluded.items()},
        version=version,
    )


def _digest(partition: str, rows: list[dict[str, Any]]) -> str:
    try:
        return rows_fingerprint([_as_item(row) for row in rows])
    except (ValueError, TypeError) as error:
        first, last = rows[0]["key"], rows[-1]["key"]
        msg = (
            f"catalog rows of {partition} ({first} to {last}): a value is no plain JSON ({error}); "
            f"a kind's read_rows must give null for what is not known"
        )
        raise CatalogError(msg) from error


def _iter_groups(table: pa.Table) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
    places = table["partition"].to_pylist()
    start = 0
    for i in range(1, len(places) + 1):
        if i == len(places) or places[i] != places[start]:
            yield places[start], table.slice(start, i - start).to_pylist()
            start = i


def _plan_document(plan: CatalogPlan) -> dict[str, Any]:
    # Lists, for canonical JSON would sort the keys of an object, and the order is the plan.
    shards = [[key, count, plan.digests[key]] for key, count in plan.partitions.items()]
    return {
        "samples_per_shard": plan.samples_per_shard,
        "shards": shards,
        "num_rows": plan.num_rows,
        "num_held": plan.num_held,
        "excluded": plan.excluded,
        "version": plan.version,
    }


def _parse_plan(metadata: Mapping[bytes, bytes], where: str) -> CatalogPlan:
    if _PLAN_KEY not in metadata:
        msg = f"{where}: holds no plan; it was not written by medassets. Refresh the catalog"
        raise CatalogError(msg)
    document = json.loads(metadata[_PLAN_KEY])
    shards = document.pop("shards")
    return CatalogPlan(
        partitions={key: count for key, count, _ in shards},
        digests={key: digest for key, _, digest in shards},
        **document,
    )


def _as_item(row: dict[str, Any]) -> SourceItem:
    return SourceItem(
        key=row["key"], split=row["split"], path=row["path"], revision=row["revision"], row=row
    )
