"""Interlaced frames give one field, never combs; progressive ones are not touched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.files.cropping import Crop
from medassets.video.files.picture_filter import PROGRESSIVE, UPPER_FIELD, PictureFilter
from medassets.video.frames.conversion import FrameConverter
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets_tests.shared_cases import find_case
from medassets_tests.video.interlaced_films import make_interlaced
from medassets_tests.video.naive import decode_naively

ALL = FrameRequest(0, 512, 80, 128, 1, 500)
FILMS = {
    "h264": ("mp4", "mkv", "ts"),
    "h264 lower first": ("mp4",),
    "mpeg2": ("ts", "mpg", "mkv"),
    "mpeg4": ("avi", "mp4"),
}


def decode(path: Path, request: FrameRequest = ALL) -> DecodedClip:
    (clip,) = decode_segments(path, [Segment(0, None)], request)
    assert isinstance(clip, DecodedClip), clip
    return clip


def measure_combs(frames: np.ndarray) -> float:
    """Return by how much lines differ from both neighbours; axes (t, h, w, c)."""
    grey = frames.astype(float).mean(axis=3)
    return float(np.abs(grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2).mean())


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in FILMS.items() for kind in kinds]
)
def test_every_frame_shows_the_upper_field(name: str, kind: str, tmp_path: Path) -> None:
    path = make_interlaced(tmp_path / f"a.{kind}", name)
    for height in (80, 96, 200, 40):
        clip = decode(path, FrameRequest(0, 512, height, 128, 1, 500))
        shown = [read_frame_number(frame) for frame in clip.frames]
        assert shown == [2 * number for number in range(30)]
        assert clip.pixels.scan == UPPER_FIELD


def test_what_moves_has_no_combs() -> None:
    clip = decode(find_case("video/interlaced_moving.mp4"), FrameRequest(0, 512, 160, 256, 1, 500))
    assert clip.pixels.scan == UPPER_FIELD
    assert measure_combs(clip.frames) < 0.1


def test_a_progressive_film_is_not_touched(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", VideoRecipe(num_frames=10)).path
    frame = decode_naively(path).frames[3]
    assert PictureFilter(None).apply(frame) is frame
    assert decode(path).pixels.scan == PROGRESSIVE


@pytest.mark.parametrize("kind", ["yuv420p", "nv12", "p010le", "yuv422p"])
@pytest.mark.parametrize("crop", [None, Crop(0, 1, 0, 3), Crop(16, 8, 4, 2)])
def test_the_field_is_every_other_line_of_the_whole_frame(
    crop: Crop | None, kind: str, tmp_path: Path
) -> None:
    frame = decode_naively(make_interlaced(tmp_path / "a.mp4", "h264")).frames[3]
    whole: Any = frame.to_ndarray(format="gray")
    # As a GPU returns it: another format, and the same flags.
    other = frame if kind == "yuv420p" else frame.reformat(format=kind)
    if not other.interlaced_frame:
        pytest.skip("this version of PyAV loses the flag when it converts")
    field = PictureFilter(crop).apply(other)
    assert not field.interlaced_frame
    left, top, right, bottom = (crop.left, crop.top, crop.right, crop.bottom) if crop else [0] * 4
    expected = whole[top : 96 - bottom, left : 128 - right][top % 2 :: 2]
    # Ten bits are rounded to eight with dither.
    got: Any = field.to_ndarray(format="gray")
    assert np.abs(got.astype(int) - expected).max() <= (kind == "p010le")


def test_equal_fields_look_like_the_progressive_frame(tmp_path: Path) -> None:
    """The upper field of a still picture is the picture with half the lines."""
    frame = decode_naively(make_interlaced(tmp_path / "a.mp4", "h264")).frames[0]
    field: Any = PictureFilter(None).apply(frame).to_ndarray(format="rgb24")
    small = FrameConverter(48, 128).convert(frame)
    assert np.abs(small.astype(int) - field).max() <= 2


@pytest.mark.parametrize("height", [0, 80])
def test_a_clip_that_is_encoded_again_shows_the_upper_field(height: int, tmp_path: Path) -> None:
    path, target = make_interlaced(tmp_path / "a.ts", "h264"), tmp_path / "clip.mp4"
    facts = write_clip(path, Segment(0, None), ClipEncoding(crf=0, height=height), target)
    assert (facts.height, facts.scan) == (height or 96, UPPER_FIELD)
    clip = decode(target)
    assert [read_frame_number(frame) for frame in clip.frames] == [2 * n for n in range(30)]
    assert clip.pixels.scan == PROGRESSIVE
