"""The layout of CT-RATE: where its tables and volumes are, and what their rows mean."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.specs import CTSourceSpec
from medassets.volumes.csv_tables import CsvTable, parse_csv
from medassets.volumes.ct_rate_cells import (
    clean_section,
    encode_metadata_rows,
    join_report,
    read_spacing_pairs,
)
from medassets.volumes.ct_rate_names import VolumeName, parse_volume_name, table_paths, volume_path

REPORT_SECTIONS: Mapping[str, str] = {
    "clinical_information": "ClinicalInformation_EN",
    "technique": "Technique_EN",
    "findings": "Findings_EN",
    "impressions": "Impressions_EN",
}
"""Name of a report section in a sample -> column of the reports table."""

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

LABEL_NAMES_KEY = b"label_names"
"""Key of the schema metadata that holds the label names, a JSON list, in column order."""

_LARGEST_LABEL = 3.4e38
_STRING, _FLOAT, _INT = pa.string(), pa.float64(), pa.int64()
ROW_SCHEMA = pa.schema(
    [
        *((name, _STRING) for name in ("key", "split", "path", "revision", "excluded", "detail")),
        *((name, _STRING) for name in ("group", "patient", "scan")),
        ("reconstruction", _INT),
        *((f"spacing_{axis}", _FLOAT) for axis in "ijk"),
        ("num_slices", _INT),
        ("rescale_slope", _FLOAT),
        ("rescale_intercept", _FLOAT),
        *((f"report_{section}", _STRING) for section in REPORT_SECTIONS),
        ("report", _STRING),
        ("labels", pa.list_(pa.float32())),
        ("label_names", pa.list_(_STRING)),
        ("metadata", _STRING),
    ]
)
"""Columns of `read_rows`: spacing in mm, labels and label_names in the table's column order."""

Row = dict[str, Any]
Exclusion = tuple[Reason, str]


def read_rows(
    source: "TableSource",
    spec: CTSourceSpec,
    split: str,
    revision: str | None,
    *,
    with_texts: bool = True,
) -> pa.Table:
    """Read the tables of one split and join them: one row per row of the metadata table.

    A row that cannot become a sample is kept, with its reason in `excluded` and a sentence in
    `detail`. A volume that only the reports or the labels know gets a row of its own, so that
    every row of every table ends in exactly one row.

    Args:
        source: Where the tables are.
        spec: Declaration; `volumes_dir` and `hu_rule` are used.
        split: One of the splits of the declaration.
        revision: Pinned revision, None where the source has none.
        with_texts: Read reports and labels. Without them, their columns are null, and volumes that
            have none are as good as others.

    Returns:
        Table with the columns of `ROW_SCHEMA`, in the order of the metadata table. All keys
        differ: a row without a usable name, or that repeats one, has a key made of the table
        and the row number.

    Raises:
        CatalogError: If a table is missing or malformed; the message names file, row and column.
    """
    tables = _read_split(source, split=split, revision=revision, with_texts=with_texts)
    common = {"split": split, "revision": revision, "label_names": list(tables.label_names)}
    rows = [{**common, **row} for row in _iter_rows(tables, spec)]
    names = json.dumps(tables.label_names, ensure_ascii=False).encode()
    table = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    return table.replace_schema_metadata({LABEL_NAMES_KEY: names})


def _iter_rows(tables: "_Split", spec: CTSourceSpec) -> Iterator[Row]:
    """Yield a row per metadata row, then a row per volume that only another table knows."""
    for index, name in enumerate(tables.metadata.names):
        yield _make_row(name, index, tables=tables, spec=spec)
    for side in (tables.reports, tables.labels):
        for name, index in side.first.items():
            known = name in tables.metadata.first
            if known or (side is tables.labels and name in tables.reports.first):
                continue
            yield _make_stranger(name, index, side=side, tables=tables, spec=spec)


def _make_row(name: str, index: int, *, tables: "_Split", spec: CTSourceSpec) -> Row:
    volume = parse_volume_name(name, split=tables.split)
    row: Row = {column: cells[index] for column, cells in tables.cells.items()}
    row |= _identify(volume, spec, split=tables.split)
    row |= _join_report_and_labels(name, tables)
    first = tables.metadata.first[name] == index
    if volume is None or not first:
        row["key"] = f"{tables.split}-metadata-row-{tables.metadata.table.row_numbers[index]}"
    exclusion = _exclude(name, volume, row=row, first=first, tables=tables, spec=spec)
    if exclusion is not None:
        row["excluded"], row["detail"] = str(exclusion[0]), exclusion[1]
    return row


