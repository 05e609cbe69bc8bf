"""Where samples lie: from records and from the headers of tars."""

import io
import json
import os
import pickle
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders.index import ShardIndex
from medassets.tars.lists import Source, find_shards
from medassets_tests.small_shards import pack_tar

NUM_SAMPLES = 8


def read_by_tarfile(path: Path) -> dict[str, tuple[int, int]]:
    """Return member name -> (offset, size), by the standard library."""
    with tarfile.open(path) as tar:
        return {m.name.removeprefix("./"): (m.offset_data, m.size) for m in tar if m.isreg()}


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


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_every_format_of_tar_is_scanned(tmp_path: Path, tar_format: int) -> None:
    long = "d" * 90 + "/" + "k" * 90
    names = [f"{long}{n}" for n in range(3)] + ["a/plain", "with-ünïcode"]
    samples = {name: {"bin": b"x" * (n * 700), "Seg.TXT": b""} for n, name in enumerate(names)}
    pack_tar(tmp_path / "a.tar", samples, tar_format=tar_format)
    expected = {
        f"{key}.{suffix.lower()}": place
        for name, place in read_by_tarfile(tmp_path / "a.tar").items()
        for head, _, tail in [name.rpartition("/")]
        for base, _, suffix in [tail.partition(".")]
        for key in [f"{head}/{base}" if head else base]
    }
    assert list_members(ShardIndex(tmp_path / "a.tar")) == expected
    assert len(expected) == 10


def test_folders_hidden_files_and_names_without_suffix_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        folder = tarfile.TarInfo("./sub")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("./sub/a.bin", "./sub/._a.bin", "README", "__meta__", "./sub/a.txt"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    index = ShardIndex(tmp_path / "a.tar")
    assert len(index) == 1
    assert index.locate(0).key == "sub/a"
    assert list(index.locate(0).members) == ["bin", "txt"]


def test_a_source_can_be_named_in_many_ways(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = split.parent
    tars = sorted(folder.glob("*.tar"))
    ways: list[Source] = [
        split,
        str(folder),
        f"{folder}/shard-{{000000..000002}}.tar",
        f"{folder}/shard-*.tar",
        tars,
        [f"{folder}/shard-{{000000,000001}}.tar", tars[2]],
    ]
    for source in ways:
        assert [shard.path for shard in find_shards(source)] == tars, source
    monkeypatch.chdir(folder)
    assert [shard.path.name for shard in find_shards("shard-00000?.tar")] == [t.name for t in tars]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda f: f"{f}/shard-{{000000..000003}}.tar",
            r"shard-000003\.tar: the shard is missing;",
        ),
        (lambda f: f"{f}/none-*.tar", "names no shard"),
        (lambda _: [], r"\[\]: names no shard"),
        (lambda f: f / "manifest2.json", "no such manifest"),
        (lambda f: [f / "shard-000000.tar", f"{f}/shard-*.tar"], r"shard-000000\.tar: named twice"),
        (lambda f: [f / "shard-000000.tar", f / "../train/shard-000000.tar"], "named twice"),
        (lambda f: [f, os.path.relpath(f / "shard-000000.tar")], r"shard-000000\.tar: named twice"),
        (lambda f: f"{f}/shard-{{000000..000002.tar", r"000002\.tar: .*; expected such as shard-"),
        (lambda f: f"{f}/{{{{shard}}-{{0..1}}.tar", r"expected such as shard-"),
        (lambda _: "~nobody-of-this-name/a.tar", "~nobody-of-this-name/a.tar: .*; give the full"),
        (lambda _: "s3://bucket/shard-{000000..000001}.tar", "not a path"),
    ],
    ids=range(11),
)
def test_a_source_that_cannot_be_right_is_named(
    split: Path, make: Callable[[Path], Source], match: str
) -> None:
    with pytest.raises(ShardIntegrityError, match=match):
        ShardIndex(make(split.parent))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="** means * there")
def test_a_pattern_that_the_system_cannot_read_is_named(split: Path) -> None:
    with pytest.raises(ShardIntegrityError, match=r"shard\*\*\.tar: .*; expected such as shard-\*"):
        ShardIndex(f"{split.parent}/shard**.tar")


def test_linked_shards_are_shards_of_their_own(split: Path, tmp_path: Path) -> None:
    for number in range(6):
        for suffix in (".tar", ".json"):
            target = split.with_name(f"shard-{number % 3:06d}{suffix}")
            (tmp_path / f"shard-{number:06d}{suffix}").symlink_to(target)
    assert len(ShardIndex(tmp_path)) == 2 * NUM_SAMPLES


