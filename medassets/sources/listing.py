"""What a source holds, without a table that says so: files with certain endings, below a folder."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from medassets.errors import CatalogError, Reason
from medassets.samples import ListedFile, Listing
from medassets.storage.paths import check_member_path, show_path
from medassets.storage.unreadable import explain_unreadable


def has_ending(name: str, endings: Sequence[str]) -> bool:
    """Tell whether a file's name has one of some endings, in any case."""
    return name.lower().endswith(tuple(endings))


def list_folder(top: Path, under: str, endings: Sequence[str]) -> Listing:
    """List the files below a folder. Links to files are judged, links to folders are not entered.

    A link out of the source does not belong to it, a pipe or device is never opened. A link to a
    folder of the source is passed over: its files are listed where they are.

    Args:
        top: Root folder of the source.
        under: Folder inside it; empty means the root.
        endings: Wanted endings, in lower case.

    Raises:
        CatalogError: If there is no such folder, or a folder below it cannot be listed.
    """
    start = top / under if under else top
    if not start.is_dir():
        msg = f"{start}: the folder does not exist, or is no folder"
        raise CatalogError(msg)
    root = Path(os.path.realpath(top))
    files: list[ListedFile] = []
    hidden: list[str] = []
    num_others, folders = 0, [start]
    while folders:
        for entry in _scan(folders.pop()):
            path = Path(entry.path).relative_to(top).as_posix()
            if entry.is_dir(follow_symlinks=False):
                if entry.name.startswith("."):
                    hidden.append(show_path(path))
                else:
                    folders.append(Path(entry.path))
            elif entry.is_symlink() and Path(entry.path).is_dir():
                files += _judge_linked_folder(entry, path, root)
            elif has_ending(entry.name, endings):
                files.append(_judge_file(entry, path, root))
            else:
                num_others += 1
    by_path = sorted(files, key=lambda file: file.path)
    return Listing(tuple(by_path), num_others, tuple(sorted(hidden)))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        msg = f"{show_path(str(folder))}: cannot be listed ({error.strerror}); make it readable"
        raise CatalogError(msg) from error


def _judge_linked_folder(entry: os.DirEntry[str], path: str, root: Path) -> list[ListedFile]:
    if _is_inside(entry, root):
        return []
    what = "a link to a folder out of the source, which is not entered; declare that folder instead"
    problem = (Reason.MISSING_SOURCE, f"{show_path(path)}: {what}")
    return [ListedFile(show_path(path), is_link=True, problem=problem)]


def _judge_file(entry: os.DirEntry[str], path: str, root: Path) -> ListedFile:
    shown, is_link = show_path(path), entry.is_symlink()
    try:
        check_member_path(path)
        found = entry.stat()
    except CatalogError as error:
        return ListedFile(shown, is_link=is_link, problem=(Reason.BAD_NAME, str(error)))
    except FileNotFoundError:
        what = "a link to a file that does not exist" if is_link else "vanished meanwhile"
        problem = (Reason.MISSING_SOURCE, f"{shown}: {what}")
        return ListedFile(shown, is_link=is_link, problem=problem)
    except OSError as error:
        if (rejection := explain_unreadable(error)) is None:
            raise
        problem = (rejection.reason, f"{shown}: {rejection.detail}")
        return ListedFile(shown, is_link=is_link, problem=problem)
    problem = None
    if not stat.S_ISREG(found.st_mode):
        # Reading a pipe would block.
        problem = (Reason.UNREADABLE_SOURCE, f"{shown}: not a regular file")
    elif is_link and not _is_inside(entry, root):
        problem = (Reason.MISSING_SOURCE, f"{shown}: a link that leads out of the source")
    identity = f"{found.st_dev}:{found.st_ino}"
    return ListedFile(shown, identity, is_link, problem)


def _is_inside(entry: os.DirEntry[str], root: Path) -> bool:
    # `Path.resolve` raises for a link to itself.
    return Path(os.path.realpath(entry.path)).is_relative_to(root)
