"""Assign samples to shards; a plan only grows.

Rows are referred to by number, because a catalog may have a million: first the current rows, then
those of the previous catalog.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import Reason
from medassets.storage.arrow import kernels
from medassets.storage.paths import format_partition_key, split_partition_key

Numbers: TypeAlias = npt.NDArray[np.int64]
FetchRows: TypeAlias = Callable[[Numbers], pa.Table]
"""Returns rows of the previous catalog by their numbers in it, in that order."""

HasFile: TypeAlias = Callable[[Numbers], npt.NDArray[np.bool_]]
"""Returns which rows of the previous catalog, by number, have an existing file."""

_NO_ROW = -1
_TIME = "mtime_ns"
"""Column that is null if the source file does not exist; sources with revisions do not have it."""

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
    has_file: HasFile | None,
    follow: "Follow | None" = None,
) -> "Growth":
    """Assign the current rows to the shards of the previous plan, and to new shards after them.

    Args:
        rows: The current rows of the source: `key, split, excluded`.
        previous: The previous catalog, its planned rows first, in the order of their shards; `key`, and
            `mtime_ns` if it has that column.
        partitions: Its plan: partition key -> number of rows.
        size: Samples of a full shard.
        limit: Most samples to plan in all splits together.
        limit_splits: Apply the limit to these splits, and plan no new samples of other splits.
        pinned: Whether rows of unchanged shards keep their content.
        has_file: Returns which of the rows that the source no longer gives have an existing file. If
            given, a shard with a missing file keeps its samples and rows unchanged.
        follow: What rows of a pinned source do that moved; None changes only rows of shards that
            are new or planned again.
    """
    excluded = kernels.is_valid(rows["excluded"]).to_numpy()
    today = find_today(rows, previous, sum(partitions.values()))
    old = _number_shards(partitions, rows.num_rows)
    gone = np.zeros(0, np.int64)
    if follow is not None:
        today = np.where(follow.dropped, _NO_ROW, today)
        old = _drop(old, np.flatnonzero(follow.dropped) + rows.num_rows)
        gone = np.flatnonzero(follow.closed) + rows.num_rows
    is_known = np.zeros(rows.num_rows, bool)
    is_known[today[today != _NO_ROW]] = True
    room = _find_room({k: len(n) for k, n in old.items()}, limit, limit_splits)
    unusable = excluded
    if has_file is not None:
        is_there = _find_files(rows)
        unusable = excluded | ~is_there
        # Previous rows without a file: it may have been deleted because a shard has its sample.
        gone = _find_gone(previous, today, is_there, has_file) + rows.num_rows
    shards: dict[str, Numbers] = {}
    touched: set[str] = set()
    for split, new in _find_new(rows, ~excluded & ~is_known).items():
        taken = new
        if room is not None:
            taken = new[:room] if not limit_splits or split in limit_splits else new[:0]
            room -= len(taken)
        touched |= _grow_split(shards, split, _of_split(old, split), taken, size, gone)
    for split in dict.fromkeys(_split_of(key) for key in old):
        if not _of_split(shards, split):
            shards |= _of_split(old, split)
    frozen = {key for key, numbers in shards.items() if np.isin(numbers, gone).any()}
    return _choose_rows(
        shards,
        touched if pinned else shards.keys() - frozen,
        today=today,
        unusable=unusable,
        excluded=excluded,
        follow=follow,
    )


def take_rows(rows: pa.Table, fetch: FetchRows, numbers: Numbers) -> pa.Table:
    """Return rows by number, the current rows before those of the previous catalog.

    Contiguous rows are not copied: a million rows with their texts are half a GB.

    Args:
        rows: The current rows.
        fetch: Returns rows of the previous catalog.
        numbers: Numbers of the rows, in order.
    """
    num_today = rows.num_rows
    is_before = numbers >= num_today
    before = fetch(numbers[is_before] - num_today)
    numbers = numbers.copy()
    numbers[is_before] = num_today + np.arange(before.num_rows)
    rows, before = (table.replace_schema_metadata(None) for table in (rows, before))
    starts = range(0, len(numbers), _ROWS_AT_A_TIME)
    blocks = [_take_block(rows, before, numbers[i : i + _ROWS_AT_A_TIME]) for i in starts]
    empty = [rows.slice(0, 0), before.slice(0, 0)]
    # Rows from records have the types that their values show.
    return pa.concat_tables([*empty, *blocks], promote_options="permissive")


def _take_block(rows: pa.Table, before: pa.Table, numbers: Numbers) -> pa.Table:
    is_today = numbers < rows.num_rows
    if is_today.all():
        if np.all(np.diff(numbers) == 1):
            return rows.slice(numbers[0], len(numbers))
        return rows.take(pa.array(numbers))
    parted = [
        rows.take(pa.array(numbers[is_today])),
        before.take(pa.array(numbers[~is_today] - rows.num_rows)),
    ]
    # Position of each row after the split into current and previous rows.
    places = np.argsort(np.argsort(~is_today, kind="stable"), kind="stable")
    return pa.concat_tables(parted, promote_options="permissive").take(pa.array(places))


def find_today(rows: pa.Table, previous: pa.Table | None, num_planned: int) -> Numbers:
    """Return the number of the current row of each row planned before; -1 if there is none."""
    if previous is None:
        return np.zeros(0, np.int64)
    keys = previous["key"].slice(0, num_planned)
    found = kernels.index_in(keys, value_set=_one_chunk(rows["key"]))
    return kernels.fill_null(found, _NO_ROW).to_numpy().astype(np.int64)


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


def _drop(shards: Mapping[str, Numbers], dropped: Numbers) -> dict[str, Numbers]:
    """Return the shards without some rows; a shard without rows leaves the plan."""
    left = {key: numbers[~np.isin(numbers, dropped)] for key, numbers in shards.items()}
    return {key: numbers for key, numbers in left.items() if len(numbers)}


def _find_new(rows: pa.Table, is_new: npt.NDArray[np.bool_]) -> dict[str, Numbers]:
    """Return the new rows of each split, sorted by key; splits in the order of the source."""
    encoded = kernels.dictionary_encode(_one_chunk(rows["split"]))
    codes = kernels.fill_null(encoded.indices, _NO_ROW).to_numpy()
    keys = _one_chunk(rows["key"])
    found: dict[str, Numbers] = {}
    for code, split in enumerate(encoded.dictionary.to_pylist()):
        new = np.flatnonzero(is_new & (codes == code))
        order = kernels.array_sort_indices(keys.take(pa.array(new)))
        found[split] = new[order.to_numpy()]
    return found


def _grow_split(
    shards: dict[str, Numbers],
    split: str,
    old: dict[str, Numbers],
    new: Numbers,
    size: int,
    gone: Numbers,
) -> set[str]:
    """Add the shards of one split; return those that are new or planned again.

    A short shard with a missing file is not planned again, because it could not be rebuilt.
    """
    kept = dict(old)
    tail = new[:0]
    last = next(reversed(old), None)
    is_open = last is not None and not np.isin(old[last], gone).any()
    if len(new) and last is not None and is_open and len(old[last]) < size:
        tail = kept.pop(last)
    shards |= kept
    # New samples follow those already in a shard, regardless of their names.
    numbers = np.concatenate([tail, new])
    first = max((split_partition_key(key)[1] + 1 for key in kept), default=0)
    grown = {
        format_partition_key(split, first + i // size): numbers[i : i + size]
        for i in range(0, len(numbers), size)
    }
    shards |= grown
    return set(grown)


def _find_files(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Return which of the current rows have a file, according to their columns."""
    has_file = kernels.not_equal(rows["excluded"], str(Reason.MISSING_SOURCE))
    found = kernels.fill_null(has_file, True).to_numpy(zero_copy_only=False)
    if _TIME in rows.column_names:
        planned = kernels.is_null(rows["excluded"]).to_numpy(zero_copy_only=False)
        timed = kernels.is_valid(rows[_TIME]).to_numpy(zero_copy_only=False)
        found = found & (timed | ~planned)
    return found


