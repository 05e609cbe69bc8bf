"""The frames of a segment are those that an independent reader of timestamps selects."""

import random
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.videos import MadeVideo, VideoRecipe, make_video, read_frame_number
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments

REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)
SEGMENTS_EACH = 9

# At 10 frames a second, 100 frames are a group of pictures of 10 s.
LONG: dict[str, Any] = {"num_frames": 220, "fps": 10, "gop_frames": 100}
RECIPES: dict[str, tuple[str, VideoRecipe]] = {
    "h264": ("mp4", VideoRecipe(num_frames=90)),
    "h264 no b": ("mp4", VideoRecipe(num_b_frames=0, num_frames=90)),
    "h264 variable": ("mp4", VideoRecipe(is_variable=True, num_frames=90)),
    "h264 closed 10 s": ("mp4", VideoRecipe(**LONG)),
    "h264 open 10 s": ("mp4", VideoRecipe(**LONG, has_open_gop=True)),
    "h264 edit list": ("mp4", VideoRecipe(num_hidden=7, num_frames=90)),
    "h264 first at 10 s": ("mp4", VideoRecipe(start_s=10, num_frames=90)),
    "h264 odd": ("mp4", VideoRecipe(width=143, height=91)),
    "h264 10 bit": ("mp4", VideoRecipe(has_ten_bits=True)),
    "h264 sound": ("mkv", VideoRecipe(has_audio=True, start_s=Fraction(1, 2))),
    "h264 turned 90": ("mp4", VideoRecipe(rotation=90)),
    "h264 turned 180": ("mp4", VideoRecipe(rotation=180)),
    "h264 turned 270": ("mov", VideoRecipe(rotation=270)),
    "h264 mirrored": ("mp4", VideoRecipe(rotation=90, is_mirrored=True)),
    "hevc": ("mp4", VideoRecipe(codec="libx265", num_frames=90)),
    "hevc open 10 s": ("mp4", VideoRecipe(codec="libx265", **LONG, has_open_gop=True)),
    "hevc 10 bit variable": (
        "mkv",
        VideoRecipe(codec="libx265", has_ten_bits=True, is_variable=True),
    ),
    "vp9": ("webm", VideoRecipe(codec="libvpx-vp9", num_frames=90)),
    "vp9 variable": ("mp4", VideoRecipe(codec="libvpx-vp9", is_variable=True)),
    "av1": ("mp4", VideoRecipe(codec="libsvtav1", num_frames=90)),
    "av1 10 bit": ("mkv", VideoRecipe(codec="libsvtav1", has_ten_bits=True)),
    "mpeg4": ("mp4", VideoRecipe(codec="mpeg4", num_frames=90)),
    "mpeg4 avi": ("avi", VideoRecipe(codec="mpeg4", num_b_frames=0)),
}


def read_times(path: Path) -> list[Fraction]:
    """Return when each frame is shown, in seconds from the container's start: decode everything."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = Fraction(container.start_time or 0, av.time_base)
        base, times = stream.time_base, []
        assert base is not None
        for frame in container.decode(stream):
            assert frame.pts is not None
            times.append(frame.pts * base - start)
    assert times == sorted(times)
    return times


def choose(times: list[Fraction], begin: Fraction, end: Fraction) -> list[int]:
    """Return the 16 frames on screen within [begin, end), by the floor of k n / 16."""
    ends = [*times[1:], times[-1] + 1]
    shown = [i for i, (t, e) in enumerate(zip(times, ends, strict=True)) if t < end and e > begin]
    return [shown[floor(Fraction(k * len(shown), 16))] for k in range(16)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.mark.parametrize("name", RECIPES)
def test_random_segments_show_the_frames_that_the_timestamps_say(name: str, folder: Path) -> None:
    container, recipe = RECIPES[name]
    made: MadeVideo = make_video(folder / f"{name.replace(' ', '_')}.{container}", recipe)
    times = read_times(made.path)
    assert len(times) == len(made.numbers)
    chance = random.Random(name)
    last_ms = int(times[-1] * 1000)
    segments = []
    for _ in range(SEGMENTS_EACH):
        begin = chance.randrange(0, last_ms - 100)
        segments.append(Segment(begin, chance.randrange(begin + 50, last_ms)))
    for segment, clip in zip(segments, decode_segments(made.path, segments, REQUEST), strict=True):
        assert isinstance(clip, DecodedClip), (segment, clip)
        assert segment.end_ms is not None
        expected = choose(times, Fraction(segment.begin_ms, 1000), Fraction(segment.end_ms, 1000))
        shown = [read_frame_number(frame) for frame in clip.frames]
        assert shown == [made.numbers[i] for i in expected], segment
        assert clip.timestamps_s == pytest.approx([float(times[i]) for i in expected], abs=1e-6)


@pytest.mark.parametrize("num_b_frames", [0, 3])
def test_frames_in_avi_are_shown_one_chunk_after_another(num_b_frames: int, tmp_path: Path) -> None:
    # AVI says when a chunk is decoded; frame k is shown k frames after the first all the same.
    recipe = VideoRecipe(num_frames=150, num_b_frames=num_b_frames, has_open_gop=True)
    path = make_video(tmp_path / "a.avi", recipe).path
    request = FrameRequest(0, 512, 80, 128, 1, 0)
    (everything,) = decode_segments(path, [Segment(0, None)], request)
    assert isinstance(everything, DecodedClip)
    assert [read_frame_number(frame) for frame in everything.frames] == list(range(150))
    assert everything.timestamps_s == pytest.approx([k / 30 for k in range(150)])
    assert everything.end_ms == 5000
    for first in (0, 1, 29, 30, 31, 77, 149):
        begin_ms = 1 + first * 1000 // 30
        (clip,) = decode_segments(path, [Segment(begin_ms, begin_ms + 30)], request)
        assert isinstance(clip, DecodedClip)
        assert [read_frame_number(frame) for frame in clip.frames] == [first]
