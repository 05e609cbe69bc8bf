"""Files that cannot be read or written: tells errors of one file from errors of the machine."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.errors import Reason, RefusedByDiskError, SampleRejectedError

# Everything else (no memory, no descriptors, no room) would affect every file.
_OF_ONE_FILE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENXIO, errno.EISDIR)
)

_REFUSALS = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
)


def explain_refusal(error: OSError) -> RefusedByDiskError | None:
    """Return an error that names the file which the system does not let this process use.

    Args:
        error: What reading or writing raised.

    Returns:
        None if the cause is not the owner, mode or sort of a file or folder.
    """
    if error.errno not in _REFUSALS or error.filename is None:
        return None
    msg = (
        f"{error.filename}: {error.strerror}; it must be a file or folder that the user of this "
        f"process may read, and write to build. Correct owner and mode, or move it away, and run again"
    )
    return RefusedByDiskError(msg)


def explain_unreadable(error: OSError) -> SampleRejectedError | None:
    """Return the rejection for the samples of a file that raised an OSError.

    Args:
        error: What reading the file raised.

    Returns:
        UNREADABLE_SOURCE with the system's message; None if the error is the machine's, not the file's.
    """
    if error.errno not in _OF_ONE_FILE:
        return None
    detail = f"the file is there, but cannot be read ({error.strerror})"
    return SampleRejectedError(Reason.UNREADABLE_SOURCE, detail)


def not_regular_error(path: Path | str) -> OSError:
    """Return the error of a pipe, a socket, a device or a folder in place of a file."""
    return OSError(errno.ENXIO, "not a regular file", str(path))


def open_regular_fd(path: Path | str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Return a descriptor of a regular file; a pipe, socket, device or folder there never blocks.

    Args:
        path: The file.
        flags: How `os.open` opens it.
        mode: Mode of a new file.

    Raises:
        OSError: If it cannot be opened, or is not a regular file.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        # A socket.
        raise not_regular_error(path) if error.errno == errno.ENXIO else error from None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise not_regular_error(path)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; see `open_regular_fd`."""
    return io.BufferedReader(io.FileIO(open_regular_fd(path), "rb"))


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; see `open_regular_fd`."""
    with open_regular(path) as file:
        return file.read()


def require_regular(path: Path) -> None:
    """Refuse what is not a regular file, before a library opens it by its name.

    Raises:
        OSError: If it does not exist, or is not a regular file.
    """
    os.close(open_regular_fd(path))


def is_gone(path: Path) -> bool:
    """Tell whether a file does not exist; one that exists but cannot be accessed is not gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


@contextmanager
def unreadable_as_rejection() -> Iterator[None]:
    """Turn an OSError in a block that reads a single file into the rejection of that file.

    Raises:
        SampleRejectedError: UNREADABLE_SOURCE.
        OSError: If the error is the machine's, not the file's.
    """
    try:
        yield
    except OSError as error:
        rejection = explain_unreadable(error)
        if rejection is None:
            raise
        raise rejection from error
