"""Samples of existing WebDatasets on a disk of this machine, each as a file of its own."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.folder import FolderSource
from medassets.storage.checksums import canonical_json
from medassets.storage.paths import check_member_path
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.index import (
    Extent,
    Members,
    TarStat,
    find_members,
    is_tar_path,
    read_extent,
    split_sample_path,
    stat_tar,
)

_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class WebDatasetSource:
    """Samples of the tars of one folder, read where they are.

    The path of a sample is `<tar inside the folder>/<key in the tar>`, so that each has a path,
    a size and a digest of its own: a tar of 17 GB is not hashed for one sample of it. A tar that is
    reached through a link out of the folder does not belong to the source.

    Attributes:
        folder: Top of the tree that holds the tars.
    """

    folder: Path

    @property
    def uri(self) -> str:
        """Name of the source for records; says nothing of this machine."""
        return self._files.uri

    @property
    def pinned(self) -> bool:
        """False: a tar may change under its name."""
        return False

    @property
    def is_local(self) -> bool:
        """True: tars need no staging."""
        return True

    @property
    def _files(self) -> FolderSource:
        return FolderSource(self.folder)

    def physical_path(self, path: str) -> str:
        """Return the tar that holds a sample, whether it is there or not; of a tar, itself.

        Raises:
            CatalogError: If the path names neither a tar nor a sample of one.
        """
        return path if is_tar_path(path) else split_sample_path(path)[0]

    def locate(self, path: str) -> Path | None:
        """Return where a tar is; None if there is none, or a link leads out of the folder.

        Args:
            path: Of the tar, not of a sample in it.

        Raises:
            CatalogError: If the path leaves the folder by its parts.
        """
        return self._files.locate(path)

    def resolve_revision(self) -> None:
        """Return None: a folder has no revisions.

        Raises:
            CatalogError: If the folder does not exist.
        """
        self._files.resolve_revision()

    def read_table(self, path: str, *, revision: str | None = None) -> bytes:
        """Return the whole content of a file beside the tars.

        Raises:
            CatalogError: If the folder does not have it.
        """
        return self._files.read_table(path, revision=revision)

    def describe(
        self, paths: Sequence[str], *, revision: str | None = None
    ) -> dict[str, RemoteFile]:
        """Return the bytes of the members of each sample, and the mtime of its tar.

        Raises:
            CatalogError: If a path leaves the folder by its parts, or names no sample of a tar.
        """
        found = ((path, self._describe(path)) for path in paths)
        return {path: file for path, file in found if file is not None}

    def fetch(
        self, file: RemoteFile, target: Path | None = None, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Hash the members of one sample and return the tar that holds them; `target` is not used.

        The digest is SHA-256 of, for each member in the order of the tar, the line
        `["<suffix>",<size>]` and the content. It says nothing of the key, nor of where in the tar
        they lie.

        Raises:
            SampleRejectedError: MISSING_UPSTREAM if tar or sample are not there, or the tar is a
                link out of the folder; CORRUPT_TAR if it is damaged; UNREADABLE_SOURCE if it
                cannot be read, or changed meanwhile.
            CatalogError: If the path leaves the folder by its parts, or names no sample of a tar.
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
            # It is there; `fetch` says why it cannot be had.
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
        return tar, find_members(tar, key), stat


@contextmanager
def _naming(tar_path: str) -> Iterator[None]:
    """Let rejections begin with the tar they are about."""
    try:
        yield
    except FileNotFoundError as error:
        detail = f"{tar_path}: vanished while it was read"
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, detail) from error
    except SampleRejectedError as error:
        raise SampleRejectedError(error.reason, f"{tar_path}: {error.detail}") from error


def _count_bytes(members: Members) -> int:
    return sum(extent.size_bytes for extent in members.values())


def _hash_members(tar: Path, members: Members, on_bytes: OnBytes | None) -> str:
    digest = hashlib.sha256()
    with unreadable_as_rejection(), tar.open("rb", buffering=0) as file:
        for suffix, extent in members.items():
            digest.update(canonical_json([suffix, extent.size_bytes]) + b"\n")
            for piece in _iter_pieces(file.fileno(), extent):
                digest.update(piece)
                if on_bytes is not None:
                    on_bytes(len(piece))
    return digest.hexdigest()


def _iter_pieces(fd: int, extent: Extent) -> Iterator[bytes]:
    end = extent.offset + extent.size_bytes
    for start in range(extent.offset, end, _PIECE_BYTES):
        yield read_extent(fd, Extent(start, min(_PIECE_BYTES, end - start)))
