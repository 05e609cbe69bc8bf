"""Plain and inflated bytes against gzip and zlib; damaged streams are rejected."""

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.formats.byte_streams import (
    FileWindow,
    GzipStream,
    InflateStream,
    PlainStream,
    read_bytes,
)

CONTENT = b"".join(b"%d," % (n * n) for n in range(40_000))


def deflate(content: bytes) -> bytes:
    return zlib.compress(content)[2:-4]


@pytest.mark.parametrize("step", [1000, 1 << 20])
@pytest.mark.parametrize("read_bytes_at_once", [50, 1 << 18])
@pytest.mark.parametrize(
    ("make", "compress"), [(GzipStream, gzip.compress), (InflateStream, deflate)]
)
def test_inflated_bytes_are_those_that_were_deflated(
    make: type[InflateStream],
    compress: Callable[[bytes], bytes],
    read_bytes_at_once: int,
    step: int,
) -> None:
    stream = make(io.BytesIO(compress(CONTENT)), read_bytes=read_bytes_at_once)
    pieces = list(iter(lambda: read_bytes(stream, step), b""))
    assert b"".join(pieces) == CONTENT
    assert {len(piece) for piece in pieces[:-1]} <= {step}


@pytest.mark.parametrize("between", [b"", b"\0" * 700])
def test_members_of_a_gzip_file_are_joined(between: bytes) -> None:
    stored = gzip.compress(b"one") + between + gzip.compress(b"") + gzip.compress(b"two") + between
    stream = GzipStream(io.BytesIO(stored), read_bytes=64)
    assert read_bytes(stream, 100) == b"onetwo"
    assert read_bytes(stream, 1) == b""


@pytest.mark.parametrize("cut", [1, 8, 9, 500])
def test_a_gzip_file_that_was_cut_off_is_rejected(cut: int) -> None:
    stream = GzipStream(io.BytesIO(gzip.compress(CONTENT)[:-cut]))
    with pytest.raises(SampleRejectedError, match="the gzip stream ends before its last") as caught:
        read_bytes(stream, len(CONTENT) + 1)
    assert caught.value.reason is Reason.CORRUPT_GZIP


@pytest.mark.parametrize("place", [0, -8])
def test_a_damaged_gzip_file_is_rejected(place: int) -> None:
    stored = bytearray(gzip.compress(CONTENT))
    stored[place] ^= 1
    with pytest.raises(SampleRejectedError, match="inflate failed"):
        read_bytes(GzipStream(io.BytesIO(stored)), len(CONTENT) + 1)


def test_bytes_after_a_deflate_stream_are_rejected() -> None:
    stream = InflateStream(io.BytesIO(deflate(b"one") + b"!"))
    match = "the deflate stream ends before the space"
    with pytest.raises(SampleRejectedError, match=match) as caught:
        read_bytes(stream, 100)
    assert caught.value.reason is Reason.CORRUPT_NPZ


def test_a_window_reads_its_part_of_a_file_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        window = FileWindow(file, 2, 6)
        assert window.read(4) == b"2345"
        assert window.tell() == 4
        assert window.read() == b"67"
        assert window.read() == b""
        assert window.seek(-2, 2) == 4
        assert window.seek(1, 1) == 5
        assert window.part(1, 2).read() == b"34"
        with pytest.raises(io.UnsupportedOperation, match="no byte -1"):
            window.seek(-1)


def test_a_window_beyond_the_end_of_a_file_gives_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert read_bytes(PlainStream(FileWindow(file, 8, 50)), 50) == b"89"
        with pytest.raises(ValueError, match="4194305 bytes at once"):
            FileWindow(file, 0, 1 << 23).read((1 << 22) + 1)
