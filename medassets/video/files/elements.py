"""Elements of Matroska and AVI files: where the data starts, what follows, whether it is a packet."""

import os
from pathlib import Path
from typing import NamedTuple

from medassets.video.files.truncation import read_stated_bytes

_MATROSKA_SEGMENT, _MATROSKA_CLUSTER = 0x18538067, 0x1F43B675
_MATROSKA_PARENTS = frozenset({_MATROSKA_SEGMENT, _MATROSKA_CLUSTER, 0xA0})
_MATROSKA_BLOCKS = frozenset({0xA3, 0xA1})
_MOST_ID_BYTES, _MOST_SIZE_BYTES = 4, 8
_AVI_LISTS = frozenset({b"LIST", b"RIFF"})
_AVI_PARENTS = frozenset({b"AVI ", b"AVIX", b"movi", b"rec "})
_AVI_HEADER_BYTES = 8


class Element(NamedTuple):
    """One element of a file: where its data starts, where the next begins, whether it is a packet."""

    start: int
    next: int
    is_packet: bool


class ElementFile:
    """An open file that consists of elements."""

    def __init__(self, path: Path) -> None:
        """Open a file."""
        # Not mapped: all pages of the file would count as memory of this process.
        self._file = path.open("rb", buffering=0)
        self.end = path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read_element(self, at: int) -> Element | None:
        """Return the element at a position, None if it cannot be parsed; next of a parent is its child."""
        raise NotImplementedError

    def find_next(self, start: int) -> int | None:
        """Return where the element ends that holds the packet at a position, None if unknown."""
        raise NotImplementedError

    def is_last_end(self, at: int) -> bool:
        """Whether the last group of packets ends at a position, as its size states."""
        return False

    def _read(self, at: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, max(at, 0))


class MatroskaFile(ElementFile):
    """A Matroska or WebM file.

    Source: RFC 9559, 5.1.3 and 10; RFC 8794, 4 and 5.
    """

    _track = 0

    def __init__(self, path: Path) -> None:
        """Open a file."""
        super().__init__(path)
        # Bytes after the segment are not elements.
        stated = read_stated_bytes(path)
        self._is_live = not stated
        self.end = min(self.end, stated or self.end)

    def read_element(self, at: int) -> Element | None:
        """Return the element at a position; None if it cannot be parsed."""
        head = self._read_head(at)
        if head is None:
            return None
        kind, start, size = head
        is_packet = kind in _MATROSKA_BLOCKS and self._read_track(start) in (self._track, 0)
        return Element(start, start if kind in _MATROSKA_PARENTS else start + size, is_packet)

    def _read_head(self, at: int) -> tuple[int, int, int] | None:
        """Return the id of the element at a position, where its data starts, and its size."""
        head = self._read(at, _MOST_ID_BYTES + _MOST_SIZE_BYTES)
        num_id = 9 - head[0].bit_length() if head and head[0] else 0
        if not 1 <= num_id <= _MOST_ID_BYTES or len(head) <= num_id or not head[num_id]:
            return None
        kind, num_size = int.from_bytes(head[:num_id]), 9 - head[num_id].bit_length()
        size = _read_size(head[num_id : num_id + num_size])
        return kind, at + num_id + num_size, size

    def is_last_end(self, at: int) -> bool:
        """Whether the last cluster ends at a position, as its size states; other bytes may follow.

        Only where the segment states no size: in one that does, clusters may be missing there.
        """
        position, last = 0, -1
        while (
            self._is_live
            and position < self.end
            and (head := self._read_head(position)) is not None
        ):
            kind, start, size = head
            position = start if kind == _MATROSKA_SEGMENT else start + size
            last = position if kind == _MATROSKA_CLUSTER else last
        return at == last

    def find_next(self, start: int) -> int | None:
        """Return where the block ends whose data is at a position, None if it is not a block."""
        self._track = self._read_track(start)
        before = self._read(start - _MOST_SIZE_BYTES - 1, _MOST_SIZE_BYTES + 1)
        for num_size in range(1, _MOST_SIZE_BYTES + 1):
            kind, first = before[-num_size - 1], before[-num_size]
            if kind in _MATROSKA_BLOCKS and 9 - first.bit_length() == num_size:
                return start + _read_size(before[-num_size:])
        return None

    def _read_track(self, start: int) -> int:
        return int.from_bytes(self._read(start, 1))


def _read_size(encoded: bytes) -> int:
    return int.from_bytes(encoded) & ((1 << 7 * len(encoded)) - 1)


class AviFile(ElementFile):
    """An AVI file, of which the chunks of one stream are packets.

    Source: Microsoft, AVI RIFF File Reference; OpenDML AVI File Format Extensions 1.02.
    """

    def __init__(self, path: Path, stream: int) -> None:
        """Open a file to follow the stream with a number."""
        super().__init__(path)
        self._number = b"%02d" % stream
        # Bytes after the list that is the file are not elements.
        self.end = min(self.end, int.from_bytes(self._read(4, 4), "little") + _AVI_HEADER_BYTES)

    def read_element(self, at: int) -> Element | None:
        """Return the chunk at a position; None if it cannot be parsed."""
        head = self._read(at, _AVI_HEADER_BYTES + 4)
        name, size, kind = head[:4], int.from_bytes(head[4:8], "little"), head[8:]
        start = at + _AVI_HEADER_BYTES
        if not name.isascii() or not name.strip(b"\0"):
            return None
        if name in _AVI_LISTS and kind in _AVI_PARENTS:
            return Element(start, start + len(kind), False)
        # Chunks begin at even positions; some programs do not pad them.
        is_padded = size % 2 and not self._read(start + size, 1).isalnum()
        return Element(start, start + size + is_padded, size > 0 and name[:2] == self._number)

    def find_next(self, start: int) -> int | None:
        """Return where the chunk ends whose data is at a position, None if it is not a chunk."""
        chunk = self.read_element(start - _AVI_HEADER_BYTES)
        return None if chunk is None else chunk.next
