"""Names in a tree of volumes: endings, sample keys, and names that say that a file is no volume."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from medassets.volumes.catalog.sample_keys import make_distinct_key
from medassets.volumes.files.images.reader import ATTACHED, DETACHED

NIFTI = (".nii.gz", ".nii")
"""Endings of NIfTI files, in any case."""

ENDINGS = (*NIFTI, *ATTACHED, *DETACHED)
"""Endings of the files of a tree, in any case."""

LONGEST_KEY = 90

# Characters that a key replaces by `_`, of names that are easy to read; others get a hash.
_READABLE = re.compile(r"[A-Za-z0-9_\-./ +()\[\],=@#&']+", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_CASE = re.compile(r"(.+)_\d{4}")


def strip_ending(name: str) -> str:
    """Return a name or path without the ending of a volume, such as `.nii.gz`."""
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def name_case(stem: str) -> str:
    """Return a stem without a channel of four digits, as in `CASE_0000`; the stem itself without one."""
    match = _CASE.fullmatch(stem)
    return match[1] if match else stem


def make_tree_key(path: str) -> str:
    """Return the sample key of a path: `a/b c.nii.gz` is `a_b_c`.

    A key depends on the path only. Paths that are too long, or hold letters that a key cannot have, end with
    a hash. Others may share a key; see `find_collisions`.
    """
    stem = strip_ending(path)
    key = _OTHER.sub("_", stem)
    if len(key) > LONGEST_KEY or not _READABLE.fullmatch(stem):
        return make_distinct_key(stem, of=stem)
    return key


def find_collisions(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the paths whose keys are the same, or differ only in case or Unicode form, with the others.

    A disk that ignores case could not hold both samples, and both may be one volume stored twice.
    """
    groups: dict[str, set[str]] = {}
    for path in paths:
        for name in (make_tree_key(path), strip_ending(path)):
            groups.setdefault(unicodedata.normalize("NFKC", name).casefold(), set()).add(path)
    found: dict[str, set[str]] = {}
    for group in groups.values():
        for path in group if len(group) > 1 else ():
            found.setdefault(path, set()).update(group - {path})
    return {path: sorted(others) for path, others in found.items()}


def find_prefix(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that all paths are in: they tell no file from another."""
    prefix: list[str] | None = None
    for path in paths:
        folders = path.split("/")[:-1]
        if prefix is None:
            prefix = folders
        same = (one == other for one, other in zip(prefix, folders, strict=False))
        prefix = prefix[: next((n for n, equal in enumerate(same) if not equal), len(folders))]
    return tuple(prefix or ())


def drop_prefix(path: str, prefix: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of a path below the folders that all share; all parts of a path elsewhere."""
    parts = tuple(path.split("/"))
    is_below = len(parts) > len(prefix) and parts[: len(prefix)] == tuple(prefix)
    return parts[len(prefix) :] if is_below else parts


def find_pattern(parts: Sequence[str], patterns: Iterable[str]) -> tuple[str, str] | None:
    """Return the first folder or name that a pattern matches, and the pattern; None without a match.

    Args:
        parts: Folders of a path and its name, below the folders that all files share.
        patterns: Shell patterns such as `*mask*`, in any case.
    """
    for part in (*parts[:-1], strip_ending(parts[-1])):
        for pattern in patterns:
            if fnmatchcase(part.casefold(), pattern.casefold()):
                return part, pattern
    return None


def group_channels(paths: Iterable[str]) -> Mapping[str, str]:
    """Return path -> case of files that are channels of one, `CASE_0000` and `CASE_0001` in a folder.

    Channels count from 0. Where all files of a folder share one beginning, the digits number the files.
    """
    folders: dict[str, dict[str, list[str]]] = {}
    for path in paths:
        folder, _, name = strip_ending(path).rpartition("/")
        folders.setdefault(folder, {}).setdefault(name_case(name), []).append(path)
    return {
        path: f"{folder}/{case}" if folder else case
        for folder, cases in folders.items()
        for case, members in cases.items()
        if len(members) > 1 and len(cases) > 1 and any(map(_is_first_channel, members))
        for path in members
    }


def _is_first_channel(path: str) -> bool:
    return strip_ending(path).endswith("_0000")
