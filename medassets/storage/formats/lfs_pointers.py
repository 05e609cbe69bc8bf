"""Recognizes Git LFS pointers: small texts that stand where a clone without LFS should have the file.

Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

import re
from pathlib import Path

from medassets.storage.foreign_bytes import open_foreign

MAX_POINTER_BYTES = 1024
"""A pointer is shorter."""

_START = re.compile(rb"version https?://(git-lfs\.github\.com|hawser\.github\.com)/spec/v1\s")
_SIZE = re.compile(rb"^size (\d+)\s*$", re.MULTILINE)


def explain_pointer(head: bytes) -> str | None:
    """Return what a file is, and the remedy, if it begins as a Git LFS pointer; else None.

    Args:
        head: First bytes of the file; `MAX_POINTER_BYTES` are enough.
    """
    if not _START.match(head):
        return None
    size = _SIZE.search(head)
    of = f" of a file of {int(size[1]):,} bytes" if size else ""
    return f"a Git LFS pointer{of}, not the file; run `git lfs pull` where it was cloned"


def explain_pointer_file(path: Path) -> str | None:
    """Return the same of a file on disk; None as well if it cannot be read."""
    try:
        with open_foreign(path) as file:
            return explain_pointer(file.read(MAX_POINTER_BYTES))
    except OSError:
        return None
