"""One stage of a pipeline of shards, on a thread of its own with a bounded queue."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from medassets.sources.stopping import Stopper

Result = TypeVar("Result")

_LOOK_UP_S = 0.2


@dataclass(frozen=True)
class _Task(Generic[Result]):
    future: Future[Result]
    stopper: Stopper


class StageThread(Generic[Result]):
    """Works through shards in the order in which they are offered.

    A shard counts against the bound from `offer` until `take` or `discard`. All methods are for one
    thread, the one that computes shards.
    """

    def __init__(self, name: str, work: Callable[[str, Stopper], Result], *, most: int) -> None:
        """Start without shards; the thread starts with the first one.

        Args:
            name: Name of the thread.
            work: Gets a partition key, and what ends the work early.
            most: Shards in the queue at most, those in progress and finished ones among them.
        """
        self._work, self._most = work, most
        self._tasks: dict[str, _Task[Result]] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    @property
    def keys(self) -> tuple[str, ...]:
        """Shards in the queue, in order."""
        return tuple(self._tasks)

    def offer(self, partition_key: str) -> bool:
        """Put a shard into the queue, once; return False if it is full."""
        if partition_key in self._tasks:
            return True
        if len(self._tasks) >= self._most:
            return False
        stopper = Stopper()
        future = self._pool.submit(self._work, partition_key, stopper)
        self._tasks[partition_key] = _Task(future, stopper)
        return True

    def result(self, partition_key: str) -> Result | None:
        """Return the result of a finished shard of the queue; None while there is none.

        Raises:
            Exception: What the work raised.
        """
        task = self._tasks.get(partition_key)
        return task.future.result() if task is not None and task.future.done() else None

    def take(self, partition_key: str, *, tick: Callable[[], None]) -> Result | None:
        """Wait for a shard of the queue and take it out; None if it is not in the queue.

        Args:
            partition_key: The shard.
            tick: Called several times per second while waiting; what it raises ends the wait.

        Raises:
            Exception: What the work raised.
        """
        task = self._tasks.get(partition_key)
        if task is None:
            return None
        while not wait([task.future], timeout=_LOOK_UP_S).done:
            tick()
        del self._tasks[partition_key]
        return task.future.result()

    def discard(self, *partition_keys: str) -> None:
        """Stop the work on shards, wait for its end, and take them out of the queue."""
        tasks = [self._tasks[key] for key in partition_keys if key in self._tasks]
        for task in tasks:
            task.stopper.stop()
            task.future.cancel()
        wait([task.future for task in tasks])
        for key in partition_keys:
            self._tasks.pop(key, None)

    def close(self) -> None:
        """Stop everything and wait for the end of the thread."""
        self.discard(*self.keys)
        self._pool.shutdown(wait=True)
