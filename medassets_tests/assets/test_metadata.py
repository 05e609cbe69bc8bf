"""What Dagster shows stays small: it sits in every event row."""

import pytest

from medassets.assets.metadata import (
    account_metadata,
    coverage_metadata,
    manifest_metadata,
    problems_metadata,
    stage_metadata,
)
from medassets.datasets.build import StageReport
from medassets.datasets.manifests.publication import Publication
from medassets.shards.account import Account, AccountItem, ItemState
from medassets_tests.location import Location, size_of

KEY = "train-000000"
LARGEST = 32_000


@pytest.mark.parametrize("stage", ["catalog", "shards", "manifest"])
def test_every_event_stays_small(first_shard: Location, stage: str) -> None:
    first_shard.materialize("manifest")
    assert all(size_of(event) < LARGEST for event in first_shard.events(stage))


def test_long_lists_are_cut() -> None:
    reasons = {f"train_{i}_a_1": "missing_upstream: " + "x" * 150 for i in range(5000)}
    staged = stage_metadata(StageReport(1, 1, reasons, needed=True))
    problems = problems_metadata(["y" * 250] * 5000)
    shard = {"filename": "shard-000000.tar", "num_samples": 128, "size_bytes": 14_000_000_000}
    account = Account(items=7000, done=5000, excluded={"bad_name": 2000})
    totals = {"total_shards": 5000, "total_samples": 1, "total_size_bytes": 1, "complete": True}
    totals["account"] = account.as_dict()
    manifest = manifest_metadata(
        Publication({"train": {**totals, "shards": [shard] * 5000}}, splits=("train",))
    )
    for metadata in (staged, problems, manifest):
        assert len(repr(metadata)) < LARGEST
    assert problems["problems"] == 5000


def test_an_account_with_many_reasons_and_long_details_stays_small() -> None:
    first = tuple(
        AccountItem(f"train_{n}_a_1", "train", "", ItemState.EXCLUDED, f"reason_{n}", "z" * 1500)
        for n in range(200)
    )
    account = Account(items=200, excluded={item.reason: 1 for item in first}, first=first)
    assert len(repr(account_metadata(account))) < LARGEST


def test_coverage_is_a_table_with_a_row_per_number() -> None:
    described = {"num_clips": 3, "excluded": {"too_short": 1}, "videos": {"unnamed": ("a", "b")}}
    table = coverage_metadata(described)["medassets/coverage"]
    assert [tuple(record.data.values()) for record in table.records] == [
        ("num_clips", "3"),
        ("excluded: too_short", "1"),
        ("videos: unnamed", "a, b"),
    ]
    assert coverage_metadata({}) == {}
