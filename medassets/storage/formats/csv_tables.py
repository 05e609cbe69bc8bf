"""Strict CSV reader; errors name file, row and column."""

import csv
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from medassets.errors import CatalogError
from medassets.storage.foreign_bytes import refusing_foreign
from medassets.storage.formats.lfs_pointers import explain_pointer
from medassets.storage.formats.missing import is_missing

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Beyond it, float64 cannot represent every integer.
_LARGEST_INTEGER = 2**53
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_LONGEST_NUMBER = 400
_LONGEST_CELL = 1 << 24
_MOST_NAMES = 40
_DELIMITERS = ",;\t|"
_SNIFFED_ROWS = 50

_T = TypeVar("_T")


def parse_csv(content: bytes, path: str, *, delimiter: str = "") -> "CsvTable":
    """Parse a whole CSV file.

    Args:
        content: The file; UTF-8, with or without byte order mark, any line ends.
        path: Name of the file inside the source, for messages.
        delimiter: What parts its cells. Empty means a comma, or where the header has none a semicolon,
            a tab or a bar.

    Raises:
        CatalogError: If the bytes are not UTF-8, a quote is not closed, a column name occurs twice,
            a row has more or fewer cells than the header, or there is no header.
    """
    with refusing_foreign(path):
        return _parse(_decode(content, path), path, delimiter)


def sniff_delimiter(content: bytes, path: str) -> str:
    """Return the delimiter with which the first rows have equally many cells, and the most.

    Args:
        content: The file, as for `parse_csv`.
        path: Its name, for messages.

    Returns:
        A comma, semicolon, tab or bar; empty where none parts all rows alike.

    Raises:
        CatalogError: If the bytes are not UTF-8.
    """
    with refusing_foreign(path):
        text = _decode(content, path)
        counts = {mark: _count_cells(text, mark) for mark in _DELIMITERS}
        best = max(counts, key=lambda mark: counts[mark])
        return best if counts[best] > 1 else ""


