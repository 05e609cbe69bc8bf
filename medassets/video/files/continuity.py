"""Check that packets of a stream follow one another in the file, without missing bytes in between.

Demuxers skip damaged bytes silently and continue at the next position that they can parse: frames
are missing then, and in AVI, which counts frames, all later times are wrong.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from medassets.video.files.elements import ElementFile

Cells = npt.NDArray[np.uint8]
"""Packets of a transport stream from the sync byte on, axes (cell, byte)."""

_SYNC, _PAYLOAD = 0x47, 0x10
# Bytes of a cell, and how many of them precede the sync byte: plain, Blu-ray, DVB.
_CELL_LAYOUTS = ((188, 0), (192, 4), (204, 0))


class Continuity:
    """Accepts every packet: the file's index, or its demuxer, tells where packets are.

    Attributes:
        recovers: Whether times are right again after missing bytes.
    """

    recovers = True

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
        return at is None or at >= end or self._walk(at, end) == end

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
    two whole segments were joined, since counters start anew there: at a key frame that starts
    when the frame before it ends. Source: ISO/IEC 13818-1, 2.4.3; RFC 8216, 3.2.
    """

    def __init__(self, path: Path) -> None:
        """Open a transport stream."""
        self._file = path.open("rb", buffering=0)
        self._seen: list[Packet] = []

    def follows(self, packet: Packet) -> bool:
        """Whether no cell is missing, as far as the demuxer's marks and positions tell."""
        before, self._seen = self._seen, [*self._seen[-1:], packet]
        # The position of the second of two frames in one cell is not reliable.
        if not before or (packet.pos or 0) <= (before[-1].pos or 0):
            return True
        cells = self._read_cells(before[-1], packet)
        if cells is None or len(before) < 2 or not before[0].is_corrupt:
            return cells is not None
        return _are_counted(cells) and _is_joined(before[-1], packet)

    def ends(self) -> bool:
        """Whether the last packets are not marked."""
        return not any(packet.is_corrupt for packet in self._seen)

    def jump(self, *, to_start: bool) -> None:
        """Forget the last packets."""
        self._seen = []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_cells(self, last: Packet, packet: Packet) -> Cells | None:
        """Return the cells from one packet to the next, axes (cell, byte); None if not whole."""
        start, num_bytes = last.pos or 0, (packet.pos or 0) - (last.pos or 0)
        content = np.frombuffer(os.pread(self._file.fileno(), num_bytes, start), np.uint8)
        for size, num_before in _CELL_LAYOUTS:
            if len(content) % size == 0 and (content[num_before::size] == _SYNC).all():
                return content.reshape(-1, size)[:, num_before:]
        return None


def _are_counted(cells: Cells) -> bool:
    """Whether the counters of the first cell's stream rise by one."""
    own = cells[((cells[:, 1:3] ^ cells[0, 1:3]) & (0x1F, 0xFF) == 0).all(axis=1)]
    counters = own[(own[:, 3] & _PAYLOAD) > 0, 3] & 0xF
    return bool(((np.diff(counters) & 0xF) == 1).all())


def _is_joined(last: Packet, packet: Packet) -> bool:
    """Whether a packet may begin a segment that was joined to the one before."""
    gap, duration = (packet.dts or 0) - (last.dts or 0), last.duration or 0
    return packet.is_keyframe and 0 < 2 * gap <= 3 * duration
