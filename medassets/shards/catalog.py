"""The catalog: one row per source item, and the plan that gives each sample its shard.

Columns every kind of dataset has: `key, split, path, revision, excluded, detail` from the source,
`partition` and `state` from the plan. A kind adds columns of its own; they are content.

One row group is one shard, in the order of the plan, so that a partition's run reads its own rows
only; the plan itself is in the file's footer.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from medassets.errors import CatalogError
from medassets.samples import SourceItem
from medassets.shards.catalog_reader import dataset_of, explain_unreadable, require_catalog_of
from medassets.shards.fingerprint import NOTE_COLUMNS, digest_rows
from medassets.shards.plan import (
    FetchRows,
    Follow,
    Growth,
    HasFile,
    Numbers,
    grow_plan,
    take_rows,
)
from medassets.storage.arrow import kernels
from medassets.storage.atomic import publishing
from medassets.storage.checksums import canonical_json
from medassets.storage.ownership import IsOurs, is_plain_file
from medassets.storage.paths import check_member_path, split_partition_key

STATE_PLANNED = "planned"
STATE_HELD = "held"
STATE_EXCLUDED = "excluded"

REQUIRED_COLUMNS = ("key", "split", "path", "revision", "excluded", "detail")

_PLAN_KEY = b"medassets.plan"
_KEY_PATTERN = r"\A[A-Za-z0-9_-]{1,90}\z"
_PLACE_COLUMNS = ("partition", "state")
_ROWS_AT_A_TIME = 65_536


def plan_catalog(
    rows: pa.Table,
    previous: pa.Table | None,
    *,
    samples_per_shard: int | None = None,
    limit: int | None = None,
    limit_splits: Collection[str] = (),
    pinned: bool = True,
    fetch: FetchRows | None = None,
    has_file: Callable[[str], bool] | None = None,
    follow: Follow | None = None,
    complete: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """Assign rows to shards; a plan only grows.

    Full shards keep their samples permanently and, with a pinned source, their rows unchanged. The
    last short shard of a split is planned again when there are new samples, which follow the
    others. With `has_file`, a shard with a missing file keeps its samples and all their rows
    unchanged: it may be the only copy, and could not be rebuilt.

    Args:
        rows: The current rows of the source, with `REQUIRED_COLUMNS` and those of the kind.
        previous: The catalog this one grows from.
        samples_per_shard: Samples of a full shard; None keeps the previous plan's number.
        limit: Most samples to plan in all splits together; the rest is held.
        limit_splits: Apply the limit to these splits only and hold every new sample of the others;
            empty means all.
        pinned: Whether the bytes of a revision never change. If they may, planned rows take their
            current content, because the old bytes no longer exist.
        fetch: Returns whole rows of the previous catalog, if `previous` has only its keys; see
            `medassets.shards.catalog_reader`.
        has_file: Returns whether the file of a row exists, by its path; given if sources may be
            deleted after their shards were built.
        follow: What rows planned before do when a pinned source has moved.
        complete: Fills note columns of the table, whose planned rows come first.

    Returns:
        The catalog: planned rows in the order of the shards, then held, then excluded ones.

    Raises:
        CatalogError: If columns are missing, a key is invalid or repeated, or the previous
            plan was made with another shard size.
    """
    _check_rows(rows)
    before = plan_of(previous) if previous is not None else None
    size = _check_size(samples_per_shard, before)
    growth = grow_plan(
        rows,
        previous,
        before.partitions if before else {},
        size=size,
        limit=limit,
        limit_splits=limit_splits,
        pinned=pinned,
        has_file=_asker(fetch or _taker(previous), has_file) if has_file is not None else None,
        follow=follow,
    )
    table = _assemble(rows, fetch or _taker(previous), growth)
    if not pinned:
        table = _forget_notes(table, growth.planned >= rows.num_rows)
    if complete is not None:
        table = complete(table)
    return _with_plan(table, growth, size)


def plan_of(catalog: pa.Table) -> "CatalogPlan":
    """Return the plan of a catalog from the table's metadata."""
    return _parse_plan(catalog.schema.metadata or {}, "catalog")


def read_plan(path: Path, dataset: str | None = None) -> "CatalogPlan":
    """Return the plan of a catalog on disk, reading the file's footer only.

    Raises:
        CatalogError: If the file is not a catalog, or that of another dataset.
    """
    with explain_unreadable(path):
        schema = pq.read_schema(path)
    if dataset is not None:
        require_catalog_of(dataset, schema, path)
    return _parse_plan(schema.metadata or {}, str(path))


def is_catalog_of(dataset: str | None) -> IsOurs:
    """Return the evidence that a file is the catalog of a dataset.

    Args:
        dataset: Its name; None accepts the catalog of any dataset.
    """

    def is_ours(path: Path) -> bool:
        try:
            return is_plain_file(path) and bool(read_plan(path, dataset))
        except CatalogError:
            return False

    return is_ours


