"""What a cell of a table may say to name a series: its UID, study, accession number, key, folder or file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.catalog.tree.join import Groups, JoinForms, group_names

_ELEMENTS = {
    "series_uid": "series_uid",
    "study_uid": "study_uid",
    "accession_number": "accession",
}
FORMS = (*_ELEMENTS, "key", "folder", "path")
"""What cells may be, in the order in which they are tried."""

HINT = "a SeriesInstanceUID, StudyInstanceUID or AccessionNumber, a sample key, or the folder or path of a file"

Named = Iterator[tuple[str, str, str]]


def make_forms(stacks: Mapping[str, Stack] | None = None) -> JoinForms:
    """Return what cells may be.

    Args:
        stacks: Key -> volume; cells are compared with them by key.
    """
    found = stacks or {}

    def by_element(name: str) -> Callable[[Sequence[str]], Groups]:
        return lambda keys: _collect(_name_by_element(found, keys, name))

    namers = {form: by_element(name) for form, name in _ELEMENTS.items()}
    namers["key"] = lambda keys: _collect((key, key, key) for key in keys)
    namers["folder"] = lambda keys: _collect(_name_by_folder(found, keys), as_path=True)
    namers["path"] = lambda keys: _collect(_name_by_path(found, keys), as_path=True)
    return JoinForms(namers, HINT, shows_cells=False, noun="volume")


def _collect(named: Iterable[tuple[str, str, str]], *, as_path: bool = False) -> Groups:
    """Group volumes; a cell that is a path may begin above the source."""
    return Groups(group_names(named), _list_ends if as_path else lambda cell: [cell.strip()])


def _list_ends(cell: str) -> list[str]:
    parts = cell.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _name_by_element(stacks: Mapping[str, Stack], keys: Sequence[str], name: str) -> Named:
    """Name volumes by an element that all slices state alike; those of one value belong together."""
    for key in keys:
        values = {header[name].strip() for header in stacks[key].headers}
        if len(values) == 1 and "" not in values:
            (value,) = values
            yield value, value, key


def _name_by_folder(stacks: Mapping[str, Stack], keys: Sequence[str]) -> Named:
    """Name volumes by folders that hold all their files: by name, and by path."""
    for key in keys:
        folders = {file.folder for file in stacks[key].slices}
        common = set[PurePosixPath].intersection(*map(_list_folders, folders))
        for folder in common:
            yield folder.name, str(folder), key
            if len(folder.parts) > 1:
                yield str(folder), str(folder), key


def _list_folders(folder: str) -> set[PurePosixPath]:
    path = PurePosixPath(folder)
    return {path, *path.parents} - {PurePosixPath(".")}


def _name_by_path(stacks: Mapping[str, Stack], keys: Sequence[str]) -> Named:
    """Name volumes by the paths of their files, and by names of files."""
    for key in keys:
        for file in (*stacks[key].slices, *stacks[key].copies):
            yield file.path, key, key
            if "/" in file.path:
                yield file.path.rpartition("/")[2], key, key
