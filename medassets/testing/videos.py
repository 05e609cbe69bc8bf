"""Synthetic videos whose frames show their own number, with many codecs and container features.

A frame is a grid of dark and light blocks that encode its number, so that a test can identify it
in a small, stretched picture of a lossy codec, and detects rotation and mirroring.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_ROWS, _COLUMNS = 4, 6
_NUM_BITS = _ROWS * _COLUMNS
# Check bits, so that rotated, mirrored or corrupt pictures are rarely read as a number.
_NUM_CHECK_BITS, _CHECK_FACTOR, _CHECK_OFFSET = 8, 167, 93
_DARK, _LIGHT = 40, 215
_CLOCK_HZ = 90_000
_AUDIO_RATE = 48_000
_AUDIO_CODECS = {"mp4": "aac", "mov": "aac", "avi": "mp2"}
_VPX = {"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16"}

MOST_FRAMES = 1 << (_NUM_BITS - _NUM_CHECK_BITS)
"""Numbers that a picture can encode are below this."""


@dataclass(frozen=True, kw_only=True)
class VideoRecipe:
    """Properties of a synthetic video.

    Attributes:
        codec: Encoder of FFmpeg: libx264, libx265, libvpx-vp9, libsvtav1, mpeg4, and others.
        num_frames: Displayed frames.
        fps: Frames per second.
        is_variable: Irregular gaps between frames, in whole milliseconds, 1/fps on average.
        width: Width as displayed, in pixels.
        height: Height as displayed, in pixels.
        num_b_frames: Maximum number of consecutive B-frames.
        gop_frames: Frames from one key frame to the next.
        has_open_gop: Frames displayed before a key frame may depend on it and on the one before.
        num_hidden: Frames before the displayed ones that an edit list hides (mp4 and mov).
        rotation: Degrees clockwise by which players rotate the stored picture.
        is_mirrored: Players swap left and right after the rotation.
        has_ten_bits: 10 bits per sample rather than 8.
        start_s: Time of the first displayed frame.
        has_audio: A tone that begins at 0.
        colour: Red, green and blue of a uniform picture instead of a number.
        matrix: Colour matrix, `bt709` or `bt601`; empty is BT.601 without stating it in the file.
        has_full_range: Luma from 0 to 255 rather than 16 to 235.
        noise: Amplitude of a moving texture added to the picture; 0 adds none.
        options: Further options of the encoder.
        seed: Seed of frame gaps and texture.
    """

    codec: str = "libx264"
    num_frames: int = 60
    fps: int = 30
    is_variable: bool = False
    width: int = 128
    height: int = 80
    num_b_frames: int = 2
    gop_frames: int = 30
    has_open_gop: bool = False
    num_hidden: int = 0
    rotation: int = 0
    is_mirrored: bool = False
    has_ten_bits: bool = False
    start_s: Fraction | int = 0
    has_audio: bool = False
    colour: tuple[int, int, int] | None = None
    matrix: str = ""
    has_full_range: bool = False
    noise: int = 0
    options: tuple[tuple[str, str], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class MadeVideo:
    """A synthetic video on disk.

    Attributes:
        path: The file.
        times_s: Time of each displayed frame from the container's start, before rounding to the
            container's ticks.
        numbers: The number that each of them shows.
    """

    path: Path
    times_s: tuple[Fraction, ...]
    numbers: tuple[int, ...]


def make_video(path: Path, recipe: VideoRecipe) -> MadeVideo:
    """Encode a synthetic video.

    Args:
        path: File to write; its extension selects the container.
        recipe: Properties of the video.
    """
    import av

    # SVT-AV1 prints its settings unless this is set before its first use.
    os.environ.setdefault("SVT_LOG", "1")
    times = _plan_times(recipe)
    # Keep negative timestamps: the muxer then writes an edit list that hides them.
    options = {"avoid_negative_ts": "disabled"} if recipe.num_hidden else {}
    with av.open(str(path), "w", options=options) as container:
        stream = _add_stream(container, recipe)
        if recipe.has_audio:
            _write_tone(container, float(times[-1]) + 1 / recipe.fps)
        for number, time_s in enumerate(times):
            frame = _make_frame(number, recipe)
            frame.pts, frame.time_base = round(time_s * _CLOCK_HZ), Fraction(1, _CLOCK_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = times[recipe.num_hidden :]
    origin = min(shown[0], Fraction(0)) if recipe.has_audio else shown[0]
    numbers = range(recipe.num_hidden, len(times))
    return MadeVideo(path, tuple(time_s - origin for time_s in shown), tuple(numbers))


def draw_frame_number(number: int, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Encode a number as blocks that fill the picture.

    Args:
        number: From 0 to `MOST_FRAMES` - 1.
        height: Height, at least 4 pixels; `width` at least 6.
        width: Width.

    Returns:
        uint8, axes (h, w).
    """
    bits = number << _NUM_CHECK_BITS | _check(number)
    values = [_LIGHT if bits >> bit & 1 else _DARK for bit in range(_NUM_BITS)]
    grid = np.array(values, np.uint8).reshape(_ROWS, _COLUMNS)
    rows = np.arange(height) * _ROWS // height
    columns = np.arange(width) * _COLUMNS // width
    return grid[rows[:, None], columns[None, :]]


