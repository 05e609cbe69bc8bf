"""Batches fetched during a step: those of this epoch, and the first of the next one."""

import time
from typing import Any

import pytest
from torch.utils.data import Dataset

from medassets.errors import ShardIntegrityError
from medassets.loaders import Loader
from medassets_tests.loaders.loader_data import make_loader, threads_left, wait_for_threads


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
