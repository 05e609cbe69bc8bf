"""Files of a remote source: staged, checked, and gone when their shard is verified."""

import gc
import os
import signal
import threading
from collections.abc import Callable

import dagster as dg
import pytest

from medassets.progress import Event, SampleDone, listening
from medassets.testing.hub import LocalHub
from medassets_tests.cli.waiting import wait_until
from medassets_tests.location import Location, metadata_of

pytestmark = pytest.mark.slow

KEY = "train-000000"
SPAN = ("train-000000", "train-000002")


@pytest.fixture
def staged(remote: Callable[..., Location]) -> Location:
    """A remote dataset, catalogued, with the files of one shard staged."""
    location = remote(splits=("train",), runs="single")
    location.materialize("catalog")
    location.materialize("raw_volumes", partition=KEY)
    return location


def num_staged(location: Location) -> int:
    return location.workspace.staging.usage().num_files


def test_files_are_staged_and_told(staged: Location) -> None:
    usage = staged.workspace.staging.usage()
    told = metadata_of(staged.events("raw_volumes", KEY)[-1])
    assert told["medassets/files"] == usage.num_files == 3
    assert told["medassets/bytes"] == usage.num_bytes > 0
    assert told["medassets/needed"] is True
    assert told["medassets/rejected"] == {}


def test_a_shard_takes_the_staged_files_and_empties_the_staging_area(
    staged: Location, hub: LocalHub
) -> None:
    hub.forget_requests()
    staged.materialize("shards", partition=KEY)
    assert hub.requests() == []
    assert num_staged(staged) == 0
    assert list(staged.workspace.staging.folder.rglob("*.nii.gz*")) == []


def test_nothing_is_fetched_for_a_whole_shard(staged: Location, hub: LocalHub) -> None:
    staged.materialize("shards", partition=KEY)
    hub.forget_requests()
    staged.materialize("raw_volumes", partition=KEY)
    assert hub.requests() == []
    assert num_staged(staged) == 0
    assert metadata_of(staged.events("raw_volumes", KEY)[-1])["medassets/needed"] is False


def test_files_are_kept_where_the_declaration_says_so(remote: Callable[..., Location]) -> None:
    location = remote(splits=("train",), keep_raw=True)
    location.materialize("catalog")
    location.materialize("raw_volumes", "shards", partition=KEY)
    assert num_staged(location) == 3
    assert len(list(location.workspace.staging.folder.rglob("*.nii.gz"))) == 3


def test_a_shard_fetches_by_itself_what_is_not_staged(remote: Callable[..., Location]) -> None:
    location = remote(splits=("train",))
    location.materialize("catalog")
    location.materialize("shards", partition=KEY)
    assert metadata_of(location.events("shards", KEY)[-1])["dagster/row_count"] == 3
    assert num_staged(location) == 0


def test_files_stay_staged_until_their_shard_is_made(remote: Callable[..., Location]) -> None:
    location = remote(splits=("train",), max_rejected_share=0.0, min_slices=1000)
    location.materialize("catalog")
    location.materialize("raw_volumes", partition=KEY)
    with pytest.raises(dg.Failure, match="too_few_slices"):
        location.materialize("shards", partition=KEY)
    assert num_staged(location) == 3


def test_a_file_the_hub_lost_is_told_and_rejected(
    remote: Callable[..., Location], hub: LocalHub
) -> None:
    location = remote(splits=("train",))
    location.materialize("catalog")
    hub.fail("missing", "*train_1_a_1.nii.gz", times=100)
    location.materialize("raw_volumes", "shards", partition=KEY)
    raw = metadata_of(location.events("raw_volumes", KEY)[-1])
    assert (raw["medassets/files"], list(raw["medassets/rejected"])) == (2, ["train_1_a_1"])
    shard = metadata_of(location.events("shards", KEY)[-1])
    assert shard["medassets/rejected_by_reason"] == {"missing_upstream": 1}


def test_a_range_whose_files_exceed_the_budget_is_made_all_the_same(staged: Location) -> None:
    one_shard = staged.workspace.staging.usage().num_bytes
    budget_gb = 1.5 * one_shard / 1e9
    location = Location(
        type(staged.spec)(**{**vars(staged.spec), "staging_budget_gb": budget_gb}), staged.instance
    )
    location.materialize("raw_volumes", "shards", span=SPAN)
    told = [metadata_of(location.events("raw_volumes", key)[-1]) for key in location.keys]
    assert "medassets/left_to_shards" not in told[0]
    assert "while the shards before it are made" in told[1]["medassets/left_to_shards"]
    shards = location.instance.get_materialized_partitions(location.key("shards"))
    assert shards == set(location.keys)
    assert num_staged(location) == 0


