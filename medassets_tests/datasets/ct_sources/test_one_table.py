"""The one table of a source: what a declaration may say of it, for trees and DICOM alike."""

from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.registry import open_kind
from medassets.errors import CatalogError, SpecError
from medassets.sources.folder import FolderSource
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec

SOURCES = [{"source": "folder", "layout": "tree"}, {"source": "dicom"}]


def open_source(fields: dict[str, Any], **changes: Any) -> Any:
    spec = VolumeDatasetSpec(**{"name": "tiny", "folder": "/data", **fields, **changes})
    return open_kind(spec).ct_source


@pytest.mark.parametrize("fields", SOURCES, ids=lambda one: one["source"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": "../t.csv", "columns": {"file": "a"}}, "^table: "),
        ({"table": "t.csv"}, "^columns: a table needs `columns`"),
        ({"columns": {"file": "a"}}, "^table: a table needs `columns`"),
        ({"table": "t.csv", "columns": {"fill": "a"}}, "^columns: expected file"),
        ({"table": "t.csv", "columns": {"report": ["a"]}}, "^columns: file: name the column"),
        ({"table": "t.csv", "columns": {"file": "a"}, "split_by": "column"}, "^split_by: column"),
        (
            {"table": "t.csv", "columns": {"file": "a"}, "requires": ("report",)},
            "^requires: report",
        ),
        ({"labels": {"columns": ["a"]}}, "^labels: .* takes `values` only"),
    ],
)
def test_what_cannot_be_is_named(
    fields: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        open_source(fields, **changes)


@pytest.mark.parametrize("fields", SOURCES, ids=lambda one: one["source"])
def test_windows_have_no_reports(fields: dict[str, Any]) -> None:
    columns = {"file": "a", "report": ["b"]}
    with pytest.raises(SpecError, match=r"^columns: report has no effect on windows"):
        open_kind(
            CTWindowDatasetSpec(
                name="tiny", folder="/data", table="t.csv", columns=columns, **fields
            )
        )


def test_each_source_joins_by_what_its_volumes_have() -> None:
    table = {"table": "t.csv", "columns": {"file": "a"}}
    tree, dicom = SOURCES
    assert open_source(dicom, join_by="study_uid", **table).spec.join_by == "study_uid"
    assert open_source(tree, join_by="stem", **table).spec.join_by == "stem"
    with pytest.raises(SpecError, match=r"^join_by: source dicom joins by series_uid, study_uid"):
        open_source(dicom, join_by="stem", **table)
    with pytest.raises(SpecError, match=r"^join_by: layout tree joins by path, name"):
        open_source(tree, join_by="series_uid", **table)


def test_elements_and_columns_of_one_name_are_refused() -> None:
    table = {"table": "t.csv", "columns": {"file": "a", "metadata": ["KVP"]}}
    with pytest.raises(SpecError, match=r"^columns: KVP: also an element of `tags`"):
        open_source(SOURCES[1], tags=("KVP",), **table)


@pytest.mark.parametrize("fields", SOURCES, ids=lambda one: one["source"])
@pytest.mark.parametrize("is_inside", [True, False])
def test_a_table_is_read_inside_the_source_or_elsewhere(
    tmp_path: Path, fields: dict[str, Any], is_inside: bool
) -> None:
    (tmp_path / "t.csv").write_text("a,b\nx,1\n")
    table = "t.csv" if is_inside else str(tmp_path / "t.csv")

    def read(**columns: Any) -> Any:
        source = open_source(fields, folder=str(tmp_path), table=table, columns=columns)
        assert source.first_table() == ("t.csv" if is_inside else None)
        return source.read_declared_table(FolderSource(tmp_path), None)

    assert read(file="a").rows == [["x", "1"]]
    with pytest.raises(CatalogError, match=r"no columns c, d; found a, b"):
        read(file="c", patient="d")
    (tmp_path / "t.csv").unlink()
    with pytest.raises(CatalogError, match=r"t\.csv"):
        read(file="a")
