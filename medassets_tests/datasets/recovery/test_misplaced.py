"""Renamed and swapped shards are put back where their records say."""

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.misplaced import find_misplaced, put_back
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace

FIRST, SECOND, THIRD = "train-000000", "train-000001", "train-000002"


@pytest.fixture
def made(planned: Workspace) -> Workspace:
    """A dataset with three shards."""
    for key in (FIRST, SECOND, THIRD):
        build_shard(planned, planned.paths, plan_shard(planned, key))
    return planned


def _move(workspace: Workspace, *places: str) -> None:
    """Move each shard to the next place; the last one goes to the first."""
    paths = workspace.paths
    for name in (paths.shard, paths.record):
        contents = [name(place).read_bytes() for place in places]
        for place, content in zip([*places[1:], places[0]], contents, strict=True):
            name(place).write_bytes(content)


def _is_whole(workspace: Workspace) -> bool:
    keys = (FIRST, SECOND, THIRD)
    return not verify_dataset(workspace, keys, full=True).problems


@pytest.mark.parametrize("places", [(FIRST, SECOND), (FIRST, SECOND, THIRD)])
def test_shards_in_each_others_places_are_put_back(
    made: Workspace, places: tuple[str, ...]
) -> None:
    before = {place: made.paths.shard(place).read_bytes() for place in places}
    _move(made, *places)
    assert [one.place for one in find_misplaced(made.paths)] == list(places)
    lines = list(put_back(made.paths))
    assert len(lines) == len(places)
    assert all("put back to" in line for line in lines)
    assert {place: made.paths.shard(place).read_bytes() for place in places} == before
    assert _is_whole(made)


def test_a_renamed_shard_returns_to_its_free_place(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name(SECOND).rename(name("train-000077"))
    assert len(list(put_back(made.paths))) == 1
    assert _is_whole(made)


def test_a_move_that_was_killed_between_its_renames_is_finished(made: Workspace) -> None:
    made.paths.record(SECOND).rename(made.paths.record("train-000077"))
    assert len(list(put_back(made.paths))) == 1
    assert _is_whole(made)


def test_a_copy_of_a_whole_shard_stays_and_is_named(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name("train-000077").write_bytes(name(SECOND).read_bytes())
    (line,) = put_back(made.paths)
    assert "that place is taken" in line
    assert made.paths.shard("train-000077").exists()
    assert _is_whole(made)


def test_other_bytes_than_the_record_says_are_not_moved(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name(SECOND).rename(name("train-000077"))
    with made.paths.shard("train-000077").open("r+b") as file:
        file.write(b"?")
    (line,) = put_back(made.paths)
    assert "its bytes are not those of the record" in line
    assert not made.paths.shard(SECOND).exists()
