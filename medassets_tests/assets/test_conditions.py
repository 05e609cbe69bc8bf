"""What Dagster asks for, tick by tick, as disk and journal tell it."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from medassets.assets.conditions import DatasetSensor
from medassets.datasets.automation.attempts import AttemptsLog, Tries
from medassets.datasets.automation.pace import VARIABLE
from medassets.datasets.automation.switch import write_switch
from medassets.datasets.build import build_shard, plan_shard
from medassets.definitions import build_definitions, load_declared
from medassets.instance.run_tags import AUTOMATED_TAG
from medassets.testing.hub import LocalHub
from medassets_tests.location import Location


@pytest.fixture
def automated(locate: Callable[..., Location], growing: Path) -> Location:
    """A dataset that lets Dagster start its shards, catalogued."""
    location = locate(growing, automation="on")
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


def tries_of(location: Location, key: str) -> Tries | None:
    """Return what was tried of a shard."""
    return AttemptsLog(location.workspace.paths).read().tries.get(f"shards/{key}")


def wait_until(moment: float) -> None:
    """Let the time pass until a moment that the journal names."""
    time.sleep(max(0.0, moment - time.time()))


@pytest.mark.slow
def test_what_changed_is_asked_for_once_the_short_last_shards_among_it(
    automated: Location, grow: Callable[[], None]
) -> None:
    daemon, known = Daemon(automated), set(automated.keys)
    assert daemon.tick() == {"shards": known}
    for key in sorted(known):
        automated.materialize("shards", partition=key)
    assert "shards" not in daemon.tick()
    automated.materialize("catalog")
    assert "shards" not in daemon.tick()

    grow()
    automated.materialize("catalog")
    short = {"train-000002", "valid-000002"}
    assert daemon.tick() == {"shards": (set(automated.keys) - known) | short}


@pytest.mark.slow
def test_files_and_shards_of_a_remote_source_are_asked_for_together_and_once(
    remote: Callable[..., Location],
) -> None:
    location = remote(automation="on", splits=("train",))
    location.materialize("catalog")
    daemon, known = Daemon(location), set(location.keys)
    assert daemon.tick() == {"raw_volumes": known, "shards": known}
    for key in sorted(known):
        location.materialize("raw_volumes", "shards", partition=key)
    # The files are released by now; that alone is no reason to fetch them again.
    assert location.workspace.staging.usage().num_files == 0
    location.materialize("catalog")
    assert set(daemon.tick()) <= {"manifest"}


def test_the_catalog_is_asked_for_when_there_is_none_and_when_dagster_lacks_keys(
    locate: Callable[..., Location], growing: Path
) -> None:
    location = locate(growing, automation="on")
    daemon = Daemon(location)
    assert daemon.tick() == {"catalog": {None}}
    location.materialize("catalog")
    assert "catalog" not in daemon.tick()
    name = location.spec.partitions_name
    location.instance.delete_dynamic_partition(name, "train-000000")
    asked = daemon.tick()
    assert asked["catalog"] == {None}
    assert "train-000000" not in asked["shards"]


def test_a_lost_catalog_beside_shards_is_not_planned_anew(automated: Location) -> None:
    automated.materialize("shards", partition="train-000000")
    automated.workspace.paths.catalog.unlink()
    assert Daemon(automated).tick() == {}


def test_shards_that_are_lost_or_whole_are_told_apart(automated: Location) -> None:
    for key in ("train-000000", "train-000001"):
        automated.materialize("shards", partition=key)
    tar = automated.workspace.paths.shard("train-000000")
    tar.write_bytes(tar.read_bytes()[:-512])
    assert Daemon(automated).tick() == {"shards": set(automated.keys) - {"train-000001"}}


@pytest.mark.slow
def test_a_failed_shard_is_tried_again_three_times_and_then_left(
    locate: Callable[..., Location], growing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (growing / "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz").write_bytes(b"no")
    location = locate(growing, automation="on", max_rejected_share=0.0)
    location.materialize("catalog")
    daemon, key = Daemon(location), "train-000000"
    monkeypatch.setenv(VARIABLE, "0.5,0.6,0.7")
    for failures in (1, 2, 3, 4):
        assert key in daemon.tick()["shards"]
        location.materialize("shards", partition=key, check=False)
        tries = tries_of(location, key)
        assert tries is not None
        assert tries.failures == failures
        if tries.next_at is not None:
            assert time.time() >= tries.next_at or key not in daemon.tick()["shards"]
            wait_until(tries.next_at)
    assert tries.next_at is None
    assert "samples were rejected (corrupt_gzip" in tries.error
    assert daemon.tick()["shards"] == set(location.keys) - {key}


@pytest.mark.slow
def test_the_manifest_follows_when_no_shard_is_left_to_make(automated: Location) -> None:
    daemon = Daemon(automated)
    for key in automated.keys:
        assert "manifest" not in daemon.tick()
        automated.materialize("shards", partition=key)
    assert daemon.tick() == {"manifest": {None}}
    automated.materialize("manifest")
    assert daemon.tick() == {}


@pytest.mark.slow
def test_a_source_that_is_away_counts_against_no_shard_and_one_shard_looks_again(
    remote: Callable[..., Location], hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second or two would pass on a busy machine before anything is asked.
    monkeypatch.setenv(VARIABLE, "40")
    location = remote(automation="on", splits=("train",))
    location.materialize("catalog")
    daemon, log = Daemon(location), AttemptsLog(location.workspace.paths)
    first, second, *_ = location.keys
    hub.fail("gated", times=None)
    make(location, first)
    num_asked = len(hub.requests())
    make(location, second)
    assert len(hub.requests()) == num_asked, "the second run must not ask a source that is away"
    attempts = log.read()
    assert attempts.away is not None
    assert attempts.away.looks == 1
    assert [tries.failures for tries in attempts.tries.values()] == [0]

    wait_until(attempts.away.next_at)
    looking = daemon.tick()
    assert looking == {"raw_volumes": {second}, "shards": {second}}
    make(location, second)
    attempts = log.read()
    assert attempts.away is not None
    assert attempts.away.looks == 2
    assert daemon.tick() == {}

    hub.heal()
    wait_until(attempts.away.next_at)
    assert len(daemon.tick()["shards"]) == 1
    make(location, first, succeeds=True)
    assert log.read().away is None
    assert daemon.tick()["shards"] == set(location.keys) - {first}


def make(location: Location, key: str, *, succeeds: bool = False) -> None:
    """Make a shard as a run of automation does."""
    tags = {AUTOMATED_TAG: "yes"}
    done = location.materialize("raw_volumes", "shards", partition=key, check=False, tags=tags)
    assert done.success == succeeds


def test_without_automation_nothing_is_asked_for_or_noted(
    location: Location,
) -> None:
    location.materialize("catalog")
    location.materialize("shards", partition="train-000000")
    assert Daemon(location).tick() == {}
    assert not location.workspace.paths.attempts.exists()


def test_the_word_of_the_command_wins_over_the_declaration(automated: Location) -> None:
    daemon, paths = Daemon(automated), automated.workspace.paths
    write_switch(paths, "off")
    assert daemon.tick() == {}
    write_switch(paths, "on")
    assert daemon.tick() == {"shards": set(automated.keys)}


@pytest.mark.slow
def test_a_shard_that_is_whole_although_its_run_failed_is_taken_over_once(
    automated: Location,
) -> None:
    key, daemon = "train-000000", Daemon(automated)
    work = plan_shard(automated.workspace, key)
    job = automated.definitions.resolve_job_def("tiny_build")
    run = automated.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": key}
    )
    # The database was away when the run ended: the shard is whole, and on record as failed.
    build_shard(automated.workspace, automated.workspace.paths, work)
    automated.instance.report_run_failed(run)
    assert key in daemon.tick()["shards"]
    automated.materialize("shards", partition=key, tags={AUTOMATED_TAG: "yes"})
    assert automated.events("shards", key)[0].metadata["medassets/adopted"].value is True
    assert key not in daemon.tick()["shards"]


def test_the_files_of_a_shard_that_is_being_made_are_not_asked_for_again(
    remote: Callable[..., Location],
) -> None:
    location = remote(automation="on", splits=("train",))
    location.materialize("catalog")
    daemon, first = Daemon(location), location.keys[0]
    job = location.definitions.resolve_job_def("tiny_build")
    run = location.instance.create_run_for_job(
        job.get_subset(asset_selection={location.key("shards")}),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": first},
        asset_selection=frozenset({location.key("shards")}),
    )
    rest = set(location.keys) - {first}
    assert daemon.tick() == {"raw_volumes": rest, "shards": rest}
    location.instance.report_run_failed(run)
    assert daemon.tick() == {"raw_volumes": set(location.keys), "shards": set(location.keys)}


def look(location: Location, instance: dg.DagsterInstance) -> str | int:
    """Return why a tick of the dataset's sensor asks for nothing, or how many requests it has."""
    definitions = location.definitions
    (sensor,) = definitions.sensors or []
    assert isinstance(sensor, dg.SensorDefinition)
    with dg.build_sensor_context(
        instance=instance, repository_def=definitions.get_repository_def()
    ) as context:
        data = sensor.evaluate_tick(context)
    return data.skip_message or len(data.run_requests or [])


