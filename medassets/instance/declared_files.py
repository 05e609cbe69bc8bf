"""Where declarations of datasets are: the shipped ones, those of the home, and the user's own."""

import os
from collections.abc import Callable
from pathlib import Path

from medassets.errors import UsageError
from medassets.storage.paths import declarations_home

DECLARATION = "defs.yaml"
"""Name of a file of declarations."""

_SHIPPED = Path(__file__).parents[1] / "defs"


def declaration_folders() -> list[Path]:
    """Return the shipped declarations and the user's own.

    `MEDASSETS_DEFS` names folders of `<dataset>/defs.yaml`, parted as in PATH, so that a dataset
    can be added to an installed package by YAML alone. `$MEDASSETS_HOME/defs`, where `medassets init`
    writes, is searched as well, once it holds a declaration.

    Raises:
        UsageError: If one is a URL.
    """
    named = os.environ.get("MEDASSETS_DEFS", "")
    if "://" in named:
        what = f"expected folders of this machine, got the URL {named!r}"
        raise UsageError(field="MEDASSETS_DEFS", what=what)
    own = [Path(folder).expanduser().absolute() for folder in named.split(os.pathsep) if folder]
    home = declarations_home()
    is_named = any(home.resolve().is_relative_to(folder.resolve()) for folder in own)
    if not is_named and find_declarations(home):
        own.append(home)
    return [_SHIPPED, *own]


def find_declarations(
    folder: Path, on_error: Callable[[OSError], None] | None = None
) -> list[Path]:
    """Return everything named `defs.yaml` below a folder, sorted; links that lead nowhere as well.

    Args:
        folder: Where to look; links to folders below it are not followed.
        on_error: Told of folders that cannot be read.
    """
    return sorted(
        Path(place) / DECLARATION
        for place, folders, files in os.walk(folder, onerror=on_error)
        if DECLARATION in folders or DECLARATION in files
    )