def _find_gone(
    previous: pa.Table | None, today: Numbers, is_there: npt.NDArray[np.bool_], has_file: HasFile
) -> Numbers:
    """Return which rows planned before had a file that no longer exists."""
    is_gone = np.ones(len(today), bool)
    known = today != _NO_ROW
    is_gone[known] = ~is_there[today[known]]
    vanished = np.flatnonzero(~known)
    is_gone[vanished] = ~has_file(vanished)
    if previous is not None and _TIME in previous.column_names:
        times = previous[_TIME].slice(0, len(today))
        is_gone &= kernels.is_valid(times).to_numpy(zero_copy_only=False)
    return np.flatnonzero(is_gone)


def _choose_rows(
    shards: Mapping[str, Numbers],
    may_change: Collection[str],
    *,
    today: Numbers,
    unusable: npt.NDArray[np.bool_],
    excluded: npt.NDArray[np.bool_],
    follow: "Follow | None",
) -> "Growth":
    """Choose the current or the previous row of each sample; only shards in `may_change` change."""
    nothing = np.zeros(0, np.int64)
    numbers = np.concatenate([nothing, *shards.values()])
    counts = {key: len(members) for key, members in shards.items()}
    changes = np.repeat(np.array([key in may_change for key in shards], bool), [*counts.values()])
    # A row that is missing or excluded now keeps its shard and its content.
    fresh = np.full(len(today), _NO_ROW)
    usable = today != _NO_ROW
    usable[usable] = ~unusable[today[usable]]
    fresh[usable] = today[usable]
    was_before = numbers >= len(excluded)
    before = numbers[was_before] - len(excluded)
    newest, changes = fresh[before], changes[was_before]
    if follow is not None:
        changes = (changes & ~follow.kept[before]) | follow.renewed[before]
    replace = (newest != _NO_ROW) & changes
    numbers[was_before] = np.where(replace, newest, numbers[was_before])
    left = np.ones(len(excluded), bool)
    left[numbers[numbers < len(excluded)]] = False
    left[today[today != _NO_ROW]] = False
    held, dropped = np.flatnonzero(left & ~excluded), np.flatnonzero(left & excluded)
    return Growth(counts, numbers, held, dropped)


def _of_split(shards: Mapping[str, Numbers], split: str) -> dict[str, Numbers]:
    return {key: members for key, members in shards.items() if _split_of(key) == split}


def _split_of(partition_key: str) -> str:
    return split_partition_key(partition_key)[0]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


@dataclass(frozen=True)
class Follow:
    """What rows planned before do when a pinned source has moved; masks in the order of the plan.

    Attributes:
        renewed: They take their current content.
        kept: They keep their content even if their shard is planned again, because it has their
            samples.
        dropped: They leave the plan: they were never built, and the source no longer has them.
        closed: Their shard gets no more samples, because it could not be rebuilt.
    """

    renewed: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.bool_]
    dropped: npt.NDArray[np.bool_]
    closed: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Growth:
    """The shard of each row.

    Attributes:
        partitions: Partition key -> number of samples, in the order of the plan.
        planned: Their rows in that order, by number.
        held: Current rows beyond the limit.
        excluded: Current rows that cannot become samples and were not planned before.
    """

    partitions: dict[str, int]
    planned: Numbers
    held: Numbers
    excluded: Numbers
