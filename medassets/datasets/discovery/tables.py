"""Which table of a folder is about its volumes, and what its columns hold, judged by names and cells."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, shorten
from medassets.errors import CatalogError, UsageError
from medassets.storage.foreign_bytes import most_table_bytes, read_foreign
from medassets.storage.formats.csv_tables import CsvTable, is_decimal_comma, parse_number
from medassets.storage.formats.missing import is_missing
from medassets.storage.paths import show_path
from medassets.volumes.catalog.label_column_names import is_identifier_name, is_index_name
from medassets.volumes.catalog.tree.join import join_table, normalise_cell
from medassets.volumes.catalog.tree.names import name_case, strip_ending
from medassets.volumes.catalog.tree.split_names import read_split_name
from medassets.volumes.catalog.tree.table import parse_table

MOST_TABLES = 12

# What is parsed within a second or two; a table that the user names may have any size.
_MOST_BYTES = 24 << 20
_MOST_SHEET_BYTES = 1 << 20
_NUM_ROWS = 200
_PATIENT = re.compile(
    r"(patient|subject|participant|person|pat|subj|pid)(s?id|s?name|no|nr|number|key)?s?"
)
_SPLIT = re.compile(r"(data)?(set|split|subset|partition|fold)")
_REPORT = re.compile(
    r"(radiology|ct)?(report|findings?|impressions?|conclusions?|narrative|indication|technique|history|"
    r"clinicalinformation|clinicalhistory|comparison)(text|s|en)?"
)
_LONG_TEXT = 40
_LABEL_CELLS = frozenset({"0", "1", "0.0", "1.0", "-1", "-1.0", "true", "false"})


@dataclass(frozen=True)
class TableLook:
    """A table, and the files that its rows name.

    Attributes:
        table: The table.
        file: Column that names files; empty where none does.
        num_files: Files with a row, of the files that were listed.
        num_rows: Rows that name a file, of the first 200.
        problem: Why it cannot be used; empty if it can.
    """

    table: CsvTable
    file: str = ""
    num_files: int = 0
    num_rows: int = 0
    problem: str = ""


def read_tables(census: Census, clock: Clock, *, sheet: str = "") -> list[TableLook]:
    """Read the tables of a folder, the upper ones first; up to 12, and of each what memory allows.

    Args:
        census: The folder.
        clock: No further table is read when it is over.
        sheet: Sheet of spreadsheets.
    """
    paths = sorted(census.of("table"), key=lambda path: (path.count("/"), path))
    looks: list[TableLook] = []
    for path in paths[:MOST_TABLES]:
        if looks and clock.is_over:
            break
        most_bytes = _MOST_SHEET_BYTES if _is_sheet(path) else _MOST_BYTES
        looks.append(read_one(census.top, path, most_bytes=most_bytes, sheet=sheet))
    return looks


def _is_sheet(path: str) -> bool:
    return path.lower().endswith((".xlsx", ".xlsm"))


def read_one(top: Path, path: str, *, most_bytes: int | None = None, sheet: str = "") -> TableLook:
    """Read one table; `problem` says why it cannot be.

    Args:
        top: The folder.
        path: The table, inside it or absolute.
        most_bytes: A larger file is not read; None takes what memory allows.
        sheet: Sheet of a spreadsheet; has no effect on other tables.
    """
    try:
        most_bytes = most_table_bytes() if most_bytes is None else most_bytes
        content = read_foreign(top / path, most_bytes=most_bytes)
        return TableLook(parse_table(content, path, sheet=sheet if _is_sheet(path) else ""))
    except (CatalogError, OSError) as error:
        what = (error.strerror if isinstance(error, OSError) else str(error)) or ""
        # Errors of the content name the table themselves.
        what = what.removeprefix(path).lstrip(":, ")
        return TableLook(
            CsvTable(show_path(path), (), [], []), problem=f"{show_path(path)}: {what}"
        )


def match_table(look: TableLook, paths: Sequence[str], clock: Clock) -> TableLook:
    """Find the column of a table that names the most files, by its first 200 rows.

    Args:
        look: The table.
        paths: Files, as `join_table` takes them.
        clock: No further column is tried when it is over.
    """
    table = look.table
    head = replace(table, rows=table.rows[:_NUM_ROWS], row_numbers=table.row_numbers[:_NUM_ROWS])
    best, names = look, _collect_names(paths)
    for name in table.columns:
        if clock.is_over:
            break
        if not name or not _may_name_files(head.column(name), names):
            continue
        try:
            join = join_table(head, name, paths, may_miss=True)
        except CatalogError:
            continue
        if len(join.row_of) > best.num_files:
            best = replace(look, file=name, num_files=len(join.row_of), num_rows=join.num_rows)
    return best


def count_joined(look: TableLook, column: str, paths: Sequence[str]) -> int:
    """Return how many of the files have a row of the whole table, by one of its columns.

    Raises:
        CatalogError: If it is not certain what the cells are.
    """
    if len(look.table.rows) <= _NUM_ROWS and column == look.file:
        return look.num_files
    return len(join_table(look.table, column, paths, may_miss=True).row_of)


def show_cells(table: CsvTable, column: str = "") -> str:
    """Return a column with two of its cells; without one, that which looks most like names of things."""
    names = [name for name in table.columns if name]
    by_kinds = sorted(names, key=lambda name: -len(set(_head(table, name)) - {""}))
    column = column or next(iter(by_kinds), "")
    cells = list(dict.fromkeys(filter(None, _head(table, column)))) if column else []
    return f"column {column} with {', '.join(map(repr, cells[:2])) or 'no cell'}"


def doubt_header(table: CsvTable) -> list[str]:
    """Return a doubt where a column of cells has no name, and is no index: the header may be further down."""
    if "" not in table.columns:
        return []
    cells = [cell for cell in table.column("") if _is_given(cell)]
    start = int(cells[0]) if cells and cells[0].isdecimal() else None
    if not cells or (start is not None and cells == [str(start + n) for n in range(len(cells))]):
        return []
    return [
        f"{table.path}: a column with cells such as {', '.join(map(repr, cells[:2]))} has no name in row 1, so it is not "
        f"used; the header is row 1: remove what is above it, or name the column"
    ]


def find_decimal_commas(table: CsvTable, columns: Sequence[str]) -> dict[str, str]:
    """Return column -> a cell with a decimal comma, of columns that hold such numbers."""
    found: dict[str, str] = {}
    for name in columns:
        cells = [cell for cell in _head(table, name) if _is_given(cell)]
        commas = [cell for cell in cells if is_decimal_comma(cell)]
        if commas and all(is_decimal_comma(cell) or _is_number(cell) for cell in cells):
            found[name] = commas[0]
    return found


def doubt_decimal_commas(table: CsvTable, columns: Sequence[str]) -> list[str]:
    """Return a doubt for each column of numbers with a decimal comma; see `find_decimal_commas`."""
    return [
        f"{table.path}, column {name}: numbers with a decimal comma, such as {cell!r}, cannot be read; write "
        f"{cell.replace(',', '.')} and run init again"
        for name, cell in find_decimal_commas(table, columns).items()
    ]


def _collect_names(paths: Sequence[str]) -> set[str]:
    """Return every folder, name, stem and case of paths; a join of 50,000 paths takes a second."""
    names: set[str] = set()
    for path in paths:
        parts = path.split("/")
        stem = strip_ending(parts[-1])
        names.update(parts, (stem, name_case(stem)))
    return names


def _may_name_files(cells: Sequence[str], names: Collection[str]) -> bool:
    """Tell whether one of some cells is the name of a file or folder."""
    for cell in {normalise_cell(cell) for cell in cells} - _LABEL_CELLS:
        last = cell.rpartition("/")[2]
        if last and (
            last in names or strip_ending(last) in names or last.partition(".")[0] in names
        ):
            return True
    return False


def guess_columns(look: TableLook) -> dict[str, Any]:
    """Return what columns hold, as `columns` of a declaration; what is not certain is left out."""
    table = look.table
    found: dict[str, Any] = {"file": look.file}
    rest = [name for name in table.columns if name and name != look.file]
    patient = next((name for name in rest if _PATIENT.fullmatch(_plain(name))), None)
    if patient and all(map(_is_given, _head(table, patient))):
        found["patient"] = patient
    rest = [name for name in rest if name != patient]
    if reports := [name for name in rest if _is_report(name, _head(table, name))]:
        found["report"] = reports
    if labels := [name for name in rest if name not in reports and is_label(table, name)]:
        found["labels"] = labels
    split = next((name for name in rest if _is_split(name, _head(table, name))), None)
    if split:
        found["split"] = split
    return found


def choose_columns(table: TableLook | None, hints: Hints) -> dict[str, Any]:
    """Return what columns hold: as the user says, else as it is guessed.

    Raises:
        UsageError: If the table lacks a column that is named.
    """
    if table is None:
        return {}
    columns = {**(guess_columns(table) if table.file else {}), **hints.columns}
    named = [
        name
        for role, value in columns.items()
        for name in ([value] if isinstance(value, str) else value)
        if role != "sheet"
    ]
    missing = [name for name in named if name not in table.table.columns]
    if missing:
        what = f"{table.table.path} has no column {', '.join(missing)}; it has {shorten(table.table.columns, 20)}"
        raise UsageError(field="--columns", what=what)
    return {name: value for name, value in columns.items() if value}


def show_columns(columns: Mapping[str, Any]) -> str:
    """Return `columns` of a declaration in words."""
    return ", ".join(
        f"{name}: {value if isinstance(value, str) else shorten(list(value), 4)}"
        for name, value in columns.items()
    )


def is_label(table: CsvTable, name: str) -> bool:
    """Tell whether a column is a label for certain: 0, 1, -1 or nothing, and no identifier by its name."""
    if not name or is_index_name(name) or is_identifier_name(name):
        return False
    cells = {cell.lower() for cell in table.column(name) if _is_given(cell)}
    return bool(cells) and cells <= _LABEL_CELLS


def list_splits(table: CsvTable, column: str) -> list[str]:
    """Return the splits that a column names, `train` first."""
    named = {read_split_name(cell, ()) for cell in set(table.column(column))} - {None}
    return sort_splits([name for name in named if name])


def sort_splits(names: Sequence[str]) -> list[str]:
    """Return names of splits in the usual order."""
    order: Mapping[str, int] = {"train": 0, "valid": 1, "val": 1, "test": 2}
    return sorted(set(names), key=lambda name: (order.get(name, 3), name))


def _is_report(name: str, cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if _is_given(cell)]
    if not filled:
        return False
    spaced = [cell for cell in filled if " " in cell]
    if _REPORT.fullmatch(_plain(name)):
        return len(spaced) * 2 >= len(filled)
    is_long = sum(map(len, filled)) > _LONG_TEXT * len(filled)
    return is_long and len(spaced) == len(filled) and not is_identifier_name(name)


def _is_split(name: str, cells: Sequence[str]) -> bool:
    filled = {cell for cell in cells if _is_given(cell)}
    if not _SPLIT.fullmatch(_plain(name)) or not filled:
        return False
    return all(read_split_name(cell, ()) is not None for cell in filled)


def _head(table: CsvTable, name: str) -> list[str]:
    return table.column(name)[:_NUM_ROWS]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _is_number(cell: str) -> bool:
    try:
        return parse_number(cell) is not None
    except ValueError:
        return False


def _is_given(cell: str) -> bool:
    return not is_missing(cell)
