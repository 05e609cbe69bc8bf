"""Several shards in one run: each on record by itself, none harmed by another."""

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets.datasets.build import build_shard
from medassets.io_managers import tar_shards
from medassets.progress import Event, SampleDone, listening
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.location import Location, Shell, events_of, metadata_of

TRAIN = ["train-000000", "train-000001", "train-000002"]
SPAN = (TRAIN[0], TRAIN[-1])

# Dagster's own command, but its third shard never gets beyond its first volume.
STUCK = """
import sys, time
from pathlib import Path
from medassets.volumes import samples
encode = samples.encode_volume_sample
victim = sys.argv.pop()
def stuck(item, *arguments, **more):
    if item.key == victim:
        Path("stuck").touch()
        time.sleep(300)
    return encode(item, *arguments, **more)
samples.encode_volume_sample = stuck
from dagster._cli import main
main()
"""


@pytest.fixture
def single(location: Location) -> Location:
    """The synthetic repository with `runs: single`, catalogued."""
    location = replace(location, spec=replace(location.spec, runs="single"))
    location.materialize("catalog")
    return location


def test_each_shard_is_on_record_before_the_next_one_is_begun(single: Location) -> None:
    seen: dict[str, set[str]] = {}

    def note(progress: Event) -> None:
        assert isinstance(progress, SampleDone)
        known = single.instance.get_materialized_partitions(single.key("shards"))
        seen.setdefault(progress.partition_key, set(known))

    with listening(note):
        single.materialize("shards", span=SPAN)
    assert seen == {TRAIN[0]: set(), TRAIN[1]: {TRAIN[0]}, TRAIN[2]: {TRAIN[0], TRAIN[1]}}


def test_the_closing_events_repeat_the_metadata_of_each_shard(single: Location) -> None:
    single.materialize("shards", span=SPAN)
    for key in TRAIN:
        own, closing = (event.metadata for event in single.events("shards", key))
        assert own == closing
        assert own["dagster/uri"].value == str(single.workspace.paths.shard(key))
    digests = {metadata_of(single.events("shards", k)[-1])["medassets/sha256"] for k in TRAIN}
    assert len(digests) == len(TRAIN)


def test_the_event_of_a_shard_in_a_range_has_the_versions_of_a_run_of_its_own(
    single: Location,
) -> None:
    single.materialize("shards", span=SPAN)
    single.materialize("shards", partition=TRAIN[1])
    ranged, _, alone = (event.tags or {} for event in single.events("shards", TRAIN[1]))
    for name in ("dagster/data_version", "dagster/code_version"):
        assert ranged[name] == alone[name]


@pytest.fixture
def broken(locate: Callable[..., Location], own_repository: Path) -> Location:
    """A dataset whose second shard holds a file that is no volume, and may reject none."""
    (own_repository / "dataset/train_fixed/train_2/train_2_a/train_2_a_2.nii.gz").write_bytes(b"no")
    location = locate(own_repository, runs="single", max_rejected_share=0.0)
    location.materialize("catalog")
    assert "train_2_a_2" in [item.key for item in location.workspace.read_partition(TRAIN[1])]
    return location


def test_a_failing_shard_gets_no_event_and_the_others_go_on(broken: Location) -> None:
    result = broken.materialize("shards", span=SPAN, check=False)
    assert not result.success
    made = broken.instance.get_materialized_partitions(broken.key("shards"))
    assert made == {TRAIN[0], TRAIN[2]}
    (failure,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.label == "intentional-failure"
    assert "1 of the run's shards were not made: train-000001" in str(failure.error)
    told = str(failure.user_failure_data.metadata["medassets/failed"].value)
    assert "train_2_a_2: corrupt_gzip" in told
    # What the finished shards were told stays the newest word on them.
    assert "medassets/preview" in broken.events("shards", TRAIN[0])[-1].metadata


def test_a_shard_that_the_disk_refuses_does_not_stop_the_others(
    single: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(workspace: Any, paths: Any, work: Any, **more: Any) -> Any:
        if work.partition_key == TRAIN[1]:
            raise OSError(errno.EIO, "Input/output error")
        return build_shard(workspace, paths, work, **more)

    monkeypatch.setattr(tar_shards, "build_shard", refused)
    with pytest.raises(dg.Failure, match="1 of the run's shards were not made: train-000001"):
        single.materialize("shards", span=SPAN)
    made = single.instance.get_materialized_partitions(single.key("shards"))
    assert made == {TRAIN[0], TRAIN[2]}


def test_a_failed_shard_is_shown_as_failed_and_the_others_are_not(broken: Location) -> None:
    broken.materialize("shards", span=SPAN, check=False)
    partitions = dg.DynamicPartitionsDefinition(name=broken.spec.partitions_name)
    states = broken.instance.get_status_by_partition(broken.key("shards"), TRAIN, partitions)
    shown = {key: state.value for key, state in (states or {}).items() if state is not None}
    assert [shown[key] for key in TRAIN] == ["MATERIALIZED", "FAILED", "MATERIALIZED"]


@pytest.mark.slow
def test_a_killed_range_keeps_the_events_of_its_finished_shards(
    shell: Shell, repository: SyntheticRepository, tiny: dict[str, object]
) -> None:
    shell.declare("mine", source="folder", folder=str(repository.folder), runs="single", **tiny)
    key = dg.AssetKey(["mine", "shards"])
    with shell.instance() as instance:
        mine = shell.location("mine", instance)
        mine.materialize("catalog")
        stuck_at = mine.workspace.read_partition(TRAIN[2])[0].key
        arguments = ["--select", "mine/shards", "--partition-range", f"{TRAIN[0]}...{TRAIN[2]}"]
        start = ["asset", "materialize", "-m", "medassets.definitions"]
        command = [sys.executable, "-c", STUCK, *start, *arguments, stuck_at]
        with subprocess.Popen(command, env=shell.environment, cwd=shell.folder) as process:
            wait_for(shell.folder / "stuck", process)
            process.send_signal(signal.SIGKILL)
        assert instance.get_materialized_partitions(key) == set(TRAIN[:2])
        before = {event.partition: event.metadata for event in events_of(instance, key)}
        assert all("medassets/preview" in metadata for metadata in before.values())

        mine.materialize("shards", span=SPAN)
        adopted = {k: metadata_of(mine.events("shards", k)[-1])["medassets/adopted"] for k in TRAIN}
    assert adopted == {TRAIN[0]: True, TRAIN[1]: True, TRAIN[2]: False}


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
