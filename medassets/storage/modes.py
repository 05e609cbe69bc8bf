"""Who may read what is written: its owner, and the group where the home's folder says so."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OWNER = 0o077
_GROUP = 0o007


@contextmanager
def private_files(home: Path) -> Iterator[None]:
    """Make files and folders in the block, and in processes started there, private to their owner.

    Where the home's folder has the set-group-ID bit, as a shared folder has, its group may read and
    write as well.

    Args:
        home: The home; it need not exist yet.
    """
    previous = os.umask(choose_umask(home))
    try:
        yield
    finally:
        os.umask(previous)


def choose_umask(home: Path) -> int:
    """Return the mask for files of a home."""
    return _GROUP if home.is_dir() and home.stat().st_mode & stat.S_ISGID else _OWNER


def is_readable_by_others(folder: Path) -> bool:
    """Tell whether every user of the machine may look into a folder."""
    return folder.is_dir() and bool(folder.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH))
