"""Stale shards that today's inputs make again to the same bytes keep their tar."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.staleness.adoption import Adoption, adopt_shard
from medassets.datasets.staleness.reasons import Today
from medassets.datasets.workspace import Workspace
from medassets.shards.record import ShardRecord
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.datasets.publishing import build

OpenFolder = Callable[..., Workspace]
KEY = "train-000000"


@pytest.fixture
def folder(repository: SyntheticRepository, tmp_path: Path) -> Path:
    """A repository of the test's own."""
    return shutil.copytree(repository.folder, tmp_path / "own")


@pytest.fixture
def made(open_folder: OpenFolder, folder: Path) -> Workspace:
    """A dataset with one shard."""
    workspace = open_folder(folder)
    refresh(workspace)
    build(workspace, KEY)
    return workspace


def refresh(workspace: Workspace) -> None:
    publish_catalog(workspace.paths, draft_catalog(workspace))


def adopt(workspace: Workspace, *, every_sample: bool = False, dry_run: bool = False) -> Adoption:
    today = Today(workspace, workspace.read_plan())
    found = adopt_shard(today, KEY, every_sample=every_sample, dry_run=dry_run)
    assert found is not None
    return found


def is_current(workspace: Workspace) -> bool:
    record = ShardRecord.read(workspace.paths.record(KEY))
    return Today(workspace, workspace.read_plan()).is_current(record)


def touch_all(workspace: Workspace) -> None:
    """Give the files the times that a copy of them has."""
    for item in workspace.read_partition(KEY):
        os.utime(workspace.source_folder / item.path, ns=(1, 1))
    refresh(workspace)


def test_copied_files_have_the_digest_of_their_samples(made: Workspace) -> None:
    before = made.paths.shard(KEY).stat().st_mtime_ns
    touch_all(made)
    assert not is_current(made)
    found = adopt(made)
    assert found.refused == ""
    assert found.proof == "the files of 3 of 3 have the digest of their samples"
    assert is_current(made)
    assert made.paths.shard(KEY).stat().st_mtime_ns == before
    record = ShardRecord.read(made.paths.record(KEY))
    assert record.facts is not None
    assert record.facts.plan_fingerprint == record.plan_fingerprint
    assert record.adopted["changes"][0].endswith("is 1")
    manifest = build_manifests(made)["train"]
    assert manifest["stale_partitions"] == {}
    today = Today(made, made.read_plan())
    assert adopt_shard(today, KEY) is None


def test_a_dry_run_writes_nothing(made: Workspace) -> None:
    touch_all(made)
    before = made.paths.record(KEY).read_bytes()
    assert adopt(made, dry_run=True).proof
    assert made.paths.record(KEY).read_bytes() == before


def test_a_file_with_other_content_is_not_adopted(made: Workspace) -> None:
    first, second, *_ = made.read_partition(KEY)
    paths = [made.source_folder / item.path for item in (first, second)]
    paths[0].write_bytes(paths[1].read_bytes())
    refresh(made)
    found = adopt(made, every_sample=True)
    assert found.refused.startswith(f"{first.key}: a build ")
    assert not is_current(made)


def test_a_raised_format_version_is_proven_by_one_sample_of_each_shard(
    made: Workspace, open_folder: OpenFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.datasets.volumes._CODEC_VERSION", 2)
    later = open_folder(folder)
    found = adopt(later)
    assert found.changes == ("codec_version was not set, is 2",)
    assert found.proof == "1 of 3 were made again and are the same"
    assert is_current(later)
    touch_all(later)
    found = adopt(later)
    assert found.proof == "3 of 3 were made again and are the same"
    assert is_current(later)


def test_a_damaged_shard_is_not_adopted(
    made: Workspace, open_folder: OpenFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.datasets.volumes._CODEC_VERSION", 2)
    first = ShardRecord.read(made.paths.record(KEY)).samples[0]
    with made.paths.shard(KEY).open("r+b") as tar:
        tar.seek(first.members[0].offset)
        tar.write(b"\xff")
    assert str(made.paths.shard(KEY)) in adopt(open_folder(folder)).refused


def test_a_limit_is_proven_by_all_samples_alone(
    made: Workspace, open_folder: OpenFolder, folder: Path
) -> None:
    same, other = open_folder(folder, min_slices=3), open_folder(folder, min_slices=1000)
    assert "min_slices decides which samples are rejected" in adopt(same).refused
    assert "a build rejects it (too_few_slices" in adopt(other, every_sample=True).refused
    assert adopt(same, every_sample=True).proof == "3 of 3 were made again and are the same"
    assert is_current(same)


def test_another_shape_is_never_adopted(
    made: Workspace, open_folder: OpenFolder, folder: Path
) -> None:
    changed = open_folder(folder, target_shape=(8, 8, 8))
    assert "another form" in adopt(changed, every_sample=True).refused


def test_a_shard_whose_plan_grew_is_not_adopted(open_folder: OpenFolder, folder: Path) -> None:
    workspace = open_folder(folder)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=1))
    build(workspace, KEY)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=2))
    assert "gives it more samples" in adopt(workspace).refused


def test_current_shards_without_facts_get_them(made: Workspace) -> None:
    path = made.paths.record(KEY)
    before = path.read_bytes()
    replace(ShardRecord.read(path), made_from={}, plan={}).write(path)
    found = adopt(made)
    assert (found.changes, found.refused) == ((), "")
    assert path.read_bytes() == before
    assert "adopted" not in json.loads(before)


def test_stale_shards_without_facts_are_known_by_all_their_samples(made: Workspace) -> None:
    path = made.paths.record(KEY)
    replace(ShardRecord.read(path), made_from={}, plan={}).write(path)
    touch_all(made)
    assert adopt(made).proof == "the files of 3 of 3 have the digest of their samples"
    assert is_current(made)


def test_a_missing_source_is_named(made: Workspace) -> None:
    item = made.read_partition(KEY)[0]
    touch_all(made)
    (made.source_folder / item.path).unlink()
    assert item.key in adopt(made).refused
