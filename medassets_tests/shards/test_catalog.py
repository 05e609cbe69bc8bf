import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import CatalogError
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
from medassets.shards.fingerprint import plan_fingerprint, rows_fingerprint
from medassets.storage.checksums import fingerprint


def _rows(
    keys: Sequence[str],
    *,
    excluded: Sequence[str] = (),
    split: str = "train",
    revision: str | None = "one",
    **columns: Any,
) -> pa.Table:
    count = len(keys)
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "split": pa.array([split] * count, pa.string()),
            "path": pa.array([f"data/{key}.raw" for key in keys], pa.string()),
            "revision": pa.array([revision] * count, pa.string()),
            "excluded": pa.array(
                ["no_chest" if key in excluded else None for key in keys], pa.string()
            ),
            "detail": pa.nulls(count, pa.string()),
            **columns,
        },
        metadata={"label_names": '["a"]'},
    )


def _places(catalog: pa.Table) -> dict[str, str]:
    columns = zip(catalog["key"].to_pylist(), catalog["partition"].to_pylist(), strict=True)
    return {key: partition for key, partition in columns if partition is not None}


def _keys(count: int, start: int = 0) -> list[str]:
    return [f"k{i:06d}" for i in range(start, start + count)]


def test_samples_are_sorted_and_laid_into_shards_per_split() -> None:
    rows = pa.concat_tables([_rows(["c", "a", "b"]), _rows(["z", "y"], split="valid")])
    catalog = plan_catalog(rows, None, samples_per_shard=2)
    assert catalog["key"].to_pylist() == ["a", "b", "c", "y", "z"]
    assert plan_of(catalog).partitions == {
        "train-000000": 2,
        "train-000001": 1,
        "valid-000000": 2,
    }
    assert plan_of(catalog).splits() == {
        "train": ["train-000000", "train-000001"],
        "valid": ["valid-000000"],
    }


def test_every_row_ends_in_one_state_and_the_counts_add_up() -> None:
    catalog = plan_catalog(
        _rows(_keys(10), excluded=["k000003", "k000008"]), None, samples_per_shard=3, limit=5
    )
    plan = plan_of(catalog)
    assert sorted(catalog["key"].to_pylist()) == _keys(10)
    assert catalog["state"].to_pylist() == ["planned"] * 5 + ["held"] * 3 + ["excluded"] * 2
    assert plan.excluded == {"train": {"no_chest": 2}}
    assert plan.excluded_by_reason() == {"no_chest": 2}
    assert sum(plan.partitions.values()) + plan.num_held + 2 == plan.num_rows == 10


def test_new_samples_go_behind_the_old_ones_whatever_their_names() -> None:
    first = plan_catalog(_rows(["m", "n", "o"]), None, samples_per_shard=2)
    second = plan_catalog(_rows(["a", "m", "n", "o", "z"], revision="two"), first)
    assert _places(second) == {
        "m": "train-000000",
        "n": "train-000000",
        "o": "train-000001",
        "a": "train-000001",
        "z": "train-000002",
    }
    revisions = dict(zip(second["key"].to_pylist(), second["revision"].to_pylist(), strict=True))
    assert revisions == {"m": "one", "n": "one", "o": "two", "a": "two", "z": "two"}


def test_a_refresh_without_news_changes_nothing() -> None:
    first = plan_catalog(_rows(_keys(5)), None, samples_per_shard=2)
    second = plan_catalog(_rows(_keys(5), revision="two"), first, samples_per_shard=2)
    assert plan_of(second) == plan_of(first)
    assert second.equals(first)


def test_a_planned_sample_that_vanishes_or_is_excluded_later_keeps_its_place() -> None:
    first = plan_catalog(_rows(["a", "b", "c"]), None, samples_per_shard=2)
    second = plan_catalog(_rows(["a", "c", "d"], excluded=["a"], revision="two"), first)
    assert _places(second) == {
        "a": "train-000000",
        "b": "train-000000",
        "c": "train-000001",
        "d": "train-000001",
    }
    assert plan_of(second).excluded == {}
    assert plan_of(second).digests["train-000000"] == plan_of(first).digests["train-000000"]


