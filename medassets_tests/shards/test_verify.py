import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.shards.record import ShardRecord
from medassets.shards.verify import verify_shard
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths

KEY = "train-000000"


@pytest.fixture
def record(paths: DatasetPaths, make_work: Callable[..., ShardWork]) -> ShardRecord:
    """The record of a published shard."""
    return ensure_shard(paths, make_work()).record


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)


def _found(paths: DatasetPaths, *, full: bool = True) -> list[str]:
    return [str(problem) for problem in verify_shard(paths, KEY, full=full)]


def test_a_whole_shard_has_no_problem(paths: DatasetPaths, record: ShardRecord) -> None:
    assert record.num_samples == 10
    assert _found(paths) == _found(paths, full=False) == []


def test_a_flipped_byte_names_shard_sample_member_and_remedy(
    paths: DatasetPaths, record: ShardRecord
) -> None:
    sample = record.samples[4]
    _flip(paths.shard(KEY), sample.members[0].offset + 99)
    assert _found(paths, full=False) == []
    (problem,) = _found(paths)
    assert str(paths.shard(KEY)) in problem
    assert f"{sample.key}: member .bin is damaged" in problem
    assert "build partition train-000000 again" in problem


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("header", "has a header that differs"),
        ("padding", "padding that is not zero"),
        ("end", "its sha256 is not that of the record"),
    ],
)
def test_damage_outside_of_contents_is_found(
    paths: DatasetPaths, record: ShardRecord, place: str, what: str
) -> None:
    member = record.samples[2].members[0]
    offsets = {
        "header": member.offset - 512,
        "padding": member.offset + member.size_bytes,
        "end": record.size_bytes - 1,
    }
    _flip(paths.shard(KEY), offsets[place])
    (problem,) = _found(paths)
    assert what in problem


def test_a_shard_of_another_size_is_found_without_reading_it(
    paths: DatasetPaths, record: ShardRecord
) -> None:
    os.truncate(paths.shard(KEY), record.size_bytes - 512)
    (problem,) = _found(paths, full=False)
    assert f"its record says {record.size_bytes:,}" in problem


def test_missing_files_are_problems_too(paths: DatasetPaths, record: ShardRecord) -> None:
    paths.shard(KEY).unlink()
    assert ["the shard is missing" in p for p in _found(paths)] == [True]
    paths.record(KEY).write_bytes(b"{}")
    assert ["not a shard record" in p for p in _found(paths)] == [True]
    paths.record(KEY).unlink()
    assert ["the record is missing" in p for p in _found(paths)] == [True]
