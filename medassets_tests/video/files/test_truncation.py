"""A file is truncated if it is shorter than its header states; the headers are made by hand."""

from pathlib import Path

import pytest

from medassets.video.files.truncation import is_truncated

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def state(num_bytes: int, width: int) -> bytes:
    """Return a size of EBML in `width` bytes: a marker bit, then the number (RFC 8794, 4)."""
    return (num_bytes | 1 << 7 * width).to_bytes(width)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "film"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_segment_ends_where_its_size_says(width: int, tmp_path: Path) -> None:
    whole = EBML + state(3, 1) + b"abc" + SEGMENT + state(100, width) + bytes(100)
    assert not is_truncated(write(tmp_path, whole))
    assert not is_truncated(write(tmp_path, whole + b"more"))
    assert is_truncated(write(tmp_path, whole[:-1]))


@pytest.mark.parametrize("width", [1, 8])
def test_a_live_recording_states_no_size(width: int, tmp_path: Path) -> None:
    unknown = ((1 << 7 * width) - 1 | 1 << 7 * width).to_bytes(width)
    assert not is_truncated(write(tmp_path, EBML + state(0, 1) + SEGMENT + unknown + bytes(9)))


def test_a_riff_list_ends_where_its_size_says(tmp_path: Path) -> None:
    whole = b"RIFF" + (24).to_bytes(4, "little") + b"AVI " + bytes(20)
    assert not is_truncated(write(tmp_path, whole))
    assert is_truncated(write(tmp_path, whole[:-1]))


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", EBML, EBML + b"\0", EBML + state(0, 1) + SEGMENT, b"\0\0\0\x18ftypisom"],
)
def test_a_file_without_a_stated_size_is_not_judged(content: bytes, tmp_path: Path) -> None:
    assert not is_truncated(write(tmp_path, content))