def _count_cells(text: str, delimiter: str) -> int:
    """Return the number of cells that the first rows share; 0 where they differ."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        widths = {len(row) for row in itertools.islice(filter(None, reader), _SNIFFED_ROWS)}
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def make_table(path: str, cells: Iterable[Sequence[str]]) -> "CsvTable":
    """Make a table of cells that come from another format, the header first.

    Args:
        path: Name of the file, for messages.
        cells: Rows of text; those without any text are left out.

    Raises:
        CatalogError: If there is no header, or a column name occurs twice.
    """
    rows = iter(cells)
    columns = tuple(name.strip() for name in next(rows, ()))
    _check_columns(columns, path)
    numbered = [(n, list(row)) for n, row in enumerate(rows, start=2) if any(row)]
    return CsvTable(path, columns, [row for _, row in numbered], [n for n, _ in numbered])


def _parse(text: str, path: str, delimiter: str) -> "CsvTable":
    # Python refuses cells over 131,072 characters; reports may be longer.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    delimiter = delimiter or _find_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    row_numbers: list[int] = []
    try:
        columns = tuple(name.strip() for name in next(reader, []))
        _check_columns(columns, path)
        for row_number, row in enumerate(reader, start=2):
            if not row:
                continue
            if len(row) != len(columns):
                _refuse_width(row, columns, path=path, row_number=row_number)
            rows.append(row)
            row_numbers.append(row_number)
    except csv.Error as error:
        row_number = row_numbers[-1] + 1 if row_numbers else 1
        what = str(error)
        if "field limit" in what:
            what = f"a cell has over {_LONGEST_CELL:,} characters; is a quote not closed?"
        msg = f"{path}, row {row_number} or after (line {reader.line_num}): {what}"
        raise CatalogError(msg) from error
    return CsvTable(path=path, columns=columns, rows=rows, row_numbers=row_numbers)


def parse_number(text: str) -> float | None:
    """Parse a finite number; None where nothing is given, see `clean_text`.

    Raises:
        ValueError: If the text is not a finite number.
    """
    stripped = text.strip()
    if is_missing(stripped):
        return None
    # Matching takes time with the square of the length.
    is_number = len(stripped) <= _LONGEST_NUMBER and _NUMBER.fullmatch(stripped)
    if not is_number or not math.isfinite(value := float(stripped)):
        msg = f"not a finite number: {text[:_LONGEST_NUMBER]!r}"
        raise ValueError(msg)
    return value


def parse_integer(text: str) -> int | None:
    """Parse an integer, `12` or `12.0`; None where nothing is given.

    Raises:
        ValueError: If the text is not an integer.
    """
    value = parse_number(text)
    if value is not None and (value != int(value) or abs(value) > _LARGEST_INTEGER):
        msg = f"not an integer: {text!r}"
        raise ValueError(msg)
    return None if value is None else int(value)


def is_decimal_comma(text: str) -> bool:
    """Tell whether a text is a number with a comma in place of the decimal point."""
    return _DECIMAL_COMMA.fullmatch(text.strip()) is not None


def _decode(content: bytes, path: str) -> str:
    if (pointer := explain_pointer(content)) is not None:
        msg = f"{path}: {pointer}"
        raise CatalogError(msg)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        msg = f"{path}, line {line}: byte {error.start} is not UTF-8 ({error.reason})"
        raise CatalogError(msg) from error


def _find_delimiter(text: str) -> str:
    """Return the delimiter that the header has; the most frequent one where it has no comma."""
    header = re.sub(r'"[^"]*"', "", text[: text.find("\n")] if "\n" in text else text)
    if "," in header:
        return ","
    counts = {mark: header.count(mark) for mark in _DELIMITERS}
    return max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else ","


def _check_columns(columns: tuple[str, ...], path: str) -> None:
    if not any(columns):
        msg = f"{path}, row 1: expected a header with column names, the file begins without one"
        raise CatalogError(msg)
    for name, count in Counter(columns).items():
        if count > 1:
            msg = f"{path}, row 1, column {name}: the name occurs {count} times"
            raise CatalogError(msg)


def _refuse_width(row: list[str], columns: tuple[str, ...], *, path: str, row_number: int) -> None:
    last = columns[min(len(row), len(columns)) - 1]
    msg = (
        f"{path}, row {row_number}, column {last}: expected {len(columns)} cells as in the header, "
        f"got {len(row)}; this is the last column that both have"
    )
    raise CatalogError(msg)


@dataclass(frozen=True)
class CsvTable:
    """One parsed CSV file; every row has as many cells as there are columns.

    Attributes:
        path: Name of the file inside the source.
        columns: Column names, in file order, each once.
        rows: Cells as text.
        row_numbers: Number of each row as a spreadsheet shows it; the header is row 1.
    """

    path: str
    columns: tuple[str, ...]
    rows: list[list[str]] = field(repr=False)
    row_numbers: list[int] = field(repr=False)

    def column_index(self, name: str) -> int:
        """Return the index of a column.

        Raises:
            CatalogError: If the column is missing.
        """
        index = self._places.get(name)
        if index is None:
            more = f" and {len(self.columns) - _MOST_NAMES:,} more"
            shown = ", ".join(self.columns[:_MOST_NAMES]) + more * (len(self.columns) > _MOST_NAMES)
            msg = f"{self.path}, row 1, column {name}: missing; found {shown}"
            raise CatalogError(msg)
        return index

    @cached_property
    def _places(self) -> dict[str, int]:
        # A search for each of 50,000 columns would take a minute.
        return {name: index for index, name in enumerate(self.columns)}

    def column(self, name: str) -> list[str]:
        """Return the cells of one column, white space stripped.

        Raises:
            CatalogError: If the column is missing.
        """
        index = self.column_index(name)
        return [row[index].strip() for row in self.rows]

    def parse_cells(
        self, name: str, parse: Callable[[str], _T | None], expected: str, bad: dict[int, str]
    ) -> list[_T | None]:
        """Return the values of one column; a few cells that cannot be read are None.

        Args:
            name: The column.
            parse: From a cell to its value, None where nothing is given; a ValueError refuses it.
            expected: Description of the expected content.
            bad: Receives index -> message of the cells that cannot be read.

        Raises:
            CatalogError: If the column is missing, or more cells cannot be read than can.
        """
        cells = self.column(name)
        known: dict[str, _T | None] = {}
        refused: set[str] = set()
        for cell in set(cells):
            try:
                known[cell] = parse(cell)
            except ValueError:
                known[cell] = None
                refused.add(cell)
        found = {index for index, cell in enumerate(cells) if cell in refused}
        errors = {index: self.cell_error(index, name, expected=expected) for index in sorted(found)}
        if len(found) > sum(known[cell] is not None for cell in cells):
            raise next(iter(errors.values()))
        bad |= {index: str(error) for index, error in errors.items()}
        return [known[cell] for cell in cells]

    def cell_error(self, index: int, name: str, *, expected: str) -> CatalogError:
        """Return an error that names one cell.

        Args:
            index: Index into `rows`.
            name: Column.
            expected: Description of the expected content.
        """
        text = self.rows[index][self.column_index(name)]
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        if expected.startswith("a number") and is_decimal_comma(text):
            expected = "a number with a decimal point, not a comma"
        return CatalogError(
            f"{self.path}, row {self.row_numbers[index]}, column {name}: "
            f"expected {expected}, got {shown!r}"
        )
