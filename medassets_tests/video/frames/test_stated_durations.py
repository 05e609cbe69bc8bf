"""Durations that headers state too short, or too long, take no clip away."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.files.probe import probe_video
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets_tests.shared_cases import find_case
from medassets_tests.shelf import Shelf, clip
from medassets_tests.video.cases import read_case_number

ALL = FrameRequest(0, 512, 80, 128, 1, 500)
NUM_FRAMES, FPS = 90, 30
Lie = Callable[[bytearray, float], None]


def lie_in_box(name: bytes, scale_at: int) -> Lie:
    """Return what changes the duration of a box that has a time scale before it."""

    def lie(content: bytearray, share: float) -> None:
        at = content.index(name) + 4 + scale_at + 4
        (duration,) = struct.unpack_from(">I", content, at)
        struct.pack_into(">I", content, at, max(round(duration * share), 1))

    return lie


def lie_in_track(content: bytearray, share: float) -> None:
    at = content.index(b"tkhd") + 4 + 20
    (duration,) = struct.unpack_from(">I", content, at)
    struct.pack_into(">I", content, at, max(round(duration * share), 1))


def lie_in_matroska(content: bytearray, share: float) -> None:
    at = content.index(b"\x44\x89\x88") + 3
    (duration,) = struct.unpack_from(">d", content, at)
    struct.pack_into(">d", content, at, duration * share)


def lie_in_flv(content: bytearray, share: float) -> None:
    # The name, the type of a number, and the number.
    at = content.index(b"duration") + 9
    (duration,) = struct.unpack_from(">d", content, at)
    struct.pack_into(">d", content, at, duration * share)


def lie_in_avi(content: bytearray, share: float) -> None:
    for at in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        (count,) = struct.unpack_from("<I", content, at)
        struct.pack_into("<I", content, at, max(round(count * share), 1))


def lie_everywhere(content: bytearray, share: float) -> None:
    for lie in (lie_in_box(b"mvhd", 12), lie_in_box(b"mdhd", 12), lie_in_track):
        lie(content, share)


LIES: dict[str, tuple[str, str, Lie]] = {
    "mdhd": ("mp4", "libx264", lie_in_box(b"mdhd", 12)),
    "mvhd": ("mp4", "libx264", lie_in_box(b"mvhd", 12)),
    "tkhd": ("mov", "libx264", lie_in_track),
    "all of mp4": ("mp4", "libx265", lie_everywhere),
    "Duration of webm": ("webm", "libvpx-vp9", lie_in_matroska),
    "Duration of mkv": ("mkv", "libx264", lie_in_matroska),
    "flv": ("flv", "libx264", lie_in_flv),
    "avi": ("avi", "mpeg4", lie_in_avi),
    "avi of h264": ("avi", "libx264", lie_in_avi),
}


@pytest.mark.parametrize("share", [0.1, 3.0])
@pytest.mark.parametrize("name", LIES)
def test_a_wrong_duration_in_a_header_changes_no_frame(
    name: str, share: float, tmp_path: Path
) -> None:
    kind, codec, lie = LIES[name]
    recipe = VideoRecipe(codec=codec, num_frames=NUM_FRAMES, num_b_frames=0)
    (tmp_path / "videos").mkdir()
    path = make_video(tmp_path / "videos" / f"aaaaaaaaaaa.{kind}", recipe).path
    content = bytearray(path.read_bytes())
    lie(content, share)
    path.write_bytes(content)
    positions = [(0, 1), (1, 2), (2, 3), (0, 3)]
    shelf = Shelf(tmp_path)
    shelf.write([clip("aaaaaaaaaaa", begin, end) for begin, end in positions])
    shelf.probe = lambda files: {path: probe_video(place) for path, place in files.items()}
    assert shelf.read(end_tolerance_ms=0)["excluded"].to_pylist() == [None] * len(positions)
    for begin, end in positions:
        (outcome,) = decode_segments(path, [Segment(begin * 1000, end * 1000)], ALL)
        assert isinstance(outcome, DecodedClip), (begin, outcome)
        shown = [read_frame_number(frame) for frame in outcome.frames]
        assert shown == list(range(begin * FPS, end * FPS))


@pytest.mark.parametrize("name", ["video/mdhd_ms.mp4", "video/dur_short.webm"])
def test_clips_behind_the_stated_duration_have_their_frames(name: str) -> None:
    path = find_case(name)
    (outcome,) = decode_segments(path, [Segment(1500, 2900)], ALL)
    assert isinstance(outcome, DecodedClip)
    assert [read_case_number(frame) for frame in outcome.frames] == list(range(45, 87))
    assert (probe_video(path).duration_ms or 0) < 1500
