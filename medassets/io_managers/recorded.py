"""What Dagster knows of a stage's shards, and how it learns of those that it does not know."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Engine

from medassets.datasets.build import today_fingerprint
from medassets.datasets.kind import DatasetKind
from medassets.datasets.status import Recorded
from medassets.datasets.workspace import Workspace
from medassets.io_managers.metadata import shard_metadata
from medassets.shards.files import read_whole_record
from medassets.shards.writer import ShardResult


def read_recorded(instance: dg.DagsterInstance, kind: DatasetKind, keys: Sequence[str]) -> Recorded:
    """Return what Dagster knows of the shards of a stage.

    Args:
        instance: Dagster's instance.
        kind: The stage.
        keys: Partition keys of the plan.
    """
    asset = dg.AssetKey([kind.spec.name, str(kind.stage)])
    definition = dg.DynamicPartitionsDefinition(name=kind.spec.partitions_name)
    statuses = instance.get_status_by_partition(asset, keys, definition)
    materialized = instance.get_materialized_partitions(asset)
    # Dagster exports the function but not the enum of what it returns.
    found = (statuses or {}).items()
    failed = {key for key, status in found if status is not None and status.value == "FAILED"}
    return Recorded(materialized=materialized, failed=failed)


def report_shard(instance: dg.DagsterInstance, workspace: Workspace, partition_key: str) -> bool:
    """Tell Dagster of a whole shard without a run, with the metadata of a build that adopts it.

    Args:
        instance: Dagster's instance.
        workspace: The dataset and stage.
        partition_key: The shard.

    Returns:
        False if the shard is not whole, or not made of today's plan.
    """
    kind, plan = workspace.kind, workspace.read_plan()
    today = today_fingerprint(workspace, plan, partition_key)
    record = read_whole_record(workspace.paths, partition_key, today)
    if record is None:
        return False
    result = ShardResult(record, adopted=True)
    event = dg.AssetMaterialization(
        dg.AssetKey([kind.spec.name, str(kind.stage)]),
        partition=partition_key,
        metadata=shard_metadata(kind, workspace.paths.shard(partition_key), result),
        tags={
            "dagster/data_version": record.plan_fingerprint,
            "dagster/code_version": kind.fingerprint()[:12],
        },
    )
    instance.report_runless_asset_event(event)
    return True


@contextmanager
def writing_many_events() -> Iterator[None]:
    """Let SQLite wait for the disk at checkpoints only, not at each event: 4 ms instead of 27.

    Dagster opens a connection for each event, and closing the last one is a checkpoint: so one
    connection to each database stays open. In the WAL mode that Dagster uses, a power cut then loses
    the last events at most, and the database stays whole. Other databases are not affected.

    Source: https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    kept: dict[str, sqlite3.Connection] = {}

    def relax(connection: object, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        if mode != "wal" or not path:
            return
        connection.execute("PRAGMA synchronous=NORMAL")
        if path not in kept:
            kept[path] = sqlite3.connect(path)
            # A connection opens its file when it first reads.
            kept[path].execute("SELECT count(*) FROM sqlite_master").fetchone()

    sqlalchemy_event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        sqlalchemy_event.remove(Engine, "connect", relax)
        for connection in kept.values():
            connection.close()
