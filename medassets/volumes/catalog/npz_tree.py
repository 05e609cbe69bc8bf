"""Trees of `.npz` files: the depth in use, and the headers of the arrays."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.storage.paths import check_member_path, show_path
from medassets.volumes.catalog.ct_tables import Exclusion
from medassets.volumes.files.array_files import read_npz_header

DEEPEST = 3
"""Levels of a tree: `*.npz`, `*/*.npz` or `*/*/*.npz`, by study, patient or accession."""

SUFFIX = ".npz"
TREES_KEY = b"medassets.npz_trees"
"""Key of the schema metadata that holds, by split, the depth in use and the files of each depth."""

_VOLUME_ENDINGS = (".nii.gz", ".nii")
# Headers are three small reads each; on a network disk they only wait.
_NUM_READERS = 16


@dataclass(frozen=True)
class NpzFile:
    """One file of a tree.

    Attributes:
        path: Path inside the source, with forward slashes; see `show_path`.
        study_id: The study that its name means.
        depth: 1 for a file right in the tree's folder.
        num_bytes: Its size.
        mtime_ns: When it was last changed.
        shape: Shape of its array; None where the header cannot be read.
        dtype: numpy's name of the dtype of its array; None where the header cannot be read.
        problem: Why it cannot be a sample, independent of the tables; it must not be opened.
    """

    path: str
    study_id: str
    depth: int
    num_bytes: int
    mtime_ns: int
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    problem: Exclusion | None = None


def name_study(name: str) -> str:
    """Return the study that the name of a file means, or a cell of VolumeName.

    Args:
        name: With or without `.npz`, and before that `.nii.gz` or `.nii`.
    """
    stem = name.removesuffix(SUFFIX)
    for ending in _VOLUME_ENDINGS:
        if stem.endswith(ending):
            return stem.removesuffix(ending)
    return stem


def list_tree(top: Path, folder: str) -> list[NpzFile]:
    """Return the `.npz` files below a folder, sorted by path; hidden files are skipped.

    Args:
        top: Top of the source.
        folder: Folder inside it; empty means the top.

    Raises:
        CatalogError: If there is no such folder, or a folder below it cannot be read.
    """
    start = top / folder if folder else top
    if not start.is_dir():
        msg = f"{start}: no such folder; `folder` and `volumes_dir` name the tree of .npz files"
        raise CatalogError(msg)
    return sorted(_walk(start, top), key=lambda file: file.path)


def choose_depth(files: list[NpzFile]) -> int:
    """Return the depth that holds the most usable files; of equals, the deeper one."""
    counts = Counter(f.depth for f in files if f.depth <= DEEPEST and f.problem is None)
    return max(counts, key=lambda depth: (counts[depth], depth), default=1)


def describe_tree(files: list[NpzFile], depth: int) -> dict[str, Any]:
    """Return which depth is in use, and how many files each holds."""
    counts = Counter(file.depth for file in files)
    return {"depth": depth, "files_by_depth": {str(d): counts[d] for d in sorted(counts)}}


def read_trees(table: pa.Table | None) -> dict[str, dict[str, Any]]:
    """Return what a catalog states about its trees, by split; empty if it states nothing."""
    metadata = (table.schema.metadata or {}) if table is not None else {}
    return json.loads(metadata.get(TREES_KEY, b"{}"))


def read_headers(
    files: list[NpzFile], top: Path, key: str, known: Mapping[str, NpzFile]
) -> list[NpzFile]:
    """Add shape and dtype to files; those that are as they were before are not opened again.

    A file whose header cannot be read stays without: the build says why it is rejected. One that
    has a problem is not opened.

    Args:
        files: The files.
        top: Top of the source.
        key: Name of the array.
        known: The files as they were before, by path.
    """

    def read(file: NpzFile) -> NpzFile:
        if file.problem is not None:
            return file
        before = known.get(file.path)
        if before is not None and before.shape is not None:
            same = (before.num_bytes, before.mtime_ns) == (file.num_bytes, file.mtime_ns)
            if same:
                return replace(file, shape=before.shape, dtype=before.dtype)
        try:
            header = read_npz_header(top / file.path, key)
        except (SampleRejectedError, OSError):
            return file
        return replace(file, shape=header.shape, dtype=header.dtype.name)

    with ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="medassets-headers") as pool:
        return list(pool.map(read, files))


def _walk(folder: Path, top: Path, depth: int = 1) -> Iterator[NpzFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        shown = show_path(str(folder))
        msg = f"{shown}: cannot be listed ({error.strerror}); make it readable"
        raise CatalogError(msg) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), top, depth + 1)
        elif entry.name.endswith(SUFFIX) and (file := _describe(entry, top, depth)) is not None:
            yield file


def _describe(entry: os.DirEntry[str], top: Path, depth: int) -> NpzFile | None:
    try:
        found = entry.stat()
    except OSError:
        # A broken link, or a file that was removed during the listing.
        return None
    path = Path(entry.path).relative_to(top).as_posix()
    return NpzFile(
        path=show_path(path),
        study_id=name_study(show_path(entry.name)),
        depth=depth,
        num_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        problem=_find_problem(path, found.st_mode),
    )


def _find_problem(path: str, mode: int) -> Exclusion | None:
    try:
        check_member_path(path)
    except CatalogError as error:
        return Reason.BAD_NAME, str(error)
    if not stat.S_ISREG(mode):
        # Reading a pipe would block.
        return Reason.UNREADABLE_SOURCE, f"{path}: not a regular file"
    return None
