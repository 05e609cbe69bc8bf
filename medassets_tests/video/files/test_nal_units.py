"""Units and bit fields, against examples of the standards."""

import pytest

from medassets.video.files.nal_units import find_units, read_bits, read_golomb


@pytest.mark.parametrize(
    ("bits", "value"), [("1", 0), ("010", 1), ("011", 2), ("00100", 3), ("00111", 6)]
)
def test_numbers_are_read_as_the_standard_lists_them(bits: str, value: int) -> None:
    assert read_golomb(bits + "0101") == (value, "0101")


def test_bits_are_read_without_emulation_prevention() -> None:
    assert read_bits(memoryview(b"\x00\x00\x03\x01")) == "0" * 16 + "00000001"


def test_units_are_found_by_their_lengths_or_by_start_codes() -> None:
    units = [b"ab", b"cde", b"fg"]
    box = b"\x01" + bytes(3) + b"\xff"
    by_length = b"".join(len(unit).to_bytes(4) + unit for unit in units)
    by_code = b"".join(b"\x00\x00\x01" + unit for unit in units)
    for data, extradata in ((by_length, box), (by_code, b"")):
        starts = list(find_units(memoryview(data), extradata, at=4))
        assert [data[start : start + 2] for start in starts] == [b"ab", b"cd", b"fg"]
