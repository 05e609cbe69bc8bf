"""The asset that says how far a dataset is: numbers that Dagster draws over time."""

import pytest

from medassets_tests.location import Location, metadata_of

pytestmark = pytest.mark.slow


def test_its_numbers_follow_the_disk(location: Location) -> None:
    location.materialize("summary")
    (event,) = location.events("summary")
    assert metadata_of(event)["medassets/planned"] is False
    location.materialize("catalog")
    first, *others = location.keys
    location.materialize("shards", partition=first)
    location.materialize("summary")
    shown = metadata_of(location.events("summary")[-1])
    plan = location.workspace.read_plan()
    assert shown["shards/shards_done"] == 1
    assert shown["shards/shards_missing"] == len(others)
    assert shown["shards/samples_done"] == plan.partitions[first]
    assert shown["shards/samples_left"] == sum(plan.partitions[key] for key in others)
    assert isinstance(shown["shards/free_gb"], float)
    account = shown["medassets/account"]
    assert isinstance(account, dict)
    assert account["items"] == plan.num_rows
