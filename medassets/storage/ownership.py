"""The rule of the house: nothing replaces or removes what this package did not make.

Three kinds of evidence say that this package made something: a record or a field in the content
(shards, manifests, catalog), a journal with size and checksum (exports, merged files), and a private
name under a lock (`storage.private_names`). Every module that replaces a file passes its evidence as
an `IsOurs` to the functions of `storage.atomic`, which ask here.
"""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from medassets.errors import ForeignFileError
from medassets.storage.checksums import parse_json
from medassets.storage.unreadable import read_regular

IsOurs: TypeAlias = Callable[[Path], bool]
"""Tells whether this package made what exists at a path; not asked where nothing exists."""

NUM_NAMED = 3


def never(_: Path) -> bool:
    """Evidence of a file that must be new: what exists under its name is foreign."""
    return False


def is_private(path: Path) -> bool:
    """Evidence of a name: hidden names of this package, used under a lock that the caller holds."""
    return path.name.startswith(".") and is_plain_file(path)


def is_plain_file(path: Path) -> bool:
    """Tell whether a regular file, not a link, exists at a path."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_plain_folder(path: Path) -> bool:
    """Tell whether a folder, not a link, exists at a path."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def describe_type(mode: int) -> str:
    """Return what sort of thing a mode of `stat` names, for messages."""
    sorts = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    return sorts.get(stat.S_IFMT(mode), "a device, socket or pipe")


def content_says(is_ours: Callable[[bytes], bool]) -> IsOurs:
    """Return evidence by content: a regular file whose bytes only this package writes.

    Args:
        is_ours: Judges the bytes of the file.
    """
    return lambda path: is_plain_file(path) and is_ours(read_regular(path))


def json_says(is_ours: Callable[[dict[str, Any]], bool]) -> IsOurs:
    """Return evidence by fields: a JSON object that `is_ours` recognizes."""

    def judge(content: bytes) -> bool:
        try:
            document = parse_json(content)
        except ValueError:
            return False
        return isinstance(document, dict) and is_ours(document)

    return content_says(judge)


def require_ours(path: Path, is_ours: IsOurs) -> None:
    """Refuse to replace or remove what this package did not make.

    Raises:
        ForeignFileError: If something exists at `path` and there is no evidence that it is ours.
    """
    if os.path.lexists(path) and not is_ours(path):
        msg = (
            f"{path}: this was not made by medassets, or was changed since; it is not replaced. "
            f"Move it away and run again"
        )
        raise ForeignFileError(msg)


def name_first(paths: Iterable[Path | str]) -> str:
    """Return the first three paths, and how many more there are."""
    listed: Sequence[str] = [str(path) for path in paths]
    more = f" and {len(listed) - NUM_NAMED:,} more" if len(listed) > NUM_NAMED else ""
    return ", ".join(listed[:NUM_NAMED]) + more