# Dagster itself calls it when a sensor asks for a backfill.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")
def test_a_tick_at_which_nothing_is_wanted_is_skipped(automated: Location) -> None:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(automated.spec.partitions_name, automated.keys)
        job = automated.definitions.resolve_job_def("tiny_catalog")
        run = instance.create_run_for_job(job, tags=dict(job.tags))
        assert look(automated, instance) == f"run {run.run_id} was created and is not queued yet"
        instance.report_run_failed(run)
        assert look(automated, instance) == 1, "one backfill of all shards"
        write_switch(automated.workspace.paths, "off")
        assert look(automated, instance) == "automation is off (by command; declared on)"
        write_switch(automated.workspace.paths, None)
        log = AttemptsLog(automated.workspace.paths)
        log.note_away("shards/train-000000", "", "no answer", run="r", now=time.time())
        waits = str(look(automated, instance))
        assert re.fullmatch(r"6 shards wait, looked at in 1[12]\d s: no answer", waits)


def follow(daemon: Daemon) -> list[int]:
    """Do what Dagster asks for until it asks for nothing; return each number of samples listed."""
    location, listed = daemon.location, list[int]()
    manifest = location.workspace.paths.manifest("train")
    for _ in range(20):
        asked = daemon.tick()
        if not asked:
            return listed
        for key in sorted(filter(None, asked.get("shards", ()))):
            location.materialize("shards", partition=key, tags={AUTOMATED_TAG: "yes"})
        for stage in {"catalog", "manifest"} & asked.keys():
            location.materialize(stage, tags={AUTOMATED_TAG: "yes"})
        if manifest.exists():
            listed.append(json.loads(manifest.read_bytes())["total_samples"])
    raise AssertionError(listed)


