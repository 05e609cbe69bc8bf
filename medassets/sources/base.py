"""Interface of every source of files, independent of their content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medassets.samples import Listing, StagedFile

OnBytes = Callable[[int], None]
"""Called with the number of bytes that arrived; 0 while a fetch waits.

An exception that it raises ends the fetch; received bytes are kept for the next one.
"""


@dataclass(frozen=True)
class RemoteFile:
    """Facts of one file of a source.

    Attributes:
        path: Path inside the source, with forward slashes.
        num_bytes: Size of the file, None if the source does not state it.
        sha256: Lower-case hex digest of the bytes, None if the source does not state it.
        revision: Revision of the description, None if the source has no revisions.
        uri: Name of the file for records, without credentials, hosts or machine paths.
        git_sha1: Git blob id of the bytes, if that is the only digest the source states.
        mtime_ns: Time of the last change in ns, if files can change under one name.
    """

    path: str
    num_bytes: int | None
    sha256: str | None
    revision: str | None
    uri: str
    git_sha1: str | None = None
    mtime_ns: int | None = None


class FileTree(Protocol):
    """A source that can list its files."""

    def list_files(self, under: str, endings: Sequence[str], *, revision: str | None) -> Listing:
        """Return the files below a folder.

        Args:
            under: Folder inside the source; empty means all.
            endings: Wanted endings of names, in lower case.
            revision: Revision to list; None means the source's own.

        Raises:
            CatalogError: If there is no such folder, or it cannot be listed.
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        ...


class Source(Protocol):
    """A tree of files under one name."""

    @property
    def uri(self) -> str:
        """Name of the source for records, without credentials, hosts or machine paths."""
        ...

    @property
    def repo(self) -> str:
        """Name of the source for people: its repository where it has one, else its `uri`."""
        ...

    @property
    def folder(self) -> Path | None:
        """Root folder, None if the source is on another machine."""
        ...

    @property
    def pinned(self) -> bool:
        """Whether a revision always names the same bytes."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether files can be read where they are, without staging."""
        ...

    def physical_path(self, path: str) -> str:
        """Return the path of the physical file that contains an item.

        It is the path itself, unless a file of the source contains several items.
        """
        ...

    def resolve_revision(self) -> str | None:
        """Return the current revision of the source, None if it has no revisions.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        ...

    def at_revision(self, revision: str) -> "Source":
        """Return the same source at another revision.

        Raises:
            UsageError: If the source has no revisions.
        """
        ...

    def has_revision(self, revision: str) -> bool:
        """Return whether a revision still exists; files of a source without revisions have none.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        ...

    def in_a_hurry(self) -> "Source":
        """Return the same source, given up at the first failure: a user waits for the answer."""
        ...

    def check_readable(self, path: str, *, revision: str) -> None:
        """Ask for the bytes of one file, and read none.

        Raises:
            UsageError: If the source has no revisions.
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not have the file, or does not respond.
        """
        ...

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return the whole content of a table or list.

        Args:
            path: Path inside the source.
            revision: Revision to read at; None means the source's own.

        Raises:
            CatalogError: If the source does not have the file, or repeatedly sends other bytes than stated.
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        ...

    def describe(self, paths: Sequence[str], *, revision: str | None) -> dict[str, RemoteFile]:
        """Return size and digest of files by path; files the source does not have are left out.

        Args:
            paths: Paths inside the source.
            revision: Revision to describe; None means the source's own.

        Raises:
            CatalogError: If a path could leave the source.
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        ...

    def fetch(
        self, file: RemoteFile, target: Path, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Copy one file to the local disk and check it.

        Args:
            file: Facts of the file from `describe`.
            target: Path of the copy. A local source does not copy its files.
            on_bytes: Called for every received piece.

        Returns:
            The file on disk; size and digest equal those of `file` if it states them.

        Raises:
            SampleRejectedError: If the source does not have the file (`missing_upstream`), or
                repeatedly sends other bytes than stated (`checksum_mismatch`).
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
            DiskSpaceError: If the disk is full.
        """
        ...
