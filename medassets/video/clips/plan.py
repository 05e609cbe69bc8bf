"""How clips are encoded, what a written clip must contain, and what it was found to contain."""

from dataclasses import dataclass
from typing import Literal

from medassets.video.timeline import SpanRules

MUXING = {"fflags": "bitexact", "movflags": "+faststart"}
"""Without creation time and library version; playback can begin during a download."""

# mp4 stores durations in 32 bits: at 10 MHz a frame may last 7 minutes.
_FINEST_HZ = 10_000_000
_COARSE_HZ = 1_000_000


COPIED = "copied"
"""How lines are used in a clip that was copied: as its reader decides."""


@dataclass(frozen=True)
class ClipEncoding:
    """How clips are made.

    Attributes:
        mode: `reencode` encodes the frames of the segment; `copy` copies the streams from the last
            key frame at or before its begin, and hides the surplus with an edit list.
        encoder: Encoder of `reencode`.
        preset: Its preset, by the names of libx264.
        crf: Its constant rate factor; the constant quality of h264_nvenc.
        height: Height in pixels for `reencode`; 0 keeps the source's.
        fps: Frames per second for `reencode`; 0 keeps the source's timestamps.
        audio: Keep the audio.
        end_tolerance_ms: A segment that ends after its video by more than this is rejected.
    """

    mode: Literal["reencode", "copy"] = "reencode"
    encoder: Literal["libx264", "h264_nvenc"] = "libx264"
    preset: str = "ultrafast"
    crf: int = 28
    height: int = 0
    fps: float = 0.0
    audio: bool = False
    end_tolerance_ms: int = 500

    @property
    def rules(self) -> SpanRules:
        """When a segment is rejected."""
        return SpanRules(end_tolerance_ms=self.end_tolerance_ms)


@dataclass(frozen=True)
class ClipFacts:
    """One clip, as verified after it was written.

    Attributes:
        begin_ms: First millisecond of the segment in the source.
        end_ms: First millisecond after it: the earlier one of the segment's and the video's end.
        duration_ms: From the first frame to the end of the last, rounded; the source's `begin_ms`
            is at 0 of the clip.
        num_frames: Displayed frames.
        num_hidden: Frames that an edit list hides; 0 when re-encoded.
        width: As displayed, in pixels.
        height: As displayed, in pixels.
        codec: Codec of the video stream.
        has_audio: Whether the file has audio.
        num_bytes: Size of the file.
        scan: How the lines of the source's frames were used: `progressive`, one field of interlaced
            frames, `mixed`, or `copied`: the clip's own reader decides.
        crop: Pixels of the source that were cut away, as its container says: left, top, right, bottom.
            Always None of a copied clip, whose container says the same.
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
    scan: str
    crop: tuple[int, ...] | None


@dataclass(frozen=True)
class ClipPlan:
    """What a written file must contain; other fields as in `ClipFacts`.

    Attributes:
        num_packets: Video packets written, including hidden frames.
        is_copy: Whether it was copied without decoding.
    """

    begin_ms: int
    end_ms: int
    num_packets: int
    num_frames: int
    codec: str
    has_audio: bool
    is_copy: bool
    scan: str = COPIED
    crop: tuple[int, ...] | None = None


def choose_rate_hz(ticks_per_s: int) -> int:
    """Return the time scale of a clip: the source's ticks if mp4 can store them, else 1 MHz."""
    return ticks_per_s if ticks_per_s <= _FINEST_HZ else _COARSE_HZ
