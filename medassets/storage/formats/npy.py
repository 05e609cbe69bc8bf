"""Arrays of numbers in `.npy` files; nothing in a file is evaluated or unpickled."""

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medassets.storage.foreign_bytes import open_foreign
from medassets.storage.formats.lfs_pointers import explain_pointer_file

MAGIC = b"\x93NUMPY"
SHORTEST_BYTES = 12
"""Enough of a file for `measure_npy_header`."""

_MAX_HEADER_BYTES = 1 << 16
_MAX_AXES, _MAX_DIGITS = 32, 18
# numpy evaluates the header as Python, whose tokenizer and parser raise some ten errors of their own
# (and warnings) for a damaged one. Writers only use this dictionary.
# White space is Python's: no vertical tab, and none of the separators that `str.strip` removes.
_WHITE = " \t\n\r\f"
_GAP = f"[{_WHITE}]*"
_ENTRY = re.compile(
    rf"""{_GAP}(['"])(descr|fortran_order|shape)\1{_GAP}:{_GAP}"""
    rf"""(?:(['"])([^'"]*)\3|(True|False)|\(([0-9{_WHITE}L,]*)\)){_GAP}(?:,|$)"""
)
_SIDE = re.compile(rf"{_GAP}(0{{1,{_MAX_DIGITS}}}|[1-9][0-9]{{0,{_MAX_DIGITS - 1}}})L?{_GAP}")
_DTYPE = re.compile(r"[<>=|]?[biuf]\d{1,2}|bool|half|single|double|float\d*|u?int\d*", re.ASCII)


class NpyHeader(NamedTuple):
    """Content of a header.

    Attributes:
        shape: Shape of the array; () for a single number.
        fortran: Whether the first axis is contiguous instead of the last.
        dtype: bool, integer or floating-point dtype, with byte order.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_dtype(name: object) -> np.dtype[Any]:
    """Return the dtype with a name such as `float16` or `<f2`.

    Raises:
        ValueError: If the name is not that of a bool, integer or floating-point dtype.
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
    """Return the number of bytes before the first value.

    Args:
        start: The first `SHORTEST_BYTES` of the file, or more.

    Raises:
        ValueError: If it is not a `.npy` file, the version is neither 1.0 nor 2.0, or the header is
            longer than an array of numbers needs.

    Source: NEP 1, format versions 1.0 and 2.0; 3.0 is for names of fields, which arrays of numbers
        do not have.
    """
    if start[:6] != MAGIC or len(start) < SHORTEST_BYTES:
        msg = "it does not begin as a .npy file does"
        raise ValueError(msg)
    if start[6:8] not in (b"\1\0", b"\2\0"):
        msg = f"version {start[6]}.{start[7]} of the format; expected 1.0 or 2.0"
        raise ValueError(msg)
    width = 2 * start[6]
    size = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if size > _MAX_HEADER_BYTES:
        msg = f"a header of {size:,} bytes"
        raise ValueError(msg)
    return size


def parse_npy_header(start: bytes) -> NpyHeader:
    """Parse a header.

    Args:
        start: The first bytes of the file, at least those before the first value.

    Raises:
        ValueError: If it is not a header, is cut off, or the dtype is not bool, integer or floating
            point.
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


def read_npy_header(read: Callable[[int], bytes]) -> tuple[NpyHeader, int]:
    """Read a header from a file or stream.

    Args:
        read: Returns the next bytes, fewer only at the end; such as the `read` of a file.

    Returns:
        The header and its length in bytes.

    Raises:
        ValueError: If it is not a header, is cut off, or the dtype is not bool, integer or floating
            point.
    """
    start = read(SHORTEST_BYTES)
    start += read(measure_npy_header(start) - len(start))
    return parse_npy_header(start), len(start)


def decode_npy(content: bytes | bytearray | memoryview) -> npt.NDArray[Any]:
    """Return the array of a whole `.npy` file, without a copy of its values.

    Args:
        content: The file.

    Raises:
        ValueError: If it is not an array of numbers, or has another length than its header says.
    """
    header, offset = read_npy_header(io.BytesIO(memoryview(content)[:_MAX_HEADER_BYTES]).read)
    _check_length(header, len(content) - offset)
    values = np.frombuffer(content, header.dtype, math.prod(header.shape), offset)
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def map_npy(path: Path) -> npt.NDArray[Any]:
    """Map the array of a `.npy` file into memory, read-only.

    Raises:
        ValueError: If it is not an array of numbers, is empty, or is shorter than its header says.
        OSError: If the file cannot be read.
    """
    if (pointer := explain_pointer_file(path)) is not None:
        raise ValueError(pointer)
    with open_foreign(path) as file:
        header, offset = read_npy_header(file.read)
        num_bytes = min(file.seek(0, io.SEEK_END) - offset, header.num_bytes)
        _check_length(header, num_bytes)
        order = "F" if header.fortran else "C"
        return np.memmap(file, header.dtype, "r", offset, header.shape, order)


def decode_any_npy(content: bytes | bytearray) -> npt.NDArray[Any]:
    """Return the array of a whole `.npy` file of any dtype but objects, for display.

    numpy evaluates the header here, so its errors are many; see `decode_npy` for arrays of numbers.
    """
    # Not np.load, which also opens zip files.
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def encode_npy_header(shape: tuple[int, ...], dtype: npt.DTypeLike) -> bytes:
    """Return the header of a `.npy` file of version 1.0 with values in C order."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def encode_npy(array: npt.NDArray[Any]) -> memoryview:
    """Return an array as a `.npy` file of version 1.0 in C order; its values are copied once.

    Args:
        array: Any shape and strides, no objects.
    """
    header = encode_npy_header(array.shape, array.dtype)
    content = np.empty(len(header) + array.nbytes, np.uint8)
    content[: len(header)] = np.frombuffer(header, np.uint8)
    content[len(header) :].view(array.dtype).reshape(array.shape)[...] = array
    return content.data


def _check_length(header: NpyHeader, num_bytes: int) -> None:
    if num_bytes != header.num_bytes:
        msg = (
            f"{header.dtype} of shape {header.shape} takes {header.num_bytes:,} bytes, the file has "
            f"{num_bytes:,}"
        )
        raise ValueError(msg)


def _parse_entries(text: str) -> dict[str, str | bool | tuple[int, ...]]:
    """Return the entries of the dictionary, or an empty one if the text is anything else."""
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
    # The list may end with a comma; a list of one side must.
    if not sides[-1].strip(_WHITE):
        sides.pop()
    elif len(sides) == 1:
        sides = [""]
    matches = [_SIDE.fullmatch(side) for side in sides]
    if None in matches or len(matches) > _MAX_AXES:
        msg = f"shape ({text[:80]})"
        raise ValueError(msg)
    return tuple(int(match[1]) for match in matches if match is not None)
