"""The compiled exchange of the outer and the inner axis against numpy."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.files.transpose_kernel import transpose_planes

# Below, at and beyond the squares that are turned at once: 32, 16 and 8 values.
SHAPES = [(5, 7, 11), (1, 1, 1), (32, 3, 64), (33, 2, 70), (70, 5, 31)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_axes_are_exchanged_as_numpy_does(shape: tuple[int, ...], dtype: Any) -> None:
    source = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    target = np.zeros(shape[::-1], dtype)
    transpose_planes(source, target)
    np.testing.assert_array_equal(target, source.transpose(2, 1, 0))


def test_rows_may_lie_apart_in_source_and_target() -> None:
    memory = np.arange(33 * 4 * 80, dtype=np.uint16).reshape(33, 4, 80)
    source = memory[:, 1:3, 5:75]
    out = np.zeros((70, 3, 40), np.uint16)
    transpose_planes(source, out[:, :2, :33])
    np.testing.assert_array_equal(out[:, :2, :33], source.transpose(2, 1, 0))
    assert not out[:, 2:].any()
    assert not out[:, :, 33:].any()
