"""Each difference between a sample on disk and its entry is found, whichever byte differs."""

from dataclasses import replace
from pathlib import Path

import pytest

from medassets.shards.readback import find_damage
from medassets.shards.record import SampleEntry
from medassets.shards.writer import ensure_shard
from medassets.storage.checksums import byte_view
from medassets.storage.paths import DatasetPaths
from medassets.tars.reader import open_tar
from medassets_tests.shards.works import KEY, MakeWork


@pytest.fixture
def shard(paths: DatasetPaths, make_work: MakeWork) -> Path:
    ensure_shard(paths, make_work())
    return paths.shard(KEY)


@pytest.fixture
def sample(paths: DatasetPaths, make_work: MakeWork, shard: Path) -> SampleEntry:
    return ensure_shard(paths, make_work()).record.samples[3]


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 1]))


def test_a_whole_sample_has_no_damage_and_feeds_all_its_bytes(
    shard: Path, sample: SampleEntry
) -> None:
    fed = bytearray()
    with open_tar(shard) as tar:
        assert find_damage(tar, sample, feed=lambda piece: fed.extend(byte_view(piece))) == []
    assert fed == shard.read_bytes()[sample.offset : sample.offset + sample.size_bytes]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("first header", "member .bin has a header that differs from its record"),
        ("first content", "member .bin is damaged"),
        ("last content", "member .json is damaged"),
        ("last padding", "member .json is followed by padding that is not zero"),
    ],
)
def test_a_flipped_bit_is_named_by_its_member(
    shard: Path, sample: SampleEntry, place: str, words: str
) -> None:
    first, last = sample.members[0], sample.members[-1]
    offsets = {
        "first header": sample.offset,
        "first content": first.offset + 7,
        "last content": last.offset + last.size_bytes - 1,
        "last padding": sample.offset + sample.size_bytes - 1,
    }
    _flip(shard, offsets[place])
    with open_tar(shard) as tar:
        (found,) = find_damage(tar, sample)
    assert words in found


def test_a_moved_sample_is_whole_at_its_new_position(
    shard: Path, sample: SampleEntry, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.tar"
    moved.write_bytes(bytes(1536) + shard.read_bytes())
    with open_tar(moved) as tar:
        assert find_damage(tar, sample, moved_by=1536) == []
        assert find_damage(tar, sample) != []


def test_an_entry_whose_numbers_contradict_each_other_is_named(
    shard: Path, sample: SampleEntry
) -> None:
    with open_tar(shard) as tar:
        longer = replace(sample, size_bytes=sample.size_bytes + 512)
        assert find_damage(tar, longer) == ["the sizes of its members do not add up to its size"]
