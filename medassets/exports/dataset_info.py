"""`dataset_info.json`: which folders of samples belong to which split."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from medassets.errors import CatalogError, UsageError
from medassets.storage.checksums import parse_json
from medassets.storage.foreign_bytes import read_table, refusing_foreign
from medassets.storage.paths import show_path

NAME = "dataset_info.json"
SPLITS = ("train", "val", "test")


def encode_dataset_info(splits: Mapping[str, Sequence[str]]) -> bytes:
    """Return the file's content, one folder a line; the three splits are always there."""
    document = {split: list(splits.get(split, ())) for split in dict.fromkeys([*SPLITS, *splits])}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def check_absolute(folder: Path, *, field: str) -> None:
    """Check that entries can name folders in this one by absolute paths.

    Args:
        folder: Folder of samples.
        field: Option that names it, for the message.

    Raises:
        UsageError: If its path is not UTF-8: no JSON holds it.
    """
    whole = str(folder.resolve())
    if not _is_name(whole):
        what = f"{show_path(whole)!r} is not UTF-8: rename the folder, or ask for --relative paths"
        raise UsageError(field=field, what=what)


def read_dataset_info(path: Path) -> dict[str, list[str]]:
    """Return split -> folders, as the file names them.

    Raises:
        CatalogError: If the file is missing, or is not three lists of names; the message has file
            and field.
    """
    with refusing_foreign(path):
        return _read(path)


def _read(path: Path) -> dict[str, list[str]]:
    try:
        document = parse_json(read_table(path).decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error})"
        raise CatalogError(msg) from error
    if not isinstance(document, dict):
        msg = f"{path}: expected an object with {', '.join(SPLITS)}, got {_quote(document)}"
        raise CatalogError(msg)
    for field in document:
        if field not in SPLITS:
            msg = f"{path}: field {field!r}: expected only {', '.join(SPLITS)}"
            raise CatalogError(msg)
    return {split: _read_split(path, split, document) for split in SPLITS}


def _read_split(path: Path, split: str, document: Mapping[str, object]) -> list[str]:
    folders = document.get(split)
    if not isinstance(folders, list):
        found = _quote(folders) if split in document else "none"
        msg = f"{path}: field {split!r}: expected a list of folder names, got {found}"
        raise CatalogError(msg)
    for index, folder in enumerate(folders):
        if not isinstance(folder, str) or not _is_name(folder):
            msg = f"{path}: field {split!r}[{index}]: expected a folder name, got {_quote(folder)}"
            raise CatalogError(msg)
    return folders


def _is_name(folder: str) -> bool:
    """Tell whether a text can be the name of a folder: no file system stores a lone surrogate."""
    return bool(folder) and "\0" not in folder and show_path(folder) == folder


def _quote(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
