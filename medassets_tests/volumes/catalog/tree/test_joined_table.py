"""What a joined table says of volumes, whatever these are named by."""

import pytest

from medassets.errors import CatalogError, Reason
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import make_table
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.ct_tables import Row
from medassets.volumes.catalog.tree.joined_table import JoinedTable

COLUMNS = TreeColumns(file="id", report=("text",), labels=("nodule",), metadata=("dose",))
TABLE = make_table(
    "t.csv",
    [
        ["id", "text", "nodule", "dose"],
        ["a", "clear", "0", "7"],
        ["b", "", "1", ""],
        ["c", "x", "1", "7"],
        ["c", "y", "1", "7"],
        ["z", "x", "1", "7"],
    ],
)
NAMES = ["a.nii", "b.nii", "c.nii", "d.nii"]


def join() -> JoinedTable:
    found = JoinedTable.read(TABLE, COLUMNS, LabelRules())
    return found.join_with(NAMES, declared="auto", before=None)


def test_without_a_table_nothing_is_said() -> None:
    empty = JoinedTable.read(None, TreeColumns(), LabelRules())
    joined = empty.join_with(NAMES, declared="auto", before=None)
    row: Row = {}
    joined.fill(row, "a.nii")
    assert row == {"label_names": [], "labels": []}
    assert (joined.is_there, joined.find_row("a.nii"), joined.describe(4)) == (False, None, None)
    assert joined.find_lack("a.nii", {"report"}) is None
    assert (list(joined.iter_rows()), joined.list_uncertain()) == ([], {})


def test_a_volume_has_what_its_row_says() -> None:
    joined, row = join(), Row()
    joined.fill(row, "a.nii")
    assert (row["report"], row["labels"], row["label_names"]) == ("clear", [0.0], ["nodule"])
    assert joined.read_metadata("a.nii") == '{"dose": "7"}'
    assert (joined.read_cell("a.nii", "dose"), joined.read_cell("b.nii", "dose")) == ("7", None)
    assert joined.read_metadata("d.nii") == "{}"


def test_what_is_missing_or_uncertain_has_a_reason() -> None:
    joined = join()
    needed = {"report", "labels"}
    found = {name: joined.find_lack(name, needed) for name in ("a.nii", "b.nii", "d.nii")}
    assert {name: one and one[0] for name, one in found.items()} == {
        "a.nii": None,
        "b.nii": Reason.MISSING_REPORT,
        "d.nii": Reason.MISSING_REPORT,
    }
    assert {name: one[0] for name, one in joined.list_uncertain().items()} == {
        "c.nii": Reason.DUPLICATE_ROW
    }
    (left,) = joined.iter_rows()
    assert (left["excluded"], left["detail"]) == (
        "missing_source",
        "t.csv, row 6: 'z' names no volume of the tree",
    )
    figures = joined.describe(4)
    assert figures is not None
    assert (figures.files_matched, figures.files_unmatched, figures.files_ambiguous) == (2, 1, 1)


def test_a_declared_form_is_taken() -> None:
    found = JoinedTable.read(TABLE, COLUMNS, LabelRules())
    with pytest.raises(CatalogError, match="no row names a file"):
        found.join_with(NAMES, declared="folder", before=None)
