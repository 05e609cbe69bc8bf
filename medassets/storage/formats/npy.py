"""Headers of `.npy` files that others made, read without running them through Python's parser."""

import re
from typing import IO, Any, NamedTuple

import numpy as np

MAGIC = b"\x93NUMPY"
SHORTEST_BYTES = 12
"""Enough of a file for `measure_npy_header`."""

_MOST_HEADER_BYTES = 1 << 16
_MOST_AXES, _MOST_DIGITS = 32, 18
# numpy evaluates the header as Python, whose tokenizer and parser have some ten errors of their
# own (and warnings) for a damaged one; what numpy and others write is this dictionary, though.
# Its white space is Python's: no vertical tab, and none of the separators that `str.strip` takes away.
_WHITE = " \t\n\r\f"
_GAP = f"[{_WHITE}]*"
_ENTRY = re.compile(
    rf"""{_GAP}(['"])(descr|fortran_order|shape)\1{_GAP}:{_GAP}"""
    rf"""(?:(['"])([^'"]*)\3|(True|False)|\(([0-9{_WHITE}L,]*)\)){_GAP}(?:,|$)"""
)
_SIDE = re.compile(rf"{_GAP}(0{{1,{_MOST_DIGITS}}}|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}})L?{_GAP}")
_DTYPE = re.compile(r"[<>=|]?[biuf]\d{1,2}|bool|half|single|double|float\d*|u?int\d*", re.ASCII)


class NpyHeader(NamedTuple):
    """What a header says.

    Attributes:
        shape: Sides of the array; () for a single number.
        fortran: Whether its first axis is contiguous instead of the last.
        dtype: Of bool, integers or floating-point numbers, with byte order.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_dtype(name: object) -> np.dtype[Any]:
    """Return the dtype of numbers that a name such as `float16` or `<f2` means.

    Raises:
        ValueError: If it means none.
    """
    if not isinstance(name, str) or _DTYPE.fullmatch(name) is None:
        msg = "expected a dtype of plain numbers"
        raise ValueError(msg)
    try:
        return np.dtype(name)
    except TypeError as error:
        msg = f"no dtype {name}"
        raise ValueError(msg) from error


def measure_npy_header(start: bytes) -> int:
    """Return how many bytes stand before the first value.

    Args:
        start: The first `SHORTEST_BYTES` of the file, or more.

    Raises:
        ValueError: If it is no `.npy` file, of another version than 1.0 and 2.0, or the header longer
            than one of an array of numbers can be.

    Source: NEP 1, format versions 1.0 and 2.0; 3.0 is for names of fields, which numbers have not.
    """
    if start[:6] != MAGIC or len(start) < SHORTEST_BYTES:
        msg = "it does not begin as a .npy file does"
        raise ValueError(msg)
    if start[6:8] not in (b"\1\0", b"\2\0"):
        msg = f"version {start[6]}.{start[7]} of the format; expected 1.0 or 2.0"
        raise ValueError(msg)
    width = 2 * start[6]
    size = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if size > _MOST_HEADER_BYTES:
        msg = f"a header of {size:,} bytes"
        raise ValueError(msg)
    return size


def parse_npy_header(start: bytes) -> NpyHeader:
    """Return what a header says; nothing is evaluated or unpickled.

    Args:
        start: The file's first bytes, at least those before its first value.

    Raises:
        ValueError: If it is no header, is cut off, or not of bool, integers or floating-point numbers.
    """
    size = measure_npy_header(start)
    if len(start) < size:
        msg = f"the header ends at byte {len(start)} of {size}"
        raise ValueError(msg)
    text = start[8 + 2 * start[6] : size].decode("latin-1").strip(_WHITE)
    entries = _parse_entries(text)
    if set(entries) != {"descr", "fortran_order", "shape"}:
        msg = f"the header says {text[:80]!r}"
        raise ValueError(msg)
    descr, fortran, shape = entries["descr"], entries["fortran_order"], entries["shape"]
    if not isinstance(descr, str) or not isinstance(fortran, bool) or not isinstance(shape, tuple):
        msg = f"the header says {text[:80]!r}"
        raise ValueError(msg)
    return NpyHeader(shape, fortran, read_dtype(descr))


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read a header from a file, which then stands at the first value.

    Raises:
        ValueError: If it is no header, is cut off, or not of bool, integers or floating-point numbers.
        OSError: If the file cannot be read.
    """
    start = file.read(SHORTEST_BYTES)
    return parse_npy_header(start + file.read(measure_npy_header(start) - len(start)))


def _parse_entries(text: str) -> dict[str, str | bool | tuple[int, ...]]:
    """Return the entries of the dictionary; none where it is not one of these."""
    entries: dict[str, str | bool | tuple[int, ...]] = {}
    if not (text.startswith("{") and text.endswith("}")):
        return entries
    body, position = text[1:-1].rstrip(_WHITE), 0
    while position < len(body):
        match = _ENTRY.match(body, position)
        if match is None or match[2] in entries:
            return {}
        if match[6] is not None:
            entries[match[2]] = _parse_shape(match[6])
        else:
            entries[match[2]] = match[5] == "True" if match[5] else match[4]
        position = match.end()
    return entries


def _parse_shape(text: str) -> tuple[int, ...]:
    sides = text.split(",")
    # A comma may end the list, and one must where there is a single side.
    if not sides[-1].strip(_WHITE):
        sides.pop()
    elif len(sides) == 1:
        sides = [""]
    matches = [_SIDE.fullmatch(side) for side in sides]
    if None in matches or len(matches) > _MOST_AXES:
        msg = f"shape ({text[:80]})"
        raise ValueError(msg)
    return tuple(int(match[1]) for match in matches if match is not None)
