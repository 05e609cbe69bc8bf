"""Request and result of decoding a segment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from medassets.arrays import FrameBatchArray
from medassets.video.facts import PixelFacts, VideoFacts
from medassets.video.timeline import SpanRules

Progress = Callable[[], None]
"""Called often during work, so that a watchdog can tell work from a hang."""


@dataclass(frozen=True)
class FrameRequest:
    """Which frames of a segment are kept, and their size.

    Attributes:
        num_frames: Frames of a clip; 0 keeps all displayed frames.
        max_frames: Maximum number of frames if `num_frames` is 0.
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        min_frames: A segment with fewer displayed frames is rejected.
        end_tolerance_ms: A segment that ends after its video by more than this is rejected.
    """

    num_frames: int
    max_frames: int
    height: int
    width: int
    min_frames: int
    end_tolerance_ms: int

    @property
    def rules(self) -> SpanRules:
        """When a segment is rejected."""
        return SpanRules(self.min_frames, self.end_tolerance_ms)


@dataclass(frozen=True)
class DecodedClip:
    """The kept frames of one segment.

    Attributes:
        frames: uint8 (t, h, w, c), c = R, G, B.
        timestamps_s: When each kept frame appears, in seconds from the video's start.
        num_segment_frames: Number of frames displayed during the segment.
        begin_ms: Begin of the segment, from the video's start.
        end_ms: Its end as used.
        facts: Facts of the video.
        pixels: How the pixels were made.
        device: What decoded it: `cpu` or `cuda:0`.
        fallback: Why the requested device did not decode it; None if it did.
    """

    frames: FrameBatchArray = field(repr=False)
    timestamps_s: tuple[float, ...] = field(repr=False)
    num_segment_frames: int
    begin_ms: int
    end_ms: int
    facts: VideoFacts
    pixels: PixelFacts
    device: str
    fallback: str | None
