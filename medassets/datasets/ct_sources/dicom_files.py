"""Series of DICOM files in a folder, each treated as one file that has a short hash for its name."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import Listing, StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.folder import FolderSource
from medassets.sources.listing import list_folder
from medassets.sources.local import LocalSource
from medassets.storage.checksums import sha256_file
from medassets.volumes.catalog.dicom.rows import Found
from medassets.volumes.catalog.dicom.scan import (
    FolderScan,
    ScannedFile,
    find_version,
    scan_folder,
)
from medassets.volumes.catalog.dicom.series import (
    Series,
    SeriesRules,
    exclude_unsettled,
    group_series,
)
from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.files.dicom.header import hide_name

_ANY_NAME = ("",)
_ASIDE = re.compile(r"\.medassets-reclaim-(series-[0-9a-f]{16})-[0-9a-f]+")


def name_aside(key: str, token: str) -> str:
    """Return the name of the folders that hold the files of a series while it is deleted.

    Such a folder is beside the files, so that every scan that may see a part of the series sees it.

    Args:
        key: Key of the series.
        token: Hex digits of the deletion, which another dataset does not have.
    """
    return f".medassets-reclaim-{key}-{token}"


@dataclass(frozen=True)
class DicomFiles(LocalSource):
    """The series below a folder, read in place.

    The path of a series is its key. No message and no record names a file of it.

    Attributes:
        folder: Top of the source.
        under: Folder inside it below which files are looked for; empty means all.
        rules: Which files make a volume.
    """

    under: str = ""
    rules: SeriesRules = field(default_factory=SeriesRules)

    def physical_path(self, path: str) -> str:
        """Return the path itself: a series has many files, and is one unit of the source."""
        return path

    def read_table(self, path: str, *, revision: str | None = None) -> bytes:
        """Return the whole content of a file beside the series.

        Raises:
            CatalogError: If the folder does not have it, or it cannot be read.
        """
        return FolderSource(self.folder).read_table(path)

    def scan(self) -> Found:
        """Read the headers of all files, and group them; headers of unchanged files are kept in memory.

        Raises:
            CatalogError: If the folder cannot be listed.
        """
        return self._index.refresh()

    def find(self, path: str) -> Stack | None:
        """Return a volume with the files that the disk has now; None if there is no volume of this name.

        Raises:
            CatalogError: If the folder cannot be listed.
        """
        return self._index.find(path)

    def has(self, path: str) -> bool:
        """Tell whether the last scan of this process, or a first one, found a volume that is still there.

        Raises:
            CatalogError: If the folder cannot be listed.
        """
        return self._index.has(path) and self.find(path) is not None

    def find_series(self, path: str) -> Series | None:
        """Return the series of a volume with the files that the disk has now; None if the last scan found none.

        Args:
            path: Key of the volume, or of its series, which may make no volume any more.

        Raises:
            CatalogError: If the folder cannot be listed.
        """
        self.has(path)
        return self._index.find_series(path)

    def is_set_aside(self, path: str) -> bool:
        """Tell whether the last scan found files of a series set aside, to be deleted."""
        return path in self._index.set_aside

    def has_second_names(self, series: Series) -> bool:
        """Tell whether a file of a series has a second name in the folder."""
        repeated = self._index.found.scan.repeated
        return any(file.path in repeated for file in series.files)

    def is_listed(self, path: str) -> bool:
        """Tell whether the last scan listed a file, DICOM or not."""
        return path in self._index.found.scan.listed

    def list_places(self, path: str) -> list[str]:
        """Return the paths of all files of a volume, copies of slices included.

        Args:
            path: Its key; or the key of a catalog row that is excluded, for all files of its series.
        """
        stack = self.find(path)
        if stack is not None:
            return [file.path for file in _list_files(stack)]
        series = self._index.found.series
        return [file.path for one in series if path.startswith(one.key) for file in one.files]

    def describe(
        self, paths: Sequence[str], *, revision: str | None = None
    ) -> dict[str, RemoteFile]:
        """Return the bytes of each series, and when a file of it was changed last."""
        found: dict[str, RemoteFile] = {}
        for path in paths:
            stack = self.find(path)
            if stack is not None:
                files = _list_files(stack)
                num_bytes = sum(file.version[0] for file in files)
                mtime_ns = max(file.version[1] for file in files)
                uri = f"file:{path}"
                found[path] = RemoteFile(path, num_bytes, None, None, uri, mtime_ns=mtime_ns)
        return found

    def fetch(
        self, file: RemoteFile, target: Path | None = None, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Hash the files of a series; `target` is not used.

        The digest is the SHA-256 over those of the files, a line each, in the order of the volume, copies
        of slices last.

        Raises:
            SampleRejectedError: MISSING_UPSTREAM if there is no such series, UNREADABLE_SOURCE if a file of
                it cannot be read, or changed meanwhile.
        """
        stack = self.find(file.path)
        if stack is None:
            what = "the series is not in the source, or makes no volume any more; plan again"
            raise SampleRejectedError(Reason.MISSING_UPSTREAM, f"{file.path}: {what}")
        files, digest = _list_files(stack), hashlib.sha256()
        for one in files:
            digest.update(f"{self._hash(file.path, one)}\n".encode())
            if on_bytes is not None:
                on_bytes(one.version[0])
        num_bytes = sum(one.version[0] for one in files)
        first = self.folder / files[0].path
        return StagedFile(first, f"file:{file.path}", None, num_bytes, digest.hexdigest())

    def _hash(self, path: str, file: ScannedFile) -> str:
        try:
            digest = sha256_file(self.folder / file.path)
            if find_version(self.folder / file.path) == file.version:
                return digest
        except OSError as error:
            raise hide_name(error) from None
        what = "a file of the series changed while it was read"
        raise SampleRejectedError(Reason.UNREADABLE_SOURCE, f"{path}: {what}")

    @property
    def _index(self) -> "_Index":
        return _open_index(os.path.realpath(self.folder), self)


