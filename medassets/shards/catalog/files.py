"""The catalog on disk: one Parquet file, written in the order of the plan.

A row group holds whole shards, a thousand rows or more, so that a partition's run reads few rows
besides its own, and the footer of ten thousand shards stays small. The plan is in the footer alone:
the schema that Arrow stores there would hold it a second time.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from medassets.errors import CatalogError
from medassets.samples import SourceItem
from medassets.shards.catalog.footer import Footer, read_footer
from medassets.shards.catalog.plan import PLAN_KEY, CatalogPlan, plan_of
from medassets.shards.catalog.previous import dataset_of, explain_unreadable, require_catalog_of
from medassets.storage.atomic import publishing
from medassets.storage.ownership import IsOurs, is_plain_file
from medassets.storage.paths import split_partition_key

_LEAST_ROWS = 1024
"""Rows of a group, of a shard's size or more."""

_MOST_GROUPS = 256
"""Larger groups come before more of them: each is 2 kB of a footer that every run reads."""

_Version: TypeAlias = tuple[int, int, int, int]
_footers: dict[Path, tuple[_Version, Footer]] = {}
"""Footers of this process; a catalog is replaced as a whole, so that its inode tells."""


@contextmanager
def _open(path: Path) -> Iterator[tuple[pq.ParquetFile, Footer]]:
    """Open a catalog; its footer is read once per process.

    Raises:
        CatalogError: If the file is not a readable catalog.
    """
    with explain_unreadable(path), pa.OSFile(str(path)) as opened:
        status = os.fstat(opened.fileno())
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known = _footers.get(path)
        footer = known[1] if known is not None and known[0] == version else None
        with pq.ParquetFile(opened, metadata=footer and footer.metadata) as file:
            if footer is None:
                footer = read_footer(file, str(path))
                _footers[path] = (version, footer)
            yield file, footer


def read_plan(path: Path, dataset: str | None = None) -> CatalogPlan:
    """Return the plan of a catalog on disk, reading the file's footer only.

    Raises:
        CatalogError: If the file is not a catalog, or that of another dataset.
    """
    with _open(path) as (_, footer):
        if dataset is not None:
            require_catalog_of(dataset, footer.schema, path)
        return footer.plan


def is_catalog_of(dataset: str | None) -> IsOurs:
    """Return the evidence that a file is the catalog of a dataset.

    Args:
        dataset: Its name; None accepts the catalog of any dataset.
    """

    def is_ours(path: Path) -> bool:
        try:
            return is_plain_file(path) and bool(read_plan(path, dataset))
        except CatalogError:
            return False

    return is_ours


def read_catalog(path: Path) -> pa.Table:
    """Return the whole catalog.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with _open(path) as (file, footer):
        return file.read().replace_schema_metadata(footer.schema.metadata)


def read_figures(path: Path) -> pa.Table:
    """Return the catalog without its rows: only the file's footer is read.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with _open(path) as (_, footer):
        return footer.schema.empty_table()


def read_unplanned(path: Path, columns: Sequence[str]) -> pa.Table:
    """Return columns of the rows that have no shard: they are held or excluded.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    with _open(path) as (file, footer):
        start = footer.plan.num_planned
        return footer.read_rows(file, start, footer.num_rows - start, columns)


def read_partition(path: Path, partition_key: str) -> list[SourceItem]:
    """Return the samples of one shard in order, reading the row group that holds them.

    Raises:
        CatalogError: If the plan has no such partition, or the file is not a catalog.
    """
    split_partition_key(partition_key)
    with _open(path) as (file, footer):
        plan = footer.plan
        if partition_key not in plan.partitions:
            msg = (
                f"{path}: the plan has no partition {partition_key!r}; refresh the catalog, or "
                f"choose one of its {len(plan.partitions)} partitions"
            )
            raise CatalogError(msg)
        start, count = plan.starts[partition_key], plan.partitions[partition_key]
        return [as_item(row) for row in footer.read_rows(file, start, count).to_pylist()]


def write_catalog(catalog: pa.Table, path: Path) -> None:
    """Write a catalog and publish it atomically.

    The caller holds the catalog's lock; leftovers of killed writers are removed.

    Raises:
        ForeignFileError: If a file of this name is not a catalog, or that of another dataset.
        DiskSpaceError: If the disk is full; the old catalog stays.
    """
    metadata = dict(catalog.schema.metadata)
    stored = {PLAN_KEY: metadata.pop(PLAN_KEY)}
    table = catalog.replace_schema_metadata(metadata)
    # Every run reads the footer; statistics of the texts of every shard would double its size.
    with (
        publishing(path, is_ours=is_catalog_of(dataset_of(catalog.schema))) as private,
        pq.ParquetWriter(
            private, table.schema, compression="zstd", write_statistics=False
        ) as writer,
    ):
        start = 0
        for count in _size_groups(plan_of(catalog)):
            writer.write_table(table.slice(start, count), row_group_size=count)
            start += count
        writer.write_table(table.slice(start))
        writer.add_key_value_metadata(stored)


def _size_groups(plan: CatalogPlan) -> Iterator[int]:
    """Yield the number of rows of each row group: whole shards, the last ones may be few."""
    least = max(_LEAST_ROWS, plan.num_planned // _MOST_GROUPS)
    count = 0
    for rows in plan.partitions.values():
        count += rows
        if count >= least:
            yield count
            count = 0
    if count:
        yield count


def take_partition(catalog: pa.Table, plan: CatalogPlan, partition_key: str) -> list[SourceItem]:
    """Return the samples of one shard from a catalog that may not be published yet.

    Args:
        catalog: Its rows, planned ones first.
        plan: Its plan.
        partition_key: The shard; one of the plan.
    """
    rows = catalog.slice(plan.starts[partition_key], plan.partitions[partition_key])
    return [as_item(row) for row in rows.to_pylist()]


def as_item(row: dict[str, Any]) -> SourceItem:
    """Return one planned row of a catalog as an item."""
    return SourceItem(
        key=row["key"], split=row["split"], path=row["path"], revision=row["revision"], row=row
    )
