"""Incomplete download of a file: its bytes so far and their digest."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medassets.sources.base import OnBytes, RemoteFile
from medassets.storage.atomic import explain_no_space, write_all
from medassets.storage.unreadable import open_regular_fd

_READ_BYTES = 1 << 20


def partial_path(target: Path, file: RemoteFile) -> Path:
    """Return where the bytes of a file gather; the name changes with the bytes wanted."""
    return target.with_name(f"{target.name}.{file.sha256 or file.git_sha1}.part")


class PartialFile:
    """Received bytes of one file, hashed as they are written.

    Attributes:
        path: Where they are.
        num_bytes: How many are there.
        best_bytes: How many have ever been there in this process.
    """

    def __init__(self, path: Path, file: RemoteFile, *, on_bytes: OnBytes | None = None) -> None:
        """Open the file; `take_over` counts what an earlier process left in it.

        Args:
            path: Private name; made where it is missing.
            file: What is expected; its size must be known.
            on_bytes: Called with the number of bytes received; 0 while existing bytes are hashed.
        """
        if file.num_bytes is None:
            msg = f"{file.path}: a download needs the size of the file, got {file.num_bytes = }"
            raise ValueError(msg)
        self.path = path
        self._file = file
        self._expected = file.num_bytes
        self._on_bytes = on_bytes or (lambda _: None)
        self._fd = open_regular_fd(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        self._start_digests()
        self.best_bytes = 0

    def _start_digests(self) -> None:
        self.num_bytes = 0
        self._sha256 = hashlib.sha256()
        # A git blob id is the SHA-1 of this header and the bytes.
        self._git = hashlib.sha1(b"blob %d\0" % self._expected, usedforsecurity=False)

    def take_over(self) -> None:
        """Hash the bytes of an earlier process; bytes beyond the stated size are discarded."""
        if os.fstat(self._fd).st_size > self._expected:
            os.ftruncate(self._fd, 0)
        while piece := os.read(self._fd, _READ_BYTES):
            self._count(piece)
            self._on_bytes(0)

    def _count(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if self._file.sha256 is None:
            self._git.update(piece)
        self.num_bytes += len(piece)
        self.best_bytes = max(self.best_bytes, self.num_bytes)

    @property
    def is_complete(self) -> bool:
        """Whether the file has the stated size."""
        return self.num_bytes == self._expected

    @property
    def sha256(self) -> str:
        """Hex digest of the received bytes."""
        return self._sha256.hexdigest()

    def is_right(self) -> bool:
        """Return whether the bytes have the stated digest."""
        if self._file.sha256 is not None:
            return self.is_complete and self.sha256 == self._file.sha256
        return self.is_complete and self._git.hexdigest() == self._file.git_sha1

    def append(self, piece: bytes) -> bool:
        """Append a piece; return False, and write nothing, if it is too long."""
        if self.num_bytes + len(piece) > self._expected:
            return False
        with explain_no_space(self.path, self._expected - self.num_bytes):
            write_all(self._fd, piece)
        self._count(piece)
        self._on_bytes(len(piece))
        return True

    def restart(self) -> None:
        """Discard all received bytes."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._start_digests()

    def close(self) -> None:
        """Close the file; received bytes are kept for the next process."""
        os.close(self._fd)


@contextmanager
def open_partial(
    path: Path, file: RemoteFile, *, on_bytes: OnBytes | None = None
) -> Iterator[PartialFile]:
    """Open a partial file for a `with` block."""
    part = PartialFile(path, file, on_bytes=on_bytes)
    try:
        part.take_over()
        yield part
    finally:
        part.close()