@pytest.mark.parametrize("name", ["manifest.json", ".", "shard-{000000..000002}.tar", "*.tar"])
def test_a_relative_source_stays_where_it_was(
    split: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(split.parent)
    index = ShardIndex(name)
    monkeypatch.chdir(tmp_path)
    assert [Path(path) for path in index.paths] == sorted(split.parent.glob("*.tar"))


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
    "content",
    [
        '{"shards": {"a": 1}}',
        '{"shards": ["shard-000000.tar"]}',
        '{"shards": 3}',
        '{"shards": [{"filename": 3, "num_samples": 1}]}',
        '{"shards": [{"filename": "a.tar", "num_samples": Infinity}]}',
        "[" * 100_000,
        "\0",
    ],
    ids=range(7),
)
def test_what_is_no_manifest_is_named(own_split: Path, content: str) -> None:
    own_split.write_text(content)
    with pytest.raises(ShardIntegrityError, match=r"manifest\.json: not a manifest of medassets"):
        ShardIndex(own_split)
    own_split.unlink()
    own_split.mkdir()
    with pytest.raises(ShardIntegrityError, match=r"manifest\.json: the manifest cannot be read"):
        ShardIndex(own_split.parent)


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


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_plain_tar_whose_rest_is_zeros_is_no_smaller_split(tmp_path: Path, first: int) -> None:
    shard = tmp_path / "a.tar"
    samples = {f"k{n}": {"bin": b"x" * 9000, "txt": b"text"} for n in range(4)}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    data, start = bytearray(shard.read_bytes()), first * (512 + 9216 + 1024)
    data[start:] = bytes(len(data) - start)
    shard.write_bytes(data)
    match = rf"a\.tar: zeros at byte {start:,}, .* incomplete copy.*; copy it again"
    with pytest.raises(ShardIntegrityError, match=match):
        ShardIndex(tmp_path)


@pytest.mark.parametrize("num_bytes", [1, 9000, 9216, 10_240, 20_000])
@pytest.mark.parametrize("padding", [1024, 10_240])
def test_the_end_that_tars_have_is_no_damage(tmp_path: Path, num_bytes: int, padding: int) -> None:
    shard = tmp_path / "a.tar"
    samples = {"a": {"bin": b"x" * num_bytes}, "b": {"bin": b"x"}}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    if padding == 1024:
        os.truncate(shard, 512 + -(-num_bytes // 512) * 512 + 1024 + 1024)
    assert len(ShardIndex(shard)) == 2


def test_one_zeroed_header_near_the_end_is_noticed(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    samples = {"a": {"bin": b"x"}, "b": {"bin": b"x"}}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    data = bytearray(shard.read_bytes())
    data[1024:1536] = bytes(512)
    shard.write_bytes(data)
    with pytest.raises(ShardIntegrityError, match=r"a\.tar: zeros at byte 1,024 instead of a head"):
        ShardIndex(shard)


def flip_magic(data: bytearray) -> None:
    data[0] ^= 1


def break_size(data: bytearray) -> None:
    data[124:136] = b"zzzzzzzzzzz\0"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (flip_magic, "not a tar, or a compressed one"),
        (break_size, "is not a number"),
        (lambda data: data.clear(), "cut off"),
    ],
)
def test_a_damaged_header_is_named(
    own_split: Path, change: Callable[[bytearray], None], match: str
) -> None:
    shard = own_split.with_name("shard-000000.tar")
    shard.with_suffix(".json").unlink()
    data = bytearray(shard.read_bytes())
    change(data)
    shard.write_bytes(data)
    with pytest.raises(ShardIntegrityError, match=rf"shard-000000\.tar: .*{match}"):
        ShardIndex(shard)


def test_members_that_webdataset_would_misread_are_refused(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    pack_tar(tar, [("a", {"bin": b""}), ("b", {"bin": b""}), ("a", {"txt": b""})])
    with pytest.raises(
        ShardIntegrityError, match=r"a: has a member twice, or its members are not adjacent"
    ):
        ShardIndex(tar)
    pack_tar(tar, [("a", {"bin": b"", "BIN": b""})])
    with pytest.raises(ShardIntegrityError, match=r"a: has a member twice"):
        ShardIndex(tar)
    with tarfile.open(tar, "w") as archive:
        link = tarfile.TarInfo("a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ShardIntegrityError, match=r"a\.bin: not a plain file"):
        ShardIndex(tar)
    pack_tar(tmp_path / "whole.tar", [("a", {"bin": b""})])
    pack_tar(tar, {})
    with pytest.raises(
        ShardIntegrityError, match=r"/a\.tar: a tar without a single sample.*; copy it again"
    ):
        ShardIndex(tmp_path)


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
