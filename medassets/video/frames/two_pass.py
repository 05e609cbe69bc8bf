"""Decode in two passes: the first learns the display time of every frame, the second keeps frames."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from medassets.errors import DamagedPacketError
from medassets.video.files.reader import VideoReader
from medassets.video.frames.decoded_timeline import (
    MOST_REORDERED,
    DecodedNote,
    learn_timeline,
    place_in_order,
)
from medassets.video.requests import Progress
from medassets.video.timeline import FIRST_TICK, LAST_TICK, Timeline

# Groups of pictures are rarely longer; if one is, decoding begins at the start of the file.
_BACK_S = 20
_RESTART = (
    "times start anew in the file, as in joined segments that count from 0 each (encode it again, or "
    "join them with rising times), so that frames are not certain"
)


@dataclass(frozen=True)
class LearnedFrames:
    """What the decoder outputs for a part of a video.

    Attributes:
        anchor: Where decoding begins: a tick to seek to, None for the first packet of the file.
        timeline: Displayed frames.
        ordinals: Their numbers among all frames that the decoder outputs, int64, shape (n,).
    """

    anchor: int | None
    timeline: Timeline
    ordinals: npt.NDArray[np.int64] = field(repr=False)


def learn_frames(
    reader: VideoReader, first_tick: int, stop_tick: int | None, *, on_progress: Progress
) -> LearnedFrames:
    """Decode a part of a video to learn which frames it displays.

    Args:
        reader: The open video.
        first_tick: Begin, in ticks of the stream.
        stop_tick: First tick after it; None goes to the end of the video.
        on_progress: Called for every packet.
    """
    back = round(_BACK_S / reader.clock.time_base)
    for anchor in (first_tick, first_tick - back) if reader.can_seek(on_progress) else ():
        learned, entry = _learn(reader, anchor, stop_tick, on_progress)
        # Pictures displayed before the first decoded one may be corrupt.
        if entry <= first_tick and not learned.timeline.holes:
            return learned
    return _learn(reader, None, stop_tick, on_progress)[0]


def _learn(
    reader: VideoReader, anchor: int | None, stop_tick: int | None, on_progress: Progress
) -> tuple[LearnedFrames, int]:
    """Return what the decoder outputs, and the display time of its first key frame."""
    notes: list[DecodedNote | None] = []
    promised: list[int] = []

    def look(packet: Packet) -> None:
        on_progress()
        if packet.pts is not None and reader.shows(packet):
            promised.append(packet.pts)

    last = LAST_TICK if stop_tick is None else stop_tick
    latest, is_end = FIRST_TICK, True
    for frame in iter_frames(reader, anchor, on_packet=look):
        notes.append(None if frame is None else _note(frame))
        if not reader.has_presentation_times:
            # A chunk without a frame shifts the others, which is detected later only.
            num_sure = min(len(notes), len(promised)) - 2 * MOST_REORDERED
            latest = promised[num_sure - 1] if num_sure > 0 else latest
        elif frame is not None and frame.pts is not None:
            latest = max(latest, frame.pts)
        if latest >= last:
            is_end = False
            break
    if not reader.has_presentation_times:
        notes = place_in_order(notes, promised, is_end=is_end)
    if not reader.can_count_packets or reader.reports_loss:
        promised = []
    if not is_end:
        # Pictures that remain in the decoder are not missing.
        promised = [pts for pts in promised if pts < latest]
    timeline, ordinals = learn_timeline(notes, promised, is_end=is_end)
    if reader.continuity.restarts:
        timeline = replace(timeline, cause=_RESTART)
    keys = (note.pts for note in notes if note is not None and note.is_key)
    entry = next((pts for pts in keys if pts is not None), LAST_TICK)
    return LearnedFrames(anchor, timeline, ordinals), entry


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
        anchor: Where to begin: a tick to seek to, None for the first packet of the file. From a
            tick nothing is decoded before the first picture that depends on no other.
        on_packet: Called with every packet.
    """
    must_enter = anchor is not None
    try:
        for packet, is_whole in _iter_judged(reader, anchor):
            on_packet(packet)
            if must_enter and not reader.read_picture(packet).is_entry:
                continue
            try:
                if is_whole:
                    yield from reader.decode(packet)
                    must_enter = False
                    continue
            except DamagedPacketError:
                pass
            # A frame that remains in the decoder may be displayed after missing ones.
            reader.drain()
            yield None
            must_enter = True
            if not is_whole and not reader.continuity.recovers:
                return
    except FFmpegError:
        reader.drain()
        yield None
    else:
        yield from reader.drain()


def _iter_judged(reader: VideoReader, anchor: int | None) -> Iterator[tuple[Packet, bool]]:
    """Yield packets, and whether each is complete: if the next does not follow it, it may be cut."""
    last: Packet | None = None
    try:
        for packet in reader.iter_packets_at(anchor):
            follows = reader.follows(packet)
            if last is not None:
                yield last, follows
            last = packet
    except FFmpegError:
        if last is not None:
            yield last, False
        raise
    if last is not None:
        yield last, reader.ends_well


def decode_learned(
    reader: VideoReader, learned: LearnedFrames, wanted: Collection[int], *, on_progress: Progress
) -> Iterator[tuple[int, VideoFrame | None]]:
    """Decode again and yield the wanted frames.

    Args:
        reader: The open video.
        learned: Result of the first pass.
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
