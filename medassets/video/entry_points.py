"""Whether decoding can begin at a packet that its container calls a key frame.

H.264 streams may refresh pictures bit by bit instead of sending whole ones (x264: intra-refresh).
Their containers call it a key frame where a refresh begins, and a decoder that starts there shows
spoiled pictures without a word.
"""

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
_H264_SLICE, _H264_IDR = 1, 5
_H264_INTRA_SLICES = frozenset({2, 4, 7, 9})
_HEVC_ENTRIES = range(16, 24)
_HEVC_PICTURES = range(32)
# A slice header says what is asked of it in its first bytes.
_MOST_HEADER_BYTES = 16


def is_entry_point(data: memoryview, codec: str, extradata: bytes | None) -> bool:
    """Whether a key packet holds a picture that hangs on no other.

    Args:
        data: The packet.
        codec: Name of the coding; others than `h264` and `hevc` are taken at their word.
        extradata: What the container says of the stream, an avcC or hvcC box or none.

    Source: ITU-T H.264, 7.3.1 and 7.3.3; H.265, 7.4.2.2; ISO/IEC 14496-15, 5.3.3 and 8.3.3.
    """
    if codec not in ("h264", "hevc"):
        return True
    for unit in _iter_units(data, codec, extradata or b""):
        if codec == "hevc":
            kind = unit[0] >> 1 & 0x3F
            if kind in _HEVC_PICTURES:
                return kind in _HEVC_ENTRIES
        elif (kind := unit[0] & 0x1F) in (_H264_SLICE, _H264_IDR):
            return kind == _H264_IDR or _read_slice_type(unit) in _H264_INTRA_SLICES
    return False


def _iter_units(data: memoryview, codec: str, extradata: bytes) -> Iterator[memoryview]:
    if extradata[:1] != b"\x01":
        yield from _iter_marked_units(data)
        return
    num_bytes = (extradata[4 if codec == "h264" else 21] & 3) + 1
    start = 0
    while start + num_bytes < len(data):
        size = int.from_bytes(data[start : start + num_bytes])
        start += num_bytes
        yield data[start : start + max(size, 1)]
        start += size


def _iter_marked_units(data: memoryview) -> Iterator[memoryview]:
    whole = bytes(data)
    start = whole.find(_START_CODE)
    while 0 <= start < len(whole) - len(_START_CODE):
        yield data[start + len(_START_CODE) :]
        start = whole.find(_START_CODE, start + len(_START_CODE))


def _read_slice_type(unit: memoryview) -> int:
    header = bytes(unit[1:_MOST_HEADER_BYTES]).replace(b"\x00\x00\x03", b"\x00\x00")
    bits = "".join(f"{byte:08b}" for byte in header)
    _, bits = _read_golomb(bits)
    return _read_golomb(bits)[0]


def _read_golomb(bits: str) -> tuple[int, str]:
    """Read one ue(v); return it and what follows."""
    zeros = len(bits) - len(bits.lstrip("0"))
    stop = 2 * zeros + 1
    return int(bits[zeros:stop] or "0", 2) - 1, bits[stop:]
