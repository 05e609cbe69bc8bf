"""Which process something belongs to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from medassets.storage.processes import (
    Existence,
    find_process,
    is_alive,
    parse_process,
    start_time,
    this_process,
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_runs_until_it_ends(child: subprocess.Popen[bytes]) -> None:
    found = find_process(child.pid)
    assert found is not None
    assert found.existence() is Existence.RUNNING
    assert is_alive(child.pid)
    child.communicate(b"\n")
    assert child.wait() == 0
    assert found.existence() is Existence.ENDED
    assert not is_alive(child.pid)
    assert is_alive(1)


def test_a_killed_process_that_nobody_waited_for_has_ended(child: subprocess.Popen[bytes]) -> None:
    found = find_process(child.pid)
    assert found is not None
    child.kill()
    # Leaves the zombie in place.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    os.kill(child.pid, 0)
    assert found.existence() is Existence.ENDED
    assert find_process(child.pid) is None


def test_another_start_time_or_boot_is_another_process() -> None:
    mine = this_process()
    assert mine.existence() is Existence.RUNNING
    assert replace(mine, start_ticks=mine.start_ticks + 1).existence() is Existence.ENDED
    assert replace(mine, boot_id="another").existence() is Existence.ENDED


def test_a_start_that_the_kernel_does_not_show_is_not_held_against_a_process() -> None:
    assert replace(this_process(), start_ticks=0).existence() is Existence.RUNNING


def test_nothing_is_known_of_processes_of_other_hosts() -> None:
    assert replace(this_process(), host="elsewhere").existence() is Existence.UNKNOWN


def test_the_text_of_an_identity_is_read_back() -> None:
    mine = this_process()
    assert parse_process(str(mine)) == mine
    assert parse_process(str(replace(mine, boot_id=""))) == replace(mine, boot_id="")


@pytest.mark.parametrize("text", ["", "host:123", "a b 1", "a b c 4", "a b 1 2 3", "a b 1 ²"])
def test_other_texts_are_no_identity(text: str) -> None:
    assert parse_process(text) is None


def test_the_start_by_the_clock_lies_just_before_now(child: subprocess.Popen[bytes]) -> None:
    found = find_process(child.pid)
    assert found is not None
    started = start_time(found)
    assert started is not None
    assert -2 < time.time() - started < 30
