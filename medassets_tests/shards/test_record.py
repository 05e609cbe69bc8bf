import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import LaterVersionError, ShardIntegrityError
from medassets.shards.files import read_head, read_whole_record
from medassets.shards.record import Rejected, ShardRecord
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths


@pytest.fixture
def record(paths: DatasetPaths, make_work: Callable[..., ShardWork]) -> ShardRecord:
    """The record of a small shard with two rejected samples."""
    return ensure_shard(paths, make_work()).record


def test_a_record_comes_back_as_it_was_written(record: ShardRecord, tmp_path: Path) -> None:
    record.write(tmp_path / "r.json")
    back = ShardRecord.read(tmp_path / "r.json")
    assert back == record
    assert [s.facts for s in back.samples] == [s.facts for s in record.samples]
    assert back.rejected_by_reason() == {"bad_header": 1, "missing_upstream": 1}


def test_a_record_is_json_with_a_line_per_sample(record: ShardRecord) -> None:
    text = record.encode().decode()
    document = json.loads(text)
    assert document["num_samples"] == len(document["samples"]) == 10
    assert sum('"key": "a_' in line for line in text.splitlines()) == 12
    assert "/" not in document["filename"]


def test_text_of_any_language_survives(record: ShardRecord, tmp_path: Path) -> None:
    odd = replace(record, rejected=(Rejected("a", "bad_header", 'ü "漢" \\ \u2028'),))
    odd.write(tmp_path / "r.json")
    assert ShardRecord.read(tmp_path / "r.json").rejected == odd.rejected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(record_version=2, samples="packed"), "record_version 2, known: 1"),
        (lambda d: d.update(licence="x"), "unknown: licence"),
        (lambda d: d["samples"][1].update(mirror=True), "unknown: mirror of SampleEntry"),
        (lambda d: d["samples"][1]["members"][0].update(zip=1), "unknown: zip of Member"),
        (lambda d: d["rejected"][0].update(since=1), "unknown: since of Rejected"),
    ],
)
def test_a_record_of_a_later_version_is_neither_read_nor_taken_for_damaged(
    paths: DatasetPaths,
    record: ShardRecord,
    change: Callable[[dict[str, Any]], None],
    named: str,
) -> None:
    path = paths.record(record.partition)
    document = json.loads(path.read_bytes())
    del document["checksum"]
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(LaterVersionError, match=f"later version of medassets.*{named}.*Update"):
        ShardRecord.read(path)
    with pytest.raises(LaterVersionError, match=named):
        read_whole_record(paths, record.partition)


def test_a_record_that_was_changed_by_hand_is_damaged_whatever_fields_it_has(
    record: ShardRecord, tmp_path: Path
) -> None:
    text = record.encode().decode().replace('"kind"', '"kidn"')
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ShardIntegrityError, match="not a shard record"):
        ShardRecord.read(tmp_path / "r.json")


def test_the_head_of_a_record_of_a_later_version_is_refused(
    record: ShardRecord, tmp_path: Path
) -> None:
    text = record.encode().decode().replace('"record_version": 1', '"record_version": 2')
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(LaterVersionError, match="record_version 2"):
        read_head(tmp_path / "r.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"samples": 1}', b"\xff"])
def test_what_is_no_record_is_refused_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ShardIntegrityError, match=r"r\.json: not a shard record.*build"):
        ShardRecord.read(tmp_path / "r.json")
