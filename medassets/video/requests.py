"""What is asked of a decoder, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field

from medassets.arrays import FrameBatchArray
from medassets.video.facts import VideoFacts
from medassets.video.timeline import SpanRules

Progress = Callable[[], None]
"""Called often while work goes on, so that a watchdog sees life."""


@dataclass(frozen=True)
class FrameRequest:
    """Which frames of a segment are kept, and how large.

    Attributes:
        num_frames: Frames of a clip; 0 keeps all that are shown.
        max_frames: Most frames when `num_frames` is 0.
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        min_frames: A segment that shows fewer frames is refused.
        end_tolerance_ms: A segment that ends later than its video by more than this is refused.
    """

    num_frames: int
    max_frames: int
    height: int
    width: int
    min_frames: int
    end_tolerance_ms: int

    @property
    def rules(self) -> SpanRules:
        """When a segment is refused."""
        return SpanRules(self.min_frames, self.end_tolerance_ms)


@dataclass(frozen=True)
class DecodedClip:
    """The kept frames of one segment.

    Attributes:
        frames: uint8 (t, h, w, c), c = R, G, B.
        timestamps_s: When each kept frame appears, in seconds from the container's start.
        num_segment_frames: Number of frames that the segment shows.
        begin_ms: Begin of the segment, from the container's start.
        end_ms: Its end as used.
        facts: What is known of the video.
        device: What decoded it: `cpu` or `cuda:0`.
        fallback: Why not another device that was asked for; None if there was no reason.
    """

    frames: FrameBatchArray = field(repr=False)
    timestamps_s: tuple[float, ...] = field(repr=False)
    num_segment_frames: int
    begin_ms: int
    end_ms: int
    facts: VideoFacts
    device: str
    fallback: str | None
