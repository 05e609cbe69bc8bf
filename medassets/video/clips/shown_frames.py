"""All frames of a segment in display order, with the times at which they are on screen."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from math import lcm

from av.video.frame import VideoFrame

from medassets.errors import Reason, SampleRejectedError
from medassets.video.files.reader import VideoReader
from medassets.video.frames.packet_plan import PacketRange, plan_decoding, read_packets
from medassets.video.frames.planned import PlannedDecoding
from medassets.video.frames.two_pass import decode_learned, learn_frames
from medassets.video.requests import Progress
from medassets.video.timeline import Clock, Segment, Span, SpanRules, plan_span


@dataclass(frozen=True)
class Ruler:
    """Integer ticks since the video's start in which milliseconds and timestamps are exact.

    Attributes:
        ticks_per_s: Ticks of a second.
        step: Ticks of one unit of the stream's time base.
        origin: The video's start, in ticks.
    """

    ticks_per_s: int
    step: int
    origin: int

    def at(self, pts: int) -> int:
        """Return the ticks of a timestamp of the stream."""
        return pts * self.step - self.origin

    def at_ms(self, ms: int) -> int:
        """Return the ticks of a time in milliseconds."""
        return ms * (self.ticks_per_s // 1000)

    def ceil_ms(self, ticks: int) -> int:
        """Return the first whole millisecond that is not before a time."""
        return -(-ticks * 1000 // self.ticks_per_s)


def make_ruler(clock: Clock) -> Ruler:
    """Return the ruler of a stream."""
    ticks_per_s = lcm(clock.time_base.denominator, clock.origin_s.denominator, 1000)
    return Ruler(
        ticks_per_s=ticks_per_s,
        step=int(clock.time_base * ticks_per_s),
        origin=int(clock.origin_s * ticks_per_s),
    )


def reach(clock: Clock, segment: Segment) -> tuple[int, int | None]:
    """Return the first timestamp of a segment, and the first after it."""
    stop = None if segment.end_ms is None else clock.ceil_tick(segment.end_ms)
    return clock.floor_tick(segment.begin_ms), stop


@dataclass(frozen=True)
class Shown:
    """One frame, and the time at which it is on screen.

    Attributes:
        frame: As decoded.
        begin: First tick it is displayed at, not before the segment's begin.
        end: First tick after that, not after the segment's end.
    """

    frame: VideoFrame = field(repr=False)
    begin: int
    end: int


class ShownFrames:
    """The displayed frames of a segment, decoded on request.

    Attributes:
        span: Which frames of the timeline they are, and the segment's end as used.
    """

    def __init__(
        self,
        reader: VideoReader,
        segment: Segment,
        rules: SpanRules,
        *,
        counts: bool,
        on_progress: Progress,
    ) -> None:
        """Find the frames.

        Args:
            reader: The open video.
            segment: The segment.
            rules: When to reject it.
            counts: Take the frames from the packets where the file allows it; otherwise everything
                is decoded twice, first to learn the timestamps.
            on_progress: Called often.

        Raises:
            SampleRejectedError: TOO_SHORT, END_BEYOND_DURATION or DECODE_FAILED.
        """
        self._reader, self._on_progress = reader, on_progress
        self._ruler = make_ruler(reader.clock)
        self._packets: PacketRange | None = None
        bounds = reach(reader.clock, segment)
        if counts and reader.can_count_packets:
            packets = read_packets(reader, *bounds, on_progress=on_progress)
            self._packets = None if packets.doubt else packets
        if self._packets is None:
            self._learned = learn_frames(reader, *bounds, on_progress=on_progress)
        self._timeline = self._learned.timeline if self._packets is None else self._packets.timeline
        self.span: Span = plan_span(self._timeline, segment, clock=reader.clock, rules=rules)

    def decode(self) -> Generator[Shown, None, None]:
        """Yield the frames in order.

        Raises:
            SampleRejectedError: DECODE_FAILED at the first frame that cannot be decoded.
            UnplannedError: If the decoder outputs other frames than the packets announce.
        """
        held: dict[int, VideoFrame] = {}
        index = self.span.first
        for found, frame in self._deliver():
            if frame is None:
                raise self._give_up(found)
            held[found] = frame
            while index in held:
                yield Shown(held.pop(index), *self._show(index))
                index += 1

    def _deliver(self) -> Iterator[tuple[int, VideoFrame | None]]:
        wanted = range(self.span.first, self.span.stop)
        if self._packets is None:
            decoded = decode_learned(
                self._reader, self._learned, wanted, on_progress=self._on_progress
            )
            yield from decoded
            return
        times: list[int] = self._timeline.pts[self.span.first : self.span.stop].tolist()
        index_of = dict(zip(times, wanted, strict=True))
        plan = plan_decoding(self._packets, times)
        for pts, frame in PlannedDecoding(self._reader, self._packets, plan).run(self._on_progress):
            yield index_of[pts], frame

    def _show(self, index: int) -> tuple[int, int]:
        """Return begin and end of a frame's display within the segment."""
        ruler, pts = self._ruler, self._timeline.pts
        low, high = ruler.at_ms(self.span.begin_ms), ruler.at_ms(self.span.end_ms)
        if index + 1 < len(pts):
            end = ruler.at(int(pts[index + 1]))
        else:
            end = high if self._timeline.end is None else ruler.at(self._timeline.end)
        return max(ruler.at(int(pts[index])), low), min(end, high)

    def _give_up(self, index: int) -> SampleRejectedError:
        time_s = self._reader.clock.seconds(int(self._timeline.pts[index]))
        detail = f"the frame at {time_s:.3f} s cannot be decoded"
        return SampleRejectedError(Reason.DECODE_FAILED, detail)
