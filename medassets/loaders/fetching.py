"""Fetches batches ahead, on threads of this process or in PyTorch's worker processes."""

import os
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from medassets.loaders.batch_memory import pinning

Batch = Any
Collate = Callable[[Any], Batch]
Plan = Callable[[], Sequence[list[int]]]


@dataclass(frozen=True)
class PlannedBatch:
    """Request for one batch.

    Attributes:
        epoch: Epoch of the batch.
        indices: Samples of the batch.
    """

    epoch: int
    indices: list[int]


class FailedBatch:
    """Response of a worker process that could not make a batch.

    Args:
        error: The error.
        text: Traceback of the error.
    """

    def __init__(self, error: Exception, text: str) -> None:
        try:
            self._pickled = pickle.dumps(error)
            # Some errors can be pickled but not unpickled.
            pickle.loads(self._pickled)
        except Exception:  # noqa: BLE001
            self._pickled = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
        self._text = text

    def reraise(self) -> NoReturn:
        """Raise the error, with the worker's traceback as a note."""
        error: Exception = pickle.loads(self._pickled)
        error.add_note(f"In a worker process:\n{self._text}")
        try:
            raise error
        finally:
            # Otherwise error, traceback and this frame form a reference cycle with the loader, and PyTorch
            # cannot stop its workers when the garbage collector frees all at once.
            del error


class BatchSource(Dataset[Batch]):
    """A dataset read in batches by threads or worker processes.

    Args:
        dataset: Map-style dataset; `set_epoch`, `__getitems__` and `collate_fn` are used if present.
        collate_fn: Makes a batch of samples; None: the dataset's own, or else PyTorch's.
        pin: Put batches into pinned memory if CUDA is available.
    """

    def __init__(self, dataset: Any, collate_fn: Collate | None, *, pin: bool) -> None:
        self._dataset = dataset
        self._collate = collate_fn or getattr(dataset, "collate_fn", None) or default_collate
        self._pin = pin and torch.cuda.is_available()
        self._epoch: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Pass a new epoch to the dataset."""
        if epoch != self._epoch and hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(epoch)
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""
        return self._dataset[index]

    def __getitems__(self, planned: PlannedBatch) -> "Batch | FailedBatch":
        """Return one batch or the error; PyTorch's workers call this method."""
        try:
            self.set_epoch(planned.epoch)
            return self.fetch(planned.indices)
        except Exception as error:  # noqa: BLE001
            # Raised in the caller's process; see `FailedBatch.reraise`.
            return FailedBatch(error, "".join(traceback.format_exception(error)))

    def fetch(self, indices: list[int]) -> Batch:
        """Return one batch.

        Raises:
            RuntimeError: In place of a StopIteration, which would silently end the epoch.
        """
        try:
            with pinning(self._pin):
                batch = self._collate(self._read(indices))
        except StopIteration as error:
            msg = f"the dataset or its collate_fn raised StopIteration at the samples {indices}"
            raise RuntimeError(msg) from error
        return _pin(batch) if self._pin else batch

    def _read(self, indices: list[int]) -> Any:
        if getattr(self._dataset, "__getitems__", None):
            return self._dataset.__getitems__(indices)
        return [self._dataset[index] for index in indices]


def _pin(batch: Batch) -> Batch:
    if isinstance(batch, torch.Tensor):
        return batch if batch.is_pinned() else batch.pin_memory()
    if isinstance(batch, dict):
        return {name: _pin(value) for name, value in batch.items()}
    return batch


class DirectBatches(Iterator[Batch]):
    """Batches fetched on request; an interrupt loses none.

    Args:
        source: Source of the batches.
        batches: Samples of each batch.
    """

    def __init__(self, source: BatchSource, batches: Sequence[list[int]]) -> None:
        self._fetch = source.fetch
        self._planned = batches
        self._handed = 0

    def __next__(self) -> Batch:
        """Return the next batch."""
        if self._handed == len(self._planned):
            raise StopIteration
        batch = self._fetch(self._planned[self._handed])
        self._handed += 1
        return batch


