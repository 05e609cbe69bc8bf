"""Process items on threads, with ordered results and bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from medassets.storage.memory_budget import taking_turn

Item = TypeVar("Item")
Result = TypeVar("Result")


def iter_in_order(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    num_workers: int,
    window: int | None = None,
) -> Generator[Result]:
    """Yield `work(item)` of every item in order, computed by threads ahead of the reader.

    Args:
        items: Consumed one by one, as threads become free.
        work: Called on a thread; its errors are raised here, in the order of the items.
        num_workers: Threads.
        window: Most results in memory, including those in progress and the reader's own; None is three
            per thread, so that neither a slow item nor a slow reader leaves threads idle (0.90 of the
            speed of the work alone on two cores, 0.87 with two per thread).

    After an error, no further item is started. Closing the iterator early discards items that were not
    started and waits for the others.
    """
    stopped = Event()

    def guarded(number: int, item: Item) -> Result | None:
        if stopped.is_set():
            return None
        try:
            with taking_turn(number, stopped.is_set):
                return work(item)
        except BaseException:
            # Items start in order, so later results are never read.
            stopped.set()
            raise

    pending: deque[Future[Result | None]] = deque()
    limit = window or 3 * num_workers
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="medassets-worker")
    try:
        for number, item in enumerate(items):
            pending.append(pool.submit(guarded, number, item))
            if len(pending) >= limit:
                yield pending.popleft().result()  # pyright: ignore[reportReturnType]
        while pending:
            yield pending.popleft().result()  # pyright: ignore[reportReturnType]
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
