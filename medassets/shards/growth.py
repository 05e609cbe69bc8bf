"""Which sample goes into which shard: a plan only grows.

Rows are handled by number, for a catalog may have a million: those of today first, behind them
those of the previous catalog.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.storage.arrow import kernels
from medassets.storage.paths import format_partition_key, split_partition_key

Numbers: TypeAlias = npt.NDArray[np.int64]

_NOWHERE = -1
_ROWS_AT_A_TIME = 65_536


def grow_plan(
    rows: pa.Table,
    previous: pa.Table | None,
    partitions: Mapping[str, int],
    *,
    size: int,
    limit: int | None,
    limit_splits: Collection[str],
    pinned: bool,
) -> "Growth":
    """Lay today's rows into the shards of the previous plan, and into new ones behind them.

    Args:
        rows: What the source holds now: `key, split, excluded`.
        previous: The previous catalog, its planned rows first, in the order of their shards.
        partitions: Its plan: partition key -> number of rows.
        size: Samples of a full shard.
        limit: Plan at most so many samples in all splits together.
        limit_splits: Count the limit in these splits only, and plan no new ones of others.
        pinned: Whether rows of shards that stay keep their content.
    """
    excluded = kernels.is_valid(rows["excluded"]).to_numpy()
    today = _find_today(rows, previous, sum(partitions.values()))
    is_known = np.zeros(rows.num_rows, bool)
    is_known[today[today != _NOWHERE]] = True
    room = _find_room(partitions, limit, limit_splits)
    old = _number_shards(partitions, rows.num_rows)
    shards: dict[str, Numbers] = {}
    touched: set[str] = set()
    for split, new in _find_new(rows, ~excluded & ~is_known).items():
        taken = new
        if room is not None:
            taken = new[:room] if not limit_splits or split in limit_splits else new[:0]
            room -= len(taken)
        touched |= _grow_split(shards, split, _of_split(old, split), taken, size)
    for split in dict.fromkeys(_split_of(key) for key in old):
        if not _of_split(shards, split):
            shards |= _of_split(old, split)
    return _settle(shards, touched, today=today, excluded=excluded, pinned=pinned)


def take_rows(rows: pa.Table, previous: pa.Table | None, numbers: Numbers) -> pa.Table:
    """Return rows by number, those of today before those of the previous catalog.

    Stretches that lie together are not copied: a million rows with their texts are half a GB.
    """
    tables = [rows] if previous is None else [rows, previous]
    empty = [table.replace_schema_metadata(None).slice(0, 0) for table in tables]
    schema = pa.concat_tables(empty, promote_options="default").schema
    starts = range(0, len(numbers), _ROWS_AT_A_TIME)
    blocks = [_take_block(tables, numbers[i : i + _ROWS_AT_A_TIME]) for i in starts]
    return pa.concat_tables([schema.empty_table(), *blocks], promote_options="default")


def _take_block(tables: Sequence[pa.Table], numbers: Numbers) -> pa.Table:
    num_today = tables[0].num_rows
    if numbers[-1] < num_today and np.all(np.diff(numbers) == 1):
        return tables[0].replace_schema_metadata(None).slice(numbers[0], len(numbers))
    is_today = numbers < num_today
    taken = [tables[0].take(pa.array(numbers[is_today]))]
    if not is_today.all():
        taken.append(tables[1].take(pa.array(numbers[~is_today] - num_today)))
    together = pa.concat_tables(
        [table.replace_schema_metadata(None) for table in taken], promote_options="default"
    )
    # Where each row came to lie when both were parted.
    places = np.argsort(np.argsort(~is_today, kind="stable"), kind="stable")
    return together if is_today.all() else together.take(pa.array(places))


def _find_today(rows: pa.Table, previous: pa.Table | None, num_planned: int) -> Numbers:
    """Return the row of today for each planned row of before, `_NOWHERE` where it vanished."""
    if previous is None:
        return np.zeros(0, np.int64)
    keys = previous["key"].slice(0, num_planned)
    found = kernels.index_in(keys, value_set=_one_chunk(rows["key"]))
    return kernels.fill_null(found, _NOWHERE).to_numpy().astype(np.int64)


def _find_room(
    partitions: Mapping[str, int], limit: int | None, limit_splits: Collection[str]
) -> int | None:
    if limit is None:
        return None
    counted = (n for k, n in partitions.items() if not limit_splits or _split_of(k) in limit_splits)
    return max(limit - sum(counted), 0)


def _number_shards(partitions: Mapping[str, int], start: int) -> dict[str, Numbers]:
    shards: dict[str, Numbers] = {}
    for key, count in partitions.items():
        shards[key] = np.arange(start, start + count)
        start += count
    return shards


def _find_new(rows: pa.Table, is_new: npt.NDArray[np.bool_]) -> dict[str, Numbers]:
    """Return the new rows of each split, sorted by key; splits in the order of the source."""
    encoded = kernels.dictionary_encode(_one_chunk(rows["split"]))
    codes = kernels.fill_null(encoded.indices, _NOWHERE).to_numpy()
    keys = _one_chunk(rows["key"])
    found: dict[str, Numbers] = {}
    for code, split in enumerate(encoded.dictionary.to_pylist()):
        new = np.flatnonzero(is_new & (codes == code))
        order = kernels.array_sort_indices(keys.take(pa.array(new)))
        found[split] = new[order.to_numpy()]
    return found


def _grow_split(
    shards: dict[str, Numbers], split: str, old: dict[str, Numbers], new: Numbers, size: int
) -> set[str]:
    """Add the shards of one split; return those that are new or planned anew."""
    kept = dict(old)
    tail = new[:0]
    if len(new) and old and len(old[last := next(reversed(old))]) < size:
        tail = kept.pop(last)
    shards |= kept
    # New samples go behind those that already have a place, whatever their names.
    numbers = np.concatenate([tail, new])
    grown = {
        format_partition_key(split, len(kept) + i // size): numbers[i : i + size]
        for i in range(0, len(numbers), size)
    }
    shards |= grown
    return set(grown)


def _settle(
    shards: Mapping[str, Numbers],
    touched: Collection[str],
    *,
    today: Numbers,
    excluded: npt.NDArray[np.bool_],
    pinned: bool,
) -> "Growth":
    """Choose between the row of today and that of before."""
    nothing = np.zeros(0, np.int64)
    numbers = np.concatenate([nothing, *shards.values()])
    counts = {key: len(members) for key, members in shards.items()}
    may_change = np.repeat(
        np.array([not pinned or key in touched for key in shards], bool), list(counts.values())
    )
    # A row that vanished, or that a later table excludes, keeps its place and its words.
    fresh = np.full(len(today), _NOWHERE)
    usable = today != _NOWHERE
    usable[usable] = ~excluded[today[usable]]
    fresh[usable] = today[usable]
    was_before = numbers >= len(excluded)
    newest = fresh[numbers[was_before] - len(excluded)]
    replace = (newest != _NOWHERE) & may_change[was_before]
    numbers[was_before] = np.where(replace, newest, numbers[was_before])
    left = np.ones(len(excluded), bool)
    left[numbers[numbers < len(excluded)]] = False
    left[today[today != _NOWHERE]] = False
    held, dropped = np.flatnonzero(left & ~excluded), np.flatnonzero(left & excluded)
    return Growth(counts, numbers, held, dropped)


def _of_split(shards: Mapping[str, Numbers], split: str) -> dict[str, Numbers]:
    return {key: members for key, members in shards.items() if _split_of(key) == split}


def _split_of(partition_key: str) -> str:
    return split_partition_key(partition_key)[0]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


@dataclass(frozen=True)
class Growth:
    """Which row goes where.

    Attributes:
        partitions: Partition key -> number of samples, in the order of the plan.
        planned: Their rows in that order, those of today before those of the previous catalog.
        held: Rows of today beyond the limit.
        excluded: Rows of today that cannot become samples, and had no place before.
    """

    partitions: dict[str, int]
    planned: Numbers
    held: Numbers
    excluded: Numbers
