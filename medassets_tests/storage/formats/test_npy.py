"""Headers of `.npy` files, whole and damaged, against numpy."""

import io
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medassets.storage.formats.npy import parse_npy_header, read_npy_header

DTYPES = ("|b1", "|u1", "<i2", ">u4", "<i8", "<f2", ">f4", "<f8")

BROKEN = (
    "{'descr': '<f2', 'fortran_order': False, 'shape': (5,4,3",
    "'''{",
    "(" * 300,
    "  {'descr'\n {",
    "if x:\n  1\n 2",
    "-" * 9000 + "1",
    "{b'descr': '<f2', 'fortran_order': False, 'shape': (5,4,3)}",
    "{[]: 1}",
    "{'descr': ('<f2',), 'fortran_order': False, 'shape': (5,4,3)}",
    "{'descr': '<f99', 'fortran_order': False, 'shape': (5,4,3)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (5,4,3)}",
    "{'descr': '<f2', 'fortran_order': 0, 'shape': (5,4,3)}",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (5)}",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (5,,3)}",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
    "{'descr': '<f2', 'fortran_order': False, 'shape': (" + "1," * 4000 + ")}",
    "{'descr': '<f2', 'descr': '<f2', 'fortran_order': False, 'shape': (5,)}",
    "{'descr': '<f2', 'fortran_order': False}",
    "",
)
"""Headers at which numpy raises ten different errors, or none."""


def wrap(text: str, version: int = 1) -> bytes:
    """Return a file that begins with a header of this text."""
    content = text.encode("latin-1")
    size = len(content).to_bytes(2 * version, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + content


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (5, 7, 11), (3, 0)])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_numpy_writes_is_read(
    dtype: str, shape: tuple[int, ...], version: tuple[int, int]
) -> None:
    for order in ("C", "F"):
        file = io.BytesIO()
        array = np.zeros(shape, dtype, order)  # pyright: ignore[reportArgumentType, reportCallIssue]
        np.lib.format.write_array(file, array, version)
        file.seek(0)
        fortran = not array.flags.c_contiguous
        assert read_npy_header(file) == (shape, fortran, np.dtype(dtype))
        assert len(file.read()) == math.prod(shape) * array.itemsize


@pytest.mark.parametrize(
    "text",
    [
        '{"shape": (5L, 7L), "fortran_order": True, "descr": "<f2"}',
        "  {'shape':(5,7,),'descr':'<f2','fortran_order':True,}  \n",
    ],
)
def test_what_other_tools_write_is_read(text: str) -> None:
    assert parse_npy_header(wrap(text)) == ((5, 7), True, np.dtype("<f2"))


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("version", [1, 2])
def test_a_broken_header_is_a_value_error(text: str, version: int) -> None:
    with pytest.raises(ValueError, match=r"shape|header says|no dtype|expected|not begin"):
        parse_npy_header(wrap(text, version))


def test_a_header_that_ends_early_or_never_is_a_value_error() -> None:
    whole = wrap("{'descr': '<f2', 'fortran_order': False, 'shape': (5,)}")
    for end in range(len(whole)):
        with pytest.raises(ValueError, match=r"does not begin|ends at byte"):
            parse_npy_header(whole[:end])
    with pytest.raises(ValueError, match=r"a header of 4,294,967,307 bytes"):
        parse_npy_header(b"\x93NUMPY\2\0" + b"\xff" * 8)
    with pytest.raises(ValueError, match=r"version 3\.0"):
        parse_npy_header(b"\x93NUMPY\3\0" + bytes(8))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=4)), max_size=4),
    st.sampled_from(DTYPES),
)
@example([(8, b"\xff\xff")], "<f2")
def test_a_mutated_header_is_read_as_numpy_does_or_refused(
    changes: list[tuple[int, bytes]], dtype: str
) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((5, 7, 11), dtype))
    content = bytearray(file.getvalue())
    for place, piece in changes:
        content[place : place + len(piece)] = piece
    try:
        found = parse_npy_header(bytes(content))
    except ValueError:
        return
    array = io.BytesIO(content)
    version = np.lib.format.read_magic(array)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    assert found == read[version](array)
