"""Samples of existing WebDatasets on a local disk, each treated as one file."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.folder import FolderSource
from medassets.sources.local import LocalSource
from medassets.storage.checksums import canonical_json
from medassets.storage.paths import check_member_path
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.index import (
    TarStat,
    find_members,
    is_tar_path,
    split_sample_path,
    stat_tar,
    tar_errors_as_rejections,
)
from medassets.tars.reader import Members, open_tar


@dataclass(frozen=True)
class WebDatasetSource(LocalSource):
    """Samples of the tars in one folder, read in place.

    The path of a sample is `<tar inside the folder>/<key in the tar>`. Each sample has its own path,
    size and digest, so that a tar of 17 GB is not hashed for one of its samples. A tar behind a link
    that leaves the folder does not belong to the source.

    Attributes:
        folder: Top of the tree that contains the tars.
        accept_unterminated: Whether tars may end behind a whole member, without an end mark.
    """

    accept_unterminated: bool = False

    @property
    def _files(self) -> FolderSource:
        return FolderSource(self.folder)

    def physical_path(self, path: str) -> str:
        """Return the tar that contains a sample, whether it exists or not; for a tar, itself.

        Raises:
            CatalogError: If the path names neither a tar nor a sample in one.
        """
        return path if is_tar_path(path) else split_sample_path(path)[0]

    def locate(self, path: str) -> Path | None:
        """Return the path of a tar; None if it does not exist, or a link leads out of the folder.

        Args:
            path: Path of the tar inside the source.

        Raises:
            CatalogError: If the path has `..` or is absolute.
        """
        return self._files.locate(path)

    def read_table(self, path: str, *, revision: str | None = None) -> bytes:
        """Return the whole content of a file beside the tars.

        Raises:
            CatalogError: If it does not exist in the folder.
        """
        return self._files.read_table(path, revision=revision)

    def describe(
        self, paths: Sequence[str], *, revision: str | None = None
    ) -> dict[str, RemoteFile]:
        """Return the bytes of the members of each sample, and the mtime of its tar.

        Raises:
            CatalogError: If a path has `..` or is absolute, or does not name a sample of a tar.
        """
        found = ((path, self._describe(path)) for path in paths)
        return {path: file for path, file in found if file is not None}

    def fetch(
        self, file: RemoteFile, target: Path | None = None, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Hash the members of one sample and return the tar that contains it; `target` is not used.

        The digest is the SHA-256 over the members in the order of the tar: for each, the line
        `["<suffix>",<size>]` and the content. Key and position in the tar are not part of it.

        Raises:
            SampleRejectedError: MISSING_UPSTREAM if the tar or the sample does not exist, or the tar
                is a link out of the folder; CORRUPT_TAR if it is damaged; UNREADABLE_SOURCE if it
                cannot be read, or changed during the read.
            CatalogError: If the path has `..` or is absolute, or does not name a sample of a tar.
        """
        with _naming(self.physical_path(file.path)):
            tar, members, before = self._find(file.path)
            sha256 = _hash_members(tar, members, on_bytes)
            if stat_tar(tar) != before:
                raise SampleRejectedError(Reason.UNREADABLE_SOURCE, "changed while it was read")
        return StagedFile(tar, f"file:{file.path}", None, _count_bytes(members), sha256)

    def _describe(self, path: str) -> RemoteFile | None:
        try:
            _, members, stat = self._find(path)
        except SampleRejectedError as error:
            if error.reason is Reason.MISSING_UPSTREAM:
                return None
            # It exists; `fetch` reports why it cannot be read.
            return RemoteFile(path, None, None, None, f"file:{path}")
        return RemoteFile(
            path, _count_bytes(members), None, None, f"file:{path}", mtime_ns=stat.mtime_ns
        )

    def _find(self, path: str) -> tuple[Path, Members, TarStat]:
        tar_path, key = split_sample_path(check_member_path(path))
        with unreadable_as_rejection():
            tar = self.locate(tar_path)
        if tar is None:
            raise SampleRejectedError(
                Reason.MISSING_UPSTREAM, "does not exist in the source, or is a link out of it"
            )
        stat = stat_tar(tar)
        members = find_members(tar, key, accept_unterminated=self.accept_unterminated)
        return tar, members, stat


@contextmanager
def _naming(tar_path: str) -> Iterator[None]:
    """Put the name of the tar before the detail of rejections."""
    try:
        yield
    except FileNotFoundError as error:
        detail = f"{tar_path}: vanished while it was read"
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, detail) from error
    except SampleRejectedError as error:
        raise SampleRejectedError(error.reason, f"{tar_path}: {error.detail}") from error


def _count_bytes(members: Members) -> int:
    return sum(member.size_bytes for member in members.values())


def _hash_members(tar: Path, members: Members, on_bytes: OnBytes | None) -> str:
    digest = hashlib.sha256()
    with tar_errors_as_rejections(tar), open_tar(tar) as opened:
        for suffix, member in members.items():
            digest.update(canonical_json([suffix, member.size_bytes]) + b"\n")
            for chunk in opened.iter_chunks(member):
                digest.update(chunk)
                if on_bytes is not None:
                    on_bytes(len(chunk))
    return digest.hexdigest()
