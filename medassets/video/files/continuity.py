"""Whether packets that a demuxer gave one after another do follow one another in the file.

Where a part of a file is damaged, demuxers look for the next place that makes sense, and go on from
there without a word: frames are missing, or all later ones have wrong times.
"""

import os
from pathlib import Path

_MASTERS = frozenset({0x18538067, 0x1F43B675, 0xA0})
_BLOCK_IDS = frozenset({0xA3, 0xA1})
_MOST_ID_BYTES, _MOST_SIZE_BYTES = 4, 8


class Continuity:
    """Watches the packets of a stream as they are read; this one takes every packet.

    Attributes:
        recovers: Whether times are right again after a break.
    """

    recovers = True

    def follows(self, position: int, time: int | None) -> bool:
        """Whether the packet at a position of the file is the next of its stream.

        If it is not, the packet before it may be cut, too.
        """
        return True

    def ends(self) -> bool:
        """Whether the last packet was the last of its stream."""
        return True

    def jump(self, *, to_start: bool) -> None:
        """Forget where the last packet was: the reader went to the file's first, or elsewhere."""

    def close(self) -> None:
        """Let go of the file."""


class MatroskaContinuity(Continuity):
    """Walks from block to block, over those of other tracks.

    Source: RFC 9559, 5.1.3 and 10; RFC 8794, 4 and 5.
    """

    def __init__(self, path: Path) -> None:
        """Open a Matroska or WebM file."""
        # Not mapped: all pages of the file would count as memory of this process.
        self._file = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._last: int | None = None
        self._end_of_last: int | None = None
        self._track = 0

    def jump(self, *, to_start: bool) -> None:
        """Forget where the last packet was."""
        self._last = None
        # The first element of a file, EBML, tells where the second, its only segment, begins.
        self._end_of_last = sum(self._read_head(0)[1:]) if to_start else None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def follows(self, position: int, time: int | None) -> bool:
        """Whether sound elements lead from the last packet to one whose data is at a position."""
        if position == self._last:
            # Several frames in one block.
            return True
        if position <= _MOST_SIZE_BYTES:
            return False
        end_of_last, self._last = self._end_of_last, position
        self._end_of_last = self._find_end(position)
        self._track = self._read(position)
        return end_of_last is None or self._walk(end_of_last, position) == position

    def ends(self) -> bool:
        """Whether sound elements without a further packet lead to the end of the file."""
        return self._end_of_last is None or self._walk(self._end_of_last, self._size) == self._size

    def _walk(self, at: int, stop: int) -> int:
        """Return where the next block of the track has its data, or where elements make no sense.

        Other elements are stepped over, up to `stop`.
        """
        while at < stop:
            kind, start, size = self._read_head(at)
            if not kind or (kind in _BLOCK_IDS and self._read(start) in (self._track, 0)):
                return start
            # What is inside a segment, a cluster or a group comes next.
            at = start if kind in _MASTERS else start + size
        return at

    def _read_head(self, at: int) -> tuple[int, int, int]:
        """Return the id of the element at a position, where its data starts and their size."""
        head = os.pread(self._file.fileno(), _MOST_ID_BYTES + _MOST_SIZE_BYTES, at)
        num_id = 9 - head[0].bit_length() if head and head[0] else 0
        if not 1 <= num_id <= _MOST_ID_BYTES or len(head) <= num_id or not head[num_id]:
            return 0, at, 0
        num_size = 9 - head[num_id].bit_length()
        size = int.from_bytes(head[num_id : num_id + num_size]) & ((1 << 7 * num_size) - 1)
        return int.from_bytes(head[:num_id]), at + num_id + num_size, size

    def _find_end(self, position: int) -> int | None:
        """Return where the block ends whose data is at a position, None if it is no block."""
        before = os.pread(
            self._file.fileno(), _MOST_SIZE_BYTES + 1, position - _MOST_SIZE_BYTES - 1
        )
        for num_size in range(1, _MOST_SIZE_BYTES + 1):
            if (
                before[-num_size - 1] in _BLOCK_IDS
                and 9 - before[-num_size].bit_length() == num_size
            ):
                size = int.from_bytes(before[-num_size:]) & ((1 << 7 * num_size) - 1)
                return position + size
        return None

    def _read(self, at: int) -> int:
        """Return the byte at a position, 0 beyond the end."""
        return int.from_bytes(os.pread(self._file.fileno(), 1, at))
