"""Report and labels of each row of a tree's table."""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from medassets.errors import Reason
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import CsvTable
from medassets.storage.formats.label_rules import LabelError, LabelRules
from medassets.storage.formats.missing import clean_text
from medassets.volumes.catalog.ct_rate_cells import join_report
from medassets.volumes.catalog.ct_tables import Exclusion, Row
from medassets.volumes.catalog.label_columns import parse_label

_SECTIONS = {
    "findings": "findings",
    "finding": "findings",
    "impressions": "impressions",
    "impression": "impressions",
    "technique": "technique",
    "clinicalinformation": "clinical_information",
}
_MOST_SHOWN = 3
_LANGUAGE = re.compile(r"_en$", re.IGNORECASE)


@dataclass(frozen=True)
class TableTexts:
    """Report, labels and kept cells of a table, by the index of the row.

    Attributes:
        reports: Joined texts; None where all are missing.
        sections: Section of a report -> its texts, of columns that are named like it.
        labels: Value per label; None for an empty cell.
        bad_labels: Why the labels of a row cannot be read.
        metadata: The kept cells, as JSON.
    """

    reports: Sequence[str | None] = field(repr=False)
    sections: Mapping[str, Sequence[str | None]] = field(repr=False)
    labels: Sequence[Sequence[float | None]] = field(repr=False)
    bad_labels: Mapping[int, str] = field(repr=False)
    metadata: Sequence[str] = field(repr=False)


def read_texts(table: CsvTable, columns: TreeColumns, rules: LabelRules) -> TableTexts:
    """Read the cells of all rows.

    Raises:
        CatalogError: If more cells of a label cannot be read than can.
    """
    texts = {name: [clean_text(cell) for cell in table.column(name)] for name in columns.report}
    bad: dict[int, str] = {}
    by_label = [
        table.parse_cells(name, parse_label, "a number that fits float32", bad)
        for name in columns.labels
    ]
    labels = [list(values) for values in zip(*by_label, strict=True)]
    for index, values in enumerate(labels):
        try:
            rules.check_values(math.nan if value is None else value for value in values)
        except LabelError as error:
            bad.setdefault(index, str(error))
    return TableTexts(
        reports=[join_report(cells) for cells in zip(*texts.values(), strict=True)]
        or [None] * len(table.rows),
        sections={section: texts[name] for name, section in _name_sections(columns).items()},
        labels=labels or [[]] * len(table.rows),
        bad_labels=bad,
        metadata=_encode_metadata(table, columns.metadata),
    )


def fill_texts(row: Row, index: int | None, texts: TableTexts, columns: TreeColumns) -> None:
    """Add report and labels to a row of the catalog; those of a file without a row are unknown."""
    row["label_names"] = list(columns.labels)
    row["labels"] = [None] * len(columns.labels) if index is None else list(texts.labels[index])
    if index is None:
        return
    row["report"] = texts.reports[index]
    row |= {f"report_{section}": cells[index] for section, cells in texts.sections.items()}


def exclude_by_texts(
    row: Row, index: int | None, texts: TableTexts, *, table: CsvTable, requires: Collection[str]
) -> Exclusion | None:
    """Return why report or labels of a row make no sample; None if they do, or none are required."""
    if index is not None and (what := texts.bad_labels.get(index)) is not None:
        return Reason.BAD_LABELS, what
    where = f"not in {table.path}"
    if index is not None:
        where = f"{table.path}, row {table.row_numbers[index]}"
    if "report" in requires and row.get("report") is None:
        return Reason.MISSING_REPORT, where if index is None else f"{where}: the report is empty"
    empty = [name for name, v in zip(row["label_names"], row["labels"], strict=True) if v is None]
    if "labels" in requires and empty:
        what = f"{where}: {', '.join(empty[:_MOST_SHOWN])} empty"
        return Reason.MISSING_LABELS, where if index is None else what
    return None


def _name_sections(columns: TreeColumns) -> dict[str, str]:
    """Return column -> section, of the first column that is named like it."""
    found: dict[str, str] = {}
    for name in columns.report:
        plain = re.sub(r"[\W_]", "", _LANGUAGE.sub("", name)).lower()
        section = _SECTIONS.get(plain)
        if section is not None and section not in found.values():
            found[name] = section
    return found


def _encode_metadata(table: CsvTable, names: Sequence[str]) -> list[str]:
    cells = [[clean_text(cell) for cell in table.column(name)] for name in names]
    if not cells:
        return ["{}"] * len(table.rows)
    return [
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, sort_keys=True)
        for row in zip(*cells, strict=True)
    ]
