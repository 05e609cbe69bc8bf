"""Whether the packets of an AVI file do follow one another: its index says so, or its chunks.

Source: Microsoft, AVI RIFF File Reference; OpenDML AVI File Format Extensions 1.02.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from medassets.video.files.continuity import Continuity

_HEAD_BYTES, _LIST_HEAD_BYTES = 8, 12
_LISTS = frozenset({b"LIST", b"RIFF"})
_MOVIE, _INDEX = b"movi", b"idx1"
_OPEN_LISTS = frozenset({b"rec ", _MOVIE, b"AVIX"})


class AviContinuity(Continuity):
    """Compares times with those of the file's index: AVI counts chunks, and miscounts lost ones.

    A chunk that the index does not know must begin where the one before it ends: bytes that are
    missing or too many make the index useless for all that comes behind them.
    """

    recovers = False

    def __init__(self, path: Path, stream: int, index: Iterable[tuple[int, int]]) -> None:
        """Open an AVI file.

        Args:
            path: The file.
            stream: Number of the stream.
            index: Position and time of each chunk that is not empty, the position of its header.
        """
        self._file = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._number = b"%02d" % stream
        # Without an index of the file, libavformat makes one up from what it reads.
        known = index if self._has_index() else ()
        self._times = {position + _HEAD_BYTES: time for position, time in known}
        self._last: int | None = None
        # Digital video woven with its sound has no chunks of its own.
        self._has_chunks: bool | None = None

    def jump(self, *, to_start: bool) -> None:
        """Forget where the last packet was."""
        self._last = None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def follows(self, position: int, time: int | None) -> bool:
        """Whether the index has the packet at that time; if it has it not, whether chunks do."""
        last, self._last = self._last, position
        kind, _ = self._read_head(position - _HEAD_BYTES)
        if self._has_chunks is None:
            self._has_chunks = kind[:2] == self._number
        if position in self._times:
            is_there = not self._has_chunks or kind[:2] == self._number
            return is_there and (time is None or self._times[position] == time)
        return not self._has_chunks or last is None or self._walk(last, position) == position

    def ends(self) -> bool:
        """Whether the index has nothing after the last packet."""
        return self._last is None or self._last not in self._times or self._last == max(self._times)

    def _has_index(self) -> bool:
        """Whether an index is where the list of chunks ends."""
        at, is_behind = _LIST_HEAD_BYTES, False
        while at < self._size:
            kind, size = self._read_head(at)
            if is_behind or not kind.strip(b"\0"):
                return kind == _INDEX
            is_behind = os.pread(self._file.fileno(), 4, at + _HEAD_BYTES) == _MOVIE
            at += _HEAD_BYTES + size + size % 2
        return False

    def _walk(self, last: int, stop: int) -> int | None:
        """Return where the next chunk of the stream has its data, None if chunks make no sense."""
        at = last - _HEAD_BYTES
        while at < stop:
            kind, size = self._read_head(at)
            if not kind.strip(b"\0").isascii() or not kind.strip(b"\0"):
                return None
            start = at + _HEAD_BYTES
            if start > last and size and kind[:2] == self._number:
                return start
            at = start + size
            if kind in _LISTS and os.pread(self._file.fileno(), 4, start) in _OPEN_LISTS:
                at = start + _LIST_HEAD_BYTES - _HEAD_BYTES
            elif size % 2 and not self._read_head(at)[0][:1].isalnum():
                # Chunks begin at even positions; some programs forget it.
                at += 1
        return None

    def _read_head(self, at: int) -> tuple[bytes, int]:
        """Return name and size of the chunk at a position."""
        head = os.pread(self._file.fileno(), _HEAD_BYTES, max(at, 0))
        return head[:4], int.from_bytes(head[4:], "little")
