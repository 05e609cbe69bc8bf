"""Files of a shard: whole ones with their record, and private ones of an interrupted run."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.shards.files import (
    ShardHead,
    find_unfinished,
    lock_path,
    partial_paths,
    pending_record,
    previous_record,
    read_head,
    read_whole_record,
    remove_leftovers,
)
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import KEY, MakeWork, read_files


def test_a_whole_shard_gives_its_record_for_its_own_plan_only(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    record = ensure_shard(paths, make_work()).record
    assert read_whole_record(paths, KEY) == record
    assert read_whole_record(paths, KEY, "plan") == record
    assert read_whole_record(paths, KEY, "another") is None


@pytest.mark.parametrize("damage", ["longer", "no tar", "no record", "bad record"])
def test_a_shard_that_is_not_whole_gives_no_record(
    paths: DatasetPaths, make_work: MakeWork, damage: str
) -> None:
    record = ensure_shard(paths, make_work()).record
    if damage == "longer":
        os.truncate(paths.shard(KEY), record.size_bytes + 512)
    elif damage == "no tar":
        paths.shard(KEY).unlink()
    elif damage == "no record":
        paths.record(KEY).unlink()
    else:
        paths.record(KEY).write_bytes(b"{")
    assert read_whole_record(paths, KEY) is None


def test_private_files_are_found_and_removed_and_the_shard_stays(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    ensure_shard(paths, make_work())
    whole, shard = read_files(paths), paths.shard(KEY)
    private = [*partial_paths(shard), pending_record(shard), previous_record(shard)]
    assert len({shard, paths.record(KEY), lock_path(shard), *private}) == 7
    for path in private:
        path.write_bytes(b"x")
        assert find_unfinished(shard.parent) == {"shard-000000"}
        remove_leftovers(shard)
        assert read_files(paths) == whole
    assert find_unfinished(shard.parent) == set()


def test_files_of_other_shards_are_not_removed(tmp_path: Path) -> None:
    other = tmp_path / "shard-000001.tar"
    for path in (*partial_paths(other), tmp_path / ".shard-1.notes", tmp_path / "notes.txt"):
        path.write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    remove_leftovers(tmp_path / "shard-000000.tar")
    assert sorted(tmp_path.iterdir()) == before
    assert find_unfinished(tmp_path) == {"shard-000001"}


def test_the_head_of_a_record_says_what_the_whole_record_says(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    record = ensure_shard(paths, make_work()).record
    place = (record.dataset, KEY, "train", "shard-000000.tar")
    assert record.rejected
    head = ShardHead(
        record.plan_fingerprint, record.sha256, record.size_bytes, place, has_rejected=True
    )
    assert read_head(paths.record(KEY)) == head
    # A head that is longer than what is read first.
    long = replace(record, source={"uri": "u" * 20_000, "revision": None})
    paths.record(KEY).write_bytes(long.encode())
    assert read_head(paths.record(KEY)) == head


@pytest.mark.parametrize("damage", ["missing", "cut", "longer", "empty", "foreign"])
def test_a_record_that_is_not_whole_has_no_head(
    paths: DatasetPaths, make_work: MakeWork, damage: str
) -> None:
    content = ensure_shard(paths, make_work()).record.encode()
    path = paths.record(KEY)
    path.unlink()
    written = {
        "cut": content[:-10],
        "longer": content + b"x",
        "empty": b"",
        "foreign": b'{"samples": []}\n',
    }
    if damage in written:
        path.write_bytes(written[damage])
    assert read_head(path) is None
