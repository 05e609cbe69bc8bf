"""The loop of a training script: order, workers, resume, failures, ends."""

import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from medassets.errors import ShardIntegrityError
from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.buffers import POOL
from medassets.loaders.loader import choose_num_workers
from medassets.testing.shards import make_shards, make_volume_members
from medassets_tests.loaders.test_volumes import damage

KINDS = [("thread", 0), ("thread", 1), ("thread", 3), ("process", 2)]


class Numbers(Dataset[int]):
    """Samples that are their own index; slow ones at random."""

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count = count
        self.fail_at = fail_at
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __getitem__(self, index: int) -> int:
        if index == self.fail_at:
            msg = f"sample {index}"
            raise ShardIntegrityError(msg)
        time.sleep(0.0005 * (index % 3))
        return index


def make_loader(count: int, kind: tuple[str, int], **arguments: Any) -> Loader:
    return Loader(
        Numbers(count),
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        collate_fn=list,
        **arguments,
    )


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("medassets-loader")]


def wait_for_threads() -> None:
    deadline = time.monotonic() + 30
    while threads_left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads_left()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    world_size=st.integers(1, 8),
    num_workers=st.integers(0, 4),
    batch_size=st.integers(1, 4),
    uneven=st.sampled_from(["pad", "drop"]),
    stop=st.integers(0, 40),
    other_workers=st.integers(0, 4),
)
def test_ranks_share_the_dataset_and_resume_anywhere(
    count: int,
    world_size: int,
    num_workers: int,
    batch_size: int,
    uneven: Any,
    stop: int,
    other_workers: int,
) -> None:
    if uneven == "drop" and count < world_size:
        return
    lengths, seen = set(), []
    for rank in range(world_size):
        arguments = {
            "batch_size": batch_size,
            "shuffle": True,
            "uneven": uneven,
            "rank": rank,
            "world_size": world_size,
        }
        loader = make_loader(count, ("thread", num_workers), **arguments)
        first, second = list(loader), list(loader)
        lengths |= {len(first), len(second), len(loader)}
        seen += itertools.chain.from_iterable(first)
        stopped = make_loader(count, ("thread", num_workers), **arguments)
        for _ in zip(range(stop), stopped, strict=False):
            pass
        resumed = make_loader(count, ("thread", other_workers), **arguments)
        resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        # zip asks once more than it hands out, unless the epoch has ended.
        taken = min(stop, len(first))
        done = stopped.state_dict()["batch"] if stop <= len(first) else len(first)
        assert done >= taken
        if done < len(first):
            assert list(resumed) == first[done:]
        assert list(resumed) == second
    assert len(lengths) == 1
    assert len(set(seen)) >= (count if uneven == "pad" else count - world_size + 1)
    if uneven == "drop":
        assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("other", KINDS, ids=lambda k: f"{k[0]}{k[1]}")
def test_stopping_after_any_batch_goes_on_with_the_next(
    kind: tuple[str, int], other: tuple[str, int]
) -> None:
    arguments = {"batch_size": 3, "shuffle": True, "seed": 4, "persistent_workers": False}
    reference = make_loader(10, ("thread", 0), **arguments)
    whole = [list(reference), list(reference)]
    stops = range(5) if "process" not in (kind[0], other[0]) else (0, 2, 4)
    for stop in stops:
        loader = make_loader(10, kind, **arguments)
        handed = list(itertools.islice(iter(loader), stop))
        assert handed == whole[0][:stop]
        state = loader.state_dict()
        assert (state["epoch"], state["batch"]) == (0, stop)
        resumed = make_loader(10, other, **arguments)
        resumed.load_state_dict(state)
        # Training scripts call it at the start of each epoch, also of the resumed one.
        resumed.set_epoch(0)
        assert list(resumed) == whole[0][stop:]
        assert list(resumed) == whole[1]
        assert resumed.state_dict()["epoch"] == 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_behind_the_last_batch_the_next_epoch_follows_whole(kind: tuple[str, int]) -> None:
    arguments = {"batch_size": 3, "shuffle": True, "persistent_workers": False}
    loader = make_loader(7, kind, **arguments)
    # Loops that know the length do not ask for what is not there.
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (0, 3)
    second = list(loader)
    resumed = make_loader(7, kind, **arguments)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert list(resumed) == second
    # A script that counts epochs itself may still be in the complete one.
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    assert list(resumed) == []
    assert list(resumed) == second


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_epoch_begins_with_its_first_batch(kind: tuple[str, int]) -> None:
    loader = make_loader(5, kind, shuffle=True, persistent_workers=False)
    epochs = [list(loader) for _ in range(4)]
    loader.set_epoch(1)
    iter(loader)
    batches = iter(loader)
    assert [next(batches), *batches] == epochs[1]
    batches = iter(loader)
    loader.set_epoch(3)
    assert list(batches) == epochs[3]
    assert loader.state_dict()["epoch"] == 4


