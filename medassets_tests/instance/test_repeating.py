"""Work that is repeated until a block is left."""

import threading

import pytest

from medassets.instance.repeating import repeating


def test_a_call_is_made_at_once_and_until_the_block_is_left() -> None:
    calls: list[int] = []
    enough = threading.Event()

    def act() -> bool:
        calls.append(1)
        if len(calls) > 2:
            enough.set()
        return True

    with repeating(act, every_s=0.001):
        assert enough.wait(30)
    num_calls = len(calls)
    with repeating(act, every_s=1000):
        pass
    assert len(calls) == num_calls + 1


def test_no_call_follows_one_that_says_so() -> None:
    calls: list[int] = []
    with repeating(lambda: bool(calls.append(1)), every_s=0.001):
        threading.Event().wait(0.05)
    assert calls == [1]


def test_an_error_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    again = threading.Event()

    def act() -> bool:
        calls.append(1)
        if len(calls) == 1:
            msg = "the database is away"
            raise OSError(msg)
        again.set()
        return False

    with repeating(act, every_s=0.001):
        assert again.wait(30)
    assert "the database is away" in caplog.text
