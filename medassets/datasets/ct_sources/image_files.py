"""A folder of volumes in which a header and the file of its voxels are one file."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from medassets.errors import SampleRejectedError
from medassets.samples import StagedFile
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.folder import FolderSource
from medassets.storage.checksums import sha256_file
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.volumes.files.images.reader import DETACHED, list_parts


@dataclass(frozen=True)
class ImageFolder(FolderSource):
    """Files of one folder; size, time and digest of a `.mhd` or `.nhdr` are also those of its data file."""

    def fetch(
        self, file: RemoteFile, target: Path | None = None, *, on_bytes: OnBytes | None = None
    ) -> StagedFile:
        """Hash a file; of a header with a data file, the SHA-256 over both digests, a line each.

        Raises:
            SampleRejectedError: As `FolderSource.fetch`; also if the header names no file that it may.
        """
        staged = super().fetch(file, target, on_bytes=on_bytes)
        parts = _list_others(staged.path)
        if not parts:
            return staged
        with unreadable_as_rejection():
            digests = [staged.sha256, *map(sha256_file, parts)]
            num_bytes = staged.num_bytes + sum(part.stat().st_size for part in parts)
        if on_bytes is not None:
            on_bytes(num_bytes - staged.num_bytes)
        combined = hashlib.sha256("".join(f"{one}\n" for one in digests).encode()).hexdigest()
        return replace(staged, num_bytes=num_bytes, sha256=combined)

    def _describe(self, path: str) -> RemoteFile | None:
        found = super()._describe(path)
        if found is None or found.num_bytes is None or not path.lower().endswith(DETACHED):
            return found
        try:
            stats = [part.stat() for part in _list_others(self.folder / path)]
        except (SampleRejectedError, OSError):
            # `fetch` raises the reason.
            return found
        times = [found.mtime_ns or 0, *(one.st_mtime_ns for one in stats)]
        num_bytes = found.num_bytes + sum(one.st_size for one in stats)
        return replace(found, num_bytes=num_bytes, mtime_ns=max(times))


def _list_others(place: Path) -> list[Path]:
    return list_parts(place)[1:] if place.name.lower().endswith(DETACHED) else []
