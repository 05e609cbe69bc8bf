"""Whether the packets of an MPEG transport stream do follow one another.

Source: ISO/IEC 13818-1, 2.4.3; packets of 192 bytes have a time of arrival in front (Blu-ray), those
of 204 an error correction behind (DVB).
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medassets.video.files.continuity import Continuity

_CELL_BYTES = 188
_SYNC, _ERROR, _PAYLOAD, _ADAPTATION, _DISCONTINUITY = 0x47, 0x80, 0x10, 0x20, 0x80
# Size of a packet with what comes along with it, and what of that is in front.
_LAYOUTS = ((188, 0), (192, 4), (204, 0))
_NUM_TRIED = 5

Cells = npt.NDArray[np.uint8]
"""Transport packets, axes (packet, byte)."""


class TransportContinuity(Continuity):
    """Counts the transport packets between the packets of a stream: each has a number, modulo 16.

    So 16 of them that are lost together are not noticed, if nothing else is.
    """

    def __init__(self, path: Path) -> None:
        """Open a transport stream."""
        self._file = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._last: int | None = None
        self._layout: tuple[int, int] | None = None

    def jump(self, *, to_start: bool) -> None:
        """Forget where the last packet was."""
        self._last = None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def follows(self, position: int, time: int | None) -> bool:
        """Whether whole transport packets with rising numbers lead here from the last packet."""
        if self._last is None or position < self._last:
            # Of several frames in one packet the second is said to be anywhere.
            self._last = position
            return True
        if position == self._last:
            return True
        last, self._last = self._last, position
        return self._is_whole(last, position)

    def ends(self) -> bool:
        """Whether whole transport packets lead to the end of the file."""
        return self._last is None or self._is_whole(self._last, self._size)

    def _is_whole(self, start: int, stop: int) -> bool:
        layout = self._layout = self._layout or self._find_layout(start)
        if layout is None:
            return True
        size, lead = layout
        if (stop - start) % size:
            return False
        content = os.pread(self._file.fileno(), stop - start + size, start)
        num_cells = len(content) // size
        cells = np.frombuffer(content, np.uint8, num_cells * size).reshape(num_cells, size)
        return _is_chain(cells[:, lead : lead + _CELL_BYTES])

    def _find_layout(self, start: int) -> tuple[int, int] | None:
        for size, lead in _LAYOUTS:
            content = os.pread(self._file.fileno(), _NUM_TRIED * size, start)
            if content and set(content[lead::size]) == {_SYNC}:
                return size, lead
        return None


def _is_chain(cells: Cells) -> bool:
    """Whether packets are sound, and those of the first one's stream follow one another."""
    if (cells[:, 0] != _SYNC).any():
        return False
    pids = (cells[:, 1] & 0x1F).astype(np.int16) << 8 | cells[:, 2]
    own = cells[pids == pids[0]]
    if (own[:, 1] & _ERROR).any():
        return False
    has_payload = (own[:, 3] & _PAYLOAD) > 0
    is_excused = ((own[:, 3] & _ADAPTATION) > 0) & (own[:, 4] > 0)
    is_excused &= (own[:, 5] & _DISCONTINUITY) > 0
    steps = np.diff(own[:, 3] & 0xF) & 0xF
    # A packet may be sent twice; only those that carry something are counted.
    is_twice = (steps == 0) & (own[1:, 6:] == own[:-1, 6:]).all(axis=1)
    is_right = np.where(has_payload[1:], (steps == 1) | is_twice, steps == 0)
    return bool((is_right | is_excused[1:]).all())
