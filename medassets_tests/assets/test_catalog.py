"""The catalog through Dagster: it grows, moves nothing, and counts every row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from medassets.assets import factory
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.shards.catalog import plan_of
from medassets.shards.record import ShardRecord
from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub
from medassets_tests.location import Location, metadata_of

GROWN = ["train-000000", "train-000001", "train-000002", "train-000003"]


def version_of(location: Location) -> str:
    return (location.events("catalog")[-1].tags or {})["dagster/data_version"]


def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def test_every_row_is_counted_and_told(location: Location, repository: SyntheticRepository) -> None:
    result = location.materialize("catalog")
    assert passed(result) == {"every_row_has_a_place": True}
    told = metadata_of(location.events("catalog")[-1])
    assert told["dagster/row_count"] == len(repository.volumes) == 18
    assert told["medassets/planned"] == 14
    assert told["medassets/excluded"] == {"no_chest": 2, "spacing_missing": 2}
    assert told["medassets/held"] == 0
    assert told["medassets/new_rows"] == 18
    assert told["medassets/shards"] == told["medassets/new_shards"] == 6
    assert told["dagster/uri"] == str(location.workspace.paths.catalog)


def test_partitions_are_known_to_dagster_sorted_split_after_split(location: Location) -> None:
    location.materialize("catalog")
    train = [f"train-{i:06d}" for i in range(3)]
    valid = [f"valid-{i:06d}" for i in range(3)]
    assert location.keys == train + valid


def test_a_refresh_that_finds_nothing_new_keeps_version_and_file(location: Location) -> None:
    location.materialize("catalog")
    before = location.workspace.paths.catalog.stat()
    location.materialize("catalog")
    first, second = location.events("catalog")
    assert first.tags is not None
    assert second.tags is not None
    assert first.tags["dagster/data_version"] == second.tags["dagster/data_version"]
    assert location.workspace.paths.catalog.stat() == before
    assert metadata_of(second)["medassets/new_rows"] == 0


def test_a_commit_without_new_rows_keeps_the_version(
    remote: Callable[..., Location], hub: LocalHub, growing: Path
) -> None:
    location = remote()
    location.materialize("catalog")
    version, sha = version_of(location), hub.sha
    (growing / "README.md").write_text("Moved on.\n")
    assert hub.refresh() != sha
    location.materialize("catalog")
    assert version_of(location) == version
    assert metadata_of(location.events("catalog")[-1])["medassets/revision"] == hub.sha
    assert {item.revision for item in location.workspace.read_partition(GROWN[2])} == {sha}


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_new_rows_add_partitions_and_leave_full_shards_alone(
    source: str,
    locate: Callable[..., Location],
    remote: Callable[..., Location],
    hub: LocalHub,
    growing: Path,
    grow: Callable[[], None],
) -> None:
    location = remote() if source == "hub" else locate(growing)
    location.build()
    paths, full = location.workspace.paths, GROWN[:2]
    before = {key: (paths.shard(key).stat(), paths.record(key).read_bytes()) for key in full}
    members = [item.key for item in location.workspace.read_partition(GROWN[2])]
    version = version_of(location)

    grow()
    hub.refresh()
    location.materialize("catalog")
    assert version_of(location) != version
    assert location.keys[-2:] == ["train-000003", "valid-000003"]
    for key in GROWN:
        location.materialize("shards", partition=key)
    assert {
        key: (paths.shard(key).stat(), paths.record(key).read_bytes()) for key in full
    } == before
    grown = [item.key for item in location.workspace.read_partition(GROWN[2])]
    assert grown[:1] == members
    assert len(grown) == 3
    made = {key: metadata_of(location.events("shards", key)[-1]) for key in GROWN}
    assert [made[key]["medassets/adopted"] for key in GROWN] == [True, True, False, False]
    assert sum(ShardRecord.read(paths.record(key)).num_samples for key in GROWN) == 11


def test_a_limit_holds_rows_until_a_refresh_without_it(location: Location) -> None:
    location.materialize("catalog", config={"catalog": {"limit": 4}})
    told = metadata_of(location.events("catalog")[-1])
    assert (told["medassets/planned"], told["medassets/held"]) == (4, 10)
    assert location.keys == GROWN[:2]
    first = [item.key for item in location.workspace.read_partition(GROWN[0])]

    result = location.materialize("catalog")
    assert passed(result) == {"every_row_has_a_place": True}
    told = metadata_of(location.events("catalog")[-1])
    assert (told["medassets/planned"], told["medassets/held"]) == (14, 0)
    assert [item.key for item in location.workspace.read_partition(GROWN[0])] == first
    assert sorted(location.keys) == sorted(location.workspace.read_plan().partitions)


def test_of_two_refreshes_at_once_one_is_told_to_run_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(workspace: Any, **settings: Any) -> Any:
        draft = draft_catalog(workspace, **settings)
        publish_catalog(workspace.paths, draft_catalog(workspace, limit=5))
        return draft

    monkeypatch.setattr(factory, "draft_catalog", overtaken)
    with pytest.raises(
        dg.Failure, match="another refresh wrote the catalog meanwhile; run"
    ) as told:
        location.materialize("catalog")
    assert not told.value.allow_retries
    assert location.keys == []
    assert location.workspace.read_plan().num_held == 9


def test_of_two_refreshes_that_find_the_same_both_succeed(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(workspace: Any, **settings: Any) -> Any:
        draft = draft_catalog(workspace, **settings)
        publish_catalog(workspace.paths, draft)
        return draft

    monkeypatch.setattr(factory, "draft_catalog", overtaken)
    assert location.materialize("catalog").success
    assert len(location.keys) == 6


def test_the_check_finds_rows_that_the_plan_does_not_count(location: Location) -> None:
    location.materialize("catalog")
    path = location.workspace.paths.catalog
    table = pq.read_table(path)
    size = plan_of(table).samples_per_shard
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.slice(size - 1))
    evaluation = location.check("catalog", "every_row_has_a_place")
    assert not evaluation.passed
    told = str(evaluation.metadata["first"].value)
    assert "the plan says 18 rows, there are 16" in told
    assert "train-000000: 1 rows, its plan says 3" in told


def test_another_shard_size_for_a_grown_plan_is_refused(location: Location) -> None:
    location.materialize("catalog")
    with pytest.raises(dg.Failure, match=r"samples_per_shard: the plan was made with 3, got 5"):
        location.materialize("catalog", config={"catalog": {"samples_per_shard": 5}})


def test_an_asset_that_needs_the_catalog_says_so(location: Location) -> None:
    location.instance.add_dynamic_partitions(location.spec.partitions_name, GROWN[:1])
    with pytest.raises(dg.Failure, match=r"no catalog yet; .* materialize tiny/catalog"):
        location.materialize("shards", partition=GROWN[0])
