"""`build --output-dir`: the folder of a split's shards and manifest, wherever the user wants it.

The split's folder in the home becomes a link to it, so that every later command and the UI find it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from medassets.datasets.workspace import Workspace
from medassets.errors import UsageError
from medassets.storage.checksums import parse_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.paths import local_path, show_path
from medassets.storage.unreadable import read_regular

_OPTION = "--output-dir"


def place_output(workspace: Workspace, output_dir: str, splits: Sequence[str]) -> dict[str, Path]:
    """Make the folders of splits links to the user's folder.

    Args:
        workspace: The dataset, at the stage to train on.
        output_dir: The folder: of one split itself, else with a folder for each split in it.
        splits: The splits that are built; empty means all of the declaration.

    Returns:
        Split -> folder of its shards.

    Raises:
        UsageError: If a split has shards elsewhere, or the folder holds files of others.
    """
    top = local_path(Path(output_dir).expanduser(), field=_OPTION)
    chosen = tuple(splits) or workspace.kind.spec.splits
    places = {split: top if len(chosen) == 1 else top / split for split in chosen}
    for split, place in places.items():
        _check_link(workspace.paths.split_folder(split), place, split)
        _check_content(workspace, place, split)
    for split, place in places.items():
        _link(workspace.paths.split_folder(split), place)
    return places


def _check_link(link: Path, place: Path, split: str) -> None:
    """Refuse a split whose shards are in another folder."""
    if link.is_symlink():
        if os.path.realpath(link) != os.path.realpath(place):
            what = f"the shards of {split} are in {os.path.realpath(link)} already; leave the option out"
            raise UsageError(field=_OPTION, what=what)
    elif link.is_dir() and any(link.iterdir()):
        what = (
            f"{split} is built in {link} already: leave the option out, or move it there first: "
            f"mv {link} {show_path(str(place))} && ln -s {show_path(str(place))} {link}"
        )
        raise UsageError(field=_OPTION, what=what)


def _check_content(workspace: Workspace, place: Path, split: str) -> None:
    """Refuse a folder that holds something else than this split.

    A shard never replaces a file of others, but a folder of several owners has no manifest that is right.
    """
    if os.path.lexists(place) and not place.is_dir():
        raise UsageError(field=_OPTION, what=f"{show_path(str(place))} is no folder")
    entries = place.iterdir() if place.is_dir() else ()
    names = [entry.name for entry in entries if not entry.name.startswith(".")]
    link = workspace.paths.split_folder(split)
    if names and not (link.is_symlink() and link.resolve() == place.resolve()):
        owner = _read_owner(place / "manifest.json")
        if owner != (workspace.kind.spec.name, split):
            what = f"{show_path(str(place))} is not empty ({names[0]}); name a new or empty folder"
            raise UsageError(field=_OPTION, what=what)


def _read_owner(manifest: Path) -> tuple[str, str] | None:
    """Return dataset and split of a manifest; None where there is none."""
    try:
        document = parse_json(read_regular(manifest))
        return document["dataset"], document["split"]
    except (OSError, *MALFORMED):
        return None


def _link(link: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        return
    if link.is_dir():
        link.rmdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(place, target_is_directory=True)
