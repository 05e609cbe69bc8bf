"""Samples of tars without records."""

import io
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from medassets.errors import DamagedTarError
from medassets.tars.reader import Members, open_tar
from medassets.tars.scan import scan_tar, scan_until_damage
from medassets_tests.small_shards import pack_tar, read_by_tarfile


def list_members(samples: Mapping[str, Members]) -> dict[str, tuple[int, int]]:
    return {
        f"{key}.{suffix}": (member.offset, member.size_bytes)
        for key, members in samples.items()
        for suffix, member in members.items()
    }


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
    assert list_members(scan_tar(tmp_path / "a.tar")) == expected
    assert len(expected) == 10


def test_folders_hidden_files_and_names_without_suffix_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        folder = tarfile.TarInfo("./sub")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("./sub/a.bin", "./sub/._a.bin", "README", "__meta__", "./sub/a.txt"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    samples = scan_tar(tmp_path / "a.tar")
    assert list(samples) == ["sub/a"]
    assert list(samples["sub/a"]) == ["bin", "txt"]


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_plain_tar_whose_rest_is_zeros_is_no_smaller_split(tmp_path: Path, first: int) -> None:
    shard = tmp_path / "a.tar"
    samples = {f"k{n}": {"bin": b"x" * 9000, "txt": b"text"} for n in range(4)}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    data, start = bytearray(shard.read_bytes()), first * (512 + 9216 + 1024)
    data[start:] = bytes(len(data) - start)
    shard.write_bytes(data)
    match = rf"a\.tar: zeros at byte {start:,}, .* incomplete copy.*; copy it again"
    with pytest.raises(DamagedTarError, match=match):
        scan_tar(shard)


@pytest.mark.parametrize("num_bytes", [1, 9000, 9216, 10_240, 20_000])
@pytest.mark.parametrize("padding", [1024, 10_240])
def test_the_end_that_tars_have_is_no_damage(tmp_path: Path, num_bytes: int, padding: int) -> None:
    shard = tmp_path / "a.tar"
    samples = {"a": {"bin": b"x" * num_bytes}, "b": {"bin": b"x"}}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    if padding == 1024:
        os.truncate(shard, 512 + -(-num_bytes // 512) * 512 + 1024 + 1024)
    assert len(scan_tar(shard)) == 2


def test_one_zeroed_header_near_the_end_is_noticed(tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    samples = {"a": {"bin": b"x"}, "b": {"bin": b"x"}}
    pack_tar(shard, samples, tar_format=tarfile.USTAR_FORMAT)
    data = bytearray(shard.read_bytes())
    data[1024:1536] = bytes(512)
    shard.write_bytes(data)
    with pytest.raises(DamagedTarError, match=r"a\.tar: zeros at byte 1,024 instead of a head"):
        scan_tar(shard)


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
    tmp_path: Path, change: Callable[[bytearray], None], match: str
) -> None:
    shard = tmp_path / "shard-000000.tar"
    pack_tar(shard, {"a": {"bin": b"x"}}, tar_format=tarfile.USTAR_FORMAT)
    data = bytearray(shard.read_bytes())
    change(data)
    shard.write_bytes(data)
    with pytest.raises(DamagedTarError, match=rf"shard-000000\.tar: .*{match}"):
        scan_tar(shard)


def test_members_that_webdataset_would_misread_are_refused(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    pack_tar(tar, [("a", {"bin": b""}), ("b", {"bin": b""}), ("a", {"txt": b""})])
    with pytest.raises(
        DamagedTarError, match=r"a: has a member twice, or its members are not adjacent"
    ):
        scan_tar(tar)
    pack_tar(tar, [("a", {"bin": b"", "BIN": b""})])
    with pytest.raises(DamagedTarError, match=r"a: has a member twice"):
        scan_tar(tar)
    with tarfile.open(tar, "w") as archive:
        link = tarfile.TarInfo("a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DamagedTarError, match=r"a\.bin: not a regular file"):
        scan_tar(tar)
    pack_tar(tar, {})
    with pytest.raises(
        DamagedTarError, match=r"/a\.tar: the tar contains no sample.*; copy it again"
    ):
        scan_tar(tar)


@pytest.mark.parametrize("cut", [20, 512, 3000])
def test_a_tar_cut_off_inside_a_member_tells_the_samples_before(tmp_path: Path, cut: int) -> None:
    tar = tmp_path / "a.tar"
    samples = {f"k{n}": {"bin": b"x" * 4096} for n in range(3)}
    pack_tar(tar, samples, tar_format=tarfile.USTAR_FORMAT)
    os.truncate(tar, 3 * (512 + 4096) - cut)
    with pytest.raises(DamagedTarError, match=r"a\.tar: k2\.bin: .*: cut off; copy it again"):
        scan_tar(tar)
    with open_tar(tar) as opened:
        found, what = scan_until_damage(opened)
    assert [sample.key for sample in found] == ["k0", "k1"]
    assert what.startswith("k2.bin: its content ends at byte 13,824")
