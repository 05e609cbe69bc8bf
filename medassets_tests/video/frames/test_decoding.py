"""Decoding of segments: correct pictures, without unnecessary work."""

import random
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.files.reader import VideoReader
from medassets.video.frames.conversion import FrameConverter
from medassets.video.frames.decoding import (
    DecodedClip,
    FrameRequest,
    Outcome,
    Segment,
    decode_segments,
)
from medassets_tests.video.contract import Decode, DecoderContract
from medassets_tests.video.naive import decode_naively

REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)
ALL = FrameRequest(0, 512, 80, 128, 1, 500)

PYRAMID = "keyint=60:min-keyint=60:scenecut=0:bframes=8:b-pyramid=normal:open-gop=1:ref=6:b-adapt=2"
REFRESH = "keyint=30:intra-refresh=1:bframes=0"
INTERLACED = "keyint=30:interlaced=1:bframes=2"
LEADING = "keyint=40:bframes=4:open-gop=0:radl=2:log-level=none:pools=none"
MPEG2 = VideoRecipe(codec="mpeg2video", options=(("b", "2M"), ("sc_threshold", "1000000000")))
RECIPES = {
    "pyramid.mp4": VideoRecipe(num_frames=150, options=(("x264-params", PYRAMID),)),
    "refresh.mp4": VideoRecipe(num_frames=150, options=(("x264-params", REFRESH),)),
    "interlaced.mkv": VideoRecipe(height=96, options=(("x264-params", INTERLACED),)),
    "leading.mp4": VideoRecipe(codec="libx265", options=(("x265-params", LEADING),)),
    "transport.ts": VideoRecipe(),
    "mpeg2.ts": MPEG2,
    "mpeg2.mpg": MPEG2,
    "vp8.webm": VideoRecipe(codec="libvpx", num_frames=90),
    "late.mp4": VideoRecipe(has_audio=True, start_s=1, is_variable=True),
}


def only(outcomes: list[Outcome]) -> list[DecodedClip]:
    clips = [outcome for outcome in outcomes if isinstance(outcome, DecodedClip)]
    assert len(clips) == len(outcomes), outcomes
    return clips


def decode(path: Path, *segments: Segment, request: FrameRequest = REQUEST) -> list[DecodedClip]:
    return only(list(decode_segments(path, segments, request)))


class TestDecoderInThisProcess(DecoderContract):
    @pytest.fixture
    def decode(self) -> Decode:
        return lambda path, segments, request: list(decode_segments(path, segments, request))


def numbers_of(clip: DecodedClip) -> list[int]:
    return [read_frame_number(frame) for frame in clip.frames]


@pytest.mark.parametrize("name", RECIPES)
def test_streams_with_traps_give_the_frames_that_decoding_everything_gives(
    name: str, tmp_path: Path
) -> None:
    made = make_video(tmp_path / name, RECIPES[name])
    naive, rng = decode_naively(made.path), random.Random(name)
    first_ms, last_ms = int(naive.times[0] * 1000) + 1, int(naive.times[-1] * 1000)
    segments = [Segment(0, None), Segment(last_ms - 200, None)]
    for _ in range(6):
        begin_ms = rng.randrange(first_ms, last_ms)
        segments.append(Segment(begin_ms, rng.randrange(begin_ms + 1, last_ms + 2)))
    for segment in segments:
        chosen = naive.chosen(segment.begin_ms, segment.end_ms)
        (alone,) = decode(made.path, segment)
        assert numbers_of(alone) == [made.numbers[index] for index in chosen], segment
        assert alone.timestamps_s == tuple(float(naive.times[index]) for index in chosen)
        assert alone.num_segment_frames == len(naive.shown(segment.begin_ms, segment.end_ms))
    together = decode(made.path, *segments)
    for clip, segment in zip(together, segments, strict=True):
        assert (clip.frames == decode(made.path, segment)[0].frames).all()


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pictures_of_an_open_group_are_those_of_decoding_everything(
    codec: str, tmp_path: Path
) -> None:
    recipe = VideoRecipe(
        codec=codec, num_frames=150, gop_frames=40, has_open_gop=True, num_b_frames=4, noise=30
    )
    path = make_video(tmp_path / "a.mp4", recipe).path
    naive, converter = decode_naively(path), FrameConverter(80, 128)
    # Frame by frame around the second and third key frame, each reached by a jump.
    for index in (*range(35, 43), *range(76, 82)):
        begin_ms = int(naive.times[index] * 1000) + 1
        (clip,) = decode(path, Segment(begin_ms, begin_ms + 1), request=ALL)
        np.testing.assert_array_equal(clip.frames[0], converter.convert(naive.frames[index]))


