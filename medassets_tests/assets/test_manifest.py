"""The manifest through Dagster: what it says, when it is complete, what its check finds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets.shards.record import ShardRecord
from medassets.storage.checksums import sha256_file
from medassets_tests.location import Location, metadata_of, size_of

PROMISED = {
    "dataset",
    "split",
    "format",
    "preprocessed",
    "total_shards",
    "total_samples",
    "sample_shape",
    "sample_dtype",
    "num_classes",
    "shards",
}
OURS = {
    "fingerprint",
    "source",
    "excluded",
    "rejected",
    "average_sample_size_mb",
    "total_size_bytes",
    "complete",
    "missing_partitions",
    "held_samples",
    "num_shards",
    "samples_per_shard",
    "total_size_mb",
    "total_size_gb",
    "source_bytes",
    "compression_ratio",
}


def read(location: Location, split: str = "train") -> dict[str, Any]:
    return json.loads(location.workspace.paths.manifest(split).read_bytes())


def is_complete(location: Location) -> bool:
    return location.check("manifest", "all_shards_present").passed


def test_a_manifest_says_what_the_contract_promises(location: Location) -> None:
    location.build()
    for split in ("train", "valid"):
        manifest, folder = read(location, split), location.workspace.paths.split_folder(split)
        assert set(manifest) == PROMISED | OURS
        assert (manifest["dataset"], manifest["split"]) == ("tiny", split)
        assert (manifest["format"], manifest["preprocessed"]) == ("webdataset", True)
        assert (manifest["total_shards"], manifest["total_samples"]) == (3, 7)
        assert manifest["sample_shape"] == list(location.spec.target_shape)
        assert (manifest["sample_dtype"], manifest["num_classes"]) == ("float16", 18)
        assert manifest["excluded"] == {"no_chest": 1, "spacing_missing": 1}
        assert manifest["source"]["revision"] is None
        assert {"repo", "uri"} < set(manifest["source"])
        sizes = [(folder / shard["filename"]).stat().st_size for shard in manifest["shards"]]
        assert manifest["total_size_bytes"] == sum(sizes)
        assert manifest["average_sample_size_mb"] == pytest.approx(sum(sizes) / 7e6, abs=5e-4)


def test_each_shard_of_a_manifest_is_the_one_on_disk(location: Location) -> None:
    location.build()
    folder = location.workspace.paths.split_folder("train")
    for index, shard in enumerate(read(location)["shards"]):
        file = folder / shard["filename"]
        record = ShardRecord.read(folder / shard["record"])
        assert shard["shard_index"] == index
        assert shard["filename"] == f"shard-{index:06d}.tar"
        assert shard["size_bytes"] == file.stat().st_size
        assert shard["sha256"] == sha256_file(file) == record.sha256
        assert shard["num_samples"] == len(shard["keys"]) == record.num_samples
        assert shard["rejected"] == []
    keys = [key for shard in read(location)["shards"] for key in shard["keys"]]
    assert keys == sorted(keys)


def test_a_remote_source_is_named_with_its_commit(
    remote: Callable[..., Location], hub: Any
) -> None:
    location = remote(splits=("train",), samples_per_shard=7)
    location.build()
    source = {
        "repo": "org/ct-small",
        "uri": "hf://datasets/org/ct-small",
        "revision": hub.sha,
    }
    assert read(location)["source"] == source


def test_rejected_samples_stand_in_the_manifest_with_their_reasons(
    locate: Callable[..., Location], own_repository: Path
) -> None:
    path = own_repository / "dataset/train_fixed/train_2/train_2_a/train_2_a_1.nii.gz"
    path.write_bytes(b"no")
    location = locate(own_repository, splits=("train",))
    location.build()
    manifest = read(location)
    (rejected,) = [r for shard in manifest["shards"] for r in shard["rejected"]]
    assert (rejected["key"], rejected["reason"]) == ("train_2_a_1", "corrupt_gzip")
    counted = manifest["total_samples"] + manifest["rejected"] + sum(manifest["excluded"].values())
    assert (manifest["rejected"], counted) == (1, 9)
    assert location.workspace.read_plan().num_rows == 9


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
    assert evaluation.metadata["problems"].value == 1
    assert "valid-000001" in str(evaluation.metadata["first"].value)


def test_shards_made_with_other_settings_are_not_listed(location: Location) -> None:
    location.build()
    changed = replace(location, spec=replace(location.spec, target_shape=(20, 20, 12)))
    changed.materialize("shards", partition="train-000000")
    changed.materialize("manifest")
    manifest = read(changed)
    assert manifest["sample_shape"] == [20, 20, 12]
    assert [shard["filename"] for shard in manifest["shards"]] == ["shard-000000.tar"]
    assert manifest["missing_partitions"] == ["train-000001", "train-000002"]
    assert not is_complete(changed)


def test_a_short_shard_that_was_planned_anew_makes_the_manifest_incomplete(
    locate: Callable[..., Location], growing: Path, grow: Callable[[], None]
) -> None:
    location = locate(growing)
    location.build()
    assert read(location)["complete"] is True
    grow()
    location.materialize("catalog")
    location.materialize("manifest")
    manifest = read(location)
    assert manifest["missing_partitions"] == ["train-000002", "train-000003"]
    assert manifest["total_samples"] == 6


def test_the_event_has_totals_and_a_table_of_shards(location: Location) -> None:
    location.build()
    event = location.events("manifest")[-1]
    told = metadata_of(event)
    assert told["dagster/row_count"] == 14
    assert told["medassets/totals"]["train"]["total_samples"] == 7
    table = event.metadata["medassets/shards"]
    assert isinstance(table, dg.TableMetadataValue)
    rows = [record.data for record in table.records]
    assert [row["shard"] for row in rows] == [f"shard-{i:06d}.tar" for i in (0, 1, 2)] * 2
    assert size_of(event) < 32_000


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
        (found[key],) = result.get_asset_check_evaluations()
        assert found[key].partition == key
    assert [found[key].passed for key in sorted(found)] == [False, True]
    assert found["train-000000"].metadata["rejected"].value == 1
    assert found["train-000000"].metadata["samples"].value == 2
    told = metadata_of(location.events("shards", "train-000000")[-1])
    assert told["medassets/rejected_by_reason"] == {"corrupt_gzip": 1}
