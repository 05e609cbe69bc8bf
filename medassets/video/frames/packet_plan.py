"""Read the packets of a part of a video, and plan which of them are decoded for a few frames."""

from array import array
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.packet import Packet

from medassets.video.files.picture_headers import Picture
from medassets.video.files.reader import VideoReader
from medassets.video.frames.decoded_timeline import MOST_REORDERED
from medassets.video.requests import Progress
from medassets.video.timeline import FIRST_TICK, LAST_TICK, Timeline

_PACKETS_PER_BEAT = 32


@dataclass(frozen=True)
class PacketRange:
    """Packets in decoding order, without their content.

    Attributes:
        anchor: Where reading began: a tick to seek to, None for the first packet of the file.
        pts: Presentation times in ticks, int64, shape (n,).
        keys: Whether decoding can begin here, bool, shape (n,).
        hidden: Whether its frame is not displayed, by an edit list or by itself, bool, shape (n,).
        disposable: Whether no other picture depends on it, bool, shape (n,).
        start: Index of the packet that decoding of this one begins with, int64, shape (n,).
        timeline: Displayed frames.
        doubt: Why packets do not identify the frames; empty if they do.
    """

    anchor: int | None
    pts: npt.NDArray[np.int64] = field(repr=False)
    keys: npt.NDArray[np.bool_] = field(repr=False)
    hidden: npt.NDArray[np.bool_] = field(repr=False)
    disposable: npt.NDArray[np.bool_] = field(repr=False)
    start: npt.NDArray[np.int64] = field(repr=False)
    timeline: Timeline
    doubt: str = ""


@dataclass(frozen=True)
class DecodePlan:
    """What to do with each packet of a range; all arrays have shape (n,).

    Attributes:
        needed: Whether the packet is decoded.
        restarts: Whether the decoder is drained before it.
        wanted: Whether its frame is kept.
        num_packets: Packets up to the last one that is needed.
    """

    needed: npt.NDArray[np.bool_] = field(repr=False)
    restarts: npt.NDArray[np.bool_] = field(repr=False)
    wanted: npt.NDArray[np.bool_] = field(repr=False)
    num_packets: int


