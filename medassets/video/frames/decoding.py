"""Decode the kept frames of segments of a video."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medassets.arrays import FrameBatchArray
from medassets.errors import Reason, SampleRejectedError, UnplannedError
from medassets.video.facts import PixelFacts, VideoFacts, join_pixels
from medassets.video.files.orientation import PictureArray
from medassets.video.frames.conversion import RESIZE, FrameConverter, describe_pixels
from medassets.video.requests import DecodedClip, FrameRequest, Progress
from medassets.video.timeline import (
    Segment,
    Span,
    Timeline,
    choose_frames,
    group_segments,
    plan_span,
)

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from medassets.video.files.reader import VideoReader

__all__ = [
    "RESIZE",
    "DecodedClip",
    "FrameRequest",
    "Outcome",
    "Segment",
    "VideoFacts",
    "decode_segments",
]

Outcome = DecodedClip | SampleRejectedError

# Reading over a gap is cheaper than decoding from the key frame before the next segment.
_GAP_MS = 10_000


def decode_segments(
    path: Path,
    segments: Sequence[Segment],
    request: FrameRequest,
    *,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Decode the kept frames of segments of one video.

    The file is opened once. Overlapping segments share one pass; unneeded packets are not decoded
    and only kept frames are converted. Segments sorted by their begin need the least memory.

    Args:
        path: The video.
        segments: Parts of it, in any order.
        request: Which frames are kept, and how large.
        device: `cpu`, with one thread, or `cuda:<index>`.
        on_progress: Called often during the work.

    Yields:
        A clip or its rejection for each of `segments`, in their order. Reasons are
        MISSING_SOURCE, NO_VIDEO_STREAM, DECODE_FAILED, TOO_SHORT and END_BEYOND_DURATION.

    Raises:
        DecoderUnavailableError: If the device cannot decode this video.
    """
    from medassets.video.files.reader import VideoReader

    try:
        reader = VideoReader(path, device=device)
    except SampleRejectedError as error:
        yield from (SampleRejectedError(error.reason, error.detail) for _ in segments)
        return
    with reader:
        with suppress(SampleRejectedError):
            # Reading them now costs one picture; later the file would be opened again.
            _ = reader.facts
        done: dict[int, Outcome] = {}
        num_given = 0
        for index, outcome in _decode_all(reader, segments, request, on_progress or _ignore):
            done[index] = outcome
            while num_given in done:
                yield done.pop(num_given)
                num_given += 1


def _ignore() -> None:
    """Ignore progress."""


def _decode_all(
    reader: "VideoReader",
    segments: Sequence[Segment],
    request: FrameRequest,
    on_progress: Progress,
) -> Iterator[tuple[int, Outcome]]:
    for group in group_segments(segments, gap_ms=_GAP_MS):
        left = {index: segments[index] for index in group}
        for index, outcome in _decode_group(reader, left, request, on_progress):
            if index in left:
                del left[index]
                yield index, outcome


