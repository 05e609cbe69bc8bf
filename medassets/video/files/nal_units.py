"""Units and bit fields of H.264 and HEVC."""

from collections.abc import Iterator

_START_CODE = b"\x00\x00\x01"
# The fields needed are in the first bytes of a unit.
_MOST_HEADER_BYTES = 16


def find_units(data: memoryview, extradata: bytes, *, at: int) -> Iterator[int]:
    """Yield the start of each unit of at least two bytes.

    Args:
        data: The units.
        extradata: The avcC or hvcC box; without one, start codes separate units.
        at: Position in the box of the byte that states the size of lengths.
    """
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


def read_bits(data: memoryview) -> str:
    """Return the first bits of the content of a unit, without emulation prevention."""
    header = bytes(data[:_MOST_HEADER_BYTES]).replace(b"\x00\x00\x03", b"\x00\x00")
    return "".join(f"{byte:08b}" for byte in header)


def read_golomb(bits: str) -> tuple[int, str]:
    """Read one ue(v); return its value and the remaining bits."""
    zeros = len(bits) - len(bits.lstrip("0"))
    stop = 2 * zeros + 1
    return int(bits[zeros:stop] or "0", 2) - 1, bits[stop:]
