"""What every source in a folder of this machine has in common: no revisions, and nothing to wait for."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from medassets.errors import CatalogError, UsageError


@dataclass(frozen=True)
class LocalSource:
    """Files of one folder, read in place as they are now.

    Attributes:
        folder: Top of the source.
    """

    folder: Path

    @property
    def uri(self) -> str:
        """Name of the source for records, without paths of this machine."""
        return "file:"

    @property
    def repo(self) -> str:
        """Name of the source for people: its `uri`."""
        return self.uri

    @property
    def pinned(self) -> bool:
        """False: a file may change under its name."""
        return False

    @property
    def is_local(self) -> bool:
        """True: files need no staging."""
        return True

    def resolve_revision(self) -> None:
        """Return None: a folder has no revisions.

        Raises:
            CatalogError: If the folder does not exist.
        """
        if not self.folder.is_dir():
            msg = f"{self.folder}: the source folder does not exist or is not a folder"
            raise CatalogError(msg)

    def has_revision(self, revision: str) -> bool:
        """Return False: a folder has no revisions."""
        return False

    def at_revision(self, revision: str) -> NoReturn:
        """Refuse: a folder has no revisions.

        Raises:
            UsageError: Always.
        """
        raise self._no_revision()

    def check_readable(self, path: str, *, revision: str) -> NoReturn:
        """Refuse: a folder has no revisions.

        Raises:
            UsageError: Always.
        """
        raise self._no_revision()

    def in_a_hurry(self) -> Self:
        """Return the source itself: a folder is not waited for."""
        return self

    def _no_revision(self) -> UsageError:
        what = f"{self.uri} has no revisions: its files are read as they are now"
        return UsageError(field="--revision", what=what)
