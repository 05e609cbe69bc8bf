"""One server per home: a lock that names its holder, and that the holder's daemon shares.

Two daemons on one home launch each run twice. The lock is an advisory one of the kernel on a
writable descriptor, as network file systems need it; it is free when the holder and its daemon have
ended, however that happened.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medassets.errors import LockTimeoutError
from medassets.instance.repeating import repeating
from medassets.storage.checksums import parse_json
from medassets.storage.processes import Existence, parse_process, this_process
from medassets.storage.unreadable import open_regular_fd

_NAME = ".up.lock"
_PAUSE_S = 0.1
_LOOK_EVERY_S = 5.0
# The daemon of a killed holder ends by itself within seconds.
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class HomeLock:
    """The lock of a home, held.

    Attributes:
        fd: Its descriptor; a process that inherits it holds the lock, too.
        path: The file.
    """

    fd: int
    path: Path

    def is_in_place(self) -> bool:
        """Tell whether the file is still the one that is locked.

        Where a home was deleted, another server can begin at the same path, with a lock of its own.
        """
        try:
            return os.path.samestat(os.fstat(self.fd), self.path.lstat())
        except OSError:
            return False

    def announce(self, address: str) -> None:
        """Note who holds the lock, for the process that asks for it in vain.

        Args:
            address: Where the UI listens.
        """
        started = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"process": str(this_process()), "address": address, "started": started}
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(holder).encode(), 0)


@contextmanager
def holding_home(home: Path, tell: Callable[[str], None]) -> Iterator[HomeLock]:
    """Hold the lock of a home's server until the block is left.

    Args:
        home: Folder of the instance.
        tell: Told once if the daemon of a killed server has yet to end.

    Raises:
        LockTimeoutError: If another server runs; the message names its process and address.
    """
    path = home / _NAME
    fd = open_regular_fd(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(fd, home, tell)
        yield HomeLock(fd, path)
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def watching_lock(lock: HomeLock, give_up: Callable[[], None]) -> AbstractContextManager[None]:
    """Look after the lock until the block is left.

    Args:
        lock: The lock.
        give_up: Called once, in another thread, when its file was deleted or replaced.
    """

    def look() -> bool:
        if lock.is_in_place():
            return True
        give_up()
        return False

    return repeating(look, every_s=_LOOK_EVERY_S)


def _acquire(fd: int, home: Path, tell: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_S
    told = False
    while not _try_lock(fd):
        holder = _read_holder(fd)
        process = parse_process(str(holder.get("process", "")))
        is_gone = process is not None and process.existence() is Existence.ENDED
        if not is_gone or time.monotonic() > deadline:
            raise LockTimeoutError(_describe(home, holder, is_gone=is_gone))
        if not told:
            tell("waiting until the daemon of a server that was killed has ended")
            told = True
        time.sleep(_PAUSE_S)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(fd: int) -> dict[str, object]:
    try:
        holder = parse_json(os.pread(fd, 4096, 0))
    except ValueError:
        # It has not announced itself yet.
        return {}
    return holder if isinstance(holder, dict) else {}


def _describe(home: Path, holder: dict[str, object], *, is_gone: bool) -> str:
    process = parse_process(str(holder.get("process", "")))
    who = f"process {process.pid} on {process.host}" if process else "another process"
    if is_gone:
        return f"{home}: {who} was killed, and its daemon has not ended yet; stop it, and try again"
    where = "".join(f", {holder[name]}" for name in ("address",) if holder.get(name))
    since = f", since {holder['started']}" if holder.get("started") else ""
    return (
        f"{home}: a server runs for this home already: {who}{where}{since}. One home has one; "
        f"`medassets up --read-only` serves viewers beside it"
    )
