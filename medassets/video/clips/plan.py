"""How clips are encoded, what a written clip must contain, and what it was found to contain."""

from dataclasses import dataclass
from typing import Literal

MUXING = {"fflags": "bitexact", "movflags": "+faststart"}
"""No creation time, no version of the library; playing can begin before the whole is there."""

# mp4 counts in 32 bits: at 10 MHz a frame may stay for 7 minutes.
_FINEST_HZ = 10_000_000
_COARSE_HZ = 1_000_000


@dataclass(frozen=True)
class ClipEncoding:
    """How clips are made.

    Attributes:
        mode: `reencode` encodes the frames of the stretch; `copy` takes the streams as they are,
            from the last key frame at or before it, and hides what is too much by an edit list.
        encoder: Encoder of `reencode`.
        preset: Its preset, in the words of libx264.
        crf: Its constant rate factor; the constant quality of h264_nvenc.
        height: Height in pixels, 0 keeps the source's; for `reencode`.
        fps: Frames per second, 0 keeps the source's times; for `reencode`.
        audio: Keep the sound.
    """

    mode: Literal["reencode", "copy"] = "reencode"
    encoder: Literal["libx264", "h264_nvenc"] = "libx264"
    preset: str = "ultrafast"
    crf: int = 28
    height: int = 0
    fps: float = 0.0
    audio: bool = False


@dataclass(frozen=True)
class ClipFacts:
    """One clip that was written and opened again.

    Attributes:
        begin_ms: First millisecond of the stretch in the source.
        end_ms: First millisecond after it: the segment's end, or the video's where that is earlier.
        duration_ms: From the first frame to the end of the last, rounded; the source's `begin_ms`
            is at 0 of the clip.
        num_frames: Frames that the file shows.
        num_hidden: Frames in the file that an edit list hides; 0 when encoded again.
        width: As displayed, in pixels.
        height: As displayed, in pixels.
        codec: Of the picture.
        has_audio: Whether there is sound.
        num_bytes: Size of the file.
    """

    begin_ms: int
    end_ms: int
    duration_ms: int
    num_frames: int
    num_hidden: int
    width: int
    height: int
    codec: str
    has_audio: bool
    num_bytes: int


@dataclass(frozen=True)
class ClipPlan:
    """What a written file must turn out to hold; the other fields as in `ClipFacts`.

    Attributes:
        num_packets: Packets of picture that were written, those of hidden frames among them.
        is_copy: Nothing of it was decoded.
    """

    begin_ms: int
    end_ms: int
    num_packets: int
    num_frames: int
    codec: str
    has_audio: bool
    is_copy: bool


def choose_rate_hz(ticks_per_s: int) -> int:
    """Return the time scale of a clip: the source's ticks if mp4 can store them, else 1 MHz."""
    return ticks_per_s if ticks_per_s <= _FINEST_HZ else _COARSE_HZ
