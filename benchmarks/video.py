"""Sixteen frames of a segment: ours beside decoding everything, and beside other readers."""

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets.video.processes.pool import DecoderPool

FPS, LENGTH_S = 30, 70
REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)
SEGMENT = Segment(12_000, 42_000)
FIVE = (*(Segment(14_000 + 2000 * i, 34_000 + 2000 * i) for i in range(4)), SEGMENT)
_SHAPE: dict[str, Any] = {
    "width": 640,
    "height": 360,
    "fps": FPS,
    "num_frames": FPS * LENGTH_S,
    "gop_frames": 150,
    "num_b_frames": 3,
    "noise": 24,
}
RECIPES = {
    "h264.mp4": VideoRecipe(**_SHAPE, options=(("preset", "medium"), ("crf", "23"))),
    "hevc.mp4": VideoRecipe(
        codec="libx265", **_SHAPE, options=(("preset", "medium"), ("crf", "26"))
    ),
    "vp9.webm": VideoRecipe(codec="libvpx-vp9", **_SHAPE, options=(("crf", "32"),)),
}
Way = Callable[[Path], Any]


def decode_everything(path: Path) -> int:
    """Decode every frame of the segment on one thread and convert none: the floor."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        container.seek(int(SEGMENT.begin_ms / 1000 / stream.time_base), stream=stream)
        end, count = (SEGMENT.end_ms or 0) / 1000, 0
        for frame in container.decode(stream):
            count += 1
            if frame.time is not None and frame.time >= end:
                break
    return count


def decode_ours(path: Path) -> np.ndarray:
    """Return the frames by this project."""
    (clip,) = decode_segments(path, [SEGMENT], REQUEST)
    assert isinstance(clip, DecodedClip)
    return clip.frames


def decode_and_pick(path: Path) -> np.ndarray:
    """Return the frames by PyAV: everything is decoded, what is kept converted by our arithmetic."""
    import av

    from medassets.video.frames.conversion import FrameConverter

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        container.seek(int(SEGMENT.begin_ms / 1000 / stream.time_base), stream=stream)
        begin, end = SEGMENT.begin_ms / 1000, (SEGMENT.end_ms or 0) / 1000
        shown = []
        for frame in container.decode(stream):
            at = frame.time or 0.0
            if at >= end - 1e-9:
                break
            if at <= begin + 1e-9:
                # Only the last of these is still on screen at begin.
                shown.clear()
            shown.append(frame)
        converter = FrameConverter(REQUEST.height, REQUEST.width)
        return np.stack([converter.convert(shown[k * len(shown) // 16]) for k in range(16)])


def decode_with_opencv(path: Path, begin_ms: int = SEGMENT.begin_ms) -> np.ndarray:
    """Return all frames of the segment by OpenCV, each resized."""
    import cv2  # pyright: ignore[reportMissingImports]

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_POS_MSEC, begin_ms)
    frames = []
    length = ((SEGMENT.end_ms or 0) - SEGMENT.begin_ms) * FPS // 1000
    while len(frames) < length:
        is_read, frame = capture.read()
        if not is_read:
            break
        frames.append(
            cv2.resize(frame, (REQUEST.width, REQUEST.height), None, 0, 0, cv2.INTER_AREA)
        )
    return np.stack(frames)[:: len(frames) // 16]


def cut_then_decode(path: Path) -> np.ndarray:
    """Return the frames the two-step way: ffmpeg and libx264 ultrafast crf 28, then OpenCV."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        cut = ["-ss", f"{SEGMENT.begin_ms / 1000}", "-to", f"{(SEGMENT.end_ms or 0) / 1000}"]
        encode = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-threads", "1"]
        command = ["ffmpeg", "-v", "error", "-threads", "1", *cut, "-i", str(path), *encode]
        subprocess.run([*command, str(clip)], check=True, stdin=subprocess.DEVNULL)
        return decode_with_opencv(clip, 0)


