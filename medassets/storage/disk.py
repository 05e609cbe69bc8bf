"""Free space of file systems, and the page cache."""

import os
from pathlib import Path

from medassets.errors import DiskSpaceError


def free_bytes(path: Path) -> int:
    """Return the bytes an unprivileged user may still write where `path` is or will be."""
    stats = os.statvfs(_find_existing(path))
    return stats.f_bavail * stats.f_frsize


def is_same_disk(first: Path, second: Path) -> bool:
    """Return whether two files or folders are, or will be, on one file system."""
    return _find_existing(first).stat().st_dev == _find_existing(second).stat().st_dev


def _find_existing(path: Path) -> Path:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return there


def require_free_bytes(path: Path, needed: int, *, purpose: str) -> None:
    """Fail before the work if the disk cannot hold its result.

    Args:
        path: File or folder to be written; it need not exist yet.
        needed: Bytes the work will write.
        purpose: What the bytes are for, as used in the message.

    Raises:
        DiskSpaceError: If less is free; the message has both numbers.
    """
    free = free_bytes(path)
    if free < needed:
        msg = (
            f"{path}: {purpose} needs {needed:,} bytes, {free:,} are free. "
            f"Free {needed - free:,} bytes or choose another disk"
        )
        raise DiskSpaceError(msg)


def drop_cached(fd: int, offset: int, size_bytes: int) -> None:
    """Drop a range of a file from the page cache.

    Only a hint: pages that are not written back stay in memory, and so do all pages on systems
    without `posix_fadvise`.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_DONTNEED)
