"""Positions of samples, from records and from the headers of tars."""

import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders.index import ShardIndex
from medassets_tests.small_shards import read_by_tarfile

NUM_SAMPLES = 8


def list_members(index: ShardIndex) -> dict[str, tuple[int, int]]:
    return {
        f"{sample.key}.{suffix}": (member.offset, member.size_bytes)
        for sample in map(index.locate, range(len(index)))
        for suffix, member in sample.members.items()
    }


def test_records_and_headers_tell_the_same(split: Path) -> None:
    tars = sorted(split.parent.glob("*.tar"))
    expected = {name: place for tar in tars for name, place in read_by_tarfile(tar).items()}
    recorded = ShardIndex(split)
    assert list_members(recorded) == expected
    assert [recorded.locate(n).shard for n in range(NUM_SAMPLES)] == [0] * 4 + [1] * 3 + [2]
    assert recorded.shard_ends.tolist() == [4, 7, 8]


def test_a_copy_without_records_is_scanned_and_has_the_same_digest(
    split: Path, tmp_path: Path
) -> None:
    for tar in split.parent.glob("*.tar"):
        shutil.copy(tar, tmp_path)
    scanned, recorded = ShardIndex(tmp_path), ShardIndex(split)
    assert list_members(scanned) == list_members(recorded)
    assert scanned.digest == recorded.digest
    assert scanned.locate(0).members["bin"].crc32 is None


def test_a_missing_shard_is_named(split: Path) -> None:
    match = r"shard-000003\.tar: the shard is missing;"
    with pytest.raises(ShardIntegrityError, match=match):
        ShardIndex(f"{split.parent}/shard-{{000000..000003}}.tar")


def test_a_folder_named_as_a_tar_is_no_shard(own_split: Path) -> None:
    folder = own_split.with_name("shard-000003.tar")
    folder.mkdir()
    own_split.unlink()
    for source in (own_split.parent, f"{own_split.parent}/shard-{{000002..000003}}.tar"):
        with pytest.raises(
            ShardIntegrityError, match=r"shard-000003\.tar: is a folder or a device"
        ):
            ShardIndex(source)
    shutil.copy(own_split.with_name("shard-000000.tar"), folder)
    assert len(ShardIndex(folder)) == 4


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["size_bytes"], "1"),
        (["dataset"], None),
        (["samples"], {"a": 1}),
        (["samples", 0], "a"),
        (["samples", 0, "key"], 3),
        (["samples", 0, "key"], "\ud800"),
        (["samples", 0, "members", 0, "crc32"], None),
        (["samples", 0, "members", 0, "offset"], 1e400),
        (["samples", 0, "members"], None),
    ],
    ids=range(9),
)
def test_a_record_with_another_value_is_named(own_split: Path, path: list[Any], value: Any) -> None:
    record = own_split.with_name("shard-000001.json")
    document = node = json.loads(record.read_text())
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    for content in (json.dumps(document), "[" * 100_000):
        record.write_text(content)
        with pytest.raises(ShardIntegrityError, match=r"shard-000001\.json: not a shard record"):
            ShardIndex(own_split)


@pytest.mark.parametrize("cut", [1, 512, 1024, 20_000])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_shard_cut_off_anywhere_is_noticed_before_training(
    own_split: Path, cut: int, recorded: bool
) -> None:
    shard = own_split.with_name("shard-000001.tar")
    if not recorded:
        own_split.unlink()
        for record in own_split.parent.glob("shard-*.json"):
            record.unlink()
    # The end of a tar is 1,024 bytes of nothing, filled to 10,240: losing only filling loses none.
    os.truncate(shard, shard.stat().st_size - cut)
    if recorded:
        match = (
            r"shard-000001\.tar: the shard has .* its record .*--partitions train-000001 --force"
        )
        with pytest.raises(ShardIntegrityError, match=match):
            ShardIndex(own_split)
    elif cut == 20_000:
        with pytest.raises(
            ShardIntegrityError, match=r"shard-000001\.tar: .*cut off; copy it again"
        ):
            ShardIndex(own_split.parent)
    else:
        with tarfile.open(shard) as tar:
            expected = len(tar.getnames()) // 4
        assert len(ShardIndex(shard)) == expected


def test_a_record_or_manifest_of_another_shard_is_named(own_split: Path) -> None:
    manifest = json.loads(own_split.read_text())
    manifest["shards"][1]["num_samples"] = 9
    own_split.write_text(json.dumps(manifest))
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: the shard has 3 samples"):
        ShardIndex(own_split)
    own_split.with_name("shard-000000.json").write_text('{"size_bytes": 1}')
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.json: not a shard record"):
        ShardIndex(own_split)


def test_an_index_of_ten_thousand_samples_stays_small(tmp_path: Path) -> None:
    samples = [
        {
            "key": f"train_{n}_a_1",
            "offset": 0,
            "size_bytes": 0,
            "facts": {},
            "members": [
                {"suffix": s, "offset": 0, "size_bytes": 0, "crc32": 0}
                for s in ("bin", "txt", "cls", "json")
            ],
        }
        for n in range(10_000)
    ]
    (tmp_path / "a.tar").touch()
    record = {"size_bytes": 0, "dataset": "d", "partition": "train-000000", "samples": samples}
    (tmp_path / "a.json").write_text(json.dumps(record))
    index = ShardIndex(tmp_path / "a.tar")
    assert len(index) == 10_000
    # 4 members of 28 bytes, a key, two ends.
    assert len(pickle.dumps(index)) < 10_000 * 160
    assert index.locate(-1).key == "train_9999_a_1"
