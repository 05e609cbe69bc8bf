"""Samples of tars without records."""

import gzip
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from medassets.errors import DamagedTarError, UnterminatedTarError
from medassets.tars.compressed import open_any_tar
from medassets.tars.reader import Members, OpenTar, open_tar
from medassets.tars.scan import scan_tar, scan_until_damage
from medassets_tests.shared_cases import find_case
from medassets_tests.small_shards import pack_tar, read_by_tarfile
from medassets_tests.tars.raw_tars import (
    END,
    HUGE,
    base256,
    make_block,
    member,
    octal,
    pad,
    pax,
    sample,
    sparse_old,
    write,
)


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


RECORDS_WITHOUT_DATA = {
    "volume label": member("backup of monday", b"", b"V"),
    "volume label with a number": member("label Volume 1", b"", b"V"),
    "list of a dumped folder": member("./ct/", b"Ya.bin\0Ya.txt\0\0", b"D"),
    "long list of a dumped folder": member("./ct/", b"Ya.bin\0" * 500, b"D"),
    "folder": member("./ct/", b"", b"5"),
    "label in a global header": pax([("GNU.volume.label", "monday")], b"g"),
    "dumped folder of pax": pax([("GNU.dumpdir", "Ya.bin")]) + member("./ct/", b"", b"5"),
    "access list of Solaris": member("a.bin", b"user::rw-", b"A"),
}


@pytest.mark.parametrize("record", RECORDS_WITHOUT_DATA.values(), ids=[*RECORDS_WITHOUT_DATA])
@pytest.mark.parametrize("place", ["first", "between samples", "last"])
def test_records_without_data_of_files_are_skipped(
    tmp_path: Path, record: bytes, place: str
) -> None:
    parts = {
        "first": (record, sample("a"), sample("b")),
        "between samples": (sample("a"), record, sample("b")),
        "last": (sample("a"), sample("b"), record),
    }[place]
    samples = scan_tar(write(tmp_path / "a.tar", *parts, END))
    assert {key: list(members) for key, members in samples.items()} == {
        "a": ["bin", "txt"],
        "b": ["bin", "txt"],
    }
    plain = scan_tar(write(tmp_path / "plain.tar", sample("a"), sample("b"), END))
    for key, members in samples.items():
        with open_tar(tmp_path / "a.tar") as odd, open_tar(tmp_path / "plain.tar") as whole:
            for suffix, found in members.items():
                assert odd.read(found) == whole.read(plain[key][suffix])


def test_a_dump_of_gnu_tar_with_a_label_has_the_samples_of_its_files(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no GNU tar")
    folder = tmp_path / "files"
    folder.mkdir()
    for suffix in ("bin", "txt"):
        (folder / f"a.{suffix}").write_bytes(suffix.encode() * 300)
    snapshot = f"--listed-incremental={tmp_path / 'snapshot'}"
    options = [*("--format=gnu", "--label=monday", "--sort=name", snapshot), "-C", str(folder)]
    subprocess.run(["tar", "-cf", str(tmp_path / "a.tar"), *options, "."], check=True)
    samples = scan_tar(tmp_path / "a.tar")
    with open_tar(tmp_path / "a.tar") as tar:
        found = {suffix: bytes(tar.read(m)) for suffix, m in samples["a"].items()}
    assert found == {suffix: suffix.encode() * 300 for suffix in ("bin", "txt")}


def test_the_samples_behind_a_label_are_those_that_tarfile_reads() -> None:
    path = find_case("headers/tar_volume_label.tar")
    expected = read_by_tarfile(path)
    samples = scan_tar(path)
    assert list(samples) == ["k19"]
    places = {name: place for name, place in expected.items() if name.startswith("k19.")}
    assert list_members(samples) == places


SPARSE = {
    "gnu": sparse_old("a.bin", b"data" * 128),
    "pax 0.0": pax(
        [("GNU.sparse.size", "9000"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "0")]
    )
    + member("a.bin", b"data"),
    "pax 0.1": pax([("GNU.sparse.name", "a.bin"), ("GNU.sparse.map", "0,4")])
    + member("GNUSparseFile.1/a.bin", b"data"),
    "pax 1.0": pax(
        [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "a.bin"),
            ("GNU.sparse.realsize", "9000"),
        ]
    )
    + member("GNUSparseFile.1/a.bin", b"1\n0\n4\n".ljust(512, b"\0") + b"data"),
    "pax 1.0, name first": pax([("GNU.sparse.name", "a.bin"), ("GNU.sparse.major", "1")])
    + member("GNUSparseFile.1/a.bin", b"1\n0\n4\n".ljust(512, b"\0") + b"data"),
}


