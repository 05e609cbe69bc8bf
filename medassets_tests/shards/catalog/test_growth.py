"""Samples keep their shards when a catalog is refreshed: a plan only grows."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets_tests.shards.catalog.catalog_rows import make_keys, make_rows, read_places


def test_samples_are_sorted_and_laid_into_shards_per_split() -> None:
    rows = pa.concat_tables([make_rows(["c", "a", "b"]), make_rows(["z", "y"], split="valid")])
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


def test_new_samples_go_behind_the_old_ones_whatever_their_names() -> None:
    first = plan_catalog(make_rows(["m", "n", "o"]), None, samples_per_shard=2)
    second = plan_catalog(make_rows(["a", "m", "n", "o", "z"], revision="two"), first)
    assert read_places(second) == {
        "m": "train-000000",
        "n": "train-000000",
        "o": "train-000001",
        "a": "train-000001",
        "z": "train-000002",
    }
    revisions = dict(zip(second["key"].to_pylist(), second["revision"].to_pylist(), strict=True))
    assert revisions == {"m": "one", "n": "one", "o": "two", "a": "two", "z": "two"}


def test_a_refresh_without_news_changes_nothing() -> None:
    first = plan_catalog(make_rows(make_keys(5)), None, samples_per_shard=2)
    second = plan_catalog(make_rows(make_keys(5), revision="two"), first, samples_per_shard=2)
    assert plan_of(second) == plan_of(first)
    assert second.equals(first)


def test_a_planned_sample_that_vanishes_or_is_excluded_later_keeps_its_place() -> None:
    first = plan_catalog(make_rows(["a", "b", "c"]), None, samples_per_shard=2)
    second = plan_catalog(make_rows(["a", "c", "d"], excluded=["a"], revision="two"), first)
    assert read_places(second) == {
        "a": "train-000000",
        "b": "train-000000",
        "c": "train-000001",
        "d": "train-000001",
    }
    assert plan_of(second).excluded == {}
    assert plan_of(second).digests["train-000000"] == plan_of(first).digests["train-000000"]


def test_an_unpinned_source_shows_todays_rows_in_yesterdays_places() -> None:
    rows = make_rows(["a", "b", "c"], num_bytes=[1, 2, 3])
    first = plan_catalog(rows, None, samples_per_shard=2)
    changed = make_rows(["a", "b", "c"], num_bytes=[1, 9, 3])
    second = plan_catalog(changed, first, pinned=False)
    assert read_places(second) == read_places(first)
    assert second["num_bytes"].to_pylist() == [1, 9, 3]
    before, after = plan_of(first).digests, plan_of(second).digests
    assert before["train-000000"] != after["train-000000"]
    assert before["train-000001"] == after["train-000001"]
    assert plan_catalog(changed, first)["num_bytes"].to_pylist() == [1, 2, 3]


def test_a_limit_holds_samples_back_until_it_is_lifted() -> None:
    rows = pa.concat_tables([make_rows(make_keys(5)), make_rows(["y", "z"], split="valid")])
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


def _never(_: str) -> bool:
    return False


def test_a_short_shard_is_not_planned_anew_when_a_file_of_it_is_gone() -> None:
    first = plan_catalog(make_rows(["a", "b"]), None, samples_per_shard=3, pinned=False)
    # `a` was deleted after it was proven to be in the shard.
    grown = plan_catalog(make_rows(["b", "c", "d"]), first, pinned=False, has_file=_never)
    assert read_places(grown) == {
        "a": "train-000000",
        "b": "train-000000",
        "c": "train-000001",
        "d": "train-000001",
    }
    last = plan_catalog(make_rows(["c", "d", "e", "f"]), grown, pinned=False, has_file=_never)
    assert plan_of(last).partitions == {"train-000000": 2, "train-000001": 3, "train-000002": 1}


def test_a_hub_keeps_files_that_left_it_so_a_short_shard_may_grow() -> None:
    first = plan_catalog(make_rows(["a", "b"]), None, samples_per_shard=3)
    grown = plan_catalog(make_rows(["b", "c"]), first)
    assert read_places(grown) == dict.fromkeys("abc", "train-000000")


_refreshes = st.lists(
    st.tuples(
        st.sets(st.integers(0, 30)),  # present
        st.sets(st.integers(0, 30), max_size=8),  # excluded
        st.none() | st.integers(0, 30),  # limit
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(refreshes=_refreshes, size=st.integers(1, 5), pinned=st.booleans())
def test_a_plan_only_grows(
    refreshes: list[tuple[set[int], set[int], int | None]], *, size: int, pinned: bool
) -> None:
    previous: pa.Table | None = None
    for number, (present, excluded, limit) in enumerate(refreshes):
        rows = pa.concat_tables(
            [
                make_rows(
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
    kept = set(read_places(previous)) if previous is not None else set()
    keys = catalog["key"].to_pylist()
    assert len(keys) == len(set(keys))
    assert set(keys) == set(rows["key"].to_pylist()) | kept
    plan = plan_of(catalog)
    excluded = sum(plan.excluded_by_reason().values())
    assert sum(plan.partitions.values()) + plan.num_held + excluded == len(keys)


def _check_growth(previous: pa.Table, catalog: pa.Table, *, size: int, pinned: bool) -> None:
    before, after = plan_of(previous), plan_of(catalog)
    places = read_places(catalog)
    assert {key: places.get(key) for key in read_places(previous)} == read_places(previous)
    for partition, count in before.partitions.items():
        assert after.partitions[partition] >= count
        if pinned and after.partitions[partition] == count:
            assert after.digests[partition] == before.digests[partition]
    for keys in after.splits().values():
        assert all(after.partitions[key] == size for key in keys[:-1])
        assert keys == sorted(keys)


def test_a_shard_that_lost_a_file_keeps_the_words_of_all_its_rows() -> None:
    first = plan_catalog(
        make_rows(["a", "b"], mtime_ns=[1, 2], report=["old", "old"]),
        None,
        samples_per_shard=2,
        pinned=False,
    )
    # `a` was deleted: a table may know it still, without a file.
    today = make_rows(["a", "b"], mtime_ns=pa.array([None, 2]), report=["old", "corrected"])
    second = plan_catalog(today, first, pinned=False, has_file=_never)
    assert plan_of(second).digests == plan_of(first).digests
    assert second["report"].to_pylist() == ["old", "old"]


def test_a_row_that_never_had_a_file_freezes_nothing() -> None:
    first = plan_catalog(
        make_rows(["a", "b"], mtime_ns=pa.array([None, None], pa.int64())),
        None,
        samples_per_shard=3,
        pinned=False,
    )
    today = make_rows(["a", "b", "c"], mtime_ns=pa.array([None, 2, 3]))
    second = plan_catalog(today, first, pinned=False, has_file=_never)
    assert read_places(second) == dict.fromkeys("abc", "train-000000")
    assert second["mtime_ns"].to_pylist() == [None, 2, 3]


def test_a_record_that_went_while_its_file_stayed_freezes_nothing() -> None:
    first = plan_catalog(make_rows(["a", "b"]), None, samples_per_shard=3, pinned=False)
    second = plan_catalog(
        make_rows(["b", "c"]), first, pinned=False, has_file=lambda path: path == "data/a.raw"
    )
    assert read_places(second) == dict.fromkeys("abc", "train-000000")
