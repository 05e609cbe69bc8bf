import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.shards.files import read_whole_record
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


def _edit(paths: DatasetPaths, **fields: Any) -> None:
    path = paths.record(KEY)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, **fields}))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"num_samples": 11}, "its record counts 11 samples and lists 10"),
        ({"rejected": []}, "its record's fingerprint is not that of its sha256"),
        ({"sha256": "0" * 64}, "its record's fingerprint is not that of its sha256"),
        ({"partition": "train-000001"}, "is that of partition 'train-000001', expected"),
        ({"split": "valid"}, "is that of split 'valid', expected 'train'"),
        ({"filename": "shard-000001.tar"}, "is that of filename 'shard-000001.tar'"),
        ({"dataset": "other"}, "is that of dataset 'other'"),
    ],
)
@pytest.mark.usefixtures("record")
def test_a_record_that_contradicts_itself_or_its_place_is_found_at_once(
    paths: DatasetPaths, fields: dict[str, Any], what: str
) -> None:
    _edit(paths, **fields)
    assert what in _found(paths, full=False)[0]
    assert read_whole_record(paths, KEY) is None


def test_any_change_of_a_record_is_found(paths: DatasetPaths, record: ShardRecord) -> None:
    text = paths.record(KEY).read_text()
    changed = text.replace('"uri": "', '"uri": "elsewhere', 1)
    assert changed != text
    paths.record(KEY).write_text(changed)
    (problem,) = _found(paths, full=False)
    assert "its record was changed since it was published" in problem
    # A record of an earlier version has no checksum.
    document = json.loads(record.encode())
    del document["checksum"]
    paths.record(KEY).write_text(json.dumps(document))
    assert _found(paths) == []


@pytest.mark.parametrize("name", ["shard", "record"])
@pytest.mark.usefixtures("record")
def test_a_folder_or_link_in_place_of_a_file_is_named(paths: DatasetPaths, name: str) -> None:
    path: Path = getattr(paths, name)(KEY)
    moved = path.rename(path.with_name("moved"))
    path.mkdir()
    (problem,) = _found(paths)
    assert problem.startswith(f"{path}: ")
    path.rmdir()
    if name == "shard":
        path.symlink_to(moved)
        (problem,) = _found(paths)
        assert "a link is in the place of the shard; move it away" in problem
