"""Check that packets of a stream follow one another in the file, without missing bytes in between.

Demuxers skip damaged bytes silently and continue at the next position that they can parse: frames
are missing then, and in AVI, which counts frames, all later times are wrong.
"""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.packet import Packet

from medassets.video.files.elements import ElementFile

Cells = npt.NDArray[np.uint8]
"""Packets of a transport stream from the sync byte on, axes (cell, byte)."""

_SYNC, _ADAPTATION, _PAYLOAD, _STUFFING = 0x47, 0x20, 0x10, 0xFF
_LONGEST_GAP_S = Fraction(1, 2)
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
    two whole segments were joined, since counters start anew there: at a key frame that starts
    when the frame before it ends; or up to half a second later, if the picture before is whole and
    the counters of a table and of the picture start with the same number. A whole segment that is missing is
    longer than that. Source: ISO/IEC 13818-1, 2.4.3; RFC 8216, 3.2.
    """

    def __init__(self, path: Path) -> None:
        """Open a transport stream."""
        self._file = path.open("rb", buffering=0)
        self._seen: list[Packet] = []
        self._latest: int | None = None

    def follows(self, packet: Packet) -> bool:
        """Whether no cell is missing, as far as the demuxer's marks and positions tell."""
        before, self._seen = self._seen, [*self._seen[-1:], packet]
        latest, self._latest = self._latest, _latest(self._latest, packet.pts)
        # The position of the second of two frames in one cell is not reliable.
        if not before or (packet.pos or 0) <= (before[-1].pos or 0):
            return True
        cells = self._read_cells(before[-1], packet)
        if cells is None or len(before) < 2 or not before[0].is_corrupt:
            return cells is not None
        if not _are_counted(cells) or not packet.is_keyframe:
            return False
        return _is_adjacent(before[-1], latest, packet) or (
            _is_near(latest, packet) and _ends_whole(cells) and self._starts_anew(cells, packet)
        )

    def ends(self) -> bool:
        """Whether the last packets are not marked."""
        return not any(packet.is_corrupt for packet in self._seen)

    def jump(self, *, to_start: bool) -> None:
        """Forget the last packets."""
        self._seen, self._latest = [], None

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

    def _starts_anew(self, cells: Cells, packet: Packet) -> bool:
        """Whether a packet begins a segment: a table before it has the same counter."""
        tables = cells[_find_last_own(cells) + 1 :]
        tables = tables[((tables[:, 1:3] & (0x1F, 0xFF)) == 0).all(axis=1)]
        sizes = (self._read(packet.pos or 0, size) for size, _ in _CELL_LAYOUTS)
        first = next((cell for cell in sizes if cell is not None), None)
        return first is not None and bool((((first[0, 3] ^ tables[:, 3]) & 0xF) == 0).any())


def _latest(latest: int | None, pts: int | None) -> int | None:
    return latest if pts is None else pts if latest is None else max(latest, pts)


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

    The payload of a picture's other cells takes all of their bytes.
    """
    last = cells[_find_last_own(cells)]
    return (
        bool(last[3] & _ADAPTATION)
        and last[4] > 0
        and bool((last[6 : 5 + last[4]] == _STUFFING).all())
    )


def _is_adjacent(last: Packet, latest: int | None, packet: Packet) -> bool:
    """Whether a packet starts when the one before ends, in the order of decoding or display.

    Segments may need different numbers of pictures to reorder, which shifts decoding times.
    """
    gaps = [(packet.dts or 0) - (last.dts or 0)]
    if latest is not None and packet.pts is not None:
        gaps.append(packet.pts - latest)
    return any(0 < 2 * gap <= 3 * (last.duration or 0) for gap in gaps)


def _is_near(latest: int | None, packet: Packet) -> bool:
    """Whether a packet is displayed soon after all that were before it."""
    if latest is None or packet.pts is None or packet.time_base is None:
        return False
    return 0 < (packet.pts - latest) * packet.time_base <= _LONGEST_GAP_S