def test_a_range_without_its_shards_fetches_what_the_budget_holds(staged: Location) -> None:
    one_shard = staged.workspace.staging.usage().num_bytes
    spec = type(staged.spec)(**{**vars(staged.spec), "staging_budget_gb": 1.5 * one_shard / 1e9})
    location = Location(spec, staged.instance)
    location.materialize("raw_volumes", span=SPAN)
    told = [metadata_of(location.events("raw_volumes", key)[-1]) for key in location.keys]
    assert "medassets/left_to_shards" not in told[0]
    assert "staging" in told[1]["medassets/left_to_shards"]


def test_a_range_fetches_files_of_a_shard_while_the_one_before_is_made(
    remote: Callable[..., Location], hub: LocalHub
) -> None:
    location = remote(splits=("train",), runs="single")
    location.materialize("catalog")
    paths = {item.path for item in location.workspace.read_partition("train-000001")}

    def wait_for_the_next(event: Event) -> None:
        if isinstance(event, SampleDone) and event.partition_key == KEY:
            wait_until(lambda: paths <= {one.path for one in hub.requests("body")})
            assert location.instance.get_materialized_partitions(location.key("shards")) == set()

    with listening(wait_for_the_next):
        location.materialize("raw_volumes", "shards", span=SPAN)
    shards = location.instance.get_materialized_partitions(location.key("shards"))
    assert shards == set(location.keys)
    asked = [one.path for one in hub.requests("body") if str(one.path).endswith(".nii.gz")]
    assert len(asked) == len(set(asked)) == 7
    assert num_staged(location) == 0


def test_a_range_keeps_the_files_of_all_its_shards_where_the_declaration_says_so(
    remote: Callable[..., Location],
) -> None:
    location = remote(splits=("train",), runs="single", keep_raw=True)
    location.materialize("catalog")
    location.materialize("raw_volumes", "shards", span=SPAN)
    told = [metadata_of(location.events("raw_volumes", key)[-1]) for key in location.keys]
    assert [one["medassets/files"] for one in told] == [3, 3, 1]
    assert num_staged(location) == 7


def test_a_range_that_is_cancelled_while_it_fetches_ahead_ends_and_keeps_what_arrived(
    remote: Callable[..., Location], hub: LocalHub
) -> None:
    location = remote(splits=("train",), runs="single")
    location.materialize("catalog")
    ahead = {item.path for item in location.workspace.read_partition("train-000001")}
    for path in ahead:
        # The whole of it would take longer than a test may.
        hub.fail("slow", path, times=None, bytes_per_s=40)

    def cancel(event: Event) -> None:
        if isinstance(event, SampleDone):
            wait_until(lambda: bool(ahead & hub.sent_bytes().keys()))
            # As Dagster itself does it in the process of a run that is cancelled.
            os.kill(os.getpid(), signal.SIGINT)

    with listening(cancel), pytest.raises(BaseException, match=r"interrupt|^$") as stopped:
        location.materialize("raw_volumes", "shards", span=SPAN)
    assert type(stopped.value).__name__ in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
    del stopped
    gc.collect()
    names = {thread.name.partition("_")[0] for thread in threading.enumerate()}
    assert not names & {"fetch-ahead", "stage"}
    partials = location.workspace.staging.folder.rglob("*.part")
    assert any(path.stat().st_size for path in partials)


def test_access_that_is_refused_ends_a_range_at_once(
    remote: Callable[..., Location], hub: LocalHub
) -> None:
    location = remote(splits=("train",), runs="single")
    location.materialize("catalog")
    for item in location.workspace.read_partition("train-000001"):
        hub.fail("forbidden", item.path, times=None)
    with pytest.raises(dg.Failure, match="2 of the run's shards were not made: train-000001"):
        location.materialize("raw_volumes", "shards", span=SPAN)
    assert location.instance.get_materialized_partitions(location.key("shards")) == {KEY}


def test_a_budget_that_cannot_hold_one_shard_fails_at_once(
    remote: Callable[..., Location],
) -> None:
    location = remote(splits=("train",), staging_budget_gb=1e-6)
    location.materialize("catalog")
    tags = {"medassets/launched_by": "medassets"}
    with pytest.raises(dg.Failure, match="staging"):
        location.materialize("raw_volumes", partition=KEY, tags=tags)


def test_a_local_folder_has_no_raw_volumes(location: Location) -> None:
    keys = {key.path[-1] for key in location.definitions.resolve_all_asset_keys()}
    assert keys == {"catalog", "shards", "manifest", "summary"}
