"""Report, labels and kept cells of the rows of a table."""

import pytest

from medassets.errors import CatalogError, Reason
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import make_table
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.tree.texts import exclude_by_texts, fill_texts, read_texts

TABLE = make_table(
    "meta.csv",
    [
        ["id", "Findings_EN", "note", "a", "b", "age"],
        ["1", "clear", "old", "1", "0", "064"],
        ["2", "n/a", "", "", "0", ""],
        ["3", "x", "", "2", "true", "7"],
    ],
)
COLUMNS = TreeColumns(
    "id", report=("Findings_EN", "note"), labels=("a", "b"), metadata=("age", "id")
)
BOTH = ("report", "labels")


def fill(index: int | None, columns: TreeColumns = COLUMNS) -> dict[str, object]:
    row: dict[str, object] = {}
    fill_texts(row, index, read_texts(TABLE, columns, LabelRules()), columns)
    return row


def test_columns_of_the_report_are_joined_and_those_named_like_sections_kept() -> None:
    assert fill(0) == {
        "label_names": ["a", "b"],
        "labels": [1.0, 0.0],
        "report": "clear\nold",
        "report_findings": "clear",
    }
    assert fill(1) == {
        "label_names": ["a", "b"],
        "labels": [None, 0.0],
        "report": None,
        "report_findings": None,
    }
    assert fill(None) == {"label_names": ["a", "b"], "labels": [None, None]}


def test_without_columns_there_is_no_text_and_no_label() -> None:
    assert fill(0, TreeColumns("id")) == {"label_names": [], "labels": [], "report": None}


def test_kept_cells_are_text() -> None:
    assert list(read_texts(TABLE, COLUMNS, LabelRules()).metadata) == [
        '{"age": "064", "id": "1"}',
        '{"age": null, "id": "2"}',
        '{"age": "7", "id": "3"}',
    ]
    assert list(read_texts(TABLE, TreeColumns("id"), LabelRules()).metadata) == ["{}"] * 3


@pytest.mark.parametrize(
    ("index", "requires", "expected"),
    [
        (0, BOTH, None),
        (1, BOTH, (Reason.MISSING_REPORT, "meta.csv, row 3: the report is empty")),
        (1, ("labels",), (Reason.MISSING_LABELS, "meta.csv, row 3: a empty")),
        (1, (), None),
        (None, BOTH, (Reason.MISSING_REPORT, "not in meta.csv")),
        (None, ("labels",), (Reason.MISSING_LABELS, "not in meta.csv")),
        (None, (), None),
        (2, (), (Reason.BAD_LABELS, "label 0 is 2; the declaration allows 0, 1")),
    ],
)
def test_what_is_required_and_missing_excludes(
    index: int | None, requires: tuple[str, ...], expected: tuple[Reason, str] | None
) -> None:
    texts = read_texts(TABLE, COLUMNS, LabelRules(values=(0.0, 1.0)))
    row: dict[str, object] = {}
    fill_texts(row, index, texts, COLUMNS)
    assert exclude_by_texts(row, index, texts, table=TABLE, requires=requires) == expected


def test_a_column_of_text_is_no_label() -> None:
    with pytest.raises(
        CatalogError, match=r"meta\.csv, row 2, column Findings_EN: expected a number"
    ):
        read_texts(TABLE, TreeColumns("id", labels=("Findings_EN",)), LabelRules())
