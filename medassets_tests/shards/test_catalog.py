import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.errors import CatalogError, ForeignFileError
from medassets.samples import SourceItem
from medassets.shards import catalog
from medassets.shards.catalog import (
    plan_catalog,
    plan_of,
    read_catalog,
    read_partition,
    read_plan,
    write_catalog,
)
from medassets.shards.catalog_reader import name_dataset, open_previous
from medassets.shards.fingerprint import rows_fingerprint
from medassets.storage.checksums import fingerprint
from medassets_tests.shards.catalog_rows import make_keys, make_rows, read_places


def test_every_row_ends_in_one_state_and_the_counts_add_up() -> None:
    catalog = plan_catalog(
        make_rows(make_keys(10), excluded=["k000003", "k000008"]),
        None,
        samples_per_shard=3,
        limit=5,
    )
    plan = plan_of(catalog)
    assert sorted(catalog["key"].to_pylist()) == make_keys(10)
    assert catalog["state"].to_pylist() == ["planned"] * 5 + ["held"] * 3 + ["excluded"] * 2
    assert plan.excluded == {"train": {"no_chest": 2}}
    assert plan.excluded_by_reason() == {"no_chest": 2}
    assert sum(plan.partitions.values()) + plan.num_held + 2 == plan.num_rows == 10


def test_what_only_a_person_reads_changes_the_notes_and_nothing_else() -> None:
    rows = make_rows(make_keys(5)).replace_schema_metadata({b"figures": b"1"})
    first = plan_of(plan_catalog(rows, None, samples_per_shard=2))
    cut = pa.concat_tables([rows.slice(0, 3), rows.slice(3)])
    assert plan_of(plan_catalog(cut, None, samples_per_shard=2)) == first
    figures = rows.replace_schema_metadata({b"figures": b"2"})
    details = rows.set_column(
        rows.column_names.index("detail"), "detail", pa.array(["why", *[None] * 4])
    )
    for changed in (figures, details):
        plan = plan_of(plan_catalog(changed, None, samples_per_shard=2))
        assert plan.notes != first.notes
    assert plan_of(plan_catalog(figures, None, samples_per_shard=2)).version == first.version


def test_another_shard_size_is_refused_with_the_reason() -> None:
    first = plan_catalog(make_rows(make_keys(5)), None, samples_per_shard=2)
    with pytest.raises(CatalogError, match="made with 2, got 3"):
        plan_catalog(make_rows(make_keys(5)), first, samples_per_shard=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (make_rows(["a", "a"]), "key 'a' is repeated"),
        (make_rows(["a.b"]), r"key 'a\.b' is not"),
        (make_rows([""]), "key '' is not"),
        (make_rows(["a" * 91]), "is not 1 to 90"),
        (make_rows(["a"]).drop_columns(["path"]), r"columns \['path'\] are missing"),
        (make_rows(["a"], split="a-b"), "partition key"),
        (
            make_rows(["a"], share=[float("nan")]),
            r"train-000000 \(a to a\): a value is not plain JSON",
        ),
        (
            make_rows(["a"]).set_column(2, "path", pa.array(["../etc/passwd"])),
            "path in source",
        ),
    ],
)
def test_rows_that_no_plan_can_hold_are_refused(rows: pa.Table, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        plan_catalog(rows, None, samples_per_shard=2)


def test_the_first_plan_needs_a_shard_size() -> None:
    with pytest.raises(CatalogError, match="samples_per_shard"):
        plan_catalog(make_rows(["a"]), None)


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
    real = pq.ParquetFile.read_row_group

    def read(self: pq.ParquetFile, i: int, *args: Any, **kwargs: Any) -> pa.Table:
        groups.append(i)
        return real(self, i, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    return groups


def _bytes_read(path: Path, partition_key: str) -> int:
    """Return what one partition costs of the disk, told by the kernel."""

    def read_so_far() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    before = read_so_far()
    read_partition(path, partition_key)
    return read_so_far() - before


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
    assert groups == [100]
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == len(plan_of(first).partitions) + 1
    # The footer, and what the reader takes with it in its first guess.
    assert cost < metadata.serialized_size + metadata.row_group(100).total_byte_size + 2**17

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


def _items_of(catalog: pa.Table, partition: str) -> list[SourceItem]:
    mask = pa.array([place == partition for place in catalog["partition"].to_pylist()])
    rows = catalog.filter(mask).to_pylist()
    return [SourceItem(r["key"], r["split"], r["path"], r["revision"], r) for r in rows]


def test_the_version_is_the_hash_of_everything_that_a_plan_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "_ROWS_AT_A_TIME", 3)
    rows = make_rows(make_keys(20), excluded=make_keys(9, start=4))
    plan = plan_of(plan_catalog(rows, None, samples_per_shard=2, limit=5))
    rest = [[key, "train", None] for key in make_keys(20)[14:]]
    rest += [[key, "train", "no_chest"] for key in make_keys(9, start=4)]
    everything = {"size": 2, "digests": plan.digests, "rest": rest}
    assert plan.version == fingerprint(everything)


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
