"""Read a picture's role from its packet where the container does not state it, or states it wrongly."""

from collections.abc import Iterator
from dataclasses import dataclass

_START_CODE = b"\x00\x00\x01"
_H264_SLICES, _H264_IDR = (1, 5), 5
_H264_SETTINGS = frozenset({7, 8, 13, 15})
_H264_INTRA_SLICES = frozenset({2, 4, 7, 9})
_HEVC_LAST_SLICE, _HEVC_ENTRIES = 31, range(16, 24)
_HEVC_LAST_PLAIN = 14
_HEVC_SETTINGS = frozenset({32, 33, 34})
# The fields needed are in the first bytes of a slice header.
_MOST_HEADER_BYTES = 16


@dataclass(frozen=True)
class Picture:
    """The role of a packet's picture in decoding.

    Attributes:
        is_entry: It does not depend on other pictures, nor do later pictures depend on earlier ones.
        is_disposable: No other picture of its layer or a lower one depends on it.
        layer: Temporal layer; pictures of a higher layer may depend on a disposable one.
    """

    is_entry: bool
    is_disposable: bool = False
    layer: int = 0


_PLAIN, _KEY = Picture(is_entry=False), Picture(is_entry=True)


def read_picture(data: memoryview, *, codec: str, extradata: bytes | None, is_key: bool) -> Picture:
    """Return the role of a packet's picture.

    H.264 streams may refresh pictures part by part (intra refresh). Containers mark the start of a
    refresh as a key frame, but a decoder that starts there silently returns corrupt pictures. MP4
    files do not mark disposable pictures.

    Args:
        data: The packet.
        codec: Name of the coding; for others than `h264` and `hevc`, `is_key` decides.
        extradata: The stream's avcC or hvcC box, if the container has one.
        is_key: Whether the container marks it as a key frame.

    Source: ITU-T H.264, 7.3.1, 7.3.3, 7.4.1; H.265, 7.3.1.2, 7.4.2.2; ISO/IEC 14496-15, 5.3.3,
    8.3.3.
    """
    if codec == "h264":
        return _read_h264(data, extradata or b"", is_key=is_key)
    if codec == "hevc":
        return _read_hevc(data, extradata or b"", is_key=is_key)
    return _KEY if is_key else _PLAIN


def _read_h264(data: memoryview, extradata: bytes, *, is_key: bool) -> Picture:
    has_settings = False
    for start in _find_units(data, extradata, at=4):
        kind = data[start] & 0x1F
        if kind in _H264_SLICES:
            if is_key:
                is_whole = kind == _H264_IDR or _read_slice_type(data[start:]) in _H264_INTRA_SLICES
                return _KEY if is_whole else _PLAIN
            return Picture(False, not data[start] & 0x60 and not has_settings)
        has_settings |= kind in _H264_SETTINGS
    return _PLAIN


def _read_hevc(data: memoryview, extradata: bytes, *, is_key: bool) -> Picture:
    has_settings = False
    for start in _find_units(data, extradata, at=21):
        kind, layer = data[start] >> 1 & 0x3F, (data[start + 1] & 7) - 1
        if kind <= _HEVC_LAST_SLICE:
            is_plain = layer >= 0 and kind <= _HEVC_LAST_PLAIN and not has_settings
            return Picture(is_key and kind in _HEVC_ENTRIES, is_plain and kind % 2 == 0, layer)
        has_settings |= kind in _HEVC_SETTINGS
    return _PLAIN


def _find_units(data: memoryview, extradata: bytes, *, at: int) -> Iterator[int]:
    """Yield the start of each NAL unit of at least two bytes."""
    end = len(data) - 1
    if extradata[:1] != b"\x01" or len(extradata) <= at:
        whole = bytes(data)
        start = whole.find(_START_CODE) + len(_START_CODE)
        while len(_START_CODE) <= start < end:
            yield start
            start = whole.find(_START_CODE, start) + len(_START_CODE)
        return
    num_bytes, start = (extradata[at] & 3) + 1, 0
    while start + num_bytes < end:
        size = int.from_bytes(data[start : start + num_bytes])
        yield start + num_bytes
        start += num_bytes + size


def _read_slice_type(unit: memoryview) -> int:
    header = bytes(unit[1:_MOST_HEADER_BYTES]).replace(b"\x00\x00\x03", b"\x00\x00")
    bits = "".join(f"{byte:08b}" for byte in header)
    _, bits = _read_golomb(bits)
    return _read_golomb(bits)[0]


def _read_golomb(bits: str) -> tuple[int, str]:
    """Read one ue(v); return its value and the remaining bits."""
    zeros = len(bits) - len(bits.lstrip("0"))
    stop = 2 * zeros + 1
    return int(bits[zeros:stop] or "0", 2) - 1, bits[stop:]
