"""Files that cannot be read or written: tells errors of one file from errors of the machine."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.errors import Reason, RefusedByDiskError, SampleRejectedError

# Everything else (no memory, no descriptors, no room) would affect every file.
_OF_ONE_FILE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENXIO, errno.EISDIR)
)

_REFUSALS = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
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
