"""What is fetched while a shard is computed, what gives way to it, and what is left of a stop."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.build import open_ahead, stage_partition
from medassets.datasets.overlap.fetch_ahead import MOST_AHEAD, FetchAhead, stage_first
from medassets.errors import DiskSpaceError, SourceAccessError
from medassets.progress import Event, FetchedAhead, SampleDone, listening
from medassets.shards.files import lock_path, read_whole_record
from medassets.shards.record import ShardRecord
from medassets.storage.locks import lock_file
from medassets_tests.cli.waiting import wait_until
from medassets_tests.datasets.overlap.serving import Served

OpenServed = Callable[[str], Served]


def fetch_two(served: Served, ahead: FetchAhead) -> None:
    """Fetch the files of the second and third shard ahead."""
    ahead.begin(served.keys[0])
    for number in (1, 2):
        wait_until(lambda number=number: served.staged(number) == served.paths(number))


def names_of_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("fetch-ahead", "stage"))]


def test_files_of_the_next_shard_are_asked_for_while_a_shard_is_computed(served: Served) -> None:
    first, second, *_ = served.keys
    order: list[str] = []

    def observe(done: SampleDone) -> None:
        if done.partition_key == first:
            wait_until(lambda: served.asked(1) == served.paths(1))
            assert read_whole_record(served.workspace.paths, first) is None
        order.append(done.partition_key)

    served.build(observe)
    assert order == sorted(order)
    assert read_whole_record(served.workspace.paths, second) is not None


def test_no_more_than_two_shards_are_fetched_ahead(served: Served) -> None:
    def observe(done: SampleDone) -> None:
        if done.partition_key == served.keys[0]:
            wait_until(lambda: served.staged(MOST_AHEAD) == served.paths(MOST_AHEAD))
            assert not served.asked(MOST_AHEAD + 1)

    served.build(observe)


def test_shards_and_records_are_those_of_a_build_without_overlap(open_served: OpenServed) -> None:
    overlapped, plain = open_served("overlapped"), open_served("plain")
    overlapped.build()
    for key in plain.keys:
        plain.build_one(key)
    assert len(overlapped.shards()) == 8
    assert overlapped.shards() == plain.shards()
    assert overlapped.workspace.staging.usage().num_files == 0


def test_each_file_is_fetched_once(served: Served) -> None:
    served.build()
    asked = [one.path for one in served.hub.requests("body")]
    assert len(asked) == len(set(asked)) == 7


@pytest.mark.parametrize("share", [1.0, 1.5])
def test_a_budget_of_less_than_two_shards_suffices(served: Served, share: float) -> None:
    largest = max(served.num_bytes(number) for number in range(4))
    tight = served.with_budget(int(share * largest))
    tight.build()
    assert len(tight.shards()) == 8


def test_what_is_fetched_ahead_gives_way_to_the_shard_whose_turn_it_is(served: Served) -> None:
    tight = served.with_budget(served.num_bytes(1, 2))
    last = tight.keys[3]
    with open_ahead(tight.workspace, tight.keys) as ahead, ahead.serving():
        fetch_two(tight, ahead)
        stage_first(tight.workspace, last, tight.workspace.read_partition(last))
        assert tight.staged(3) == tight.paths(3)
        assert not tight.staged(1) | tight.staged(2)


def test_a_disk_that_is_full_of_files_fetched_ahead_is_freed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free_bytes(_: Path) -> int:
        return 0 if served.staged(1) else 1 << 40

    with open_ahead(served.workspace, served.keys) as ahead, ahead.serving():
        fetch_two(served, ahead)
        monkeypatch.setattr("medassets.storage.disk.free_bytes", free_bytes)
        served.build_one(served.keys[0])
    assert read_whole_record(served.workspace.paths, served.keys[0]) is not None


def test_files_that_another_process_makes_a_shard_of_do_not_give_way(served: Served) -> None:
    tight = served.with_budget(served.num_bytes(1, 2))
    with (
        open_ahead(tight.workspace, tight.keys) as ahead,
        ahead.serving(),
        lock_file(lock_path(tight.workspace.paths.shard(tight.keys[1]))),
    ):
        fetch_two(tight, ahead)
        assert ahead.drop(tight.keys[3])
        assert tight.staged(1) == tight.paths(1)
        assert not tight.staged(2)


def test_files_that_were_staged_before_do_not_give_way(served: Served) -> None:
    stage_partition(served.workspace, served.keys[1])
    with open_ahead(served.workspace, served.keys) as ahead:
        fetch_two(served, ahead)
        assert ahead.drop(served.keys[0])
        assert served.staged(1) == served.paths(1)
        assert not served.staged(2)


def test_nothing_is_fetched_ahead_where_the_current_shard_needs_the_disk(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, (first, second, *_) = served.workspace, served.keys
    rows = workspace.read_partition(first)
    expected = sum(workspace.kind.estimate(item.row).sample_bytes for item in rows)
    room = expected + served.num_bytes(1)
    monkeypatch.setattr("medassets.storage.disk.free_bytes", lambda _: room - 1)
    with open_ahead(workspace, served.keys) as ahead:
        ahead.begin(first)
        ahead.take(second)
        assert not served.asked(1)
        monkeypatch.setattr("medassets.storage.disk.free_bytes", lambda _: room)
        ahead.begin(first)
        ahead.take(second)
    assert served.staged(1) == served.paths(1)


def test_a_whole_shard_is_not_fetched_ahead_unless_it_is_forced(served: Served) -> None:
    first, second, *_ = served.keys
    served.build_one(second)
    served.hub.forget_requests()
    with open_ahead(served.workspace, served.keys) as ahead:
        ahead.begin(first)
        ahead.take(second)
        assert not served.asked(1)
    with open_ahead(served.workspace, served.keys, forced=[second]) as ahead:
        ahead.begin(first)
        ahead.take(second)
    assert served.staged(1) == served.paths(1)
    # A kill now would leave the shard whole and its files staged; the next build looks at it.
    assert lock_path(served.workspace.paths.shard(second)).exists()
    served.build_one(second)
    assert served.staged(1) == set()


def test_access_that_is_refused_ahead_fails_its_own_shard_alone(served: Served) -> None:
    first, second, *_ = served.keys
    for path in served.paths(1):
        served.hub.fail("forbidden", path, times=None)
    with open_ahead(served.workspace, served.keys) as ahead, ahead.serving():

        def observe(_: SampleDone) -> None:
            wait_until(lambda: any(one.path in served.paths(1) for one in served.hub.requests()))

        served.build_one(first, observe)
        with pytest.raises(SourceAccessError):
            served.build_one(second)
    assert read_whole_record(served.workspace.paths, first) is not None
    assert read_whole_record(served.workspace.paths, second) is None


def test_a_file_that_fails_ahead_and_then_arrives_fails_nothing(served: Served) -> None:
    path = sorted(served.paths(1))[0]
    served.hub.fail("wrong_bytes", path, times=3)
    served.build()
    records = [
        ShardRecord.read(path) for path in served.workspace.paths.folder.rglob("shard-*.json")
    ]
    assert [record.rejected for record in records] == [()] * 4


def test_a_file_that_is_missing_rejects_its_sample_alone(served: Served) -> None:
    path = sorted(served.paths(1))[0]
    served.hub.fail("missing", path, times=None)
    served.build()
    records = [
        ShardRecord.read(path) for path in served.workspace.paths.folder.rglob("shard-*.json")
    ]
    rejected = {record.partition: len(record.rejected) for record in records}
    assert rejected == {key: int(key == served.keys[1]) for key in served.keys}


def test_a_stop_ends_slow_downloads_keeps_their_bytes_and_leaves_no_thread(
    served: Served,
) -> None:
    first, second, *_ = served.keys
    # So slow that the whole of it would take longer than the test may.
    served.hub.fail("slow", "*.nii.gz", times=None, bytes_per_s=40)
    with open_ahead(served.workspace, served.keys) as ahead:
        ahead.begin(first)
        wait_until(lambda: bool(set(served.hub.sent_bytes()) & served.paths(1)))
    assert not names_of_threads()
    assert not served.staged(1)
    served.hub.heal()
    served.hub.forget_requests()
    stage_partition(served.workspace, second)
    assert any(one.range_start for one in served.hub.requests("body"))


def test_a_stop_ends_the_wait_for_the_rest_of_a_file(served: Served) -> None:
    patient = served.with_policy(stall_timeout_s=1000.0)
    served.hub.fail("stall", "*.nii.gz", at_byte=100, times=None)
    with open_ahead(patient.workspace, patient.keys) as ahead:
        ahead.begin(patient.keys[0])
        folder = patient.workspace.staging.folder
        wait_until(lambda: len([p for p in folder.rglob("*.part") if p.stat().st_size]) == 2)
    assert not names_of_threads()


def test_a_stop_ends_the_pause_between_two_requests(served: Served) -> None:
    patient = served.with_policy(first_backoff_s=1000.0, longest_backoff_s=1000.0)
    served.hub.fail("unavailable", place="paths-info", times=None)
    with open_ahead(patient.workspace, patient.keys) as ahead:
        ahead.begin(patient.keys[0])
        wait_until(lambda: bool(served.hub.requests("paths-info")))
    assert not names_of_threads()


def test_files_of_a_shard_that_was_made_meanwhile_are_removed_at_the_end(served: Served) -> None:
    workspace, second = served.workspace, served.keys[1]
    with open_ahead(workspace, served.keys) as ahead:
        fetch_two(served, ahead)
        served.build_one(second)
        # As if the files had arrived just after the other build released its own.
        workspace.stage(workspace.read_partition(second))
    assert not served.staged(1)
    assert served.staged(2) == served.paths(2)


def test_what_arrives_ahead_is_told_with_the_samples(served: Served) -> None:
    seen: list[Event] = []

    def observe(done: SampleDone) -> None:
        if done.partition_key == served.keys[0]:
            wait_until(lambda: served.staged(1) == served.paths(1))

    with listening(seen.append):
        served.build(observe)
    ahead = [event for event in seen if isinstance(event, FetchedAhead)]
    assert {event.partition_key for event in ahead} <= set(served.keys[1:])
    second = [event for event in ahead if event.partition_key == served.keys[1]]
    assert sum(event.num_bytes for event in second) == served.num_bytes(1)
    assert second[-1].total_bytes == served.num_bytes(1)


def test_room_that_nothing_holds_is_still_missing(served: Served) -> None:
    tiny = served.with_budget(10)
    with (
        open_ahead(tiny.workspace, tiny.keys) as ahead,
        ahead.serving(),
        pytest.raises(DiskSpaceError, match="staging budget"),
    ):
        tiny.build_one(tiny.keys[0])
