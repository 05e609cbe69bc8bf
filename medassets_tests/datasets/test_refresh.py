"""A refresh of the catalog: what it plans, what it keeps, and which drafts it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.refresh import (
    check_settings,
    draft_catalog,
    publish_catalog,
    resolve_settings,
)
from medassets.datasets.video import VideoFrames
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, UsageError
from medassets.specs import VideoClipDatasetSpec

KEYS = [f"{split}-{index:06d}" for split in ("train", "valid") for index in range(3)]


def test_a_draft_writes_nothing(workspace: Workspace) -> None:
    draft = draft_catalog(workspace)
    assert draft.new_partitions == list(draft.plan.partitions) == KEYS
    assert draft.previous_plan is None
    assert not workspace.paths.folder.exists()


def test_a_refresh_of_an_unchanged_source_leaves_the_file_as_it_is(planned: Workspace) -> None:
    before = planned.paths.catalog.stat()
    again = draft_catalog(planned)
    publish_catalog(planned.paths, again)
    assert again.new_partitions == []
    after = planned.paths.catalog.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_limit_holds_the_other_samples_for_a_later_refresh(workspace: Workspace) -> None:
    limited = draft_catalog(workspace, limit=4, limit_splits=("train",))
    assert limited.plan.partitions == {"train-000000": 3, "train-000001": 1}
    assert limited.plan.num_held == 7 - 4 + 7
    publish_catalog(workspace.paths, limited)
    whole = draft_catalog(workspace)
    assert (sum(whole.plan.partitions.values()), whole.plan.num_held) == (14, 0)
    assert set(whole.new_partitions) == set(KEYS) - set(limited.plan.partitions)


def test_the_state_of_each_file_is_in_its_row(
    open_folder: Callable[..., Workspace], own_repository: Path
) -> None:
    table = draft_catalog(open_folder(own_repository)).table
    rows = [row for row in table.to_pylist() if row["excluded"] is None]
    assert len(rows) == 14
    for row in rows:
        stat = (own_repository / row["path"]).stat()
        assert (row["num_bytes"], row["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)


def test_of_two_drafts_of_one_catalog_the_second_is_refused(workspace: Workspace) -> None:
    first, second = draft_catalog(workspace, limit=3), draft_catalog(workspace)
    publish_catalog(workspace.paths, first)
    content = workspace.paths.catalog.read_bytes()
    with pytest.raises(CatalogError, match="another refresh wrote the catalog meanwhile"):
        publish_catalog(workspace.paths, second)
    assert workspace.paths.catalog.read_bytes() == content


def test_a_plan_keeps_its_number_of_samples_per_shard(planned: Workspace) -> None:
    with pytest.raises(CatalogError, match="samples_per_shard"):
        draft_catalog(planned, samples_per_shard=5)
    shutil.rmtree(planned.paths.folder)
    assert max(draft_catalog(planned, samples_per_shard=5).plan.partitions.values()) == 5


def test_settings_that_a_kind_does_not_have_are_refused(planned: Workspace) -> None:
    with pytest.raises(UsageError, match="tiny has no such setting"):
        check_settings(planned, {"seed": 1})
    check_settings(planned, {})


def test_settings_are_those_asked_for_until_there_is_a_plan() -> None:
    spec = VideoClipDatasetSpec(name="v", videos_dir="/v", metadata="/m.json", seed=3)
    workspace = open_workspace(VideoFrames(spec))
    asked = {"seed": 7}
    assert resolve_settings(workspace, None, {}) == {"split_mode": "random", "seed": 3}
    assert resolve_settings(workspace, None, asked) == {"split_mode": "random", "seed": 7}
