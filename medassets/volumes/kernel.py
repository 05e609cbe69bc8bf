"""Compiled loops over voxels; they hold no GIL and are compiled once per machine.

Imported only by the function that runs them: importing numba costs a quarter of a second.
No fused multiply-add and no fast-math: the same volume gives the same bytes on every machine.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

BLOCK_VOXELS = 32
"""Output voxels of one block along k: 32 float16 fill one cache line."""

# Below 2**-11 a float16 step is smaller than what float32 arithmetic can lose.
_NEAR_ZERO = np.float32(2.0**-11)

_SIGN = np.uint32(0x8000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_ROUND = np.uint32(0x0FFF)
_ONE = np.uint32(1)
_REBIAS = np.uint32(112 << 23)
_LEAST_NORMAL = np.uint32(0x38800000)
_HALF_BITS = np.uint32(0x3F000000)
_SHIFT_MANTISSA = np.uint32(13)
_SHIFT_SIGN = np.uint32(16)
_HALF = np.float32(0.5)


@njit(nogil=True, cache=True)
def measure_slice(
    stored: npt.NDArray[Any], slope: float, intercept: float, low: float, high: float, first: float
) -> Any:
    """Count voxels within [low, high] HU, voxels unlike `first` and voxels that are not finite.

    Args:
        stored: One slice, shape (j, i), any real dtype.
        slope: HU per stored unit.
        intercept: HU of a stored zero.
        low: Least HU counted.
        high: Largest HU counted.
        first: Stored value of the volume's first voxel.

    Returns:
        The three counts.
    """
    within = 0
    unlike = 0
    not_finite = 0
    for j in range(stored.shape[0]):
        row = stored[j]
        for i in range(row.size):
            value = np.float64(row[i])
            hu = value * slope + intercept
            within += (hu >= low) & (hu <= high)
            unlike += value != first
            not_finite += not np.isfinite(value)
    return within, unlike, not_finite


@njit(nogil=True, cache=True)
def measure_int16_slice(
    stored: npt.NDArray[np.int16], low: np.int16, high: np.int16, first: np.int16
) -> tuple[int, int]:
    """Do the counting of `measure_slice` for int16 in stored units."""
    within = 0
    unlike = 0
    for j in range(stored.shape[0]):
        row = stored[j]
        for i in range(row.size):
            within += (row[i] >= low) & (row[i] <= high)
            unlike += row[i] != first
    return within, unlike


@njit(nogil=True, cache=True)
def clip_slice(
    stored: npt.NDArray[Any],
    slope: float,
    intercept: float,
    low: float,
    high: float,
    target: npt.NDArray[Any],
) -> None:
    """Write clipped HU of the kept part of one slice.

    Args:
        stored: Kept part, shape (j, i), any real dtype.
        slope: HU per stored unit.
        intercept: HU of a stored zero.
        low: Lower clip in HU.
        high: Upper clip in HU.
        target: Shape (j, i); of a dtype that holds these HU exactly.
    """
    for j in range(stored.shape[0]):
        source_row = stored[j]
        target_row = target[j]
        for i in range(source_row.size):
            hu = np.float64(source_row[i]) * slope + intercept
            target_row[i] = min(max(hu, low), high)


@njit(nogil=True, cache=True)
def clip_int16_slice(
    stored: npt.NDArray[np.int16],
    low: np.int16,
    high: np.int16,
    intercept: np.int16,
    target: npt.NDArray[np.int16],
) -> None:
    """Do the work of `clip_slice` for int16; `low` and `high` in stored units."""
    for j in range(stored.shape[0]):
        source_row = stored[j]
        target_row = target[j]
        for i in range(source_row.size):
            target_row[i] = min(max(source_row[i], low), high) + intercept


@njit(nogil=True, cache=True)
def _half_bits(value: np.float32) -> np.uint16:
    """Round to float16, ties to even; |value| < 65520. Source: IEEE 754-2019, binary16."""
    bits = np.float32(value).view(np.uint32)
    magnitude = bits & _MAGNITUDE
    odd = (magnitude >> _SHIFT_MANTISSA) & _ONE
    normal = (magnitude + _ROUND + odd - _REBIAS) >> _SHIFT_MANTISSA
    # The unit of float32 in [0.5, 1) is the step of float16 subnormals: the sum rounds them.
    subnormal = np.float32(abs(value) + _HALF).view(np.uint32) - _HALF_BITS
    rounded = subnormal if magnitude < _LEAST_NORMAL else normal
    return np.uint16(rounded | ((bits >> _SHIFT_SIGN) & _SIGN))


@njit(nogil=True, cache=True)
def _exact_value(slab, p, q, wk, a, b, wj, c, d, wi, inverse_scale):
    """Interpolate one voxel in float64."""
    front = (slab[p, a, c] * (1.0 - wi) + slab[p, a, d] * wi) * (1.0 - wj) + (
        slab[p, b, c] * (1.0 - wi) + slab[p, b, d] * wi
    ) * wj
    back = (slab[q, a, c] * (1.0 - wi) + slab[q, a, d] * wi) * (1.0 - wj) + (
        slab[q, b, c] * (1.0 - wi) + slab[q, b, d] * wi
    ) * wj
    return (front * (1.0 - wk) + back * wk) * inverse_scale


@njit(nogil=True, cache=True)
def resample_block(slab, k0, k1, wk, j0, j1, wj, i0, i1, wi, inverse_scale, rows, out) -> None:
    for j in range(j0.size):
        a = j0[j]
        b = j1[j]
        for k in range(k0.size):
            p = k0[k]
            q = k1[k]
            w00 = np.float32((1.0 - wk[k]) * (1.0 - wj[j]) * inverse_scale)
            w01 = np.float32((1.0 - wk[k]) * wj[j] * inverse_scale)
            w10 = np.float32(wk[k] * (1.0 - wj[j]) * inverse_scale)
            w11 = np.float32(wk[k] * wj[j] * inverse_scale)
            for i in range(slab.shape[2]):
                rows[i, k] = (w00 * np.float32(slab[p, a, i]) + w01 * np.float32(slab[p, b, i])) + (
                    w10 * np.float32(slab[q, a, i]) + w11 * np.float32(slab[q, b, i])
                )
        for i in range(i0.size):
            c = i0[i]
            d = i1[i]
            u1 = np.float32(wi[i])
            u0 = np.float32(1.0 - wi[i])
            near_zero = False
            for k in range(k0.size):
                value = u0 * rows[c, k] + u1 * rows[d, k]
                near_zero |= abs(value) < _NEAR_ZERO
                out[i, j, k] = _half_bits(value)
            if near_zero:
                for k in range(k0.size):
                    value = u0 * rows[c, k] + u1 * rows[d, k]
                    if abs(value) < _NEAR_ZERO:
                        exact = _exact_value(
                            slab, k0[k], k1[k], wk[k], a, b, wj[j], c, d, wi[i], inverse_scale
                        )
                        out[i, j, k] = _half_bits(np.float32(exact))
