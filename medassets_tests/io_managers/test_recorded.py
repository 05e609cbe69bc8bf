"""What Dagster knows of shards, and events without a run."""

import sqlite3
from pathlib import Path

import dagster as dg

from medassets.io_managers.recorded import read_recorded, report_shard, writing_many_events
from medassets_tests.location import Location


def test_a_shard_that_is_not_whole_is_not_reported(first_shard: Location) -> None:
    workspace = first_shard.workspace
    keys = list(workspace.read_plan().partitions)
    assert report_shard(first_shard.instance, workspace, keys[0])
    assert not report_shard(first_shard.instance, workspace, keys[1])
    recorded = read_recorded(first_shard.instance, workspace.kind, keys)
    assert (set(recorded.materialized), recorded.failed) == ({keys[0]}, set())


def test_many_events_keep_the_database_whole_and_are_all_there(tmp_path: Path) -> None:
    key, keys = dg.AssetKey(["tiny", "shards"]), [f"train-{i:06d}" for i in range(20)]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with writing_many_events():
            for one in keys:
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=one))
        assert instance.get_materialized_partitions(key) == set(keys)
    for path in tmp_path.rglob("*.db"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
