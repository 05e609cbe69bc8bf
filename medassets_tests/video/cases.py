"""The numbers that frames of `../shared/cases/video` show."""

import numpy as np
import numpy.typing as npt

_SIDE, _NUM_BITS = 4, 12


def read_case_number(frame: npt.NDArray[np.uint8]) -> int:
    """Return the number in a grid of 4 x 4: bits 0 to 11 row by row, then 4 bits of parity.

    Args:
        frame: uint8, axes (h, w, c).
    """
    grey = frame.astype(np.float64).mean(axis=2)
    height, width = grey.shape[0] / _SIDE, grey.shape[1] / _SIDE
    bits = 0
    for bit in range(_NUM_BITS):
        row, column = divmod(bit, _SIDE)
        rows = slice(int((row + 0.3) * height), int((row + 0.7) * height) + 1)
        columns = slice(int((column + 0.3) * width), int((column + 0.7) * width) + 1)
        bits |= int(grey[rows, columns].mean() > 127.5) << bit
    return bits
