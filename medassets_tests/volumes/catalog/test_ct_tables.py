"""The three tables of a split, joined by the name of the volume."""

import csv
import io
from typing import Any

import pytest

from medassets.errors import CatalogError, Reason
from medassets.specs import CTSourceSpec
from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.volumes.catalog.ct_tables import (
    REPORT_SECTIONS,
    Row,
    SplitTables,
    exclude_by_cells,
    join_texts,
    read_tables,
)

META = ("VolumeName", "XYSpacing", "ZSpacing", "NumberofSlices", "RescaleSlope", "RescaleIntercept")
REPORTS = ("VolumeName", *REPORT_SECTIONS.values())
LABELS = ("VolumeName", "Nodule", "Emphysema")


def make_table(path: str, *rows: tuple[str, ...]) -> CsvTable:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return parse_csv(buffer.getvalue().encode(), path)


def make_tables(
    meta: tuple[tuple[str, ...], ...] = (META, ("a", "[0.75, 0.5]", "1.5", "11", "2", "-1024")),
    reports: tuple[tuple[str, ...], ...] = (REPORTS, ("a", "pain", "CT", "a nodule", "benign")),
    labels: tuple[tuple[str, ...], ...] = (LABELS, ("a", "1", "0.25")),
    **options: Any,
) -> SplitTables:
    tables = (("meta.csv", meta), ("reports.csv", reports), ("labels.csv", labels))
    return read_tables(*(make_table(path, *rows) for path, rows in tables), **options)


def make_row(tables: SplitTables, name: str = "a") -> Row:
    index = tables.metadata.first["a"]
    cells = {column: values[index] for column, values in tables.cells.items()}
    return cells | join_texts(name, tables)


def exclude(tables: SplitTables, rule: Any = "none", name: str = "a", **row: Any) -> Any:
    spec = CTSourceSpec(name="ct", hu_rule=rule)
    return exclude_by_cells(name, row=make_row(tables, name) | row, tables=tables, spec=spec)


def test_a_row_has_the_cells_of_all_three_tables() -> None:
    assert make_row(make_tables()) == {
        "spacing_i": 0.75,
        "spacing_j": 0.5,
        "spacing_k": 1.5,
        "num_slices": 11,
        "rescale_slope": 2.0,
        "rescale_intercept": -1024.0,
        "metadata": '{"NumberofSlices":11,"RescaleIntercept":-1024,"RescaleSlope":2,'
        '"XYSpacing":[0.75,0.5],"ZSpacing":1.5}',
        "report_clinical_information": "pain",
        "report_technique": "CT",
        "report_findings": "a nodule",
        "report_impressions": "benign",
        "report": "a nodule\nbenign",
        "labels": [1.0, 0.25],
    }


def test_names_may_be_written_in_another_way_in_the_cells() -> None:
    labels = (LABELS, ("a.nii.gz", "0", "1"))
    tables = make_tables(labels=labels, name_of=lambda name: name.removesuffix(".nii.gz"))
    assert join_texts("a", tables)["labels"] == [0.0, 1.0]


def test_a_name_that_no_table_has_joins_nothing() -> None:
    assert join_texts("b", make_tables()) == {}


def test_columns_that_are_optional_are_none_where_they_are_missing() -> None:
    meta = (META[:3], ("a", "[1, 1]", "2"))
    optional = ("NumberofSlices", "RescaleSlope", "RescaleIntercept")
    cells = make_tables(meta, optional=optional).cells
    names = ("num_slices", "rescale_slope", "rescale_intercept")
    assert [cells[name] for name in names] == [[None]] * 3
    with pytest.raises(CatalogError, match=r"meta\.csv, row 1, column NumberofSlices: missing"):
        make_tables(meta)


@pytest.mark.parametrize(
    ("rule", "row", "reason", "detail"),
    [
        ("none", {}, None, ""),
        ("none", {"spacing_k": None}, Reason.SPACING_MISSING, "ZSpacing is empty"),
        ("none", {"spacing_k": -1.0}, Reason.SPACING_MISSING, "ZSpacing is empty"),
        ("none", {"spacing_j": 0.0}, Reason.SPACING_MISSING, "XYSpacing is empty"),
        ("none", {"rescale_slope": None}, None, ""),
        ("table", {"rescale_slope": None}, Reason.HU_RULE_MISSING, "RescaleSlope is empty or zero"),
        ("table", {"rescale_slope": 0.0}, Reason.HU_RULE_MISSING, "RescaleSlope is empty or zero"),
        ("table", {"rescale_intercept": None}, Reason.HU_RULE_MISSING, "RescaleIntercept is empty"),
        ("table", {"rescale_intercept": 0.0}, None, ""),
        ("none", {"report": None}, Reason.MISSING_REPORT, "neither findings nor impressions"),
        ("none", {"labels": None}, Reason.MISSING_LABELS, "a label is empty"),
    ],
)
def test_the_first_rule_that_applies_excludes_a_row(
    rule: str, row: dict[str, Any], reason: Reason | None, detail: str
) -> None:
    excluded = exclude(make_tables(), rule, **row)
    if reason is None:
        assert excluded is None
    else:
        assert excluded[0] is reason
        assert excluded[1].startswith(detail)


def test_a_volume_needs_report_and_labels_only_where_texts_are_wanted() -> None:
    reports, labels = (REPORTS, ("b", "", "", "", "")), (LABELS, ("b", "0", "0"))
    assert exclude(make_tables(reports=reports)) == (Reason.MISSING_REPORT, "not in reports.csv")
    assert exclude(make_tables(labels=labels)) == (Reason.MISSING_LABELS, "not in labels.csv")
    assert exclude(make_tables(reports=reports, labels=labels, with_texts=False)) is None


def test_an_empty_label_leaves_a_volume_without_labels() -> None:
    assert join_texts("a", make_tables(labels=(LABELS, ("a", "1", ""))))["labels"] is None


def test_rows_that_differ_are_a_conflict_and_equal_ones_are_not() -> None:
    rows = [("a", "1", "0"), ("a", "1", "0"), ("b", "1", "0"), ("b", "1", "1")]
    tables = make_tables(labels=(LABELS, *rows))
    assert tables.find_conflict("a") is None
    conflict = tables.find_conflict("b")
    assert conflict is not None
    assert conflict.startswith("labels.csv: rows 4 and 5 have the same name but differ")
    assert tables.labels.first == {"a": 0, "b": 2}


@pytest.mark.parametrize("header", [("VolumeName",), ("VolumeName", "Nodule", "")])
def test_every_label_has_a_name(header: tuple[str, ...]) -> None:
    with pytest.raises(CatalogError, match=r"labels\.csv, row 1.*(no name|expected a column per)"):
        make_tables(labels=(header, ("a", "1", "0")[: len(header)]))


@pytest.mark.parametrize("cell", ["yes", "1e39", "-1e39"])
def test_a_label_that_float32_cannot_hold_is_named(cell: str) -> None:
    with pytest.raises(CatalogError, match=r"labels\.csv, row 2, column Nodule: expected a number"):
        make_tables(labels=(LABELS, ("a", cell, "0")))