def _make_stranger(
    name: str, index: int, *, side: "_NamedTable", tables: "_Split", spec: CTSourceSpec
) -> Row:
    volume = parse_volume_name(name, split=tables.split)
    row_number = side.table.row_numbers[index]
    where = f"{side.table.path}, row {row_number}: {name!r}"
    row = _identify(volume, spec, split=tables.split) | _join_report_and_labels(name, tables)
    if volume is None:
        kind = "reports" if side is tables.reports else "labels"
        row["key"] = f"{tables.split}-{kind}-row-{row_number}"
        row["excluded"] = str(Reason.BAD_NAME)
        row["detail"] = f"{where} is not the name of a {tables.split} volume"
    else:
        row["excluded"] = str(Reason.MISSING_METADATA)
        row["detail"] = f"{where} is not in {tables.metadata.table.path}"
    return row


def _identify(volume: VolumeName | None, spec: CTSourceSpec, *, split: str) -> Row:
    if volume is None:
        return {}
    return {
        "key": volume.key,
        "path": volume_path(volume, volumes_dir=spec.volumes_pattern, split=split),
        "group": volume.patient,
        "patient": volume.patient,
        "scan": volume.scan,
        "reconstruction": volume.reconstruction,
    }


def _join_report_and_labels(name: str, tables: "_Split") -> Row:
    row: Row = {}
    if (index := tables.reports.first.get(name)) is not None:
        cells = tables.reports.table.rows[index]
        for section, column in tables.section_columns.items():
            row[f"report_{section}"] = clean_section(cells[column])
        # CT-CLIP, the model published with CT-RATE, is trained on findings and impressions.
        row["report"] = join_report([row["report_findings"], row["report_impressions"]])
    if (index := tables.labels.first.get(name)) is not None:
        labels = [column[index] for column in tables.label_cells]
        row["labels"] = None if None in labels else labels
    return row


def _exclude(
    name: str,
    volume: VolumeName | None,
    *,
    row: Row,
    first: bool,
    tables: "_Split",
    spec: CTSourceSpec,
) -> Exclusion | None:
    """Say why a row cannot become a sample: the first rule that applies."""
    metadata, split = tables.metadata, tables.split
    if volume is None:
        return Reason.BAD_NAME, f"{name!r} is not the name of a {split} volume"
    if not first:
        return Reason.DUPLICATE_ROW, metadata.describe_repeat(name)
    for table in (metadata, tables.reports, tables.labels):
        if name in table.conflicts:
            return Reason.DUPLICATE_ROW, f"{table.conflicts[name]}; nobody knows which is right"
    if {volume.key, volume.scan} & tables.no_chest:
        return Reason.NO_CHEST, f"listed in {table_paths(split).no_chest}"
    return _exclude_by_cells(name, row=row, tables=tables, spec=spec)


def _exclude_by_cells(
    name: str, *, row: Row, tables: "_Split", spec: CTSourceSpec
) -> Exclusion | None:
    spacing = {axis: row[f"spacing_{axis}"] for axis in "ijk"}
    unusable = [axis for axis, step in spacing.items() if step is None or step <= 0]
    if unusable:
        column = "ZSpacing" if unusable == ["k"] else "XYSpacing"
        return Reason.SPACING_MISSING, f"{column} is empty, NaN, zero or negative"
    if spec.effective_hu_rule == "table" and (row["rescale_slope"] is None or row["rescale_slope"] == 0):
        return Reason.HU_RULE_MISSING, "RescaleSlope is empty or zero; hu_rule is table"
    if spec.effective_hu_rule == "table" and row["rescale_intercept"] is None:
        return Reason.HU_RULE_MISSING, "RescaleIntercept is empty; hu_rule is table"
    if tables.with_texts:
        return _exclude_by_texts(name, row=row, tables=tables)
    return None


def _exclude_by_texts(name: str, *, row: Row, tables: "_Split") -> Exclusion | None:
    if name not in tables.reports.first:
        return Reason.MISSING_REPORT, f"not in {tables.reports.table.path}"
    if row["report"] is None:
        return Reason.MISSING_REPORT, "neither findings nor impressions are given"
    if name not in tables.labels.first:
        return Reason.MISSING_LABELS, f"not in {tables.labels.table.path}"
    if row["labels"] is None:
        return Reason.MISSING_LABELS, "a label is empty"
    return None


