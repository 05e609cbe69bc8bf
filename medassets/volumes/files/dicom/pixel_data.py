"""Whether the pixel data of a DICOM file are whole, by walking over them without reading them."""

import os
import struct
from typing import IO

_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_MOST_FRAGMENTS = 1 << 16


def check_pixel_data(file: IO[bytes], num_bytes: int, *, is_implicit: bool, is_little: bool) -> str:
    """Return why the pixel data of an open file are not whole; "" where they are.

    Args:
        file: At the element of pixel data, or at its end where there is none; seekable.
        num_bytes: Bytes of uncompressed pixels that the header promises.
        is_implicit: Whether elements state no type.
        is_little: Whether numbers are little-endian.

    Source: DICOM PS3.5, 7.1 (elements) and A.4 (encapsulated pixel data).
    """
    start = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    order = "<" if is_little else ">"
    head = file.read(8 if is_implicit else 12)
    if len(head) < (8 if is_implicit else 12):
        return "the file ends before its pixel data"
    if struct.unpack(f"{order}HH", head[:4]) != _PIXEL_DATA:
        return "there are no pixel data of whole numbers"
    (length,) = struct.unpack(f"{order}I", head[-4:])
    if length == _UNDEFINED:
        return _walk_fragments(file, size)
    if file.tell() + length > size:
        missing = file.tell() + length - size
        return f"the file ends {missing:,} bytes before the end of its pixel data"
    if length < num_bytes:
        return f"the pixel data have {length:,} bytes, the header promises {num_bytes:,}"
    return ""


def _walk_fragments(file: IO[bytes], size: int) -> str:
    for _ in range(_MOST_FRAGMENTS):
        head = file.read(8)
        if len(head) < 8:
            break
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == _SEQUENCE_END:
            return ""
        if (group, element) != _ITEM:
            return "the compressed pixel data are damaged"
        if file.tell() + length > size:
            break
        file.seek(length, os.SEEK_CUR)
    return "the file ends before the end of its compressed pixel data"
