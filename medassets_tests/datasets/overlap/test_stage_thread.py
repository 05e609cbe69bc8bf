import threading
import time

import pytest

from medassets.datasets.overlap.stage_thread import StageThread
from medassets.errors import FetchStoppedError
from medassets.sources.stopping import Stopper


def nothing() -> None:
    pass


def test_shards_are_worked_through_in_the_order_of_their_offers() -> None:
    done: list[str] = []

    def work(key: str, _: Stopper) -> str:
        done.append(key)
        return key.upper()

    stage = StageThread("stage", work, most=3)
    assert all(stage.offer(key) for key in "cab")
    assert [stage.take(key, tick=nothing) for key in "cab"] == ["C", "A", "B"]
    assert done == ["c", "a", "b"]
    stage.close()


def test_the_queue_is_bounded_by_what_was_not_taken() -> None:
    stage = StageThread("stage", lambda key, _: key, most=2)
    assert stage.offer("a")
    assert stage.offer("b")
    assert stage.offer("b")
    assert not stage.offer("c")
    assert stage.take("a", tick=nothing) == "a"
    assert stage.offer("c")
    assert stage.keys == ("b", "c")
    stage.close()


def test_an_error_is_raised_where_its_shard_is_taken() -> None:
    def work(key: str, _: Stopper) -> int:
        return 1 // (key != "b")

    stage = StageThread("stage", work, most=3)
    for key in "abc":
        stage.offer(key)
    assert stage.take("a", tick=nothing) == 1
    with pytest.raises(ZeroDivisionError, match="division"):
        stage.take("b", tick=nothing)
    assert stage.take("c", tick=nothing) == 1
    stage.close()


def test_discarding_stops_what_is_in_progress_and_begins_no_other() -> None:
    begun = threading.Event()
    seen: list[str] = []

    def work(key: str, stopper: Stopper) -> None:
        seen.append(key)
        begun.set()
        while True:
            stopper.check()
            time.sleep(0.01)

    stage = StageThread("stage", work, most=2)
    stage.offer("a")
    stage.offer("b")
    assert begun.wait(60)
    stage.discard("b", "a")
    assert stage.keys == ()
    assert seen == ["a"]
    stage.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("stage")]


def test_a_tick_ends_the_wait_for_a_shard() -> None:
    def work(_: str, stopper: Stopper) -> None:
        while True:
            stopper.check()
            time.sleep(0.01)

    def stop() -> None:
        raise FetchStoppedError

    stage = StageThread("stage", work, most=1)
    stage.offer("a")
    with pytest.raises(FetchStoppedError, match=r"^$"):
        stage.take("a", tick=stop)
    stage.close()
