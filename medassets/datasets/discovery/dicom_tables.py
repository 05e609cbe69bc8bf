"""Which table of a folder of DICOM is about its series, judged by a sample of headers; no cell is shown."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, shorten
from medassets.datasets.discovery.tables import (
    TableLook,
    choose_columns,
    read_one,
    read_tables,
    show_columns,
)
from medassets.errors import UsageError
from medassets.volumes.catalog.tree.join import normalise_cell
from medassets.volumes.files.dicom.header import SliceHeader

_ELEMENTS = {
    "series_uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "accession": "AccessionNumber",
}
_PASS = "Pass the column that names series: --table FILE --columns file=COLUMN"


@dataclass(frozen=True)
class DicomTable:
    """The table that is proposed.

    Attributes:
        look: The table; None where none is used.
        columns: What its columns hold, as `columns` of a declaration.
        words: How it names series.
        doubts: Why tables are not used.
    """

    look: TableLook | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    doubts: Sequence[str] = ()

    @property
    def facts(self) -> list[str]:
        """Lines about the table, if one is used."""
        if self.look is None:
            return []
        return [f"table {self.look.table.path}: {self.words}; columns {show_columns(self.columns)}"]

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the declaration."""
        if self.look is None:
            return {}
        fields: dict[str, Any] = {"table": self.look.table.path, "columns": dict(self.columns)}
        if "report" in self.columns or "labels" in self.columns:
            fields["requires"] = []
        return fields


def choose_dicom_table(
    census: Census, images: Mapping[str, SliceHeader], hints: Hints, clock: Clock
) -> DicomTable:
    """Return the table of which a column names the most of a sample of files.

    Args:
        census: The folder.
        images: Path -> header, of the sample.
        hints: What the user says.
        clock: No further table is read when it is over.

    Raises:
        UsageError: If a table or column that the user names cannot be used.
    """
    sheet = str(hints.columns.get("sheet", ""))
    if hints.table:
        looks = [read_one(census.top, hints.table, sheet=sheet)]
        if looks[0].problem:
            raise UsageError(field="--table", what=looks[0].problem)
    else:
        looks = read_tables(census, clock, sheet=sheet)
    found = [_match(look, images) for look in looks]
    best = max(found, key=lambda one: one[0].num_files, default=None)
    if best is None:
        if hints.columns:
            raise UsageError(field="--columns", what="there is no table; name it with --table")
        return DicomTable()
    look, words = best
    if not look.num_files and "file" not in hints.columns:
        if hints.table or hints.columns:
            field_name = "--table" if hints.table else "--columns"
            what = f"no column of {look.table.path} names series; it has {shorten(look.table.columns, 20)}. {_PASS}"
            raise UsageError(field=field_name, what=what)
        return DicomTable(doubts=[*_doubt_unused(looks)])
    columns = choose_columns(look, hints)
    if all(one["patient_id"] for one in images.values()) and "patient" not in hints.columns:
        # A table may lack series, whose patient the files state.
        columns.pop("patient", None)
    others = [one for one in looks if one.table.path != look.table.path]
    if columns.keys() <= {"file", "sheet"}:
        doubt = (
            f"{look.table.path} names series, and has no column that is certain to be a report, label or split; it "
            f"is not used. Pass them: --columns report=COLUMN or labels=A,B"
        )
        return DicomTable(doubts=[doubt, *_doubt_unused(others)])
    return DicomTable(
        look, columns, words or f"series by column {columns['file']}", _doubt_unused(others)
    )


def _match(look: TableLook, images: Mapping[str, SliceHeader]) -> tuple[TableLook, str]:
    """Return a table with the column that names the most files of a sample, and how, in words."""
    best, words = look, ""
    for name in look.table.columns if not look.problem else ():
        cells = {normalise_cell(cell.strip()) for cell in look.table.column(name)} - {""}
        for kind, count in _count_named(images, cells):
            if name and count > best.num_files:
                best = replace(look, file=name, num_files=count)
                words = f"{name} holds the {kind} of {count:,} of {len(images):,} files looked at"
    return best, words


def _count_named(
    images: Mapping[str, SliceHeader], cells: AbstractSet[str]
) -> Iterable[tuple[str, int]]:
    """Yield each sort of name of series, and how many files have one that is among some cells."""
    for name, element in _ELEMENTS.items():
        yield element, sum(header[name].strip() in cells for header in images.values())
    yield "folder", sum(not cells.isdisjoint(_list_folders(path)) for path in images)


def _list_folders(path: str) -> set[str]:
    """Return the names of the folders of a path, and the ends of the path of each."""
    parts = path.split("/")[:-1]
    return {"/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}


def _doubt_unused(looks: Sequence[TableLook]) -> list[str]:
    doubts = [look.problem for look in looks if look.problem]
    strange = [look.table.path for look in looks if not look.problem]
    if strange:
        doubts.append(
            f"not used, for no column names series by UID, AccessionNumber or folder: {shorten(strange)}. {_PASS}"
        )
    return doubts
