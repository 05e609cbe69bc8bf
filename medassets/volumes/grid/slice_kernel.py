"""Compiled loops over one stored slice: count for the HU guard, clip to HU.

They hold no GIL and are compiled once per machine and stored dtype.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

# Counts of a piece fit int16.
_PIECE_VOXELS = 8192


@njit(nogil=True, cache=True)
def measure_slice(
    stored: npt.NDArray[Any],
    slope: float,
    intercept: float,
    ranges: tuple[float, float, float, float, float, float],
    first: float,
) -> Any:
    """Count the voxels that the HU guard judges.

    Args:
        stored: One slice, shape (j, i), any real dtype.
        slope: HU per stored unit.
        intercept: HU of a stored zero.
        ranges: In HU: least and largest plausible value, both included; what air is below; what
            dark air is below, and its least value, included; what no scanner stores is above.
        first: Stored value of the volume's first voxel.

    Returns:
        Numbers of voxels: plausible; air; air and dark air that differ from the voxel before them on
        axis i, as noise does and padding does not; above what scanners store; different from
        `first`; not finite.
    """
    low, high, air, dark, darkest, highest = ranges
    within = below = noisy = deep = beyond = unlike = not_finite = 0
    for j in range(stored.shape[0]):
        row = stored[j]
        before = np.float64(row[0])
        for i in range(row.size):
            value = np.float64(row[i])
            hu = value * slope + intercept
            changes = value != before
            within += (hu >= low) & (hu <= high)
            below += hu < air
            noisy += (hu < air) & changes
            deep += (hu < dark) & (hu >= darkest) & changes
            beyond += hu > highest
            unlike += value != first
            not_finite += not np.isfinite(value)
            before = value
    return within, below, noisy, deep, beyond, unlike, not_finite


@njit(nogil=True, cache=True)
def measure_integer_slice(stored: npt.NDArray[Any], ranges: npt.NDArray[Any], first: Any) -> Any:
    """Implement `measure_slice` in stored units, for integers of at most 16 bits.

    Args:
        stored: One slice, shape (j, i).
        ranges: Of the dtype of `stored`, shape (4, 2): least and largest stored value, both included,
            that is plausible, air, dark air, above what scanners store. An empty range has its least
            value above its largest.
        first: Stored value of the volume's first voxel.
    """
    low, high, air_low, air_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    dark_low, dark_high, above_low, above_high = (
        ranges[2, 0],
        ranges[2, 1],
        ranges[3, 0],
        ranges[3, 1],
    )
    within = below = noisy = deep = beyond = unlike = 0
    for j in range(stored.shape[0]):
        row = stored[j]
        for start in range(0, row.size, _PIECE_VOXELS):
            # Only loops over whole slices are vectorized, and only with counters as narrow as voxels.
            piece = row[start : start + _PIECE_VOXELS]
            w = b = a = u = np.int16(0)
            for i in range(piece.size):
                value = piece[i]
                w = np.int16(w + np.int16((value >= low) & (value <= high)))
                b = np.int16(b + np.int16((value >= air_low) & (value <= air_high)))
                a = np.int16(a + np.int16((value >= above_low) & (value <= above_high)))
                u = np.int16(u + np.int16(value != first))
            # The first voxel of a row has none before it.
            piece = row[start + 1 : start + 1 + _PIECE_VOXELS]
            before = row[start : start + piece.size]
            n = d = np.int16(0)
            for i in range(piece.size):
                value = piece[i]
                changes = value != before[i]
                n = np.int16(n + np.int16((value >= air_low) & (value <= air_high) & changes))
                d = np.int16(d + np.int16((value >= dark_low) & (value <= dark_high) & changes))
            within += w
            below += b
            noisy += n
            deep += d
            beyond += a
            unlike += u
    return within, below, noisy, deep, beyond, unlike


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
