"""Files of an export: whole under their final names, and never in place of what is not ours."""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.arrays import BytesLike
from medassets.errors import ForeignFileError, UsageError
from medassets.exports.journal import Exported
from medassets.storage.atomic import explain_no_space, fsync_folder, write_all
from medassets.storage.checksums import byte_view, crc32, crc32_file
from medassets.storage.ownership import is_plain_file, is_plain_folder

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """Files of one sample that are on the disk.

    Attributes:
        sizes: Bytes of each.
        crc32: Checksum of each.
        mtime_ns: Modification time of each.
    """

    sizes: tuple[int, ...]
    crc32: tuple[int, ...]
    mtime_ns: tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """The place of one sample, and what may be replaced there.

    Attributes:
        path: The sample's folder, or its one file.
        known: Versions of its files that the journal describes, oldest first.
        note: Writes the files to the journal; called before they get their final names.
        force: Whether equal files are written again.
    """

    path: Path
    known: Sequence[Exported]
    note: Callable[[Written, Mapping[str, Any] | None], None]
    force: bool = False

    def adopt(self, contents: Mapping[str, Sequence[BytesLike]]) -> Written | None:
        """Return the files of the folder if they are what would be written, else None.

        A killed export may have published a sample that its journal does not know.

        Args:
            contents: Name -> content in pieces.
        """
        sizes = (sum(byte_view(piece).nbytes for piece in pieces) for pieces in contents.values())
        paths = [self.path / name for name in contents]
        if self.force or not _has_sizes(paths, tuple(sizes)):
            return None
        found = _read_written(paths)
        if found.crc32 != tuple(_crc32_of(pieces) for pieces in contents.values()):
            return None
        self.note(found, None)
        return found

    def publish_folder(
        self,
        files: Mapping[str, Iterable[BytesLike]],
        *,
        info: Mapping[str, Any] | None = None,
        num_bytes: int | None = None,
    ) -> Written:
        """Write a folder of files so that its final name never refers to a part of them.

        The old folder is renamed first: for an instant, neither has the final name. Files that the
        user put beside ours move to the new folder. The parent folder is not fsynced: the caller
        does that once for many samples.

        Args:
            files: Name -> content in pieces.
            info: What the index says of the sample, where the files do not.
            num_bytes: About how much that is, for pieces that are made as they are written.

        Raises:
            ForeignFileError: If the predecessor was not made by this export, or was changed.
            DiskSpaceError: If the disk is full; the predecessor stays.
        """
        private, old = private_names(self.path)
        if num_bytes is None:
            sizes = (byte_view(piece).nbytes for pieces in files.values() for piece in pieces)
            num_bytes = sum(sizes)
        try:
            with explain_no_space(self.path, num_bytes):
                private.mkdir()
                written = _join([_write_file(private / n, pieces) for n, pieces in files.items()])
                fsync_folder(private)
            if self._is_to_publish(written, tuple(files)):
                self.note(written, info)
                if os.path.lexists(self.path):
                    private.chmod(stat.S_IMODE(self.path.stat().st_mode))
                    self.path.replace(old)
                private.replace(self.path)
                put_back(old, self.path, self._our_names(files))
            else:
                written = _read_written([self.path / name for name in files])
                self.note(written, info)
        finally:
            _remove_folder(private, files)
        return written

    def publish_file(
        self, pieces: Iterable[BytesLike], *, info: Mapping[str, Any] | None = None
    ) -> Written:
        """Write one file under a private name and rename it when all pieces have come.

        The parent folder is not fsynced: the caller does that once for many samples.

        Args:
            pieces: The content; what their iterator raises is raised, and the predecessor stays.
            info: What the index says of the sample, where the file does not.

        Raises:
            ForeignFileError: If the predecessor was not made by this export, or was changed.
            DiskSpaceError: If the disk is full.
        """
        private, _ = private_names(self.path)
        try:
            with explain_no_space(self.path, _CHUNK_BYTES):
                written = _join([_write_file(private, pieces)])
            if self._is_to_publish(written, ()):
                self.note(written, info)
                private.replace(self.path)
            else:
                written = _read_written([self.path])
                self.note(written, info)
        finally:
            private.unlink(missing_ok=True)
        return written

    def _is_to_publish(self, written: Written, names: tuple[str, ...]) -> bool:
        """Tell whether the files have to take the place; False if equal ones are there already."""
        foreign = find_foreign(self.path, self.known, names)
        if not foreign:
            return True
        paths = [self.path / name for name in names] or [self.path]
        if _has_sizes(paths, written.sizes) and _read_written(paths).crc32 == written.crc32:
            return False
        msg = (
            f"{foreign[0]}: this is not what the export wrote, and is not replaced. Move it away "
            f"and export again"
        )
        raise ForeignFileError(msg)

    def _our_names(self, files: Iterable[str]) -> set[str]:
        return {*files, *(name for one in self.known for name in one.names)}


