"""Waiting for what other processes do."""

import time
from collections.abc import Callable, Sequence

import psutil


def wait_until(is_so: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Wait until something is so; fail after the timeout, which only ends what hangs."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def are_gone(processes: Sequence[psutil.Process]) -> bool:
    """Return whether none of the processes runs."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
