"""The note of a failed shard: read for its own plan only, and gone when the shard is whole."""

from pathlib import Path

import pytest

from medassets.shards.failure import FailureNote, read_failure
from medassets.shards.files import failure_note, find_unfinished, remove_leftovers
from medassets.shards.record import Rejected
from medassets.storage.paths import DatasetPaths

KEY = "train-000000"
NOTE = FailureNote("plan", 7, (Rejected("a", "precision", "µ too coarse"),))


@pytest.fixture
def shard(paths: DatasetPaths) -> Path:
    """Path of a shard whose note is on disk."""
    shard = paths.shard(KEY)
    shard.parent.mkdir(parents=True)
    NOTE.write(shard)
    return shard


def test_a_note_is_read_as_written_for_its_plan_only(paths: DatasetPaths, shard: Path) -> None:
    assert read_failure(paths, KEY, "plan") == NOTE
    assert read_failure(paths, KEY, "another") is None
    assert read_failure(paths, "train-000001", "plan") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"rejected": [1]}', b"\xff"])
def test_a_damaged_note_is_no_note(paths: DatasetPaths, shard: Path, content: bytes) -> None:
    failure_note(shard).write_bytes(content)
    assert read_failure(paths, KEY, "plan") is None


def test_a_note_is_no_unfinished_shard_and_goes_with_the_leftovers(shard: Path) -> None:
    assert find_unfinished(shard.parent) == set()
    remove_leftovers(shard)
    assert list(shard.parent.iterdir()) == []