def test_epochs_follow_each_other_and_can_be_chosen() -> None:
    loader = make_loader(20, ("thread", 2), shuffle=True)
    epochs = [list(loader) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    loader.set_epoch(1)
    assert list(loader) == epochs[1]
    assert list(loader) == epochs[2]
    assert loader.dataset.epochs == [0, 1, 2, 1, 2]
    with pytest.raises(ValueError, match="epoch: expected 0 or more"):
        loader.set_epoch(-1)


class EpochTeller(Numbers):
    def __getitem__(self, index: int) -> int:
        return self.epochs[-1]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_dataset_learns_of_the_epoch_in_every_worker(kind: tuple[str, int]) -> None:
    loader = Loader(EpochTeller(4), workers=kind[0], num_workers=kind[1], collate_fn=list)  # pyright: ignore[reportArgumentType]
    for epoch in range(3):
        assert list(loader) == [[epoch]] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch_size": 3},
        {"shuffle": False},
        {"rank": 0, "world_size": 2},
        {"drop_last": True},
        {"count": 21},
    ],
    ids=str,
)
def test_a_state_of_another_order_is_refused(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"count": 20, "batch_size": 2, "shuffle": True}
    state = make_loader(kind=("thread", 0), **arguments).state_dict()
    other = make_loader(kind=("thread", 0), **{**arguments, **change})
    name = {"rank": "world_size", "count": "num_samples"}.get(
        next(iter(change)), next(iter(change))
    )
    with pytest.raises(ValueError, match=rf"would not go on where .*{name} was "):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"version": 9, "epoch": 0, "batch": 0, "order": {}},
        {"version": 1, "epoch": 0, "batch": 0, "order": None},
        {"version": 1, "epoch": 1.7, "batch": 0, "order": {}},
    ],
)
def test_a_state_that_is_none_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="state of a loader"):
        make_loader(5, ("thread", 0)).load_state_dict(state)


def test_other_samples_of_the_same_number_are_refused(split: Path, tmp_path: Path) -> None:
    loader = Loader(VolumeDataset(split))
    other = make_shards(tmp_path, [8], partial(make_volume_members, shape=(2, 2, 2)))
    with pytest.raises(ValueError, match="samples_digest was"):
        Loader(VolumeDataset(other)).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_failure_reaches_the_caller_at_its_batch(kind: tuple[str, int]) -> None:
    loader = Loader(
        Numbers(20, fail_at=11),
        batch_size=2,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        collate_fn=list,
        persistent_workers=False,
    )
    batches: Iterator[Any] = iter(loader)
    assert [next(batches) for _ in range(5)] == [[n, n + 1] for n in range(0, 10, 2)]
    with pytest.raises(ShardIntegrityError, match="sample 11"):
        next(batches)
    assert loader.state_dict()["batch"] == 5
    del batches
    wait_for_threads()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_damaged_sample_is_named_by_every_worker(own_split: Path, kind: tuple[str, int]) -> None:
    damage(own_split, 6, "bin")
    loader = Loader(
        VolumeDataset(own_split),
        batch_size=2,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
    )
    handed: list[str] = []
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: sample_6: member \.bin is"):
        handed.extend(key for batch in loader for key in batch["key"])
    assert handed == [f"sample_{n}" for n in range(6)]


def test_leaving_a_loop_ends_its_threads_and_frees_its_batches() -> None:
    loader = make_loader(1000, ("thread", 3))
    for _ in loader:
        assert threads_left()
        break
    wait_for_threads()
    assert next(iter(loader)) == [0]
    wait_for_threads()


def test_a_loader_dies_with_its_last_reference() -> None:
    loader = make_loader(100, ("thread", 2))
    batches = iter(loader)
    next(batches)
    del loader, batches
    wait_for_threads()


