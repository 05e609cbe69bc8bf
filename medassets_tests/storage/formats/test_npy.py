"""Arrays in `.npy` files, whole and damaged, against numpy."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medassets.storage.formats.npy import (
    decode_npy,
    encode_npy,
    map_npy,
    parse_npy_header,
    read_npy_header,
)

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
        header, num_bytes = read_npy_header(file.read)
        assert header == (shape, fortran, np.dtype(dtype))
        assert file.tell() == num_bytes
        assert len(file.read()) == header.num_bytes == math.prod(shape) * array.itemsize


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


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::-1, ::2],
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 3), np.int64),
        np.float32(7).reshape(()),
    ],
    ids=["strides", "fortran", "empty", "scalar"],
)
def test_an_array_is_written_as_numpy_does(array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, np.asarray(array, order="C"))
    assert bytes(encode_npy(array)) == file.getvalue()


def save(array: np.ndarray) -> bytes:
    """Return the file that numpy makes of an array."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_mapped(path: Path, content: bytes) -> np.ndarray:
    """Read an array by mapping its file."""
    path.write_bytes(content)
    return map_npy(path)


@pytest.fixture(params=["decoded", "mapped"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], np.ndarray]:
    """Both ways to read a whole file."""
    if request.param == "decoded":
        return decode_npy
    return lambda content: read_mapped(tmp_path / "array.npy", content)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_whole_file_is_read(read: Callable[[bytes], Any], order: Any, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order)
    found = read(save(array))
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.flags.f_contiguous) == (array.dtype, order == "F")


def test_a_file_that_is_cut_off_is_refused(read: Callable[[bytes], Any]) -> None:
    with pytest.raises(ValueError, match=r"of shape \(2, 3\) takes 48 bytes, the file has 47"):
        read(save(np.zeros((2, 3)))[:-1])


def test_objects_and_text_are_refused(read: Callable[[bytes], Any]) -> None:
    for array in (np.array([{}]), np.array(["text"])):
        with pytest.raises(ValueError, match="expected a dtype of plain numbers"):
            read(save(array))


def test_bytes_after_the_array_are_refused_where_the_whole_file_is_given(tmp_path: Path) -> None:
    content = save(np.ones(3)) + b"x"
    with pytest.raises(ValueError, match=r"takes 24 bytes, the file has 25"):
        decode_npy(content)
    assert read_mapped(tmp_path / "array.npy", content).tolist() == [1, 1, 1]
