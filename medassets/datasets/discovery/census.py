"""The names in a folder, by sort of file, within a limit of time."""

import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medassets.errors import UsageError
from medassets.storage.foreign_bytes import open_foreign
from medassets.storage.paths import show_path
from medassets.video.catalog.listing import VIDEO_EXTENSIONS
from medassets.volumes.catalog.tree.names import ENDINGS
from medassets.volumes.files.dicom.header import begins_like_dicom, is_directory

SORTS: Mapping[str, tuple[str, ...]] = {
    "nifti": ENDINGS,
    "npz": (".npz",),
    "tar": (".tar",),
    "dicom": (".dcm", ".ima", ".dicom"),
    "table": (".csv", ".tsv", ".tab", ".parquet", ".pq", ".xlsx", ".xlsm", ".xls", ".ods"),
    "json": (".json", ".jsonl"),
    "archive": (".zip", ".7z", ".rar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2"),
    "video": tuple(f".{name}" for name in VIDEO_EXTENSIONS),
}
"""Sort of file -> endings (`nifti` is any volume that `layout: tree` takes), in any case. The content of files without a known ending is looked at."""

OTHER = "other"
LINK = "link"

_MOST_SECONDS = 3.0
_MOST_PATHS = 50_000
# A name takes a microsecond, a clock a tenth of it.
_NAMES_PER_CLOCK = 256
_DICOM_BYTES = 132
_NUM_LOOKED_AT = 40
_BY_ENDING = {ending: sort for sort, endings in SORTS.items() for ending in endings}


class Clock:
    """A limit of time that several readers share.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end


@dataclass
class Census:
    """The names below a folder.

    Attributes:
        top: The folder.
        paths: Sort of file -> paths inside the folder, with forward slashes, sorted; of more than 50,000 of
            a sort, every second, fourth, eighth...
        counts: Sort of file -> number of files.
        num_names: Files and folders that were seen.
        is_whole: Whether every name was seen; else the time was over before.
        unreadable: Folders that cannot be listed, each with the reason.
        linked_folders: Links to folders, which are not entered.
        broken: Links that lead to no regular file.
    """

    top: Path
    paths: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    num_names: int = 0
    is_whole: bool = True
    unreadable: list[str] = field(default_factory=list)
    linked_folders: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _strides: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def of(self, sort: str) -> list[str]:
        """Return the paths of a sort."""
        return self.paths.get(sort, [])

    def is_sample(self, sort: str) -> bool:
        """Tell whether only some of the files of a sort are listed."""
        return not self.is_whole or self.counts[sort] > len(self.of(sort))

    def add(self, sort: str, path: str) -> None:
        """Count a file, and list it, or every second, fourth, eighth... of many."""
        number = self.counts[sort]
        self.counts[sort] += 1
        if number % self._strides[sort] == 0:
            listed = self.paths.setdefault(sort, [])
            listed.append(path)
            if len(listed) > _MOST_PATHS:
                del listed[1::2]
                self._strides[sort] *= 2

    def count_words(self, sort: str, noun: str = "") -> str:
        """Return the number of files of a sort, with what they are, as a person reads it."""
        number = f"{'' if self.is_whole else 'at least '}{self.counts[sort]:,}"
        is_one = self.is_whole and self.counts[sort] == 1
        return f"{number} {noun.removesuffix('s') if is_one else noun}".rstrip()


def take_census(top: Path, *, seconds: float = _MOST_SECONDS) -> Census:
    """List the names below a folder, the upper ones first; hidden ones and DICOMDIRs are left out.

    Links to folders are not entered. Files whose names end like no known sort are DICOM where their
    content begins like it; of many such files a sample decides about all.

    Args:
        top: The folder.
        seconds: Limit of time.

    Raises:
        UsageError: If the folder itself cannot be listed.
    """
    census, clock = Census(top), Clock(seconds)
    waiting = deque([str(top)])
    while waiting and census.is_whole:
        folder = waiting.popleft()
        try:
            with os.scandir(folder) as entries:
                waiting.extend(_take_folder(census, entries, clock))
        except OSError as error:
            shown = show_path(folder)
            if folder == str(top):
                what = f"{shown} cannot be listed ({error.strerror}); make it readable"
                raise UsageError(field="PATH", what=what) from error
            census.unreadable.append(f"{shown} ({error.strerror})")
    for paths in census.paths.values():
        paths.sort()
    _find_dicom(census)
    return census


def spread(items: Sequence[str], count: int) -> list[str]:
    """Return some items, from the first to the last in equal steps."""
    if len(items) <= count:
        return list(items)
    step = (len(items) - 1) / max(count - 1, 1)
    return [items[round(index * step)] for index in range(count)]


def _take_folder(
    census: Census, entries: Iterable["os.DirEntry[str]"], clock: Clock
) -> Iterator[str]:
    """Count the names of a folder, and yield the folders in it."""
    prefix = len(str(census.top).rstrip("/")) + 1
    for entry in entries:
        census.num_names += 1
        if census.num_names % _NAMES_PER_CLOCK == 0 and clock.is_over:
            census.is_whole = False
            return
        # A DICOMDIR lists images that are found without it.
        if entry.name.startswith(".") or is_directory(entry.name):
            continue
        path = entry.path[prefix:]
        if entry.is_dir(follow_symlinks=False):
            yield entry.path
        elif (sort := _find_sort(census, entry, path)) is not None:
            census.add(sort, path)


def _find_sort(census: Census, entry: "os.DirEntry[str]", path: str) -> str | None:
    """Return the sort of a file; None for what is none, such as a pipe, which is noted."""
    try:
        if entry.is_symlink() and entry.is_dir():
            census.linked_folders.append(show_path(path))
            return None
        if not entry.is_file():
            census.broken.append(show_path(path))
            return None
    except OSError:
        census.broken.append(show_path(path))
        return None
    name = entry.name.lower()
    ending = name[name.rfind(".") :] if "." in name else ""
    if name.endswith((".nii.gz", ".tar.gz", ".tar.xz", ".tar.bz2")):
        ending = "." + ".".join(name.rsplit(".", 2)[1:])
    return _BY_ENDING.get(ending, OTHER)


def _find_dicom(census: Census) -> None:
    """Count files of no known ending as DICOM where a sample of them is."""
    others = census.of(OTHER)
    is_dicom = [path for path in spread(others, _NUM_LOOKED_AT) if _is_dicom(census.top / path)]
    if not is_dicom:
        return
    census.counts["dicom"] += census.counts.pop(OTHER)
    census.paths["dicom"] = sorted([*census.of("dicom"), *census.paths.pop(OTHER)])


def _is_dicom(place: Path) -> bool:
    try:
        with open_foreign(place) as file:
            return begins_like_dicom(file.read(_DICOM_BYTES))
    except OSError:
        return False