def _read_split(
    source: "TableSource", *, split: str, revision: str | None, with_texts: bool
) -> "_Split":
    paths = table_paths(split)

    def read(path: str, columns: tuple[str, ...] = ()) -> CsvTable:
        if columns and not with_texts:
            return CsvTable(path, ("VolumeName", *columns), rows=[], row_numbers=[])
        return parse_csv(source.read_table(path, revision=revision), path)

    metadata = read(paths.metadata)
    reports = read(paths.reports, tuple(REPORT_SECTIONS.values()))
    labels = read(paths.labels, LABEL_NAMES)
    label_names = tuple(name for name in labels.columns if name != "VolumeName")
    if not all(label_names) or not label_names:
        msg = f"{paths.labels}, row 1: expected a name for every label, got {labels.columns}"
        raise CatalogError(msg)
    return _Split(
        split=split,
        metadata=_index_by_name(metadata),
        cells=_read_metadata_cells(metadata),
        reports=_index_by_name(reports),
        section_columns={s: reports.column_index(name) for s, name in REPORT_SECTIONS.items()},
        labels=_index_by_name(labels),
        label_names=label_names,
        label_cells=[_read_label_cells(labels, name) for name in label_names],
        no_chest=_read_no_chest(source, paths.no_chest, split=split, revision=revision),
        with_texts=with_texts,
    )


def _read_metadata_cells(table: CsvTable) -> dict[str, list[Any]]:
    pairs = read_spacing_pairs(table, "XYSpacing")
    return {
        "spacing_i": [pair[0] for pair in pairs],
        "spacing_j": [pair[1] for pair in pairs],
        "spacing_k": table.numbers("ZSpacing"),
        "num_slices": table.integers("NumberofSlices"),
        "rescale_slope": table.numbers("RescaleSlope"),
        "rescale_intercept": table.numbers("RescaleIntercept"),
        "metadata": encode_metadata_rows(table, without="VolumeName"),
    }


def _read_label_cells(table: CsvTable, name: str) -> list[float | None]:
    values = table.numbers(name)
    for index, value in enumerate(values):
        if value is not None and abs(value) > _LARGEST_LABEL:
            raise table.cell_error(index, name, expected="a number that fits float32")
    return values


def _read_no_chest(
    source: "TableSource", path: str, *, split: str, revision: str | None
) -> frozenset[str]:
    """Read the keys (`train_1_a_1`) and scans (`train_1_a`) that show no chest."""
    try:
        content = source.read_table(path, revision=revision)
    except CatalogError as error:
        msg = f"{error}; if every volume shows a chest, put an empty file there"
        raise CatalogError(msg) from error
    stems = set()
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for row_number, line in enumerate(lines, start=1):
        # The paths are those of CT-RATE's first version, so only the base name can match.
        stem = line.strip().rsplit("/", 1)[-1].removesuffix(".nii.gz")
        if stem and not re.fullmatch(rf"{re.escape(split)}_\d+_[a-z]+(_\d+)?", stem, re.ASCII):
            msg = f"{path}, row {row_number}: expected the path of a {split} volume, got {line!r}"
            raise CatalogError(msg)
        stems.add(stem)
    return frozenset(stems)


def _index_by_name(table: CsvTable) -> "_NamedTable":
    names = table.column("VolumeName")
    first: dict[str, int] = {}
    conflicts: dict[str, str] = {}
    for index, name in enumerate(names):
        known = first.setdefault(name, index)
        if table.rows[known] != table.rows[index]:
            numbers = f"{table.row_numbers[known]} and {table.row_numbers[index]}"
            conflicts[name] = f"{table.path}: rows {numbers} have the same name but differ"
    return _NamedTable(table=table, names=names, first=first, conflicts=conflicts)


class TableSource(Protocol):
    """What reading the tables needs of a source."""

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return a small file; a CatalogError names it if it is missing."""
        ...


@dataclass(frozen=True)
class _NamedTable:
    """A table with an index: the first row of each volume name, and names whose rows differ."""

    table: CsvTable
    names: list[str] = field(repr=False)
    first: dict[str, int] = field(repr=False)
    conflicts: dict[str, str] = field(repr=False)

    def describe_repeat(self, name: str) -> str:
        return f"{name} stands already in row {self.table.row_numbers[self.first[name]]}"


@dataclass(frozen=True)
class _Split:
    """Everything read of one split, before it is joined; cells by column, then by row."""

    split: str
    metadata: _NamedTable
    cells: dict[str, list[Any]]
    reports: _NamedTable
    section_columns: dict[str, int]
    labels: _NamedTable
    label_names: tuple[str, ...]
    label_cells: list[list[float | None]]
    no_chest: frozenset[str]
    with_texts: bool
