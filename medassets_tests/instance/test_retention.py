"""Logs of old runs go; what they made stays on record."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.instigation_logger import InstigationLogger

from medassets.instance.home import make_instance
from medassets.instance.postgres import read_url
from medassets.instance.retention import purge_old_runs, purge_tick_logs
from medassets.instance.settings import write_settings
from medassets_tests.instance.killed import put_run
from medassets_tests.instance.postgres_server import running_postgres
from medassets_tests.sensors import REPOSITORY, put_sensor

PARTITIONS = dg.StaticPartitionsDefinition(["one", "two", "bad"])
LATER = datetime.now(UTC) + timedelta(days=31)


@dg.asset(partitions_def=PARTITIONS)
def shard(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    if context.partition_key == "bad":
        msg = "no such file"
        raise dg.Failure(msg)
    return dg.MaterializeResult(metadata={"count": 3}, data_version=dg.DataVersion("v1"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def instance(request: pytest.FixtureRequest, home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with a run for each partition, one of which failed."""
    with ExitStack() as stack:
        if request.param == "postgres":
            url = read_url(stack.enter_context(running_postgres()), field="url")
            folder = home / "dagster"
            folder.mkdir(parents=True)
            write_settings(folder, postgres_url=url.render_as_string(hide_password=False))
        make_instance()
        instance = stack.enter_context(dg.DagsterInstance.get())
        for key in PARTITIONS.get_partition_keys():
            dg.materialize([shard], partition_key=key, instance=instance, raise_on_error=False)
        yield instance


def count_events(instance: dg.DagsterInstance) -> list[int]:
    return [len(instance.all_logs(run.run_id)) for run in instance.get_runs()]


def statuses(instance: dg.DagsterInstance) -> dict[str, str]:
    found = instance.get_status_by_partition(shard.key, PARTITIONS.get_partition_keys(), PARTITIONS)
    assert found is not None
    return {key: status.value if status else "" for key, status in found.items()}


def test_old_runs_lose_their_logs_and_shards_stay_materialized(
    instance: dg.DagsterInstance,
) -> None:
    before = count_events(instance)
    assert purge_old_runs(instance, keep_days=30) == 0
    assert count_events(instance) == before
    assert purge_old_runs(instance, keep_days=30, now=LATER) == 3
    with dg.DagsterInstance.get() as later:
        later.wipe_asset_cached_status([shard.key])
        assert statuses(later) == {"one": "MATERIALIZED", "two": "MATERIALIZED", "bad": "FAILED"}
        for record in later.fetch_materializations(shard.key, limit=9).records:
            made = record.asset_materialization
            assert made is not None
            assert made.metadata["count"].value == 3
        after = count_events(later)
        assert len(after) == 3
        assert all(now < then / 2 for now, then in zip(after, before, strict=True))


def test_an_unfinished_run_keeps_its_log(instance: dg.DagsterInstance) -> None:
    run = put_run(instance)
    instance.report_engine_event("at work", run)
    purge_old_runs(instance, keep_days=30, now=LATER)
    assert [event.message for event in instance.all_logs(run.run_id)] == ["at work"]


def put_tick_log(instance: dg.DagsterInstance, sensor: str, tick: str, *, days_ago: float) -> Path:
    """Write what a sensor logs at a tick, at a time."""
    key = [REPOSITORY, sensor, tick]
    with InstigationLogger(key, instance) as logger:
        logger.info("evaluated")
    path = Path(instance.storage_directory()) / REPOSITORY / sensor / f"{tick}.err"
    written = (datetime.now(UTC) - timedelta(days=days_ago)).timestamp()
    os.utime(path, (written, written))
    return path


def test_the_log_of_a_tick_goes_with_the_tick(home: Path) -> None:
    settings = make_instance() / "dagster.yaml"
    shipped = settings.read_text()
    with dg.DagsterInstance.get() as instance:
        put_sensor(instance, "lungs_automation")
        put_sensor(instance, "never_logged")
    for success, keep_days, kept in (
        ("7", 30, [1, 6]),
        ("7", 3, [1]),
        ("20", 30, [1, 6, 15]),
        ("-1", 30, [1, 6, 15]),
    ):
        settings.write_text(shipped.replace("success: 7", f"success: {success}"))
        with dg.DagsterInstance.get() as instance:
            logs = {
                days: put_tick_log(instance, "lungs_automation", str(days), days_ago=days)
                for days in (1, 6, 15, 40)
            }
            assert purge_tick_logs(instance, keep_days=keep_days) == len(logs) - len(kept)
        assert [days for days, path in logs.items() if path.exists()] == kept
