"""List the videos of a folder."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import CatalogError, SampleRejectedError
from medassets.storage.unreadable import unreadable_as_rejection

VIDEO_EXTENSIONS = (
    "mp4", "m4v", "mov", "qt", "mkv", "webm", "avi", "divx", "flv", "f4v", "wmv", "asf", "mpg",
    "mpeg", "m2v", "vob", "ts", "mts", "m2ts", "3gp", "3g2", "ogv", "ogm", "rm", "rmvb", "mxf",
    "gif",
)  # fmt: skip
"""Extensions of video files; case is ignored."""

_EXTENSION = re.compile(rf"\.(?:{'|'.join(VIDEO_EXTENSIONS)})\Z", re.IGNORECASE)
# Files that yt-dlp leaves if it is stopped before or while it merges video and audio.
_PARTIAL = re.compile(r"\.(?:f\d{2,4}(?:-\w+)?|temp|tmp|part|partial)\Z")


def list_videos(folder: Path) -> dict[str, "VideoFile"]:
    """Return all videos below a folder, by path inside it with forward slashes, sorted.

    Hidden and partial files are omitted, as are links out of the folder; linked folders are not
    searched.

    Raises:
        CatalogError: If the folder, or one below it, cannot be read.
    """
    prefix = len(str(folder).rstrip("/")) + 1
    return dict(sorted((path[prefix:], file) for path, file in _iter_files(folder)))


def find_links_out(folder: Path) -> "LinksOut":
    """Return the links that `list_videos` does not follow, by path inside the folder, sorted.

    Raises:
        CatalogError: If the folder, or one below it, cannot be read.
    """
    top, prefix = folder.resolve(), len(str(folder).rstrip("/")) + 1
    found: dict[str, list[str]] = {"files": [], "broken": [], "folders": []}
    for entry in _iter_entries(folder):
        if not entry.is_symlink() or entry.name.startswith("."):
            continue
        if (kind := _judge_link(entry, top)) is not None:
            found[kind].append(entry.path[prefix:])
    return LinksOut(*(tuple(sorted(found[name])) for name in ("files", "broken", "folders")))


def _judge_link(entry: os.DirEntry[str], top: Path) -> str | None:
    """Return the field of `LinksOut` for a link, None if it is not one of them."""
    try:
        if entry.is_dir():
            return None if _is_inside(entry, top) else "folders"
        if not _is_video(entry.name):
            return None
        if Path(entry.path).exists():
            return None if _is_inside(entry, top) else "files"
    except OSError:
        # A circular link, or a folder without permission, which `list_videos` reports.
        return None
    return "broken"


def strip_extension(name: str) -> str:
    """Return a file name without the extension of a video; any other extension stays."""
    return _EXTENSION.sub("", name)


def _is_video(name: str) -> bool:
    stem = strip_extension(name)
    return stem not in (name, "") and not name.startswith(".") and not _PARTIAL.search(stem)


def _iter_files(folder: Path) -> Iterator[tuple[str, "VideoFile"]]:
    top = folder.resolve()
    for entry in _iter_entries(folder):
        if _is_video(entry.name) and (file := _look_at(entry, top)) is not None:
            yield entry.path, file


def _look_at(entry: os.DirEntry[str], top: Path) -> "VideoFile | None":
    """Return size and time of a file, None if it is not in the folder."""
    try:
        # A download may remove its file in the meantime.
        with suppress(FileNotFoundError), unreadable_as_rejection():
            if entry.is_file() and _is_inside(entry, top):
                stat = entry.stat()
                return VideoFile(stat.st_size, stat.st_mtime_ns)
    except SampleRejectedError as error:
        return VideoFile(0, 0, error)
    return None


def _iter_entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything except folders; hidden folders are omitted."""
    waiting = [str(folder)]
    while waiting:
        for entry in _read_folder(waiting.pop()):
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif not entry.name.startswith("."):
                waiting.append(entry.path)


def _read_folder(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        msg = f"{folder}: the folder of videos cannot be read ({error.strerror})"
        raise CatalogError(msg) from error


def _is_inside(entry: os.DirEntry[str], top: Path) -> bool:
    return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(top)


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video in the folder.

    Attributes:
        num_bytes: Its size.
        mtime_ns: Time of its last change.
        rejection: Why its size and time cannot be read (they are 0 then).
    """

    num_bytes: int
    mtime_ns: int
    rejection: SampleRejectedError | None = None


@dataclass(frozen=True, slots=True)
class LinksOut:
    """Links that are not followed.

    Attributes:
        files: Videos outside the folder.
        broken: Names of videos whose target does not exist.
        folders: Folders outside.
    """

    files: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
