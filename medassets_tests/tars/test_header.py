import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.errors import ShardIntegrityError
from medassets.tars.header import check_names, encode_end, encode_header, padding_bytes


@pytest.mark.parametrize("name", ["a.bin", "train_1_a_1.json", "k" * 95 + ".json"])
@pytest.mark.parametrize("size", [0, 1, 512, 110_592_000, 8**11 - 1])
def test_a_header_is_read_by_tarfile_as_a_plain_file_without_owner_or_time(
    name: str, size: int
) -> None:
    info = tarfile.TarInfo.frombuf(encode_header(name, size), "utf-8", "strict")
    assert (info.name, info.size, info.mtime, info.mode) == (name, size, 0, 0o644)
    assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
    assert info.isreg()


def test_a_header_has_the_fields_of_ustar_in_the_order_of_the_standard() -> None:
    header = encode_header("a.txt", 5)
    assert len(header) == 512
    assert header[257:265] == b"ustar\x0000"
    assert header[124:136] == b"00000000005\0"
    assert int(header[148:154], 8) == sum(header[:148]) + 8 * 32 + sum(header[156:])


@given(st.lists(st.integers(0, 30_000), max_size=4))
def test_an_archive_ends_where_tarfile_would_end_it(sizes: list[int]) -> None:
    data = bytearray()
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, size in enumerate(sizes):
            data += encode_header(f"{i}.bin", size) + bytes(size + padding_bytes(size))
            info = tarfile.TarInfo(f"{i}.bin")
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))
    data += encode_end(len(data))
    assert len(data) == len(theirs.getvalue())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [info.size for info in archive] == sizes


def test_a_member_larger_than_the_format_holds_is_refused() -> None:
    with pytest.raises(ShardIntegrityError, match=r"a\.bin: 8,589,934,592 bytes"):
        encode_header("a.bin", 8**11)


@pytest.mark.parametrize(
    ("key", "suffixes"),
    [
        ("a.b", ["bin"]),
        ("", ["bin"]),
        ("../a", ["bin"]),
        ("a", []),
        ("a", ["bin", "bin"]),
        ("a", ["BIN"]),
        ("a", ["b/in"]),
        ("a", [""]),
        ("a", ["bin."]),
        ("a" * 97, ["bin"]),
        ("a\n", ["bin"]),
    ],
)
def test_names_that_readers_would_misread_are_refused(key: str, suffixes: list[str]) -> None:
    with pytest.raises(ShardIntegrityError, match="do not make a readable sample"):
        check_names(key, suffixes)


def test_plain_names_pass() -> None:
    check_names("train_1_a-1", ["bin", "txt", "seg.npy"])
