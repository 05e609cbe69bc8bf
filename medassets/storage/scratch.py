"""Folders for files that live no longer than the work on them."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.storage.processes import is_alive

_PREFIX = "medassets-scratch-"
_NAME = re.compile(rf"{_PREFIX}([0-9]+)-.*")


def make_scratch() -> Path:
    """Return a new private folder; those that killed processes of this user left are removed."""
    _sweep(Path(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


@contextmanager
def open_scratch() -> Iterator[Path]:
    """Lend a private folder for the length of a `with` block."""
    folder = make_scratch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        match = _NAME.fullmatch(folder.name)
        if match and not is_alive(int(match[1])):
            # Another user's folder stays: its removal fails, and that is right.
            shutil.rmtree(folder, ignore_errors=True)
