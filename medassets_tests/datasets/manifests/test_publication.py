"""Manifests of splits: what is missing is named, and no sample leaves the list silently."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard, today_fingerprint
from medassets.datasets.manifests import publication
from medassets.datasets.manifests.publication import build_manifests, list_keys
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import Reason
from medassets.shards.failure import FailureNote
from medassets.shards.files import previous_record
from medassets.shards.record import Rejected
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.datasets.publishing import build, publish

pytestmark = pytest.mark.slow  # whole builds


def test_the_manifest_counts_the_classes_of_the_labels_table(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository, tmp_path: Path
) -> None:
    folder = tmp_path / "three_labels"
    shutil.copytree(repository.folder, folder)
    table = folder / "dataset/multi_abnormality_labels/train_predicted_labels.csv"
    lines = [line.split(",")[:4] for line in table.read_text(encoding="utf-8").splitlines()]
    table.write_text("\n".join(",".join(cells) for cells in lines) + "\n", encoding="utf-8")
    workspace = open_folder(folder, splits=("train",))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, "train-000000"))
    assert build_manifests(workspace)["train"]["num_classes"] == 3


def test_only_shards_of_the_current_plan_and_declaration_are_listed(
    planned: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, "train-000000"))
    manifests = build_manifests(planned)
    assert [s["filename"] for s in manifests["train"]["shards"]] == ["shard-000000.tar"]
    assert manifests["train"]["missing_partitions"] == ["train-000001", "train-000002"]
    keys = [item.key for item in planned.read_partition("train-000000")]
    assert list_keys(manifests) == {"train": keys, "valid": []}
    changed = open_folder(repository.folder, target_shape=(8, 8, 8))
    assert list_keys(build_manifests(changed)) == {"train": [], "valid": []}


@pytest.fixture
def whole(planned: Workspace) -> Workspace:
    """A dataset whose shards are all made and listed."""
    build(planned)
    publish(planned)
    return planned


def test_a_manifest_stays_until_all_shards_are_made_by_settings_that_do_not_fit(
    whole: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    paths = whole.paths
    published = {split: paths.manifest(split).read_bytes() for split in ("train", "valid")}
    changed = open_folder(repository.folder, target_shape=(8, 8, 8))
    for number, key in enumerate(changed.read_plan().partitions):
        publication = publish(changed)
        assert publication.refused == {}
        assert list(publication.waiting) == ["train", "valid"]
        said = f"{number} of 6 shards are made by the new settings"
        assert all(said in line for line in publication.lines())
        assert "preprocessing.shape was [24, 20, 12], is [8, 8, 8]" in publication.lines()[0]
        assert {s: paths.manifest(s).read_bytes() for s in published} == published
        build(changed, key)
    publication = publish(changed)
    assert publication.lines() == []
    assert publication.manifests["train"]["sample_shape"] == [8, 8, 8]
    assert publication.manifests["train"]["complete"]


def test_new_settings_are_listed_at_once_where_the_user_allows_it(
    whole: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    changed = open_folder(repository.folder, target_shape=(8, 8, 8))
    build(changed, "train-000000")
    assert publish(changed, allow_shrink=True).manifests["train"]["total_shards"] == 1
    build(changed, "train-000001")
    publication = publish(changed)
    assert publication.lines() == []
    assert publication.manifests["train"]["total_shards"] == 2


def test_a_lost_shard_stays_in_the_manifest_until_the_user_lets_it_go(whole: Workspace) -> None:
    before = whole.paths.manifest("train").read_bytes()
    lost = [item.key for item in whole.read_partition("train-000001")]
    whole.paths.shard("train-000001").unlink()
    publication = publish(whole)
    (line,) = publication.lines()
    assert list(publication.refused) == ["train"]
    assert f"{len(lost)} of which no listed shard would have ({lost[0]}, " in line
    assert f"train-000001 is lost {len(lost)}" in line
    assert whole.paths.manifest("train").read_bytes() == before
    assert list(publication.everything) == ["train", "valid"]
    assert publication.everything["train"]["total_shards"] == 3
    smaller = publish(whole, allow_shrink=True).manifests["train"]
    assert smaller["missing_partitions"] == ["train-000001"]
    build(whole, "train-000001")
    assert publish(whole).manifests["train"]["complete"]


def test_a_sample_that_is_rejected_now_is_named_with_its_reason(
    whole: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    changed = open_folder(repository.folder, min_slices=1000)
    build(changed)
    (first, *_) = publish(changed).lines()
    assert "too_few_slices" in first
    assert publish(changed).manifests == {}


def test_a_failed_shard_does_not_hold_new_ones_back(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository, tmp_path: Path
) -> None:
    """Of a shard that failed, the older one stays listed if it is on disk."""
    workspace, key = (
        open_folder(shutil.copytree(repository.folder, tmp_path / "own")),
        "train-000001",
    )
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build(workspace)
    publish(workspace)
    item = workspace.read_partition(key)[0]
    os.utime(workspace.source_folder / item.path, ns=(1, 1))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    today = today_fingerprint(workspace, workspace.read_plan(), key)
    bad = (Rejected(item.key, str(Reason.CORRUPT_GZIP), "bad"),)
    FailureNote(today, 1, bad).write(workspace.paths.shard(key))
    manifest = publish(workspace).manifests["train"]
    assert manifest["total_shards"] == 3
    (line,) = manifest["stale_partitions"][key]
    assert line.startswith(f"{item.key}: mtime_ns was ")
    assert manifest["account"]["reasons"]["left"] == {"failed": 3}


def test_a_shard_that_is_being_published_is_waited_for(
    whole: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its tar is replaced, a shard has no record; the old one has a private name."""
    record = whole.paths.record("train-000001")
    previous = previous_record(whole.paths.shard("train-000001"))
    record.replace(previous)
    monkeypatch.setattr(publication.time, "sleep", lambda _: previous.replace(record))
    assert publish(whole).lines() == []


def test_what_a_killed_run_left_is_not_waited_for_long(
    whole: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_PUBLICATION_S", 0.1)
    whole.paths.record("train-000001").replace(previous_record(whole.paths.shard("train-000001")))
    assert list(publish(whole).refused) == ["train"]
