"""Check that packets of a stream follow one another in the file, without missing bytes in between.

Demuxers skip damaged bytes silently and continue at the next position that they can parse: frames
are missing then, and in AVI, which counts frames, all later times are wrong.
"""

import os
from collections import deque
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from medassets.video.files.elements import ElementFile
from medassets.video.files.picture_headers import starts_anew

Cells = npt.NDArray[np.uint8]
"""Packets of a transport stream from the sync byte on, axes (cell, byte)."""

_SYNC, _ADAPTATION, _PAYLOAD, _STUFFING = 0x47, 0x20, 0x10, 0xFF
# Bytes of the optional fields of a cell that precede stuffing, by their flag.
_FIELD_BYTES = {0x10: 6, 0x08: 6, 0x04: 1}
_OTHER_FIELDS = 0x03
# Their decoder reports no error for a picture whose end is missing.
_SILENT_CODECS = frozenset({"hevc"})
_MOST_PICTURE_BYTES = 1 << 25
# A picture is displayed after at most 16 that are decoded after it.
_MOST_REORDERED = 17
_JITTER_S = Fraction(1, 1000)
# Bytes of a cell, and how many of them precede the sync byte: plain, Blu-ray, DVB.
_CELL_LAYOUTS = ((188, 0), (192, 4), (204, 0))


class Continuity:
    """Accepts every packet: the file's index, or its demuxer, tells where packets are.

    Attributes:
        recovers: Whether times are right again after missing bytes.
        restarts: Whether times were found to start anew in the file.
    """

    recovers = True
    restarts = False

    def follows(self, packet: Packet) -> bool:
        """Whether a packet is the next of its stream; if not, the one before may be cut, too."""
        return True

    def ends(self) -> bool:
        """Whether the last packet was the last of its stream."""
        return True

    def jump(self, *, to_start: bool) -> None:
        """Forget the last packet: the reader moved to the file's first packet, or elsewhere."""

    def close(self) -> None:
        """Close the file."""


class ElementContinuity(Continuity):
    """Walks from packet to packet over the elements of other streams."""

    def __init__(self, file: ElementFile, *, recovers: bool) -> None:
        """Check a file; it is closed with the check."""
        self._file, self.recovers = file, recovers
        self._last: int | None = None
        self._next: int | None = None

    def follows(self, packet: Packet) -> bool:
        """Whether elements lead from the last packet to this one."""
        position, expected = packet.pos or 0, self._next
        if position == self._last:
            # Several frames in one block.
            return True
        self._last, self._next = position, self._file.find_next(position)
        return expected is None or self._walk(expected, position) == position

    def ends(self) -> bool:
        """Whether elements without a further packet lead to the end of the file."""
        at, end = self._next, self._file.end
        # Further lists may follow the one that states its size.
        return at is None or at >= end or self._walk(at, end) == end or self._file.is_last_end(at)

    def jump(self, *, to_start: bool) -> None:
        """Forget the last packet."""
        self._last, self._next = None, 0 if to_start else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _walk(self, at: int, stop: int) -> int:
        """Return where the next packet starts, or the elements end or cannot be parsed."""
        while at < stop:
            element = self._file.read_element(at)
            if element is None or element.is_packet:
                return at if element is None else element.start
            at = element.next
        return at


class TransportContinuity(Continuity):
    """Checks MPEG transport streams, whose demuxer marks packets around gaps in the counters.

    It marks the packet before the incomplete one, and also the last but one before the place where
    two whole segments were joined, since counters start anew there. Nothing is missing if the
    picture before is whole, no earlier one is missing on screen, and a key frame is displayed, or
    is decoded, one frame later. Source: ISO/IEC 13818-1, 2.4.3; RFC 8216, 3.2.
    """

    def __init__(self, path: Path, codec: str) -> None:
        """Open a transport stream.

        Args:
            path: The file.
            codec: Name of the codec of its picture.
        """
        self._file, self._codec = path.open("rb", buffering=0), codec
        self._seen: list[Packet] = []
        self._shown = _ShownTimes()

    def follows(self, packet: Packet) -> bool:
        """Whether no cell is missing, as far as the demuxer's marks and positions tell."""
        before, self._seen = self._seen, [*self._seen[-1:], packet]
        self.restarts |= packet.is_keyframe and self._shown.restart_with(packet)
        try:
            return self._follows(before, packet)
        finally:
            self._shown.add(packet)

    def _follows(self, before: list[Packet], packet: Packet) -> bool:
        # The position of the second of two frames in one cell is not reliable.
        if not before or (packet.pos or 0) <= (before[-1].pos or 0):
            return True
        cells = self._read_cells(before[-1], packet)
        if cells is None or len(before) < 2 or not before[0].is_corrupt:
            return cells is not None
        return packet.is_keyframe and self._is_whole(cells) and self._is_next(before[-1], packet)

    def _is_next(self, last: Packet, packet: Packet) -> bool:
        """Whether a packet starts one frame after those before, in the order of display or decoding.

        Segments may need different numbers of pictures to reorder, which shifts decoding times.
        These count only for a key frame that pictures displayed before it may follow.
        """
        longest = self._shown.longest_step(last)
        if not self._shown.is_complete(longest):
            return False
        if packet.pts is not None and 0 < packet.pts - self._shown.latest <= longest:
            return True
        is_open = packet.pts is None or not starts_anew(memoryview(packet), self._codec)
        return is_open and 0 < (packet.dts or 0) - (last.dts or 0) <= longest

    def _is_whole(self, cells: Cells) -> bool:
        """Whether no cell of a picture is missing, unless the decoder will report that."""
        return _are_counted(cells) and (self._codec not in _SILENT_CODECS or _ends_whole(cells))

    def ends(self) -> bool:
        """Whether the last packets are not marked, and the last one ends whole."""
        if any(packet.is_corrupt for packet in self._seen):
            return False
        if not self._seen or self._seen[-1].pos is None:
            return True
        cells = self._read_rest(self._seen[-1].pos)
        return not len(cells) or self._is_whole(cells)

    def jump(self, *, to_start: bool) -> None:
        """Forget the last packets."""
        self._seen, self._shown = [], _ShownTimes()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_cells(self, last: Packet, packet: Packet) -> Cells | None:
        """Return the cells from one packet to the next, axes (cell, byte); None if not whole."""
        start = last.pos or 0
        return self._read(start, (packet.pos or 0) - start)

    def _read(self, start: int, num_bytes: int) -> Cells | None:
        content = np.frombuffer(os.pread(self._file.fileno(), num_bytes, start), np.uint8)
        for size, num_before in _CELL_LAYOUTS:
            if len(content) % size == 0 and (content[num_before::size] == _SYNC).all():
                return content.reshape(-1, size)[:, num_before:]
        return None

    def _read_rest(self, start: int) -> Cells:
        """Return the cells from a position up to the end, or to other bytes; none if unknown."""
        content = np.frombuffer(os.pread(self._file.fileno(), _MOST_PICTURE_BYTES, start), np.uint8)
        rests = [_find_cells(content, *layout) for layout in _CELL_LAYOUTS]
        return max(rests, key=len)


