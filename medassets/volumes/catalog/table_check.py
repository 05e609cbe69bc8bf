"""What a source lacks of the tables that its layout needs, all at once: files, and columns of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import parse_csv


@dataclass(frozen=True)
class NeededTable:
    """One table or list that a layout needs.

    Attributes:
        path: Its path, as messages name it.
        columns: Columns that it must have; none for a list.
        note: What to do where it is missing; empty without a special remedy.
    """

    path: str
    columns: tuple[str, ...] = ()
    note: str = field(default="", compare=False)


def list_missing(needed: Iterable[NeededTable], found: Mapping[str, bytes]) -> list[str]:
    """Return a line for each table that is missing, or lacks columns.

    Args:
        needed: The tables, each once.
        found: Path -> content of those that exist.
    """
    lines: list[str] = []
    for table in needed:
        note = f" ({table.note})" if table.note else ""
        if table.path not in found:
            having = f", with columns {', '.join(table.columns)}" if table.columns else ""
            lines.append(f"{table.path}{having}{note}")
        elif absent := [name for name in table.columns if name not in _read_header(table, found)]:
            columns = f"column{'s' * (len(absent) > 1)} {', '.join(absent)}"
            lines.append(f"{table.path}, row 1, {columns}{note}")
    return lines


def _read_header(table: NeededTable, found: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the columns of a table; those that it needs where its header cannot be read alone."""
    head, _, _ = found[table.path].partition(b"\n")
    try:
        return parse_csv(head, table.path).columns
    except CatalogError:
        # Reading the whole table says what is wrong with it.
        return table.columns