def read_catalog(path: Path) -> pa.Table:
    """Return the whole catalog.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with explain_unreadable(path):
        return pq.read_table(path)


def read_partition(path: Path, partition_key: str) -> list[SourceItem]:
    """Return the samples of one shard in order, reading their own row group only.

    Raises:
        CatalogError: If the plan has no such partition, or the file is not a catalog.
    """
    split_partition_key(partition_key)
    with explain_unreadable(path), pq.ParquetFile(path) as file:
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

    The caller holds the catalog's lock; leftovers of killed writers are removed.

    Raises:
        ForeignFileError: If a file of this name is not a catalog, or that of another dataset.
        DiskSpaceError: If the disk is full; the old catalog stays.
    """
    # Every run reads the footer; statistics of the texts of every shard would double its size.
    with (
        publishing(path, is_ours=is_catalog_of(dataset_of(catalog.schema))) as private,
        pq.ParquetWriter(
            private, catalog.schema, compression="zstd", write_statistics=False
        ) as writer,
    ):
        start = 0
        for count in plan_of(catalog).partitions.values():
            writer.write_table(catalog.slice(start, count))
            start += count
        writer.write_table(catalog.slice(start))


@dataclass(frozen=True)
class CatalogPlan:
    """The plan in a catalog.

    Attributes:
        samples_per_shard: Samples of a full shard.
        partitions: Partition key -> number of samples, splits in the order of the source, shards
            by number.
        digests: Partition key -> hash of its rows' content.
        num_rows: All rows.
        num_held: Rows that a refresh without limit would plan.
        excluded: Split -> reason -> number of rows.
        version: Digest of all rows; unchanged if no row changed.
        notes: Digest of everything else that people read: positions of rows in tables, reasons
            for exclusion, and figures of the source's tables.
    """

    samples_per_shard: int
    partitions: dict[str, int]
    digests: dict[str, str] = field(repr=False)
    num_rows: int
    num_held: int
    excluded: dict[str, dict[str, int]]
    version: str
    notes: str = ""

    def row_group(self, partition_key: str) -> int | None:
        """Return the row group that holds a partition, None if the plan has no such partition."""
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


def _check_rows(rows: pa.Table) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in rows.column_names]
    if missing:
        msg = f"catalog rows: columns {missing} are missing; a kind's read_rows must give them"
        raise CatalogError(msg)
    _check_keys_differ(rows["key"])
    usable = rows.select(["key", "split", "path"]).filter(kernels.is_null(rows["excluded"]))
    good = kernels.match_substring_regex(usable["key"], _KEY_PATTERN)
    wrong = kernels.invert(kernels.fill_null(good, False))
    if (bad := usable["key"].filter(wrong)).length():
        msg = f"catalog rows: key {bad[0].as_py()!r} is not 1 to 90 of A-Z a-z 0-9 _ -"
        raise CatalogError(msg)
    if usable["split"].null_count:
        msg = "catalog rows: a row that is not excluded has no split"
        raise CatalogError(msg)
    for path in kernels.unique(usable["path"]).to_pylist():
        check_member_path(path or "")


def _check_keys_differ(keys: pa.ChunkedArray) -> None:
    if kernels.count_distinct(keys, mode="all").as_py() == len(keys):
        return
    seen: set[str] = set()
    for key in keys.to_pylist():
        if key in seen:
            msg = f"catalog rows: key {key!r} is repeated; keys must differ"
            raise CatalogError(msg)
        seen.add(key)


def _check_size(asked: int | None, before: CatalogPlan | None) -> int:
    if before is None:
        if asked is None:
            msg = "samples_per_shard: required for the first plan"
            raise CatalogError(msg)
        return asked
    if asked is not None and asked != before.samples_per_shard:
        msg = (
            f"samples_per_shard: the plan was made with {before.samples_per_shard}, got {asked}. A "
            f"plan only grows; build under another dataset name for another shard size"
        )
        raise CatalogError(msg)
    return before.samples_per_shard


def _taker(previous: pa.Table | None) -> FetchRows:
    def fetch(numbers: Numbers) -> pa.Table:
        return previous.take(pa.array(numbers)) if previous is not None else pa.table({})

    return fetch


def _asker(fetch: FetchRows, has_file: Callable[[str], bool]) -> HasFile:
    def ask(numbers: Numbers) -> npt.NDArray[np.bool_]:
        if not len(numbers):
            return np.zeros(0, bool)
        return np.array([has_file(path) for path in fetch(numbers)["path"].to_pylist()], bool)

    return ask


def _without_places(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if name not in _PLACE_COLUMNS])


