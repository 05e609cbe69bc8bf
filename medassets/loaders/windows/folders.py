"""Finds window files of other tools: `<dataset>/processed/<case>/windows/<file>`."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.loaders.windows.dense_masks import DenseMask, open_dense_mask
from medassets.loaders.windows.point_lists import PointList, open_point_list
from medassets.specs.windows import STANDARD_WINDOWS
from medassets.volumes.windows.masks import name_window_file

logger = logging.getLogger(__name__)

_STEMS = {
    name: name_window_file(window).removesuffix(".npy") for name, window in STANDARD_WINDOWS.items()
}
_METADATA = "metadata.csv"
_PROCESSED = "processed"
_WINDOWS = "windows"
_STEM = re.compile(r"(?P<name>.+)_w-?[0-9.]+_l-?[0-9.]+")
# If both exist, distances replace a mask, as in later versions of the public loader; a mask is
# faster to read than the list made of it.
_ENDINGS = (".npz", ".npy", "_sparse.npz")


@dataclass(frozen=True)
class Case:
    """One case of a folder.

    Attributes:
        dataset_root: Folder of the dataset.
        folder: Folder of the case, named as the case.
        path: File of the window, None if the case lacks it.
        metadata: Row of the dataset's table.
    """

    dataset_root: Path
    folder: Path
    path: Path | None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> DenseMask | PointList:
        """Read the header of the file.

        Raises:
            WindowFileError: If it cannot be read.
        """
        assert self.path is not None
        return (
            open_dense_mask(self.path) if self.path.suffix == ".npy" else open_point_list(self.path)
        )


def find_cases(root: Path, window: str) -> list[Case]:
    """Return the cases of a folder, sorted by name.

    A folder named `processed` holds cases. Otherwise every `processed` folder beside a `metadata.csv`
    below the root does; without any, the root's own `processed`, or the root itself.

    Args:
        root: The folder.
        window: Name of the window.
    """
    if root.name == _PROCESSED:
        return _find_in(root, root.parent, window)
    tables = [t for t in _find_tables(root) if (t.parent / _PROCESSED).is_dir()]
    if not tables:
        processed = root / _PROCESSED
        return _find_in(processed if processed.is_dir() else root, root, window)
    return [
        case
        for table in tables
        for case in _find_in(table.parent / _PROCESSED, table.parent, window, _read_table(table))
    ]


def holds_cases(root: Path) -> bool:
    """Return whether a folder, or one below it, holds cases."""
    if root.name == _PROCESSED or (root / _PROCESSED).is_dir() or (root / _METADATA).exists():
        return True
    if any((folder / _WINDOWS).is_dir() for folder in root.iterdir()):
        return any(root.glob("*/windows/*.np[yz]"))
    return any((table.parent / _PROCESSED).is_dir() for table in _find_tables(root))


def list_windows(root: Path) -> set[str]:
    """Return the names of all windows of the cases of a folder."""
    names: set[str] = set()
    for case in find_cases(root, ""):
        for path in case.folder.glob("windows/*.np[yz]"):
            match = _STEM.fullmatch(path.name.removesuffix(path.suffix).removesuffix("_sparse"))
            if match:
                names.add(match["name"])
    return names


def _find_tables(root: Path) -> Iterator[Path]:
    """Yield every `metadata.csv` below a folder; links are followed, each folder once."""
    seen: set[str] = set()
    for name, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # There are many cases, and a table inside one is not the dataset's.
        inside = [] if _WINDOWS in folders and Path(name).parent.name == _PROCESSED else folders
        folders[:] = sorted(f for f in inside if not f.startswith("."))
        if _METADATA in files:
            yield Path(name, _METADATA)


def _find_in(
    processed: Path,
    dataset_root: Path,
    window: str,
    rows: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Case]:
    folders = sorted(path for path in processed.iterdir() if path.is_dir())
    return [
        Case(dataset_root, folder, _find_file(folder, window), (rows or {}).get(folder.name, {}))
        for folder in folders
        # A folder among the cases that has cases itself is another dataset.
        if not folder.name.startswith(".") and not (folder / _PROCESSED).is_dir()
    ]


def _find_file(folder: Path, window: str) -> Path | None:
    stem = _STEMS.get(window)
    for ending in _ENDINGS if window else ():
        if stem is not None:
            paths = [folder / "windows" / f"{stem}{ending}"]
        else:
            listed = sorted(folder.glob(f"windows/{_escape(window)}_w*_l*{ending}"))
            paths = [p for p in listed if _is_named(p.name.removesuffix(ending), window)]
        for path in paths:
            if path.exists():
                return path
    return None


def _is_named(stem: str, window: str) -> bool:
    match = _STEM.fullmatch(stem)
    return match is not None and match["name"] == window


def _escape(text: str) -> str:
    """Return a glob pattern that matches exactly this text."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _read_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return rows by case; an unreadable table only loses the metadata of its cases."""
    import pandas as pd

    try:
        # Case ids are text: 001 is not 1.
        table = pd.read_csv(path, dtype={"case_id": str})
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be read, its cases have no metadata: %s", path, error)
        return {}
    if "case_id" not in table.columns:
        return {}
    return {row["case_id"]: row for row in reversed(table.to_dict("records"))}
