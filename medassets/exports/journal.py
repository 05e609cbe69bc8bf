"""The journal of an export: which sample lies where, and what of it is whole.

An append-only file of checksummed JSON lines in the target folder. A name is given once and for
ever, before anything is written under it; so numbers stay when an export is resumed or grows.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import CatalogError, UsageError
from medassets.storage.atomic import explain_no_space, fsync_folder, write_all
from medassets.storage.journal import encode_lines, is_cut_short, iter_lines

JOURNAL_NAME = "export_journal.jsonl"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """One sample that was written whole.

    Attributes:
        key: Sample key.
        partition: Partition it came from.
        origin: Hash of everything its bytes depend on.
        sizes: Bytes of each of its files.
        crc32: Checksum of its files, see `medassets.exports.target.Written`.
        mtime_ns: Modification time of its youngest file.
        info: What the index says of it, where the files do not.
    """

    key: str
    partition: str
    origin: str
    sizes: tuple[int, ...]
    crc32: int
    mtime_ns: int
    info: Mapping[str, Any] | None = None


@dataclass
class Journal:
    """An open journal; only the holder of the target's lock may open one.

    Attributes:
        folder: Target folder of the export.
        format: Name of the format.
        dataset: Name of the dataset.
        places: Sample key -> name in the folder, in the order the names were given.
        exported: Sample key -> what was written of it last.
    """

    folder: Path
    format: str
    dataset: str
    places: dict[str, str] = field(default_factory=dict)
    exported: dict[str, Exported] = field(default_factory=dict)
    _fd: int = -1

    def __enter__(self) -> "Journal":
        """Read the journal, or begin one; a line that a kill cut short is dropped.

        Raises:
            UsageError: If the folder holds an export of another format or dataset.
            CatalogError: If the journal is damaged.
        """
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            self._resume()
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Make every line durable."""
        os.fsync(self._fd)
        os.close(self._fd)

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL_NAME

    def give_places(self, places: Mapping[str, str]) -> None:
        """Note the names of new samples, durably, before anything is written under them."""
        if places:
            self._append(*({"key": key, "place": place} for key, place in places.items()))
            os.fsync(self._fd)
            self.places.update(places)

    def note(self, exported: Exported) -> None:
        """Note a sample that is whole under its name."""
        self._append({"exported": asdict(exported)})
        self.exported[exported.key] = exported

    def _append(self, *lines: Mapping[str, Any]) -> None:
        data = encode_lines(*lines)
        with explain_no_space(self.path, len(data)):
            write_all(self._fd, data)

    def _resume(self) -> None:
        header = {"journal": _VERSION, "format": self.format, "dataset": self.dataset}
        whole_bytes = 0
        for line, line_end in iter_lines(self.path):
            if whole_bytes:
                self._take(line)
            elif line != header:
                raise self._other(line)
            whole_bytes = line_end
        if not is_cut_short(self.path, whole_bytes):
            number = self.path.read_bytes()[:whole_bytes].count(b"\n") + 1
            msg = (
                f"{self.path}: line {number} is damaged; restore the file, or export into an empty "
                f"folder"
            )
            raise CatalogError(msg)
        os.ftruncate(self._fd, whole_bytes)
        if not whole_bytes:
            self._append(header)
            os.fsync(self._fd)
            fsync_folder(self.folder)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "exported" in line:
            fields = line["exported"]
            # One text for all samples of a shard, of which there may be a million in memory.
            partition = sys.intern(fields["partition"])
            exported = Exported(
                **{**fields, "sizes": tuple(fields["sizes"]), "partition": partition}
            )
            self.exported[exported.key] = exported
        else:
            self.places[line["key"]] = line["place"]

    def _other(self, found: Mapping[str, Any]) -> UsageError:
        words = f"{found.get('format')} of {found.get('dataset')}"
        what = (
            f"{self.folder} holds an export as {words} (journal version "
            f"{found.get('journal')}), not as {self.format} of {self.dataset}; choose another folder"
        )
        return UsageError(field="--out", what=what)
