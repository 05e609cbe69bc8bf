"""Pixel data that are cut, short or absent, found without decoding them."""

import io
import struct

import pytest

from medassets.volumes.files.dicom.pixel_data import check_pixel_data

EXPLICIT = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 100)
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def check(content: bytes, *, implicit: bool = False, little: bool = True) -> str:
    return check_pixel_data(io.BytesIO(content), 100, is_implicit=implicit, is_little=little)


def encapsulate(*fragments: bytes) -> bytes:
    head = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    items = (struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in fragments)
    return head + b"".join(items) + END


def test_whole_pixels_of_every_encoding_pass() -> None:
    assert check(EXPLICIT + bytes(100)) == ""
    assert check(struct.pack("<HHI", 0x7FE0, 0x10, 100) + bytes(100), implicit=True) == ""
    big = struct.pack(">HH2sHI", 0x7FE0, 0x10, b"OW", 0, 100)
    assert check(big + bytes(100), little=False) == ""
    assert check(encapsulate(b"", b"abcd") + b"trailing element") == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends before its pixel data"),
        (EXPLICIT + bytes(99), "1 bytes before the end"),
        (
            EXPLICIT[:-4] + struct.pack("<I", 98) + bytes(98),
            "have 98 bytes, the header promises 100",
        ),
        (struct.pack("<HH2sHI", 0x7FE0, 0x8, b"OF", 0, 100) + bytes(100), "of whole numbers"),
        (encapsulate(b"", b"abcd")[: -len(END)], "end of its compressed pixel data"),
        (encapsulate(b"", b"abcd")[: -len(END) - 2], "end of its compressed pixel data"),
        (encapsulate(b"", b"abcd")[: -len(END)] + b"12345678", "are damaged"),
    ],
)
def test_pixels_that_are_not_whole_are_described(content: bytes, said: str) -> None:
    assert said in check(content)
