"""Catalog and manifest through Dagster: a plan only grows, and every row and shard is listed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets.assets import factory
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.shards.record import ShardRecord
from medassets.storage.checksums import sha256_file
from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub
from medassets_tests.location import Location, metadata_of, size_of

pytestmark = pytest.mark.slow

GROWN = ["train-000000", "train-000001", "train-000002", "train-000003"]


def version_of(location: Location) -> str:
    return (location.events("catalog")[-1].tags or {})["dagster/data_version"]


def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def test_every_row_is_counted_and_told(location: Location, repository: SyntheticRepository) -> None:
    result = location.materialize("catalog")
    assert passed(result) == {"every_row_has_a_place": True}
    told = metadata_of(location.events("catalog")[-1])
    assert told["dagster/row_count"] == len(repository.volumes) == 18
    assert told["medassets/planned"] == 14
    assert told["medassets/excluded"] == {"no_chest": 2, "spacing_missing": 2}
    assert told["medassets/held"] == 0
    assert told["medassets/new_rows"] == 18
    assert told["medassets/shards"] == told["medassets/new_shards"] == 6
    assert told["dagster/uri"] == str(location.workspace.paths.catalog)


def test_partitions_are_known_to_dagster_sorted_split_after_split(location: Location) -> None:
    location.materialize("catalog")
    train = [f"train-{i:06d}" for i in range(3)]
    valid = [f"valid-{i:06d}" for i in range(3)]
    assert location.keys == train + valid


def test_a_refresh_that_finds_nothing_new_keeps_version_and_file(location: Location) -> None:
    location.materialize("catalog")
    before = location.workspace.paths.catalog.stat()
    location.materialize("catalog")
    first, second = location.events("catalog")
    assert first.tags is not None
    assert second.tags is not None
    assert first.tags["dagster/data_version"] == second.tags["dagster/data_version"]
    assert location.workspace.paths.catalog.stat() == before
    assert metadata_of(second)["medassets/new_rows"] == 0


def test_a_commit_without_new_rows_keeps_the_version(
    remote: Callable[..., Location], hub: LocalHub, growing: Path
) -> None:
    location = remote()
    location.materialize("catalog")
    version, sha = version_of(location), hub.sha
    (growing / "README.md").write_text("Moved on.\n")
    assert hub.refresh() != sha
    location.materialize("catalog")
    assert version_of(location) == version
    assert metadata_of(location.events("catalog")[-1])["medassets/revision"] == hub.sha
    assert {item.revision for item in location.workspace.read_partition(GROWN[2])} == {sha}


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_new_rows_add_partitions_and_leave_full_shards_alone(
    source: str,
    locate: Callable[..., Location],
    remote: Callable[..., Location],
    hub: LocalHub,
    growing: Path,
    grow: Callable[[], None],
) -> None:
    location = remote() if source == "hub" else locate(growing)
    location.build()
    paths, full = location.workspace.paths, GROWN[:2]
    before = {key: (paths.shard(key).stat(), paths.record(key).read_bytes()) for key in full}
    members = [item.key for item in location.workspace.read_partition(GROWN[2])]
    version = version_of(location)

    grow()
    hub.refresh()
    location.materialize("catalog")
    assert version_of(location) != version
    assert location.keys[-2:] == ["train-000003", "valid-000003"]
    for key in GROWN:
        location.materialize("shards", partition=key)
    assert {
        key: (paths.shard(key).stat(), paths.record(key).read_bytes()) for key in full
    } == before
    grown = [item.key for item in location.workspace.read_partition(GROWN[2])]
    assert grown[:1] == members
    assert len(grown) == 3
    made = {key: metadata_of(location.events("shards", key)[-1]) for key in GROWN}
    assert [made[key]["medassets/adopted"] for key in GROWN] == [True, True, False, False]
    assert sum(ShardRecord.read(paths.record(key)).num_samples for key in GROWN) == 11


def test_a_limit_holds_rows_until_a_refresh_without_it(location: Location) -> None:
    location.materialize("catalog", config={"catalog": {"limit": 4}})
    told = metadata_of(location.events("catalog")[-1])
    assert (told["medassets/planned"], told["medassets/held"]) == (4, 10)
    assert location.keys == GROWN[:2]
    first = [item.key for item in location.workspace.read_partition(GROWN[0])]

    result = location.materialize("catalog")
    assert passed(result) == {"every_row_has_a_place": True}
    told = metadata_of(location.events("catalog")[-1])
    assert (told["medassets/planned"], told["medassets/held"]) == (14, 0)
    assert [item.key for item in location.workspace.read_partition(GROWN[0])] == first
    assert sorted(location.keys) == sorted(location.workspace.read_plan().partitions)


def test_of_two_refreshes_at_once_one_is_told_to_run_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(workspace: Any, **settings: Any) -> Any:
        draft = draft_catalog(workspace, **settings)
        publish_catalog(workspace.paths, draft_catalog(workspace, limit=5))
        return draft

    monkeypatch.setattr(factory, "draft_catalog", overtaken)
    with pytest.raises(
        dg.Failure, match="another refresh wrote the catalog meanwhile; run"
    ) as told:
        location.materialize("catalog")
    assert not told.value.allow_retries
    assert location.keys == []
    assert location.workspace.read_plan().num_held == 9


def test_of_two_refreshes_that_find_the_same_both_succeed(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(workspace: Any, **settings: Any) -> Any:
        draft = draft_catalog(workspace, **settings)
        publish_catalog(workspace.paths, draft)
        return draft

    monkeypatch.setattr(factory, "draft_catalog", overtaken)
    assert location.materialize("catalog").success
    assert len(location.keys) == 6


def test_another_shard_size_for_a_grown_plan_is_refused(location: Location) -> None:
    location.materialize("catalog")
    with pytest.raises(dg.Failure, match=r"samples_per_shard: the plan was made with 3, got 5"):
        location.materialize("catalog", config={"catalog": {"samples_per_shard": 5}})


def test_an_asset_that_needs_the_catalog_says_so(location: Location) -> None:
    location.instance.add_dynamic_partitions(location.spec.partitions_name, GROWN[:1])
    with pytest.raises(dg.Failure, match=r"no catalog yet; .* materialize tiny/catalog"):
        location.materialize("shards", partition=GROWN[0])


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
    "kind",
    "label_names",
    "label_values",
    "orientations",
    "hu_shares",
    "account",
    "fingerprint",
    "source",
    "excluded",
    "rejected",
    "average_sample_size_mb",
    "total_size_bytes",
    "complete",
    "missing_partitions",
    "stale_partitions",
    "sample_meaning",
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
    # The short shard lists fewer samples than planned now, and none less than before.
    assert manifest["complete"] is False
    assert manifest["missing_partitions"] == ["train-000003"]
    assert list(manifest["stale_partitions"]) == ["train-000002"]
    assert manifest["total_samples"] == 7


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
