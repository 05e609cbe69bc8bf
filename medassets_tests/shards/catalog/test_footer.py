"""Rows by number, from the row groups that hold them, wherever these begin and end."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.shards.catalog.footer import read_footer


@pytest.mark.parametrize("group", [1, 3, 4, 10, 100])
@pytest.mark.parametrize(("start", "count"), [(0, 0), (0, 1), (2, 3), (3, 4), (9, 1), (0, 10)])
def test_rows_are_those_of_the_table(tmp_path: Path, group: int, start: int, count: int) -> None:
    table = pa.table({"key": [f"k{n}" for n in range(10)], "size": list(range(10))})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=group)
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        footer = read_footer(file, "t.parquet")
        assert footer.num_rows == 10
        assert footer.read_rows(file, start, count).equals(table.slice(start, count))
        sizes = footer.read_rows(file, start, count, ["size"])
    assert sizes.column_names == ["size"]
    assert sizes["size"].to_pylist() == list(range(start, start + count))
