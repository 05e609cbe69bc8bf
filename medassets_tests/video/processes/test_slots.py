"""Slots of decoder processes: one thread each, and an end for all."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from medassets.errors import DecoderUnavailableError
from medassets.video.processes.slots import Slots


@pytest.fixture
def slots() -> Iterator[Slots]:
    """No slots yet; no process is started, since nothing is called."""
    slots = Slots(timeout_s=5.0)
    yield slots
    slots.close()


def test_the_slot_returned_last_is_lent_first(slots: Slots) -> None:
    for gpu in (None, 0, 1):
        slots.add(gpu)
    with slots.lend() as first:
        assert first.gpu is None
        with slots.lend() as second:
            assert second.gpu == 0
    with slots.lend() as again:
        assert again is first
    assert (len(slots), slots.pids) == (3, ())


def test_no_slot_has_two_users(slots: Slots) -> None:
    for gpu in range(2):
        slots.add(gpu)
    used: list[int | None] = []
    clashes: list[int | None] = []
    barrier = threading.Barrier(2)

    def use(number: int) -> None:
        with slots.lend() as slot:
            if slot.gpu in used:
                clashes.append(slot.gpu)
            used.append(slot.gpu)
            if number < 2:
                # Both slots are in use at once.
                barrier.wait(timeout=5)
            used.remove(slot.gpu)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(40)))
    assert clashes == []


def test_a_caller_waits_until_a_slot_is_added(slots: Slots) -> None:
    def use() -> int | None:
        with slots.lend() as slot:
            return slot.gpu

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(use)
        slots.add(3)
        assert waiting.result(timeout=5) == 3


def test_closing_ends_the_wait_of_a_caller(slots: Slots) -> None:
    def use() -> None:
        with slots.lend():
            pass

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(use)
        slots.close()
        with pytest.raises(DecoderUnavailableError, match="the decoder pool is closed"):
            waiting.result(timeout=5)
    with pytest.raises(DecoderUnavailableError, match="the decoder pool is closed"):
        use()
