"""The account of a dataset on disk: every row of the catalog has one state, whatever happens."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from medassets.datasets.accounts import (
    check_excluded,
    iter_items,
    take_account_of,
    take_accounts,
)
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.verify import find_catalog_problems
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, TooManyRejectedError
from medassets.shards.account import Account, ItemState, join_accounts
from medassets_tests.account_cases import make_case
from medassets_tests.reclaim.tars import make_sample, write_tar

FIRST, SECOND = "train-000000", "train-000001"
EXCLUDED = {"no_chest": 2, "spacing_missing": 2}


def make(workspace: Workspace, key: str) -> None:
    build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def take(workspace: Workspace) -> Account:
    return join_accounts(take_accounts(workspace).values())


def test_a_draft_counts_every_row_before_anything_is_written(workspace: Workspace) -> None:
    account = join_accounts(take_accounts(workspace, draft_catalog(workspace).table).values())
    assert (account.items, account.excluded, account.left) == (18, EXCLUDED, {"missing": 14})
    assert account.num_unaccounted == 0
    with pytest.raises(CatalogError, match="no catalog yet"):
        take_accounts(workspace)


def test_done_rejected_held_and_left_follow_the_disk(
    open_folder: Callable[..., Workspace], own_repository: Path
) -> None:
    workspace = open_folder(own_repository)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=6))
    bad = workspace.read_partition(FIRST)[1]
    (own_repository / bad.path).write_bytes(b"not a volume")
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=6))
    assert (take(workspace).held, take(workspace).left) == (8, {"missing": 6})

    make(workspace, FIRST)
    account = take(workspace)
    assert (account.done, account.rejected) == (2, {"corrupt_gzip": 1})
    assert (account.held, account.left) == (8, {"missing": 3})
    assert account.num_unaccounted == 0
    (rejected,) = iter_items(workspace, ItemState.REJECTED)
    assert (rejected.key, rejected.partition) == (bad.key, FIRST)
    assert rejected in account.first
    for state, count in (("done", 2), ("rejected", 1), ("excluded", 4), ("held", 8), ("left", 3)):
        items = [*iter_items(workspace, ItemState(state))]
        assert len(items) == count
        assert {item.state for item in items} == {state}
    assert len([*iter_items(workspace, ItemState.EXCLUDED, splits=["train"])]) == 2

    workspace.paths.shard(FIRST).write_bytes(b"")
    assert take(workspace).left == {"lost": 3, "missing": 3}
    assert take_account_of(workspace, [FIRST]) == Account(items=3, left={"lost": 3})


def test_another_declaration_leaves_whole_shards_stale(
    planned: Workspace, open_folder: Callable[..., Workspace]
) -> None:
    make(planned, FIRST)
    other = open_folder(planned.source_folder, target_shape=(24, 20, 10))
    assert take(other).left == {"missing": 11, "stale": 3}
    assert take(other).num_unaccounted == 0


def test_the_bad_items_of_a_failed_shard_are_left_and_named(
    open_folder: Callable[..., Workspace], own_repository: Path
) -> None:
    workspace = open_folder(own_repository, max_rejected_share=0.0)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    items = workspace.read_partition(FIRST)
    for item in items[:2]:
        (own_repository / item.path).write_bytes(b"not a volume")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    with pytest.raises(TooManyRejectedError, match="2 of the first 3 of 3 samples"):
        make(workspace, FIRST)
    account = take(workspace)
    assert account.left == {"failed": 3, "missing": 11}
    named = account.select_first(ItemState.LEFT, "failed")
    assert [item.key for item in named] == [item.key for item in items[:2]]
    assert all(item.detail.startswith("corrupt_gzip: ") for item in named)
    listed = [item for item in iter_items(workspace, ItemState.LEFT) if item.partition == FIRST]
    assert [bool(item.detail) for item in listed] == [True, True, False]


def test_the_manifests_of_all_splits_add_up_to_the_account(planned: Workspace) -> None:
    make(planned, FIRST)
    manifests = build_manifests(planned)
    account = take(planned)
    counts = ("items", "done", "rejected", "excluded", "held", "left")
    for name in counts:
        total = sum(manifest["account"][name] for manifest in manifests.values())
        assert total == account.as_dict()[name]
    assert manifests["train"]["account"]["done"] == manifests["train"]["total_samples"]
    assert manifests["train"]["kind"] == "ct_volume"


def test_a_record_that_counts_otherwise_is_found(planned: Workspace) -> None:
    make(planned, FIRST)
    path = planned.paths.record(FIRST)
    document = json.loads(path.read_bytes())
    document["num_samples"] -= 1
    document["samples"].pop()
    path.write_text(json.dumps(document))
    (problem,) = find_catalog_problems(planned)
    assert problem.startswith("the account does not add up: 18 source items = 2 done")


@pytest.mark.parametrize(("share", "fits"), [(0.05, False), (2 / 16, True), (1.0, True)])
def test_a_plan_that_leaves_out_too_much_of_what_is_there_fails(
    open_folder: Callable[..., Workspace], own_repository: Path, share: float, fits: bool
) -> None:
    workspace = open_folder(own_repository, max_excluded_share=share)
    table = draft_catalog(workspace).table
    account = join_accounts(take_accounts(workspace, table).values())
    if fits:
        check_excluded(workspace, account, table)
        return
    with pytest.raises(CatalogError, match=r"2 of 16 .*\(spacing_missing 2\), .*train_5_a_1"):
        check_excluded(workspace, account, table)


@pytest.mark.parametrize(("share", "fits"), [(0.2, False), (0.25, True)])
def test_a_tar_that_cannot_be_read_counts_as_a_file(
    tmp_path: Path, share: float, fits: bool
) -> None:
    case = make_case("webdataset", tmp_path)
    places = sorted((tmp_path / "source").glob("*.tar"))
    write_tar(places[-1], [make_sample(100 + n) for n in range(30)])
    places[0].write_bytes(places[0].read_bytes()[:700])
    workspace = open_workspace(open_kind(case.declare(max_excluded_share=share)))
    table = draft_catalog(workspace).table
    account = join_accounts(take_accounts(workspace, table).values())
    assert account.unusable_share == 1 / 35
    if fits:
        check_excluded(workspace, account, table)
        return
    with pytest.raises(CatalogError, match=r"1 of 4 source files .*\(corrupt_tar 1\)"):
        check_excluded(workspace, account, table)


def test_a_row_without_a_split_is_counted(planned: Workspace) -> None:
    table = planned.read_catalog()
    assert table is not None
    states = table["state"].to_pylist()
    splits = [
        s if state == "planned" else None
        for s, state in zip(table["split"].to_pylist(), states, strict=True)
    ]
    changed = table.set_column(
        table.column_names.index("split"), "split", pa.array(splits, pa.string())
    )
    accounts = take_accounts(planned, changed)
    assert accounts[""].items == accounts[""].num_excluded == 4
    assert join_accounts(accounts.values()).items == 18
