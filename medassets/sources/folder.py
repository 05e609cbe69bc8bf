"""Source of files in a local folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import Listing, StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.listing import list_folder
from medassets.sources.local import LocalSource
from medassets.storage.checksums import sha256_file
from medassets.storage.foreign_bytes import read_table
from medassets.storage.paths import check_member_path
from medassets.storage.unreadable import explain_unreadable, unreadable_as_rejection


@dataclass(frozen=True)
class FolderSource(LocalSource):
    """Files of one folder, read in place.

    Names of files in records are `file:<path inside the folder>`: another machine may have the
    folder elsewhere, and equal inputs must make equal shards. A file behind a link that leads out
    of the folder does not belong to the source.

    Attributes:
        folder: Root folder.
    """

    def physical_path(self, path: str) -> str:
        """Return the path itself: each path names one physical file."""
        return path

    def locate(self, path: str) -> Path | None:
        """Return the local path of a file; None if it is missing or a link leads out of the folder.

        Raises:
            CatalogError: If the path contains parts that leave the folder.
        """
        place = self.folder / check_member_path(path)
        if not place.is_file():
            return None
        if not place.resolve().is_relative_to(self.folder.resolve()):
            # Not followed and not fatal: one link must not fail the shards of other files.
            return None
        return place

    def read_table(self, path: str, *, revision: str | None = None) -> bytes:
        """Return the whole content of a file.

        Raises:
            CatalogError: If the folder does not have it, or it cannot be read.
        """
        try:
            place = self.locate(path)
            if place is None:
                msg = f"{path}: no such table in {self.folder}"
                raise CatalogError(msg)
            return read_table(place)
        except OSError as error:
            if explain_unreadable(error) is None:
                raise
            msg = f"{self.folder / path}: the table cannot be read ({error.strerror})"
            raise CatalogError(msg) from error

    def list_files(
        self, under: str, endings: Sequence[str], *, revision: str | None = None
    ) -> Listing:
        """Return the files below a folder; see `medassets.sources.listing`.

        Raises:
            CatalogError: If there is no such folder, or a folder below it cannot be listed.
        """
        return list_folder(self.folder, under, endings)

    def describe(
        self, paths: Sequence[str], *, revision: str | None = None
    ) -> dict[str, RemoteFile]:
        """Return sizes and mtimes of files; their digests only come with `fetch`.

        Raises:
            CatalogError: If a path contains parts that leave the folder.
        """
        found = ((path, self._describe(path)) for path in paths)
        return {path: file for path, file in found if file is not None}

    def fetch(
        self, file: RemoteFile, target: Path | None = None, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Hash one file and return it where it is; `target` is not used.

        Raises:
            SampleRejectedError: If the folder does not have the file, it is a link out of it, or
                it cannot be read.
            CatalogError: If its path contains parts that leave the folder.
        """
        with unreadable_as_rejection():
            place = self.locate(file.path)
            if place is None:
                raise SampleRejectedError(
                    Reason.MISSING_UPSTREAM,
                    f"{file.path} does not exist in the source, or is a link that leads out of it",
                )
            sha256 = sha256_file(place)
            num_bytes = place.stat().st_size
        if on_bytes is not None:
            on_bytes(num_bytes)
        return StagedFile(place, f"file:{file.path}", None, num_bytes, sha256)

    def _describe(self, path: str) -> RemoteFile | None:
        try:
            with unreadable_as_rejection():
                place = self.locate(path)
                stat = place.stat() if place is not None else None
        except SampleRejectedError:
            # It exists; `fetch` raises the reason why it cannot be read.
            return RemoteFile(path, None, None, None, f"file:{path}")
        if stat is None:
            return None
        return RemoteFile(path, stat.st_size, None, None, f"file:{path}", mtime_ns=stat.st_mtime_ns)
