"""The journal of an export: the name of each sample, and what was written under it.

An append-only file of checksummed JSON lines in the target folder. A name is assigned once, before
anything is written under it, so numbers stay when an export is resumed or grows. Size and checksum
of files are noted before the files get their final names: files that the journal does not describe
are foreign.
"""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import CatalogError, JournalHeaderError, UsageError
from medassets.storage.atomic import explain_no_space
from medassets.storage.checksums import crc32, crc32_file
from medassets.storage.journal import Journal
from medassets.storage.later_versions import refuse_unknown, take_fields
from medassets.storage.ownership import is_plain_file, is_plain_folder

JOURNAL_NAME = "export_journal.jsonl"
_VERSION = 1
_LINE_BYTES = 512
_FIELDS = ("exported", "index", "size_bytes", "crc32", "files", "key", "place")


@dataclass(frozen=True, slots=True)
class Exported:
    """One version of a sample's files, as they were written.

    Attributes:
        key: Sample key.
        partition: Partition it came from.
        origin: Hash of everything its bytes depend on.
        sizes: Bytes of each of its files.
        crc32: Checksum of each.
        mtime_ns: Modification time of each.
        info: What the index says of it, where the files do not.
        names: Files in the folder of the sample; empty where the sample is one file.
    """

    key: str
    partition: str
    origin: str
    sizes: tuple[int, ...]
    crc32: tuple[int, ...]
    mtime_ns: tuple[int, ...]
    info: Mapping[str, Any] | None = None
    names: tuple[str, ...] = ()

    def paths(self, place: Path) -> list[Path]:
        """Return the sample's files at its place."""
        return [place / name for name in self.names] if self.names else [place]

    def is_whole(self, place: Path) -> bool:
        """Tell whether all files are there as they were written."""
        stats = self._stat(place)
        return stats is not None and all(stats) and self.is_unchanged(place)

    def is_unchanged(self, place: Path) -> bool:
        """Tell whether every file that is still there is as it was written; some may be missing."""
        return not self.list_changed(place)

    def list_changed(self, place: Path) -> list[Path]:
        """Return the files that are not as they were written; the place itself if none is known.

        Sizes must agree. Where a file was touched since, or copied, its bytes are read as well.
        """
        stats = self._stat(place)
        if stats is None or len(stats) != len(self.sizes):
            return [place]
        paths = self.paths(place)
        return [
            path
            for number, (path, found) in enumerate(zip(paths, stats, strict=True))
            if found and not self._is_as_written(number, path, found)
        ]

    def _is_as_written(self, number: int, path: Path, found: os.stat_result) -> bool:
        if found.st_size != self.sizes[number]:
            return False
        is_untouched = found.st_mtime_ns == self.mtime_ns[number]
        return is_untouched or crc32_file(path) == self.crc32[number]

    def _stat(self, place: Path) -> list[os.stat_result | None] | None:
        """Return the state of each file, None for missing ones; None if the place is foreign."""
        if self.names and not is_plain_folder(place):
            return None
        paths = self.paths(place)
        if not all(is_plain_file(path) or not os.path.lexists(path) for path in paths):
            return None
        return [path.lstat() if os.path.lexists(path) else None for path in paths]


def open_journal(folder: Path) -> "ExportJournal":
    """Return the journal of the export in a folder, of any format and dataset, to be read.

    Raises:
        FileNotFoundError: If the folder holds no export.
    """
    try:
        next(Journal(folder / JOURNAL_NAME, {}).replay(), None)
    except JournalHeaderError as error:
        return ExportJournal(
            folder, str(error.found.get("format")), str(error.found.get("dataset"))
        )
    raise FileNotFoundError(folder / JOURNAL_NAME)


