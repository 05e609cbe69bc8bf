"""The edit list of an mp4: FFmpeg displays what it says."""

import struct
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from medassets.video.clips.edit_list import show_only
from medassets_tests.video.clips.shots import write_video


def iter_boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each box."""
    at = 0
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        yield name, content[at + 8 : at + size]
        at += size


def find(content: bytes, *path: bytes) -> list[bytes]:
    """Return the content of all boxes of a path."""
    found = [body for name, body in iter_boxes(content) if name == path[0]]
    return found if len(path) == 1 else [one for body in found for one in find(body, *path[1:])]


def read_duration_ms(path: Path) -> int:
    """Return how long a player says that a file is."""
    with av.open(str(path)) as container:
        return round((container.duration or 0) / 1000)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Twenty frames of 40 ms."""
    return write_video(tmp_path / "film.mp4", range(0, 800, 40))


def test_every_box_states_the_new_duration(film: Path) -> None:
    show_only(film, 480)
    content = film.read_bytes()
    (mvhd,), (tkhd,) = find(content, b"moov", b"mvhd"), find(content, b"moov", b"trak", b"tkhd")
    (elst,) = find(content, b"moov", b"trak", b"edts", b"elst")
    assert struct.unpack_from(">I", mvhd, 16) == (480,)
    assert struct.unpack_from(">I", tkhd, 20) == (480,)
    assert struct.unpack_from(">II", elst, 4) == (1, 480)
    assert read_duration_ms(film) == 480


def test_only_the_box_of_the_movie_changes(film: Path) -> None:
    before = dict(iter_boxes(film.read_bytes()))
    show_only(film, 480)
    after = dict(iter_boxes(film.read_bytes()))
    assert {name for name in before if before[name] != after[name]} == {b"moov"}
    assert len(before[b"moov"]) == len(after[b"moov"])


def test_frames_after_the_end_are_not_displayed(film: Path) -> None:
    show_only(film, 400)
    with av.open(str(film)) as container:
        shown = [p for p in container.demux(video=0) if p.size and not p.is_discard]
    assert len(shown) == 10


def test_the_sound_keeps_its_duration(tmp_path: Path) -> None:
    import numpy as np

    sound = np.zeros(16_000, np.float32)
    path = write_video(tmp_path / "film.mp4", range(0, 800, 40), sound=sound)
    lasts = [struct.unpack_from(">I", one, 20)[0] for one in _tracks(path)]
    show_only(path, 200)
    assert [struct.unpack_from(">I", one, 20)[0] for one in _tracks(path)] == [200, lasts[1]]
    assert read_duration_ms(path) == pytest.approx(lasts[1], abs=1)


def _tracks(path: Path) -> list[bytes]:
    return find(path.read_bytes(), b"moov", b"trak", b"tkhd")
