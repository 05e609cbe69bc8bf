"""A catalog from the rows of a source: states, counts, versions."""

import pyarrow as pa
import pytest

from medassets.errors import CatalogError
from medassets.shards.catalog import planning
from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.storage.checksums import fingerprint
from medassets_tests.shards.catalog.catalog_rows import make_keys, make_rows


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


def test_the_version_is_the_hash_of_everything_that_a_plan_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "_ROWS_AT_A_TIME", 3)
    rows = make_rows(make_keys(20), excluded=make_keys(9, start=4))
    plan = plan_of(plan_catalog(rows, None, samples_per_shard=2, limit=5))
    rest = [[key, "train", None] for key in make_keys(20)[14:]]
    rest += [[key, "train", "no_chest"] for key in make_keys(9, start=4)]
    everything = {"size": 2, "digests": plan.digests, "rest": rest}
    assert plan.version == fingerprint(everything)
