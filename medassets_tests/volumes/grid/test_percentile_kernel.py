"""Digits are counted as a loop in Python counts them."""

import numpy as np
import pytest

from medassets.volumes.grid.percentile_kernel import count_digits


@pytest.mark.parametrize(("shift", "prefix"), [(16, 0), (0, 3)])
def test_only_values_with_the_prefix_are_counted(shift: int, prefix: int) -> None:
    values = np.array([0x0003_0007, 0x0003_0007, 0x0004_0007, 0x8003_0001], np.uint32)
    counts = np.zeros(1 << 16, np.int64)
    # The highest bit is flipped where it is 1, as of a value that a dtype sorts first.
    flips = (np.uint64(0), np.uint64(1 << 31))
    place = (np.uint64(31), np.uint64(shift), np.uint64(16))
    count_digits(values, flips, place, np.uint64(prefix), counts)
    keys = [int(value) & 0x7FFF_FFFF for value in values]
    expected = np.zeros(1 << 16, np.int64)
    for key in keys:
        if key >> shift >> 16 == prefix:
            expected[key >> shift & 0xFFFF] += 1
    assert np.array_equal(counts, expected)
    assert counts.sum() == (4 if shift else 3)
