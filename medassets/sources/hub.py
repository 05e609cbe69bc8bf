"""Source of files in a dataset repository on the Hugging Face Hub or a compatible server."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medassets.errors import (
    CatalogError,
    Reason,
    RevisionGoneError,
    SampleRejectedError,
    SourceUnavailableError,
)
from medassets.samples import ListedFile, Listing, StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.hub_client import HubClient
from medassets.sources.hub_download import download_file, missing_file_error
from medassets.sources.listing import has_ending
from medassets.sources.retries import HubPolicy
from medassets.storage.foreign_bytes import most_table_bytes, require_size
from medassets.storage.paths import check_member_path, show_path
from medassets.storage.scratch import open_scratch

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

__all__ = ["HubPolicy", "HubSource"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
# A position in a file is a signed number of 64 bits.
_LARGEST_SIZE = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubSource:
    """Files of one dataset repository, downloaded with resume, digests and retries.

    The Hub's client checks no digest, does not resume after a kill and does not retry after a
    connection reset. Creating a source accesses neither network nor environment.

    Attributes:
        repo_id: `<org>/<name>`.
        revision: Branch, tag or commit.
        endpoint: Base URL of the hub; None means $HF_ENDPOINT or the public hub.
        token: Token; None means $HF_TOKEN or the stored login, False means no token.
        cache_folder: Folder in which tables are cached by digest; None: no cache.
        policy: Timeouts and retries.
    """

    repo_id: str
    revision: str = "main"
    endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    cache_folder: Path | None = None
    policy: HubPolicy = field(default_factory=HubPolicy)

    @property
    def uri(self) -> str:
        """Name of the source for records; equal on every mirror."""
        return f"hf://datasets/{self.repo_id}"

    @property
    def repo(self) -> str:
        """Name of the dataset's repository."""
        return self.repo_id

    @property
    def folder(self) -> None:
        """None: files must be fetched."""

    @property
    def pinned(self) -> bool:
        """True: a commit always names the same bytes."""
        return True

    @property
    def is_local(self) -> bool:
        """False: files must be fetched."""
        return False

    def physical_path(self, path: str) -> str:
        """Return the path itself: each path names one physical file."""
        return path

    @property
    def client(self) -> HubClient:
        """Client for single requests to the repository."""
        return HubClient(
            self.repo_id, chosen_endpoint=self.endpoint, token=self.token, policy=self.policy
        )

    def resolve_revision(self) -> str:
        """Return the commit sha; without a request if the revision is one.

        Raises:
            SourceAccessError: If the hub refuses access, or the repository or revision does not exist.
            SourceUnavailableError: If the hub does not respond after all retries.
        """
        if _COMMIT.fullmatch(self.revision):
            return self.revision
        return self.client.read_commit(self.revision)

    def has_revision(self, revision: str) -> bool:
        """Return whether a commit still exists: squashing or moving a branch removes commits.

        Raises:
            SourceAccessError: If the hub refuses access, or the repository does not exist.
            SourceUnavailableError: If the hub does not respond after all retries.
        """
        try:
            self.client.read_commit(revision)
        except RevisionGoneError:
            return False
        return True

    def check_readable(self, path: str, *, revision: str) -> None:
        """Ask for the bytes of one file, and read none: a gated repository describes its files to all.

        Raises:
            SourceAccessError: If the hub refuses access.
            SourceUnavailableError: If the repository does not have the file, or the hub does not
                respond after all retries.
        """

        def ask(headers: dict[str, str]) -> None:
            with self.client.open_file(path, revision=revision, offset=0, headers=headers):
                pass

        self.client.call(ask, what=f"{self.uri}@{revision}/{path}")

    def at_revision(self, revision: str) -> "HubSource":
        """Return the same repository at another branch, tag or commit."""
        return replace(self, revision=revision)

    def in_a_hurry(self) -> "HubSource":
        """Return the same repository, given up at the first failure: a user waits for the answer."""
        policy = replace(
            self.policy,
            max_attempts=1,
            connect_timeout_s=3.0,
            stall_timeout_s=10.0,
            answer_timeout_s=20.0,
        )
        return replace(self, policy=policy)

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return the whole content of a small file, checked.

        Raises:
            CatalogError: If the repository does not have it, or repeatedly sends other bytes than stated.
            SourceAccessError: If the hub refuses access.
            SourceUnavailableError: If the hub does not respond after all retries.
        """
        found = self.describe([path], revision=revision).get(path)
        if found is None:
            msg = f"{path}: no such table in {self.uri} at revision {revision or self.revision}"
            raise CatalogError(msg)
        require_size(f"{path} of {self.uri}", found.num_bytes or 0, most_table_bytes())
        with open_scratch() as folder:
            target = (self.cache_folder or folder) / f"{found.sha256 or found.git_sha1}"
            try:
                download_file(self.client, found, target)
            except SampleRejectedError as error:
                msg = f"{path}: the table cannot be read from {self.uri}: {error.detail}"
                raise CatalogError(msg) from error
            return target.read_bytes()

    def list_files(self, under: str, endings: Sequence[str], *, revision: str | None) -> Listing:
        """Return the files below a folder, a thousand per request.

        Raises:
            SourceAccessError: If the hub refuses access, or the repository or revision does not exist.
            SourceUnavailableError: If the hub does not respond after all retries, or has no such
                folder.
        """
        rows = self.client.read_tree(under, revision=revision or self.revision)
        paths = sorted({row.path for row in rows})
        # A hub lists hidden folders as all others; those of files that are listed are named.
        hidden = {head for path in paths if (head := _find_hidden_folder(path)) is not None}
        left = [path for path in paths if _find_hidden_folder(path) is None]
        found = tuple(_judge(path) for path in left if has_ending(path, endings))
        return Listing(found, len(left) - len(found), tuple(sorted(hidden)))

    def describe(self, paths: Sequence[str], *, revision: str | None) -> dict[str, RemoteFile]:
        """Return size and digest of files, some hundreds per request.

        Raises:
            CatalogError: If a path could leave the repository.
            SourceAccessError: If the hub refuses access, or the repository or revision does not exist.
            SourceUnavailableError: If the hub does not respond after all retries.
        """
        wanted = list(dict.fromkeys(check_member_path(path) for path in paths))
        step = self.policy.paths_per_request
        at = revision or self.revision
        files: dict[str, RemoteFile] = {}
        for i in range(0, len(wanted), step):
            asked = set(wanted[i : i + step])
            for row in self.client.read_paths_info(wanted[i : i + step], revision=at):
                if row.path in asked:
                    files[row.path] = self._describe_one(row, at)
        return {path: files[path] for path in wanted if path in files}

    def _describe_one(self, row: "RepoFile", revision: str) -> RemoteFile:
        sha256 = row.lfs.sha256 if row.lfs is not None else None
        git_sha1 = None if sha256 is not None else row.blob_id
        # Digests become part of file names, so nothing else may be accepted.
        right = (
            _SHA256.fullmatch(sha256) if sha256 is not None else _COMMIT.fullmatch(git_sha1 or "")
        )
        if not right or not isinstance(row.size, int) or not 0 <= row.size <= _LARGEST_SIZE:
            msg = f"{row.path}: {self.uri} states no usable size and digest ({row.size = })"
            raise SourceUnavailableError(msg)
        return RemoteFile(
            path=row.path,
            num_bytes=row.size,
            sha256=sha256,
            revision=revision,
            uri=f"{self.uri}@{revision}/{row.path}",
            git_sha1=git_sha1,
        )

    def fetch(
        self, file: RemoteFile, target: Path, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Download one file to `target`, resuming a partial download.

        Raises:
            SampleRejectedError: If the repository does not have the file (`missing_upstream`), or
                repeatedly sends other bytes than stated (`checksum_mismatch`).
            SourceAccessError: If the hub refuses access.
            SourceUnavailableError: If the hub does not respond after all retries.
            DiskSpaceError: If the disk is full.
        """
        known = file
        if file.num_bytes is None or (file.sha256 is None and file.git_sha1 is None):
            found = self.describe([file.path], revision=file.revision).get(file.path)
            if found is None:
                raise missing_file_error(file)
            known = found
        sha256 = download_file(self.client, known, target, on_bytes=on_bytes)
        num_bytes = target.stat().st_size
        return StagedFile(
            path=target, uri=known.uri, revision=known.revision, num_bytes=num_bytes, sha256=sha256
        )


def _find_hidden_folder(path: str) -> str | None:
    """Return the first folder of a path whose name begins with a dot; None if there is none."""
    parts = path.split("/")[:-1]
    for depth, part in enumerate(parts, start=1):
        if part.startswith("."):
            return "/".join(parts[:depth])
    return None


def _judge(path: str) -> ListedFile:
    try:
        check_member_path(path)
    except CatalogError as error:
        return ListedFile(show_path(path), problem=(Reason.BAD_NAME, str(error)))
    return ListedFile(path)