@pytest.mark.parametrize(("rotation", "is_mirrored"), list(product([0, 90, 180, 270], [0, 1])))
def test_a_picture_is_turned_and_mirrored_as_a_player_does(
    rotation: int, is_mirrored: int, tmp_path: Path
) -> None:
    recipe = VideoRecipe(rotation=rotation, is_mirrored=bool(is_mirrored), num_frames=20)
    (clip,) = decode(make_video(tmp_path / "a.mp4", recipe).path, Segment(0, None))
    assert numbers_of(clip) == [k * 20 // 16 for k in range(16)]
    facts = clip.facts
    assert (facts.width, facts.height, facts.rotation) == (128, 80, rotation)
    assert facts.mirrored == bool(is_mirrored)


def count_work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count packets that go into the decoder, and frames that are converted."""
    counter: Counter[str] = Counter()
    decode_packet, convert = VideoReader.decode, FrameConverter.convert

    def counting_decode(reader: VideoReader, packet: object) -> object:
        counter["packets"] += packet is not None
        return decode_packet(reader, packet)  # pyright: ignore[reportArgumentType]

    def counting_convert(converter: FrameConverter, *args: object) -> object:
        counter["frames"] += 1
        return convert(converter, *args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(VideoReader, "decode", counting_decode)
    monkeypatch.setattr(FrameConverter, "convert", counting_convert)
    return counter


def test_unneeded_packets_are_not_decoded_and_frames_not_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(
        tmp_path / "a.mp4", VideoRecipe(num_frames=600, gop_frames=30, num_b_frames=2)
    ).path
    counter = count_work(monkeypatch)
    decode(path, Segment(0, None))
    assert counter["frames"] == 16
    # 16 groups of 30 are needed to some frame in them, and of those not every B-frame.
    assert counter["packets"] < 250
    counter.clear()
    decode(path, Segment(15_000, 15_100))
    assert counter["packets"] <= 30


def test_segments_that_share_a_stretch_share_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", VideoRecipe(num_frames=450, gop_frames=60)).path
    five = [Segment(0, 15_000), *(Segment(1000 * k, 1000 * k + 8000) for k in range(1, 5))]
    counter = count_work(monkeypatch)
    decode(path, five[0])
    alone = counter["packets"]
    counter.clear()
    decode(path, *five)
    assert counter["packets"] < 1.5 * alone
    # A frame that two segments want is converted once.
    assert counter["frames"] <= 5 * 16
    counter.clear()
    decode(path, five[0], five[0], five[0])
    assert counter == {"packets": alone, "frames": 16}


def test_outcomes_come_in_the_order_of_segments(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", VideoRecipe(num_frames=600)).path
    segments = [
        Segment(19_000, 20_000), Segment(99_000, 99_500), Segment(0, 500), Segment(14_000, 14_500),
        Segment(200, 100), Segment(0, 500),
    ]  # fmt: skip
    outcomes = list(decode_segments(path, segments, REQUEST))
    begins = [one.begin_ms if isinstance(one, DecodedClip) else one.reason for one in outcomes]
    assert begins == [19_000, Reason.END_BEYOND_DURATION, 0, 14_000, Reason.TOO_SHORT, 0]
    assert list(decode_segments(path, [], REQUEST)) == []


@pytest.mark.parametrize(("name", "recipe"), [("a.mp4", VideoRecipe()), ("a.ts", MPEG2)])
def test_progress_is_reported_during_work(name: str, recipe: VideoRecipe, tmp_path: Path) -> None:
    path, beats = make_video(tmp_path / name, recipe).path, Counter[str]()

    def beat() -> None:
        beats["beats"] += 1

    list(decode_segments(path, [Segment(0, None)], REQUEST, on_progress=beat))
    assert beats["beats"] > recipe.num_frames / 2


def test_the_first_of_two_video_streams_is_taken(tmp_path: Path) -> None:
    import av

    # Many readers take the "best" stream: the larger one.
    small = make_video(tmp_path / "small.mp4", VideoRecipe(num_frames=20, width=96, height=64))
    large = make_video(tmp_path / "large.mp4", VideoRecipe(num_frames=20, width=256, height=160))
    path = tmp_path / "both.mp4"
    with ExitStack() as stack:
        output = stack.enter_context(av.open(str(path), "w"))
        sources = [stack.enter_context(av.open(str(made.path))) for made in (small, large)]
        # All streams stand in the header, which is written with the first packet.
        streams = [output.add_stream_from_template(one.streams.video[0]) for one in sources]
        for source, stream in zip(sources, streams, strict=True):
            for packet in source.demux(video=0):
                packet.stream = stream
                output.mux([packet] if packet.size else [])
    (clip,) = decode(path, Segment(0, None))
    assert (clip.facts.width, clip.facts.height) == (96, 64)
    assert numbers_of(clip) == [k * 20 // 16 for k in range(16)]


def test_a_missing_file_and_an_audio_file_have_their_own_reasons(tmp_path: Path) -> None:
    import av
    from av.audio.frame import AudioFrame

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=48_000)
        frame = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    reasons = {"a.mp4": Reason.NO_VIDEO_STREAM, "b.mp4": Reason.MISSING_SOURCE}
    for name, reason in reasons.items():
        outcomes = list(decode_segments(tmp_path / name, [Segment(0, 1), Segment(2, 3)], REQUEST))
        assert [one.reason for one in outcomes if isinstance(one, SampleRejectedError)] == [reason] * 2  # fmt: skip


SPENDER = """
import sys
from pathlib import Path
import av, numpy
import medassets.video.frames.two_pass, medassets.video.frames.planned
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

before = peak_mb()
request = FrameRequest(int(sys.argv[2]), 512, 160, 256, 1, 500)
(clip,) = decode_segments(Path(sys.argv[1]), [Segment(0, None)], request)
assert clip.num_segment_frames == 21_766, clip
print(peak_mb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("num_frames", [16, 0])
def test_six_minutes_take_little_memory(real_videos: Path, num_frames: int) -> None:
    path = real_videos / "av1_60fps_6min_320x180.mp4"
    command = [sys.executable, "-c", SPENDER, str(path), str(num_frames)]
    # Frames of 512 pictures alone are 63 MB.
    assert float(subprocess.check_output(command)) < 300
