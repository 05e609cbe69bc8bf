"""Compiled counting of digits of stored values, for exact percentiles.

Holds no GIL and is compiled once per machine and width of the values.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(nogil=True, cache=True)
def count_digits(
    bits: npt.NDArray[Any],
    flips: tuple[np.uint64, np.uint64],
    place: tuple[np.uint64, np.uint64, np.uint64],
    prefix: np.uint64,
    counts: npt.NDArray[np.int64],
) -> None:
    """Count one digit of the values whose higher digits are known.

    A value's key is its bits, flipped so that keys are in the order of the values.

    Args:
        bits: Bits of the values, 1-D, unsigned.
        flips: What is flipped of a value whose highest bit is 0, and of one whose highest bit is 1.
        place: Number of the highest bit, and of the lowest bit of the digit; bits of a digit.
        prefix: Digits above this one, as a number.
        counts: Is added to; one number per digit.
    """
    top, shift, width = place
    mask = (np.uint64(1) << width) - np.uint64(1)
    for index in range(bits.size):
        key = np.uint64(bits[index])
        key ^= flips[1] if (key >> top) & np.uint64(1) else flips[0]
        digits = key >> shift
        if digits >> width == prefix:
            counts[digits & mask] += 1
