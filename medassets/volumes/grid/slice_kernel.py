"""Compiled loops over one stored slice: count for the HU guard, clip to HU.

They hold no GIL and are compiled once per machine and stored dtype.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(nogil=True, cache=True)
def measure_slice(
    stored: npt.NDArray[Any], slope: float, intercept: float, low: float, high: float, first: float
) -> Any:
    """Count voxels within [low, high] HU, voxels that differ from `first` and voxels that are not finite.

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
    """Implement `measure_slice` for int16 in stored units."""
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
    """Implement `clip_slice` for int16; limits are low, high (stored units), intercept."""
    low, high, intercept = limits
    for j in range(target.shape[0]):
        source_row = stored[j_start + j][i_start : i_start + target.shape[1]]
        target_row = target[j]
        for i in range(target_row.size):
            value = min(max(source_row[i], low), high)
            target_row[i] = np.int16(value + intercept)
