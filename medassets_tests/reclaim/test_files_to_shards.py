"""Which shards hold the samples of each file of a source."""

from pathlib import Path

import pyarrow as pa
import pytest

from medassets.errors import CatalogError
from medassets.reclaim.files_to_shards import Places, index_places, read_places
from medassets.tars.index import split_sample_path
from medassets_tests.reclaim.reclaiming import KEYS, Made

ROWS = [
    ("a.tar/1", "planned", "train-000010"),
    ("a.tar/2", "planned", "train-000002"),
    ("a.tar/3", "planned", "train-000002"),
    ("a.tar/4", "excluded", None),
    ("b.tar/1", "held", None),
    (None, "excluded", None),
]


def make_table(rows: list[tuple[str | None, str, str | None]]) -> pa.Table:
    names = ("path", "state", "partition")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def test_a_file_has_the_shards_of_its_samples_by_number_each_once() -> None:
    found = index_places(make_table(ROWS), lambda path: split_sample_path(path)[0])
    assert found == {
        "a.tar": Places(["train-000002", "train-000010"], num_unplanned=1),
        "b.tar": Places([], num_unplanned=1),
    }


def test_a_file_that_is_one_sample_has_one_place() -> None:
    rows = [("x/1.npz", "planned", "train-000000"), ("x/2.npz", "excluded", None)]
    found = index_places(make_table([*rows]), str)
    assert found == {"x/1.npz": Places(["train-000000"]), "x/2.npz": Places([], num_unplanned=1)}


def test_the_catalog_on_disk_says_the_same_as_its_rows(made: Made) -> None:
    workspace = made.open()
    found = read_places(workspace.paths.catalog, workspace.source)
    assert set(found) == set(made.tree.paths.values())
    held = [place.partitions for place in found.values()]
    assert {key for keys in held for key in keys} == set(KEYS)
    assert all(len(keys) == 1 for keys in held)


def test_a_catalog_that_was_written_again_is_read_again(made: Made, tmp_path: Path) -> None:
    workspace = made.open()
    before = read_places(workspace.paths.catalog, workspace.source)
    new = made.add_files(tmp_path)
    made.refresh()
    after = read_places(workspace.paths.catalog, workspace.source)
    assert set(after) - set(before) == {
        path for path in after if Path(path).name.removesuffix(".npz") in new
    }
    assert len(after) == len(before) + 2


def test_a_file_that_is_no_catalog_is_named(made: Made) -> None:
    workspace = made.open()
    workspace.paths.catalog.write_bytes(b"no parquet")
    with pytest.raises(CatalogError, match=r"catalog\.parquet"):
        read_places(workspace.paths.catalog, workspace.source)
