"""Padding outside the reconstructed image, told by its stored value before anything is rescaled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.volumes.files.dicom.header import SliceHeader

_AIR_HU, _PADDED_HU = -1024.0, -2048.0


def read_padding(header: SliceHeader) -> tuple[int, int] | None:
    """Return the least and the largest stored value that means padding; None where there is none.

    Source: DICOM PS3.3 C.7.5.1.1.2: PixelPaddingValue, and PixelPaddingRangeLimit as the other end.
    """
    if "padding" not in header.words:
        return None
    first = as_stored(header.words["padding"], header)
    last = as_stored(header.words.get("padding_limit", header.words["padding"]), header)
    return min(first, last), max(first, last)


def as_stored(word: int, header: SliceHeader) -> int:
    """Return 16 bits of the header as a stored value, signed where pixels are."""
    return word - (1 << 16) if header.is_signed and word >= 1 << 15 else word


def fits_stored_bits(header: SliceHeader) -> bool:
    """Tell whether padding can be stored in the bits that pixels have; else it is read as another value."""
    padding, bits = read_padding(header), header.words.get("bits_stored", 16)
    if padding is None:
        return True
    low, high = (
        (-(1 << bits - 1), (1 << bits - 1) - 1) if header.is_signed else (0, (1 << bits) - 1)
    )
    return low <= padding[0] and padding[1] <= high


def mask_padding(
    stored: npt.NDArray[np.float64], header: SliceHeader, dtype: np.dtype[Any]
) -> None:
    """Replace padding that would be taken for tissue by a value below that of air, in place.

    Padding below air, as scanners write it, is kept: no window and no clipping sees it.

    Args:
        stored: Stored values of a slice.
        header: Its header.
        dtype: What the values are converted to, which bounds the replacement.
    """
    padding = read_padding(header)
    if padding is None:
        return
    slope, intercept = header.scaling
    masked = (stored >= padding[0]) & (stored <= padding[1])
    masked &= stored * slope + intercept > _AIR_HU
    if not masked.any():
        return
    value = round((_PADDED_HU - intercept) / slope)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        value = min(max(value, bounds.min), bounds.max)
    stored[masked] = value
