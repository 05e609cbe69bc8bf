"""Members of a published shard are found by its record, and verified while they are read."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from medassets.errors import ShardIntegrityError
from medassets.shards.contents import OpenShard, open_shard
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import KEY, MakeWork


@pytest.fixture
def shard(paths: DatasetPaths, make_work: MakeWork) -> Iterator[OpenShard]:
    record = ensure_shard(paths, make_work()).record
    with open_shard(record, paths.shard(KEY)) as opened:
        yield opened


def test_every_member_is_what_tarfile_reads(shard: OpenShard, paths: DatasetPaths) -> None:
    with tarfile.open(paths.shard(KEY)) as archive:
        for sample in shard.record.samples:
            for suffix in ("bin", "txt", "json"):
                file = archive.extractfile(f"{sample.key}.{suffix}")
                assert file is not None
                expected = file.read()
                assert shard.read(sample, suffix) == expected
                chunks = [bytes(chunk) for chunk in shard.iter_checked(sample, suffix)]
                assert b"".join(chunks) == expected


def test_a_json_member_is_parsed(shard: OpenShard) -> None:
    sample = shard.record.samples[2]
    assert shard.read_json(sample, "json") == {"key": sample.key}


def test_an_absent_member_is_named_with_its_sample_and_a_remedy(shard: OpenShard) -> None:
    sample = shard.record.samples[1]
    words = (
        rf"shard-000000\.tar: {sample.key}: there is no member \.npy; build partition {KEY} again"
    )
    with pytest.raises(ShardIntegrityError, match=words):
        shard.read(sample, "npy")


def test_content_that_is_not_json_is_named(shard: OpenShard) -> None:
    sample = shard.record.samples[0]
    with pytest.raises(ShardIntegrityError, match=rf"{sample.key}: member \.bin is not JSON: "):
        shard.read_json(sample, "bin")


def test_a_flipped_byte_is_found_by_every_way_of_reading(
    shard: OpenShard, paths: DatasetPaths
) -> None:
    sample = shard.record.samples[4]
    member = shard.find(sample, "json")
    with paths.shard(KEY).open("r+b") as file:
        file.seek(member.offset)
        assert json.loads(file.read(member.size_bytes)) == {"key": sample.key}
        file.seek(member.offset)
        file.write(b"[")
    words = rf"{sample.key}: member \.json is damaged.*; build partition {KEY} again"
    with pytest.raises(ShardIntegrityError, match=words):
        shard.read(sample, "json")
    with pytest.raises(ShardIntegrityError, match=words):
        list(shard.iter_checked(sample, "json"))


def test_a_missing_tar_is_not_opened(shard: OpenShard, tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="gone"),
        open_shard(shard.record, tmp_path / "gone"),
    ):
        pass
