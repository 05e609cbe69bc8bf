"""What is deleted as a whole: a file, or all files of a series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medassets.datasets.workspace import Workspace
from medassets.reclaim.series_files import SeriesFiles
from medassets.reclaim.source_files import FileStat, find_obstacle, size_of
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.storage.atomic import fsync_folder
from medassets.storage.unreadable import is_gone


class Unit(Protocol):
    """What is deleted as a whole, or not at all."""

    def list_places(self) -> Sequence[Path]:
        """Return its files that are there now."""
        ...

    def is_gone(self) -> bool:
        """Tell whether nothing of it is left."""
        ...

    def stat(self) -> FileStat:
        """Return the facts of its files.

        Raises:
            OSError: If one cannot be examined; its text names no file.
        """
        ...

    def find_obstacle(self) -> str:
        """Return why it must be kept as it is now, apart from its content; empty if nothing speaks against it."""
        ...

    def remove(self, expected: FileStat, journals: Sequence[ReclaimJournal]) -> str:
        """Delete it; return why it was kept, empty if it was deleted.

        Args:
            expected: Its facts when it was proven.
            journals: Journals that note the deletion as intended.
        """
        ...

    def sync(self) -> None:
        """Make the deletion durable."""
        ...


@dataclass(frozen=True)
class SingleFile:
    """One file.

    Attributes:
        folder: Top of the source.
        path: Path inside it.
    """

    folder: Path
    path: str

    @property
    def _place(self) -> Path:
        return self.folder / self.path

    def list_places(self) -> Sequence[Path]:
        """Return the file, whether it is there or not."""
        return (self._place,)

    def is_gone(self) -> bool:
        """Tell whether it does not exist."""
        return is_gone(self._place)

    def stat(self) -> FileStat:
        """Return its facts.

        Raises:
            OSError: If it cannot be examined.
        """
        return FileStat.of(self._place.lstat())

    def find_obstacle(self) -> str:
        """Return why it must be kept as it is now."""
        return find_obstacle(self.folder, self._place)

    def remove(self, expected: FileStat, journals: Sequence[ReclaimJournal]) -> str:
        """Delete it; return why it was kept."""
        try:
            self._place.unlink()
        except OSError as error:
            return f"it cannot be deleted ({error.strerror})"
        return ""

    def sync(self) -> None:
        """Make the deletion durable."""
        fsync_folder(self._place.parent)


def open_unit(workspace: Workspace, path: str) -> Unit:
    """Return what is deleted together with a path of the catalog.

    Args:
        workspace: The dataset.
        path: Path inside its source; of a series its key.
    """
    source = workspace.kind.ct_source
    if source is not None and source.series is not None:
        return SeriesFiles(source.series, path)
    return SingleFile(workspace.source_folder, path)


def measure_unit(unit: Unit) -> tuple[int, int]:
    """Return the number of files that are there, and their bytes."""
    places = [place for place in unit.list_places() if not is_gone(place)]
    return len(places), sum(size_of(place) for place in places)
