"""Compressed tars, read forward through a decompressor: for a look at the first samples only."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from medassets.errors import DamagedTarError
from medassets.storage.foreign_bytes import open_foreign
from medassets.tars.reader import OpenTar, open_tar

_OPENERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,  # pyright: ignore[reportAssignmentType]
    b"BZh": bz2.open,  # pyright: ignore[reportAssignmentType]
    b"\xfd7zXZ\0": lzma.open,  # pyright: ignore[reportAssignmentType]
}


def open_any_tar(path: Path) -> OpenTar:
    """Open a tar that may be compressed with gzip, bzip2 or xz.

    Raises:
        OSError: If it cannot be opened.
    """
    with open_foreign(path) as file:
        start = file.read(max(map(len, _OPENERS)))
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return _CompressedTar(path, opener(path))
    return open_tar(path)


class _CompressedTar(OpenTar):
    """A compressed tar; reading backwards decompresses it from its start again."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        super().__init__(path, fd=-1)
        self._stream = stream

    def close(self) -> None:
        """Close the decompressor."""
        self._stream.close()

    @property
    def size_bytes(self) -> None:
        """None: only decompressing all of it would tell."""
        return

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a buffer from a position of the decompressed tar.

        Raises:
            DamagedTarError: If it cannot be decompressed.
        """
        try:
            self._stream.seek(offset)
            content = self._stream.read(len(view))
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            what = f"cannot be decompressed ({error})"
            msg = f"{self.path}: {what}; copy it again"
            raise DamagedTarError(msg, what) from error
        view[: len(content)] = content
        return len(content)
