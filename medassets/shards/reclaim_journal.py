"""What was deleted of a shard's sources, noted before it is deleted and again afterwards."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import ReclaimError
from medassets.storage.atomic import explain_no_space, fsync_folder, write_all
from medassets.storage.journal import encode_lines, is_cut_short, iter_lines

_VERSION = 1


@dataclass(frozen=True)
class Deletion:
    """One source file that is proven to be in shards, and is or will be deleted.

    Attributes:
        path: Path inside the source.
        num_bytes: Size of the file.
        mtime_ns: When it was last changed.
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
        intended: Path -> what was to be deleted; the file may be there still.
        deleted: Path -> what is deleted.
    """

    path: Path
    intended: dict[str, Deletion] = field(default_factory=dict)
    deleted: dict[str, Deletion] = field(default_factory=dict)
    _end: int = 0

    @classmethod
    def read(cls, path: Path) -> "ReclaimJournal":
        """Return what a journal says; an empty one where there is no file.

        Raises:
            ReclaimError: If it is damaged before its last line: what was deleted is then unknown.
        """
        journal = cls(path)
        if not path.exists():
            return journal
        for line, end in iter_lines(path):
            journal._take(line)
            journal._end = end
        if not is_cut_short(path, journal._end):
            msg = (
                f"{path}: the journal of deleted sources is damaged behind byte {journal._end:,}; "
                f"restore it from a copy. Nothing of this shard is deleted or made again until then"
            )
            raise ReclaimError(msg)
        return journal

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever to be deleted."""
        return not self.intended and not self.deleted

    def intend(self, deletions: Iterable[Deletion]) -> None:
        """Note, durably, what is about to be deleted.

        Raises:
            DiskSpaceError: If there is no room for the note; nothing may be deleted then.
        """
        listed = list(deletions)
        self._append([{"intended": asdict(deletion)} for deletion in listed])
        self.intended.update({deletion.path: deletion for deletion in listed})

    def confirm(self, paths: Iterable[str]) -> None:
        """Note, durably, that files are deleted.

        Raises:
            DiskSpaceError: If there is no room for the note; the next run makes up for it.
        """
        listed = list(paths)
        self._append([{"deleted": path} for path in listed])
        for path in listed:
            self.deleted[path] = self.intended.pop(path)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = [] if self._end else [{"reclaim_journal": _VERSION}]
        data = encode_lines(*header, *lines)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            # What a kill cut short goes; so does what a full disk took of the last try.
            os.ftruncate(fd, self._end)
            os.lseek(fd, 0, os.SEEK_END)
            with explain_no_space(self.path, len(data)):
                write_all(fd, data)
                os.fsync(fd)
        finally:
            os.close(fd)
        # Of a new journal, the folders that lead to it are new, too.
        for folder in self.path.parents[: 1 if self._end else 3]:
            fsync_folder(folder)
        self._end += len(data)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "intended" in line:
            deletion = Deletion(**line["intended"])
            self.intended[deletion.path] = deletion
        elif "deleted" in line and line["deleted"] in self.intended:
            self.deleted[line["deleted"]] = self.intended.pop(line["deleted"])
