"""Batches fetched by threads and worker processes."""

import pickle
import time
from typing import Any

import pytest
import torch

from medassets.errors import ShardIntegrityError
from medassets.loaders import Loader
from medassets.loaders.fetching import (
    BatchSource,
    DirectBatches,
    FailedBatch,
    PlannedBatch,
    ThreadBatches,
)
from medassets_tests.loaders.loader_data import KINDS, Numbers


class EpochTeller(Numbers):
    def __getitem__(self, index: int) -> int:
        return self.epochs[-1]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_dataset_learns_of_the_epoch_in_every_worker(kind: tuple[str, int]) -> None:
    loader = Loader(EpochTeller(4), workers=kind[0], num_workers=kind[1], collate_fn=list)  # pyright: ignore[reportArgumentType]
    for epoch in range(3):
        assert list(loader) == [[epoch]] * 4


def test_a_dataset_without_a_collate_fn_is_collated_by_pytorch() -> None:
    batch = next(iter(Loader(Numbers(4), batch_size=4, num_workers=0)))
    assert torch.equal(batch, torch.arange(4))


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


class OwnError(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} {number}")


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyError("a"), KeyError), (OwnError("a", 3), RuntimeError)]
)
def test_a_failure_crosses_processes_with_its_traceback(
    error: Exception, raised: type[Exception]
) -> None:
    failed = pickle.loads(pickle.dumps(FailedBatch(error, "the traceback")))
    with pytest.raises(raised, match=r"'a'|OwnError: a 3") as caught:
        failed.reraise()
    assert caught.value.__notes__ == ["In a worker process:\nthe traceback"]


class Interrupted(Numbers):
    def __getitem__(self, index: int) -> int:
        self.epochs.append(index)
        if len(self.epochs) == 2:
            raise KeyboardInterrupt
        return index


def test_an_interrupt_while_a_batch_is_fetched_loses_none() -> None:
    batches = DirectBatches(BatchSource(Interrupted(4), list, pin=False), [[3], [1], [2]])
    assert next(batches) == [3]
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    assert list(batches) == [[1], [2]]


def test_no_more_batches_are_fetched_ahead_than_asked_for() -> None:
    fetched: list[int] = []

    def collate(samples: list[int]) -> list[int]:
        fetched.extend(samples)
        return samples

    source = BatchSource(Numbers(20), collate, pin=False)
    batches = ThreadBatches(source, [[n] for n in range(20)], num_workers=1, depth=3)
    assert next(batches) == [0]
    time.sleep(0.1)
    assert fetched == [0, 1, 2, 3]
    batches.close()
    assert list(batches) == []


def test_the_dataset_is_told_of_an_epoch_once() -> None:
    numbers = Numbers(4)
    source = BatchSource(numbers, list, pin=False)
    for epoch in (0, 0, 1):
        assert source.__getitems__(PlannedBatch(epoch, [2, 3])) == [2, 3]
    assert numbers.epochs == [0, 1]