def read_frame_number(frame: npt.NDArray[np.uint8]) -> int:
    """Read the number that a frame shows.

    Args:
        frame: uint8, axes (h, w, c) or (h, w), upright, of any size.

    Raises:
        ValueError: If it shows no number: another, rotated, mirrored or corrupt picture.
    """
    grey = frame.astype(np.float64)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    bits = sum(1 << bit for bit, mean in enumerate(_cell_means(grey)) if mean > 127.5)
    number = bits >> _NUM_CHECK_BITS
    if bits & ((1 << _NUM_CHECK_BITS) - 1) != _check(number):
        msg = f"the picture shows no number (bits {bits:0{_NUM_BITS}b})"
        raise ValueError(msg)
    return number


def _cell_means(grey: npt.NDArray[np.float64]) -> Iterator[float]:
    # Borders of blocks are blurred.
    height, width = grey.shape[0] / _ROWS, grey.shape[1] / _COLUMNS
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            yield float(grey[_inner(row, height), _inner(column, width)].mean())


def _inner(index: int, side: float) -> slice:
    first = round((index + 0.25) * side)
    return slice(first, max(round((index + 0.75) * side), first + 1))


def _check(number: int) -> int:
    mixed = number * _CHECK_FACTOR + _CHECK_OFFSET
    return (mixed ^ mixed >> _NUM_CHECK_BITS) & ((1 << _NUM_CHECK_BITS) - 1)


def _plan_times(recipe: VideoRecipe) -> list[Fraction]:
    """Return the time of every frame; hidden frames are before `start_s`."""
    total = recipe.num_hidden + recipe.num_frames
    gaps = [Fraction(1, recipe.fps)] * total
    if recipe.is_variable:
        rng = np.random.default_rng(recipe.seed)
        usual_ms = 1000 // recipe.fps
        gaps = [Fraction(int(ms), 1000) for ms in rng.integers(1, 2 * usual_ms, total)]
    times = [Fraction(0)]
    for gap in gaps[:-1]:
        times.append(times[-1] + gap)
    first = times[recipe.num_hidden]
    return [time_s - first + recipe.start_s for time_s in times]


def _add_stream(container: "OutputContainer", recipe: VideoRecipe) -> "VideoStream":
    from av.codec.context import Flags
    from av.video.stream import VideoStream

    stream = container.add_stream(recipe.codec, rate=recipe.fps, options=_encoder_options(recipe))
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = _stored_sides(recipe)
    stream.pix_fmt = _pixel_format(recipe)
    context = stream.codec_context
    # Some containers and encoders support constant frame rates only.
    ticks = 1000 if recipe.is_variable else recipe.fps
    context.time_base = Fraction(1, ticks)
    context.thread_count = 1
    if not recipe.has_open_gop:
        context.flags |= Flags.closed_gop
    context.color_range = 2 if recipe.has_full_range else 0
    context.colorspace = {"bt709": 1, "bt601": 6, "": 2}[recipe.matrix]
    context.max_b_frames = recipe.num_b_frames
    context.gop_size = recipe.gop_frames
    if recipe.rotation or recipe.is_mirrored:
        stream.set_display_matrix(_display_matrix(recipe))
    return stream


def _display_matrix(recipe: VideoRecipe) -> list[int]:
    """Source: libavutil/display.h; a point is displayed at (a x + c y, b x + d y)."""
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[
        recipe.rotation
    ]
    if recipe.is_mirrored:
        a, c = -a, -c
    one = 1 << 16
    return [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]


def _stored_sides(recipe: VideoRecipe) -> tuple[int, int]:
    width, height = recipe.width, recipe.height
    return (height, width) if recipe.rotation in (90, 270) else (width, height)


