"""One film in several containers, with and without sound: the same frames at the same positions."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.files.reader import VideoReader
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets_tests.shared_cases import find_case
from medassets_tests.video.cases import read_case_number

REQUEST = FrameRequest(0, 512, 80, 128, 1, 500)
SOUND = {"webm": "libopus", "mkv": "libopus", "avi": "mp2"}
# A film's picture begins this much after its sound: 0, Opus' lead-in, AAC's. In transport streams
# and FLV, AAC has a lead-in of its own; AVI cannot store one.
LEADS_S = {
    **dict.fromkeys(("mp4", "mov", "mkv", "webm"), (0, Fraction(13, 2000), Fraction(1024, 44_100))),
    **dict.fromkeys(("ts", "flv", "avi"), (0,)),
}
CONTAINERS = {
    "mp4": "libx264", "mov": "libx264", "mkv": "libx264", "ts": "libx264", "flv": "libx264",
    "avi": "libx264", "webm": "libvpx-vp9",
}  # fmt: skip
MakeFilm = Callable[..., Path]


def add_sound(source: Path, path: Path, *, lead_s: Fraction | float) -> Path:
    """Write a film with silence that begins a lead before the picture."""
    import av
    from av.audio.frame import AudioFrame

    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        template = given.streams.video[0]
        picture = output.add_stream_from_template(template)
        codec = SOUND.get(path.suffix[1:], "aac")
        sound: Any = output.add_stream(codec, rate=44_100 if codec == "aac" else 48_000)
        packets = [packet for packet in given.demux(template) if packet.size]
        size = 1152 if codec == "mp2" else 1024
        for number in range(40):
            form = "s16" if codec == "mp2" else "fltp"
            silence: Any = np.zeros((1, size), np.int16 if form == "s16" else np.float32)
            frame = AudioFrame.from_ndarray(silence, format=form, layout="mono")
            frame.sample_rate, frame.pts = sound.rate, number * size
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
        for packet in packets:
            assert packet.time_base is not None
            late = round(lead_s / packet.time_base) - (template.start_time or 0)
            packet.pts = None if packet.pts is None else packet.pts + late
            packet.dts = None if packet.dts is None else packet.dts + late
            packet.stream = picture
            output.mux(packet)
    return path


@pytest.fixture(scope="module")
def make_film(tmp_path_factory: pytest.TempPathFactory) -> MakeFilm:
    """Return a function that makes a film of 66 frames, and makes each only once."""
    folder = tmp_path_factory.mktemp("films")

    @cache
    def make(kind: str, codec: str, fps: int, num_b_frames: int) -> Path:
        name = f"{codec}-{fps}-{num_b_frames}.{kind}"
        recipe = VideoRecipe(codec=codec, fps=fps, num_frames=66, num_b_frames=num_b_frames)
        return make_video(folder / name, recipe).path

    return make


def read_numbers(path: Path, fps: int) -> list[list[int]]:
    """Return the numbers of the frames of three stretches that begin and end with frames."""
    step_ms = 1000 // fps if 1000 % fps == 0 else 100
    stretches = [(0, 5), (4, 8), (7, 10)]
    segments = [Segment(begin * step_ms, end * step_ms) for begin, end in stretches]
    clips = list(decode_segments(path, segments, REQUEST))
    assert all(isinstance(clip, DecodedClip) for clip in clips), clips
    return [
        [read_frame_number(frame) for frame in clip.frames]
        for clip in clips
        if isinstance(clip, DecodedClip)
    ]


def expect(fps: int) -> list[list[int]]:
    step_ms = 1000 // fps if 1000 % fps == 0 else 100
    stretches = [(0, 5), (4, 8), (7, 10)]
    return [
        list(range(begin * step_ms * fps // 1000, -(-end * step_ms * fps // 1000)))
        for begin, end in stretches
    ]


@pytest.mark.parametrize("fps", [25, 60])
@pytest.mark.parametrize("num_b_frames", [0, 2])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_film_gives_the_same_frames_in_every_container_with_and_without_sound(
    kind: str, num_b_frames: int, fps: int, make_film: MakeFilm, tmp_path: Path
) -> None:
    source = make_film(kind, CONTAINERS[kind], fps, num_b_frames)
    assert read_numbers(source, fps) == expect(fps)
    for lead_s in LEADS_S[kind]:
        path = add_sound(source, tmp_path / f"sound.{kind}", lead_s=lead_s)
        assert read_numbers(path, fps) == expect(fps), lead_s


@pytest.mark.parametrize("has_sound", [False, True])
@pytest.mark.parametrize("num_b_frames", [0, 2])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_mpeg4_gives_the_same_frames_in_every_container(
    kind: str, num_b_frames: int, has_sound: bool, make_film: MakeFilm, tmp_path: Path
) -> None:
    path = make_film(kind, "mpeg4", 30, num_b_frames)
    if has_sound:
        path = add_sound(path, tmp_path / f"sound.{kind}", lead_s=0)
    assert read_numbers(path, 30) == expect(30)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("late_s", [Fraction(1, 10), Fraction(1, 2)])
def test_a_picture_that_begins_more_than_a_frame_after_its_sound_keeps_its_place(
    kind: str, late_s: Fraction, make_film: MakeFilm, tmp_path: Path
) -> None:
    source = make_film(kind, "libx264", 30, 0)
    path = add_sound(source, tmp_path / f"late.{kind}", lead_s=late_s)
    with VideoReader(path) as reader:
        first = next(iter(reader.iter_packets_at(None)))
        assert reader.clock.seconds(first.pts or 0) == pytest.approx(float(late_s), abs=0.03)


def test_a_picture_seven_milliseconds_after_its_sound_begins_at_zero() -> None:
    (clip,) = decode_segments(find_case("video/h264_opus.mkv"), [Segment(1000, 2000)], REQUEST)
    assert isinstance(clip, DecodedClip)
    assert [read_case_number(frame) for frame in clip.frames] == list(range(30, 60))
    assert clip.timestamps_s[0] == pytest.approx(1.0, abs=0.001)
