import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import ShardIntegrityError
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


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"samples": 1}', b"\xff"])
def test_what_is_no_record_is_refused_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ShardIntegrityError, match=r"r\.json: not a shard record.*build"):
        ShardRecord.read(tmp_path / "r.json")