def _assemble(rows: pa.Table, fetch: FetchRows, growth: Growth) -> pa.Table:
    """Take each row from the current rows or the previous catalog, in the order of the plan."""
    numbers = np.concatenate([growth.planned, growth.held, growth.excluded])
    table = take_rows(rows, lambda wanted: _without_places(fetch(wanted)), numbers)
    counts = list(growth.partitions.values())
    places = np.repeat(np.arange(len(counts)), counts)
    partitions = pa.array([*growth.partitions], pa.string()).take(pa.array(places))
    states = [STATE_PLANNED, STATE_HELD, STATE_EXCLUDED]
    lengths = [len(growth.planned), len(growth.held), len(growth.excluded)]
    columns = {
        "partition": [partitions, pa.nulls(table.num_rows - len(partitions), pa.string())],
        "state": [pa.repeat(state, n) for state, n in zip(states, lengths, strict=True)],
    }
    for name, chunks in columns.items():
        table = table.append_column(name, pa.chunked_array(chunks, pa.string()))
    return table.replace_schema_metadata(rows.schema.metadata)


def _forget_notes(table: pa.Table, is_gone: npt.NDArray[np.bool_]) -> pa.Table:
    """Clear the notes of planned rows that the source no longer gives."""
    if not is_gone.any():
        return table
    mask = pa.array(np.concatenate([is_gone, np.zeros(table.num_rows - len(is_gone), bool)]))
    for name in NOTE_COLUMNS.intersection(table.column_names):
        column = table[name]
        emptied = kernels.if_else(mask, pa.scalar(None, column.type), column)
        table = table.set_column(table.column_names.index(name), name, emptied)
    return table


def _with_plan(table: pa.Table, growth: Growth, size: int) -> pa.Table:
    plan = _summarize(table, growth, size)
    metadata = {**(table.schema.metadata or {}), _PLAN_KEY: canonical_json(_plan_document(plan))}
    return table.replace_schema_metadata(metadata)


def _summarize(table: pa.Table, growth: Growth, size: int) -> CatalogPlan:
    content = _without_places(table)
    digests: dict[str, str] = {}
    start = 0
    for key, count in growth.partitions.items():
        digests[key] = _digest(key, content.slice(start, count).to_pylist())
        start += count
    rest = table.select(["key", "split", "excluded"]).slice(start)
    dropped = rest.slice(len(growth.held))
    excluded: dict[str, dict[str, int]] = {}
    groups = dropped.group_by(["split", "excluded"], use_threads=False).aggregate(
        [("key", "count")]
    )
    for group in groups.sort_by("excluded").to_pylist():
        excluded.setdefault(group["split"], {})[group["excluded"]] = group["key_count"]
    return CatalogPlan(
        samples_per_shard=size,
        partitions=growth.partitions,
        digests=digests,
        num_rows=table.num_rows,
        num_held=len(growth.held),
        excluded=excluded,
        version=_version(size, digests, rest),
        notes=_digest_notes(table),
    )


def _digest(partition: str, rows: list[dict[str, Any]]) -> str:
    try:
        return digest_rows(rows)
    except (ValueError, TypeError) as error:
        first, last = rows[0]["key"], rows[-1]["key"]
        msg = (
            f"catalog rows of {partition} ({first} to {last}): a value is not plain JSON ({error}); "
            f"a kind's read_rows must give null for unknown values"
        )
        raise CatalogError(msg) from error


def _digest_notes(table: pa.Table) -> str:
    """Return the hash of the columns that only people read, and of the source's figures."""
    names = sorted((NOTE_COLUMNS | {"detail"}).intersection(table.column_names))
    digest = hashlib.sha256(canonical_json([*names, table.num_rows]))
    for name in names:
        # In slices of fixed size, because the chunks of the column may vary.
        for start in range(0, table.num_rows, _ROWS_AT_A_TIME):
            digest.update(canonical_json(table[name].slice(start, _ROWS_AT_A_TIME).to_pylist()))
    for name, value in sorted((table.schema.metadata or {}).items()):
        if name != _PLAN_KEY:
            digest.update(b"%b %d %b" % (name, len(value), value))
    return digest.hexdigest()


def _version(size: int, digests: dict[str, str], rest: pa.Table) -> str:
    """Return the fingerprint of `{size, digests, rest}`, rest being a list of the rows' cells."""
    # In batches: the rest may be a million rows, 100 MB as text.
    digest = hashlib.sha256(b'{"digests":' + canonical_json(digests) + b',"rest":[')
    for number, batch in enumerate(rest.to_batches(max_chunksize=_ROWS_AT_A_TIME)):
        cells = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        digest.update((b"," if number else b"") + canonical_json(list(cells))[1:-1])
    digest.update(b'],"size":' + canonical_json(size) + b"}")
    return digest.hexdigest()


def _plan_document(plan: CatalogPlan) -> dict[str, Any]:
    # Lists, because canonical JSON sorts the keys of objects, and the order is part of the plan.
    shards = [[key, count, plan.digests[key]] for key, count in plan.partitions.items()]
    return {
        "samples_per_shard": plan.samples_per_shard,
        "shards": shards,
        "num_rows": plan.num_rows,
        "num_held": plan.num_held,
        "excluded": plan.excluded,
        "version": plan.version,
        "notes": plan.notes,
    }


def _parse_plan(metadata: Mapping[bytes, bytes], where: str) -> CatalogPlan:
    if _PLAN_KEY not in metadata:
        msg = f"{where}: has no plan; it was not written by medassets. Refresh the catalog"
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
