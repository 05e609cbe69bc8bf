"""Videos whose frames show their number, and the shots of a clip, read without our code."""

import itertools
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from medassets.video.clips.plan import ClipFacts
from medassets.video.timeline import Segment

WIDTH, HEIGHT, BLOCK = 128, 96, 32
# name -> container, encoder, options; every one has several key frames, most of them B-frames.
CODINGS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("mp4", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "h264-open-gop": ("mp4", "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3"}),
    "h264-mkv": ("matroska", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "hevc": ("mp4", "libx265", {"preset": "ultrafast", "x265-params": "keyint=12:log-level=none"}),
    "vp9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg4": ("avi", "mpeg4", {"g": "12"}),
    "h264-ts": ("mpegts", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "h264-avi": ("avi", "libx264", {"g": "12", "bf": "3"}),
    "mpeg2-ps": ("mpeg", "mpeg2video", {"g": "12", "bf": "2"}),
}
# Their packets do not state reliably when frames are displayed.
NOT_COPIED = ("mpeg4", "h264-ts", "mpeg2-ps", "h264-avi")

Shot = tuple[Fraction, Fraction, Any]


def draw_number(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw a number in twelve black or white squares, uint8, axes (h, w, c)."""
    bits = np.array([number >> bit & 1 for bit in range(12)], np.uint8).reshape(3, 4)
    squares = np.kron(bits, np.ones((BLOCK, BLOCK), np.uint8)) * 200 + 20
    picture = np.zeros((height, width), np.uint8)
    picture[:HEIGHT, :WIDTH] = squares
    return np.repeat(picture[:, :, None], 3, axis=2)


def read_number(luma: np.ndarray) -> int:
    """Read the number of a picture of any size, luma, axes (h, w)."""
    height, width = luma.shape
    rows = [(2 * row + 1) * height // 6 for row in range(3)]
    columns = [(2 * column + 1) * width // 8 for column in range(4)]
    bits = [luma[row, column] > 120 for row, column in itertools.product(rows, columns)]
    return sum(int(bit) << index for index, bit in enumerate(bits))


def write_video(
    path: Path,
    times_ms: Sequence[int],
    *,
    coding: str = "h264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    turn: tuple[int, bool] = (0, False),
    sound: np.ndarray | None = None,
) -> Path:
    """Write a video whose frame k shows k from `times_ms[k]` on; mono sound at 16 kHz from 0."""
    container, encoder, options = CODINGS[coding]
    with av.open(str(path), "w", format=container) as output:
        rate = Fraction(25) if container in ("avi", "mpeg") else Fraction(1000)
        stream: Any = output.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.set_display_rotation(-turn[0], hflip=turn[1])
        track: Any = None
        if sound is not None:
            track = output.add_stream("aac", rate=16_000, layout="mono")
        for number, time_ms in enumerate(times_ms):
            picture = draw_number(number, width=size[0], height=size[1])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(time_ms * rate / 1000), 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 0
            output.mux(track.encode(samples))
            output.mux(track.encode(None))
    return path


def decode_all(path: Path) -> list[Shot]:
    """Decode everything; return (begin, end, luma) of every frame, seconds from the start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start_s = Fraction(container.start_time or 0, 1_000_000)
        assert stream.time_base is not None
        frames = [f for f in container.decode(stream) if f.pts is not None]
        begins = [(f.pts or 0) * stream.time_base - start_s for f in frames]
        lasts = (frames[-1].duration or 0) * stream.time_base
        # MPEG streams do not say how long the last frame stays: as long as the one before.
        ends = [*begins[1:], begins[-1] + (lasts or begins[-1] - begins[-2])]
        lumas = [f.reformat(format="gray").to_ndarray() for f in frames]
    return list(zip(begins, ends, lumas, strict=True))


def cut(shots: list[Shot], begin_ms: int, end_ms: int | None) -> list[Shot]:
    """Return the shots on screen within a stretch, their times counted from its begin."""
    begin = Fraction(begin_ms, 1000)
    end = shots[-1][1] if end_ms is None else Fraction(end_ms, 1000)
    return [
        (max(low - begin, Fraction(0)), min(high, end) - begin, content)
        for low, high, content in shots
        if high > begin and low < end
    ]


def plan_segments(shots: list[Shot], number: int) -> list[Segment]:
    """Choose stretches: random ones, some to the end, some that begin with a frame."""
    rng = random.Random(number)
    last_ms = int(shots[-1][1] * 1000)
    segments = [Segment(0, None)]
    for _ in range(number):
        begin_ms = rng.randrange(last_ms)
        if rng.random() < 0.3:
            begin_ms = int(rng.choice(shots)[0] * 1000)
        end_ms = rng.choice([None, begin_ms + rng.randrange(1, 200), begin_ms + 900])
        segments.append(Segment(begin_ms, end_ms))
    return segments


def show_clip(path: Path, facts: ClipFacts) -> list[Shot]:
    """Return the shots of the stretch a clip was made for: all that a plain reader gives."""
    *shots, (begin, _, content) = decode_all(path)
    with av.open(str(path)) as container:
        # Where frames are stored out of order, none of them tells how long the last one stays.
        end = Fraction(container.duration or 0, 1_000_000)
    assert abs(end * 1000 - facts.duration_ms) <= 1
    return [*shots, (begin, end, content)]


def assert_same_times(made: list[Shot], expected: list[Shot]) -> None:
    """Compare begins to a microsecond; ends to a millisecond, as facts know them."""
    assert len(made) == len(expected)
    for got, wanted in zip(made, expected, strict=True):
        assert abs(got[0] - wanted[0]) <= Fraction(1, 1_000_000)
        assert abs(got[1] - wanted[1]) <= Fraction(1, 1000)
