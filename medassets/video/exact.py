"""Decoding without a plan: every frame is decoded once to learn its time, and again to be kept."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from medassets.video.learning import DecodedNote, learn_timeline
from medassets.video.opening import DamagedPacketError, VideoReader
from medassets.video.requests import Progress
from medassets.video.timeline import FIRST_TICK, LAST_TICK, Timeline

# A group of pictures is hardly longer; else decoding begins with the file.
_BACK_S = 20


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
    notes: list[DecodedNote | None] = []
    promised: list[int] = []

    def look(packet: Packet) -> None:
        on_progress()
        if packet.pts is not None and not packet.is_discard:
            promised.append(packet.pts)

    last = LAST_TICK if stop_tick is None else stop_tick
    latest, is_end = FIRST_TICK, True
    for frame in iter_frames(reader, anchor, on_packet=look):
        notes.append(None if frame is None else _note(frame))
        latest = latest if frame is None else max(latest, _least_time(frame))
        if latest >= last:
            is_end = False
            break
    if not reader.can_count_packets:
        promised = []
    if not is_end:
        # Pictures that are still in the decoder are no loss.
        promised = [pts for pts in promised if pts < latest]
    timeline, ordinals = learn_timeline(notes, promised, is_end=is_end)
    return LearnedStretch(anchor, timeline, ordinals)


def _least_time(frame: VideoFrame) -> int:
    """Return a time that later frames do not come before, whichever of its times is right."""
    times = (time for time in (frame.pts, frame.dts) if time is not None)
    return min(times, default=FIRST_TICK)


def _note(frame: VideoFrame) -> DecodedNote:
    return DecodedNote(
        pts=frame.pts,
        dts=frame.dts,
        duration=frame.duration or 0,
        is_key=frame.key_frame,
        is_b=frame.pict_type == PictureType.B,
        is_corrupt=frame.is_corrupt,
        is_interlaced=frame.interlaced_frame,
    )


def iter_frames(
    reader: VideoReader, anchor: int | None, *, on_packet: Callable[[Packet], None]
) -> Iterator[VideoFrame | None]:
    """Decode everything from an anchor on; yield None where a packet cannot be decoded.

    Args:
        reader: The open video.
        anchor: Where to begin: a tick to seek to, None for the first packet of the file.
        on_packet: Called with every packet.
    """
    is_broken = False
    try:
        for packet in reader.iter_packets_at(anchor):
            on_packet(packet)
            if not reader.follows(packet):
                reader.drain()
                yield None
                is_broken = True
                if not reader.continuity.recovers:
                    return
            if is_broken and not packet.is_keyframe:
                continue
            is_broken = False
            try:
                frames = reader.decode(packet)
            except DamagedPacketError:
                # Among those still in the decoder may be one that lost frames are shown before.
                reader.drain()
                yield None
                is_broken = True
            else:
                yield from frames
    except FFmpegError:
        reader.drain()
        yield None
    else:
        frames = reader.drain()
        yield from frames if reader.ends_well else [None]


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
    if not index_of:
        return
    every = iter_frames(reader, learned.anchor, on_packet=lambda _: on_progress())
    for ordinal, frame in enumerate(frame for frame in every if frame is not None):
        index = index_of.pop(ordinal, None)
        if index is not None:
            yield index, None if frame.is_corrupt else frame
        if not index_of:
            return
    for index in sorted(index_of.values()):
        yield index, None
