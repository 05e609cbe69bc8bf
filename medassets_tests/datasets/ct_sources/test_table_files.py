"""Tables are read once; those that do not exist are left out."""

from pathlib import Path

import pytest

from medassets.datasets.ct_sources.table_files import read_table_files
from medassets.errors import CatalogError
from medassets.sources.folder import FolderSource


def test_tables_that_exist_are_kept_and_others_named_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"name")
    found = read_table_files(FolderSource(tmp_path), ["a.csv", "b.csv"], None)
    assert found.contents == {"a.csv": b"name"}
    (tmp_path / "a.csv").unlink()
    assert found.read_table("a.csv", revision=None) == b"name"
    with pytest.raises(CatalogError, match=r"b\.csv: no such table"):
        found.read_table("b.csv", revision=None)
