"""Tell from the headers of a packet whether it shows a picture, or only decodes one for others."""

from collections.abc import Iterator
from functools import lru_cache

from medassets.video.files.nal_units import find_units, read_bits, read_golomb

_HEVC_PPS, _HEVC_ENTRIES = 34, range(16, 24)
_VP9_MARKER, _VP9_INDEX = 0b10, 0b110
_AV1_HEAD, _AV1_FRAMES = 0b10, frozenset({3, 6})
_AV1_UNITS = frozenset({*range(1, 9), 15})


def is_vp9_shown(data: memoryview) -> bool:
    """Whether one of a packet's frames is displayed.

    Source: VP9 Bitstream Specification 0.6, 6.2 and annex B.
    """
    return any(map(_is_frame_shown, _split_vp9(data)))


def _split_vp9(data: memoryview) -> Iterator[memoryview]:
    """Yield the frames of a packet: several if an index is at its end."""
    last = data[-1]
    count, width = (last & 7) + 1, (last >> 3 & 3) + 1
    index = data[len(data) - 2 - count * width :] if len(data) > 2 + count * width else data[:0]
    if last >> 5 != _VP9_INDEX or not index or index[0] != last:
        yield data
        return
    at = 0
    for number in range(count):
        size = int.from_bytes(index[1 + number * width : 1 + (number + 1) * width], "little")
        if size:
            yield data[at : at + size]
        at += size


def _is_frame_shown(frame: memoryview) -> bool:
    if not frame or frame[0] >> 6 != _VP9_MARKER:
        return True
    # Profile 3 has a reserved bit more.
    bits = f"{frame[0]:08b}"[5 if frame[0] >> 4 & 3 == 3 else 4 :]
    shows_existing, shows = bits[0], bits[2]
    return "1" in (shows_existing, shows)


def is_av1_shown(data: memoryview) -> bool:
    """Whether one of a packet's frames is displayed; also if the packet is not whole.

    Source: AV1 Bitstream and Decoding Process Specification, 5.3 and 5.9.2.
    """
    shown: list[bool] = []
    at = 0
    while at < len(data):
        head = data[at]
        start = at + 1 + (head >> 2 & 1)
        size, start = _read_leb128(data, start)
        # Forbidden and reserved bits, no size, a reserved type, or a wrong size: damaged.
        if head & 0x83 != _AV1_HEAD or head >> 3 not in _AV1_UNITS or start + size > len(data):
            return True
        if head >> 3 in _AV1_FRAMES and size:
            # show_existing_frame, two bits of frame_type, show_frame.
            shown.append(data[start] & 0b1001_0000 > 0)
        at = start + size
    return any(shown) or not shown


def _read_leb128(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and the position after it."""
    value = 0
    for place, byte in enumerate(data[at : at + 8]):
        value |= (byte & 0x7F) << 7 * place
        at += 1
        if byte < 0x80:
            break
    return value, at


def is_hevc_shown(unit: memoryview, kind: int, extradata: bytes) -> bool:
    """Whether the picture of a slice is displayed, as far as the slice itself tells.

    Args:
        unit: The first slice.
        kind: Its `nal_unit_type`.
        extradata: hvcC box, or units with start codes.

    Source: ITU-T H.265, 7.3.2.3 and 7.3.6.1.
    """
    output_flags = _read_output_flags(extradata)
    if not output_flags:
        return True
    # After the first bit, random access pictures have `no_output_of_prior_pics_flag`.
    bits = read_bits(unit[2:])[2 if kind in _HEVC_ENTRIES else 1 :]
    number, bits = read_golomb(bits)
    if number not in output_flags:
        return True
    _, bits = read_golomb(bits[output_flags[number] :])
    return bits[:1] != "0"


@lru_cache(maxsize=8)
def _read_output_flags(extradata: bytes) -> dict[int, int]:
    """Return the picture parameter sets whose slices have `pic_output_flag`.

    Args:
        extradata: hvcC box, or units with start codes.

    Returns:
        Id of each such set, to the number of bits before `slice_type` that are reserved.
    """
    found: dict[int, int] = {}
    for unit in _iter_settings(extradata):
        if unit[0] >> 1 & 0x3F == _HEVC_PPS:
            number, bits = read_golomb(read_bits(unit[2:]))
            _, bits = read_golomb(bits)
            if bits[1:2] == "1":
                found[number] = int(bits[2:5], 2)
    return found


def _iter_settings(extradata: bytes) -> Iterator[memoryview]:
    """Yield the parameter sets of HEVC."""
    data = memoryview(extradata)
    if extradata[:1] != b"\x01":
        yield from (data[start:] for start in find_units(data, b"", at=0))
        return
    at = 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        num_units, at = int.from_bytes(data[at + 1 : at + 3]), at + 3
        for _ in range(num_units):
            size = int.from_bytes(data[at : at + 2])
            if size > 2:
                yield data[at + 2 : at + 2 + size]
            at += 2 + size
