"""The journal of an export: which sample lies where, and what of it is whole.

An append-only file of checksummed JSON lines in the target folder. A name is given once and for
ever, before anything is written under it; so numbers stay when an export is resumed or grows.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import CatalogError, JournalHeaderError, UsageError
from medassets.storage.atomic import explain_no_space
from medassets.storage.journal import Journal

JOURNAL_NAME = "export_journal.jsonl"
_VERSION = 1
_LINE_BYTES = 512


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
class ExportJournal:
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

    def __post_init__(self) -> None:
        """Name the file; `with` opens it."""
        header = {"journal": _VERSION, "format": self.format, "dataset": self.dataset}
        self._journal = Journal(self.path, header)

    def __enter__(self) -> "ExportJournal":
        """Read the journal, or begin one; a line that a kill cut short is dropped.

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
            msg = (
                f"{self.path}: line {self._journal.count_lines() + 1} is damaged; restore the file, "
                f"or export into an empty folder"
            )
            raise CatalogError(msg)
        self._journal.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Make every line durable."""
        self._journal.fsync()
        self._journal.close()

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL_NAME

    def give_places(self, places: Mapping[str, str]) -> None:
        """Note the names of new samples, durably, before anything is written under them."""
        if places:
            lines = [{"key": key, "place": place} for key, place in places.items()]
            self._append(*lines, durable=True)
            self.places.update(places)

    def note(self, exported: Exported) -> None:
        """Note a sample that is whole under its name."""
        self._append({"exported": asdict(exported)}, durable=False)
        self.exported[exported.key] = exported

    def _append(self, *lines: Mapping[str, Any], durable: bool) -> None:
        with explain_no_space(self.path, _LINE_BYTES * len(lines)):
            self._journal.append(*lines, durable=durable)

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
