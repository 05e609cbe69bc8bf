"""Pickled arrays whose bytes depend on nothing but their content, and that every numpy reads.

`pickle.dumps` names the module that numpy's version keeps its helpers in: what numpy 2 writes, a
trainer with numpy 1.25 cannot read. Here the opcodes are written out, with the names that all
versions know. Nothing in this package reads a pickle.
"""

import pickle
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike
from medassets.storage.checksums import byte_view

# Python 3.4 and later read it, and an array may be larger than 4 GiB.
_PROTOCOL = 4
# numpy 1 and 2 both have it there; numpy 2 keeps it "to support old pickles".
_ARRAY_MAKER = ("numpy.core.multiarray", "_reconstruct")
_DTYPES = {"|u1": ("u1", "|"), "<i8": ("i8", "<")}


def encode_array_pickle(array: npt.NDArray[np.generic]) -> list[BytesLike]:
    """Return a pickle of one array, in pieces; the last but one is the array's own memory.

    Args:
        array: C-contiguous, uint8 or little-endian int64.

    Raises:
        TypeError: If the array is of another dtype or not C-contiguous.
    """
    head, tail = _encode_array(array)
    return [_start() + head, byte_view(array), tail + pickle.STOP]


def encode_dict_pickle(arrays: Mapping[str, npt.NDArray[np.generic]]) -> list[BytesLike]:
    """Return a pickle of a dict of arrays, in pieces.

    Args:
        arrays: Name -> array, as for `encode_array_pickle`.

    Raises:
        TypeError: If an array is of another dtype or not C-contiguous.
    """
    pieces: list[BytesLike] = [_start() + pickle.EMPTY_DICT]
    for name, array in arrays.items():
        head, tail = _encode_array(array)
        pieces += [_text(name) + head, byte_view(array), tail + pickle.SETITEM]
    return [*pieces, pickle.STOP]


def _start() -> bytes:
    return pickle.PROTO + bytes([_PROTOCOL])


def _encode_array(array: npt.NDArray[np.generic]) -> tuple[bytes, bytes]:
    """Return the opcodes before and after an array's bytes.

    Source: `numpy.ndarray.__reduce__`: `_reconstruct(ndarray, (0,), b"b")`, then the state
    `(1, shape, dtype, is_fortran, bytes)`.
    """
    if array.dtype.str not in _DTYPES or not array.flags.c_contiguous:
        msg = f"expected a C-contiguous array of {sorted(_DTYPES)}, got {array.dtype.str}"
        raise TypeError(msg)
    empty = _global("numpy", "ndarray") + _int(0) + pickle.TUPLE1
    made = _global(*_ARRAY_MAKER) + empty + pickle.SHORT_BINBYTES + b"\1b" + pickle.TUPLE3
    state = _int(1) + _tuple(*(_int(side) for side in array.shape)) + _dtype(array.dtype)
    size = pickle.BINBYTES8 + struct.pack("<Q", array.nbytes)
    head = made + pickle.REDUCE + pickle.MARK + state + pickle.NEWFALSE + size
    return head, pickle.TUPLE + pickle.BUILD


def _dtype(dtype: np.dtype[np.generic]) -> bytes:
    """Source: `numpy.dtype.__reduce__`: `dtype(name, False, True)`, then its state."""
    name, order = _DTYPES[dtype.str]
    made = _global("numpy", "dtype") + _text(name) + pickle.NEWFALSE + pickle.NEWTRUE
    unset = pickle.NONE * 3 + _int(-1) * 2 + _int(0)
    return (
        made + pickle.TUPLE3 + pickle.REDUCE + _tuple(_int(3), _text(order), unset) + pickle.BUILD
    )


def _global(module: str, name: str) -> bytes:
    return _text(module) + _text(name) + pickle.STACK_GLOBAL


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.SHORT_BINUNICODE + bytes([len(encoded)]) + encoded


def _int(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE
