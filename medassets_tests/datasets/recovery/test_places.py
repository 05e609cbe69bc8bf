"""What is at the places of a stage's shards, whatever a plan says of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.automation.wanted import look_at_disk
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.places import (
    count_records,
    has_shards,
    list_places,
    look_at_place,
)
from medassets.datasets.recovery.strays import find_strays
from medassets.datasets.status import Recorded, ShardState, shard_states
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace
from medassets.errors import ForeignFileError

FIRST, SECOND = "train-000000", "train-000001"


def test_places_have_a_tar_or_a_record_and_come_in_order(planned: Workspace) -> None:
    paths = planned.paths
    assert list_places(paths) == []
    folder = paths.split_folder("train")
    folder.mkdir(parents=True)
    for name in ("shard-000010.json", "shard-000002.tar", ".shard-000003.tar.partial", "mine.tar"):
        (folder / name).touch()
    assert list_places(paths) == ["train-000002", "train-000010"]
    assert count_records(paths) == 0


def test_a_shard_of_another_place_is_misplaced_and_a_whole_one_is_not(planned: Workspace) -> None:
    paths = planned.paths
    build_shard(planned, paths, plan_shard(planned, FIRST))
    found = look_at_place(paths, FIRST)
    assert (found.is_ours, found.is_misplaced, found.trouble) == (True, False, "")
    assert found.list_keys() == [item.key for item in planned.read_partition(FIRST)]
    for path in (paths.shard, paths.record):
        path(FIRST).rename(path(SECOND))
    found = look_at_place(paths, SECOND)
    assert (found.is_ours, found.is_misplaced) == (False, True)
    assert look_at_place(paths, FIRST).record is None


def test_records_of_every_stage_count_and_those_of_other_datasets_do_not(
    planned: Workspace,
) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    clips = replace(planned.paths, stage="clips")
    clips.record(FIRST).parent.mkdir(parents=True)
    clips.record(FIRST).write_bytes(planned.paths.record(FIRST).read_bytes())
    assert count_records(planned.paths) == 2
    text = clips.record(FIRST).read_text()
    clips.record(FIRST).write_text(text.replace('"dataset": "tiny"', '"dataset": "else"'))
    assert count_records(planned.paths) == 1


def test_a_split_folder_may_be_a_link_to_another_disk(planned: Workspace, tmp_path: Path) -> None:
    paths = planned.paths
    build_shard(planned, paths, plan_shard(planned, FIRST))
    folder, other = paths.split_folder("train"), tmp_path / "other disk"
    folder.rename(other)
    folder.symlink_to(other)
    assert has_shards(paths)
    assert list_places(paths) == [FIRST]
    assert look_at_place(paths, FIRST).is_ours
    assert find_strays(planned) == []


def test_a_link_in_the_place_of_a_tar_is_no_shard(planned: Workspace, tmp_path: Path) -> None:
    """Status, build and verify agree."""
    paths = planned.paths
    build_shard(planned, paths, plan_shard(planned, FIRST))
    shard = paths.shard(FIRST)
    shard.rename(tmp_path / "tar")
    shard.symlink_to(tmp_path / "tar")
    assert shard_states(planned, Recorded([FIRST], ()))[FIRST] is ShardState.LOST
    assert look_at_disk(planned).heads[FIRST] is None
    (problem,) = verify_dataset(planned, [FIRST], full=False).problems
    assert "a link is in the place of the shard; move it away" in str(problem)
    with pytest.raises(ForeignFileError, match="Move it away"):
        build_shard(planned, paths, plan_shard(planned, FIRST))
