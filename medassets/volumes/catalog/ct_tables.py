"""The three tables of a split with CT-RATE's columns, joined by name: metadata, reports, labels."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from medassets.errors import Reason
from medassets.specs import SAMPLE_TEXTS, CTSourceSpec
from medassets.storage.formats.csv_tables import CsvTable, parse_integer, parse_number
from medassets.storage.formats.label_rules import NO_RULES, LabelError, LabelRules
from medassets.volumes.catalog.ct_rate_cells import (
    clean_section,
    encode_metadata_rows,
    join_report,
    parse_spacing_pair,
)
from medassets.volumes.catalog.label_columns import choose_label_columns, parse_label

REPORT_SECTIONS: Mapping[str, str] = {
    "clinical_information": "ClinicalInformation_EN",
    "technique": "Technique_EN",
    "findings": "Findings_EN",
    "impressions": "Impressions_EN",
}
"""Name of a report section in a sample -> column of the reports table."""

TEXT_SECTIONS = ("findings", "impressions")
"""Sections that make the text of a report; tables need not have the columns of the others."""

REPORT_COLUMNS = tuple(REPORT_SECTIONS[section] for section in TEXT_SECTIONS)
"""Columns that a table of reports must have, beside VolumeName."""

LABEL_NAMES: tuple[str, ...] = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)
"""The 18 abnormalities of CT-RATE, in column order. Source: valid_predicted_labels.csv."""

METADATA_COLUMNS = (
    *("VolumeName", "XYSpacing", "ZSpacing", "NumberofSlices"),
    *("RescaleSlope", "RescaleIntercept"),
)
"""Columns that the metadata of CT-RATE's layout must have."""

ASK_FOR_RESCALING = "complete the table, or declare `hu_rule: none` if values are HU already"
"""Remedy for missing RescaleSlope or RescaleIntercept."""

_MOST_NAMES = 3
_T = TypeVar("_T")
Row = dict[str, Any]
Exclusion = tuple[Reason, str]


def read_tables(
    metadata: CsvTable,
    reports: CsvTable,
    labels: CsvTable,
    *,
    with_texts: bool = True,
    requires: Collection[str] = SAMPLE_TEXTS,
    name_of: Callable[[str], str] = str,
    optional: tuple[str, ...] = (),
    rules: LabelRules = NO_RULES,
) -> "SplitTables":
    """Index the tables of one split by volume, and read their cells.

    Args:
        metadata: Spacing and rescaling.
        reports: Sections of the reports.
        labels: One column per label.
        with_texts: Whether samples store a report and labels.
        requires: Which of both a volume must have.
        name_of: From a cell of VolumeName to the name that the tables share.
        optional: Columns of the metadata that need not be there; their cells are then None.
        rules: What the declaration says of labels.

    Raises:
        CatalogError: If a column is missing, a cell cannot be read, or a column of the labels is an
            index or identifier; names file, row and column.
    """
    rules, bad = rules if with_texts else NO_RULES, _BadCells()
    others = {*metadata.columns, *reports.columns} if with_texts else ()
    has_labels = "labels" in requires or len(labels.columns) > 1
    label_names = choose_label_columns(labels, rules, others=others) if has_labels else ()
    return SplitTables(
        metadata=_index_by_name(metadata, name_of),
        cells=_read_metadata_cells(metadata, optional, bad.metadata),
        reports=_index_by_name(reports, name_of),
        section_columns={
            section: reports.column_index(name)
            for section, name in REPORT_SECTIONS.items()
            if section in TEXT_SECTIONS or name in reports.columns
        },
        labels=_index_by_name(labels, name_of),
        label_names=label_names,
        label_cells=[
            labels.parse_cells(name, parse_label, "a number that fits float32", bad.labels)
            for name in label_names
        ],
        bad=bad,
        requires=frozenset(requires if with_texts else ()),
        rules=rules,
    )


def absent_table(path: str, columns: Iterable[str] = ()) -> CsvTable:
    """Return a table without rows, in place of one that is not needed.

    Args:
        path: Where it would be.
        columns: Its columns beside VolumeName.
    """
    return CsvTable(path, ("VolumeName", *columns), rows=[], row_numbers=[])


def join_texts(name: str, tables: "SplitTables") -> Row:
    """Return the columns of a row that reports and labels fill."""
    row: Row = {}
    if (index := tables.reports.first.get(name)) is not None:
        cells = tables.reports.table.rows[index]
        for section, column in tables.section_columns.items():
            row[f"report_{section}"] = clean_section(cells[column])
        # CT-CLIP, the model published with CT-RATE, is trained on findings and impressions.
        row["report"] = join_report([row["report_findings"], row["report_impressions"]])
    if (index := tables.labels.first.get(name)) is not None:
        labels = [column[index] for column in tables.label_cells]
        row["labels"] = None if None in labels and "labels" in tables.requires else labels
    elif "labels" not in tables.requires:
        row["labels"] = [None] * len(tables.label_names)
    return row


def exclude_by_cells(
    name: str, *, row: Row, tables: "SplitTables", spec: CTSourceSpec
) -> Exclusion | None:
    """Return why the cells of a row make no sample: the first rule that applies."""
    index = tables.metadata.first.get(name)
    bad = {column: cells[index] for column, cells in tables.bad.metadata.items() if index in cells}
    spacing = {axis: row[f"spacing_{axis}"] for axis in "ijk"}
    unusable = [axis for axis, step in spacing.items() if step is None or step <= 0]
    if unusable:
        column = "ZSpacing" if unusable == ["k"] else "XYSpacing"
        return Reason.SPACING_MISSING, bad.get(column, f"{column} is empty, NaN, zero or negative")
    if spec.needs_rescaling and not row["rescale_slope"]:
        what = bad.get("RescaleSlope", "RescaleSlope is empty or zero")
        return Reason.HU_RULE_MISSING, f"{what}; {ASK_FOR_RESCALING}"
    if spec.needs_rescaling and row["rescale_intercept"] is None:
        what = bad.get("RescaleIntercept", "RescaleIntercept is empty")
        return Reason.HU_RULE_MISSING, f"{what}; {ASK_FOR_RESCALING}"
    if "NumberofSlices" in bad:
        return Reason.BAD_RECORD, bad["NumberofSlices"]
    return _exclude_by_report(name, row, tables) or _exclude_by_labels(name, row, tables)


