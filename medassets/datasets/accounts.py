"""Takes the account of a dataset from its catalog and the shards on disk."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from medassets.datasets.build import today_fingerprint
from medassets.datasets.workspace import Workspace
from medassets.errors import ABSENT_REASONS, CatalogError
from medassets.shards.account import (
    NUM_FIRST,
    Account,
    AccountItem,
    ItemState,
    Left,
    ShardFindings,
    draw_account,
    join_accounts,
)
from medassets.shards.catalog.files import read_unplanned
from medassets.shards.catalog.plan import STATE_EXCLUDED, STATE_HELD, CatalogPlan, plan_of
from medassets.shards.failure import read_failure
from medassets.shards.files import read_whole_record
from medassets.shards.record import ShardRecord
from medassets.storage.arrow import kernels
from medassets.storage.collection import paused_collection
from medassets.storage.paths import split_partition_key

_COLUMNS = ["key", "split", "state", "excluded", "detail"]
_NAMED_UNUSABLE = 5


@dataclass(frozen=True)
class Books:
    """What an account is drawn from: the plan, the rows without a shard, and the shards on disk.

    Attributes:
        plan: The plan.
        unplanned: Rows that are held or excluded: `key, split, state, excluded, detail`.
        shards: Every planned shard as it is on disk, in the order of the plan.
        splits: Declared splits, and others that rows name, in order.
    """

    plan: CatalogPlan
    unplanned: pa.Table
    shards: Mapping[str, ShardFindings]
    splits: tuple[str, ...]

    def records(self, split: str = "") -> list[ShardRecord]:
        """Return the records of whole shards of today's inputs, of one split or all, in order."""
        found = (
            shard.record
            for key, shard in self.shards.items()
            if split in ("", split_partition_key(key)[0])
        )
        return [record for record in found if record is not None]

    def draw(self) -> dict[str, Account]:
        """Return the account of each split."""
        return {split: self._draw_split(split) for split in self.splits}

    def _draw_split(self, split: str) -> Account:
        shards = {k: s for k, s in self.shards.items() if split_partition_key(k)[0] == split}
        rows = self.unplanned.filter(kernels.equal(self.unplanned["split"], split))
        excluded = rows.filter(kernels.equal(rows["state"], STATE_EXCLUDED))
        held = rows.filter(kernels.equal(rows["state"], STATE_HELD))
        counts = kernels.value_counts(excluded["excluded"].combine_chunks()).to_pylist()
        reasons = {entry["values"]: entry["counts"] for entry in counts}
        examples = [
            excluded.filter(kernels.equal(excluded["excluded"], reason)).slice(0, NUM_FIRST)
            for reason in reasons
        ]
        named = pa.concat_tables([held.slice(0, NUM_FIRST), *examples])
        return draw_account(
            split,
            shards,
            items=rows.num_rows + sum(shard.num_planned for shard in shards.values()),
            excluded=reasons,
            held=held.num_rows,
            first_unplanned=_iter_unplanned(named),
        )


def take_accounts(workspace: Workspace, catalog: pa.Table | None = None) -> dict[str, Account]:
    """Return the account of each split of a stage, as catalog and disk tell it now.

    Args:
        workspace: The dataset and stage.
        catalog: A draft, in place of the catalog on disk.

    Raises:
        CatalogError: If there is no catalog yet, or it is not readable.
    """
    return open_books(workspace, catalog).draw()


def take_account_of(workspace: Workspace, partitions: Iterable[str]) -> Account:
    """Return the account of some planned shards alone."""
    plan = workspace.read_plan()
    accounts: list[Account] = []
    for key in partitions:
        found = look_at(workspace, plan, key)
        split, _ = split_partition_key(key)
        count = found.num_planned
        accounts.append(draw_account(split, {key: found}, items=count, excluded={}, held=0))
    return join_accounts(accounts)


def open_books(workspace: Workspace, catalog: pa.Table | None = None) -> Books:
    """Return what the account is drawn from; see `take_accounts`."""
    plan = plan_of(catalog) if catalog is not None else workspace.read_plan()
    unplanned = _take_unplanned(workspace, plan, catalog)
    # An excluded row may have no split.
    names = kernels.fill_null(unplanned["split"], "")
    unplanned = unplanned.set_column(unplanned.column_names.index("split"), "split", names)
    found = kernels.unique(unplanned["split"]).to_pylist()
    splits = dict.fromkeys([*workspace.kind.spec.splits, *plan.splits(), *found])
    with paused_collection():
        shards = {key: look_at(workspace, plan, key) for key in plan.partitions}
    return Books(plan, unplanned, shards, tuple(splits))


