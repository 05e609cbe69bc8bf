"""What the checks of a dataset find: rows without a place, lost shards, rejected samples."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.shards.catalog.files import read_catalog
from medassets.shards.catalog.plan import plan_of
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets_tests.location import Location, metadata_of

pytestmark = pytest.mark.slow


def test_the_check_finds_rows_that_the_plan_does_not_count(location: Location) -> None:
    location.materialize("catalog")
    path = location.workspace.paths.catalog
    table = read_catalog(path)
    size = plan_of(table).samples_per_shard
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.slice(size - 1))
    evaluation = location.check("catalog", "every_row_has_a_place")
    assert not evaluation.passed
    told = str(evaluation.metadata["first"].value)
    assert "the plan says 18 rows, there are 16" in told
    assert "train-000000: 1 rows, its plan says 3" in told


def read(location: Location, split: str = "train") -> dict[str, Any]:
    return json.loads(location.workspace.paths.manifest(split).read_bytes())


def is_complete(location: Location) -> bool:
    return location.check("manifest", "all_shards_present").passed


def test_a_manifest_with_shards_missing_lists_them_and_fails_its_check(location: Location) -> None:
    location.materialize("catalog")
    location.materialize("shards", partition="train-000001")
    result = location.materialize("manifest")
    assert [e.passed for e in result.get_asset_check_evaluations()] == [False]
    manifest = read(location)
    assert manifest["complete"] is False
    assert manifest["missing_partitions"] == ["train-000000", "train-000002"]
    assert manifest["total_shards"] == 1
    for key in location.keys:
        location.materialize("shards", partition=key)
    location.materialize("manifest")
    assert is_complete(location)
    assert read(location)["complete"] is True
    assert read(location)["missing_partitions"] == []


def test_a_dataset_with_held_samples_is_not_complete(location: Location) -> None:
    location.materialize("catalog", config={"catalog": {"limit": 3}})
    location.materialize("shards", partition="train-000000")
    location.materialize("manifest")
    manifest = read(location)
    assert (manifest["complete"], manifest["held_samples"]) == (False, 11)
    assert not is_complete(location)


@pytest.mark.parametrize("damage", ["lost", "short", "record"])
def test_the_check_finds_a_shard_that_was_lost_or_damaged_later(
    location: Location, damage: str
) -> None:
    location.build()
    assert is_complete(location)
    paths = location.workspace.paths
    shard = paths.shard("valid-000001")
    if damage == "lost":
        shard.unlink()
    elif damage == "short":
        shard.write_bytes(shard.read_bytes()[:-512])
    else:
        paths.record("valid-000001").unlink()
    evaluation = location.check("manifest", "all_shards_present")
    assert not evaluation.passed
    assert evaluation.metadata["problems"].value == 2
    first = str(evaluation.metadata["first"].value)
    assert "valid: the manifest lists 7 samples, 3 of which no listed shard would have" in first
    assert "valid-000001" in first.splitlines()[1]


def test_the_shard_check_counts_rejected_samples(
    locate: Callable[..., Location], own_repository: Path
) -> None:
    path = own_repository / "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"
    path.write_bytes(b"no")
    location = locate(own_repository)
    location.materialize("catalog")
    found = {}
    for key in ("train-000000", "train-000001"):
        result = location.materialize("shards", partition=key)
        checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
        assert checks.keys() == {"no_sample_rejected", "one_orientation"}
        found[key] = checks["no_sample_rejected"]
        assert found[key].partition == key
    assert [found[key].passed for key in sorted(found)] == [False, True]
    assert found["train-000000"].metadata["rejected"].value == 1
    assert found["train-000000"].metadata["samples"].value == 2
    told = metadata_of(location.events("shards", "train-000000")[-1])
    assert told["medassets/rejected_by_reason"] == {"corrupt_gzip": 1}


def test_shards_made_with_other_settings_are_listed_when_all_are(location: Location) -> None:
    location.build()
    before = read(location)
    changed = replace(location, spec=replace(location.spec, target_shape=(20, 20, 12)))
    for number, key in enumerate(location.keys):
        assert read(changed) == before, number
        changed.materialize("shards", partition=key)
        changed.materialize("manifest")
        assert is_complete(changed) is (key == location.keys[-1])
    after = read(changed)
    assert after["sample_shape"] == [20, 20, 12]
    assert after["total_samples"] == before["total_samples"]
    assert (after["missing_partitions"], after["stale_partitions"]) == ([], {})


def test_a_mix_of_orientations_fails_its_check_and_withholds_the_manifest(
    locate: Callable[..., Location], tmp_path: Path
) -> None:
    make_ct_rate_repository(
        tmp_path / "mix", num_patients=2, splits=("train",), axis_codes=("LPS", "RAS")
    )
    location = locate(tmp_path / "mix", splits=("train",))
    location.materialize("catalog")
    passed = {}
    for key in location.keys:
        result = location.materialize("shards", partition=key)
        checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
        passed[key] = checks["one_orientation"].passed
    assert list(passed.values()) == [False, False]
    evaluation = location.check("shards", "one_orientation")
    assert not evaluation.passed
    assert evaluation.metadata["orientations"].value == {"LPS": 2, "RAS": 2}
    assert "`orientation: LPS`" in str(evaluation.metadata["first"].value)
    result = location.materialize("manifest", check=False)
    assert not result.success
    assert not location.workspace.paths.manifest("train").exists()
    location.materialize("catalog")
    coverage: Any = location.events("catalog")[-1].metadata["medassets/coverage"]
    rows = {record.data["what"]: record.data["value"] for record in coverage.records}
    assert (rows["built: orientations: LPS"], rows["built: orientations: RAS"]) == ("2", "2")