@pytest.mark.parametrize("record", SPARSE.values(), ids=[*SPARSE])
def test_a_sparse_file_is_named_with_a_remedy(tmp_path: Path, record: bytes) -> None:
    path = write(tmp_path / "a.tar", record, member("a.txt", b"text"), END)
    with pytest.raises(DamagedTarError, match=r"a\.bin: a sparse file.*without `--sparse`$"):
        scan_tar(path)


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=pax"]], ids=["gnu", "pax"])
def test_the_remedy_for_sparse_files_works(tmp_path: Path, options: list[str]) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no GNU tar")
    folder = tmp_path / "files"
    folder.mkdir()
    with (folder / "a.bin").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (folder / "a.txt").write_bytes(b"text")
    content = (folder / "a.bin").read_bytes()
    command = ["tar", "--sparse", *options, "-cf", str(tmp_path / "a.tar"), "-C", str(folder), "."]
    subprocess.run(command, check=True)
    if (tmp_path / "a.tar").stat().st_size > len(content):
        pytest.skip("this file system has no holes")
    with pytest.raises(DamagedTarError) as caught:
        scan_tar(tmp_path / "a.tar")
    (tmp_path / "folder").mkdir()
    unpack = ["tar", "-xf", str(tmp_path / "a.tar"), "-C", str(tmp_path / "folder")]
    subprocess.run(unpack, check=True)
    advised = re.search(r"`(tar [^`]*)`", str(caught.value))
    assert advised
    subprocess.run(advised[1].split(), check=True, cwd=tmp_path)
    samples = scan_tar(tmp_path / "new.tar")
    with open_tar(tmp_path / "new.tar") as tar:
        assert tar.read(samples["a"]["bin"]) == content


def test_a_part_of_a_file_of_another_volume_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", member("a.bin", b"rest", b"M"), sample("b"), END)
    with pytest.raises(DamagedTarError, match=r"a\.bin: the rest of a file of another volume"):
        scan_tar(path)


@pytest.mark.parametrize("record", HUGE.values(), ids=[*HUGE])
@pytest.mark.parametrize("opener", [open_tar, open_any_tar], ids=["plain", "compressed"])
def test_numbers_that_no_file_has_are_damage_and_nothing_worse(
    tmp_path: Path, record: bytes, opener: Callable[[Path], OpenTar]
) -> None:
    path = write(tmp_path / "a.tar", sample("first"), record, END)
    if opener is open_any_tar:
        path = write(tmp_path / "a.tar.gz", gzip.compress(path.read_bytes()))
    with opener(path) as tar:
        found, damage = scan_until_damage(tar)
    assert [one.key for one in found] == ["first"]
    assert damage
    assert len(damage) < 300


@pytest.mark.parametrize("size", [0, 511, 512, 2000])
@pytest.mark.parametrize("field", [octal, base256], ids=["octal", "base 256"])
def test_sizes_in_either_notation_are_read(
    tmp_path: Path, size: int, field: Callable[[int], bytes]
) -> None:
    content = bytes(range(256)) * 8
    record = make_block("a.bin", b"0", field(size)) + pad(content[:size])
    samples = scan_tar(write(tmp_path / "a.tar", record, member("a.txt", b""), END))
    with open_tar(tmp_path / "a.tar") as tar:
        assert tar.read(samples["a"]["bin"]) == content[:size]


def test_a_tar_without_an_end_mark_is_read_where_that_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", sample("a"), sample("b"))
    with pytest.raises(UnterminatedTarError, match="declare `accept_unterminated: true`"):
        scan_tar(path)
    assert list(scan_tar(path, accept_unterminated=True)) == ["a", "b"]
    closed = write(tmp_path / "closed.tar", sample("a"), sample("b"), END)
    assert scan_tar(closed, accept_unterminated=True) == scan_tar(closed)


@pytest.mark.parametrize("num_bytes", [509, 511, 513, 1000, 1023, 1540])
def test_a_tar_that_ends_inside_a_member_is_damaged_in_any_case(
    tmp_path: Path, num_bytes: int
) -> None:
    path = write(tmp_path / "a.tar", (sample("a") + sample("b"))[:-num_bytes])
    with pytest.raises(DamagedTarError, match="cut off"):
        scan_tar(path, accept_unterminated=True)


@pytest.mark.parametrize("num_bytes", [1, 100, 508])
def test_only_zeros_behind_the_last_member_may_be_missing(tmp_path: Path, num_bytes: int) -> None:
    path = write(tmp_path / "a.tar", (sample("a") + sample("b"))[:-num_bytes])
    samples = scan_tar(path, accept_unterminated=True)
    with open_tar(path) as tar:
        assert tar.read(samples["b"]["txt"]) == b"text"


@pytest.mark.parametrize("content", [b"", b"x" * 600, bytes(512 * 30)])
def test_what_is_no_tar_is_not_accepted_as_an_unterminated_one(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(DamagedTarError):
        scan_tar(write(tmp_path / "a.tar", content), accept_unterminated=True)


@pytest.mark.timeout(10)
def test_a_pipe_named_like_a_tar_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(OSError, match="not a regular file"):
        scan_tar(tmp_path / "pipe.tar")


@pytest.mark.parametrize("zeros", ["", "0" * 5000])
def test_lengths_of_thousands_of_digits_are_damage_of_their_tar(zeros: str, tmp_path: Path) -> None:
    for number, text in enumerate((f"{zeros}{'9' * 5000} path=a", f"20 size={zeros}{'9' * 5000}")):
        path = tmp_path / f"{number}.tar"
        write(path, member("pax", text.encode(), b"x"), sample("a"), END)
        with pytest.raises(DamagedTarError, match=re.escape(str(path))):
            scan_tar(path)
