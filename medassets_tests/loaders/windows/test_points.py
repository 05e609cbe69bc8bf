"""Points in memory against numpy, and positions that no volume has."""

import numpy as np
import pytest

from medassets.loaders.windows.points import KeptList, KeptMask, as_values, check_index
from medassets.volumes.windows.occupancy import pack_mask
from medassets_tests.loaders.windows.window_data import make_mask


def pick_every_third(num_points: int) -> np.ndarray:
    return np.arange(0, num_points, 3)


def test_a_kept_mask_gives_the_points_that_numpy_finds() -> None:
    mask = make_mask(1)
    kept = KeptMask(pack_mask(mask), values=np.arange(mask.sum(), dtype=np.int16))
    points = kept.draw(pick_every_third)
    # Bits are in the order of the file: the first axis is contiguous.
    expected = np.argwhere(mask.T)[::3, ::-1]
    np.testing.assert_array_equal(points.index, expected)
    assert points.values is not None
    np.testing.assert_array_equal(points.values, np.arange(0, mask.sum(), 3)[:, None])
    assert (points.index.dtype, points.values.dtype) == (np.int64, np.float32)


def test_a_mask_of_the_transposed_volume_gives_its_points_reversed() -> None:
    mask = make_mask(2)
    points = KeptMask(pack_mask(mask.T), reverse=True).draw(np.arange)
    np.testing.assert_array_equal(points.index, np.argwhere(mask))
    assert points.values is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_kept_list_gives_contiguous_positions(order: str) -> None:
    index = np.asarray(np.argwhere(make_mask(3)), np.int16, order=order)  # pyright: ignore[reportArgumentType, reportCallIssue]
    values = np.linspace(-1, 1, len(index)).astype(np.float16)
    points = KeptList(index, values).draw(pick_every_third)
    np.testing.assert_array_equal(points.index, index[::3])
    assert points.index.flags.c_contiguous
    assert points.index.dtype == np.int64
    np.testing.assert_array_equal(points.values, values[::3, None].astype(np.float32))


def test_the_size_in_memory_is_that_of_all_arrays() -> None:
    occupancy = pack_mask(make_mask(4))
    bits = occupancy.bits.nbytes + occupancy.rank.nbytes
    assert KeptMask(occupancy).num_bytes == bits
    assert KeptMask(occupancy, values=np.ones(7, np.int16)).num_bytes == bits + 14
    assert KeptList(np.ones((5, 3), np.int16), None).num_bytes == 30
    assert KeptList(np.ones((5, 3), np.int16), np.ones(5)).num_bytes == 70


def test_values_of_any_shape_become_one_column() -> None:
    for shape in ((4,), (4, 1)):
        assert as_values(np.ones(shape, np.uint8)).shape == (4, 1)


@pytest.mark.parametrize("wrong", [-1, 1 << 31])
def test_positions_outside_any_volume_are_refused(wrong: int) -> None:
    check_index(np.empty((0, 3), np.int64))
    check_index(np.array([[0, 1, (1 << 31) - 1]]))
    low, high = min(wrong, 0), max(wrong, 5)
    with pytest.raises(ValueError, match=f"expected 0 to 2,147,483,647, got {low} to {high}"):
        check_index(np.array([[0, 5, wrong]]))
