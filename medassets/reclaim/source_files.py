"""The source files of a shard's samples, and what else these files contain."""

import os
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medassets.datasets.workspace import Workspace
from medassets.errors import SampleRejectedError
from medassets.reclaim.files_to_shards import read_places
from medassets.samples import SourceItem

CHANGED = "it changed while it was compared"


@dataclass(frozen=True)
class FileStat:
    """Facts about a file, or all files of a series, that must not have changed.

    Attributes:
        num_bytes: Its size; of several files the sum.
        mtime_ns: When it was last changed; of several files the latest.
        ctime_ns: When the system last recorded a change; programs cannot set it.
        inode: Which file it is.
        parts: The facts of each of several files.
    """

    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    parts: tuple["FileStat", ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, found: os.stat_result) -> "FileStat":
        """Return the facts of a `stat`."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    @classmethod
    def join(cls, parts: Sequence["FileStat"]) -> "FileStat":
        """Return the facts of several files, one at least, as those of one."""
        return cls(
            sum(one.num_bytes for one in parts),
            max(one.mtime_ns for one in parts),
            max(one.ctime_ns for one in parts),
            parts[0].inode,
            tuple(parts),
        )

    def is_moved_from(self, other: "FileStat") -> bool:
        """Tell whether this is the same file under another name: a move leaves all but the ctime."""
        return replace(self, ctime_ns=0) == replace(other, ctime_ns=0)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source and the samples that are made of it.

    Attributes:
        path: Path inside the source; of a series, whose files are deleted together, its key.
        items: Its planned samples.
        partitions: The shards that hold them.
        num_unplanned: Rows of the catalog that belong to it and are in no shard: excluded or held.
        is_single: Whether the file is one sample, so that the catalog states its size.
    """

    path: str
    items: tuple[SourceItem, ...] = field(repr=False)
    partitions: tuple[str, ...]
    num_unplanned: int
    is_single: bool

    @property
    def is_planned(self) -> bool:
        """Whether every sample of the file has a shard."""
        return self.num_unplanned == 0

    def find_change(self, found: FileStat) -> str:
        """Return how a file differs from what its samples were made of; empty if it does not.

        The catalog states size and time of each row's file; a shard is outdated when they change.
        """
        row = self.items[0].row
        if row.get("mtime_ns") is None or found.mtime_ns != row["mtime_ns"]:
            return "it was changed after its samples were made (another time)"
        if self.is_single and found.num_bytes != row.get("num_bytes"):
            return "it was changed after its samples were made (another size)"
        return ""


def find_obstacle(folder: Path, place: Path) -> str:
    """Return why a file must be kept as it is now, apart from its content; empty if nothing speaks against it.

    Args:
        folder: Top of the source.
        place: The file.
    """
    try:
        found = place.lstat()
    except OSError as error:
        return f"it cannot be examined ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "it is a link or not a regular file; deleting it would free nothing"
    if place.resolve() != folder.resolve() / place.relative_to(folder):
        return "it is reached through a linked folder"
    if not os.access(place.parent, os.W_OK | os.X_OK):
        return "its folder is read-only; make it writable"
    return ""


def size_of(place: Path) -> int:
    """Return the bytes of a file; 0 if it is not there."""
    try:
        return place.lstat().st_size
    except OSError:
        return 0


def find_source_files(workspace: Workspace, partition_key: str) -> list[SourceFile]:
    """Return the files that belong to a shard: those with samples in it and in no later one.

    Raises:
        CatalogError: If there is no catalog yet, or it does not know the partition.
    """
    physical = workspace.source.physical_path
    own = {physical(item.path) for item in workspace.read_partition(partition_key)}
    known = read_places(workspace.paths.catalog, workspace.source)
    places = {path: places for path, places in known.items() if path in own}
    last = {path for path, place in places.items() if place.partitions[-1] == partition_key}
    items: dict[str, list[SourceItem]] = {path: [] for path in last}
    for key in sorted({key for path in last for key in places[path].partitions}):
        for item in workspace.read_partition(key):
            if (path := physical(item.path)) in last:
                items[path].append(item)
    return [
        SourceFile(
            path=path,
            items=tuple(items[path]),
            partitions=tuple(places[path].partitions),
            num_unplanned=places[path].num_unplanned,
            is_single=all(item.path == path for item in items[path]),
        )
        for path in sorted(last)
    ]


def find_unused(workspace: Workspace, file: SourceFile) -> str:
    """Return content of a file that no sample stores; empty if there is none, or no such file.

    Deleting the file would lose this content. `ignored_members` of the declaration do not count. For
    a file that cannot be read the result is empty: before a deletion its samples are made again, and
    that reports the problem.
    """
    source, spec = workspace.kind.ct_source, workspace.kind.spec
    if source is None:
        return ""
    place, ignored = workspace.source_folder / file.path, getattr(spec, "ignored_members", ())
    try:
        return source.find_unused(place, file.items, ignored=ignored)
    except (OSError, SampleRejectedError, zipfile.BadZipFile, ValueError):
        return ""
