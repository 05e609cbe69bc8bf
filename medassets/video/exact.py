"""Decoding without a plan: every frame is decoded once to learn its time, and again to be kept."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

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


class _Notes:
    """Times of frames as they come out of the decoder."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.ordinals: list[int] = []
        self.holes: list[tuple[int, int]] = []
        self.end: int | None = None
        self._hole: int | None = None
        self._num_seen = self._last_duration = 0

    def add(self, frame: VideoFrame | None) -> int:
        """Note a frame, or None where some are missing; return the latest time."""
        latest = self.pts[-1] if self.pts else NO_TIME
        if frame is None:
            self._hole = latest + 1 if self._hole is None else self._hole
            return latest
        pts, ordinal = _time_of(frame), self._num_seen
        self._num_seen += 1
        if pts is None or pts < latest:
            return latest
        self._note_damage(frame, pts)
        if pts == latest:
            self.ordinals[-1] = ordinal
        else:
            self.pts.append(pts)
            self.ordinals.append(ordinal)
        self._last_duration = frame.duration or 0
        return pts

    def _note_damage(self, frame: VideoFrame, pts: int) -> None:
        if frame.is_corrupt:
            self._hole = pts if self._hole is None else self._hole
        elif self._hole is not None and frame.key_frame:
            self.holes.append((self._hole, pts))
            self._hole = None

    def close(self, *, is_end: bool) -> None:
        """Note that no more frames come: the video ends here, or does it go on?"""
        if self._hole is not None:
            self.holes.append((self._hole, _NEVER))
        elif is_end and self.pts:
            gap = self.pts[-1] - self.pts[-2] if len(self.pts) > 1 else 1
            self.end = self.pts[-1] + (self._last_duration or gap)


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
    notes = _Notes()
    for anchor in (first_tick, first_tick - back, None):
        notes = _learn(reader, anchor, stop_tick, on_progress)
        if anchor is None or (notes.pts and notes.pts[0] <= first_tick and not notes.holes):
            break
    pts = np.array(notes.pts, np.int64)
    timeline = Timeline(pts, notes.end, tuple(notes.holes))
    return LearnedStretch(anchor, timeline, np.array(notes.ordinals, np.int64))


def _learn(
    reader: VideoReader, anchor: int | None, stop_tick: int | None, on_progress: Progress
) -> _Notes:
    notes, is_end = _Notes(), True
    for frame in iter_frames(reader, anchor, on_progress=on_progress):
        if notes.add(frame) >= (_NEVER if stop_tick is None else stop_tick):
            is_end = False
            break
    notes.close(is_end=is_end)
    return notes


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
            is_same = _time_of(frame) == learned.timeline.pts[index] and not frame.is_corrupt
            yield index, frame if is_same else None
        if not index_of:
            return
    for index in sorted(index_of.values()):
        yield index, None


def _time_of(frame: VideoFrame) -> int | None:
    """Return the presentation time; without one, that of the packet it came out with."""
    return frame.dts if frame.pts is None else frame.pts
