"""The part of the plan that a record keeps."""

from typing import Any

import pytest

from medassets.errors import ShardIntegrityError
from medassets.samples import SourceItem
from medassets.shards.plan_copy import PlanCopy, read_plan_copy

ROW: dict[str, Any] = {
    "key": "a", "split": "train", "path": "a.nii", "spacing": [0.5, 2.0], "share": 1.0, "text": "ü\n",
    "mtime_ns": 2**60, "none": None,
}  # fmt: skip


def _copy() -> PlanCopy:
    placed = {**ROW, "partition": "train-000000", "state": "planned"}
    items = [SourceItem("a", "train", "a.nii", None, placed)]
    return PlanCopy.of(items, samples_per_shard=7, settings={"seed": 3})


def test_rows_come_back_as_they_were_without_their_places() -> None:
    document = _copy().as_dict()
    assert read_plan_copy(document, "r.json") == PlanCopy(7, {"seed": 3}, [ROW])
    assert document == _copy().as_dict()


def test_a_record_of_an_earlier_version_has_none() -> None:
    assert read_plan_copy({}, "r.json") is None


@pytest.mark.parametrize("rows", ["", "abc", "!", None])
def test_a_damaged_copy_names_the_record(rows: Any) -> None:
    document = {**_copy().as_dict(), "rows_zlib_base64": rows}
    with pytest.raises(ShardIntegrityError, match=r"r\.json: its copy of the plan is damaged"):
        read_plan_copy(document, "r.json")
