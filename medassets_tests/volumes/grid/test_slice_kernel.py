"""Compiled counting and clipping of one slice against numpy."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.grid.slice_kernel import (
    clip_int16_slice,
    clip_slice,
    measure_int16_slice,
    measure_slice,
)

SCALINGS = [(1.0, 0.0), (1.0, -1024.0), (0.5, -600.25), (-2.0, 7.0)]


def make_slice(dtype: Any, shape: tuple[int, int] = (7, 11)) -> np.ndarray:
    return np.random.default_rng(5).integers(-1500, 1500, shape).astype(dtype)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_voxels_are_counted_as_numpy_does(dtype: Any, scaling: tuple[float, float]) -> None:
    stored, (slope, intercept) = make_slice(dtype), scaling
    hu = stored.astype(np.float64) * slope + intercept
    first = float(stored[0, 0])
    counts = measure_slice(stored, slope, intercept, -200.0, 300.0, first)
    assert counts == (((hu >= -200) & (hu <= 300)).sum(), (stored != first).sum(), 0)


def test_both_ends_are_within() -> None:
    stored = np.array([[-201, -200, 300, 301]], np.float32)
    assert measure_slice(stored, 1.0, 0.0, -200.0, 300.0, -201.0) == (2, 3, 0)
    whole = stored.astype(np.int16)
    limits = (np.int16(-200), np.int16(300), np.int16(-201))
    assert measure_int16_slice(whole, *limits) == (2, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_not_within(value: float) -> None:
    stored = np.zeros((5, 7), np.float32)
    stored[2, 3] = stored[4, 6] = value
    assert measure_slice(stored, 1.0, 0.0, -200.0, 300.0, 0.0) == (33, 2, 2)


def test_int16_is_counted_in_stored_units_as_in_hu() -> None:
    stored, intercept = make_slice(np.int16), -24
    first = stored[0, 0]
    limits = (np.int16(-200 - intercept), np.int16(300 - intercept))
    within, unlike = measure_int16_slice(stored, *limits, first)
    expected = measure_slice(stored, 1.0, float(intercept), -200.0, 300.0, float(first))
    assert (within, unlike) == expected[:2]


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
