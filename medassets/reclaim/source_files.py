"""Which files of a source the samples of a shard come from, and what else these files hold."""

import os
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from medassets.datasets.workspace import Workspace
from medassets.errors import SampleRejectedError
from medassets.reclaim.files_to_shards import read_places
from medassets.samples import SourceItem
from medassets.specs import ArraySourceSpec
from medassets.tars.index import index_tar, split_sample_path

_MEMBERS = ("volume_member", "text_member", "labels_member", "json_member")
_MOST_NAMES = 3


@dataclass(frozen=True)
class FileStat:
    """What of a file must not have changed.

    Attributes:
        num_bytes: Its size.
        mtime_ns: When it was last changed.
        ctime_ns: When the system last noted a change, which no program can set back.
        inode: Which file it is.
    """

    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileStat":
        """Return what of a `stat` counts."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source and the samples that come of it.

    Attributes:
        path: Path inside the source.
        items: Its planned samples.
        partitions: The shards that hold them.
        num_unplanned: Rows of the catalog that come of it and are in no shard: excluded or held.
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


def open_source_folder(workspace: Workspace) -> Path:
    """Return the top of a local source."""
    return Path(workspace.kind.spec.source_folder).expanduser()


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
    """Return what a file holds that none of its samples takes; empty if nothing, or no such file.

    Whoever deletes the file would lose it; what the declaration calls `ignored_members` may go. A file
    that cannot be read gives an empty answer: it is made into samples again before it is deleted, and
    that says what is wrong. Files of a tar that are no member of a sample do not count: no reader of
    WebDatasets sees them.
    """
    spec, place = workspace.kind.spec, open_source_folder(workspace) / file.path
    if not isinstance(spec, ArraySourceSpec):
        return ""
    try:
        if spec.source == "npz":
            return _find_unused_arrays(place, {spec.array_key, *spec.ignored_members})
        if spec.source == "webdataset":
            return _find_unused_members(place, file, set(spec.ignored_members))
    except (OSError, SampleRejectedError, zipfile.BadZipFile, ValueError):
        return ""
    return ""


def _find_unused_arrays(place: Path, known: set[str]) -> str:
    with zipfile.ZipFile(place) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    # Of two arrays of one name, one is in no shard.
    unused = [name for name, count in Counter(names).items() if name not in known or count > 1]
    return f"the arrays {_name_some(unused)}" if unused else ""


def _find_unused_members(place: Path, file: SourceFile, ignored: set[str]) -> str:
    taken = {
        split_sample_path(item.path)[1]: {item.row.get(name) for name in _MEMBERS} | ignored
        for item in file.items
    }
    samples = index_tar(place)
    if strangers := sorted(samples.keys() - taken.keys()):
        return f"the samples {_name_some(strangers)}"
    members = {suffix for key, found in samples.items() for suffix in found.keys() - taken[key]}
    return f"members .{_name_some(sorted(members))}" if members else ""


def _name_some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