@dataclass
class ExportJournal:
    """An open journal; only the holder of the target's lock may open one.

    Attributes:
        folder: Target folder of the export.
        format: Name of the format.
        dataset: Name of the dataset.
        names: Files that the format writes per sample today.
        places: Sample key -> name in the folder, in the order the names were assigned.
        exported: Sample key -> newest version of its files.
        earlier: Sample key -> versions before it; a killed run may have left one of them.
        indexes: Name of an index -> size and checksum of each content written to it.
    """

    folder: Path
    format: str
    dataset: str
    names: tuple[str, ...] = ()
    places: dict[str, str] = field(default_factory=dict)
    exported: dict[str, Exported] = field(default_factory=dict)
    earlier: dict[str, tuple[Exported, ...]] = field(default_factory=dict)
    indexes: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Name the file; it appears with the first line."""
        header = {"journal": _VERSION, "format": self.format, "dataset": self.dataset}
        self._journal = Journal(self.path, header)
        self._lock = threading.Lock()
        self._noted_names: tuple[str, ...] = ()

    def __enter__(self) -> "ExportJournal":
        """Read the journal; a line that a kill cut short is dropped.

        Raises:
            UsageError: If the folder holds an export of another format or dataset.
            CatalogError: If the journal is damaged.
        """
        try:
            for line in self._journal.replay():
                self._take(line)
        except JournalHeaderError as error:
            raise self._other(error.found) from error
        if not self._journal.is_intact():
            number = self._journal.count_lines() + 1
            msg = (
                f"{self.path}: line {number} is damaged; restore the file, or export into an empty "
                f"folder"
            )
            raise CatalogError(msg)
        return self

    def __exit__(self, *_: object) -> None:
        """Make every line durable."""
        self._journal.close(durable=True)

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL_NAME

    @property
    def is_new(self) -> bool:
        """Whether no line was written yet."""
        return not self._journal.end

    def known(self, key: str) -> tuple[Exported, ...]:
        """Return every version of a sample's files that was written, oldest first."""
        newest = self.exported.get(key)
        return (*self.earlier.get(key, ()), newest) if newest else ()

    def give_places(self, places: Mapping[str, str]) -> None:
        """Note the names of new samples, durably, before anything is written under them."""
        lines: list[Mapping[str, Any]] = []
        if self._noted_names != self.names:
            lines.append({"files": list(self.names)})
            self._noted_names = self.names
        lines += [{"key": key, "place": place} for key, place in places.items()]
        if lines:
            self._append(*lines, durable=True)
            self.places.update(places)

    def note(self, exported: Exported) -> None:
        """Note a sample's files before they get their final names; may be called on any thread."""
        fields = asdict(exported)
        del fields["names"]
        with self._lock:
            self._append({"exported": fields}, durable=False)
            self._remember(exported)

    def note_index(self, name: str, content: bytes) -> None:
        """Note, durably, the content of an index before it is published."""
        found = (len(content), crc32(content))
        if found not in self.indexes.get(name, ()):
            line = {"index": name, "size_bytes": found[0], "crc32": found[1]}
            self._append(line, durable=True)
            self.indexes.setdefault(name, set()).add(found)

    def _append(self, *lines: Mapping[str, Any], durable: bool) -> None:
        with explain_no_space(self.path, _LINE_BYTES * len(lines)):
            self._journal.append(*lines, durable=durable)

    def _take(self, line: Mapping[str, Any]) -> None:
        refuse_unknown(self.path, line, _FIELDS)
        if "exported" in line:
            fields = line["exported"]
            if isinstance(fields["crc32"], int):
                # Older versions noted one checksum for all files: such a sample counts as unknown,
                # and is adopted if it is what would be written.
                return
            # One text for all samples of a shard, of which there may be a million in memory.
            partition = sys.intern(fields["partition"])
            lists = {name: tuple(fields[name]) for name in ("sizes", "crc32", "mtime_ns")}
            more = {**lists, "partition": partition}
            # Older versions never named the files; most likely they were those of today.
            names = self._noted_names or self.names
            self._remember(take_fields(Exported, {**fields, **more, "names": names}, self.path))
        elif "index" in line:
            found = (line["size_bytes"], line["crc32"])
            self.indexes.setdefault(line["index"], set()).add(found)
        elif "files" in line:
            self._noted_names = tuple(line["files"])
        else:
            self.places[line["key"]] = line["place"]

    def _remember(self, exported: Exported) -> None:
        newest = self.exported.get(exported.key)
        if newest and (newest.sizes, newest.crc32) != (exported.sizes, exported.crc32):
            self.earlier[exported.key] = (*self.earlier.get(exported.key, ()), newest)
        self.exported[exported.key] = exported

    def _other(self, found: Mapping[str, Any]) -> UsageError:
        other = f"{found.get('format')} of {found.get('dataset')}"
        what = (
            f"{self.folder} holds an export as {other} (journal version {found.get('journal')}), "
            f"not as {self.format} of {self.dataset}; choose another folder"
        )
        return UsageError(field="--out", what=what)
