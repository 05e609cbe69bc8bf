"""Journal of a shard's deleted sources, written before each deletion and again after it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import JournalHeaderError, ReclaimError
from medassets.storage.atomic import explain_no_space, fsync_folder
from medassets.storage.journal import Journal
from medassets.storage.later_versions import refuse_unknown, take_fields

_HEADER = {"reclaim_journal": 1}
_NOTE_BYTES = 4096


@dataclass(frozen=True)
class Deletion:
    """One source file whose samples are proven to be in shards, deleted or about to be deleted.

    Attributes:
        path: Path inside the source.
        num_bytes: Size of the file.
        mtime_ns: Its modification time.
        sha256: Sample key -> digest of the sample's source.
        shards: Partition key -> digest of the shard that holds its samples.
    """

    path: str
    num_bytes: int
    mtime_ns: int
    sha256: Mapping[str, str]
    shards: Mapping[str, str]


@dataclass
class ReclaimJournal:
    """The journal of one shard.

    Attributes:
        path: Its file.
        intended: Path -> deletion that was announced; the file may still exist.
        set_aside: Path of a unit of many files that is intended -> name of the folders, beside its files, into
            which these are moved before any is deleted.
        committed: Those of which all files were in these folders: they are deleted, whatever happens.
        deleted: Path -> deletion that is complete.
    """

    path: Path
    intended: dict[str, Deletion] = field(default_factory=dict)
    deleted: dict[str, Deletion] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Name the file; it appears with the first note."""
        self._journal = Journal(self.path, _HEADER)

    @classmethod
    def read(cls, path: Path) -> "ReclaimJournal":
        """Read a journal; a missing file is an empty journal.

        Raises:
            ReclaimError: If it is damaged before its last line, or another journal: what was
                deleted is then unknown.
            LaterVersionError: If a later version wrote it.
        """
        found = cls(path)
        until = "restore it from a copy. Nothing of this shard is deleted or built again until then"
        try:
            for line in found._journal.replay():
                found._take(line)
        except JournalHeaderError as error:
            msg = f"{path}: not a journal of deleted sources of this version; {until}"
            raise ReclaimError(msg) from error
        if not found._journal.is_intact():
            end = found._journal.end
            msg = f"{path}: the journal of deleted sources is damaged after byte {end:,}; {until}"
            raise ReclaimError(msg)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether no deletion was ever intended."""
        return not self.intended and not self.deleted

    def intend(self, deletions: Iterable[Deletion]) -> None:
        """Record, durably, which files are about to be deleted.

        Raises:
            DiskSpaceError: If the disk is full; nothing may be deleted then.
        """
        listed = list(deletions)
        self._append([{"intended": asdict(deletion)} for deletion in listed])
        for deletion in listed:
            self._announce(deletion)

    def move_aside(self, path: str, name: str) -> None:
        """Record, durably, where the files of a unit are moved before they are deleted.

        Raises:
            DiskSpaceError: If the disk is full; nothing may be moved then.
        """
        self._append([{"set_aside": path, "name": name}])
        self.set_aside[path] = name

    def commit(self, path: str) -> None:
        """Record, durably, that all files of a unit are set aside: from now on they are deleted.

        Raises:
            DiskSpaceError: If the disk is full; the files must be put back then.
        """
        self._append([{"committed": path}])
        self.committed.add(path)

    def confirm(self, paths: Iterable[str]) -> None:
        """Record, durably, that files were deleted.

        Raises:
            DiskSpaceError: If the disk is full; the next run records it.
        """
        listed = list(paths)
        self._append([{"deleted": path} for path in listed])
        for path in listed:
            self._end(path)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        is_new = not self._journal.end
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with explain_no_space(self.path, _NOTE_BYTES * len(lines)):
                self._journal.append(*lines, durable=True)
        finally:
            self._journal.close()
        # The folders that lead to a new journal are new as well.
        for folder in self.path.parents[: 3 if is_new else 1]:
            fsync_folder(folder)

    def _take(self, line: Mapping[str, Any]) -> None:
        refuse_unknown(self.path, line, ("intended", "deleted", "set_aside", "name", "committed"))
        if "intended" in line:
            self._announce(take_fields(Deletion, line["intended"], self.path))
        elif "set_aside" in line:
            self.set_aside[line["set_aside"]] = line["name"]
        elif "committed" in line:
            self.committed.add(line["committed"])
        elif "deleted" in line and line["deleted"] in self.intended:
            self._end(line["deleted"])

    def _announce(self, deletion: Deletion) -> None:
        self.intended[deletion.path] = deletion
        self.committed.discard(deletion.path)

    def _end(self, path: str) -> None:
        self.deleted[path] = self.intended.pop(path)
        self.set_aside.pop(path, None)
        self.committed.discard(path)