@pytest.mark.slow
def test_a_source_that_grows_three_times_never_costs_the_manifest_a_sample(
    locate: Callable[..., Location], stages_of_growth: tuple[Path, Path], tmp_path: Path
) -> None:
    source = Path(shutil.copytree(stages_of_growth[1], tmp_path / "source"))
    patients = sorted((source / "dataset/train_fixed").iterdir())
    for patient in patients[2:]:
        patient.rename(tmp_path / patient.name)
    # Two samples a shard, and one or three a patient: the last shard is short again and again.
    location = locate(source, automation="on", splits=("train",), samples_per_shard=2)
    daemon, listed, sizes = Daemon(location), list[int](), list[int]()
    for patient in [None, *patients[2:]]:
        if patient is not None:
            (tmp_path / patient.name).rename(patient)
            location.materialize("catalog")
        listed += follow(daemon)
        sizes.append(len(list(source.rglob("*.nii.gz"))))
        assert listed[-1] == sizes[-1] - len(list(source.glob("dataset/valid_fixed/**/*.gz")))
    assert len(sizes) == 4
    assert listed == sorted(listed)
    assert daemon.tick() == {}


def test_the_sensors_of_the_code_location_are_those_that_skip_idle_ticks(home: Path) -> None:
    sensors = list(build_definitions(load_declared()).sensors or [])
    assert len(sensors) > 3
    assert {type(sensor) for sensor in sensors} == {DatasetSensor}
    (copy, *_) = sensors
    assert isinstance(copy, DatasetSensor)
    again = copy.with_attributes(metadata={"x": "y"})
    assert (again.name, again.run_tags, again.sensor_type) == (
        copy.name,
        copy.run_tags,
        copy.sensor_type,
    )
