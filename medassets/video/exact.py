"""Decoding without a plan: every frame is decoded once to learn its time, and again to be kept."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.frame import VideoFrame

from medassets.video.opening import VideoReader
from medassets.video.packets import NO_TIME
from medassets.video.requests import Progress
from medassets.video.timeline import Timeline

# A group of pictures is hardly longer; else decoding begins with the file.
_BACK_S = 20
_NEVER = -NO_TIME


@dataclass(frozen=True)
class LearnedStretch:
    """What the decoder gives for a stretch of a video.

    Attributes:
        anchor: Where decoding begins: a tick to seek to, None for the first packet of the file.
        timeline: Frames that are shown.
        ordinals: Their numbers among all that the decoder gives, int64, shape (n,).
    """

    anchor: int | None
    timeline: Timeline
    ordinals: npt.NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True)
class _Note:
    """One frame as it came out of the decoder."""

    pts: int | None
    dts: int | None
    duration: int
    is_key: bool
    is_corrupt: bool


class _Notes:
    """Frames as they come out of the decoder; None stands where some are missing."""

    def __init__(self) -> None:
        self._notes: list[_Note | None] = []

    def add(self, frame: VideoFrame | None) -> int:
        """Note a frame, or None; return a time that later frames do not come before."""
        if frame is None:
            self._notes.append(None)
            return NO_TIME
        note = _Note(frame.pts, frame.dts, frame.duration or 0, frame.key_frame, frame.is_corrupt)
        self._notes.append(note)
        return min((time for time in (note.pts, note.dts) if time is not None), default=NO_TIME)

    def finish(self, anchor: int | None, *, is_end: bool) -> LearnedStretch:
        """Return what was learned; `is_end` says that nothing comes after it."""
        frames = [note for note in self._notes if note is not None]
        times = iter(_time_frames(frames))
        shown, holes = _Shown(), []
        hole: int | None = None
        for note in self._notes:
            pts = None if note is None else next(times)
            if note is None or pts is None:
                hole = shown.latest + 1 if hole is None else hole
                continue
            if note.is_corrupt:
                hole = pts if hole is None else hole
            elif hole is not None and note.is_key:
                holes.append((hole, pts))
                hole = None
            shown.add(pts)
        if hole is not None:
            holes.append((hole, _NEVER))
        end = shown.end(frames[-1].duration) if is_end and hole is None and shown.pts else None
        timeline = Timeline(np.array(shown.pts, np.int64), end, tuple(holes))
        return LearnedStretch(anchor, timeline, np.array(shown.ordinals, np.int64))


class _Shown:
    """Frames that a player shows: one that comes too late is not, nor is one for no time."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.ordinals: list[int] = []
        self._num_seen = 0

    @property
    def latest(self) -> int:
        return self.pts[-1] if self.pts else NO_TIME

    def add(self, pts: int) -> None:
        if self.pts and pts == self.pts[-1]:
            self.ordinals[-1] = self._num_seen
        elif pts > self.latest:
            self.pts.append(pts)
            self.ordinals.append(self._num_seen)
        self._num_seen += 1

    def end(self, duration: int) -> int:
        gap = self.pts[-1] - self.pts[-2] if len(self.pts) > 1 else 1
        return self.pts[-1] + (duration or gap)


def _time_frames(frames: list[_Note]) -> list[int | None]:
    """Return when frames appear: by their presentation times, unless those are not in order.

    A container that has no presentation times makes some up; then the times of the packets that
    frames come out with are better, and one later for each that comes after all packets.
    """
    known = [frame.pts for frame in frames if frame.pts is not None]
    if len(known) == len(frames) and all(a < b for a, b in pairwise(known)):
        return list(known)
    if not all(
        a.dts < b.dts for a, b in pairwise(frames) if a.dts is not None and b.dts is not None
    ):
        return [frame.pts for frame in frames]
    times: list[int | None] = []
    for frame in frames:
        before = times[-1] if times else None
        after = None if before is None else before + max(frame.duration, 1)
        times.append(after if frame.dts is None else frame.dts)
    return times


def learn_stretch(
    reader: VideoReader, first_tick: int, stop_tick: int | None, *, on_progress: Progress
) -> LearnedStretch:
    """Decode a stretch to learn which frames it shows.

    Args:
        reader: The open video.
        first_tick: Begin, in ticks of the stream.
        stop_tick: First tick after it; None goes to the end of the video.
        on_progress: Called for every packet.
    """
    back = round(_BACK_S / reader.clock.time_base)
    for anchor in (first_tick, first_tick - back) if reader.can_seek else ():
        learned = _learn(reader, anchor, stop_tick, on_progress)
        timeline = learned.timeline
        if len(timeline.pts) and timeline.pts[0] <= first_tick and not timeline.holes:
            return learned
    return _learn(reader, None, stop_tick, on_progress)


def _learn(
    reader: VideoReader, anchor: int | None, stop_tick: int | None, on_progress: Progress
) -> LearnedStretch:
    notes, is_end = _Notes(), True
    for frame in iter_frames(reader, anchor, on_progress=on_progress):
        if notes.add(frame) >= (_NEVER if stop_tick is None else stop_tick):
            is_end = False
            break
    return notes.finish(anchor, is_end=is_end)


def iter_frames(
    reader: VideoReader, anchor: int | None, *, on_progress: Progress
) -> Iterator[VideoFrame | None]:
    """Decode everything from an anchor on; yield None where frames are missing."""
    reader.context.skip_frame = "DEFAULT"
    is_broken = False
    try:
        for packet in reader.iter_packets_at(anchor):
            on_progress()
            if is_broken and not packet.is_keyframe:
                continue
            is_broken = False
            try:
                frames = reader.decode(packet)
            except FFmpegError:
                yield from reader.drain()
                yield None
                is_broken = True
            else:
                yield from frames
    except FFmpegError:
        yield from reader.drain()
        yield None
    else:
        yield from reader.drain()


def decode_learned(
    reader: VideoReader, learned: LearnedStretch, wanted: Collection[int], *, on_progress: Progress
) -> Iterator[tuple[int, VideoFrame | None]]:
    """Decode a stretch again and yield the wanted frames.

    Args:
        reader: The open video.
        learned: What the decoder gave the first time.
        wanted: Indices into its timeline.
        on_progress: Called for every packet.

    Yields:
        Index and frame; None if it cannot be decoded.
    """
    index_of = {int(learned.ordinals[index]): index for index in wanted}
    frames = (f for f in iter_frames(reader, learned.anchor, on_progress=on_progress) if f)
    for ordinal, frame in enumerate(frames):
        index = index_of.pop(ordinal, None)
        if index is not None:
            yield index, None if frame.is_corrupt else frame
        if not index_of:
            return
    for index in sorted(index_of.values()):
        yield index, None
