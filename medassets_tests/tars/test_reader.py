"""Positioned reads of members, compared with `tarfile` and `zlib`."""

import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import DamagedTarError
from medassets.tars.reader import Member, OpenTar, open_tar
from medassets.tars.scan import scan_tar
from medassets_tests.small_shards import pack_tar

BIG = np.random.default_rng(0).bytes((1 << 20) + 777)
CONTENTS = {"bin": BIG, "txt": b"report", "cls": b""}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pack_tar(tmp_path / "a.tar", {"k": CONTENTS})
    return tmp_path / "a.tar"


@pytest.fixture
def tar(path: Path) -> Iterator[OpenTar]:
    with open_tar(path) as tar:
        yield tar


@pytest.fixture
def members(path: Path) -> dict[str, Member]:
    """The members of the one sample, with their CRC-32 from zlib."""
    found = scan_tar(path)["k"]
    return {s: replace(m, crc32=zlib.crc32(CONTENTS[s])) for s, m in found.items()}


def test_members_are_read_as_tarfile_reads_them(tar: OpenTar, members: dict[str, Member]) -> None:
    assert list(members) == list(CONTENTS)
    with tarfile.open(tar.path) as oracle:
        for suffix, member in members.items():
            file = oracle.extractfile(f"k.{suffix}")
            assert file is not None
            content = file.read()
            assert tar.read(member) == content
            assert b"".join(map(bytes, tar.iter_chunks(member))) == content
            assert tar.read_range(member.offset, member.size_bytes) == content


def test_chunks_are_read_into_the_callers_buffer(tar: OpenTar, members: dict[str, Member]) -> None:
    buffer = np.zeros(50_000, np.float64)
    sizes, content = [], bytearray()
    for chunk in tar.iter_chunks(members["bin"], buffer):
        assert np.shares_memory(np.frombuffer(chunk, np.uint8), buffer)
        sizes.append(len(chunk))
        content += chunk
    assert sizes == [400_000, 400_000, len(BIG) - 800_000]
    assert content == BIG


def test_a_member_fills_several_buffers_in_order(tar: OpenTar, members: dict[str, Member]) -> None:
    head, tail = np.empty((5, 7), "<u4"), bytearray(len(BIG) - 140)
    tar.fill(members["bin"], [head, tail])
    np.testing.assert_array_equal(head, np.frombuffer(BIG[:140], "<u4").reshape(5, 7))
    assert tail == BIG[140:]


@pytest.mark.parametrize("num_bytes", [len(BIG) - 1, len(BIG) + 1])
def test_buffers_of_another_length_than_the_member_are_refused(
    tar: OpenTar, members: dict[str, Member], num_bytes: int
) -> None:
    match = rf"a\.tar: member \.bin has {len(BIG):,} bytes, {num_bytes:,} were asked for"
    with pytest.raises(DamagedTarError, match=match):
        tar.fill(members["bin"], [bytearray(num_bytes)])


def test_a_changed_byte_is_named_with_file_and_member(
    path: Path, tar: OpenTar, members: dict[str, Member]
) -> None:
    member = members["bin"]
    with path.open("r+b") as file:
        file.seek(member.offset + len(BIG) - 1)
        file.write(bytes([BIG[-1] ^ 1]))
    match = r"a\.tar: member \.bin is damaged \(CRC-32 differs\); copy or build the tar again"
    with pytest.raises(DamagedTarError, match=match) as caught:
        tar.read(member)
    assert caught.value.what == "member .bin is damaged (CRC-32 differs)"
    with pytest.raises(DamagedTarError, match=match):
        list(tar.iter_chunks(member))
    assert tar.read(replace(member, crc32=None))[:-1] == BIG[:-1]
    tar.fill(member, [bytearray(len(BIG))], check=False)
    assert tar.read(members["txt"]) == b"report"


def test_a_short_file_is_named_with_the_byte_it_ends_at(
    path: Path, tar: OpenTar, members: dict[str, Member]
) -> None:
    member = members["bin"]
    end = member.offset + 1000
    os.truncate(path, end)
    match = rf"a\.tar: member \.bin ends at byte {end:,}: the tar is cut off"
    with pytest.raises(DamagedTarError, match=match):
        tar.read(member)
    chunks = tar.iter_chunks(member)
    assert next(chunks) == BIG[:1000]
    with pytest.raises(DamagedTarError, match=match):
        next(chunks)
    assert tar.read_range(end - 4, 10) == BIG[996:1000]
    assert tar.size_bytes == end


def test_a_closed_tar_is_not_read(path: Path, members: dict[str, Member]) -> None:
    with open_tar(path) as tar:
        assert tar.size_bytes == path.stat().st_size
    tar.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        tar.read(members["txt"])


def test_a_borrowed_descriptor_stays_open(path: Path, members: dict[str, Member]) -> None:
    with path.open("rb") as file:
        with OpenTar("name", file.fileno()) as tar:
            assert tar.read(members["txt"]) == b"report"
        assert os.fstat(file.fileno()).st_size == path.stat().st_size
