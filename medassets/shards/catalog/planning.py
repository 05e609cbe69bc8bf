"""Makes a catalog of the rows of a source and of the catalog before it.

Columns every kind of dataset has: `key, split, path, revision, excluded, detail` from the source,
`partition` and `state` from the plan. A kind adds columns of its own; they are content.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import CatalogError
from medassets.shards.catalog.growth import (
    FetchRows,
    Follow,
    Growth,
    HasFile,
    Numbers,
    grow_plan,
    take_rows,
)
from medassets.shards.catalog.plan import (
    PLAN_KEY,
    STATE_EXCLUDED,
    STATE_HELD,
    STATE_PLANNED,
    CatalogPlan,
    plan_of,
    store_plan,
)
from medassets.shards.fingerprint import NOTE_COLUMNS, digest_rows
from medassets.storage.arrow import kernels
from medassets.storage.checksums import canonical_json
from medassets.storage.paths import check_member_path

REQUIRED_COLUMNS = ("key", "split", "path", "revision", "excluded", "detail")

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
            `medassets.shards.catalog.previous`.
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
    return store_plan(table, _summarize(table, growth, size))


def arrange_catalog(rows: pa.Table, partitions: Mapping[str, int], *, size: int) -> pa.Table:
    """Return the catalog of a known plan.

    Args:
        rows: Planned rows in the order of the plan, without `partition` and `state`.
        partitions: Partition key -> number of rows.
        size: Samples of a full shard.
    """
    none = np.zeros(0, np.int64)
    growth = Growth(dict(partitions), np.arange(rows.num_rows), none, none)
    table = _assemble(rows, _taker(None), growth)
    return store_plan(table, _summarize(table, growth, size))


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
        # An excluded row may have no split; names of one object must be alike.
        excluded.setdefault(group["split"] or "", {})[group["excluded"]] = group["key_count"]
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
        if name != PLAN_KEY:
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