def _list_files_below(folder: Path, under: str) -> Listing:
    """List all files; an error does not name the folder that cannot be listed.

    Raises:
        CatalogError: If the declared folder does not exist, or one below it cannot be listed.
    """
    start = folder / under if under else folder
    try:
        return list_folder(folder, under, _ANY_NAME)
    except CatalogError:
        if not start.is_dir():
            raise
        msg = f"{start}: a folder below it cannot be listed; `find {start} -type d ! -readable` names it"
        raise CatalogError(msg) from None


def _scan_twice(folder: Path, under: str) -> tuple[FolderScan, list[ScannedFile], frozenset[str]]:
    """Scan a folder that other programs may change meanwhile.

    A series of which files were moved during one listing looks like a shorter series. A second listing
    differs then, or has the folder in which files are set aside.

    Returns:
        The files; those that appeared or vanished meanwhile; keys of series that are set aside.
    """
    listing = _list_files_below(folder, under)
    scan = scan_folder(folder, listing)
    again = _list_files_below(folder, under)
    names = (*listing.hidden_folders, *again.hidden_folders)
    found = (_ASIDE.fullmatch(name.rpartition("/")[2]) for name in names)
    keys = frozenset(match[1] for match in found if match is not None)
    if again == listing:
        return scan, [], keys
    before = {file.path: file for file in scan.files}
    scan = scan_folder(folder, again)
    after = {file.path: file for file in scan.files}
    return scan, [(before | after)[path] for path in before.keys() ^ after.keys()], keys


def _list_files(stack: Stack) -> tuple[ScannedFile, ...]:
    return (*stack.slices, *stack.copies)


@lru_cache(maxsize=8)
def _open_index(_real: str, files: DicomFiles) -> "_Index":
    return _Index(files)


class _Index:
    """The last scan of a folder in this process, and whether it is still true of a series."""

    def __init__(self, files: DicomFiles) -> None:
        self._files, self._lock = files, Lock()
        self._found: Found | None = None
        self._stacks: dict[str, Stack] = {}
        self._series: dict[str, Series] = {}
        self._set_aside: frozenset[str] = frozenset()

    @property
    def found(self) -> Found:
        """The last scan."""
        return self._found or self.refresh()

    @property
    def set_aside(self) -> frozenset[str]:
        """Keys of series whose deletion is under way, or was interrupted."""
        return self._set_aside if self.found else frozenset()

    def refresh(self) -> Found:
        with self._lock:
            return self._scan()

    def has(self, key: str) -> bool:
        return self.found is not None and key in self._stacks

    def find_series(self, key: str) -> Series | None:
        return self._series.get(key) if self.found else None

    def find(self, key: str) -> Stack | None:
        with self._lock:
            known = self._stacks.get(key)
            if known is None or not self._is_current(known):
                self._scan()
                known = self._stacks.get(key)
            return known

    def _scan(self) -> Found:
        files = self._files
        scan, moved, keys = _scan_twice(files.folder, files.under)
        grouped = group_series(files.folder, scan.files, files.rules)
        found = Found(scan, exclude_unsettled(grouped, keys, moved))
        self._found, self._stacks, self._set_aside = found, found.stacks, keys
        self._series = {stack.key: one for one in found.series for stack in one.stacks}
        self._series |= {one.key: one for one in found.series}
        return found

    def _is_current(self, stack: Stack) -> bool:
        try:
            return all(
                find_version(self._files.folder / file.path) == file.version
                for file in _list_files(stack)
            )
        except OSError:
            return False
