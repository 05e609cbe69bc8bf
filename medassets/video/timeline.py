"""Select displayed and kept frames by timestamps: exact arithmetic, without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError

FIRST_TICK, LAST_TICK = -(2**63), 2**63 - 1
"""Before and after every timestamp of a stream."""


@dataclass(frozen=True)
class Segment:
    """A half-open range [begin, end) of a video.

    Times count from the container's start, or from the first picture if that is less than a frame
    later; see `make_clock`.

    Attributes:
        begin_ms: First millisecond.
        end_ms: First millisecond after it; None is the end of the video.
    """

    begin_ms: int
    end_ms: int | None


@dataclass(frozen=True)
class Clock:
    """Converts between ticks of a stream and milliseconds since the video's start.

    Attributes:
        time_base: Seconds of one tick.
        origin_s: The video's start, in seconds: what positions count from.
    """

    time_base: Fraction
    origin_s: Fraction

    def floor_tick(self, ms: int) -> int:
        """Return the last tick that is not after a time."""
        return floor((self.origin_s + Fraction(ms, 1000)) / self.time_base)

    def ceil_tick(self, ms: int) -> int:
        """Return the first tick that is not before a time."""
        return ceil((self.origin_s + Fraction(ms, 1000)) / self.time_base)

    def seconds(self, tick: int) -> float:
        """Return seconds since the video's start."""
        return float(tick * self.time_base - self.origin_s)

    def ceil_ms(self, tick: int) -> int:
        """Return the first whole millisecond that is not before a tick."""
        return ceil((tick * self.time_base - self.origin_s) * 1000)


@dataclass(frozen=True)
class Timeline:
    """The displayed frames of a part of a video, by presentation time.

    Attributes:
        pts: Ticks at which frames appear, int64, shape (n,), strictly rising. The first is on
            screen at the begin of the part, or is the first of the video.
        end: Tick at which the last frame ends; None if the video continues.
        holes: Half-open ranges [begin, end) in ticks whose frames are unknown.
        cause: Why they are unknown.
    """

    pts: npt.NDArray[np.int64] = field(repr=False)
    end: int | None
    holes: tuple[tuple[int, int], ...] = ()
    cause: str = "the video is damaged"


@dataclass(frozen=True)
class Span:
    """The frames displayed during a segment, as indices [first, stop) into a timeline.

    Attributes:
        first: The frame that is on screen at the begin.
        stop: First frame that appears at or after the end.
        begin_ms: Begin of the segment.
        end_ms: Its end, or the video's, rounded up, if that is earlier.
    """

    first: int
    stop: int
    begin_ms: int
    end_ms: int

    @property
    def num_frames(self) -> int:
        """Number of displayed frames."""
        return self.stop - self.first


@dataclass(frozen=True)
class SpanRules:
    """When a segment is rejected.

    Attributes:
        min_frames: Minimum number of displayed frames.
        end_tolerance_ms: How much later than its video a segment may end.
    """

    min_frames: int = 1
    end_tolerance_ms: int = 0


def plan_span(timeline: Timeline, segment: Segment, *, clock: Clock, rules: SpanRules) -> Span:
    """Find the frames whose display interval [pts, next pts) overlaps a segment.

    Args:
        timeline: Frames around the segment.
        segment: The requested segment.
        clock: Conversion of the stream's timestamps.
        rules: When to reject.

    Raises:
        SampleRejectedError: TOO_SHORT if the segment ends before it begins or has too few
            frames; END_BEYOND_DURATION if the video ends before its begin, or before its end by
            more than the tolerance; DECODE_FAILED if it overlaps a hole.
    """
    end_ms = _clip_end(timeline, segment, clock, rules)
    begin_tick, end_tick = clock.floor_tick(segment.begin_ms), clock.ceil_tick(end_ms)
    for low, high in timeline.holes:
        if low < end_tick and begin_tick < high:
            msg = f"{timeline.cause} at {clock.seconds(max(low, begin_tick)):.3f} s"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg)
    first = max(int(np.searchsorted(timeline.pts, begin_tick, side="right")) - 1, 0)
    stop = int(np.searchsorted(timeline.pts, end_tick, side="left"))
    if stop - first < max(rules.min_frames, 1):
        msg = (
            f"{max(stop - first, 0)} frames are displayed, at least {rules.min_frames} are required"
        )
        raise SampleRejectedError(Reason.TOO_SHORT, msg)
    return Span(first, stop, segment.begin_ms, end_ms)


def _clip_end(timeline: Timeline, segment: Segment, clock: Clock, rules: SpanRules) -> int:
    begin_ms, end_ms, end = segment.begin_ms, segment.end_ms, timeline.end
    if end_ms is not None and end_ms <= begin_ms:
        msg = f"the segment ends at {end_ms} ms, but begins at {begin_ms} ms"
        raise SampleRejectedError(Reason.TOO_SHORT, msg)
    if end is None:
        if end_ms is None:
            why = f": {timeline.cause}" if timeline.holes else ""
            msg = f"the end of the video cannot be determined{why}"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg)
        return end_ms
    video_end_ms = clock.ceil_ms(end)
    if clock.floor_tick(begin_ms) >= end:
        msg = f"the segment begins at {begin_ms} ms, but the video ends at {video_end_ms} ms"
        raise SampleRejectedError(Reason.END_BEYOND_DURATION, msg)
    if end_ms is None or clock.ceil_tick(end_ms) <= end:
        return video_end_ms if end_ms is None else end_ms
    if clock.ceil_tick(end_ms - rules.end_tolerance_ms) > end:
        msg = f"the segment ends at {end_ms} ms, but the video ends at {video_end_ms} ms"
        raise SampleRejectedError(Reason.END_BEYOND_DURATION, msg)
    return min(end_ms, video_end_ms)


def choose_frames(num_shown: int, *, num_frames: int, max_frames: int) -> list[int]:
    """Choose frames evenly: frame k of m is frame floor(k * n / m) of the n displayed.

    Args:
        num_shown: n, at least 1.
        num_frames: m; 0 takes all n, or `max_frames` of them if there are more.
        max_frames: Maximum number of frames if `num_frames` is 0.

    Returns:
        Indices from 0 to n - 1, rising; frames repeat if there are fewer than m.
    """
    count = num_frames or min(num_shown, max_frames)
    return [k * num_shown // count for k in range(count)]


def group_segments(segments: Sequence[Segment], *, gap_ms: int) -> list[list[int]]:
    """Group segments that overlap or nearly touch, to decode each group in one pass.

    Args:
        segments: In any order.
        gap_ms: Segments farther apart than this are in different groups.

    Returns:
        Indices of `segments`, groups and members by begin.
    """
    groups: list[list[int]] = []
    reach: float = -1
    for index in sorted(range(len(segments)), key=lambda i: (segments[i].begin_ms, i)):
        segment = segments[index]
        if not groups or segment.begin_ms > reach + gap_ms:
            groups.append([])
            reach = segment.begin_ms
        groups[-1].append(index)
        reach = max(reach, float("inf") if segment.end_ms is None else segment.end_ms)
    return groups
