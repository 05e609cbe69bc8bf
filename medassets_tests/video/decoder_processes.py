"""Tell whether decoder processes run, and what they wait for."""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil


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
