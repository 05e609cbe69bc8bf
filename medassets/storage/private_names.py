"""Private names beside a final name: each is locked by its living owner, so the rest is abandoned.

The lock, not the process id, tells whether the owner lives: another node or container that shares
the folder has other process ids, but the same locks.
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DIGITS = 16


def open_private(path: Path) -> tuple[Path, int]:
    """Create an empty, locked file under a private name beside `path`.

    Returns:
        The file and its descriptor; closing the descriptor releases the lock.
    """
    while True:
        private = path.with_name(f".{path.name}.{secrets.token_hex(_DIGITS // 2)}.tmp")
        fd = os.open(private, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        fcntl.flock(fd, fcntl.LOCK_EX)
        # A sweep may have removed the file between its creation and its lock.
        if os.fstat(fd).st_nlink:
            return private, fd
        os.close(fd)


def iter_abandoned(path: Path) -> Iterator[Path]:
    """Yield the private files of `path` whose owner is dead, each locked while it is handled.

    Files of other users, links and folders are passed over: this process did not make them.
    """
    for private in _list_private(path):
        fd = _try_lock(private)
        if fd is not None:
            try:
                yield private
            finally:
                os.close(fd)


def _list_private(path: Path) -> list[Path]:
    if not path.parent.is_dir():
        return []
    # Every shard lists the folder of its split: names of 10,000 shards, a path for few of them.
    start, pattern = f".{path.name}.", re.compile(rf"[0-9a-f]{{{_DIGITS}}}\.tmp")
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(start)]
    return [path.with_name(n) for n in sorted(names) if pattern.fullmatch(n, len(start))]


def sweep_private(path: Path) -> None:
    """Remove what killed writers of `path` left beside it."""
    for abandoned in iter_abandoned(path):
        with suppress(PermissionError):
            abandoned.unlink(missing_ok=True)


def _try_lock(private: Path) -> int | None:
    """Return a descriptor that holds the file's lock; None if that is not possible now."""
    try:
        # Without O_NONBLOCK, a FIFO of this name would block permanently.
        fd = os.open(private, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
