"""What records tell of the plan that their shards were made from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.kept_plan import KeptShard, iter_kept, join_kept
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError

FIRST, SECOND = "train-000000", "train-000001"


def _shard(partition: str, *keys: str, name: str = "") -> KeptShard:
    return KeptShard(partition, Path(name or f"{partition}.json"), keys, None, {})


@pytest.mark.parametrize("earlier", [False, True])
def test_a_record_names_its_items_in_the_order_of_the_plan(
    planned: Workspace, earlier: bool
) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    if earlier:
        path = planned.paths.record(FIRST)
        document = json.loads(path.read_bytes())
        path.write_text(
            json.dumps({k: v for k, v in document.items() if k not in ("plan", "rows")})
        )
    (kept,) = iter_kept(planned.paths)
    assert kept.keys == tuple(item.key for item in planned.read_partition(FIRST))
    assert (kept.read_copy() is None) == earlier


def test_a_renamed_shard_keeps_its_partition_and_a_foreign_one_is_none(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    planned.paths.record(FIRST).rename(planned.paths.record(SECOND))
    (kept,) = iter_kept(planned.paths)
    assert (kept.partition, kept.record) == (FIRST, planned.paths.record(SECOND))
    assert list(iter_kept(replace(planned.paths, dataset="else"))) == []
    assert list(iter_kept(planned.paths, lambda _key, count: count > 100)) == []


def test_of_two_records_of_one_shard_the_larger_counts() -> None:
    small, large = _shard(FIRST, "a"), _shard(FIRST, "a", "b")
    assert join_kept([small, large]) == join_kept([large, small]) == {FIRST: large}


def test_records_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(CatalogError, match=r"two\.json and one\.json are both records"):
        join_kept([_shard(FIRST, "a", name="two.json"), _shard(FIRST, "b", "c", name="one.json")])
    with pytest.raises(CatalogError, match=r"b is in train-000000\.json and in train-000001\.json"):
        join_kept([_shard(FIRST, "a", "b"), _shard(SECOND, "b", "c")])
