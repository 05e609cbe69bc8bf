"""Publish files atomically: visible whole or not at all, and durable before they are visible."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.errors import DiskSpaceError
from medassets.storage.ownership import IsOurs, require_ours
from medassets.storage.private_names import open_private, sweep_private

# To the user, RLIMIT_FSIZE and quotas are the same as a full disk.
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def explain_no_space(path: Path, needed: int | Callable[[], int]) -> Iterator[None]:
    """Turn "no space left" inside the block into an error that says how much is needed.

    Args:
        path: The file that is written, under its final name.
        needed: Bytes that must be free for the write to succeed, or a function that returns them
            after it has failed.

    Raises:
        DiskSpaceError: If the block failed for lack of disk space, quota or allowed file size.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskSpaceError) or error.errno not in _NO_SPACE:
            raise
        missing = needed() if callable(needed) else needed
        msg = (
            f"no space left to write {path} ({error.strerror}): {missing:,} more bytes are needed. "
            f"Free them and run again; published files are intact"
        )
        raise DiskSpaceError(msg) from error


def fsync_folder(folder: Path) -> None:
    """Make names added to or removed from a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write a whole buffer at the position of a file descriptor, without a copy."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(fd, view) :]


def publish_bytes(path: Path, data: bytes, *, is_ours: IsOurs) -> None:
    """Write a small file so that readers see the old content or the new, never a part.

    Leftovers of killed writers of the same file are removed; living writers are left alone.

    Args:
        path: Final name; missing folders are created.
        data: The whole content.
        is_ours: Evidence that an existing file may be replaced.

    Raises:
        ForeignFileError: If the existing file was not made by this package.
        DiskSpaceError: If the disk is full; the old content stays.
    """
    require_ours(path, is_ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_private(path)
    private, fd = open_private(path)
    try:
        with explain_no_space(path, len(data)):
            write_all(fd, data)
            os.fsync(fd)
        private.replace(path)
    except BaseException:
        private.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    fsync_folder(path.parent)


def publish_file(private: Path, final: Path, *, is_ours: IsOurs) -> None:
    """Give a finished private file its final name, durably.

    Args:
        private: Complete file on the same file system, better in the same folder.
        final: Name under which readers find it.
        is_ours: Evidence that an existing file may be replaced.

    Raises:
        ForeignFileError: If the existing file was not made by this package.
        DiskSpaceError: If delayed allocation finds the disk full.
    """
    require_ours(final, is_ours)
    with explain_no_space(final, private.stat().st_size), private.open("rb") as file:
        os.fsync(file.fileno())
    private.replace(final)
    fsync_folder(final.parent)


@contextmanager
def publishing(final: Path, *, is_ours: IsOurs) -> Iterator[Path]:
    """Hand out a private path beside `final`; publish what the block wrote there.

    For writers that open their file themselves. Leftovers of killed writers of the same file are
    removed first; the private file is removed on any error.

    Args:
        final: Final name; missing folders are created.
        is_ours: Evidence that an existing file may be replaced.

    Yields:
        An empty, locked file to be written in place.

    Raises:
        ForeignFileError: If the existing file was not made by this package.
        DiskSpaceError: If the disk is full; the old content stays.
    """
    require_ours(final, is_ours)
    final.parent.mkdir(parents=True, exist_ok=True)
    sweep_private(final)
    private, fd = open_private(final)
    try:
        with explain_no_space(final, lambda: private.stat().st_size):
            yield private
        publish_file(private, final, is_ours=is_ours)
    except BaseException:
        private.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