def test_a_script_that_stops_in_the_middle_ends() -> None:
    code = (
        "from medassets_tests.loaders.test_loader import make_loader\n"
        "batches = iter(make_loader(100000, ('thread', 2)))\n"
        "next(batches)\n"
        "raise KeyboardInterrupt\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "KeyboardInterrupt" in done.stderr


class Interrupting(Numbers):
    def __getitem__(self, index: int) -> int:
        if index == 3 and not self.epochs[1:]:
            self.epochs.append(-1)
            os.kill(os.getpid(), 2)
            time.sleep(0.2)
        return index


def test_an_interrupt_loses_no_batch() -> None:
    batches = iter(Loader(Interrupting(6), num_workers=1, prefetch_factor=1, collate_fn=list))
    handed: list[int] = []
    interrupted = 0
    while len(handed) < 6:
        try:
            # The signal may come before or while the batch is waited for.
            for batch in batches:
                handed += batch
                time.sleep(0.05)
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted == 1
    assert set(handed) >= {0, 1, 3, 4, 5}


@pytest.mark.parametrize("kind", [("thread", 2), ("process", 1)], ids=str)
def test_memory_does_not_grow_over_twenty_epochs(tmp_path: Path, kind: tuple[str, int]) -> None:
    manifest = make_shards(tmp_path, [6], partial(make_volume_members, shape=(64, 64, 64)))
    loader = Loader(
        VolumeDataset(manifest, dtype="float32"),
        batch_size=2,
        shuffle=True,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        persistent_workers=True,
    )
    process, used, files = psutil.Process(), [], []
    for _ in range(20):
        for batch in loader:
            assert batch["volume"].shape == (2, 1, 64, 64, 64)
        gc.collect()
        everyone = [process, *process.children(recursive=True)]
        used.append(sum(one.memory_info().rss for one in everyone))
        files.append(process.num_fds())
    # A batch of 2 MB kept per epoch would be 30 MB.
    assert max(used[-5:]) - max(used[2:8]) < 8_000_000
    assert max(files[-5:]) <= max(files[2:8])
    assert POOL.free_bytes < 100_000_000


def test_a_slow_step_finds_its_batch_ready() -> None:
    loader = make_loader(12, ("thread", 2), batch_size=2)
    batches: Any = iter(loader)
    next(batches)
    deadline = time.monotonic() + 30
    pending = batches._batches._pending
    while not all(future.done() for future in pending) and time.monotonic() < deadline:
        time.sleep(0.001)
    # During the step, as many as two workers may fetch ahead are there.
    assert len(pending) == 4
    assert all(future.done() for future in pending)


class Letters(Dataset[int]):
    """Samples that are their own index, of a dataset that knows of no epochs; notes its reads."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read: list[int] = []
        self.damaged: set[int] = set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        self.read.append(index)
        if index in self.damaged:
            msg = f"sample {index}"
            raise ShardIntegrityError(msg)
        return index


def open_letters(count: int, **arguments: Any) -> Loader:
    chosen: dict[str, Any] = {"shuffle": True, "num_workers": 1, "prefetch_factor": 2, **arguments}
    return Loader(Letters(count), collate_fn=list, **chosen)


def wait_for_reads(loader: Loader, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(loader.dataset.read) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def test_the_last_step_of_an_epoch_finds_the_next_ones_first_batches_ready() -> None:
    loader = open_letters(4)
    first, second = (loader.order.plan_batches(epoch, 0) for epoch in range(2))
    batches = iter(loader)
    assert [next(batches) for _ in range(4)] == first
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (0, 4)
    wait_for_reads(loader, 6)
    time.sleep(0.05)
    # As many as may be in flight, and no more.
    assert loader.dataset.read == [n for [n] in [*first, *second[:2]]]
    assert list(batches) == []
    loader.set_epoch(1)
    assert list(loader) == second
    wait_for_reads(loader, 10)
    assert loader.dataset.read[4:8] == [n for [n] in second]
    del loader, batches
    wait_for_threads()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_epochs_fetched_ahead_are_the_same(count: int, num_workers: int) -> None:
    loader = open_letters(count, num_workers=num_workers)
    for epoch in (0, 1, 2, 5, 6, 3):
        loader.set_epoch(epoch)
        assert list(loader) == loader.order.plan_batches(epoch, 0)
    state = loader.state_dict()
    loader.load_state_dict({**state, "epoch": 7, "batch": count // 2})
    assert list(loader) == loader.order.plan_batches(7, 0, start=count // 2)
    assert list(loader) == loader.order.plan_batches(8, 0)


def test_what_was_fetched_ahead_for_another_epoch_is_dropped() -> None:
    loader = open_letters(4)
    list(loader)
    assert threads_left()
    loader.set_epoch(3)
    wait_for_threads()
    list(loader)
    loader.load_state_dict(loader.state_dict() | {"epoch": 1, "batch": 2})
    wait_for_threads()


def test_a_failure_fetched_ahead_is_raised_in_its_epoch() -> None:
    loader = open_letters(4, prefetch_factor=1)
    first, second = (loader.order.plan_batches(epoch, 0) for epoch in range(2))
    batches = iter(loader)
    assert [next(batches) for _ in range(3)] == first[:3]
    wait_for_reads(loader, 4)
    loader.dataset.damaged = {second[0][0]}
    assert list(batches) == first[3:]
    wait_for_reads(loader, 5)
    loader.dataset.damaged = set()
    batches = iter(loader)
    with pytest.raises(ShardIntegrityError, match=f"sample {second[0][0]}"):
        next(batches)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (1, 0)
    wait_for_threads()
    loader.set_epoch(1)
    assert list(loader) == second


@pytest.mark.parametrize("arguments", [{"shuffle": False}, {"next_epoch_ahead": False}], ids=str)
def test_nothing_is_fetched_ahead_where_it_is_not_wanted(arguments: dict[str, Any]) -> None:
    loader = open_letters(4, **arguments)
    assert len(list(loader)) == 4
    wait_for_threads()
    assert len(loader.dataset.read) == 4


def test_a_dataset_that_is_told_of_its_epoch_is_not_read_ahead() -> None:
    loader = make_loader(4, ("thread", 2), shuffle=True)
    list(loader)
    wait_for_threads()
    with pytest.raises(ValueError, match="next_epoch_ahead: the dataset has a set_epoch"):
        make_loader(4, ("thread", 2), next_epoch_ahead=True)


def test_worker_processes_serve_one_iterator() -> None:
    loader = make_loader(6, ("process", 1))
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RuntimeError, match="a newer iterator of this loader took"):
        next(first)
    assert list(second) == [[n] for n in range(6)]


def test_a_killed_worker_process_is_replaced_in_the_next_iteration() -> None:
    loader = make_loader(200, ("process", 1))
    # Others too may have children in this process, such as multiprocessing its resource tracker.
    before = set(psutil.Process().children())
    batches = iter(loader)
    next(batches)
    for child in set(psutil.Process().children()) - before:
        child.kill()
    with pytest.raises(RuntimeError, match="worker"):
        list(batches)
    del batches
    assert len(list(loader)) == 200


def stop_iteration(_: Any) -> Any:
    raise StopIteration


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_stop_iteration_of_the_dataset_ends_no_epoch(kind: tuple[str, int]) -> None:
    loader = Loader(Numbers(6), workers=kind[0], num_workers=kind[1], collate_fn=stop_iteration)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match=r"raised StopIteration at the samples \[0\]"):
        list(loader)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_failure_ends_the_iterator_where_it_is(kind: tuple[str, int]) -> None:
    loader = Loader(Numbers(6, fail_at=2), workers=kind[0], num_workers=kind[1], collate_fn=list)  # pyright: ignore[reportArgumentType]
    batches = iter(loader)
    assert [next(batches), next(batches)] == [[0], [1]]
    with pytest.raises(ShardIntegrityError, match="sample 2"):
        next(batches)
    assert list(batches) == []
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"workers": "fiber"}, "workers: expected thread or process"),
        ({"num_workers": -1}, "num_workers >= 0"),
        ({"prefetch_factor": 0}, "prefetch_factor >= 1"),
        ({"rank": 1}, "rank and world_size: expected both or neither"),
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1"),
        ({"shard_window": 2}, "shard_window: the dataset has no"),
    ],
    ids=str,
)
def test_what_makes_no_loader_is_named(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Loader(Numbers(4), **arguments)


def test_ranks_of_torchrun_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    early = Loader(Numbers(4), num_workers=0, collate_fn=list)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(Loader(Numbers(4), num_workers=0, collate_fn=list)) == [[1], [3]]
    with pytest.raises(RuntimeError, match=r"built as rank 0 of 1, but .* rank 1 of 2"):
        iter(early)


def test_workers_follow_the_size_of_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert [choose_num_workers(n) for n in (1, 49, 50, 200, 201)] == [2, 2, 4, 4, 8]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    assert choose_num_workers(1000) == 3


def test_a_window_of_shards_is_kept(split: Path) -> None:
    loader = Loader(VolumeDataset(split), shuffle=True, shard_window=1, num_workers=1)
    keys = [batch["key"][0] for batch in loader]
    shards = [0 if n < 4 else 1 if n < 7 else 2 for n in (int(k.split("_")[1]) for k in keys)]
    assert len([s for s, _ in itertools.groupby(shards)]) == 3


def test_a_dataset_without_a_collate_fn_is_collated_by_pytorch() -> None:
    batch = next(iter(Loader(Numbers(4), batch_size=4, num_workers=0)))
    assert torch.equal(batch, torch.arange(4))
