"""Decoder processes in tests: whether they run, what they wait for, and what they answered."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from medassets.errors import SampleRejectedError
from medassets.video.processes.messages import Outcome
from medassets.video.processes.pool import DecoderPool
from medassets.video.requests import DecodedClip


def all_gone(pids: Sequence[int]) -> bool:
    """Whether child processes have ended and were reaped."""
    return not any(psutil.pid_exists(pid) for pid in pids)


def all_end_soon(pids: Sequence[int]) -> bool:
    """Whether processes without a parent end within two seconds."""
    deadline = time.monotonic() + 2.0
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    try:
        # The process that adopts orphans may reap them late.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def reads_fifo(pid: int) -> bool:
    try:
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(name.endswith("never.mp4") for name in opened)


def wait_for_worker(pool: DecoderPool, others: Sequence[int] = ()) -> int:
    """Return the process that waits for a FIFO to give something, once it does."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in pool.pids:
            if pid not in others and reads_fifo(pid):
                return pid
        time.sleep(0.02)
    pytest.fail("no process opened the FIFO")


def assert_same(got: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        if isinstance(other, SampleRejectedError):
            assert isinstance(one, SampleRejectedError)
            assert (one.reason, one.detail) == (other.reason, other.detail)
        else:
            assert isinstance(one, DecodedClip)
            np.testing.assert_array_equal(one.frames, other.frames)
            assert one.timestamps_s == other.timestamps_s
            assert one.facts == other.facts


def submit(work: Callable[..., list[Outcome]], *arguments: object) -> "Future[list[Outcome]]":
    thread = ThreadPoolExecutor(1)
    future = thread.submit(work, *arguments)
    thread.shutdown(wait=False)
    return future