def _decode_group(
    reader: "VideoReader",
    segments: Mapping[int, Segment],
    request: FrameRequest,
    on_progress: Progress,
) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcome of each segment at least once; the first counts.

    A clip must not depend on which other segments are requested. So a pass over several segments
    gives only the clips that succeed; each of the others is decoded in a pass of its own.
    """
    alone = [{index: segment} for index, segment in segments.items()]
    left = dict(segments)
    for one in (segments, *alone) if len(alone) > 1 else alone:
        part = {index: segment for index, segment in one.items() if index in left}
        for index, outcome in _decode_by_plan(reader, part, request, on_progress):
            if len(one) == 1 or not _is_damaged(outcome):
                del left[index]
                yield index, outcome
    if not left:
        return
    damaged: dict[int, Segment] = {}
    for index, outcome in _decode_exactly(reader, left, request, on_progress):
        if len(left) > 1 and _is_damaged(outcome) and reader.can_seek(on_progress):
            damaged[index] = left[index]
        else:
            yield index, outcome
    for index, segment in damaged.items():
        yield from _decode_exactly(reader, {index: segment}, request, on_progress)


def _is_damaged(outcome: Outcome) -> bool:
    return isinstance(outcome, SampleRejectedError) and outcome.reason is Reason.DECODE_FAILED


def _decode_by_plan(
    reader: "VideoReader",
    segments: Mapping[int, Segment],
    request: FrameRequest,
    on_progress: Progress,
) -> Iterator[tuple[int, Outcome]]:
    """Yield the segments that can be decoded by counting packets; the others are omitted."""
    from medassets.video.frames.packet_plan import plan_decoding, read_packets
    from medassets.video.frames.planned import PlannedDecoding

    if not segments or not reader.can_count_packets:
        return
    packets = read_packets(reader, *_reach(reader, segments.values()), on_progress=on_progress)
    if packets.doubt:
        return
    assembly = _Assembly(reader, segments, packets.timeline, request)
    times = packets.timeline.pts[assembly.wanted].tolist()
    index_of = dict(zip(times, assembly.wanted, strict=True))
    try:
        decoding = PlannedDecoding(reader, packets, plan_decoding(packets, times))
        for pts, frame in decoding.run(on_progress):
            yield from assembly.take(index_of[pts], frame)
    except UnplannedError:
        return
    yield from assembly.refused.items()


def _decode_exactly(
    reader: "VideoReader",
    segments: Mapping[int, Segment],
    request: FrameRequest,
    on_progress: Progress,
) -> Iterator[tuple[int, Outcome]]:
    from medassets.video.frames.two_pass import decode_learned, learn_frames

    learned = learn_frames(reader, *_reach(reader, segments.values()), on_progress=on_progress)
    assembly = _Assembly(reader, segments, learned.timeline, request)
    yield from assembly.refused.items()
    for index, frame in decode_learned(reader, learned, assembly.wanted, on_progress=on_progress):
        yield from assembly.take(index, frame)


def _reach(reader: "VideoReader", segments: Iterable[Segment]) -> tuple[int, int | None]:
    """Return the first tick of segments, and the first after them."""
    clock, listed = reader.clock, list(segments)
    ends = [segment.end_ms for segment in listed]
    last = None if None in ends else max(end for end in ends if end is not None)
    first = clock.floor_tick(min(segment.begin_ms for segment in listed))
    return first, None if last is None else clock.ceil_tick(last)


class _Assembly:
    """Collects the frames of several clips while they are decoded.

    Attributes:
        refused: Segments without a clip, with the reason.
        wanted: Indices of frames to decode, rising.
    """

    def __init__(
        self,
        reader: "VideoReader",
        segments: Mapping[int, Segment],
        timeline: Timeline,
        request: FrameRequest,
    ) -> None:
        self._reader, self._timeline, self._request = reader, timeline, request
        self._converter = FrameConverter(request.height, request.width, crop=reader.crop)
        self._pixels: dict[int, dict[PixelFacts, None]] = {}
        self._spans: dict[int, Span] = {}
        self._chosen: dict[int, list[int]] = {}
        self._arrays: dict[int, FrameBatchArray] = {}
        self._num_missing: dict[int, int] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}
        self.refused: dict[int, SampleRejectedError] = {}
        for index, segment in segments.items():
            try:
                self._plan(index, segment)
            except SampleRejectedError as error:
                self.refused[index] = error
        self.wanted = sorted(self._places)

    def _plan(self, index: int, segment: Segment) -> None:
        request = self._request
        span = plan_span(self._timeline, segment, clock=self._reader.clock, rules=request.rules)
        chosen = choose_frames(
            span.num_frames, num_frames=request.num_frames, max_frames=request.max_frames
        )
        self._spans[index] = span
        self._chosen[index] = [span.first + one for one in chosen]
        self._num_missing[index] = len(chosen)
        for place, frame_index in enumerate(self._chosen[index]):
            self._places.setdefault(frame_index, []).append((index, place))

    def take(self, frame_index: int, frame: "VideoFrame | None") -> Iterator[tuple[int, Outcome]]:
        """Store a frame in the clips that need it; yield clips that are complete or rejected."""
        places = [place for place in self._places.pop(frame_index) if place[0] in self._num_missing]
        if not places:
            return
        picture = self._convert(frame_index, frame)
        for index, place in places:
            if index not in self._num_missing:
                continue
            if isinstance(picture, SampleRejectedError):
                del self._num_missing[index]
                self._arrays.pop(index, None)
                yield index, SampleRejectedError(picture.reason, picture.detail)
                continue
            self._array(index)[place] = picture
            if frame is not None:
                self._pixels.setdefault(index, {})[describe_pixels(frame, self._reader.crop)] = None
            self._num_missing[index] -= 1
            if not self._num_missing[index]:
                del self._num_missing[index]
                yield index, self._finish(index)

    def _convert(
        self, frame_index: int, frame: "VideoFrame | None"
    ) -> PictureArray | SampleRejectedError:
        try:
            if frame is not None:
                return self._converter.convert(frame, self._reader.read_orientation(frame))
        except SampleRejectedError as error:
            return error
        time_s = self._reader.clock.seconds(int(self._timeline.pts[frame_index]))
        msg = f"the frame at {time_s:.3f} s cannot be decoded"
        return SampleRejectedError(Reason.DECODE_FAILED, msg)

    def _array(self, index: int) -> FrameBatchArray:
        if index not in self._arrays:
            shape = (len(self._chosen[index]), self._request.height, self._request.width, 3)
            self._arrays[index] = np.empty(shape, np.uint8)
        return self._arrays[index]

    def _finish(self, index: int) -> DecodedClip:
        span, clock = self._spans[index], self._reader.clock
        times = self._timeline.pts[self._chosen[index]].tolist()
        return DecodedClip(
            frames=self._arrays.pop(index),
            timestamps_s=tuple(clock.seconds(time) for time in times),
            num_segment_frames=span.num_frames,
            begin_ms=span.begin_ms,
            end_ms=span.end_ms,
            facts=self._reader.facts,
            pixels=join_pixels(self._pixels.pop(index)),
            device=self._reader.device,
            fallback=None,
        )
