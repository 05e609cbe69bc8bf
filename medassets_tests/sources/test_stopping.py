"""What a stop ends, and in which threads."""

import socket
import threading

import pytest

from medassets.errors import FetchStoppedError
from medassets.sources.stopping import Stopper, current_stopper


def test_a_stop_ends_a_read_of_another_thread() -> None:
    stopper, ends = Stopper(), socket.socketpair()
    begun, received = threading.Event(), list[bytes]()

    def read() -> None:
        with stopper.serving(), stopper.cutting(ends[0]):
            begun.set()
            received.append(ends[0].recv(100))

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    stopper.stop()
    thread.join(60)
    assert received == [b""]
    for end in ends:
        end.close()


def test_a_connection_that_is_used_no_more_is_not_cut() -> None:
    stopper = Stopper()
    here, there = socket.socketpair()
    with here, there:
        with stopper.cutting(here):
            pass
        stopper.stop()
        there.sendall(b"still open")
        assert here.recv(100) == b"still open"


def test_nothing_begins_after_a_stop() -> None:
    stopper = Stopper()
    stopper.stop()
    with pytest.raises(FetchStoppedError, match=r"^$"), stopper.serving():
        pytest.fail("it began")
    here, there = socket.socketpair()
    with here, there, pytest.raises(FetchStoppedError, match=r"^$"), stopper.cutting(here):
        pytest.fail("it began")


def test_a_stopper_is_that_of_its_threads_alone() -> None:
    found: list[Stopper | None] = []
    stopper = Stopper()
    with stopper.serving():
        thread = threading.Thread(target=lambda: found.append(current_stopper()))
        thread.start()
        thread.join()
        assert current_stopper() is stopper
    assert [*found, current_stopper()] == [None, None]