def check_excluded(workspace: Workspace, account: Account, catalog: pa.Table) -> None:
    """Refuse a plan that leaves out too much of what the source has.

    Items that a rule leaves out and items whose files are absent do not count. A tar that cannot be
    read is one row, whatever it holds, so the share of such files counts as well.

    Args:
        workspace: The dataset.
        account: Its account.
        catalog: The catalog of the plan, which may not be published yet.

    Raises:
        CatalogError: If more cannot be used than `max_excluded_share` allows, with the counts.
    """
    spec, unusable = workspace.kind.spec, account.unusable
    count = sum(unusable.values())
    lost, there = _count_files(workspace, catalog)
    what = ""
    if not plan_of(catalog).num_held and not plan_of(catalog).partitions:
        # Nothing could be built: the command explains that with a remedy for each reason.
        return
    share = max(account.unusable_share, lost / there if there else 0.0)
    if account.unusable_share > spec.max_excluded_share:
        what = f"{count:,} of {account.items - account.num_excluded + count:,} source items"
    elif share > spec.max_excluded_share:
        what = f"{lost:,} of {there:,} source files"
    if not what:
        return
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in unusable.items())
    items = (i for i in account.select_first(ItemState.EXCLUDED) if i.reason in unusable)
    first = "; ".join(item.describe() for item in itertools.islice(items, _NAMED_UNUSABLE))
    msg = (
        f"{spec.name}: {what} that are there cannot be used ({reasons}), more than "
        f"max_excluded_share = {spec.max_excluded_share} allows; nothing was planned. Correct them, "
        f"or leave them out: `{workspace.paths.allow_command('max_excluded_share', share)}`. First: {first}"
    )
    raise CatalogError(msg)


def _count_files(workspace: Workspace, catalog: pa.Table) -> tuple[int, int]:
    """Return how many files with several items cannot be used as a whole, and how many exist.

    Both are 0 for a source whose items are files.
    """
    physical = workspace.source.physical_path
    # Planned rows are first; without any, the share of items says it all.
    first = catalog["path"][0].as_py() if plan_of(catalog).partitions else ""
    if not first or physical(first) == first:
        return 0, 0
    columns = (catalog[name].to_pylist() for name in ("path", "excluded"))
    is_lost: dict[str, bool] = {}
    for path, excluded in zip(*columns, strict=True):
        if path and excluded not in ABSENT_REASONS:
            file = physical(path)
            is_lost[file] = is_lost.get(file, True) and file == path and excluded is not None
    return sum(is_lost.values()), len(is_lost)


def iter_items(
    workspace: Workspace, state: ItemState, *, splits: Collection[str] = ()
) -> Iterator[AccountItem]:
    """Yield all items of one state, in the order of the catalog.

    Args:
        workspace: The dataset and stage.
        state: Their state.
        splits: Only items of these splits; empty means all.

    Raises:
        CatalogError: If there is no catalog yet, or it is not readable.
    """
    books = open_books(workspace)
    planned = state in (ItemState.DONE, ItemState.REJECTED, ItemState.LEFT)
    items = _iter_planned(workspace, books, state) if planned else _iter_unplanned(books.unplanned)
    return (i for i in items if i.state is state and (not splits or i.split in splits))


def _iter_planned(workspace: Workspace, books: Books, state: ItemState) -> Iterable[AccountItem]:
    for partition, shard in books.shards.items():
        split, _ = split_partition_key(partition)
        if shard.record is None and state is ItemState.LEFT:
            bad = {item.key: item for item in shard.iter_items(partition, split)}
            for row in workspace.read_partition(partition):
                item = AccountItem(row.key, split, partition, ItemState.LEFT, shard.left)
                yield bad.get(row.key, item)
        elif shard.record is not None and state is ItemState.DONE:
            for sample in shard.record.samples:
                yield AccountItem(sample.key, split, partition, ItemState.DONE, "")
        else:
            yield from shard.iter_items(partition, split)


def _iter_unplanned(rows: pa.Table) -> Iterator[AccountItem]:
    for row in rows.to_pylist():
        state = ItemState(row["state"])
        reason, detail = row["excluded"] or "", row["detail"] or ""
        yield AccountItem(row["key"], row["split"], "", state, reason, detail)


def _take_unplanned(workspace: Workspace, plan: CatalogPlan, catalog: pa.Table | None) -> pa.Table:
    if catalog is not None:
        return catalog.select(_COLUMNS).slice(plan.num_planned)
    return read_unplanned(workspace.paths.catalog, _COLUMNS)


def look_at(workspace: Workspace, plan: CatalogPlan, key: str) -> ShardFindings:
    """Return what the disk tells of a planned shard: whole, else failed, else stale, else lost.

    A build of today's plan that failed is later than a shard of another plan, so that it counts.

    Args:
        workspace: The dataset and stage.
        plan: Its plan.
        key: The shard.
    """
    paths, count = workspace.paths, plan.partitions[key]
    today = today_fingerprint(workspace, plan, key)
    record = read_whole_record(paths, key)
    if record is not None and record.plan_fingerprint == today:
        return ShardFindings(count, record)
    failure = read_failure(paths, key, today)
    if failure is not None:
        return ShardFindings(count, None, Left.FAILED, failure.rejected, older=record)
    if record is not None:
        return ShardFindings(count, None, Left.STALE, older=record)
    is_there = paths.record(key).exists() or paths.shard(key).exists()
    return ShardFindings(count, None, Left.LOST if is_there else Left.MISSING)
