"""A new Dagster home beside older data."""

from collections.abc import Callable

import dagster as dg

from medassets.cli.lost_home import restore_all_partitions
from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog


def test_partitions_of_planned_datasets_are_known_and_lost_catalogs_are_named(
    lungs: Callable[..., object],
) -> None:
    lungs()
    workspace = Session().workspace("lungs")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, "train-000000"))
    told: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        restore_all_partitions(Session(), instance, told.append)
        assert instance.get_dynamic_partitions("lungs_shards") == list(
            workspace.read_plan().partitions
        )
        restore_all_partitions(Session(), instance, told.append)
        workspace.paths.catalog.unlink()
        restore_all_partitions(Session(), instance, told.append)
    assert [line.split(":")[0] for line in told] == ["lungs", str(workspace.paths.catalog)]
    assert "medassets reconcile lungs" in told[0]
    assert "medassets reconcile lungs" in told[1]
