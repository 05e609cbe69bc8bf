"""Differences of float16 values are counted exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.comparison.values import Tolerance, compare_stream, compare_values
from medassets.volumes.files.array_files import open_npy_array


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_longer_than_a_piece_are_compared_to_their_end(tmp_path: Path, order: Any) -> None:
    right = np.random.default_rng(1).normal(size=(70, 80, 90)).astype(np.float16)
    wrong = right.copy()
    wrong[-1, -1, -1] += np.float16(1)
    wrong[0, 1, 2] += np.float16(1)
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(wrong, order=order))
    with open_npy_array(path) as stream:
        found = compare_stream(stream, right, tolerance=Tolerance(steps=1))
    assert (found.num_values, found.num_differing, found.num_beyond) == (right.size, 2, 2)


def test_steps_are_counted_over_zero_and_what_is_not_finite_is_wrong() -> None:
    tiny, half = np.float16(6e-8), np.float16
    expected = np.array([0.0, -0.0, tiny, 65504, 1.0, 1.0, 1.0, 1.0], np.float16)
    values = np.array([-0.0, 0.0, -tiny, np.inf, np.nan, 1.001, 1.002, 1.0], np.float16)
    found = compare_values(values, expected, tolerance=Tolerance(steps=1))
    assert found.num_not_finite == 2
    assert found.num_differing == 5
    # -tiny is two steps from tiny, 1.002 two from 1.
    assert found.num_beyond == 4
    assert found.largest == float(half(1.002)) - 1
    assert compare_values(values[5:], expected[5:], tolerance=Tolerance(steps=2)).num_beyond == 0


def test_a_difference_passes_by_steps_or_by_itself() -> None:
    expected = np.array([0.0, 0.001, 0.9], np.float16)
    values = expected + np.float16(0.0002)
    values[2] = np.nextafter(expected[2], np.float16(2))
    assert compare_values(values, expected, tolerance=Tolerance(steps=1)).num_beyond == 2
    both = Tolerance(steps=1, difference=0.0003)
    assert compare_values(values, expected, tolerance=both).num_beyond == 0
    assert compare_values(values, expected, tolerance=Tolerance(0, 0.0003)).num_beyond == 1


def test_empty_values_have_no_mean() -> None:
    nothing = np.zeros(0, np.float16)
    found = compare_values(nothing, nothing, tolerance=Tolerance(steps=0))
    assert (found.share, found.mean, str(found)) == (0, 0, "all values equal")