class _Columns:
    """Collects packets while they are read."""

    def __init__(self) -> None:
        self.pts, self.durations = array("q"), array("q")
        self.keys, self.hidden = array("b"), array("b")
        self.disposable, self.layers = array("b"), array("b")
        self.starts_file = self.ends_file = self.is_damaged = False
        self.holes: list[tuple[int, int]] = []
        self._hole: int | None = None
        # No frame displayed before it is missing.
        self._next_due = FIRST_TICK

    def close(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges whose frames are unknown, in ticks."""
        if self._hole is None and self.is_damaged:
            self._hole = self._next_due
        return (*self.holes, *([] if self._hole is None else [(self._hole, LAST_TICK)]))

    def suspect_last(self) -> None:
        """Begin a hole with the last packet, which may be cut: the next does not follow it."""
        if self._hole is None:
            self._hole = max(self._next_due - 1, FIRST_TICK)

    def add(self, packet: Packet, picture: Picture, *, follows: bool) -> None:
        if not follows:
            self.suspect_last()
        if self._hole is not None and picture.is_entry and packet.pts is not None:
            self.holes.append((self._hole, packet.pts))
            self._hole = None
        self._next_due = max(self._next_due, FIRST_TICK if packet.dts is None else packet.dts + 1)
        self.pts.append(FIRST_TICK if packet.pts is None else packet.pts)
        self.durations.append(packet.duration or 0)
        self.keys.append(picture.is_entry)
        self.hidden.append(packet.is_discard or not picture.is_shown)
        self.disposable.append(picture.is_disposable)
        self.layers.append(picture.layer)


def read_packets(
    reader: VideoReader, first_tick: int, stop_tick: int | None, *, on_progress: Progress
) -> PacketRange:
    """Read all packets of the frames displayed within [first_tick, stop_tick).

    Args:
        reader: The open video.
        first_tick: First tick, in ticks of the stream.
        stop_tick: First tick after it; None goes to the end of the video.
        on_progress: Called every few packets.
    """
    anchor: int | None = first_tick
    columns = _read(reader, anchor, stop_tick, on_progress)
    back = max(round(1 / reader.clock.time_base), 1)
    while not _covers(columns, first_tick):
        # The key frame may be displayed later than it is decoded, after the requested time.
        anchor = (
            None if anchor is None or back > 100 / reader.clock.time_base else first_tick - back
        )
        columns, back = _read(reader, anchor, stop_tick, on_progress), back * 4
    return _make_range(anchor, columns)


def _covers(columns: _Columns, first_tick: int) -> bool:
    """Whether the frame on screen at a tick is among those that can be decoded."""
    if columns.starts_file or not columns.pts or not columns.keys[0]:
        return columns.starts_file
    # The key frame itself may not be displayed.
    shown = zip(columns.pts, columns.hidden, strict=True)
    return any(columns.pts[0] <= pts <= first_tick for pts, hidden in shown if not hidden)


def _read(
    reader: VideoReader, anchor: int | None, stop_tick: int | None, on_progress: Progress
) -> _Columns:
    columns, num_after = _Columns(), 0
    try:
        for packet in reader.iter_packets_at(anchor):
            if not columns.pts:
                columns.starts_file = reader.starts_file(packet)
            if packet.is_corrupt:
                columns.is_damaged = True
                break
            columns.add(packet, reader.read_picture(packet), follows=reader.follows(packet))
            if len(columns.pts) % _PACKETS_PER_BEAT == 1:
                on_progress()
            if stop_tick is not None and packet.pts is not None:
                num_after = num_after + 1 if packet.pts >= stop_tick else 0
                if num_after > MOST_REORDERED:
                    break
        else:
            columns.ends_file = reader.ends_well
            if not columns.ends_file:
                columns.suspect_last()
    except FFmpegError:
        columns.is_damaged = True
    columns.starts_file |= anchor is None
    return columns


def _make_range(anchor: int | None, columns: _Columns) -> PacketRange:
    pts = np.array(columns.pts, np.int64)
    keys, hidden = (np.array(column, np.bool_) for column in (columns.keys, columns.hidden))
    layers = np.array(columns.layers, np.int8)
    shown = np.sort(pts[~hidden])
    end = (
        _find_end(pts, np.array(columns.durations, np.int64), shown) if columns.ends_file else None
    )
    return PacketRange(
        anchor=anchor,
        pts=pts,
        keys=keys,
        hidden=hidden,
        disposable=np.array(columns.disposable, np.bool_) & (layers == layers.max(initial=0)),
        start=_find_starts(pts, keys),
        timeline=Timeline(shown, end, columns.close()),
        doubt=_find_doubt(pts, keys, hidden, shown, starts_file=columns.starts_file),
    )


def _find_starts(pts: npt.NDArray[np.int64], keys: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return, for every packet, the last key frame that is decoded and displayed no later.

    Frames of an open group of pictures that are displayed before the group's key frame also depend
    on the key frame before.
    """
    if not keys.any():
        return np.zeros(len(pts), np.int64)
    indices = np.flatnonzero(keys)
    num_decoded = np.searchsorted(indices, np.arange(len(pts)), side="right")
    num_shown = np.searchsorted(np.maximum.accumulate(pts[indices]), pts, side="right")
    return indices[np.maximum(np.minimum(num_decoded, num_shown) - 1, 0)]


def _find_end(
    pts: npt.NDArray[np.int64], durations: npt.NDArray[np.int64], shown: npt.NDArray[np.int64]
) -> int:
    if not len(shown):
        return FIRST_TICK
    last = int(shown[-1])
    lasts = int(durations[pts == last].max()) or (last - int(shown[-2]) if len(shown) > 1 else 1)
    return last + lasts


def _find_doubt(
    pts: npt.NDArray[np.int64],
    keys: npt.NDArray[np.bool_],
    hidden: npt.NDArray[np.bool_],
    shown: npt.NDArray[np.int64],
    *,
    starts_file: bool,
) -> str:
    if not len(pts):
        return ""
    if (pts == FIRST_TICK).any():
        return "packets without a presentation time"
    if not keys[0]:
        return "packets that do not begin with a key frame"
    if (np.diff(pts[keys]) <= 0).any():
        return "key frames that are not displayed in decoding order"
    if (np.diff(shown) == 0).any():
        return "two frames with the same timestamp"
    if starts_file and ((pts < pts[0]) & ~hidden).any():
        return "frames before the first key frame"
    return ""


def plan_decoding(packets: PacketRange, wanted_pts: Collection[int]) -> DecodePlan:
    """Decide which packets must be decoded to get a few frames.

    These are, for each wanted frame, the packets from its key frame up to itself, except
    disposable pictures.

    Args:
        packets: The packets.
        wanted_pts: Presentation times of the frames to keep.
    """
    wanted = np.isin(packets.pts, np.fromiter(wanted_pts, np.int64)) & ~packets.hidden
    needed, restarts = np.zeros_like(wanted), np.zeros_like(wanted)
    for index in np.flatnonzero(wanted).tolist():
        needed[packets.start[index] : index + 1] = True
    restarts[1:] = needed[1:] & ~needed[:-1]
    num_packets = int(np.flatnonzero(needed)[-1]) + 1 if needed.any() else 0
    needed &= wanted | ~packets.disposable
    return DecodePlan(needed, restarts, wanted, num_packets)
