"""Clips that are decoded and encoded."""

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.error import FFmpegError

from medassets.errors import SpecError
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests.video.clips.shots import (
    decode_all,
    read_number,
    write_video,
)

LOSSLESS = ClipEncoding(crf=0)


def test_a_container_without_presentation_times_is_cut_in_the_order_of_decoding(
    tmp_path: Path,
) -> None:
    source = write_video(tmp_path / "video.avi", range(0, 2400, 40), coding="h264-avi")
    facts = write_clip(source, Segment(1000, 1400), ClipEncoding(), tmp_path / "clip.mp4")
    numbers = [read_number(luma) for *_, luma in decode_all(tmp_path / "clip.mp4")]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert facts.num_frames == 10


def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    times_ms = [7, 20, 21, 400, 433, 466, 1201, 1202, 1203, 1999]
    source = write_video(tmp_path / "vfr.mp4", times_ms)
    for begin_ms, end_ms, numbers in ((3, 450, [0, 1, 2, 3, 4]), (500, 1195, [5, 6])):
        facts = write_clip(source, Segment(begin_ms, end_ms), LOSSLESS, tmp_path / "clip.mp4")
        shots = decode_all(tmp_path / "clip.mp4")
        assert [read_number(luma) for *_, luma in shots] == numbers
        # The container starts with its first frame, at 7 ms.
        begins = [max(times_ms[number] - 7 - begin_ms, 0) for number in numbers]
        assert [low * 1000 for low, *_ in shots] == begins
        assert shots[-1][1] * 1000 == facts.duration_ms == end_ms - begin_ms


@pytest.mark.parametrize("fps", [5, 12.5, 29.97, 50])
def test_another_frame_rate_takes_the_frame_on_screen_and_invents_none(
    fps: float, video: Path, tmp_path: Path
) -> None:
    facts = write_clip(video, Segment(130, None), ClipEncoding(fps=fps), tmp_path / "clip.mp4")
    step_ms = 1000 / Fraction(str(fps))
    ticks_ms = itertools.takewhile(lambda t: t < 2400, (130 + k * step_ms for k in range(999)))
    expected = [int(tick_ms // 40) for tick_ms in ticks_ms]
    shots = decode_all(tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in shots] == expected
    assert [low * 1000 for low, *_ in shots] == [k * step_ms for k in range(len(expected))]
    assert (facts.end_ms, facts.num_frames) == (2400, len(expected))


def has_nvenc() -> bool:
    """Whether a GPU of this machine can encode."""
    try:
        context: Any = av.CodecContext.create("h264_nvenc", "w")
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.framerate = 25
        context.open()
    except FFmpegError:
        return False
    return True


@pytest.mark.skipif(has_nvenc(), reason="this machine has what the test says is missing")
def test_an_encoder_that_is_not_there_is_named_with_what_to_declare(
    video: Path, tmp_path: Path
) -> None:
    encoding = ClipEncoding(encoder="h264_nvenc")
    with pytest.raises(SpecError, match=r"clip_encoder: h264_nvenc needs .* clip_encoder: libx264"):
        write_clip(video, Segment(0, 400), encoding, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvenc(), reason="no GPU here that encodes")
def test_a_gpu_encodes_the_same_frames(video: Path, tmp_path: Path) -> None:
    encoding = ClipEncoding(encoder="h264_nvenc", height=288)
    write_clip(video, Segment(500, 1300), encoding, tmp_path / "clip.mp4")
    shots = decode_all(tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in shots] == list(range(12, 33))
