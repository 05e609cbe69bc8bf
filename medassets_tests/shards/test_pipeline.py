import threading
import time
from contextlib import closing

import pytest

from medassets.shards.pipeline import iter_in_order


def test_results_come_in_order_whatever_the_time_they_take() -> None:
    def work(i: int) -> int:
        time.sleep(0.003 * ((7 * i) % 5))
        return i * i

    assert list(iter_in_order(range(30), work, num_workers=4)) == [i * i for i in range(30)]


def test_no_items_make_no_results() -> None:
    assert list(iter_in_order([], str, num_workers=2)) == []


def test_no_more_than_the_window_is_taken_ahead_of_the_reader() -> None:
    taken: list[int] = []
    results = iter_in_order(range(100), lambda i: taken.append(i), num_workers=2, window=3)
    with closing(results):
        for read in range(1, 6):
            next(results)
            time.sleep(0.01)
            # The reader's own result counts as alive until it asks for the next one.
            assert len(taken) <= read + 2


def test_an_error_comes_at_its_items_turn_and_stops_the_work() -> None:
    done: list[int] = []

    def work(i: int) -> int:
        if i == 3:
            msg = "boom"
            raise ValueError(msg)
        time.sleep(0.002)
        done.append(i)
        return i

    read: list[int] = []
    with pytest.raises(ValueError, match="boom"):
        read.extend(iter_in_order(range(1000), work, num_workers=2))
    assert len(done) < 12
    assert threading.active_count() < 10


def test_closing_early_waits_for_work_and_drops_the_rest() -> None:
    running: list[int] = []
    results = iter_in_order(range(1000), lambda i: running.append(i), num_workers=2)
    next(results)
    results.close()
    count = len(running)
    time.sleep(0.02)
    assert len(running) == count <= 6
    assert not [t for t in threading.enumerate() if t.name.startswith("medassets-worker")]


def test_as_many_threads_as_asked_for_work_at_once() -> None:
    barrier = threading.Barrier(3, timeout=10)
    list(iter_in_order(range(6), lambda _: barrier.wait(), num_workers=3))
