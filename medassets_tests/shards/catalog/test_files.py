"""The catalog on disk: what is written is read again, by partition, from few row groups."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.errors import CatalogError, ForeignFileError
from medassets.samples import SourceItem
from medassets.shards.catalog import footer
from medassets.shards.catalog.files import (
    read_catalog,
    read_partition,
    read_plan,
    read_unplanned,
    write_catalog,
)
from medassets.shards.catalog.plan import CatalogPlan, plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.catalog.previous import name_dataset, open_previous
from medassets.shards.fingerprint import rows_fingerprint
from medassets_tests.shards.catalog.catalog_rows import make_keys, make_rows, read_places


def test_no_rows_make_an_empty_catalog(tmp_path: Path) -> None:
    write_catalog(plan_catalog(make_rows([]), None, samples_per_shard=2), tmp_path / "c.parquet")
    assert read_plan(tmp_path / "c.parquet").partitions == {}


def test_a_catalog_comes_back_as_it_was_written(tmp_path: Path) -> None:
    labels = pa.array([[0.5, 1.0], None, []], pa.list_(pa.float32()))
    rows = make_rows(["a", "b", "c"], excluded=["c"], labels=labels, report=["ü", None, "x"])
    catalog = plan_catalog(rows, None, samples_per_shard=1)
    path = tmp_path / "new" / "catalog.parquet"
    write_catalog(catalog, path)
    back = read_catalog(path)
    assert back.equals(catalog)
    assert (back.schema.metadata or {})[b"label_names"] == b'["a"]'
    assert read_plan(path) == plan_of(catalog)
    assert [p.name for p in path.parent.iterdir()] == ["catalog.parquet"]


def test_items_carry_their_whole_row(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(plan_catalog(make_rows(["a", "b"], size=[5, 7]), None, samples_per_shard=2), path)
    items = read_partition(path, "train-000000")
    assert [(i.key, i.split, i.path, i.revision, i.row["size"]) for i in items] == [
        ("a", "train", "data/a.raw", "one", 5),
        ("b", "train", "data/b.raw", "one", 7),
    ]


def test_a_partition_the_plan_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(plan_catalog(make_rows(["a"]), None, samples_per_shard=2), path)
    with pytest.raises(CatalogError, match="'train-000007'"):
        read_partition(path, "train-000007")


def test_what_is_no_catalog_is_refused_with_a_remedy(tmp_path: Path) -> None:
    garbage, foreign = tmp_path / "garbage.parquet", tmp_path / "foreign.parquet"
    garbage.write_bytes(b"PAR1 but not really PAR1")
    pq.write_table(pa.table({"a": [1]}), foreign)
    for read in (read_plan, read_catalog, lambda path: read_partition(path, "train-000000")):
        with pytest.raises(CatalogError, match=r"garbage\.parquet: not a readable catalog"):
            read(garbage)
    with pytest.raises(CatalogError, match=r"foreign\.parquet: has no plan"):
        read_plan(foreign)


@pytest.mark.parametrize("kind", ["text", "table", "link"])
def test_a_file_that_is_no_catalog_of_ours_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "catalog.parquet"
    planned = plan_catalog(make_rows(["a"]), None, samples_per_shard=2)
    if kind == "text":
        path.write_bytes(b"my own notes")
    elif kind == "table":
        pq.write_table(pa.table({"a": [1]}), path)
    else:
        write_catalog(planned, tmp_path / "elsewhere.parquet")
        path.symlink_to(tmp_path / "elsewhere.parquet")
    before = path.read_bytes()
    with pytest.raises(ForeignFileError, match=r"catalog\.parquet: this was not made by medassets"):
        write_catalog(planned, path)
    assert path.read_bytes() == before
    path.unlink()
    write_catalog(planned, path)
    write_catalog(planned, path)


def _counting_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    groups: list[int] = []
    real = pq.ParquetFile.read_row_groups

    def read(self: pq.ParquetFile, found: list[int], *args: Any, **kwargs: Any) -> pa.Table:
        groups.extend(found)
        return real(self, found, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", read)
    return groups


def _bytes_read(path: Path, partition_key: str) -> int:
    """Return what one partition costs of the disk, told by the kernel."""

    def read_so_far() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    before = read_so_far()
    read_partition(path, partition_key)
    return read_so_far() - before


def _items_of(catalog: pa.Table, partition: str) -> list[SourceItem]:
    mask = pa.array([place == partition for place in catalog["partition"].to_pylist()])
    rows = catalog.filter(mask).to_pylist()
    return [SourceItem(r["key"], r["split"], r["path"], r["revision"], r) for r in rows]


@pytest.mark.slow
def test_fifty_thousand_rows_are_planned_in_seconds_and_read_by_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of CT-RATE, with texts of the length its rows have."""

    def make(count: int, revision: str) -> pa.Table:
        reports = [f"{i:06d} " * 250 for i in range(count)]
        return make_rows(
            make_keys(count),
            excluded=make_keys(40, start=900),
            revision=revision,
            report=reports,
            labels=[[0.0] * 18] * count,
        )

    path = tmp_path / "catalog.parquet"
    start = time.process_time()
    first = plan_catalog(make(50_188, "one"), None, samples_per_shard=128)
    write_catalog(first, path)
    assert time.process_time() - start < 20

    groups = _counting_reads(monkeypatch)
    cost = _bytes_read(path, "train-000100")
    # Eight shards of 128 rows are a group.
    assert groups == [100 // 8]
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == 392 // 8 + 1
    # The footer, and what the reader takes with it in its first guess.
    assert cost < metadata.serialized_size + metadata.row_group(12).total_byte_size + 2**17

    second = plan_catalog(make(51_188, "two"), read_catalog(path))
    before, after = plan_of(first), plan_of(second)
    full = [key for key, count in before.partitions.items() if count == 128]
    assert len(full) == 391
    write_catalog(second, path)
    for key in (full[0], full[-1]):
        old = rows_fingerprint(_items_of(first, key))
        assert rows_fingerprint(read_partition(path, key)) == old == after.digests[key]
    assert {k: after.digests[k] for k in full} == {k: before.digests[k] for k in full}
    places, grown = read_places(first), read_places(second)
    assert {key: grown[key] for key in places} == places
    assert sum(after.partitions.values()) == sum(before.partitions.values()) + 1000


def test_the_catalog_of_another_dataset_is_neither_replaced_nor_read(tmp_path: Path) -> None:
    planned = plan_catalog(make_rows(["a"]), None, samples_per_shard=2)
    path = tmp_path / "catalog.parquet"
    write_catalog(name_dataset(planned, "theirs"), path)
    before = path.read_bytes()
    with pytest.raises(ForeignFileError, match=r"catalog\.parquet: this was not made"):
        write_catalog(name_dataset(planned, "ours"), path)
    with pytest.raises(CatalogError, match="the catalog of theirs, not of ours; move it away"):
        read_plan(path, "ours")
    with (
        pytest.raises(CatalogError, match="the catalog of theirs, not of ours"),
        open_previous(path, "ours"),
    ):
        pass
    assert path.read_bytes() == before
    assert read_plan(path, "theirs") == read_plan(path)


def test_a_catalog_without_a_name_is_that_of_an_older_version(tmp_path: Path) -> None:
    planned = plan_catalog(make_rows(["a"]), None, samples_per_shard=2)
    path = tmp_path / "catalog.parquet"
    write_catalog(planned, path)
    write_catalog(name_dataset(planned, "ours"), path)
    assert read_plan(path, "ours").num_rows == 1


def _write_in_groups_of_shards(catalog: pa.Table, path: Path) -> None:
    """Write a catalog as versions before 0.2 did: a row group per shard, the plan in the schema."""
    with pq.ParquetWriter(path, catalog.schema, write_statistics=False) as writer:
        start = 0
        for count in plan_of(catalog).partitions.values():
            writer.write_table(catalog.slice(start, count))
            start += count
        writer.write_table(catalog.slice(start))


def test_a_catalog_with_a_row_group_per_shard_is_read_and_replaced(tmp_path: Path) -> None:
    rows = make_rows(make_keys(25), excluded=make_keys(3, start=7))
    catalog = plan_catalog(rows, None, samples_per_shard=4, limit=15)
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    _write_in_groups_of_shards(catalog, old)
    write_catalog(catalog, new)
    assert pq.ParquetFile(old).num_row_groups == 5
    assert pq.ParquetFile(new).num_row_groups == 2
    assert read_plan(old) == read_plan(new) == plan_of(catalog)
    assert read_catalog(old).equals(read_catalog(new))
    for key in plan_of(catalog).partitions:
        assert read_partition(old, key) == read_partition(new, key) == _items_of(catalog, key)
    unplanned = read_unplanned(new, ["key", "state"])
    assert read_unplanned(old, ["key", "state"]).equals(unplanned)
    assert unplanned["state"].to_pylist() == ["held"] * 7 + ["excluded"] * 3
    write_catalog(catalog, old)
    assert pq.ParquetFile(old).num_row_groups == 2


@pytest.mark.parametrize("size", [1, 3, 700, 1024, 2000])
def test_a_row_group_holds_whole_shards_and_a_partition_reads_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    catalog, path = plan_catalog(make_rows(make_keys(3000)), None, samples_per_shard=size), tmp_path
    write_catalog(catalog, path / "c.parquet")
    groups = _counting_reads(monkeypatch)
    keys = list(plan_of(catalog).partitions)
    for key in (keys[0], keys[len(keys) // 2], keys[-1]):
        groups.clear()
        assert read_partition(path / "c.parquet", key) == _items_of(catalog, key)
        assert len(groups) == 1


def test_the_footer_of_ten_thousand_shards_is_small(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    catalog = plan_catalog(make_rows(make_keys(40_000)), None, samples_per_shard=4)
    write_catalog(catalog, path)
    assert len(read_plan(path).partitions) == 10_000
    size = int.from_bytes(path.read_bytes()[-8:-4], "little")
    assert size < 2_000_000


def test_the_footer_is_read_once_until_the_catalog_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    real = footer.parse_plan

    def parse(metadata: Any, where: str) -> CatalogPlan:
        parsed.append(where)
        return real(metadata, where)

    path = tmp_path / "catalog.parquet"
    write_catalog(plan_catalog(make_rows(make_keys(4)), None, samples_per_shard=2), path)
    monkeypatch.setattr(footer, "parse_plan", parse)
    for _ in range(3):
        assert list(read_plan(path).partitions) == ["train-000000", "train-000001"]
        assert len(read_partition(path, "train-000001")) == 2
    assert len(parsed) == 1
    write_catalog(plan_catalog(make_rows(make_keys(2)), None, samples_per_shard=2), path)
    assert list(read_plan(path).partitions) == ["train-000000"]
