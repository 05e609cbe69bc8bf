"""Facts of videos, and the reasons why files are not videos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.probe import VideoFacts, probe_video

PLAIN = VideoFacts(
    codec="h264", pixel_format="yuv420p", width=128, height=80, rotation=0, mirrored=False,
    duration_ms=2000, fps=30.0, has_audio=False,
)  # fmt: skip
RECIPES = {
    "plain.mp4": (VideoRecipe(), PLAIN),
    "late.mp4": (VideoRecipe(start_s=3), PLAIN),
    "sound.mov": (VideoRecipe(has_audio=True), replace(PLAIN, has_audio=True)),
    "deep.mp4": (VideoRecipe(has_ten_bits=True), replace(PLAIN, pixel_format="yuv420p10le")),
    "turned.mp4": (VideoRecipe(rotation=90), replace(PLAIN, rotation=90)),
    "over.mp4": (VideoRecipe(rotation=180), replace(PLAIN, rotation=180)),
    "mirrored.mp4": (
        VideoRecipe(rotation=270, is_mirrored=True),
        replace(PLAIN, rotation=270, mirrored=True),
    ),
    "hevc.mkv": (VideoRecipe(codec="libx265"), replace(PLAIN, codec="hevc")),
    "vp9.webm": (VideoRecipe(codec="libvpx-vp9"), replace(PLAIN, codec="vp9")),
    "av1.mp4": (VideoRecipe(codec="libsvtav1"), replace(PLAIN, codec="av1")),
    "mpeg4.avi": (VideoRecipe(codec="mpeg4"), replace(PLAIN, codec="mpeg4")),
}
# Codec, width and height as shown, rotation, mirrored, sound.
REAL = {
    "av1_60fps_6min_320x180.mp4": ("av1", 320, 180, 0, False, True),
    "av1_testpattern.mkv": ("av1", 640, 360, 0, False, False),
    "h264_bframes_bikes.mp4": ("h264", 640, 272, 0, False, False),
    "h264_bframes_first_pts_10s.mp4": ("h264", 800, 640, 0, False, False),
    "h264_damaged.mp4": ("h264", 1280, 720, 0, False, False),
    "h264_edit_list_preroll.mp4": ("h264", 640, 360, 0, False, True),
    "h264_no_audio_1080x720.mp4": ("h264", 1080, 720, 0, False, False),
    "h264_rot90_3frames.mov": ("h264", 320, 568, 90, False, False),
    "h264_rotated_mirrored_1080x720.mp4": ("h264", 720, 1080, 90, True, True),
    "h264_two_video_two_audio_nasa.mp4": ("h264", 320, 180, 0, False, True),
    "h264_vfr_7frames.mp4": ("h264", 1280, 720, 0, False, False),
    "hevc_10fps_128.mp4": ("hevc", 128, 128, 0, False, False),
    "hevc_main10_200.mp4": ("hevc", 200, 200, 0, False, False),
    "mpeg4_mp3_960x400.avi": ("mpeg4", 960, 400, 0, False, True),
    "vp8_vorbis_rabbit320.webm": ("vp8", 320, 240, 0, False, True),
    "vp9_bbb_642x642.webm": ("vp9", 642, 642, 0, False, False),
}


@pytest.mark.parametrize("name", RECIPES)
def test_facts_are_those_that_the_video_was_made_with(name: str, tmp_path: Path) -> None:
    recipe, expected = RECIPES[name]
    facts = probe_video(make_video(tmp_path / name, recipe).path)
    assert facts.duration_ms is not None
    # Sound and ticks of the container make a video a little longer.
    assert abs(facts.duration_ms - 2000) <= (60 if recipe.has_audio else 1)
    assert replace(facts, duration_ms=2000) == expected


@pytest.mark.parametrize("name", REAL)
def test_facts_of_real_videos(real_videos: Path, name: str) -> None:
    facts = probe_video(real_videos / name)
    found = (
        facts.codec, facts.width, facts.height, facts.rotation, facts.mirrored, facts.has_audio,
    )  # fmt: skip
    assert found == REAL[name]


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def write_sound(path: Path, *, has_cover: bool = False) -> None:
    """A song, perhaps with a cover: players show it as an attached picture, not as a video."""
    import av
    from av.audio.frame import AudioFrame
    from av.stream import Disposition
    from av.video.frame import VideoFrame

    with av.open(str(path), "w", format="mp4") as container:
        sound: Any = container.add_stream("aac", rate=48_000)
        silence = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 48_000
        packets = []
        if has_cover:
            picture: Any = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            cover = VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            packets += picture.encode(cover.reformat(format="yuvj420p")) + picture.encode(None)
        container.mux([*sound.encode(silence), *sound.encode(None), *packets])


def write_sound_with_cover(path: Path) -> None:
    write_sound(path, has_cover=True)


def write_header_only(path: Path) -> None:
    whole = make_video(path, VideoRecipe(options=(("movflags", "faststart"),))).path.read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 8])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_nothing, Reason.DECODE_FAILED),
        (write_text, Reason.DECODE_FAILED),
        (write_header_only, Reason.DECODE_FAILED),
        (write_sound, Reason.NO_VIDEO_STREAM),
        (write_sound_with_cover, Reason.NO_VIDEO_STREAM),
        (lambda path: None, Reason.MISSING_SOURCE),
    ],
)
def test_what_is_no_video_says_why(
    write: Callable[[Path], None], reason: Reason, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    write(path)
    with pytest.raises(SampleRejectedError) as caught:
        probe_video(path)
    assert caught.value.reason is reason
    # What it says goes into records that are the same on every machine.
    assert str(tmp_path) not in str(caught.value)
