"""Temporary folders that are removed with the work that made them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from medassets.storage.private_names import iter_abandoned, open_private

_NAME = "medassets-scratch"


@dataclass(frozen=True)
class Scratch:
    """A private folder in the temporary folder, with a locked file beside it.

    Attributes:
        folder: The folder.
        lock: Locked file that shows to every node that the folder is in use.
    """

    folder: Path
    lock: Path
    _fd: int

    def remove(self) -> None:
        """Remove the folder and release its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.unlink(missing_ok=True)
        os.close(self._fd)


def make_scratch(beside: Path | None = None) -> Scratch:
    """Return a new private folder; those of killed processes of this user are removed.

    Args:
        beside: Folder that is being made: the private one is on its file system, under a name like
            its own. None: in the temporary folder.
    """
    name = beside or Path(tempfile.gettempdir()).absolute() / _NAME
    name.parent.mkdir(parents=True, exist_ok=True)
    _sweep(name)
    lock, fd = open_private(name)
    folder = _folder_of(lock)
    folder.mkdir(mode=0o700)
    return Scratch(folder, lock, fd)


@contextmanager
def open_scratch(beside: Path | None = None) -> Iterator[Path]:
    """Lend a private folder for the length of a `with` block; see `make_scratch`."""
    scratch = make_scratch(beside)
    try:
        yield scratch.folder
    finally:
        scratch.remove()


def _sweep(name: Path) -> None:
    for lock in iter_abandoned(name):
        shutil.rmtree(_folder_of(lock), ignore_errors=True)
        with suppress(PermissionError):
            lock.unlink(missing_ok=True)


def _folder_of(lock: Path) -> Path:
    """Return the folder that a lock belongs to: same name, without dot and suffix."""
    return lock.with_name(lock.name.removeprefix(".").removesuffix(".tmp"))
