"""Members of `.npz` files, whole and damaged."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.storage.formats.byte_streams import FileWindow, read_bytes
from medassets.storage.formats.npy import decode_npy
from medassets.storage.formats.zip_members import ZipMember, read_directory

VALUES = np.arange(100_000, dtype="<i4")


def make_npz(*, deflated: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if deflated else np.savez)(file, first=VALUES[:7], values=VALUES)
    return file.getvalue()


@contextmanager
def open_window(path: Path, content: bytes) -> Iterator[FileWindow]:
    """Open a file that has other bytes before and after the content."""
    path.write_bytes(b"before" + content + b"after")
    with path.open("rb", buffering=0) as file:
        yield FileWindow(file, 6, len(content))


@pytest.mark.parametrize("deflated", [True, False])
def test_a_member_is_read_within_a_larger_file(tmp_path: Path, deflated: bool) -> None:
    with open_window(tmp_path / "a.npz", make_npz(deflated=deflated)) as window:
        assert [info.filename for info in read_directory(window)] == ["first.npy", "values.npy"]
        member = ZipMember(window, "values")
        content = read_bytes(member, member.num_bytes)
        member.verify()
        assert read_bytes(member, 1) == b""
    np.testing.assert_array_equal(decode_npy(content), VALUES)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content = bytearray(make_npz(deflated=False))
    content[len(content) // 2] ^= 1
    with open_window(tmp_path / "a.npz", bytes(content)) as window:
        member = ZipMember(window, "values")
        read_bytes(member, member.num_bytes)
        with pytest.raises(SampleRejectedError, match=r"CRC-32 is .*, the zip directory says"):
            member.verify()


def test_a_missing_member_and_other_files_are_refused(tmp_path: Path) -> None:
    with (
        open_window(tmp_path / "a.npz", make_npz(deflated=True)) as window,
        pytest.raises(SampleRejectedError, match="no array 'x'; the file holds 'first', 'values'"),
    ):
        ZipMember(window, "x")
    with (
        open_window(tmp_path / "b.npz", b"PK but not an archive") as window,
        pytest.raises(SampleRejectedError, match="not a whole zip file"),
    ):
        read_directory(window)
