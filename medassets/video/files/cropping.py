"""Read which pixels the container of a video cuts away: `clap` of mp4, PixelCrop of Matroska.

Players, and the ffmpeg command, apply both; the decoders of FFmpeg do not.
"""

import os
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Bytes of a sample entry of video before its width and its boxes, and of `tkhd` before the number
# of the track.
_SIDES, _ENTRY_BYTES = 24, 78
_TRACK_ID = {0: 12, 1: 20}
_TO_ENTRIES = (b"mdia", b"minf", b"stbl", b"stsd")
_STSD_BYTES = 8

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TRACKS, _TRACK, _TRACK_TYPE, _VIDEO = 0x1654AE6B, 0xAE, 0x83, 0xE0
_CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
_SIZES = {0xB0: "width", 0xBA: "height"}

Part = tuple[int, int, int]
"""Id of a box or element, where its content begins, and where it ends."""

PartsOf = Callable[[int, int, int], Iterator[Part]]
"""Yields the parts of a file between two positions."""


@dataclass(frozen=True)
class Crop:
    """Pixels that are cut away at each side of the stored picture."""

    left: int
    top: int
    right: int
    bottom: int

    def fits(self, width: int, height: int) -> bool:
        """Whether something remains of a picture."""
        return self.left + self.right < width and self.top + self.bottom < height

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of what remains of a picture; all of it if nothing would."""
        if not self.fits(width, height):
            return width, height
        return width - self.left - self.right, height - self.top - self.bottom


def read_crop(path: Path, container: "InputContainer", stream: "VideoStream") -> Crop | None:
    """Return what a container cuts away of a stream's pictures; None if nothing, or invalid.

    Source: ISO/IEC 14496-12, 12.1.4.1; RFC 9559, 5.1.4.1.28.
    """
    formats = container.format.name.split(",")
    with path.open("rb", buffering=0) as file:
        end = path.stat().st_size
        if "mp4" in formats:
            return _read_clap(file.fileno(), end, stream)
        if "matroska" in formats:
            return _read_pixel_crop(file.fileno(), end, container.streams.video.index(stream))
    return None


def _read_clap(fd: int, end: int, stream: "VideoStream") -> Crop | None:
    for _, *moov in _find(_iter_boxes, fd, (0, end), {_box(b"moov")}):
        for _, *trak in _find(_iter_boxes, fd, moov, {_box(b"trak")}):
            if stream.id == _read_track_id(fd, trak):
                return _read_aperture(fd, trak)
    return None


def _read_track_id(fd: int, trak: Collection[int]) -> int | None:
    for _, begin, _ in _find(_iter_boxes, fd, trak, {_box(b"tkhd")}):
        version = os.pread(fd, 1, begin)[:1]
        at = _TRACK_ID.get(version[0] if version else 0)
        return None if at is None else int.from_bytes(os.pread(fd, 4, begin + at))
    return None


def _read_aperture(fd: int, trak: Collection[int]) -> Crop | None:
    parts: list[Collection[int]] = [trak]
    for name in _TO_ENTRIES:
        parts = [part[1:] for one in parts for part in _find(_iter_boxes, fd, one, {_box(name)})]
    for begin, stop in parts:
        for _, first, last in _iter_boxes(fd, begin + _STSD_BYTES, stop):
            for _, at, _ in _find(_iter_boxes, fd, (first + _ENTRY_BYTES, last), {_box(b"clap")}):
                sides = struct.unpack(">HH", os.pread(fd, 4, first + _SIDES))
                return _parse_clap(os.pread(fd, 32, at), *sides)
    return None


def _parse_clap(content: bytes, width: int, height: int) -> Crop | None:
    """Return the crop of a box of eight numbers; the offset is that of the aperture's centre."""
    if len(content) != 32:
        return None
    numbers = struct.unpack(">IIIIiIiI", content)
    if not all(numbers[1::2]):
        return None
    wide, high, right, down = (Fraction(*pair) for pair in zip(*[iter(numbers)] * 2, strict=True))
    horizontal, vertical = _cut(width, wide, right), _cut(height, high, down)
    if horizontal is None or vertical is None or not any(horizontal + vertical):
        return None
    return Crop(horizontal[0], vertical[0], horizontal[1], vertical[1])


