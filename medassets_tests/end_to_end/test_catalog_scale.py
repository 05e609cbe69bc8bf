"""CT-RATE's 50,188 rows: what a partition reads, and what growth leaves alone."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError
from medassets.shards.catalog.files import read_catalog, read_partition, read_plan
from medassets.testing.ct_rate_tables import NUM_CT_RATE_VOLUMES, make_ct_rate_tables

pytestmark = pytest.mark.slow


def keep_one_group(catalog: Path, target: Path, kept: int) -> None:
    """Copy a catalog with zeros in place of all rows but those of one row group."""
    content = bytearray(catalog.read_bytes())
    with pq.ParquetFile(catalog) as file:
        for number in (n for n in range(file.metadata.num_row_groups) if n != kept):
            group = file.metadata.row_group(number)
            for column in (group.column(i) for i in range(group.num_columns)):
                start = column.dictionary_page_offset or column.data_page_offset
                content[start : start + column.total_compressed_size] = bytes(
                    column.total_compressed_size
                )
    target.write_bytes(content)


def test_the_catalog_of_50188_rows_grows_and_a_partition_reads_its_own_rows(
    tmp_path: Path, open_folder: Callable[..., Workspace]
) -> None:
    counts = make_ct_rate_tables(tmp_path / "repository")
    assert sum(counts.values()) == NUM_CT_RATE_VOLUMES
    for split in counts:
        (tmp_path / "repository" / "dataset" / f"{split}_fixed").mkdir()
    workspace = open_folder(tmp_path / "repository", samples_per_shard=128)
    catalog = workspace.paths.catalog
    publish_catalog(workspace.paths, draft_catalog(workspace))
    plan = read_plan(catalog)
    assert plan.num_rows == NUM_CT_RATE_VOLUMES
    excluded = sum(plan.excluded_by_reason().values())
    assert sum(plan.partitions.values()) + excluded == plan.num_rows

    items = read_partition(catalog, "train-000200")
    assert len(items) == 128
    keep_one_group(catalog, tmp_path / "holed.parquet", 200 // 8)
    assert read_partition(tmp_path / "holed.parquet", "train-000200") == items
    # Eight shards of 128 rows are a row group.
    with pytest.raises(CatalogError, match="not a readable catalog"):
        read_partition(tmp_path / "holed.parquet", "train-000208")

    before = read_catalog(catalog)
    make_ct_rate_tables(tmp_path / "repository", num_rows=NUM_CT_RATE_VOLUMES + 1000)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    grown = read_plan(catalog)
    assert grown.num_rows == NUM_CT_RATE_VOLUMES + 1000
    full = [key for key, count in plan.partitions.items() if count == 128]
    assert len(full) >= 388
    for key in full:
        assert grown.digests[key] == plan.digests[key], key
    keys = dict(zip(before["key"].to_pylist(), before["partition"].to_pylist(), strict=True))
    after = read_catalog(catalog)
    for key, partition in zip(
        after["key"].to_pylist(), after["partition"].to_pylist(), strict=True
    ):
        if keys.get(key) in full:
            assert keys[key] == partition
