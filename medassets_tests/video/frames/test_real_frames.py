"""Real videos, each with a trap: pixel for pixel what decoding everything gives."""

import random
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medassets.errors import SampleRejectedError
from medassets.video.frames.conversion import FrameConverter
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments

REQUEST = FrameRequest(16, 512, 80, 128, 1, 500)
# Frames that decoding everything really gives.
NUM_FRAMES = {
    "av1_testpattern.mkv": 125,
    "h264_bframes_bikes.mp4": 250,
    "h264_bframes_first_pts_10s.mp4": 120,
    "h264_edit_list_preroll.mp4": 16,
    "h264_no_audio_1080x720.mp4": 30,
    "h264_rot90_3frames.mov": 3,
    "h264_rotated_mirrored_1080x720.mp4": 30,
    "h264_two_video_two_audio_nasa.mp4": 325,
    "h264_vfr_7frames.mp4": 7,
    "hevc_10fps_128.mp4": 10,
    "hevc_main10_200.mp4": 30,
    "mpeg4_mp3_960x400.avi": 96,
    "vp8_vorbis_rabbit320.webm": 234,
    "vp9_bbb_642x642.webm": 90,
}


def decode_all(path: Path) -> tuple[list[Fraction], list[Any]]:
    """Return the times of all frames, from the container's start, and the frames."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = Fraction(container.start_time or 0, av.time_base)
        frames = list(container.decode(stream))
        base = stream.time_base
    assert base is not None
    return [Fraction(frame.pts or 0) * base - start for frame in frames], frames


def choose(times: list[Fraction], begin: Fraction, end: Fraction) -> list[int]:
    """Return the 16 frames on screen within [begin, end), by the floor of k n / 16."""
    ends = [*times[1:], times[-1] + 1]
    shown = [i for i, (t, e) in enumerate(zip(times, ends, strict=True)) if t < end and e > begin]
    return [shown[floor(Fraction(k * len(shown), 16))] for k in range(16)]


@pytest.mark.parametrize("name", NUM_FRAMES)
def test_frames_equal_those_of_decoding_everything(name: str, real_videos: Path) -> None:
    times, frames = decode_all(real_videos / name)
    assert len(frames) == NUM_FRAMES[name]
    last_ms = int(times[-1] * 1000)
    chance = random.Random(name)
    segments = [Segment(0, None), Segment(0, max(last_ms // 2, 20))]
    for _ in range(4):
        begin = chance.randrange(0, max(last_ms - 40, 1))
        segments.append(Segment(begin, chance.randrange(begin + 20, last_ms + 21)))
    converter = FrameConverter(REQUEST.height, REQUEST.width)
    for segment, clip in zip(
        segments, decode_segments(real_videos / name, segments, REQUEST), strict=True
    ):
        assert isinstance(clip, DecodedClip), (segment, clip)
        end = Fraction(10**6) if segment.end_ms is None else Fraction(segment.end_ms, 1000)
        expected = choose(times, Fraction(segment.begin_ms, 1000), end)
        assert clip.timestamps_s == pytest.approx([float(times[i]) for i in expected], abs=1e-6)
        for frame, index in zip(clip.frames, expected, strict=True):
            np.testing.assert_array_equal(frame, converter.convert(frames[index]))


@pytest.mark.parametrize(
    "name",
    [
        "h264_bframes_bikes.mp4",
        "hevc_main10_200.mp4",
        "vp9_bbb_642x642.webm",
        "av1_testpattern.mkv",
    ],
)
def test_a_kept_frame_looks_like_the_whole_one_made_small(name: str, real_videos: Path) -> None:
    """Another way to the same picture: colours at full size, then Pillow's box filter."""
    (clip,) = decode_segments(real_videos / name, [Segment(0, None)], REQUEST)
    assert isinstance(clip, DecodedClip)
    times, frames = decode_all(real_videos / name)
    for frame, index in zip(clip.frames, choose(times, Fraction(0), Fraction(10**6)), strict=True):
        whole = Image.fromarray(frames[index].to_ndarray(format="rgb24"))
        small = whole.resize((REQUEST.width, REQUEST.height), Image.Resampling.BOX)
        difference = np.abs(np.asarray(small).astype(int) - frame.astype(int))
        # Chroma at half size is spread in another order, which shows at sharp edges.
        assert difference.mean() < 4.5, difference.mean()


def test_a_damaged_video_gives_what_is_whole_and_refuses_the_rest(real_videos: Path) -> None:
    segments = [Segment(0, 300), Segment(0, None), Segment(1200, 1600)]
    first, *others = decode_segments(real_videos / "h264_damaged.mp4", segments, REQUEST)
    refused = [o for o in (first, *others) if isinstance(o, SampleRejectedError)]
    assert refused
    assert {str(o.reason) for o in refused} <= {"decode_failed", "end_beyond_duration"}


@pytest.mark.slow
def test_sixteen_frames_of_six_minutes(real_videos: Path) -> None:
    path = real_videos / "av1_60fps_6min_320x180.mp4"
    times, frames = decode_all(path)
    assert len(frames) == 21_766
    (clip,) = decode_segments(path, [Segment(0, None)], REQUEST)
    assert isinstance(clip, DecodedClip)
    expected = [k * 21_766 // 16 for k in range(16)]
    assert clip.timestamps_s == pytest.approx([float(times[i]) for i in expected], abs=1e-6)
    converter = FrameConverter(REQUEST.height, REQUEST.width)
    for frame, index in zip(clip.frames, expected, strict=True):
        np.testing.assert_array_equal(frame, converter.convert(frames[index]))
