"""Compiled packing of masks, one bit per voxel and window, and unpacking in slabs.

Imported only by the functions that run it: importing numba costs a quarter of a second. The loops
hold no GIL and are compiled once per machine and stored dtype.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(nogil=True, cache=True)
def pack_by_table(
    stored: npt.NDArray[Any],
    table: npt.NDArray[Any],
    first_byte: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Write the bits of up to eight windows; one lookup per voxel gives all of them.

    Args:
        stored: Voxels as unsigned integers, shape (num,).
        table: Per stored value a word whose byte w is 1 where window w holds it; as many bytes as
            there may be windows.
        first_byte: Byte of every mask that the first voxel belongs to.
        out: uint8 (windows, bytes).
    """
    num_windows = out.shape[0]
    num_whole = stored.size // 8
    for byte in range(num_whole):
        eight = stored[byte * 8 : byte * 8 + 8]
        # Bit b of byte w is voxel b in window w: no carry leaves a byte.
        word = (
            (table[eight[0]] | (table[eight[1]] << 1))
            | ((table[eight[2]] << 2) | (table[eight[3]] << 3))
            | ((table[eight[4]] << 4) | (table[eight[5]] << 5))
            | ((table[eight[6]] << 6) | (table[eight[7]] << 7))
        )
        for window in range(num_windows):
            out[window, first_byte + byte] = (word >> (8 * window)) & 255
    if stored.size % 8:
        for window in range(num_windows):
            bits = 0
            for bit in range(stored.size % 8):
                bits |= ((table[stored[num_whole * 8 + bit]] >> (8 * window)) & 1) << bit
            out[window, first_byte + num_whole] = bits


@njit(nogil=True, cache=True)
def pack_by_bounds(
    stored: npt.NDArray[Any],
    scaling: tuple[float, float],
    bounds: npt.NDArray[np.float64],
    first_byte: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Write the bits of windows by comparing HU with both ends, in float64.

    Args:
        stored: Voxels of any real dtype, shape (num,).
        scaling: HU per stored unit, HU of a stored zero.
        bounds: Least and largest HU of every window, shape (windows, 2).
        first_byte: Byte of every mask that the first voxel belongs to.
        out: uint8 (windows, bytes).
    """
    slope, intercept = scaling
    hu = np.empty(8, np.float64)
    for byte in range((stored.size + 7) // 8):
        num = min(8, stored.size - byte * 8)
        for bit in range(num):
            hu[bit] = np.float64(stored[byte * 8 + bit]) * slope + intercept
        for window in range(out.shape[0]):
            low, high = bounds[window, 0], bounds[window, 1]
            bits = 0
            for bit in range(num):
                bits |= ((hu[bit] >= low) & (hu[bit] <= high)) << bit
            out[window, first_byte + byte] = bits


@njit(nogil=True, cache=True)
def unpack_slab(
    bits: npt.NDArray[np.uint8], shape: tuple[int, int, int], start: int, out: npt.NDArray[np.uint8]
) -> None:
    """Write consecutive planes of a mask, last axis fastest.

    Args:
        bits: The mask, first axis fastest.
        shape: Its sides (i, j, k).
        start: First plane along i.
        out: uint8 (planes, at least j, at least k); what lies beyond the mask is left as it is.
    """
    num_i, num_j, num_k = shape
    num_planes = min(out.shape[0], num_i - start)
    for k in range(num_k):
        for j in range(num_j):
            first = start + num_i * (j + num_j * k)
            for plane in range(num_planes):
                at = first + plane
                out[plane, j, k] = (bits[at >> 3] >> (at & 7)) & 1
