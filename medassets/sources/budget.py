"""Byte budget of a staging folder, shared by all processes that use it."""

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import DiskSpaceError
from medassets.storage.checksums import parse_json
from medassets.storage.locks import lock_file
from medassets.storage.unreadable import open_regular_fd, read_regular

_RESERVATIONS = ".reservations"
_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{40,64}\.part")
# Older versions put a process id first, which means nothing on another machine.
_TICKET = re.compile(r"(?:\d+-)?[0-9a-f]{16}\.json")
_WAITS = ".waits"
_POLL_S = 0.25


@dataclass(frozen=True)
class StagedEntry:
    """Files of one source file in a staging folder.

    Attributes:
        path: Path inside the source.
        num_bytes: Size on disk, complete or not.
        partials: Incomplete files.
    """

    path: str
    num_bytes: int
    partials: tuple[Path, ...]


def list_entries(folder: Path) -> dict[str, StagedEntry]:
    """Return the complete and incomplete files of a staging folder, by path inside the source."""
    sizes: dict[str, int] = {}
    partials: dict[str, tuple[Path, ...]] = {}
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != _RESERVATIONS)
        for name in names:
            if name.startswith("."):
                continue
            place = Path(base, name)
            partial = _PARTIAL.fullmatch(name)
            path = (Path(base, partial[1]) if partial else place).relative_to(folder).as_posix()
            with suppress(FileNotFoundError):
                sizes[path] = sizes.get(path, 0) + place.stat().st_size
            if partial:
                partials[path] = (*partials.get(path, ()), place)
    return {path: StagedEntry(path, n, partials.get(path, ())) for path, n in sizes.items()}


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; only for short operations."""
    with lock_file(folder / ".budget.lock"):
        yield


def read_reservations(folder: Path) -> dict[str, int]:
    """Return path and bytes of every file that a living process is fetching.

    Reservations of dead processes are removed. Requires the folder's lock.
    """
    reserved: dict[str, int] = {}
    for path in sorted((folder / _RESERVATIONS).glob("*.json")):
        if not _TICKET.fullmatch(path.name):
            continue
        # A reservation ends without the folder's lock, so its file may disappear at any time.
        with suppress(FileNotFoundError):
            for name, num_bytes in _read_reservation(path).items():
                reserved[name] = max(num_bytes, reserved.get(name, 0))
    return reserved


def _read_reservation(path: Path) -> dict[str, int]:
    """Return what a living process reserves; the file of a dead one is removed.

    Raises:
        FileNotFoundError: If the reservation has ended.
    """
    # That of another user can be neither locked nor removed, and counts.
    return parse_json(read_regular(path)) if _is_held(path) else {}


def _is_held(path: Path) -> bool:
    """Return whether the process that made a ticket is alive; the file of a dead one is removed.

    Raises:
        FileNotFoundError: If the ticket is gone.
    """
    try:
        # On NFS, an exclusive lock needs a descriptor that may write.
        with os.fdopen(open_regular_fd(path, os.O_RDWR), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its owner holds the lock while it is alive.
            path.unlink(missing_ok=True)
            return False
    except (BlockingIOError, PermissionError):
        return True


def remove_reservations(folder: Path) -> None:
    """Remove the folder of reservations if it is empty. Requires the folder's lock."""
    with suppress(OSError):
        (folder / _RESERVATIONS).rmdir()


@contextmanager
def reserve_bytes(
    folder: Path,
    sizes: Mapping[str, int],
    *,
    budget_bytes: int,
    timeout_s: float,
    tick: Callable[[], None],
    gives_way: bool = False,
) -> Iterator[None]:
    """Reserve space for some files while they are fetched; wait until there is enough.

    All files are granted together, so that two processes never wait for each other. Files that
    are complete already are granted at once: using them frees space.

    Args:
        folder: Staging folder.
        sizes: Path inside the source and full size of each file.
        budget_bytes: Maximum size of the folder.
        timeout_s: Maximum wait for other processes to free space, in s.
        tick: Called several times per second while waiting; an exception ends the wait.
        gives_way: Take no room while another process waits for some.

    Raises:
        DiskSpaceError: If the files can never fit, or room was not freed in time.
    """
    needed = sum(sizes.values())
    if needed > budget_bytes and _bytes_missing(folder, sizes):
        msg = (
            f"{folder}: {len(sizes)} files of {needed:,} bytes are wanted together, the staging "
            f"budget is {budget_bytes:,}. Raise staging_budget_gb or lower samples_per_shard"
        )
        raise DiskSpaceError(msg)

    def try_reserve() -> _Ticket | None:
        return _try_reserve(folder, sizes, budget_bytes, gives_way=gives_way)

    ticket = try_reserve()
    if ticket is None:
        with _noting_wait(folder) if timeout_s > 0 else nullcontext():
            deadline = time.monotonic() + timeout_s
            while (ticket := try_reserve()) is None:
                if time.monotonic() >= deadline:
                    raise DiskSpaceError(_no_room(folder, sizes, budget_bytes, timeout_s))
                tick()
                time.sleep(_POLL_S)
    try:
        yield
    finally:
        ticket.end()


