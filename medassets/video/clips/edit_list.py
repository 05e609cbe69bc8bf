"""Set the edit list of a written mp4, which defines what of its video track is displayed."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct(">I4s")
_UINT32 = struct.Struct(">I")
# Of boxes of version 0, behind version and flags. Source: ISO/IEC 14496-12, 8.2.2, 8.3.2, 8.6.6.
_MOVIE_DURATION, _TRACK_DURATION, _NUM_EDITS = 16, 20, 4
_EDIT_BYTES = 12
_HANDLER_TYPE = 8


def show_only(path: Path, shown_ms: int) -> None:
    """Limit how long the video track of an mp4 is displayed.

    FFmpeg hides packets with negative timestamps by an edit list, but cannot hide an end, and
    rounds off a millisecond where the begin is hidden.

    Args:
        path: A closed file, written by FFmpeg with durations in milliseconds.
        shown_ms: Milliseconds to display, at most the duration of the track.

    Source: ISO/IEC 14496-12: `edts`, `elst`, and the durations of `tkhd` and `mvhd`.
    """
    with path.open("r+b") as file:
        moov, begin = _read_moov(file.fileno())
        _set_durations(moov, shown_ms)
        os.pwrite(file.fileno(), moov, begin)


def _read_moov(fd: int) -> tuple[bytearray, int]:
    """Return the content of the box `moov`, and its position."""
    begin, end = 0, os.fstat(fd).st_size
    while begin < end:
        num_bytes, kind = _HEADER.unpack(os.pread(fd, _HEADER.size, begin))
        if kind == b"moov":
            begin += _HEADER.size
            return bytearray(os.pread(fd, num_bytes - _HEADER.size, begin)), begin
        # 1 means that a length of 64 bits follows the name.
        begin += num_bytes if num_bytes != 1 else int.from_bytes(os.pread(fd, 8, begin + 8))
    msg = "FFmpeg wrote an mp4 without a moov box"
    raise AssertionError(msg)


def _set_durations(moov: bytearray, shown_ms: int) -> None:
    durations: list[int] = []
    for trak in _find(moov, (0, len(moov)), b"trak"):
        (tkhd,) = _find(moov, trak, b"tkhd")
        if _is_picture(moov, trak):
            (elst,) = _find(moov, trak, b"edts", b"elst")
            _set_last_edit(moov, elst[0], shown_ms)
            _set(moov, tkhd[0] + _TRACK_DURATION, shown_ms)
        durations.append(_get(moov, tkhd[0] + _TRACK_DURATION))
    (mvhd,) = _find(moov, (0, len(moov)), b"mvhd")
    _set(moov, mvhd[0] + _MOVIE_DURATION, max(durations))


def _set_last_edit(moov: bytearray, elst: int, shown_ms: int) -> None:
    """Set the total duration of a track's edits by changing the last one."""
    *edits, last = range(_get(moov, elst + _NUM_EDITS))
    first = elst + _NUM_EDITS + 4
    before_ms = sum(_get(moov, first + edit * _EDIT_BYTES) for edit in edits)
    _set(moov, first + last * _EDIT_BYTES, shown_ms - before_ms)


def _is_picture(moov: bytearray, trak: tuple[int, int]) -> bool:
    (hdlr,) = _find(moov, trak, b"mdia", b"hdlr")
    return moov[hdlr[0] + _HANDLER_TYPE :][:4] == b"vide"


def _find(moov: bytearray, within: tuple[int, int], *path: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the content of each box of a path begins and ends."""
    begin, end = within
    while begin < end:
        num_bytes, kind = _HEADER.unpack_from(moov, begin)
        if kind == path[0]:
            content = (begin + _HEADER.size, begin + num_bytes)
            if len(path) == 1:
                yield content
            else:
                yield from _find(moov, content, *path[1:])
        begin += num_bytes


def _get(moov: bytearray, at: int) -> int:
    return _UINT32.unpack_from(moov, at)[0]


def _set(moov: bytearray, at: int, value: int) -> None:
    _UINT32.pack_into(moov, at, value)
