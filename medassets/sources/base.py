"""What every source of files can do; nothing here knows what the files hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medassets.samples import StagedFile

OnBytes = Callable[[int], None]
"""Told how many bytes more (or, after a restart, fewer) are at hand; 0 while a fetch waits.

Whatever it raises ends the fetch; what has arrived stays for the next one.
"""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source, as the source describes it.

    Attributes:
        path: Path inside the source, with forward slashes.
        num_bytes: Size of the file, None where the source does not say.
        sha256: Lower-case hex digest of the bytes, None where the source does not say.
        revision: Revision the description belongs to, None where the source has none.
        uri: Name of the file for records, without credentials, hosts or machine paths.
        git_sha1: Git blob id of the bytes, where that is the only digest the source knows.
        mtime_ns: When the file was last changed, where files can change under one name.
    """

    path: str
    num_bytes: int | None
    sha256: str | None
    revision: str | None
    uri: str
    git_sha1: str | None = None
    mtime_ns: int | None = None


class Source(Protocol):
    """A tree of files under one name."""

    @property
    def uri(self) -> str:
        """Name of the source for records, without credentials, hosts or machine paths."""
        ...

    @property
    def folder(self) -> Path | None:
        """Top of the tree, None where it is on another machine."""
        ...

    @property
    def pinned(self) -> bool:
        """Whether a revision names the same bytes for ever."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether files can be read where they are, without staging."""
        ...

    def physical_path(self, path: str) -> str:
        """Return the path of the file inside the source that holds what a path names.

        It is the path itself, unless the source sees many files in one.
        """
        ...

    def resolve_revision(self) -> str | None:
        """Return the revision the source stands at now, None where it has none.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source stays silent.
        """
        ...

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return the whole content of a table or list.

        Args:
            path: Path inside the source.
            revision: Revision to read at; None means the source's own.

        Raises:
            CatalogError: If the source does not have the file, or never sends what it promised.
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source stays silent.
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
            SourceUnavailableError: If the source stays silent.
        """
        ...

    def fetch(
        self, file: RemoteFile, target: Path, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Bring one file to the local disk and check it.

        Args:
            file: What `describe` said of the file.
            target: Where the file is wanted. A local source leaves its file where it is.
            on_bytes: Told of every piece that arrives.

        Returns:
            The file on disk; size and digest are those of `file` wherever `file` states them.

        Raises:
            SampleRejectedError: If the source does not have the file (`missing_upstream`), or
                sends other bytes than it promised time and again (`checksum_mismatch`).
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source stays silent.
            DiskSpaceError: If the disk is full.
        """
        ...
