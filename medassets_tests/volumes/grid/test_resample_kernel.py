"""Compiled resampling of one block against float64 in numpy."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.grid.resample_kernel import BLOCK_VOXELS, LANES, resample_block

Axis = tuple[np.ndarray, np.ndarray, np.ndarray]


def make_axis(rng: np.random.Generator, num_in: int, num_out: int, parts: int) -> Axis:
    """Return neighbours and weights of the upper ones, in whole parts of 1."""
    lower = rng.integers(0, num_in, num_out)
    return lower, np.minimum(lower + 1, num_in - 1), rng.integers(0, parts + 1, num_out) / parts


def interpolate(slab: np.ndarray, k_axis: Axis, j_axis: Axis, i_axis: Axis) -> np.ndarray:
    """Interpolate along one axis after the other in float64; return axes (i, j, k)."""
    values = slab.astype(np.float64)
    for axis, (lower, upper, weight) in enumerate((k_axis, j_axis, i_axis)):
        sides = [-1 if other == axis else 1 for other in range(3)]
        share = weight.reshape(sides)
        values = values.take(lower, axis) * (1 - share) + values.take(upper, axis) * share
    return values.transpose(2, 1, 0)


def resample(
    slab: np.ndarray,
    axes: tuple[Axis, ...],
    out: np.ndarray,
    corner: tuple[int, int, int] = (0, 0, 0),
    inverse_scale: float = 1.0,
) -> None:
    width = -(-slab.shape[2] // LANES) * LANES
    scratch = (
        np.zeros((BLOCK_VOXELS, width), np.float32),
        np.zeros((width, BLOCK_VOXELS), np.float32),
        np.zeros(BLOCK_VOXELS, np.uint16),
    )
    k_axis, j_axis, i_axis = axes
    resample_block(
        slab, k_axis, j_axis, i_axis, inverse_scale, scratch, out.view(np.uint16), corner
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("num_k", [1, 11, 31, BLOCK_VOXELS])
def test_weights_that_float32_holds_give_the_voxels_of_numpy(num_k: int, dtype: Any) -> None:
    rng = np.random.default_rng(num_k)
    slab = rng.integers(-1000, 1000, (5, 7, 19)).astype(dtype)
    axes = tuple(make_axis(rng, *sides, 4) for sides in ((5, num_k), (7, 9), (19, 23)))
    out = np.zeros((23, 9, num_k), np.float16)
    resample(slab, axes, out)
    np.testing.assert_array_equal(out, interpolate(slab, *axes).astype(np.float16))


def test_only_the_block_is_written() -> None:
    rng = np.random.default_rng(0)
    slab = rng.integers(1, 1000, (5, 7, 11)).astype(np.int16)
    axes = tuple(make_axis(rng, *sides, 2) for sides in ((5, 6), (7, 4), (11, 3)))
    out = np.full((8, 9, 40), np.float16(-1))
    resample(slab, axes, out, corner=(2, 3, 10), inverse_scale=0.5)
    inside = (slice(2, 5), slice(3, 7), slice(10, 16))
    expected = (interpolate(slab, *axes) / 2).astype(np.float16)
    np.testing.assert_array_equal(out[inside], expected)
    out[inside] = -1
    assert (out == -1).all()


def test_any_weights_are_within_one_float16_step_of_float64(ulps: Any) -> None:
    rng = np.random.default_rng(3)
    slab = rng.integers(-1000, 1000, (5, 7, 11)).astype(np.int16)
    axes = tuple(make_axis(rng, *sides, 997) for sides in ((5, 32), (7, 20), (11, 40)))
    out = np.zeros((40, 20, 32), np.float16)
    resample(slab, axes, out, inverse_scale=1 / 1000)
    distance = ulps(out, (interpolate(slab, *axes) / 1000).astype(np.float16))
    assert distance.max() <= 1
    assert (distance == 0).mean() > 0.99


@pytest.mark.parametrize("num_k", [11, BLOCK_VOXELS])
def test_values_near_zero_are_computed_in_float64(num_k: int) -> None:
    rng = np.random.default_rng(num_k)
    # Opposite values that nearly cancel: float32 would lose most digits of the difference.
    slab = np.where(np.arange(11) % 2, 1000.0, -1000.0) * np.ones((5, 7, 1))
    i_axis = (np.arange(10), np.arange(1, 11), 0.5 + rng.uniform(-1e-7, 1e-7, 10))
    axes = (make_axis(rng, 5, num_k, 997), make_axis(rng, 7, 9, 997), i_axis)
    out = np.ones((10, 9, num_k), np.float16)
    resample(slab, axes, out, inverse_scale=1 / 1000)
    expected = (interpolate(slab, *axes) / 1000).astype(np.float32).astype(np.float16)
    assert np.abs(expected).max() < 2**-11
    # The smallest step of float16 around zero.
    np.testing.assert_allclose(out.astype(float), expected.astype(float), rtol=0, atol=2.0**-24)
    assert (out == expected).mean() > 0.99
