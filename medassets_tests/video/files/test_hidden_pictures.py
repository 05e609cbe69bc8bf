"""Packets that show nothing lose nothing: against decoding everything."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.files.hidden_pictures import is_av1_shown, is_vp9_shown
from medassets.video.files.probe import probe_video
from medassets.video.frames.conversion import FrameConverter
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets_tests.shared_cases import find_case
from medassets_tests.video.hidden_films import hide_hevc, hide_vpx, split_av1
from medassets_tests.video.naive import decode_naively

ALL = FrameRequest(0, 512, 80, 128, 1, 500)
SEGMENTS = [Segment(0, None), Segment(400, 800), Segment(1010, 1500)]
X265 = "keyint=20:bframes=3:log-level=none:pools=none:wpp=0:frame-threads=1"
HEVC = VideoRecipe(codec="libx265", num_frames=50, options=(("x265-params", X265),))
VP9 = VideoRecipe(codec="libvpx-vp9", num_frames=50, gop_frames=10)
VP8 = VideoRecipe(codec="libvpx", num_frames=50, gop_frames=20)
HIDDEN: dict[str, Callable[[int], bool]] = {
    "none": lambda number: False,
    "every third": lambda number: number % 3 == 2,
    "key frames": lambda number: number % 10 == 0,
    "the first": lambda number: number == 0,
    "the last": lambda number: number > 40,
}


def assert_as_decoding_everything(path: Path, *, num_frames: int | None = None) -> None:
    naive = decode_naively(path)
    assert num_frames is None or len(naive.frames) == num_frames
    converter = FrameConverter(ALL.height, ALL.width)
    for segment in SEGMENTS:
        (clip,) = decode_segments(path, [segment], ALL)
        assert isinstance(clip, DecodedClip), (segment, clip)
        expected = naive.shown(segment.begin_ms, segment.end_ms)
        assert len(clip.frames) == len(expected)
        for frame, index in zip(clip.frames, expected, strict=True):
            np.testing.assert_array_equal(frame, converter.convert(naive.frames[index]))


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize("name", HIDDEN)
def test_pictures_of_hevc_without_output_are_not_missing(
    name: str, kind: str, tmp_path: Path
) -> None:
    source, path = make_video(tmp_path / "a.mp4", HEVC).path, tmp_path / f"b.{kind}"
    hide_hevc(source, path, HIDDEN[name])
    num_shown = sum(not HIDDEN[name](number) for number in range(50))
    assert_as_decoding_everything(path, num_frames=num_shown)


@pytest.mark.parametrize("is_shown_later", [False, True])
@pytest.mark.parametrize("name", ["key frames", "the first"])
@pytest.mark.parametrize("kind", ["webm", "mkv"])
def test_hidden_key_frames_of_vp9_are_not_missing(
    kind: str, name: str, is_shown_later: bool, tmp_path: Path
) -> None:
    source, path = make_video(tmp_path / "a.webm", VP9).path, tmp_path / f"b.{kind}"
    hide_vpx(source, path, HIDDEN[name], show=is_shown_later)
    num_hidden = 0 if is_shown_later else sum(map(HIDDEN[name], range(50)))
    assert_as_decoding_everything(path, num_frames=50 - num_hidden)
    assert probe_video(path).width == 128


@pytest.mark.parametrize("name", ["every third", "the last"])
def test_hidden_frames_of_vp8_are_not_missing(name: str, tmp_path: Path) -> None:
    source, path = make_video(tmp_path / "a.webm", VP8).path, tmp_path / "b.webm"
    hide_vpx(source, path, HIDDEN[name])
    num_shown = sum(not HIDDEN[name](number) for number in range(50))
    assert_as_decoding_everything(path, num_frames=num_shown)


@pytest.mark.parametrize("kind", ["mkv", "webm"])
def test_hidden_frames_of_av1_are_not_missing(kind: str, tmp_path: Path) -> None:
    recipe = VideoRecipe(codec="libsvtav1", num_frames=50, gop_frames=20)
    source, path = make_video(tmp_path / "a.mkv", recipe).path, tmp_path / f"b.{kind}"
    assert split_av1(source, path) > 5
    assert_as_decoding_everything(path, num_frames=50)


@pytest.mark.parametrize(
    ("packet", "is_shown"),
    [
        # A frame: its size, and a header of two bits of type between both flags.
        ([0x32, 2, 0b0001_0000, 0], True),
        ([0x32, 2, 0b1000_0000, 0], True),
        ([0x32, 2, 0b0000_0000, 0], False),
        ([0x12, 0, 0x32, 1, 0, 0x1A, 1, 0x80], True),
        ([0x12, 0, 0x32, 1, 0, 0x1A, 1, 0x00], False),
        # Damaged: the size is wrong, there is none, bits that are 0, no frame.
        ([0x32, 9, 0, 0], True),
        ([0x30, 0, 0], True),
        ([0xB2, 1, 0], True),
        ([0, 0, 0, 0], True),
        ([0x12, 0], True),
    ],
)
def test_headers_of_av1_tell_what_is_shown(packet: list[int], is_shown: bool) -> None:
    assert is_av1_shown(memoryview(bytes(packet))) is is_shown


def test_alternate_reference_frames_in_packets_of_their_own_are_not_missing() -> None:
    assert_as_decoding_everything(find_case("video/vp9_hidden_altref.webm"), num_frames=120)


def test_a_clip_of_a_film_with_hidden_frames_has_its_frames(tmp_path: Path) -> None:
    source, path = make_video(tmp_path / "a.webm", VP9).path, tmp_path / "b.webm"
    hide_vpx(source, path, HIDDEN["key frames"])
    target = tmp_path / "clip.mp4"
    assert write_clip(path, Segment(400, 1100), ClipEncoding(crf=0), target).num_frames == 19
    (clip,) = decode_segments(target, [Segment(0, None)], ALL)
    assert isinstance(clip, DecodedClip)
    shown = [read_frame_number(frame) for frame in clip.frames]
    assert shown == [number for number in range(12, 33) if number % 10]
    with pytest.raises(SampleRejectedError, match="not displayed"):
        write_clip(path, Segment(400, 1100), ClipEncoding(mode="copy"), target)


@pytest.mark.parametrize(
    ("packet", "is_shown"),
    [
        ([0b10000010], True),
        ([0b10000000], False),
        ([0b10001000], True),
        # Profile 3 has a reserved bit more.
        ([0b10110001], True),
        ([0b10110000], False),
        ([0b10110100], True),
        # A superframe of a hidden and a shown frame, and of two hidden ones.
        ([0b10000000, 0b10000010, 0xC1, 1, 1, 0xC1], True),
        ([0b10000000, 0b10000000, 0xC1, 1, 1, 0xC1], False),
        # Not VP9: the decoder decides.
        ([0], True),
    ],
)
def test_headers_of_vp9_tell_what_is_shown(packet: list[int], is_shown: bool) -> None:
    assert is_vp9_shown(memoryview(bytes(packet))) is is_shown
