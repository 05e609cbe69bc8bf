"""Columns of the table of a tree: names and lists of names; anything else is refused by name."""

from typing import Any

import pytest

from medassets.specs.tree_columns import TreeColumns


def test_columns_are_names_and_lists_of_names() -> None:
    columns = TreeColumns.parse(
        {
            "file": " id ",
            "report": "Findings_EN",
            "labels": ["a", "b"],
            "split": "set",
            "sheet": "S1",
        }
    )
    assert columns == TreeColumns(
        "id", report=("Findings_EN",), labels=("a", "b"), split="set", sheet="S1"
    )
    assert columns.list_names() == ["id", "Findings_EN", "a", "b", "set"]
    assert TreeColumns.parse({}) == TreeColumns()


def test_a_column_that_serves_twice_is_needed_once() -> None:
    assert TreeColumns.parse({"file": "id", "patient": "id"}).list_names() == ["id"]


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ({"files": "id"}, "^expected file, patient, .*, got 'files'$"),
        ({"patient": "id"}, "^file: name the column"),
        ({"file": ["id"]}, "^file: expected the name of a column"),
        ({"file": ""}, "^file: expected the name"),
        ({"file": "id", "labels": [1]}, "^labels: expected the name"),
        ({"file": "id", "labels": 1}, "^labels: expected a list"),
        ({"file": "id", "report": ["a", "a"]}, "^report: expected each column once"),
    ],
)
def test_what_is_no_column_is_refused(declared: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TreeColumns.parse(declared)
