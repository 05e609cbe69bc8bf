"""Verification: what is absent, what is damaged, and a catalog against its plan."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.verify import find_catalog_problems, verify_dataset
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError

KEY = "train-000000"


def test_a_verification_lists_what_is_absent_and_what_is_damaged(planned: Workspace) -> None:
    for key in (KEY, "train-000001"):
        build_shard(planned, planned.paths, plan_shard(planned, key))
    shard = planned.paths.shard("train-000001")
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    keys = [KEY, "train-000001", "train-000002"]
    quick, full = (verify_dataset(planned, keys, full=full) for full in (False, True))
    assert quick.absent == full.absent == ["train-000002"]
    assert quick.checked == full.checked == keys[:2]
    assert quick.problems == []
    assert {problem.partition for problem in full.problems} == {"train-000001"}


def test_a_catalog_as_it_was_written_has_no_problems(planned: Workspace) -> None:
    assert find_catalog_problems(planned) == []


def test_a_row_without_its_place_in_the_plan_is_named(planned: Workspace) -> None:
    table = planned.read_catalog()
    assert table is not None
    (first, *_) = table["key"].to_pylist()
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), planned.paths.catalog)
    problems = find_catalog_problems(planned)
    assert problems[0] == f"row {first!r} occurs 2 times"
    assert f"the plan says {table.num_rows} rows, there are {table.num_rows + 1}" in problems


def test_a_catalog_that_does_not_exist_yet_is_told(workspace: Workspace) -> None:
    with pytest.raises(CatalogError, match="there is no catalog yet"):
        find_catalog_problems(workspace)
