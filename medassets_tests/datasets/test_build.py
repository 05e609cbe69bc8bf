"""One partition of a dataset, without Dagster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets import build
from medassets.datasets.build import build_shard, plan_shard, stage_partition
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, DiskSpaceError, LaterVersionError, SpecError
from medassets.specs import DatasetSpec

KEY = "train-000000"


def test_a_plan_of_work_computes_nothing(planned: Workspace) -> None:
    work = plan_shard(planned, KEY, num_workers=3)
    assert [item.key for item in work.items] == ["train_1_a_1", "train_1_a_2", "train_2_a_1"]
    assert (work.partition_key, work.num_workers, work.force) == (KEY, 3, False)
    assert work.expected_bytes > 3 * 2 * 24 * 20 * 12
    assert not planned.paths.shard(KEY).exists()


def test_an_unknown_partition_is_refused(planned: Workspace) -> None:
    with pytest.raises(CatalogError, match="the plan has no partition 'train-000099'"):
        plan_shard(planned, "train-000099")


def test_a_full_disk_is_told_before_anything_is_made(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = plan_shard(planned, KEY)
    too_large = replace(work, expected_bytes=1 << 60)
    with pytest.raises(DiskSpaceError, match=r"shard train-000000"):
        build_shard(planned, planned.paths, too_large)
    assert not planned.paths.shard(KEY).parent.exists()
    build_shard(planned, planned.paths, work)
    # A whole shard needs no room.
    assert build_shard(planned, planned.paths, too_large).adopted


def test_staging_of_a_local_source_copies_nothing(planned: Workspace, home: Path) -> None:
    report = stage_partition(planned, KEY)
    assert (report.num_files, report.needed, report.left) == (3, True, "")
    assert not (home / "staging").exists()


def test_a_missing_file_is_a_rejection_with_its_path(
    open_folder: Callable[..., Workspace], own_repository: Path
) -> None:
    path = "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"
    (own_repository / path).unlink()
    workspace = open_folder(own_repository)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    report = stage_partition(workspace, KEY)
    assert list(report.rejected) == ["train_1_a_1"]
    assert path in report.rejected["train_1_a_1"]
    record = build_shard(workspace, workspace.paths, plan_shard(workspace, KEY)).record
    assert [(r.key, r.reason) for r in record.rejected] == [("train_1_a_1", "missing_upstream")]


def test_staging_that_may_not_wait_leaves_the_files_to_the_shard(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        msg = "no room in staging"
        raise DiskSpaceError(msg)

    monkeypatch.setattr(Workspace, "stage", full)
    assert stage_partition(planned, KEY, may_wait=False).left == "no room in staging"
    with pytest.raises(DiskSpaceError, match="no room in staging"):
        stage_partition(planned, KEY)


def test_a_file_that_changed_makes_its_shard_stale_and_no_other(
    open_folder: Callable[..., Workspace], own_repository: Path
) -> None:
    workspace = open_folder(own_repository)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    keys = list(workspace.read_plan().partitions)

    def fingerprints() -> dict[str, str]:
        plan = workspace.read_plan()
        return {key: build.today_fingerprint(workspace, plan, key) for key in keys}

    before = fingerprints()
    path = own_repository / "dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    after = fingerprints()
    assert [key for key in keys if before[key] != after[key]] == [KEY]


def test_a_declaration_that_no_kind_takes_is_refused(workspace: Workspace) -> None:
    assert open_kind(workspace.kind.spec) == workspace.kind
    assert isinstance(workspace.kind, VolumeDataset)
    with pytest.raises(SpecError, match="declared as DatasetSpec, which no kind"):
        open_kind(DatasetSpec(name="bare", source="folder", folder="/data"))


def test_a_shard_of_a_later_format_is_made_again_only_by_force(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("medassets.datasets.volumes.FORMAT_VERSION", 2)
        # The fingerprint of a kind is computed once.
        newer = replace(planned, kind=open_kind(planned.kind.spec))
        build_shard(newer, newer.paths, plan_shard(newer, KEY))
    before = planned.paths.shard(KEY).read_bytes()
    for plan in (plan_shard, stage_partition):
        with pytest.raises(
            LaterVersionError, match=r"shard-000000\.tar: .*format_version 2, known: 1"
        ):
            plan(planned, KEY)
    assert planned.paths.shard(KEY).read_bytes() == before
    assert not build_shard(planned, planned.paths, plan_shard(planned, KEY, force=True)).adopted