def _pixel_format(recipe: VideoRecipe) -> str:
    if recipe.width % 2 or recipe.height % 2:
        # Odd sides need full chroma resolution.
        return "yuv444p10le" if recipe.has_ten_bits else "yuv444p"
    return "yuv420p10le" if recipe.has_ten_bits else "yuv420p"


def _encoder_options(recipe: VideoRecipe) -> dict[str, str]:
    gop, num_b = recipe.gop_frames, recipe.num_b_frames
    is_open = int(recipe.has_open_gop)
    x26x = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={num_b}:open-gop={is_open}"
    known: dict[str, dict[str, str]] = {
        "libx264": {"preset": "veryfast", "crf": "20", "x264-params": x26x},
        "libx265": {
            "preset": "ultrafast",
            "crf": "20",
            "x265-params": f"{x26x}:b-adapt=0:log-level=none:pools=none:frame-threads=1",
        },
        # Includes hidden reference pictures, which share a packet with a displayed one.
        "libvpx-vp9": {"crf": "20", "b": "0", "cpu-used": "6", **_VPX},
        "libvpx": {"crf": "10", "b": "2M", "cpu-used": "6", **_VPX},
        "libsvtav1": {
            "preset": "12",
            "crf": "25",
            "svtav1-params": f"irefresh-type={2 - is_open}:scd=0:lp=1",
        },
        "mpeg4": {"b": "2M", "sc_threshold": "1000000000"},
    }
    return {**known.get(recipe.codec, {}), **dict(recipe.options)}


def _make_frame(number: int, recipe: VideoRecipe) -> "VideoFrame":
    from av.video.frame import VideoFrame

    rgb = np.empty((recipe.height, recipe.width, 3), np.uint8)
    if recipe.colour is None:
        rgb[:] = draw_frame_number(number, height=recipe.height, width=recipe.width)[..., None]
        if recipe.noise:
            _add_texture(rgb, number, recipe)
    else:
        rgb[:] = recipe.colour
    frame = VideoFrame.from_ndarray(_store(rgb, recipe), "rgb24")
    matrix = {"bt709": "itu709", "bt601": "smpte170m", "": "smpte170m"}[recipe.matrix]
    return frame.reformat(
        format=_pixel_format(recipe),
        dst_colorspace=matrix,
        dst_color_range="JPEG" if recipe.has_full_range else "MPEG",
        threads=1,
    )


def _store(rgb: npt.NDArray[np.uint8], recipe: VideoRecipe) -> npt.NDArray[np.uint8]:
    """Undo the rotation and mirroring of players."""
    unmirrored = rgb[:, ::-1] if recipe.is_mirrored else rgb
    return np.ascontiguousarray(np.rot90(unmirrored, recipe.rotation // 90))


def _add_texture(rgb: npt.NDArray[np.uint8], number: int, recipe: VideoRecipe) -> None:
    """Add moving textures of several scales, and grain."""
    height, width = rgb.shape[:2]
    moved = rgb.astype(np.int16)
    for index, layer in enumerate(_make_layers(height, width, recipe.noise, recipe.seed)):
        # Grain changes completely per frame, the other layers move slowly.
        steps = (number * 7919, number * 104729) if not index else (0, number * index)
        moved += np.roll(layer, (steps[0] % height, steps[1] % width), axis=(0, 1))
    rgb[:] = np.clip(moved, 0, 255)


@lru_cache(maxsize=1)
def _make_layers(
    height: int, width: int, noise: int, seed: int
) -> tuple[npt.NDArray[np.int16], ...]:
    rng = np.random.default_rng([seed, 1])
    layers = [rng.standard_normal((height, width, 1)) * 0.3]
    for scale in (32, 8, 2):
        tile = rng.standard_normal((height // scale + 1, width // scale + 1, 3)) * 0.5
        layer = np.repeat(np.repeat(tile, scale, axis=0), scale, axis=1)
        layers.append(layer[:height, :width])
    return tuple((layer * noise).astype(np.int16) for layer in layers)


def _write_tone(container: "OutputContainer", seconds: float) -> None:
    from av.audio.frame import AudioFrame

    codec = _AUDIO_CODECS.get(container.format.name, "libopus")
    stream: Any = container.add_stream(codec, rate=_AUDIO_RATE)
    size = 960
    for start in range(0, round(seconds * _AUDIO_RATE), size):
        angle = np.arange(start, start + size) * (2 * np.pi * 440 / _AUDIO_RATE)
        samples = (0.2 * np.sin(angle)).astype(np.float32)[None]
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _AUDIO_RATE, start
        frame.time_base = Fraction(1, _AUDIO_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
