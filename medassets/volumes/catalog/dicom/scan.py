"""The headers of all files of a folder, read once per version of a file."""

import io
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import ListedFile, Listing
from medassets.storage.foreign_bytes import open_foreign, rejecting_foreign
from medassets.volumes.files.dicom.header import (
    SliceHeader,
    hide_name,
    is_directory,
    read_slice_header,
)

# Files of a network disk are waited for; parsing holds the interpreter's lock.
_NUM_THREADS = 8
_AT_ONCE = 256
_READ_BYTES = 1 << 14
_PREAMBLE_BYTES = 128
_ENDINGS = (".dcm", ".dicom", ".ima")

Version = tuple[int, int, int]
Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file of the source.

    Attributes:
        path: Path inside the source; not for people, for names of files identify.
        version: Size, time of the last change in ns, and inode.
        header: What it says; None where it cannot be read.
        problem: Why it cannot be read; no text of it names the file.
    """

    path: str = field(repr=False)
    version: Version
    header: SliceHeader | None = field(repr=False)
    problem: Problem | None = None

    @property
    def folder(self) -> str:
        """Folder of the file."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class FolderScan:
    """All files of a folder.

    Attributes:
        files: DICOM files, and what cannot be read, sorted by path.
        num_others: Number of other files.
        num_hidden_folders: Number of folders that were not entered.
        listed: Paths of all files that were listed, DICOM or not.
        repeated: Paths of files that have a second name in the folder, as a link.
    """

    files: tuple[ScannedFile, ...] = field(repr=False)
    num_others: int
    num_hidden_folders: int
    listed: frozenset[str] = field(default=frozenset(), repr=False)
    repeated: frozenset[str] = field(default=frozenset(), repr=False)


def scan_folder(top: Path, listing: Listing) -> FolderScan:
    """Read the headers of the files of a folder; those of unchanged files are kept in memory.

    Args:
        top: Top of the source.
        listing: Its files.
    """
    return _open_cache(os.path.realpath(top)).scan(top, listing)


@lru_cache(maxsize=8)
def _open_cache(_top: str) -> "_Cache":
    return _Cache()


class _Cache:
    """Headers of the files of one folder, by path and version; None for files that are no DICOM."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Version, ScannedFile | None]] = {}

    def scan(self, top: Path, listing: Listing) -> FolderScan:
        with self._lock:
            shown = [file for file in listing.files if not _is_hidden(file.path)]
            first, repeated = _drop_second_names(shown)
            found = dict(_iter_scanned(top, first, self._known))
            self._known = {path: known for path, known in found.items() if known is not None}
        files = [
            file if known is None else known[1]
            for (_, known), file in zip(found.items(), map(_as_problem, first), strict=True)
        ]
        kept = tuple(file for file in files if file is not None)
        num_others = listing.num_others + len(listing.files) - len(shown)
        num_others += sum(file is None for file in files)
        return FolderScan(
            kept,
            num_others,
            len(listing.hidden_folders),
            listed=frozenset(file.path for file in listing.files),
            repeated=repeated,
        )


def _is_hidden(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _drop_second_names(
    files: Sequence[ListedFile],
) -> tuple[list[ListedFile], frozenset[str]]:
    """Return each file once, under the name that is no link, else the first; and which have more names."""
    names: dict[str, ListedFile] = {}
    repeated: set[str] = set()
    for file in sorted(files, key=lambda one: (one.is_link, one.path)):
        first = names.setdefault(file.identity or f"path:{file.path}", file)
        if first is not file:
            repeated.add(first.path)
    return sorted(names.values(), key=lambda one: one.path), frozenset(repeated)


def _as_problem(file: ListedFile) -> ScannedFile:
    reason = file.problem[0] if file.problem else Reason.UNREADABLE_SOURCE
    return ScannedFile(file.path, (0, 0, 0), None, (reason, _TEXTS.get(reason, "cannot be read")))


_TEXTS = {
    Reason.MISSING_SOURCE: "a link that leads out of the source, or to nothing",
    Reason.BAD_NAME: "a name that is not UTF-8, or has control characters; rename it",
    Reason.UNREADABLE_SOURCE: "it cannot be read, or is not a regular file",
}


def _iter_scanned(
    top: Path,
    files: Sequence[ListedFile],
    known: dict[str, tuple[Version, ScannedFile | None]],
) -> Iterable[tuple[str, tuple[Version, ScannedFile | None] | None]]:
    def read(file: ListedFile) -> tuple[str, tuple[Version, ScannedFile | None] | None]:
        return file.path, None if file.problem else _read(top, file.path, known.get(file.path))

    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="medassets-headers") as pool:
        for start in range(0, len(files), _AT_ONCE):
            yield from pool.map(read, files[start : start + _AT_ONCE])


def _read(
    top: Path, path: str, known: tuple[Version, ScannedFile | None] | None
) -> tuple[Version, ScannedFile | None]:
    version, header, problem = (0, 0, 0), None, None
    try:
        version = find_version(top / path)
        if known is not None and known[0] == version:
            return known
        header = _read_header(top / path)
        if is_directory(path) and (header is None or not header.words.get("rows")):
            return version, None
        if header is None and not _should_be_dicom(top / path):
            return version, None
        if header is None:
            problem = Reason.CORRUPT_DICOM, "it is empty, or no DICOM although its name says so"
    except SampleRejectedError as error:
        if is_directory(path):
            return version, None
        problem = error.reason, error.detail
    except OSError as error:
        hidden = hide_name(error)
        if isinstance(hidden, OSError):
            raise hidden from None
        problem = Reason.UNREADABLE_SOURCE, _TEXTS[Reason.UNREADABLE_SOURCE]
    return version, ScannedFile(path, version, header, problem)


def _read_header(place: Path) -> SliceHeader | None:
    with io.BufferedReader(open_foreign(place), _READ_BYTES) as file, rejecting_foreign():
        return read_slice_header(file)


def _should_be_dicom(place: Path) -> bool:
    """Tell whether a file that is no DICOM is named like one, or is what a failed copy leaves of one."""
    ending = place.suffix.lower()
    if ending in _ENDINGS:
        return True
    # Names without an ending, and UIDs, whose last part is a number.
    if any(letter.isalpha() for letter in ending):
        return False
    with open_foreign(place) as file:
        return not any(file.read(_PREAMBLE_BYTES))


def find_version(place: Path) -> Version:
    """Return what changes when a file does.

    Raises:
        OSError: If there is no such file.
    """
    found = place.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
