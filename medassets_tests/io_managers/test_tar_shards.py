"""The tar IO manager keeps the contract, and never computes what is whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.shards.record import ShardRecord
from medassets.volumes import samples
from medassets_tests.io_managers.contract import ShardIOManagerContract
from medassets_tests.location import Location, metadata_of

KEY = "train-000000"


class TestTarShards(ShardIOManagerContract):
    """Shards of a folder, as tar files."""

    @pytest.fixture
    def location(self, location: Location) -> Location:
        location.materialize("catalog")
        return location

    def change(self, location: Location) -> Location:
        return replace(location, spec=replace(location.spec, target_shape=(20, 20, 12)))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the samples that were computed, in the order they were."""
    keys: list[str] = []
    encode = samples.encode_volume_sample

    def counting(item: Any, *arguments: Any, **more: Any) -> Any:
        keys.append(item.key)
        return encode(item, *arguments, **more)

    monkeypatch.setattr(samples, "encode_volume_sample", counting)
    return keys


@pytest.fixture
def built(location: Location, encoded: list[str]) -> Location:
    """One shard made, and what was computed for it forgotten."""
    location.materialize("catalog")
    location.materialize("shards", partition=KEY)
    assert len(encoded) == 3
    encoded.clear()
    return location


def shard_of(location: Location) -> Path:
    return location.workspace.paths.shard(KEY)


def test_a_whole_shard_is_recorded_without_computing(built: Location, encoded: list[str]) -> None:
    before = shard_of(built).stat()
    built.materialize("shards", partition=KEY)
    assert encoded == []
    assert shard_of(built).stat() == before
    first, second = map(metadata_of, built.events("shards", KEY))
    assert (first["medassets/adopted"], second["medassets/adopted"]) == (False, True)
    assert first["medassets/sha256"] == second["medassets/sha256"]


def test_a_shard_that_dagster_forgot_is_adopted(built: Location, encoded: list[str]) -> None:
    built.instance.wipe_assets([built.key("shards")])
    built.materialize("shards", partition=KEY)
    assert encoded == []
    assert built.instance.get_materialized_partitions(built.key("shards")) == {KEY}


def test_a_range_computes_what_is_missing_only(built: Location, encoded: list[str]) -> None:
    built.materialize("shards", span=(KEY, "train-000001"))
    assert sorted(encoded) == [i.key for i in built.workspace.read_partition("train-000001")]


def test_a_stale_shard_is_made_again(built: Location, encoded: list[str]) -> None:
    changed = replace(built, spec=replace(built.spec, target_shape=(20, 20, 12)))
    changed.materialize("shards", partition=KEY)
    assert len(encoded) == 3
    first, second = map(metadata_of, built.events("shards", KEY))
    assert first["medassets/fingerprint"] != second["medassets/fingerprint"]


def test_other_settings_that_change_no_bytes_keep_the_shard(
    built: Location, encoded: list[str]
) -> None:
    spec = replace(built.spec, num_workers=2, runs="batch: 4", automation="drain")
    replace(built, spec=spec).materialize("shards", partition=KEY)
    assert encoded == []


@pytest.mark.parametrize("damage", ["lost", "short", "long", "record lost", "record torn"])
def test_a_lost_or_damaged_shard_is_made_again_with_the_same_bytes(
    built: Location, encoded: list[str], damage: str
) -> None:
    shard, record = shard_of(built), built.workspace.paths.record(KEY)
    before = {path: path.read_bytes() for path in (shard, record)}
    if damage == "lost":
        shard.unlink()
    elif damage == "short":
        shard.write_bytes(before[shard][:-512])
    elif damage == "long":
        shard.write_bytes(before[shard] + b"\0")
    elif damage == "record lost":
        record.unlink()
    else:
        record.write_bytes(before[record][:100])
    built.materialize("shards", partition=KEY)
    assert len(encoded) == 3
    assert {path: path.read_bytes() for path in (shard, record)} == before


def test_force_makes_a_whole_shard_again(built: Location, encoded: list[str]) -> None:
    built.materialize("shards", partition=KEY, config={"shards": {"force": True}})
    assert len(encoded) == 3


def test_an_event_tells_counts_bytes_and_times(built: Location) -> None:
    (event,) = built.events("shards", KEY)
    told, record = metadata_of(event), ShardRecord.read(built.workspace.paths.record(KEY))
    assert told["dagster/row_count"] == record.num_samples == 3
    assert told["dagster/uri"] == str(shard_of(built))
    assert told["medassets/bytes"] == shard_of(built).stat().st_size
    assert told["medassets/sha256"] == record.sha256
    assert told["medassets/rejected"] == 0
    assert {"encode", "write", "publish", "verify"} <= set(told["medassets/seconds"])
    assert told["medassets/samples_per_s"] > 0
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == record.plan_fingerprint
