"""A written clip is opened again, and compared with its plan."""

from dataclasses import replace
from pathlib import Path

import pytest
from av import error as av_error

from medassets.errors import DamagedPacketError, Reason, SampleRejectedError
from medassets.video.clips.plan import ClipPlan
from medassets.video.clips.verify import explain_failure, verify_clip
from medassets_tests.video.clips.shots import HEIGHT, WIDTH

PLAN = ClipPlan(
    begin_ms=100, end_ms=2500, num_packets=60, num_frames=60, codec="h264", has_audio=False,
    is_copy=False,
)  # fmt: skip


def ignore() -> None:
    """Do nothing."""


@pytest.mark.parametrize("is_copy", [False, True])
def test_facts_are_those_of_the_file(is_copy: bool, video: Path) -> None:
    beats: list[None] = []
    plan = replace(PLAN, is_copy=is_copy)
    facts = verify_clip(video, plan, on_progress=lambda: beats.append(None))
    assert (facts.width, facts.height, facts.num_bytes) == (WIDTH, HEIGHT, video.stat().st_size)
    assert (facts.num_frames, facts.num_hidden, facts.duration_ms) == (60, 0, 2400)
    assert (facts.begin_ms, facts.end_ms) == (100, 2500)
    assert len(beats) == (120 if is_copy else 60)


@pytest.mark.parametrize(
    "wrong", [{"num_packets": 61}, {"codec": "hevc"}, {"has_audio": True}, {"num_frames": 59}]
)
@pytest.mark.parametrize("is_copy", [False, True])
def test_a_clip_that_differs_from_its_plan_is_rejected(
    wrong: dict[str, object], is_copy: bool, video: Path
) -> None:
    plan = replace(PLAN, is_copy=is_copy, **wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SampleRejectedError, match="the written clip contains") as caught:
        verify_clip(video, plan, on_progress=ignore)
    assert caught.value.reason is Reason.DECODE_FAILED
    assert ("declare clips: reencode" in str(caught.value)) is is_copy


@pytest.mark.parametrize(
    "error", [av_error.InvalidDataError(1, "bad data"), DamagedPacketError("bad data")]
)
def test_errors_of_ffmpeg_are_rejections(error: Exception) -> None:
    with pytest.raises(SampleRejectedError, match="FFmpeg: bad data"), explain_failure():
        raise error


def test_errors_of_the_disk_pass() -> None:
    with pytest.raises(av_error.FFmpegError, match="gone"), explain_failure():
        raise av_error.FileNotFoundError(2, "gone")
