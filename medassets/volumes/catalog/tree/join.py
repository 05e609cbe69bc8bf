"""Which row of a table is about which file of a tree: by one kind of name, and never by a guess."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable
from medassets.volumes.catalog.tree.names import name_case, strip_ending

_MOST_SHOWN = 3
# Marks a name that is the whole of a path; no path has this character.
_WHOLE = "\0"
_CELL_ENDINGS = (".npz", ".nrrd", ".mha", ".mhd", ".dcm")


@dataclass(frozen=True)
class Groups:
    """Groups of files by the names that a cell may have for them.

    Attributes:
        by_name: Name -> groups of paths: more than one group is ambiguous.
        names_of: Returns the names to look a cell up by, the longest first.
    """

    by_name: Mapping[str, Sequence[Sequence[str]]]
    names_of: Callable[[str], Iterable[str]]

    def find(self, cell: str) -> Sequence[Sequence[str]]:
        """Return the groups that a cell names."""
        names = self.names_of(cell) if cell else ()
        return next((self.by_name[name] for name in names if name in self.by_name), ())


@dataclass(frozen=True)
class JoinForms:
    """What a cell that names volumes may be.

    Attributes:
        namers: Form -> function that groups paths by the names that a cell of this form has for them; in the order in
            which forms are tried.
        hint: The forms, in words.
        shows_cells: Whether messages show cells; those of DICOM identify people.
        noun: What is joined, for people.
    """

    namers: Mapping[str, Callable[[Sequence[str]], Groups]]
    hint: str
    shows_cells: bool = True
    noun: str = "file"

    def show(self, cell: str) -> str:
        """Return a cell for a message."""
        return repr(cell) if self.shows_cells else "its cell"


@dataclass(frozen=True)
class Join:
    """How the rows of a table and the files of a tree belong together.

    Attributes:
        form: Which of `JoinForms.namers` the cells are.
        row_of: Path -> index of its row.
        ambiguous: Path -> why it is not certain which row is about it.
        conflicts: Path -> how the rows that are about it differ.
        unmatched: Indices of rows that name no file.
        repeats: Index of a row -> index of an equal row before it.
    """

    form: str
    row_of: Mapping[str, int] = field(repr=False)
    ambiguous: Mapping[str, str] = field(default_factory=dict)
    conflicts: Mapping[str, str] = field(default_factory=dict)
    unmatched: Sequence[int] = ()
    repeats: Mapping[int, int] = field(default_factory=dict)

    @property
    def num_uncertain(self) -> int:
        """Files of which it is not certain which row is about them."""
        return len({*self.ambiguous, *self.conflicts})

    @property
    def num_rows(self) -> int:
        """Rows that are about a file, for certain."""
        return len(set(self.row_of.values()))


def join_table(
    table: CsvTable,
    column: str,
    paths: Sequence[str],
    *,
    form: str = "",
    may_miss: bool = False,
    forms: "JoinForms | None" = None,
) -> Join:
    """Find the row of each file.

    Args:
        table: The table.
        column: Column that names files.
        paths: Paths of the files.
        form: Which form the cells have; empty takes the one that finds most files.
        may_miss: Accept a table of which no row names a file: files may have been deleted.
        forms: What cells may be; None is `PATH_FORMS`.

    Raises:
        CatalogError: If no row names a file, or two forms name different ones.
    """
    forms = forms or PATH_FORMS
    cells = [normalise_cell(cell) for cell in table.column(column)]
    joins = [_join(table, cells, paths, one, forms) for one in forms.namers if one == (form or one)]
    best = max(joins, key=lambda join: (len(join.row_of), join.num_uncertain))
    is_strange = not best.row_of and not best.num_uncertain
    if paths and table.rows and is_strange and not may_miss:
        raise _refuse_strangers(table, column, paths, forms)
    for other in joins:
        if (row := _find_difference(best, other)) is not None:
            msg = (
                f"{table.path}, row {table.row_numbers[row]}, column {column}: {forms.show(cells[row])} is the "
                f"{best.form} of one {forms.noun} and the {other.form} of another; declare which is meant, "
                f"`join_by: {best.form}` or `join_by: {other.form}`"
            )
            raise CatalogError(msg)
    return best


def normalise_cell(cell: str) -> str:
    """Return a cell that names a file as a path with forward slashes, without `./` and ends of `/`."""
    parts = [part for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts)


def _join(
    table: CsvTable, cells: Sequence[str], paths: Sequence[str], form: str, forms: JoinForms
) -> Join:
    groups = forms.namers[form](paths)
    ambiguous: dict[str, str] = {}
    rows_of: dict[str, list[int]] = {}
    unmatched: list[int] = []
    for index, cell in enumerate(cells):
        found = groups.find(cell)
        if not found:
            unmatched.append(index)
        elif len(found) > 1:
            names = sorted(path for members in found for path in members)
            what = f"{forms.show(cell)} names {_shorten(names)}"
            where = f"{table.path}, row {table.row_numbers[index]}"
            ambiguous |= dict.fromkeys(names, f"{where}: {what}, and nothing says which")
        else:
            for path in found[0]:
                rows_of.setdefault(path, []).append(index)
    row_of, conflicts, repeats = _choose_rows(table, rows_of)
    return Join(
        form=form,
        row_of={path: row for path, row in row_of.items() if path not in ambiguous},
        ambiguous=ambiguous,
        conflicts=conflicts,
        unmatched=unmatched,
        repeats=repeats,
    )


def _choose_rows(
    table: CsvTable, rows_of: Mapping[str, Sequence[int]]
) -> tuple[dict[str, int], dict[str, str], dict[int, int]]:
    row_of: dict[str, int] = {}
    conflicts: dict[str, str] = {}
    repeats: dict[int, int] = {}
    for path, (first, *others) in rows_of.items():
        different = [row for row in others if table.rows[row] != table.rows[first]]
        if different:
            numbers = f"{table.row_numbers[first]} and {table.row_numbers[different[0]]}"
            what = f"{table.path}: rows {numbers} are about {path} but differ"
            conflicts[path] = f"{what}; correct or remove one of them"
            continue
        row_of[path] = first
        repeats |= dict.fromkeys(others, first)
    return row_of, conflicts, repeats


def _find_difference(best: Join, other: Join) -> int | None:
    """Return a row that is about different files in two forms; None where there is none."""
    files, others = _group_files(best), _group_files(other)
    for row in files.keys() & others.keys():
        # By folder, a row may be about more files than by the name of one of them.
        if not (files[row] <= others[row] or others[row] <= files[row]):
            return row
    return None


def _group_files(join: Join) -> dict[int, set[str]]:
    files: dict[int, set[str]] = {}
    for path, row in join.row_of.items():
        files.setdefault(row, set()).add(path)
    return files


def _refuse_strangers(
    table: CsvTable, column: str, paths: Sequence[str], forms: JoinForms
) -> CatalogError:
    cells = [cell for cell in table.column(column) if cell]
    shown = f": cells such as {_shorten(cells)}, files such as {_shorten(paths)}"
    return CatalogError(
        f"{table.path}, column {column}: no row names a {forms.noun}{shown * forms.shows_cells}; a cell may be {forms.hint}"
    )


def _shorten(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def group_names(named: Iterable[tuple[str, str, str]]) -> dict[str, list[list[str]]]:
    """Group paths: of (name, group, path), those of one group belong together."""
    groups: dict[str, dict[str, list[str]]] = {}
    for name, group, path in named:
        groups.setdefault(name, {}).setdefault(group, []).append(path)
    return {name: list(found.values()) for name, found in groups.items()}


def _strip_cell(cell: str) -> str:
    for ending in _CELL_ENDINGS:
        if cell.lower().endswith(ending):
            return cell[: -len(ending)]
    return strip_ending(cell)


def _by_path(paths: Sequence[str]) -> Groups:
    """A cell is the path, its end from some folder on, or a longer path that ends with the whole."""
    named: list[tuple[str, str, str]] = []
    for path in paths:
        whole, *ends = _list_ends(strip_ending(path))
        named.append((_WHOLE + whole, path, path))
        named += [(end, path, path) for end in (whole, *ends) if "/" in end]

    def names_of(cell: str) -> list[str]:
        stem = _strip_cell(cell)
        return [stem, *(_WHOLE + end for end in _list_ends(stem))] if "/" in stem else []

    return Groups(group_names(named), names_of)


def _list_ends(path: str) -> list[str]:
    """Return the path and its ends, the longest first."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _by_name(paths: Sequence[str]) -> Groups:
    return Groups(group_names((path.rpartition("/")[2], path, path) for path in paths), _last_part)


