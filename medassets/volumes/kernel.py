"""Compiled loops over voxels; they hold no GIL and are compiled once per machine.

Imported only by the functions that run them: importing numba costs a quarter of a second.
No fused multiply-add and no fast-math: the same volume gives the same bytes on every machine.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from medassets.volumes.lanes import (
    LANES,
    blend_to_half,
    count_trailing_zeros,
    round_to_half,
    transpose_tile,
)

BLOCK_VOXELS = 2 * LANES
"""Output voxels of one block along k: 32 float16 fill one cache line."""


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
    j_start: int,
    i_start: int,
    scaling: tuple[float, float],
    clip_hu: tuple[float, float],
    target: npt.NDArray[Any],
) -> None:
    """Write clipped HU of the kept part of one slice.

    Args:
        stored: Whole slice, shape (j, i), any real dtype, C-contiguous.
        j_start: First kept row.
        i_start: First kept voxel of a row.
        scaling: HU per stored unit, HU of a stored zero.
        clip_hu: Lower and upper clip.
        target: Kept part, shape (j, i), C-contiguous; of a dtype that holds these HU exactly.
    """
    slope, intercept = scaling
    low, high = clip_hu
    for j in range(target.shape[0]):
        source_row = stored[j_start + j][i_start : i_start + target.shape[1]]
        target_row = target[j]
        for i in range(target_row.size):
            hu = np.float64(source_row[i]) * slope + intercept
            target_row[i] = min(max(hu, low), high)


@njit(nogil=True, cache=True)
def clip_int16_slice(
    stored: npt.NDArray[np.int16],
    j_start: int,
    i_start: int,
    limits: tuple[np.int16, np.int16, np.int16],
    target: npt.NDArray[np.int16],
) -> None:
    """Do the work of `clip_slice` for int16; limits are low, high (stored units), intercept."""
    low, high, intercept = limits
    for j in range(target.shape[0]):
        source_row = stored[j_start + j][i_start : i_start + target.shape[1]]
        target_row = target[j]
        for i in range(target_row.size):
            value = min(max(source_row[i], low), high)
            target_row[i] = np.int16(value + intercept)


@njit(nogil=True, cache=True)
def _interpolate_rows(
    slab: npt.NDArray[Any],
    k_axis: Any,
    j_axis: Any,
    j: int,
    inverse_scale: float,
    rows: npt.NDArray[np.float32],
) -> None:
    """Interpolate along k and j: rows[k, i] for one output row j and all k of a block."""
    k0, k1, k_weight = k_axis
    a, b = j_axis[0][j], j_axis[1][j]
    b_weight = j_axis[2][j]
    for k in range(k0.size):
        p, q = k0[k], k1[k]
        near = (1.0 - k_weight[k]) * inverse_scale
        far = k_weight[k] * inverse_scale
        pa, pb = np.float32(near * (1.0 - b_weight)), np.float32(near * b_weight)
        qa, qb = np.float32(far * (1.0 - b_weight)), np.float32(far * b_weight)
        for i in range(slab.shape[2]):
            rows[k, i] = (pa * np.float32(slab[p, a, i]) + pb * np.float32(slab[p, b, i])) + (
                qa * np.float32(slab[q, a, i]) + qb * np.float32(slab[q, b, i])
            )


@njit(nogil=True, cache=True)
def _interpolate_voxel(
    slab: npt.NDArray[Any],
    k_axis: Any,
    k: int,
    j_axis: Any,
    j: int,
    i_axis: Any,
    i: int,
    inverse_scale: float,
) -> float:
    """Interpolate one voxel in float64."""
    value = 0.0
    for k_side in range(2):
        wk = k_axis[2][k] if k_side else 1.0 - k_axis[2][k]
        plane = slab[k_axis[1][k] if k_side else k_axis[0][k]]
        for j_side in range(2):
            wj = j_axis[2][j] if j_side else 1.0 - j_axis[2][j]
            row = plane[j_axis[1][j] if j_side else j_axis[0][j]]
            ends = row[i_axis[0][i]] * (1.0 - i_axis[2][i]) + row[i_axis[1][i]] * i_axis[2][i]
            value += wk * wj * ends
    return value * inverse_scale


@njit(nogil=True, cache=True)
def resample_block(
    slab: npt.NDArray[Any],
    k_axis: Any,
    j_axis: Any,
    i_axis: Any,
    inverse_scale: float,
    scratch: Any,
    out: npt.NDArray[np.uint16],
    corner: tuple[int, int, int],
) -> None:
    """Resample one block of at most 32 output voxels along k, all j, all i.

    Args:
        slab: Clipped HU of the slices needed, shape (slot, j, i), C-contiguous.
        k_axis: Lower slot, upper slot, weight of the upper one, per output voxel along k.
        j_axis: The same along j.
        i_axis: The same along i.
        inverse_scale: Factor on the result.
        scratch: float32 (32, n), float32 (n, 32) and uint16 (32,), with n the width of the slab
            rounded up to a multiple of 16.
        out: float16 bits of the whole output, axes (i, j, k), C-contiguous.
        corner: Where the block begins in `out`.
    """
    rows, columns, line = scratch
    rows_at, columns_at, line_at = rows.ctypes.data, columns.ctypes.data, line.ctypes.data
    num_k = k_axis[0].size
    whole = num_k == BLOCK_VOXELS
    inside = (1 << num_k) - 1
    i_corner, j_corner, k_corner = corner
    i_stride, j_stride = out.shape[1] * out.shape[2] * 2, out.shape[2] * 2
    for j in range(j_axis[0].size):
        _interpolate_rows(slab, k_axis, j_axis, j, inverse_scale, rows)
        for k in range(0, BLOCK_VOXELS, LANES):
            for i in range(0, columns.shape[0], LANES):
                transpose_tile(
                    rows_at + k * rows.shape[1] * 4 + i * 4,
                    rows.shape[1] * 4,
                    columns_at + i * BLOCK_VOXELS * 4 + k * 4,
                    BLOCK_VOXELS * 4,
                )
        first_at = out.ctypes.data + i_corner * i_stride + (j_corner + j) * j_stride + k_corner * 2
        for i in range(i_axis[0].size):
            near_zero = inside & blend_to_half(
                columns_at + i_axis[0][i] * BLOCK_VOXELS * 4,
                columns_at + i_axis[1][i] * BLOCK_VOXELS * 4,
                np.float32(1.0 - i_axis[2][i]),
                np.float32(i_axis[2][i]),
                first_at + i * i_stride if whole else line_at,
            )
            if not whole:
                out[i_corner + i, j_corner + j, k_corner : k_corner + num_k] = line[:num_k]
            while near_zero:
                k = count_trailing_zeros(near_zero)
                near_zero &= near_zero - 1
                exact = _interpolate_voxel(slab, k_axis, k, j_axis, j, i_axis, i, inverse_scale)
                out[i_corner + i, j_corner + j, k_corner + k] = round_to_half(np.float32(exact))
