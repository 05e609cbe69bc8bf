"""The one table of a tree, of any common format, as text: identifiers keep their leading zeros."""

import datetime as dt
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from medassets.errors import CatalogError
from medassets.storage.foreign_bytes import refusing_foreign
from medassets.storage.formats.csv_tables import CsvTable, make_table, parse_csv, sniff_delimiter

# Beyond it, float64 cannot represent every integer.
_LARGEST_INTEGER = 2**53


def parse_table(content: bytes, path: str, *, sheet: str = "") -> CsvTable:
    """Parse a table by the ending of its name: CSV, TSV, Parquet or XLSX.

    Args:
        content: The file.
        path: Its name, for messages.
        sheet: Sheet of a spreadsheet; empty where only one holds anything.

    Raises:
        CatalogError: If the format is not known, its reader is not installed, or the file is malformed.
    """
    ending = path.rpartition(".")[2].lower()
    parse = _PARSERS.get(ending)
    if parse is None:
        known = ", ".join(f".{name}" for name in _PARSERS)
        msg = f"{path}: expected a table that ends in {known}"
        raise CatalogError(msg)
    if sheet and ending not in _SPREADSHEETS:
        msg = f"{path}: `columns: {{sheet: {sheet}}}` names a sheet, and only .xlsx has sheets"
        raise CatalogError(msg)
    return parse(content, path, sheet)


def _parse_text(content: bytes, path: str, _: str) -> CsvTable:
    return parse_csv(content, path, delimiter=sniff_delimiter(content, path))


def _parse_tabs(content: bytes, path: str, _: str) -> CsvTable:
    return parse_csv(content, path, delimiter="\t")


def _parse_parquet(content: bytes, path: str, _: str) -> CsvTable:
    from pyarrow import parquet

    with refusing_foreign(path):
        table = parquet.read_table(io.BytesIO(content))
        # Not by name: a name may occur twice, which is refused below.
        columns = [column.to_pylist() for column in table.columns]
    return make_table(path, _iter_text(table.column_names, zip(*columns, strict=True)))


def _parse_spreadsheet(content: bytes, path: str, sheet: str) -> CsvTable:
    import pandas as pd

    try:
        import openpyxl as _  # noqa: F401
    except ImportError as error:
        msg = f'{path}: reading .xlsx takes openpyxl: `pip install "medassets[xlsx]"`, or save it as CSV'
        raise CatalogError(msg) from error
    with refusing_foreign(path):
        # Without a header: pandas would rename a column whose name occurs twice.
        sheets: Mapping[Any, Any] = pd.read_excel(
            io.BytesIO(content),
            sheet_name=None,
            header=None,
            dtype=object,
            na_filter=False,
            engine="openpyxl",
        )
    frame = sheets[_choose_sheet(sheets, path, sheet)]
    # A spreadsheet may have formatted columns to the right that hold nothing.
    filled = frame.loc[:, [bool((frame[name] != "").any()) for name in frame.columns]]
    rows = iter(filled.itertuples(index=False, name=None))
    return make_table(path, _iter_text(next(rows, ()), rows))


def _choose_sheet(sheets: Mapping[Any, Any], path: str, wanted: str) -> Any:
    if wanted:
        if wanted in sheets:
            return wanted
        msg = f"{path}: no sheet {wanted!r}; it has {', '.join(map(str, sheets))}"
        raise CatalogError(msg)
    filled = [name for name, frame in sheets.items() if frame.size]
    if len(filled) != 1:
        msg = (
            f"{path}: expected one sheet that holds a table, found {len(filled)} "
            f"({', '.join(map(str, filled)) or 'none'}); name it, `columns: {{sheet: ...}}`"
        )
        raise CatalogError(msg)
    return filled[0]


def _iter_text(header: Sequence[Any], rows: Iterator[Sequence[Any]]) -> Iterator[list[str]]:
    yield [_as_text(cell) for cell in header]
    for row in rows:
        yield [_as_text(cell) for cell in row]


def _as_text(cell: Any) -> str:
    """Return a cell as a CSV would have it; a whole number has no decimal point."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and math.isfinite(cell) and abs(cell) < _LARGEST_INTEGER:
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    return str(cell)


_SPREADSHEETS = frozenset({"xlsx", "xlsm"})
_PARSERS: Mapping[str, Callable[[bytes, str, str], CsvTable]] = {
    "csv": _parse_text,
    "txt": _parse_text,
    "tsv": _parse_tabs,
    "tab": _parse_tabs,
    "parquet": _parse_parquet,
    "pq": _parse_parquet,
    "xlsx": _parse_spreadsheet,
    "xlsm": _parse_spreadsheet,
}
