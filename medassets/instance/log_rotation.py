"""The log of the daemon and its runs: appended to by many processes, and kept short."""

import shutil
from pathlib import Path

MOST_BYTES = 10_000_000
NUM_KEPT = 5


def rotate_log(path: Path, *, most_bytes: int = MOST_BYTES, num_kept: int = NUM_KEPT) -> bool:
    """Move the content of a log that has grown too long to `NAME.1`, and older ones on to `NAME.5`.

    The file itself stays and is emptied: runs hold it open for hours, and each of their writes goes
    to its end. What is written between copy and emptying is lost, as with logrotate's copytruncate.

    Args:
        path: The log; every writer has opened it for appending.
        most_bytes: Size above which it is rotated.
        num_kept: Number of older files.

    Returns:
        Whether it was rotated.
    """
    if not path.is_file() or path.stat().st_size <= most_bytes:
        return False
    for number in range(num_kept - 1, 0, -1):
        older = _numbered(path, number)
        if older.is_file():
            older.replace(_numbered(path, number + 1))
    shutil.copyfile(path, _numbered(path, 1))
    with path.open("r+b") as log:
        log.truncate()
    return True


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
