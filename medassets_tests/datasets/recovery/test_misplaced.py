"""Renamed and swapped shards are put back where their records say."""

from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.misplaced import (
    explain_misplaced,
    find_misplaced,
    plan_moves,
    put_back,
)
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace

pytestmark = pytest.mark.slow  # whole builds

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
    lines = [move.describe() for move in put_back(made.paths) if move.is_last]
    assert len(lines) == len(places)
    assert all("put back to" in line for line in lines)
    assert {place: made.paths.shard(place).read_bytes() for place in places} == before
    assert _is_whole(made)


def test_a_renamed_shard_returns_to_its_free_place(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name(SECOND).rename(name("train-000077"))
    assert len(put_back(made.paths)) == 1
    assert _is_whole(made)


def test_a_move_that_was_killed_between_its_renames_is_finished(made: Workspace) -> None:
    made.paths.record(SECOND).rename(made.paths.record("train-000077"))
    assert len(put_back(made.paths)) == 1
    assert _is_whole(made)


def test_a_copy_of_a_whole_shard_stays_and_is_named(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name("train-000077").write_bytes(name(SECOND).read_bytes())
    assert put_back(made.paths) == []
    (found,) = find_misplaced(made.paths)
    assert "that place is taken" in explain_misplaced(found)
    assert made.paths.shard("train-000077").exists()
    assert _is_whole(made)


def test_other_bytes_than_the_record_says_are_not_moved(made: Workspace) -> None:
    for name in (made.paths.shard, made.paths.record):
        name(SECOND).rename(name("train-000077"))
    with made.paths.shard("train-000077").open("r+b") as file:
        file.write(b"?")
    assert put_back(made.paths) == []
    (found,) = find_misplaced(made.paths)
    line = explain_misplaced(found)
    assert "its bytes are not those of the record" in line
    assert not made.paths.shard(SECOND).exists()


def _stop_before(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the rename of this number fail, as if the process had been killed before it."""
    rename, done = Path.rename, list[Path]()

    def kill(path: Path, target: Path) -> Path:
        if len(done) == number:
            raise KeyboardInterrupt
        done.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", kill)


@pytest.mark.parametrize(
    "places", [(FIRST, SECOND), (FIRST, SECOND, THIRD), (SECOND, "train-000077")]
)
def test_a_kill_between_any_two_renames_is_mended_by_the_next_call(
    made: Workspace, places: tuple[str, ...]
) -> None:
    paths = made.paths
    files = {p.name: p.read_bytes() for p in paths.split_folder("train").glob("shard-*")}
    is_killed, number = True, 0
    while is_killed:
        if "train-000077" in places:
            for name in (paths.shard, paths.record):
                name(SECOND).rename(name("train-000077"))
        else:
            _move(made, *places)
        with pytest.MonkeyPatch.context() as monkeypatch:
            _stop_before(number, monkeypatch)
            try:
                put_back(paths)
                is_killed = False
            except KeyboardInterrupt:
                number += 1
        put_back(paths)
        folder = paths.split_folder("train")
        assert {p.name: p.read_bytes() for p in folder.glob("shard-*")} == files
    # A ring takes one move more than it has shards, each of two renames.
    assert number == 2 * (len(places) + 1 if places[0] == FIRST else 1)
    assert _is_whole(made)


def test_swapped_shards_are_put_back_beside_a_copy_of_another(made: Workspace) -> None:
    paths = made.paths
    for name in (paths.shard, paths.record):
        name("train-000077").write_bytes(name(THIRD).read_bytes())
    _move(made, FIRST, SECOND)
    assert [m.place for m in put_back(paths) if m.is_last] == [FIRST, SECOND]
    assert _is_whole(made)
    assert paths.shard("train-000077").exists()


def test_which_of_two_copies_belongs_into_a_ring_is_left_to_the_user(made: Workspace) -> None:
    paths = made.paths
    _move(made, FIRST, SECOND)
    for name in (paths.shard, paths.record):
        name("train-000077").write_bytes(name(FIRST).read_bytes())
    assert plan_moves(paths) == []