def _exclude_by_report(name: str, row: Row, tables: "SplitTables") -> Exclusion | None:
    if "report" not in tables.requires:
        return None
    if name not in tables.reports.first:
        return Reason.MISSING_REPORT, f"not in {tables.reports.table.path}"
    if row["report"] is None:
        return Reason.MISSING_REPORT, "neither findings nor impressions are given"
    return None


def _exclude_by_labels(name: str, row: Row, tables: "SplitTables") -> Exclusion | None:
    is_required = "labels" in tables.requires
    if name not in tables.labels.first:
        what = f"not in {tables.labels.table.path}"
        return (Reason.MISSING_LABELS, what) if is_required else None
    if (what := tables.bad.labels.get(tables.labels.first[name])) is not None:
        return Reason.BAD_LABELS, what
    if row["labels"] is None:
        return Reason.MISSING_LABELS, f"a label is empty{_list_empty(name, tables)}"
    try:
        tables.rules.check_values(math.nan if one is None else one for one in row["labels"])
    except LabelError as error:
        return Reason.BAD_LABELS, str(error)
    return None


def _list_empty(name: str, tables: "SplitTables") -> str:
    index = tables.labels.first[name]
    cells = zip(tables.label_names, tables.label_cells, strict=True)
    empty = [label for label, column in cells if column[index] is None]
    more = f" and {len(empty) - _MOST_NAMES} more" if len(empty) > _MOST_NAMES else ""
    return f": {', '.join(empty[:_MOST_NAMES])}{more}" if empty else ""


def _read_metadata_cells(
    table: CsvTable, optional: tuple[str, ...], bad: dict[str, dict[int, str]]
) -> dict[str, list[Any]]:
    def read(name: str, parse: Callable[[str], _T | None], expected: str) -> list[_T | None]:
        if name in optional and name not in table.columns:
            return [None] * len(table.rows)
        return table.parse_cells(name, parse, expected, bad.setdefault(name, {}))

    pairs = read("XYSpacing", parse_spacing_pair, "a JSON pair of steps in mm such as [0.75, 0.75]")
    return {
        "spacing_i": [pair[0] if pair else None for pair in pairs],
        "spacing_j": [pair[1] if pair else None for pair in pairs],
        "spacing_k": read("ZSpacing", parse_number, "a number"),
        "num_slices": read("NumberofSlices", parse_integer, "an integer"),
        "rescale_slope": read("RescaleSlope", parse_number, "a number"),
        "rescale_intercept": read("RescaleIntercept", parse_number, "a number"),
        "metadata": encode_metadata_rows(table, without="VolumeName"),
    }


def _index_by_name(table: CsvTable, name_of: Callable[[str], str]) -> "NamedTable":
    names = [name_of(name) for name in table.column("VolumeName")]
    first: dict[str, int] = {}
    conflicts: dict[str, str] = {}
    for index, name in enumerate(names):
        known = first.setdefault(name, index)
        if table.rows[known] != table.rows[index]:
            numbers = f"{table.row_numbers[known]} and {table.row_numbers[index]}"
            conflicts[name] = f"{table.path}: rows {numbers} have the same name but differ"
    return NamedTable(table=table, names=names, first=first, conflicts=conflicts)


@dataclass(frozen=True)
class NamedTable:
    """A table with an index.

    Attributes:
        table: The table.
        names: Name of each row.
        first: Name -> index of its first row.
        conflicts: Name -> how its rows differ, of names with several.
    """

    table: CsvTable
    names: list[str] = field(repr=False)
    first: dict[str, int] = field(repr=False)
    conflicts: dict[str, str] = field(repr=False)

    def describe_repeat(self, name: str) -> str:
        """Return a sentence with the row in which a name occurs first."""
        return f"{name} is already in row {self.table.row_numbers[self.first[name]]}"


@dataclass(frozen=True)
class _BadCells:
    """Messages of cells that cannot be read, by the index of their row.

    Attributes:
        metadata: By column.
        labels: Of all labels.
    """

    metadata: dict[str, dict[int, str]] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitTables:
    """Everything read of one split, before it is joined; cells by column, then by row.

    Attributes:
        metadata: Spacing and rescaling.
        cells: Columns of a catalog row -> one value per row of the metadata.
        reports: Sections of the reports.
        section_columns: Section -> index of its column, of those that the table has.
        labels: One column per label.
        label_names: Their names.
        label_cells: Their values, by column.
        bad: The few cells of metadata and labels that cannot be read.
        requires: What a volume must have, of `report` and `labels`.
        rules: What the declaration says of labels.
    """

    metadata: NamedTable
    cells: dict[str, list[Any]]
    reports: NamedTable
    section_columns: dict[str, int]
    labels: NamedTable
    label_names: tuple[str, ...]
    label_cells: list[list[float | None]]
    bad: _BadCells
    requires: frozenset[str]
    rules: LabelRules

    def find_conflict(self, name: str) -> str | None:
        """Return how the rows of a name differ in one of the tables; None where they do not."""
        for table in (self.metadata, self.reports, self.labels):
            if name in table.conflicts:
                return f"{table.conflicts[name]}; correct or remove one of them"
        return None
