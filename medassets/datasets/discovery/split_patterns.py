"""Folders or names that differ in a split only, as a pattern with `{split}`."""

import re
from collections.abc import Sequence

from medassets.datasets.discovery.tables import sort_splits
from medassets.volumes.catalog.tree.split_names import read_split_name

_SPLIT = re.compile(r"[a-z0-9]+", re.ASCII)
_PREFIX = re.compile(r"([a-z0-9]+)([-_.].*)", re.ASCII)


def split_by_folder(paths: Sequence[str]) -> dict[str, str]:
    """Return split -> the folder of its files, where folders of one level name the split of every file.

    Args:
        paths: Files, with forward slashes.

    Returns:
        Empty if there are fewer than two splits, or folders with other names than splits have.
    """
    depth = min((path.count("/") for path in paths), default=0)
    for level in range(depth):
        found: dict[str, str] = {}
        for path in paths:
            parts = path.split("/")
            name = parts[level]
            if not _SPLIT.fullmatch(name) or read_split_name(name, ()) is None:
                break
            if found.setdefault(name, "/".join(parts[: level + 1])) != "/".join(parts[: level + 1]):
                break
        else:
            return (
                {name: found[name] for name in sort_splits(list(found))} if len(found) > 1 else {}
            )
    return {}


def split_by_prefix(paths: Sequence[str]) -> list[str]:
    """Return the splits with which the names of all files of one folder begin, as in `train-000000.tar`."""
    if len({path.rpartition("/")[0] for path in paths}) != 1:
        return []
    matches = [_PREFIX.fullmatch(path.rpartition("/")[2]) for path in paths]
    found = {match[1] if match else "" for match in matches}
    if len(found) < 2 or any(read_split_name(name, ()) is None for name in found):
        return []
    return sort_splits(list(found))


def as_pattern(text: str, split: str) -> str:
    """Return a path with `{split}` in place of the last occurrence of a split as a part of it."""
    head, mark, tail = text.rpartition(split)
    return f"{head}{{split}}{tail}" if mark else text
