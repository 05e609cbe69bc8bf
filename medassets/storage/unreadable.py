"""Files that are there and cannot be read: which trouble is one file's, and which the machine's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError

# Everything else (no memory, no descriptors, no room) would meet every file.
_OF_ONE_FILE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENXIO, errno.EISDIR)
)


def explain_unreadable(error: OSError) -> SampleRejectedError | None:
    """Return the rejection that a system's error is to the samples of one file.

    Args:
        error: What reading the file raised.

    Returns:
        UNREADABLE_SOURCE with the system's words; None if the machine is to blame, not the file.
    """
    if error.errno not in _OF_ONE_FILE:
        return None
    detail = f"the file is there, but cannot be read ({error.strerror})"
    return SampleRejectedError(Reason.UNREADABLE_SOURCE, detail)


def is_gone(path: Path) -> bool:
    """Tell whether a file is not there; one that may only not be looked at is."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


@contextmanager
def unreadable_as_rejection() -> Iterator[None]:
    """Turn trouble with one file, in a block that reads no other, into its rejection.

    Raises:
        SampleRejectedError: UNREADABLE_SOURCE.
        OSError: If the machine is to blame, not the file.
    """
    try:
        yield
    except OSError as error:
        rejection = explain_unreadable(error)
        if rejection is None:
            raise
        raise rejection from error
