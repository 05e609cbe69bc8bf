"""The files of a DICOM series, deleted together or not at all."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.datasets.ct_sources.dicom_files import DicomFiles, name_aside
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.reclaim.claims import forget_drafts
from medassets.reclaim.set_aside import delete_aside, iter_aside, move_aside, put_back
from medassets.reclaim.source_files import CHANGED, FileStat, find_obstacle
from medassets.shards.files import read_whole_record
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.verify import verify_shard
from medassets.storage.paths import show_path

_TOKEN_BYTES = 4


@dataclass(frozen=True)
class SeriesFiles:
    """All files of a series, which are one unit; see `medassets.reclaim.units.Unit`.

    Attributes:
        files: All series of the source.
        path: Key of the series.
    """

    files: DicomFiles
    path: str

    def list_places(self) -> Sequence[Path]:
        """Return the files of its volume; of a series that makes none any more, all."""
        series = self.files.find_series(self.path)
        if series is None:
            return ()
        stack = next((one for one in series.stacks if one.key == self.path), None)
        listed = series.files if stack is None else (*stack.slices, *stack.copies)
        return [self.files.folder / file.path for file in listed]

    def is_gone(self) -> bool:
        """Tell whether no file of it is left, not even one that is set aside."""
        gone = self.files.find_series(self.path) is None
        return gone and not self.files.is_set_aside(self.path)

    def stat(self) -> FileStat:
        """Return the facts of all its files.

        Raises:
            OSError: If one cannot be examined; its text names no file.
        """
        try:
            parts = [FileStat.of(place.lstat()) for place in self.list_places()]
        except OSError as error:
            raise OSError(error.errno, error.strerror) from None
        if not parts:
            raise OSError(None, "no file of it is there")
        return FileStat.join(parts)

    def find_obstacle(self) -> str:
        """Return why it must be kept as it is now."""
        if self.files.is_set_aside(self.path):
            return "its deletion was interrupted; a run of the dataset that began it ends it"
        series = self.files.find_series(self.path)
        if series is None or not series.stacks:
            reasons = ", ".join(series.excluded) if series is not None else "no file is there"
            return f"its files make no volume any more ({reasons}); build again"
        if self.files.has_second_names(series):
            return "a file of it has a second name in the source, as a link; remove that first"
        whys = (find_obstacle(self.files.folder, place) for place in self.list_places())
        return next(filter(None, whys), "")

    def remove(self, expected: FileStat, journals: Sequence[ReclaimJournal]) -> str:
        """Delete all files, or none; return why they were kept.

        They are set aside first. Only when all are, and no other file has appeared beside them, is that
        noted in the journals and the first of them deleted.

        Args:
            expected: Facts of the files when they were proven.
            journals: Journals that note the deletion as intended.
        """
        series = self.files.find_series(self.path)
        if series is None or not series.is_whole:
            return CHANGED
        places, name = self.list_places(), name_aside(self.path, secrets.token_hex(_TOKEN_BYTES))
        for journal in journals:
            journal.move_aside(self.path, name)
        folders = {place.parent for place in places}
        try:
            why = self._move(places, name, expected)
            for journal in journals if not why else ():
                journal.commit(self.path)
        except BaseException:
            self._put_back(folders, name)
            raise
        if why:
            return why if self._put_back(folders, name) else f"{why}; {_NOT_BACK}"
        return self._delete(folders, name)

    def sync(self) -> None:
        """Nothing: `remove` made the deletion durable."""

    def _move(self, places: Sequence[Path], name: str, expected: FileStat) -> str:
        """Set all files aside; return what speaks against deleting them."""
        try:
            moved = move_aside(places, name)
            found = [FileStat.of(place.lstat()) for place in moved]
        except OSError as error:
            return f"it cannot be deleted ({error.strerror})"
        pairs = zip(found, expected.parts, strict=True)
        if not all(one.is_moved_from(other) for one, other in pairs):
            return CHANGED
        is_taken = any(os.path.lexists(place) for place in places)
        if is_taken or any(map(self._has_newcomer, {place.parent for place in places})):
            return "a file appeared beside its files, and may belong to it; run this again"
        return ""

    def _has_newcomer(self, folder: Path) -> bool:
        """Tell whether a folder has a file that the last scan did not list."""
        with os.scandir(folder) as entries:
            # Neither folders nor links to folders are listed; a broken link may become a file.
            names = [one.name for one in entries if not one.is_dir()]
        paths = (
            show_path((folder / name).relative_to(self.files.folder).as_posix()) for name in names
        )
        return not all(map(self.files.is_listed, paths))

    def _put_back(self, folders: set[Path], name: str) -> bool:
        try:
            there = [folder / name for folder in folders if (folder / name).is_dir()]
            backs = [put_back(aside) for aside in there]
        except OSError:
            return False
        return all(backs)

    def _delete(self, folders: set[Path], name: str) -> str:
        try:
            for folder in folders:
                delete_aside(folder / name)
        except OSError as error:
            return f"it is set aside, and cannot be deleted yet ({error.strerror}); run this again"
        return ""


_NOT_BACK = f"files of it are in hidden folders beside them, `{name_aside('SERIES', '')}*`"


def finish_interrupted(workspace: Workspace, journal: ReclaimJournal) -> None:
    """Settle series whose files were set aside when a run ended.

    As long as all files of a series are there, they are put back, also after it was noted that they are
    deleted: the next run proves them once more. Only if some are gone already, so that no volume can be made of
    the others, these are deleted too, and only while the shard that holds the series is whole.

    Args:
        workspace: The dataset.
        journal: Journal of a shard, whose lock the caller holds.

    Raises:
        ReclaimError: If files can neither be deleted nor put back; they stay where they are.
    """
    source = workspace.kind.ct_source
    if source is None or source.series is None or not journal.set_aside:
        return
    files, paths = source.series, {name: path for path, name in journal.set_aside.items()}
    files.scan()
    asides: dict[str, list[Path]] = {}
    for aside in iter_aside(files.folder / files.under, paths):
        asides.setdefault(paths[aside.name], []).append(aside)
    for path, folders in asides.items():
        try:
            if _is_begun(files, journal, path, folders):
                _require_proven(workspace, journal, path, folders)
                for aside in folders:
                    delete_aside(aside)
            else:
                backs = [put_back(aside) for aside in folders]
                if not all(backs):
                    why = "others have their names now"
                    raise ReclaimError(_name_asides(path, folders, why, _MOVE))
        except OSError as error:
            why = f"they stay there ({error.strerror})"
            raise ReclaimError(_name_asides(path, folders, why, "then run this again")) from None
    if asides:
        files.scan()
        # Other datasets may have been planned while the files were not at their places.
        forget_drafts()


_MOVE = "Move either away, then run this again"


def _name_asides(path: str, folders: Sequence[Path], why: str, remedy: str) -> str:
    """Return a message; the names of the folders are ours, those above may name people."""
    names = ", ".join(sorted({folder.name for folder in folders}))
    return f"{path}: files of it are set aside ({names}), and {why}. {remedy}"


def _is_begun(
    files: DicomFiles, journal: ReclaimJournal, path: str, folders: Sequence[Path]
) -> bool:
    """Tell whether files of a series that are set aside were deleted, and none is at its place."""
    deletion = journal.intended.get(path)
    if path not in journal.committed or deletion is None or files.find_series(path) is not None:
        return False
    num_bytes = sum(moved.lstat().st_size for aside in folders for moved in aside.iterdir())
    return num_bytes < deletion.num_bytes


def _require_proven(
    workspace: Workspace, journal: ReclaimJournal, path: str, folders: Sequence[Path]
) -> None:
    """Refuse to delete the rest of a series whose shard is no longer the one that was compared with it.

    Raises:
        ReclaimError: If it is damaged, gone or another.
    """
    if not any(any(aside.iterdir()) for aside in folders):
        return
    for key, sha256 in journal.intended[path].shards.items():
        record = read_whole_record(workspace.paths, key)
        is_same = record is not None and record.sha256 == sha256
        if not is_same or any(verify_shard(workspace.paths, key, full=True)):
            why = f"others were deleted, and {key}, which holds it, is not whole any more"
            raise ReclaimError(_name_asides(path, folders, why, _RESTORE))


_RESTORE = "Restore the shard from a copy, then run this again; the files stay until then"
