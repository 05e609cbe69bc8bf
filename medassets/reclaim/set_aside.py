"""Moves files into a hidden folder beside them, so that they are deleted together, or put back.

A rename is all that happens to a file until all are moved, so a kill at any instant leaves each file in
one of two places of one folder.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from medassets.reclaim.source_files import FileStat
from medassets.storage.atomic import fsync_folder
from medassets.storage.ownership import is_plain_file

_MODE = 0o700


def move_aside(places: Sequence[Path], name: str) -> list[Path]:
    """Move files into new folders of one name, each beside its files; return where they are now.

    Args:
        places: The files.
        name: Name of the folders.

    Raises:
        OSError: If a file cannot be moved, or there is such a folder; some files are moved then.
    """
    moved: dict[Path, Path] = {}
    # By folder first: else files of a folder would be on both sides of those of a folder in it.
    ordered = sorted(places, key=lambda place: (place.parent, place.name))
    by_folder = groupby(ordered, key=lambda place: place.parent)
    for folder, group in by_folder:
        aside = folder / name
        aside.mkdir(_MODE)
        for place in group:
            moved[place] = place.replace(aside / place.name)
        fsync_folder(aside)
        fsync_folder(folder)
    return [moved[place] for place in places]


def iter_aside(top: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield the folders of some names below a folder, but not those in other hidden folders.

    No source lists hidden folders, so an aside in one is a copy that somebody else made.
    """
    for folder, below, _ in os.walk(top):
        yield from (Path(folder, name) for name in names if name in below)
        below[:] = [name for name in below if not name.startswith(".")]


def put_back(aside: Path) -> bool:
    """Move all files of a folder back, and remove it; return whether none is left in it.

    A file of which the name was taken meanwhile stays where it is.

    Raises:
        OSError: If a file cannot be moved, or the folder cannot be removed.
    """
    names = [moved.name for moved in sorted(aside.iterdir())]
    back = [name for name in names if _name_again(aside / name)]
    # Durable under the old name before it loses the other.
    fsync_folder(aside.parent)
    for name in back:
        (aside / name).unlink(missing_ok=True)
    fsync_folder(aside)
    if len(back) == len(names):
        aside.rmdir()
        fsync_folder(aside.parent)
    return len(back) == len(names)


def delete_aside(aside: Path) -> None:
    """Delete all files of a folder, and the folder.

    Raises:
        OSError: If one cannot be deleted, or there is something else in the folder.
    """
    for moved in sorted(aside.iterdir()):
        if is_plain_file(moved):
            moved.unlink()
    fsync_folder(aside)
    aside.rmdir()
    fsync_folder(aside.parent)


def _name_again(moved: Path) -> bool:
    """Give a file its name in the folder above again, and never that of another; return whether it has it."""
    place = moved.parent.parent / moved.name
    try:
        os.link(moved, place, follow_symlinks=False)
    except FileExistsError:
        # A kill between link and unlink leaves the file under both names.
        return FileStat.of(place.lstat()) == FileStat.of(moved.lstat())
    except OSError:
        # No hard links on this filesystem, or not to files of others.
        if os.path.lexists(place):
            return False
        moved.rename(place)
    return True