def test_an_unpinned_source_shows_todays_rows_in_yesterdays_places() -> None:
    rows = _rows(["a", "b", "c"], num_bytes=[1, 2, 3])
    first = plan_catalog(rows, None, samples_per_shard=2)
    changed = _rows(["a", "b", "c"], num_bytes=[1, 9, 3])
    second = plan_catalog(changed, first, pinned=False)
    assert _places(second) == _places(first)
    assert second["num_bytes"].to_pylist() == [1, 9, 3]
    before, after = plan_of(first).digests, plan_of(second).digests
    assert before["train-000000"] != after["train-000000"]
    assert before["train-000001"] == after["train-000001"]
    assert plan_catalog(changed, first)["num_bytes"].to_pylist() == [1, 2, 3]


def test_a_limit_holds_samples_back_until_it_is_lifted() -> None:
    rows = pa.concat_tables([_rows(_keys(5)), _rows(["y", "z"], split="valid")])
    first = plan_catalog(rows, None, samples_per_shard=2, limit=3)
    assert plan_of(first).partitions == {"train-000000": 2, "train-000001": 1}
    assert plan_of(first).num_held == 4
    same = plan_catalog(rows, first, limit=3)
    assert plan_of(same) == plan_of(first)
    lifted = plan_catalog(rows, first)
    assert plan_of(lifted).num_held == 0
    assert plan_of(lifted).partitions == {
        "train-000000": 2,
        "train-000001": 2,
        "train-000002": 1,
        "valid-000000": 2,
    }


