"""One writer at a time: advisory file locks that die with their process."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.errors import LockTimeoutError
from medassets.storage.unreadable import open_regular_fd

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25


@contextmanager
def lock_file(
    path: Path,
    *,
    timeout_s: float | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold an exclusive lock named by a file; the kernel frees it when the process dies.

    The file is removed on release, and a waiter that locked a removed file tries again, so that
    no file remains and there is never more than one holder. A file with content is not ours: it
    serves as a lock, and stays. Threads of one process exclude each other as well.

    Args:
        path: Lock file; its folder is made where it is missing.
        timeout_s: Longest wait in seconds; None means no limit.
        on_wait: Called once if another process holds the lock.

    Raises:
        LockTimeoutError: If the lock was not free in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _acquire(path, timeout_s, on_wait)
    try:
        yield
    finally:
        # Unlink before the lock is released, or the next holder's file would be removed.
        if not os.fstat(fd).st_size:
            path.unlink(missing_ok=True)
        os.close(fd)


def _acquire(path: Path, timeout_s: float | None, on_wait: Callable[[], None] | None) -> int:
    start = time.monotonic()
    pause = _FIRST_PAUSE_S
    while True:
        fd = _try_lock(path)
        if fd is not None:
            return fd
        waited = time.monotonic() - start
        if timeout_s is not None and waited >= timeout_s:
            msg = (
                f"{path}: another process has held this lock for {waited:.0f} s; wait for its run "
                f"to end, or stop it"
            )
            raise LockTimeoutError(msg)
        if on_wait is not None:
            on_wait()
            on_wait = None
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _try_lock(path: Path) -> int | None:
    fd = open_regular_fd(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, named = os.fstat(fd), path.stat()
        if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
