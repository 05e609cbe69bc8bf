"""The compiled rounding to float16 against numpy: every bit, the largest value, the largest error."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.grid.float16_kernel import round_values


def run(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return float16 values, the largest magnitude and the largest error."""
    out = np.zeros(values.size, np.uint16)
    figures = np.array(round_values(values, out), np.int32).view(np.float32)
    return out.view(np.float16), float(figures[0]), float(figures[1])


def compare(values: np.ndarray) -> None:
    expected = values.astype(np.float32).astype(np.float16)
    made, largest, error = run(values)
    np.testing.assert_array_equal(made.view(np.uint16), expected.view(np.uint16))
    wide = values.astype(np.float32).astype(np.float64)
    assert largest == np.abs(wide).max()
    assert error == np.abs(wide - expected.astype(np.float64)).max()


def test_every_float16_is_kept_without_error() -> None:
    halves = np.arange(0x7C00, dtype=np.uint16)
    both = np.concatenate([halves, halves | 0x8000]).view(np.float16)
    made, largest, error = run(both.astype(np.float32))
    np.testing.assert_array_equal(made.view(np.uint16), both.view(np.uint16))
    assert (largest, error) == (65504.0, 0.0)


def test_ties_go_to_the_even_neighbour_and_all_else_to_the_nearest() -> None:
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    below, above = (np.nextafter(middles, np.float32(side)) for side in (-9e9, 9e9))
    for values in (middles, below, above):
        compare(values)
        compare(-values)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_every_integer_of_16_bits_is_rounded_as_numpy_does(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    compare(np.arange(max(limits.min, -65504), min(limits.max, 65504) + 1).astype(dtype))


@pytest.mark.parametrize("size", [1, 5, 7, 11, 1000])
def test_any_number_of_values_is_rounded(size: int) -> None:
    values = np.random.default_rng(size).normal(0, 500, size).astype(np.float32)
    compare(values)


def test_nan_counts_as_the_largest_of_all() -> None:
    _, largest, _ = run(np.array([1.0, np.nan, 65504.0, np.inf], np.float32))
    assert np.isnan(largest)