def test_what_only_a_person_reads_changes_the_notes_and_nothing_else() -> None:
    rows = _rows(_keys(5)).replace_schema_metadata({b"figures": b"1"})
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
    first = plan_catalog(_rows(_keys(5)), None, samples_per_shard=2)
    with pytest.raises(CatalogError, match="made with 2, got 3"):
        plan_catalog(_rows(_keys(5)), first, samples_per_shard=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_rows(["a", "a"]), "key 'a' stands twice"),
        (_rows(["a.b"]), r"key 'a\.b' is not"),
        (_rows([""]), "key '' is not"),
        (_rows(["a" * 91]), "is not 1 to 90"),
        (_rows(["a"]).drop_columns(["path"]), r"columns \['path'\] are missing"),
        (_rows(["a"], split="a-b"), "partition key"),
        (_rows(["a"], share=[float("nan")]), r"train-000000 \(a to a\): a value is no plain JSON"),
        (
            _rows(["a"]).set_column(2, "path", pa.array(["../etc/passwd"])),
            "path in source",
        ),
    ],
)
def test_rows_that_no_plan_can_hold_are_refused(rows: pa.Table, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        plan_catalog(rows, None, samples_per_shard=2)


def test_the_first_plan_needs_a_shard_size() -> None:
    with pytest.raises(CatalogError, match="samples_per_shard"):
        plan_catalog(_rows(["a"]), None)


def test_no_rows_make_an_empty_catalog(tmp_path: Path) -> None:
    write_catalog(plan_catalog(_rows([]), None, samples_per_shard=2), tmp_path / "c.parquet")
    assert read_plan(tmp_path / "c.parquet").partitions == {}


def test_a_catalog_comes_back_as_it_was_written(tmp_path: Path) -> None:
    labels = pa.array([[0.5, 1.0], None, []], pa.list_(pa.float32()))
    rows = _rows(["a", "b", "c"], excluded=["c"], labels=labels, report=["ü", None, "x"])
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
    write_catalog(plan_catalog(_rows(["a", "b"], size=[5, 7]), None, samples_per_shard=2), path)
    items = read_partition(path, "train-000000")
    assert [(i.key, i.split, i.path, i.revision, i.row["size"]) for i in items] == [
        ("a", "train", "data/a.raw", "one", 5),
        ("b", "train", "data/b.raw", "one", 7),
    ]


def test_a_partition_the_plan_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(plan_catalog(_rows(["a"]), None, samples_per_shard=2), path)
    with pytest.raises(CatalogError, match="'train-000007'"):
        read_partition(path, "train-000007")


def test_what_is_no_catalog_is_refused_with_a_remedy(tmp_path: Path) -> None:
    garbage, foreign = tmp_path / "garbage.parquet", tmp_path / "foreign.parquet"
    garbage.write_bytes(b"PAR1 but not really PAR1")
    pq.write_table(pa.table({"a": [1]}), foreign)
    for read in (read_plan, read_catalog, lambda path: read_partition(path, "train-000000")):
        with pytest.raises(CatalogError, match=r"garbage\.parquet: not a readable catalog"):
            read(garbage)
    with pytest.raises(CatalogError, match=r"foreign\.parquet: holds no plan"):
        read_plan(foreign)


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


def test_fifty_thousand_rows_are_planned_in_seconds_and_read_by_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of CT-RATE, with texts of the length its rows have."""

    def make(count: int, revision: str) -> pa.Table:
        reports = [f"{i:06d} " * 250 for i in range(count)]
        return _rows(
            _keys(count),
            excluded=_keys(40, start=900),
            revision=revision,
            report=reports,
            labels=[[0.0] * 18] * count,
        )

    path = tmp_path / "catalog.parquet"
    start = time.perf_counter()
    first = plan_catalog(make(50_188, "one"), None, samples_per_shard=128)
    write_catalog(first, path)
    assert time.perf_counter() - start < 20

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
    places, grown = _places(first), _places(second)
    assert {key: grown[key] for key in places} == places
    assert sum(after.partitions.values()) == sum(before.partitions.values()) + 1000


def _items_of(catalog: pa.Table, partition: str) -> list[SourceItem]:
    mask = pa.array([place == partition for place in catalog["partition"].to_pylist()])
    rows = catalog.filter(mask).to_pylist()
    return [SourceItem(r["key"], r["split"], r["path"], r["revision"], r) for r in rows]


def test_a_digest_in_the_plan_is_that_of_the_rows_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(plan_catalog(_rows(_keys(5), size=[1.5] * 5), None, samples_per_shard=2), path)
    for key, digest in read_plan(path).digests.items():
        assert rows_fingerprint(read_partition(path, key)) == digest
    assert plan_fingerprint("spec", "rows") != plan_fingerprint("other", "rows")


def test_the_version_is_the_hash_of_everything_that_a_plan_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "_ROWS_AT_A_TIME", 3)
    rows = _rows(_keys(20), excluded=_keys(9, start=4))
    plan = plan_of(plan_catalog(rows, None, samples_per_shard=2, limit=5))
    rest = [[key, "train", None] for key in _keys(20)[14:]]
    rest += [[key, "train", "no_chest"] for key in _keys(9, start=4)]
    everything = {"size": 2, "digests": plan.digests, "rest": rest}
    assert plan.version == fingerprint(everything)


_refreshes = st.lists(
    st.tuples(
        st.sets(st.integers(0, 30)),  # present
        st.sets(st.integers(0, 30), max_size=8),  # excluded
        st.none() | st.integers(0, 30),  # limit
    ),
    min_size=1,
    max_size=6,
)


def _never(_: str) -> bool:
    return False


def test_a_short_shard_is_not_planned_anew_when_a_file_of_it_is_gone() -> None:
    first = plan_catalog(_rows(["a", "b"]), None, samples_per_shard=3, pinned=False)
    # `a` was deleted after it was proven to be in the shard.
    grown = plan_catalog(_rows(["b", "c", "d"]), first, pinned=False, has_file=_never)
    assert _places(grown) == {
        "a": "train-000000",
        "b": "train-000000",
        "c": "train-000001",
        "d": "train-000001",
    }
    last = plan_catalog(_rows(["c", "d", "e", "f"]), grown, pinned=False, has_file=_never)
    assert plan_of(last).partitions == {"train-000000": 2, "train-000001": 3, "train-000002": 1}


def test_a_hub_keeps_files_that_left_it_so_a_short_shard_may_grow() -> None:
    first = plan_catalog(_rows(["a", "b"]), None, samples_per_shard=3)
    grown = plan_catalog(_rows(["b", "c"]), first)
    assert _places(grown) == dict.fromkeys("abc", "train-000000")


@settings(max_examples=150, deadline=None)
@given(refreshes=_refreshes, size=st.integers(1, 5), pinned=st.booleans())
def test_a_plan_only_grows(
    refreshes: list[tuple[set[int], set[int], int | None]], *, size: int, pinned: bool
) -> None:
    previous: pa.Table | None = None
    for number, (present, excluded, limit) in enumerate(refreshes):
        rows = pa.concat_tables(
            [
                _rows(
                    [f"{split}_{i}" for i in sorted(present) if i % 2 == parity],
                    excluded=[f"{split}_{i}" for i in excluded],
                    split=split,
                    revision=str(number),
                )
                for parity, split in enumerate(("train", "valid"))
            ]
        )
        catalog = plan_catalog(rows, previous, samples_per_shard=size, limit=limit, pinned=pinned)
        _check_rows_are_accounted_for(rows, catalog, previous)
        if previous is not None:
            _check_growth(previous, catalog, size=size, pinned=pinned)
        previous = catalog


def _check_rows_are_accounted_for(
    rows: pa.Table, catalog: pa.Table, previous: pa.Table | None
) -> None:
    kept = set(_places(previous)) if previous is not None else set()
    keys = catalog["key"].to_pylist()
    assert len(keys) == len(set(keys))
    assert set(keys) == set(rows["key"].to_pylist()) | kept
    plan = plan_of(catalog)
    excluded = sum(plan.excluded_by_reason().values())
    assert sum(plan.partitions.values()) + plan.num_held + excluded == len(keys)


def _check_growth(previous: pa.Table, catalog: pa.Table, *, size: int, pinned: bool) -> None:
    before, after = plan_of(previous), plan_of(catalog)
    places = _places(catalog)
    assert {key: places.get(key) for key in _places(previous)} == _places(previous)
    for partition, count in before.partitions.items():
        assert after.partitions[partition] >= count
        if pinned and after.partitions[partition] == count:
            assert after.digests[partition] == before.digests[partition]
    for keys in after.splits().values():
        assert all(after.partitions[key] == size for key in keys[:-1])
        assert keys == sorted(keys)


def test_a_shard_that_lost_a_file_keeps_the_words_of_all_its_rows() -> None:
    first = plan_catalog(
        _rows(["a", "b"], mtime_ns=[1, 2], report=["old", "old"]),
        None,
        samples_per_shard=2,
        pinned=False,
    )
    # `a` was deleted: a table may know it still, without a file.
    today = _rows(["a", "b"], mtime_ns=pa.array([None, 2]), report=["old", "corrected"])
    second = plan_catalog(today, first, pinned=False, has_file=_never)
    assert plan_of(second).digests == plan_of(first).digests
    assert second["report"].to_pylist() == ["old", "old"]


def test_a_row_that_never_had_a_file_freezes_nothing() -> None:
    first = plan_catalog(
        _rows(["a", "b"], mtime_ns=pa.array([None, None], pa.int64())),
        None,
        samples_per_shard=3,
        pinned=False,
    )
    today = _rows(["a", "b", "c"], mtime_ns=pa.array([None, 2, 3]))
    second = plan_catalog(today, first, pinned=False, has_file=_never)
    assert _places(second) == dict.fromkeys("abc", "train-000000")
    assert second["mtime_ns"].to_pylist() == [None, 2, 3]


def test_a_record_that_went_while_its_file_stayed_freezes_nothing() -> None:
    first = plan_catalog(_rows(["a", "b"]), None, samples_per_shard=3, pinned=False)
    second = plan_catalog(
        _rows(["b", "c"]), first, pinned=False, has_file=lambda path: path == "data/a.raw"
    )
    assert _places(second) == dict.fromkeys("abc", "train-000000")
