"""Files and folders of an export: whole under their final names, or not there."""

import errno
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.arrays import BytesLike
from medassets.errors import UsageError
from medassets.exports.journal import Exported
from medassets.storage.atomic import explain_no_space, fsync_folder, write_all
from medassets.storage.checksums import byte_view, crc32

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """Files that are on the disk.

    Attributes:
        sizes: Bytes of each.
        crc32: CRC-32 of the one file's bytes, or of the checksums of several.
        mtime_ns: Modification time of the youngest.
    """

    sizes: tuple[int, ...]
    crc32: int
    mtime_ns: int


def open_folder(folder: Path, argument: str) -> None:
    """Make a folder that results can be written to.

    Args:
        folder: The folder.
        argument: What the user named it by, for the message.

    Raises:
        UsageError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UsageError(
            field=argument, what=f"cannot write to the folder {folder}: {error.strerror}"
        ) from error


def publish_folder(
    folder: Path, files: Mapping[str, Iterable[BytesLike]], *, num_bytes: int | None = None
) -> Written:
    """Write a folder of small files so that its final name never stands for a part of them.

    A predecessor is moved out of the way first: for an instant neither is there. The parent folder
    is left to be fsynced by the caller, once for many.

    Args:
        folder: Final name.
        files: Name -> content in pieces.
        num_bytes: About how much that is, for pieces that are made as they are written.

    Raises:
        DiskSpaceError: If there is no room; the predecessor stays.
    """
    private, old = _private(folder, "new"), _private(folder, "old")
    for leftover in (private, old):
        _remove(leftover)
    if num_bytes is None:
        num_bytes = sum(byte_view(piece).nbytes for pieces in files.values() for piece in pieces)
    try:
        with explain_no_space(folder, num_bytes):
            private.mkdir()
            written = [write_file(private / name, pieces) for name, pieces in files.items()]
            fsync_folder(private)
        if folder.exists():
            folder.replace(old)
        private.replace(folder)
    finally:
        _remove(private)
        _remove(old)
    return join_written(written)


def write_file(path: Path, pieces: Iterable[BytesLike]) -> Written:
    """Write a file and make its bytes durable; what is at `path` is replaced.

    Raises:
        OSError: If the disk does not take the bytes.
    """
    size, crc = 0, 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
    try:
        for piece in pieces:
            view = byte_view(piece)
            crc, size = crc32(view, crc), size + view.nbytes
            write_all(fd, view)
        os.fsync(fd)
        return Written((size,), crc, os.fstat(fd).st_mtime_ns)
    finally:
        os.close(fd)


def publish_checked(path: Path, pieces: Iterable[BytesLike]) -> Written:
    """Write one file under a private name and rename it when all pieces have come.

    The folder is left to be fsynced by the caller, once for many.

    Args:
        path: Final name.
        pieces: The content; what their iterator raises is raised, and the predecessor stays.

    Raises:
        DiskSpaceError: If there is no room.
    """
    private = _private(path, "new")
    try:
        with explain_no_space(path, _CHUNK_BYTES):
            written = write_file(private, pieces)
        private.replace(path)
    finally:
        private.unlink(missing_ok=True)
    return join_written([written])


def join_written(parts: Sequence[Written]) -> Written:
    """Return several files as one sample; the checksum is that of the checksums."""
    sizes = tuple(size for part in parts for size in part.sizes)
    crc = crc32(b"".join(part.crc32.to_bytes(4, "little") for part in parts))
    return Written(sizes, crc, max(part.mtime_ns for part in parts))


def is_same(files: Sequence[Path], contents: Sequence[Sequence[BytesLike]]) -> Written | None:
    """Return what is on the disk if it is what would be written, else None.

    A killed export may have published a sample that its journal does not know.
    """
    sizes = tuple(sum(byte_view(piece).nbytes for piece in pieces) for pieces in contents)
    try:
        if tuple(file.stat().st_size for file in files) != sizes:
            return None
        found = read_written(files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    expected = [Written((0,), _crc32_of(pieces), 0) for pieces in contents]
    return found if found.crc32 == join_written(expected).crc32 else None


def is_whole(files: Sequence[Path], exported: Exported) -> bool:
    """Tell whether a sample's files are those that were written.

    Sizes must agree. Where a file was touched since, or copied, its bytes are read as well.

    Args:
        files: The sample's files.
        exported: What the journal says of them.
    """
    try:
        stats = [file.lstat() for file in files]
        if tuple(stat.st_size for stat in stats) != exported.sizes:
            return False
        if max(stat.st_mtime_ns for stat in stats) == exported.mtime_ns:
            return True
        return read_written(files).crc32 == exported.crc32
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_written(files: Sequence[Path]) -> Written:
    """Return what stands in files on the disk, reading every byte.

    Raises:
        FileNotFoundError: If one is missing.
    """
    return join_written([_read_file(file) for file in files])


def remove_leftovers(folder: Path) -> None:
    """Remove what killed exports left in a folder; the caller holds the target's lock."""
    for suffix in ("new", "old"):
        for leftover in folder.glob(f".*.{suffix}.tmp"):
            _remove(leftover)


def _crc32_of(pieces: Sequence[BytesLike]) -> int:
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    return crc


def _private(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}.tmp")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_file(path: Path) -> Written:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = crc32(chunk, crc)
        stat = os.fstat(file.fileno())
    return Written((stat.st_size,), crc, stat.st_mtime_ns)
