"""Jobs, schedule and sensor; the conditions are tested beside `medassets.assets.conditions`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus

from medassets.assets import factory
from medassets.datasets.automation.attempts import AttemptsLog
from medassets.datasets.automation.switch import write_switch
from medassets.datasets.automation.wanted import wants_refresh
from medassets.datasets.refresh import CatalogDraft, draft_catalog
from medassets.instance.run_tags import AUTOMATED_TAG, DATASET_TAG
from medassets.resources.workspace import WorkspaceResource
from medassets_tests.location import Location
from medassets_tests.sensors import put_sensor, put_tick

pytestmark = pytest.mark.slow  # whole builds


@pytest.mark.parametrize("declared", ["off", "on", "drain"])
def test_the_sensor_always_runs_and_the_schedule_where_automation_is_declared(
    remote: Callable[..., Location], declared: str
) -> None:
    definitions = remote(automation=declared).definitions
    (sensor,) = definitions.sensors or []
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.name == "tiny_automation"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.run_tags == {DATASET_TAG: "tiny", AUTOMATED_TAG: "yes"}
    schedule = definitions.resolve_schedule_def("tiny_catalog_schedule")
    runs = schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert runs == (declared != "off")


def test_jobs_and_a_schedule_of_the_catalog_exist(remote: Callable[..., Location]) -> None:
    definitions = remote(catalog_cron="15 3 * * *").definitions
    jobs = {name: definitions.resolve_job_def(f"tiny_{name}") for name in ("catalog", "build")}
    selected = {
        name: {key.path[-1] for key in job.asset_layer.selected_asset_keys}
        for name, job in jobs.items()
    }
    assert selected == {"catalog": {"catalog"}, "build": {"raw_volumes", "shards"}}
    assert jobs["build"].partitions_def == dg.DynamicPartitionsDefinition(name="tiny_shards")
    assert {job.executor_def.name for job in jobs.values()} == {"in_process"}
    schedule = definitions.resolve_schedule_def("tiny_catalog_schedule")
    assert schedule.cron_schedule == "15 3 * * *"


@pytest.fixture
def scheduled(location: Location) -> Iterator[Location]:
    """A dataset with an instance that a schedule can open by reference."""
    with dg.instance_for_test() as instance:
        yield replace(location, instance=instance)


def tick(location: Location) -> dg.RunRequest | str:
    """Return what the schedule asks for now, or why it asks for nothing."""
    definitions = location.definitions
    with dg.build_schedule_context(
        instance=location.instance,
        repository_def=definitions.get_repository_def(),
        resources={"workspace": WorkspaceResource()},
    ) as context:
        data = definitions.resolve_schedule_def("tiny_catalog_schedule").evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else data.skip_message or ""


def test_the_schedule_starts_a_refresh(scheduled: Location) -> None:
    request = tick(scheduled)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key is None
    assert AUTOMATED_TAG not in request.tags
    job = scheduled.definitions.resolve_job_def("tiny_catalog")
    assert job.execute_in_process(instance=scheduled.instance).success
    assert isinstance(tick(scheduled), dg.RunRequest)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_the_schedule_starts_no_refresh_beside_another(
    scheduled: Location, status: dg.DagsterRunStatus
) -> None:
    job = scheduled.definitions.resolve_job_def("tiny_catalog")
    run = scheduled.instance.create_run_for_job(job, status=status, tags=dict(job.tags))
    assert tick(scheduled) == f"run {run.run_id} refreshes the catalog already, or waits to"
    scheduled.instance.report_run_failed(run)
    assert isinstance(tick(scheduled), dg.RunRequest)


def test_a_shard_that_is_made_does_not_stop_the_schedule(scheduled: Location) -> None:
    job = scheduled.definitions.resolve_job_def("tiny_build")
    scheduled.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags=dict(job.tags)
    )
    assert isinstance(tick(scheduled), dg.RunRequest)


def test_the_schedule_rests_while_automation_is_switched_off(scheduled: Location) -> None:
    scheduled.materialize("catalog")
    paths = scheduled.workspace.paths
    write_switch(paths, "off")
    assert tick(scheduled) == "automation is off (by command; declared off)"
    write_switch(paths, "on")
    request = tick(scheduled)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[AUTOMATED_TAG] == "yes"


@pytest.fixture
def automated(scheduled: Location) -> Location:
    """The same, catalogued and automated."""
    scheduled.materialize("catalog")
    write_switch(scheduled.workspace.paths, "on")
    return scheduled


LEFT_TO_THE_SENSOR = "automation refreshes the catalog by itself, when that is due"


def test_the_schedule_leaves_a_refresh_to_the_sensor_that_starts_it_anyway(
    automated: Location,
) -> None:
    log = AttemptsLog(automated.workspace.paths)
    log.note_begin("catalog", "", run="killed", now=time.time())
    assert tick(automated) == LEFT_TO_THE_SENSOR
    for _ in log.pace.retries_s:
        log.note_failure("catalog", "", "no such table", run="failed", now=time.time())
        assert tick(automated) == LEFT_TO_THE_SENSOR
    # It is left as failed: only the schedule starts another.
    log.note_failure("catalog", "", "no such table", run="failed", now=time.time())
    assert isinstance(tick(automated), dg.RunRequest)


def test_a_refresh_that_never_begins_is_made_good_a_minute_after_the_tick(
    automated: Location,
) -> None:
    known = automated.instance.get_dynamic_partitions("tiny_shards")
    assert isinstance(tick(automated), dg.RunRequest)

    def is_wanted(seconds: float) -> bool:
        attempts, now = AttemptsLog(automated.workspace.paths).read(), time.time() + seconds
        return wants_refresh(automated.workspace, attempts, known=known, now=now)

    # Until then its run may be on its way, which the sensor could not see.
    assert [is_wanted(30), is_wanted(61)] == [False, True]
    assert tick(automated) == LEFT_TO_THE_SENSOR
    automated.materialize("catalog")
    assert not is_wanted(61)


def test_the_schedule_refreshes_where_the_sensor_does_not_work(scheduled: Location) -> None:
    # There is no catalog yet, which the sensor sees to at its first tick.
    write_switch(scheduled.workspace.paths, "on")
    assert tick(scheduled) == LEFT_TO_THE_SENSOR
    state = put_sensor(scheduled.instance, "tiny_automation")
    put_tick(scheduled.instance, state, TickStatus.FAILURE)
    assert isinstance(tick(scheduled), dg.RunRequest)
    put_tick(scheduled.instance, state, TickStatus.SKIPPED)
    assert tick(scheduled) == LEFT_TO_THE_SENSOR
    scheduled.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    assert isinstance(tick(scheduled), dg.RunRequest)


def test_the_schedule_refreshes_a_catalog_that_cannot_be_read(automated: Location) -> None:
    automated.workspace.paths.catalog.write_bytes(b"no table")
    assert isinstance(tick(automated), dg.RunRequest)


def test_a_refresh_is_on_record_before_it_can_be_killed(
    automated: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, seen = automated.workspace.paths, list[int]()

    def draft(*arguments: Any, **named: Any) -> CatalogDraft:
        seen.append(AttemptsLog(paths).read().tries["catalog"].begun)
        return draft_catalog(*arguments, **named)

    monkeypatch.setattr(factory, "draft_catalog", draft)
    automated.materialize("catalog")
    assert seen == [1]
    assert AttemptsLog(paths).read().tries == {}


def test_old_evaluations_are_forgotten_at_a_tick_of_the_schedule(scheduled: Location) -> None:
    storage = scheduled.instance.schedule_storage
    assert storage is not None
    purged: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(storage), "purge_asset_evaluations", lambda self, before: purged.append(before)
        )
        tick(scheduled)
    assert purged == [pytest.approx(time.time() - 7 * 86400, abs=60)]


@pytest.mark.parametrize(
    ("runs", "policy"),
    [
        ("per-shard", dg.BackfillPolicy.multi_run(1)),
        ("batch: 4", dg.BackfillPolicy.multi_run(4)),
        ("single", dg.BackfillPolicy.single_run()),
    ],
)
def test_runs_of_the_declaration_become_a_backfill_policy(
    remote: Callable[..., Location], runs: str, policy: dg.BackfillPolicy
) -> None:
    definitions = remote(runs=runs).definitions
    for stage in ("raw_volumes", "shards"):
        assert definitions.get_assets_def(["tiny", stage]).backfill_policy == policy