def _cut(side: int, aperture: Fraction, offset: Fraction) -> tuple[int, int] | None:
    """Return how many pixels are cut before and after the aperture; None if it is not inside."""
    centre, half = Fraction(side - 1, 2) + offset, (aperture - 1) / 2
    first, last = floor(centre - half), floor(centre + half)
    return (first, side - 1 - last) if 0 <= first <= last < side else None


def _read_pixel_crop(fd: int, end: int, number: int) -> Crop | None:
    for _, *segment in _find(_iter_elements, fd, (0, end), {_SEGMENT}):
        for _, *tracks in _find(_iter_elements, fd, segment, {_TRACKS}):
            found = [
                _read_values(fd, track) for _, *track in _find(_iter_elements, fd, tracks, {_TRACK})
            ]
            videos = [values for values in found if values.get("type") == 1]
            if number < len(videos):
                return _make_crop(videos[number])
    return None


def _read_values(fd: int, track: Collection[int]) -> dict[str, int]:
    values: dict[str, int] = {}
    for kind, begin, stop in _find(_iter_elements, fd, track, {_TRACK_TYPE, _VIDEO}):
        if kind == _TRACK_TYPE:
            values["type"] = int.from_bytes(os.pread(fd, stop - begin, begin))
            continue
        names = {**_CROPS, **_SIZES}
        for name, at, last in _find(_iter_elements, fd, (begin, stop), names):
            values[names[name]] = int.from_bytes(os.pread(fd, min(last - at, 8), at))
    return values


def _make_crop(values: dict[str, int]) -> Crop | None:
    crop = Crop(*(values.get(name, 0) for name in _CROPS.values()))
    is_valid = crop.fits(values.get("width", 0), values.get("height", 0))
    return crop if is_valid and crop != Crop(0, 0, 0, 0) else None


def _find(
    iter_parts: PartsOf, fd: int, within: Collection[int], kinds: Collection[int]
) -> Iterator[Part]:
    """Yield the parts of some kinds."""
    begin, end = within
    return (part for part in iter_parts(fd, begin, end) if part[0] in kinds)


def _box(name: bytes) -> int:
    return int.from_bytes(name)


def _iter_boxes(fd: int, at: int, end: int) -> Iterator[Part]:
    """Yield the boxes of a range of an mp4 file.

    Source: ISO/IEC 14496-12, 4.2.
    """
    while at + 8 <= end:
        head = os.pread(fd, 16, at)
        size, start = int.from_bytes(head[:4]), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16]), at + 16
        stop = end if size == 0 else at + size
        if stop < start:
            return
        yield int.from_bytes(head[4:8]), start, min(stop, end)
        at = stop


def _iter_elements(fd: int, at: int, end: int) -> Iterator[Part]:
    """Yield the elements of a range of a Matroska file, up to the first cluster.

    Source: RFC 8794, 4 and 5.
    """
    while at < end:
        head = os.pread(fd, 12, at)
        num_id = 9 - head[0].bit_length() if head and head[0] else 0
        if not 1 <= num_id <= 4 or len(head) <= num_id or not head[num_id]:
            return
        kind, num_size = int.from_bytes(head[:num_id]), 9 - head[num_id].bit_length()
        if kind == _CLUSTER:
            return
        size = int.from_bytes(head[num_id : num_id + num_size]) & ((1 << 7 * num_size) - 1)
        start = at + num_id + num_size
        # A size of ones only is unknown: it ends with its parent.
        stop = min(start + size, end)
        yield kind, start, stop
        at = stop
