"""What numpy of any version reads as the array that went in."""

import pickle
import pickletools

import numpy as np
import numpy.typing as npt
import pytest

from medassets.exports.pickles import encode_array_pickle, encode_dict_pickle
from medassets.storage.checksums import byte_view


@pytest.mark.parametrize(
    "array",
    [
        np.arange(16 * 3 * 5 * 7, dtype=np.uint8).reshape(16, 3, 5, 7),
        np.zeros((0, 3), np.uint8),
        np.arange(-3, 74),
    ],
)
def test_an_array_comes_back_whole_and_writable(array: npt.NDArray[np.generic]) -> None:
    back = pickle.loads(b"".join(map(byte_view, encode_array_pickle(array))))
    assert type(back) is np.ndarray
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)
    assert back.flags.writeable
    assert back.flags.c_contiguous


def test_a_dict_of_arrays_comes_back() -> None:
    arrays = {"tokens": np.arange(77), "mask": np.ones(3, np.uint8)}
    back = pickle.loads(b"".join(map(byte_view, encode_dict_pickle(arrays))))
    assert list(back) == ["tokens", "mask"]
    assert all(np.array_equal(back[name], array) for name, array in arrays.items())


def test_only_names_that_every_numpy_has_stand_in_a_pickle() -> None:
    content = b"".join(map(byte_view, encode_dict_pickle({"tokens": np.arange(77)})))
    texts = [arg for op, arg, _ in pickletools.genops(content) if op.name == "SHORT_BINUNICODE"]
    assert texts == [
        *("tokens", "numpy.core.multiarray", "_reconstruct", "numpy", "ndarray"),
        *("numpy", "dtype", "i8", "<"),
    ]
    assert max(op.proto for op, _, _ in pickletools.genops(content)) == 4


@pytest.mark.parametrize("array", [np.zeros(3, np.float32), np.zeros((4, 4), np.uint8).T[:2]])
def test_what_cannot_be_written_as_it_lies_is_refused(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(TypeError, match="expected a C-contiguous array"):
        encode_array_pickle(array)