class ThreadBatches(Iterator[Batch]):
    """Batches in order, fetched ahead on threads that end with the iterator.

    Args:
        source: Source of the batches.
        batches: Samples of each batch.
        num_workers: Number of threads, at least 1.
        depth: Maximum number of batches fetched ahead.
        then: Plans the next epoch, whose first batches are fetched after all of these are requested;
            None: fetch no others.
    """

    def __init__(
        self,
        source: BatchSource,
        batches: Sequence[list[int]],
        *,
        num_workers: int,
        depth: int,
        then: Plan | None = None,
    ) -> None:
        # The threads reference the source but not this iterator, so that it can be freed.
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="medassets-loader")
        self._process = os.getpid()
        self._fetch = source.fetch
        self._depth = depth
        self._planned = iter(batches)
        self._left = len(batches)
        self._then = then
        self._goes_on = then is not None
        self._pending: deque[Future[Batch]] = deque()
        self._submit()

    @property
    def goes_on(self) -> bool:
        """Whether it holds batches of the next epoch and its threads are alive."""
        # A forked child has no threads.
        return self._goes_on and self._process == os.getpid()

    def go_on(self, num_batches: int, then: Plan) -> None:
        """Continue with the next epoch, after all batches of this one.

        Args:
            num_batches: Number of batches of that epoch.
            then: Plans the epoch after it.
        """
        self._left, self._then = num_batches, then
        self._submit()

    def _submit(self) -> None:
        while len(self._pending) < self._depth:
            indices, then = next(self._planned, None), self._then
            if indices is not None:
                self._pending.append(self._threads.submit(self._fetch, indices))
            elif then is not None:
                self._planned, self._then = iter(then()), None
            else:
                return

    def __next__(self) -> Batch:
        """Return the next batch, or raise the error of its thread.

        An interrupt while waiting loses no batch.
        """
        if not self._left:
            raise StopIteration
        try:
            batch = self._pending[0].result()
        except Exception:
            self.close()
            raise
        self._pending.popleft()
        self._left -= 1
        self._submit()
        return batch

    def close(self) -> None:
        """Stop the threads after their current batches, and drop all batches."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pending.clear()
        self._planned, self._then, self._left, self._goes_on = iter(()), None, 0, False

    def __del__(self) -> None:
        if hasattr(self, "_pending"):
            self.close()


class PlannedSampler:
    """Batch sampler that gives PyTorch's DataLoader the planned batches."""

    def __init__(self) -> None:
        self._batches: list[PlannedBatch] = []

    def plan(self, epoch: int, batches: Sequence[list[int]]) -> None:
        """Set the batches of the next iteration."""
        self._batches = [PlannedBatch(epoch, indices) for indices in batches]

    def __iter__(self) -> Iterator[PlannedBatch]:
        """Yield the planned batches."""
        return iter(self._batches)

    def __len__(self) -> int:
        """Return the number of planned batches."""
        return len(self._batches)


def _keep(batch: Batch) -> Batch:
    return batch


def iter_batches(fetched: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the batches of a loader from `make_data_loader`; raise errors of its workers."""
    for batch in fetched:
        if isinstance(batch, FailedBatch):
            batch.reraise()
        yield batch


def make_data_loader(
    source: BatchSource,
    sampler: PlannedSampler,
    *,
    num_workers: int,
    prefetch_factor: int,
    persistent_workers: bool,
    pin_memory: bool,
    multiprocessing_context: str | None,
) -> DataLoader[Batch]:
    """Return a PyTorch DataLoader whose worker processes fetch whole batches."""
    return DataLoader(
        source,
        batch_sampler=sampler,  # pyright: ignore[reportArgumentType]
        num_workers=num_workers,
        prefetch_factor=prefetch_factor,
        persistent_workers=persistent_workers,
        pin_memory=pin_memory and torch.cuda.is_available(),
        multiprocessing_context=multiprocessing_context,
        collate_fn=_keep,
    )