def find_foreign(place: Path, known: Sequence[Exported], names: Sequence[str]) -> list[Path]:
    """Return what exists at a sample's place and is not ours to replace.

    Args:
        place: The sample's folder, or its one file.
        known: Versions of its files that the journal describes, oldest first.
        names: Files that will be written into the folder.
    """
    if not os.path.lexists(place):
        return []
    made = next((one for one in reversed(known) if one.is_unchanged(place)), None)
    if made is not None:
        others = [place / name for name in names if name not in made.names]
        return [path for path in others if os.path.lexists(path)]
    if known:
        return known[-1].list_changed(place)
    return sorted(place.iterdir()) or [place] if is_plain_folder(place) else [place]


def open_folder(folder: Path, argument: str) -> None:
    """Make a folder that results can be written to.

    Args:
        folder: The folder.
        argument: Name of the option, for the message.

    Raises:
        UsageError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        what = f"cannot write to the folder {folder}: {error.strerror}"
        raise UsageError(field=argument, what=what) from error


def private_names(place: Path) -> tuple[Path, Path]:
    """Return the private names of a place: of its new version, and of the one it replaces."""
    new, old = (place.with_name(f".{place.name}.{suffix}.tmp") for suffix in ("new", "old"))
    return new, old


def clean_up(folder: Path, places: Mapping[str, Collection[str]]) -> None:
    """Finish or undo what killed exports began in a folder; the caller holds the target's lock.

    Args:
        folder: Folder that holds the places.
        places: Name of each place -> files that exports wrote into it; others are the user's.
    """
    if not folder.is_dir():
        return
    for private in sorted(folder.iterdir()):
        name, suffix = private.name[1:-8], private.name[-8:]
        if not private.name.startswith(".") or name not in places:
            continue
        if suffix == ".old.tmp" and is_plain_folder(private):
            if not os.path.lexists(folder / name):
                private.replace(folder / name)
            else:
                put_back(private, folder / name, set(places[name]))
        elif suffix == ".new.tmp":
            _remove_folder(private, places[name])
            if is_plain_file(private):
                private.unlink()


def put_back(old: Path, folder: Path, ours: set[str]) -> None:
    """Remove our files from a replaced folder, and move those of the user to its replacement."""
    if not is_plain_folder(old):
        return
    for path in sorted(old.iterdir()):
        if path.name not in ours and not os.path.lexists(folder / path.name):
            path.replace(folder / path.name)
    _remove_folder(old, ours)


def _remove_folder(folder: Path, names: Iterable[str]) -> None:
    """Remove files of ours and their folder, unless something else is in it."""
    if is_plain_folder(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def _write_file(path: Path, pieces: Iterable[BytesLike]) -> Written:
    """Write a new file and make its bytes durable.

    Raises:
        OSError: If the disk does not take the bytes, or something is at `path`.
    """
    size, crc = 0, 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        for piece in pieces:
            view = byte_view(piece)
            crc, size = crc32(view, crc), size + view.nbytes
            write_all(fd, view)
        os.fsync(fd)
        return Written((size,), (crc,), (os.fstat(fd).st_mtime_ns,))
    finally:
        os.close(fd)


def _join(parts: Sequence[Written]) -> Written:
    return Written(
        sizes=tuple(size for part in parts for size in part.sizes),
        crc32=tuple(crc for part in parts for crc in part.crc32),
        mtime_ns=tuple(mtime for part in parts for mtime in part.mtime_ns),
    )


def _has_sizes(paths: Sequence[Path], sizes: tuple[int, ...]) -> bool:
    if not all(is_plain_file(path) for path in paths):
        return False
    return tuple(path.lstat().st_size for path in paths) == sizes


def _read_written(paths: Sequence[Path]) -> Written:
    """Return what files on the disk are, reading every byte."""
    stats = [path.lstat() for path in paths]
    return Written(
        sizes=tuple(one.st_size for one in stats),
        crc32=tuple(crc32_file(path) for path in paths),
        mtime_ns=tuple(one.st_mtime_ns for one in stats),
    )


def _crc32_of(pieces: Iterable[BytesLike]) -> int:
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    return crc
