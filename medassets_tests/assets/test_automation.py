"""Jobs, schedule, and the condition that starts missing shards once."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from medassets_tests.location import Location


@pytest.fixture
def draining(locate: Callable[..., Location], growing: Path) -> Location:
    """A dataset that lets Dagster start its shards, catalogued."""
    location = locate(growing, automation="drain")
    location.materialize("catalog")
    return location


class Daemon:
    """Dagster's evaluation of automation conditions, tick by tick."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.cursor: dg.AssetDaemonCursor | None = None

    def tick(self) -> dict[str, set[str | None]]:
        """Return what Dagster asks for now, by stage."""
        result = dg.evaluate_automation_conditions(
            defs=self.location.definitions, instance=self.location.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        keys = self.location.definitions.resolve_all_asset_keys()
        stages = [key.path[-1] for key in keys]
        asked = {s: result.get_requested_partitions(self.location.key(s)) for s in stages}
        return {stage: set(partitions) for stage, partitions in asked.items() if partitions}


@pytest.mark.slow
def test_missing_shards_are_asked_for_once_and_not_again_after_a_refresh(
    draining: Location, grow: Callable[[], None]
) -> None:
    daemon, known = Daemon(draining), set(draining.keys)
    assert daemon.tick() == {"shards": known}
    for key in sorted(known):
        draining.materialize("shards", partition=key)
    assert "shards" not in daemon.tick()
    draining.materialize("catalog")
    assert "shards" not in daemon.tick()

    grow()
    draining.materialize("catalog")
    assert daemon.tick()["shards"] == set(draining.keys) - known


@pytest.mark.slow
def test_files_and_shards_of_a_remote_source_are_asked_for_together_and_once(
    remote: Callable[..., Location],
) -> None:
    location = remote(automation="drain", splits=("train",))
    location.materialize("catalog")
    daemon, known = Daemon(location), set(location.keys)
    assert daemon.tick() == {"raw_volumes": known, "shards": known}
    for key in sorted(known):
        location.materialize("raw_volumes", "shards", partition=key)
    # The files are released by now; that alone is no reason to fetch them again.
    assert location.workspace.staging.usage().num_files == 0
    location.materialize("catalog")
    assert set(daemon.tick()) <= {"manifest"}


def test_a_shard_that_was_there_before_the_automation_is_asked_for_when_it_is_missing(
    draining: Location,
) -> None:
    draining.materialize("shards", partition="train-000001")
    assert Daemon(draining).tick() == {"shards": set(draining.keys) - {"train-000001"}}


def test_a_failed_shard_is_left_to_the_user(locate: Callable[..., Location], growing: Path) -> None:
    (growing / "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz").write_bytes(b"no")
    location = locate(growing, automation="drain", max_rejected_share=0.0)
    location.materialize("catalog")
    daemon = Daemon(location)
    assert "train-000000" in daemon.tick()["shards"]
    location.materialize("shards", partition="train-000000", check=False)
    assert daemon.tick()["shards"] == set(location.keys) - {"train-000000"}


@pytest.mark.slow
def test_the_manifest_follows_when_every_shard_is_there(draining: Location) -> None:
    daemon = Daemon(draining)
    daemon.tick()
    for key in draining.keys:
        draining.materialize("shards", partition=key)
    assert daemon.tick() == {"manifest": {None}}
    draining.materialize("manifest")
    assert daemon.tick() == {}


def test_without_automation_nothing_is_asked_for(location: Location) -> None:
    location.materialize("catalog")
    assert Daemon(location).tick() == {}
    assert not location.definitions.sensors


def test_a_draining_dataset_has_a_sensor_that_waits_to_be_switched_on(draining: Location) -> None:
    (sensor,) = draining.definitions.sensors or []
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.name == "tiny_drain"
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


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
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_the_schedule_starts_a_refresh(location: Location) -> None:
    definitions = location.definitions
    schedule = definitions.resolve_schedule_def("tiny_catalog_schedule")
    with dg.build_schedule_context(
        instance=location.instance, repository_def=definitions.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key is None
    assert (
        definitions.resolve_job_def("tiny_catalog")
        .execute_in_process(instance=location.instance)
        .success
    )


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
