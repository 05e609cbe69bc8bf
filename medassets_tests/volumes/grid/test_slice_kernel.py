"""Compiled counting and clipping of one slice against numpy."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import find_stored_ranges
from medassets.volumes.grid.slice_kernel import (
    clip_int16_slice,
    clip_slice,
    measure_integer_slice,
    measure_slice,
)

RANGES = (-200.0, 300.0, -200.0, -700.0, -1100.0, 32_767.0)

SCALINGS = [(1.0, 0.0), (1.0, -1024.0), (0.5, -600.25), (-2.0, 7.0)]


def make_slice(dtype: Any, shape: tuple[int, int] = (7, 11)) -> np.ndarray:
    return np.random.default_rng(5).integers(-1500, 1500, shape).astype(dtype)


def count(hu: np.ndarray, stored: np.ndarray) -> tuple[int, ...]:
    """Count with numpy what the kernel counts."""
    unlike = stored != stored[0, 0]
    changes = np.diff(stored, axis=1, prepend=stored[:, :1]) != 0
    masks = (
        (hu >= -200) & (hu <= 300),
        hu < -200,
        (hu < -200) & changes,
        (hu >= -1100) & (hu < -700) & changes,
        hu > 32767,
        unlike,
        ~np.isfinite(hu),
    )
    return tuple(int(mask.sum()) for mask in masks)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_voxels_are_counted_as_numpy_does(dtype: Any, scaling: tuple[float, float]) -> None:
    stored, (slope, intercept) = make_slice(dtype), scaling
    stored[3, 4] = 32000
    hu = stored.astype(np.float64) * slope + intercept
    assert measure_slice(stored, slope, intercept, RANGES, float(stored[0, 0])) == count(hu, stored)


def test_ends_of_the_ranges_belong_to_the_range_that_says_so() -> None:
    stored = np.array(
        [[0, -201, -200, 300, 301, -1101, -1100, -701, -700, 32767, 32768]], np.float32
    )
    assert measure_slice(stored, 1.0, 0.0, RANGES, 0.0) == (3, 5, 5, 2, 1, 10, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_not_within(value: float) -> None:
    stored = np.zeros((5, 7), np.float32)
    stored[2, 3] = stored[4, 6] = value
    within, _, _, dark, _, unlike, not_finite = measure_slice(stored, 1.0, 0.0, RANGES, 0.0)
    assert (within, dark, unlike, not_finite) == (33, 0, 2, 2)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int8, np.uint8])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_small_integers_are_counted_in_stored_units_as_in_hu(
    dtype: Any, scaling: tuple[float, float]
) -> None:
    # Longer than a piece whose counts fit int16.
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    stored = rng.integers(limits.min, limits.max, (2, 20_011), dtype, endpoint=True)
    ranges = find_stored_ranges(HuScaling("table", *scaling), np.dtype(dtype))
    assert ranges is not None
    found = measure_integer_slice(stored, ranges, stored[0, 0])
    hu = stored.astype(np.float64) * scaling[0] + scaling[1]
    assert found == count(hu, stored)[:6]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("dtype", "out"), [(np.int16, np.float64), (np.float32, np.float64)])
def test_the_kept_part_is_clipped_as_numpy_does(
    dtype: Any, out: Any, scaling: tuple[float, float]
) -> None:
    stored = make_slice(dtype)
    target = np.full((3, 5), -1, out)
    clip_slice(stored, 2, 4, scaling, (-1000.0, 400.0), target)
    hu = stored.astype(np.float64) * scaling[0] + scaling[1]
    np.testing.assert_array_equal(target, np.clip(hu, -1000, 400)[2:5, 4:9])


def test_int16_is_clipped_in_stored_units_as_in_hu() -> None:
    stored = make_slice(np.int16)
    target = np.full((4, 6), -1, np.int16)
    limits = (np.int16(-976), np.int16(424), np.int16(-24))
    clip_int16_slice(stored, 1, 5, limits, target)
    hu = np.clip(stored.astype(np.int64) - 24, -1000, 400)
    np.testing.assert_array_equal(target, hu[1:5, 5:11])