def decode_with_decord(path: Path) -> np.ndarray:
    """Return the frames by decord2."""
    import decord  # pyright: ignore[reportMissingImports]

    reader = decord.VideoReader(
        str(path), num_threads=1, width=REQUEST.width, height=REQUEST.height
    )
    first, last = SEGMENT.begin_ms * FPS // 1000, (SEGMENT.end_ms or 0) * FPS // 1000
    return reader.get_batch([first + k * (last - first) // 16 for k in range(16)]).asnumpy()


def decode_with_torchcodec(path: Path) -> Any:
    """Return the frames by torchcodec, resized by torch."""
    import torch
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports, reportPrivateImportUsage]

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate")
    first, last = SEGMENT.begin_ms * FPS // 1000, (SEGMENT.end_ms or 0) * FPS // 1000
    wanted = [first + k * (last - first) // 16 for k in range(16)]
    frames = decoder.get_frames_at(wanted).data.float()
    size = (REQUEST.height, REQUEST.width)
    return torch.nn.functional.interpolate(frames, size, mode="area").byte()


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Take all ways in turn on each coding; return the lines of two tables.

    Args:
        folder: Where videos are made and kept.
        num_rounds: Measured rounds.
    """
    for name, recipe in RECIPES.items():
        if not (folder / name).exists():
            make_video(folder / name, recipe)
    lines = ["| video | way | wall s | time / floor | ours / way |", "|" + "---|" * 5]
    for name in RECIPES:
        lines += _compare_ways(folder / name, num_rounds)
    return [*lines, "", *_compare_many(folder / "h264.mp4", num_rounds)]


def _compare_ways(path: Path, num_rounds: int) -> list[str]:
    ways = _ways()
    ours, reference = decode_ours(path), decode_and_pick(path)
    if not np.array_equal(ours, reference):
        msg = f"{path}: ours and the frames of decoding everything differ"
        raise AssertionError(msg)
    seconds = _take_turns({name: partial(way, path) for name, way in ways.items()}, num_rounds)
    lines = []
    for name, taken in seconds.items():
        floor = median(a / b for a, b in zip(taken, seconds["everything"], strict=True))
        way = median(a / b for a, b in zip(seconds["medassets"], taken, strict=True))
        lines.append(f"| {path.name} | {name} | {median(taken):.3f} | {floor:.2f} | {way:.2f} |")
    return lines


def _ways() -> dict[str, Way]:
    ways: dict[str, Way] = {
        "everything": decode_everything,
        "medassets": decode_ours,
        "PyAV, everything": decode_and_pick,
    }
    if importlib.util.find_spec("cv2"):
        ways["OpenCV, all frames"] = decode_with_opencv
        if shutil.which("ffmpeg"):
            ways["ffmpeg cut, then OpenCV"] = cut_then_decode
    if importlib.util.find_spec("decord"):
        ways["decord2"] = decode_with_decord
    if _has_torchcodec():
        ways["torchcodec"] = decode_with_torchcodec
    return ways


def _has_torchcodec() -> bool:
    """Tell whether torchcodec is here and finds FFmpeg's libraries."""
    try:
        import torchcodec.decoders  # noqa: F401  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def _take_turns(ways: Mapping[str, Callable[[], Any]], num_rounds: int) -> dict[str, list[float]]:
    """Return the wall seconds of every way; the first round of each is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(num_rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _compare_many(path: Path, num_rounds: int) -> list[str]:
    """Compare five overlapping clips with the longest alone, and two processes with one."""
    with DecoderPool("cpu", num_workers=1) as one, DecoderPool("cpu", num_workers=2) as two:
        seconds = _take_turns(
            {
                "longest clip alone": lambda: list(decode_segments(path, FIVE[-1:], REQUEST)),
                "five overlapping clips": lambda: list(decode_segments(path, FIVE, REQUEST)),
                "8 segments, 1 process": lambda: _decode_in(one, path, num_threads=1),
                "8 segments, 2 processes": lambda: _decode_in(two, path, num_threads=2),
            },
            num_rounds,
        )
    first = ["longest clip alone"] * 2 + ["8 segments, 1 process"] * 2
    lines = ["| work | wall s | speed-up or share |", "|---|---|---|"]
    for (name, taken), other in zip(seconds.items(), first, strict=True):
        share = median(a / b for a, b in zip(taken, seconds[other], strict=True))
        shown = f"{1 / share:.2f} x as fast" if "process" in name else f"{share:.2f} x the time"
        lines.append(f"| {name} | {median(taken):.3f} | {shown} |")
    return lines


def _decode_in(pool: DecoderPool, path: Path, *, num_threads: int) -> None:
    def decode(number: int) -> Any:
        return pool.decode(path, [Segment(1000 * number, 1000 * number + 30_000)], REQUEST)

    with ThreadPoolExecutor(num_threads) as executor:
        for (clip,) in executor.map(decode, range(8)):
            assert isinstance(clip, DecodedClip)