def _by_stem(paths: Sequence[str]) -> Groups:
    named = ((strip_ending(path).rpartition("/")[2], path, path) for path in paths)
    return Groups(group_names(named), lambda cell: _last_part(_strip_cell(cell)))


def _by_case(paths: Sequence[str]) -> Groups:
    """Channels of a case are about one thing, where they are in one folder."""
    named: list[tuple[str, str, str]] = []
    for path in paths:
        folder, _, stem = strip_ending(path).rpartition("/")
        if name_case(stem) != stem:
            named.append((name_case(stem), folder, path))
    return Groups(group_names(named), lambda cell: _last_part(_strip_cell(cell)))


def _by_folder(paths: Sequence[str]) -> Groups:
    """A cell is a folder's path, or the name of one; all volumes in it are about one thing."""
    named: list[tuple[str, str, str]] = []
    for path in paths:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            named.append((parts[depth - 1], folder, path))
            if depth > 1:
                named.append((folder, folder, path))
    return Groups(group_names(named), lambda cell: [cell])


def _last_part(cell: str) -> list[str]:
    return [cell.rpartition("/")[2]]


PATH_FORMS = JoinForms(
    {
        "path": _by_path,
        "name": _by_name,
        "stem": _by_stem,
        "case": _by_case,
        "folder": _by_folder,
    },
    "a path, a file's name, its name without ending or channel, or its folder",
)
"""What a cell may be where volumes are files: a path, a file's name, its name without ending, without a channel
such as `_0000`, or a folder."""