class _ShownTimes:
    """Display times of the last pictures, in ticks."""

    def __init__(self) -> None:
        # Those displayed next to the latest are among them, in whatever order they are decoded.
        self._times: deque[int] = deque(maxlen=3 * _MOST_REORDERED)

    def add(self, packet: Packet) -> None:
        """Take the time of the next packet."""
        if packet.pts is not None:
            self._times.append(packet.pts)

    def restart_with(self, packet: Packet) -> bool:
        """Whether a key frame is displayed before, or with, all pictures of this memory."""
        return packet.pts is not None and packet.pts <= min(self._times, default=packet.pts - 1)

    @property
    def latest(self) -> int:
        """The latest time; 0 if there is none."""
        return max(self._times, default=0)

    def longest_step(self, last: Packet) -> Fraction:
        """Return how far apart neighbours may be: a frame, half of one as with repeated fields, jitter.

        Args:
            last: Its duration is that of a frame if there are no two times.
        """
        step = min(self._steps(len(self._times)), default=last.duration or 0)
        return Fraction(3 * step, 2) + _JITTER_S / (last.time_base or 1)

    def is_complete(self, longest: Fraction) -> bool:
        """Whether the pictures displayed last are at most so far apart."""
        return all(step <= longest for step in self._steps(_MOST_REORDERED))

    def _steps(self, count: int) -> list[int]:
        times = sorted(set(self._times))[-count:]
        return [after - before for before, after in pairwise(times)]


def _find_cells(content: npt.NDArray[np.uint8], size: int, num_before: int) -> Cells:
    """Return the cells at the beginning of some bytes."""
    cells = content[: len(content) // size * size].reshape(-1, size)[:, num_before:]
    is_other = cells[:, 0] != _SYNC
    return cells[: int(is_other.argmax()) if is_other.any() else len(cells)]


def _find_own(cells: Cells) -> npt.NDArray[np.intp]:
    """Return which cells belong to the first cell's stream and have a payload."""
    is_own = ((cells[:, 1:3] ^ cells[0, 1:3]) & (0x1F, 0xFF) == 0).all(axis=1)
    return np.flatnonzero(is_own & ((cells[:, 3] & _PAYLOAD) > 0))


def _find_last_own(cells: Cells) -> int:
    return int(_find_own(cells)[-1])


def _are_counted(cells: Cells) -> bool:
    """Whether the counters of the first cell's stream rise by one."""
    counters = cells[_find_own(cells), 3] & 0xF
    return bool(((np.diff(counters) & 0xF) == 1).all())


def _ends_whole(cells: Cells) -> bool:
    """Whether the last cell of the first cell's stream is filled up, as the last of a picture is.

    The payload of a picture's other cells takes all of their bytes. About one picture in 180 fills
    its last cell by chance: it does not end whole for sure.
    """
    last = cells[_find_last_own(cells)]
    if not last[3] & _ADAPTATION:
        return False
    length, flags = int(last[4]), int(last[5])
    if not length or not flags:
        return True
    fields = 1 + sum(size for flag, size in _FIELD_BYTES.items() if flags & flag)
    stuffing = last[5 + fields : 5 + length]
    return not flags & _OTHER_FIELDS and len(stuffing) > 0 and bool((stuffing == _STUFFING).all())