@dataclass(frozen=True)
class _Ticket:
    """A file that counts as long as the process that made it holds its lock."""

    path: Path
    fd: int

    def end(self) -> None:
        # Unlink before the lock goes, or a reader would take the file for a dead process's.
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


def _make_ticket(folder: Path, ending: str, content: Mapping[str, int]) -> _Ticket:
    """Make a ticket. Requires the folder's lock."""
    path = folder / _RESERVATIONS / f"{secrets.token_hex(8)}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, json.dumps(dict(content)).encode())
    return _Ticket(path, fd)


@contextmanager
def _noting_wait(folder: Path) -> Iterator[None]:
    """Let other processes know that this one waits for room: those that fetch ahead leave it."""
    with lock_folder(folder):
        ticket = _make_ticket(folder, _WAITS, {})
    try:
        yield
    finally:
        ticket.end()


def _is_waited_for(folder: Path) -> bool:
    """Return whether a living process waits for room. Requires the folder's lock."""
    for path in sorted((folder / _RESERVATIONS).glob(f"*{_WAITS}")):
        with suppress(FileNotFoundError):
            if _TICKET.fullmatch(path.name.removesuffix(_WAITS) + ".json") and _is_held(path):
                return True
    return False


def _try_reserve(
    folder: Path, sizes: Mapping[str, int], budget_bytes: int, *, gives_way: bool
) -> _Ticket | None:
    with lock_folder(folder):
        if gives_way and _is_waited_for(folder):
            return None
        needed = sum(sizes.values())
        others = _bytes_of_others(folder, sizes, reclaim=budget_bytes - needed)
        if others + needed > budget_bytes and _bytes_missing(folder, sizes):
            return None
        return _make_ticket(folder, ".json", sizes)


def _bytes_missing(folder: Path, sizes: Mapping[str, int]) -> int:
    """Return how many bytes of the files are not on the disk in finished files."""
    missing = 0
    for path, num_bytes in sizes.items():
        there = -1
        with suppress(FileNotFoundError):
            there = (folder / path).stat().st_size
        missing += 0 if there == num_bytes else num_bytes
    return missing


def _bytes_of_others(folder: Path, sizes: Mapping[str, int], *, reclaim: int) -> int:
    """Count what others hold; over `reclaim` bytes, the files of dead downloads are removed."""
    reserved = read_reservations(folder)
    held = dict(reserved)
    orphans: list[tuple[str, Path]] = []
    for entry in list_entries(folder).values():
        held[entry.path] = max(entry.num_bytes, held.get(entry.path, 0))
        if entry.path not in reserved:
            orphans += [(entry.path, partial) for partial in entry.partials]
    total = sum(num_bytes for path, num_bytes in held.items() if path not in sizes)
    for path, partial in orphans:
        if total > reclaim and path not in sizes:
            total -= partial.stat().st_size
            partial.unlink()
    return total


def _no_room(folder: Path, sizes: Mapping[str, int], budget_bytes: int, timeout_s: float) -> str:
    with lock_folder(folder):
        held = _bytes_of_others(folder, sizes, reclaim=budget_bytes)
    others = sorted(path for path in list_entries(folder) if path not in sizes)
    return (
        f"{folder}: {sum(sizes.values()):,} bytes are needed, {held:,} of the staging budget of "
        f"{budget_bytes:,} are held by {len(others)} files of other shards (first: "
        f"{', '.join(others[:3])}) and none were freed within {timeout_s:g} s. Make those shards, "
        f"delete their files, or raise staging_budget_gb"
    )
