"""Detect files that are shorter than their header states, as after an interrupted download.

Demuxers of Matroska and AVI treat the end of such a file as the end of the video.
"""

from pathlib import Path

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF = b"RIFF"
_MOST_HEADER_BYTES = 256


def is_truncated(path: Path) -> bool:
    """Whether a Matroska, WebM or AVI file is truncated; False if the format does not state its size."""
    return path.stat().st_size < read_stated_bytes(path)


def read_stated_bytes(path: Path) -> int:
    """Return the size that the header of a Matroska, WebM or AVI file states, 0 if it states none."""
    with path.open("rb") as file:
        return _stated_bytes(file.read(_MOST_HEADER_BYTES))


def _stated_bytes(header: bytes) -> int:
    """Return the size that a header states, 0 if it states none.

    Source: RFC 8794, sections 4 and 5 (EBML); Microsoft, AVI RIFF File Reference.
    """
    if header[:4] == _RIFF and len(header) > 8:
        return int.from_bytes(header[4:8], "little") + 8
    if header[:4] != _EBML:
        return 0
    size, start = _read_size(header, 4)
    start += size or 0
    if size is None or header[start : start + 4] != _SEGMENT:
        return 0
    size, start = _read_size(header, start + 4)
    return 0 if size is None else start + size


def _read_size(header: bytes, start: int) -> tuple[int | None, int]:
    """Read the size of an EBML element; return it (None if unknown) and the position of its data."""
    if start >= len(header) or not header[start]:
        return None, start
    num_bytes = 9 - header[start].bit_length()
    value = int.from_bytes(header[start : start + num_bytes]) & ((1 << 7 * num_bytes) - 1)
    is_unknown = value == (1 << 7 * num_bytes) - 1
    return None if is_unknown else value, start + num_bytes
