"""The plan in the metadata of a table, and what is computed from it."""

import pyarrow as pa
import pytest

from medassets.errors import CatalogError
from medassets.shards.catalog.plan import CatalogPlan, parse_plan, plan_of, store_plan

PLAN = CatalogPlan(
    samples_per_shard=2,
    # Not in the order of the alphabet: the order is part of the plan.
    partitions={"valid-000000": 2, "train-000000": 2, "train-000001": 1},
    digests={"valid-000000": "v", "train-000000": "t", "train-000001": "u"},
    num_rows=9,
    num_held=1,
    excluded={"train": {"no_chest": 2}, "valid": {"no_chest": 1}},
    version="1",
    notes="2",
)


def test_a_plan_comes_back_from_the_metadata_with_its_order() -> None:
    table = pa.table({"key": ["a"]}).replace_schema_metadata({"other": "kept"})
    stored = store_plan(table, PLAN)
    assert plan_of(stored) == PLAN
    assert list(plan_of(stored).partitions) == list(PLAN.partitions)
    assert (stored.schema.metadata or {})[b"other"] == b"kept"


@pytest.mark.parametrize("metadata", [None, {}, {b"other": b"{}"}])
def test_a_table_without_a_plan_is_refused(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(CatalogError, match=r"c\.parquet: has no plan"):
        parse_plan(metadata, "c.parquet")


def test_rows_of_a_partition_follow_those_before_it() -> None:
    assert PLAN.starts == {"valid-000000": 0, "train-000000": 2, "train-000001": 4}
    assert PLAN.num_planned == 5
    assert PLAN.splits() == {
        "valid": ["valid-000000"],
        "train": ["train-000000", "train-000001"],
    }
    assert PLAN.excluded_by_reason() == {"no_chest": 3}
