"""Batches for a training loop: prefetched, seeded, equal in number on every rank, resumable."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch.utils.data import DataLoader

from medassets.loaders.batch_memory import POOL
from medassets.loaders.fetching import (
    Batch,
    BatchSource,
    Collate,
    DirectBatches,
    Plan,
    PlannedSampler,
    ThreadBatches,
    iter_batches,
    make_data_loader,
)
from medassets.loaders.order import EpochOrder, Uneven
from medassets.loaders.ranks import find_place
from medassets.loaders.state import Position, State, decode_state, describe_order, encode_state

WorkerKind = Literal["thread", "process"]

_SMALL, _MEDIUM = 50, 200


def choose_num_workers(num_samples: int) -> int:
    """Return the default number of workers by dataset size: 2, 4 or 8, at most the cores."""
    wanted = 2 if num_samples < _SMALL else 4 if num_samples <= _MEDIUM else 8
    return min(wanted, len(os.sched_getaffinity(0)))


class Loader:
    """Iterates over a map-style dataset in batches.

    Each `for` loop is one epoch; the next loop is the next epoch unless `set_epoch` selects another.
    An epoch starts with its first batch: an iterator that was never advanced has no effect. Batches
    come in the order of `EpochOrder`, for any workers. An error is raised at the batch that it
    belongs to, and ends the iterator. Leaving a loop early stops its workers.

    Worker threads read without holding the GIL and pass a batch by reference; passing a batch of
    volumes between processes costs more than reading it. Processes are for datasets that compute in
    Python.

    Args:
        dataset: Map-style dataset; `__getitems__`, `collate_fn`, `set_epoch` and `index` (for
            `shard_window`) are used if present.
        batch_size: Samples per batch and rank.
        shuffle: Use a new permutation in each epoch.
        seed: Seed of the permutations; the same on all ranks.
        num_workers: Number of threads or processes; 0 fetches on request. None: by dataset size.
        workers: `thread` or `process`.
        prefetch_factor: Batches fetched ahead per worker.
        pin_memory: Put batches into pinned memory if CUDA is available.
        persistent_workers: Keep worker processes between epochs.
        next_epoch_ahead: Let threads fetch the first batches of the next epoch while the last ones
            of this epoch are used; they stay in memory as long as the loader is alive.
            None: when shuffled, unless the dataset has a `set_epoch`.
        uneven: Samples that do not divide among the ranks: `pad` or `drop`.
        drop_last: Leave out an incomplete last batch.
        rank: Rank of this process; None: from the process group or torchrun's environment.
        world_size: Number of ranks, with `rank`.
        shard_window: Shuffle only within groups of this number of neighbouring (shuffled) shards.
        collate_fn: Makes a batch of samples, instead of the dataset's own.
        multiprocessing_context: Start method of worker processes: `fork`, `spawn`, `forkserver`.

    Raises:
        ValueError: If an argument is out of range, or a rank would get no batch.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        num_workers: int | None = None,
        workers: WorkerKind = "thread",
        prefetch_factor: int = 2,
        pin_memory: bool = False,
        persistent_workers: bool = True,
        next_epoch_ahead: bool | None = None,
        uneven: Uneven = "pad",
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        shard_window: int | None = None,
        collate_fn: Collate | None = None,
        multiprocessing_context: str | None = None,
    ) -> None:
        if workers not in get_args(WorkerKind):
            msg = f"workers: expected thread or process, got {workers!r}"
            raise ValueError(msg)
        self.dataset = dataset
        self.batch_size = batch_size
        self.workers = workers
        self.num_workers = choose_num_workers(len(dataset)) if num_workers is None else num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        if self.num_workers < 0 or prefetch_factor < 1:
            msg = f"expected num_workers >= 0 and prefetch_factor >= 1, got {num_workers}, {prefetch_factor}"
            raise ValueError(msg)
        self.place = find_place(rank, world_size)
        index = getattr(dataset, "index", None)
        self.order = EpochOrder(
            num_samples=len(dataset),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            world_size=self.place.world_size,
            uneven=uneven,
            drop_last=drop_last,
            shard_window=shard_window,
            shard_ends=getattr(index, "shard_ends", ()),
        )
        self._described = describe_order(self.order, getattr(index, "digest", None))
        # Worker processes cannot pin; a thread of PyTorch pins their batches.
        self._source = BatchSource(dataset, collate_fn, pin=pin_memory and workers == "thread")
        self._goes_on = _choose_ahead(dataset, shuffle, next_epoch_ahead)
        self._persistent = persistent_workers
        self._context = multiprocessing_context
        self._sampler = PlannedSampler()
        self._processes: DataLoader[Batch] | None = None
        self._turn: object = None
        self._next = Position()
        self._complete: Position | None = None
        self._reached = Position()
        self._running: object = None
        self._begun = False
        self._ahead: tuple[Position, ThreadBatches] | None = None
        POOL.keep(self)

    def __len__(self) -> int:
        """Return the number of batches of this rank in a whole epoch."""
        return self.order.num_batches

    def __iter__(self) -> "Iterator[Batch]":
        """Start the next epoch, or continue from a loaded state.

        Raises:
            RuntimeError: If a process group was made after this loader.
        """
        self.place.check_still()
        return _Epoch(self)

    def _fetch(self, start: Position) -> Iterator[Batch]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == start and ahead[1].goes_on:
            ahead[1].go_on(len(self), self._plan_behind(start.epoch))
            return ahead[1]
        # Its memory is reused for what is fetched now.
        del ahead
        planned = self.order.plan_batches(start.epoch, self.place.rank, start=start.batch)
        if not planned:
            return iter(())
        if self.workers == "process" and self.num_workers:
            return self._fetch_in_processes(start.epoch, planned)
        self._source.set_epoch(start.epoch)
        if not self.num_workers:
            return DirectBatches(self._source, planned)
        return ThreadBatches(
            self._source,
            planned,
            num_workers=self.num_workers,
            depth=self.num_workers * self.prefetch_factor,
            then=self._plan_behind(start.epoch) if self._goes_on else None,
        )

    def _plan_behind(self, epoch: int) -> Plan:
        return partial(self.order.plan_batches, epoch + 1, self.place.rank)

    def _fetch_in_processes(self, epoch: int, planned: list[list[int]]) -> Iterator[Batch]:
        self._sampler.plan(epoch, planned)
        if self._processes is None:
            self._processes = make_data_loader(
                self._source,
                self._sampler,
                num_workers=self.num_workers,
                prefetch_factor=self.prefetch_factor,
                persistent_workers=self._persistent,
                pin_memory=self.pin_memory,
                multiprocessing_context=self._context,
            )
        try:
            fetched = iter(self._processes)
        except BaseException:
            self._processes = None
            raise
        turn = self._turn = object()
        return self._check_turn(iter_batches(fetched), turn)

    def _check_turn(self, batches: Iterator[Batch], turn: object) -> Iterator[Batch]:
        while True:
            if self._persistent and self._turn is not turn:
                msg = (
                    "a newer iterator of this loader took its worker processes; give each a loader"
                )
                raise RuntimeError(msg)
            try:
                batch = next(batches)
            except StopIteration:
                return
            except BaseException:
                # Workers may be dead or interrupted; the next iteration starts new ones.
                self._processes = None
                raise
            yield batch

    @property
    def pinned(self) -> bool:
        """Whether batches are in pinned memory."""
        return self.pin_memory and torch.cuda.is_available()

    @property
    def batch_sampler(self) -> "EpochSetter":
        """Object on which Lightning calls `set_epoch`, so that its epochs are the loader's.

        Lightning also checks `sampler`, but would then rebuild the loader as a DataLoader.
        """
        return EpochSetter(self)

    def set_epoch(self, epoch: int) -> None:
        """Select the next epoch; a loaded state of that epoch keeps its position.

        This also applies to an iterator that has not been advanced yet.

        Args:
            epoch: Number of the epoch, 0 or more. An epoch that a loaded state has completed gives no
                batches.
        """
        if epoch < 0:
            msg = f"epoch: expected 0 or more, got {epoch}"
            raise ValueError(msg)
        if self._complete is not None and epoch == self._complete.epoch:
            self._move(self._complete)
        elif epoch != self._next.epoch:
            self._move(Position(epoch))

    def state_dict(self) -> State:
        """Return the position of the caller: batches it has received, not those fetched ahead.

        The state is small, JSON-like, equal on all ranks, and independent of the workers.
        After the last batch of an epoch, even inside the loop, the next epoch follows.
        """
        return encode_state(self._reached, self._described)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration continue from a saved state.

        Args:
            state: Result of `state_dict`. After a complete epoch the next one follows; a script
                that calls `set_epoch` with the complete epoch first gets an empty loop.

        Raises:
            ValueError: If a setting that determines the batches has changed; the message names it.
        """
        position = decode_state(state, self._described, len(self))
        complete = position.batch == len(self)
        self._move(Position(position.epoch + 1) if complete else position)
        if complete:
            self._complete = self._reached = position

    def _move(self, position: Position) -> None:
        self._next = self._reached = position
        self._complete = None
        if self._begun:
            self._running = None
        if self._ahead is not None and self._ahead[0] != position:
            self._ahead = None

    def _start(self, token: object) -> Position:
        self._running, self._begun = token, False
        return self._next

    def _begin(self, token: object, start: Position) -> Position:
        # A replaced iterator starts at its own position and no longer moves the loader's.
        if self._running is not token:
            return start
        start, self._next = self._next, Position(self._next.epoch + 1)
        self._begun, self._complete, self._reached = True, None, start
        return start

    def _count(self, token: object, position: Position) -> None:
        if self._running is token:
            self._reached = position

    def _pass_on(self, token: object, epoch: int, batches: Iterator[Batch]) -> None:
        if self._running is token and isinstance(batches, ThreadBatches) and batches.goes_on:
            self._ahead = Position(epoch), batches


class EpochSetter:
    """Batch sampler attributes that Lightning and DeepSpeed read.

    Args:
        loader: The loader.
    """

    def __init__(self, loader: Loader) -> None:
        self.batch_size = loader.batch_size
        self.drop_last = loader.order.drop_last
        self.set_epoch = loader.set_epoch

    @property
    def sampler(self) -> "EpochSetter":
        """The object with `set_epoch`: itself."""
        return self


class _Epoch(Iterator[Batch]):
    """Iterator over an epoch or the rest of one."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        # Not self: the loader must not keep an unused iterator alive.
        self._token = object()
        self._position = loader._start(self._token)
        self._batches = loader._fetch(self._position)
        self._begun = self._failed = False

    def __next__(self) -> Batch:
        if not self._begun:
            self._begin()
        try:
            batch = next(self._batches)
        except StopIteration:
            if not self._failed:
                self._loader._count(self._token, Position(self._position.epoch + 1))
            raise
        except Exception:
            self._batches, self._failed = iter(()), True
            raise
        self._position = Position(self._position.epoch, self._position.batch + 1)
        self._loader._count(self._token, self._position)
        if self._position.batch == len(self._loader):
            self._loader._pass_on(self._token, self._position.epoch + 1, self._batches)
            self._batches = iter(())
        return batch

    def _begin(self) -> None:
        start = self._loader._begin(self._token, self._position)
        if start != self._position:
            # Released before as many batches are fetched again.
            self._batches = iter(())
            self._batches = self._loader._fetch(start)
        self._position, self._begun = start, True


def _choose_ahead(dataset: Any, shuffle: bool, wanted: bool | None) -> bool:
    told = hasattr(dataset, "set_epoch")
    if wanted and told:
        msg = (
            "next_epoch_ahead: the dataset has a set_epoch, so it can only read one epoch at a time"
        )
        raise ValueError(msg)
    return (shuffle and not told) if wanted is None else wanted
