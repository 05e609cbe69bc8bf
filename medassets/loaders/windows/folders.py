"""Where old preprocessing left its windows: `<dataset>/processed/<case>/windows/<file>`."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.loaders.windows.dense import DenseFile, open_dense
from medassets.loaders.windows.listed import ListedFile, open_listed
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
# Distances replace a mask where there are both, as in later versions of the public loader; a mask is
# quicker to read than the list made of it.
_ENDINGS = (".npz", ".npy", "_sparse.npz")


@dataclass(frozen=True)
class FoundCase:
    """One case of a folder.

    Attributes:
        dataset_root: Folder of the dataset.
        folder: Folder of the case; its name is the case's.
        path: File of the window, None where there is none.
        metadata: Its row of the dataset's table.
    """

    dataset_root: Path
    folder: Path
    path: Path | None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> DenseFile | ListedFile:
        """Read the header of the file.

        Raises:
            WindowFileError: If it cannot be read.
        """
        assert self.path is not None
        return open_dense(self.path) if self.path.suffix == ".npy" else open_listed(self.path)


def find_cases(root: Path, window: str) -> list[FoundCase]:
    """Return the cases of a folder, in the order of their names.

    A folder `processed` holds cases; else every `metadata.csv` below that stands beside a `processed`
    folder says that this one does; without any, the folder's own `processed`, or the folder itself.

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
    """Return whether something in a folder says that it, or a folder below, holds cases."""
    if root.name == _PROCESSED or (root / _PROCESSED).is_dir() or (root / _METADATA).exists():
        return True
    if any((folder / _WINDOWS).is_dir() for folder in root.iterdir()):
        return any(root.glob("*/windows/*.np[yz]"))
    return any((table.parent / _PROCESSED).is_dir() for table in _find_tables(root))


def list_windows(root: Path) -> set[str]:
    """Return the names of all windows that cases of a folder have."""
    names: set[str] = set()
    for case in find_cases(root, ""):
        for path in case.folder.glob("windows/*.np[yz]"):
            match = _STEM.fullmatch(path.name.removesuffix(path.suffix).removesuffix("_sparse"))
            if match:
                names.add(match["name"])
    return names


def _find_tables(root: Path) -> Iterator[Path]:
    """Yield every `metadata.csv` below a folder; links are followed, but not in circles."""
    seen: set[str] = set()
    for name, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # Cases are many, and their tables none of the dataset's.
        inside = [] if _WINDOWS in folders and Path(name).parent.name == _PROCESSED else folders
        folders[:] = sorted(f for f in inside if not f.startswith("."))
        if _METADATA in files:
            yield Path(name, _METADATA)


def _find_in(
    processed: Path,
    dataset_root: Path,
    window: str,
    rows: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[FoundCase]:
    folders = sorted(path for path in processed.iterdir() if path.is_dir())
    return [
        FoundCase(
            dataset_root, folder, _find_file(folder, window), (rows or {}).get(folder.name, {})
        )
        for folder in folders
        # What stands among cases and has cases of its own is another dataset.
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
    """Return a pattern that finds this very text."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _read_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return rows by case; a table that cannot be read costs the rows, not the cases."""
    import pandas as pd

    try:
        # Cases are names: 001 is not 1.
        table = pd.read_csv(path, dtype={"case_id": str})
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be read, its cases have no metadata: %s", path, error)
        return {}
    if "case_id" not in table.columns:
        return {}
    return {row["case_id"]: row for row in reversed(table.to_dict("records"))}
