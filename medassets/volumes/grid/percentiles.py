"""Exact percentiles of a stored volume, without the volume in memory.

A radix selection: each pass over the file counts one digit of 16 bits of the values that agree with the
wanted ones in all digits above. Values of 16 bits take one pass, of 32 bits two.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.grid.hu import HuScaling

_DIGIT_BITS = 16
# A piece stays in the second-level cache while its digits are counted.
_PIECE_VALUES = 1 << 17

OpenStream = Callable[[], AbstractContextManager[VolumeStream]]


def find_percentile_range(
    open_stream: OpenStream,
    percentiles: tuple[float, float],
    *,
    scaling: HuScaling,
    buffers: BufferPool,
) -> tuple[float, float]:
    """Return the values at two percentiles of all voxels of a volume.

    Between two voxels the value is interpolated linearly, as `numpy.percentile` does.

    Args:
        open_stream: Opens the volume; called once per pass.
        percentiles: (low, high) in percent.
        scaling: How stored values become the values of the file.
        buffers: Where scratch arrays come from.

    Returns:
        (low, high), low < high.

    Raises:
        SampleRejectedError: NOT_FINITE, or CONSTANT_VOLUME where both are the same value; see the
            opener as well.

    Source: Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996, definition 7.
    """
    asked = percentiles if scaling.slope > 0 else (100 - percentiles[0], 100 - percentiles[1])
    with open_stream() as stream:
        dtype = stream.header.dtype
        places = [q / 100 * (math.prod(stream.header.shape) - 1) for q in asked]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    values = _select(open_stream, ranks, dtype=dtype, buffers=buffers)
    low, high = (
        _interpolate(values, place) * scaling.slope + scaling.intercept for place in places
    )
    if not low < high:
        detail = (
            f"percentiles {percentiles[0]:g} and {percentiles[1]:g} of all voxels are both {low:g}; a "
            f"volume that is mostly one value needs a fixed range, see clip"
        )
        raise SampleRejectedError(Reason.CONSTANT_VOLUME, detail)
    return low, high


def _interpolate(values: dict[int, float], place: float) -> float:
    below, above = values[math.floor(place)], values[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def _select(
    open_stream: OpenStream, ranks: list[int], *, dtype: np.dtype[Any], buffers: BufferPool
) -> dict[int, float]:
    """Return the stored values of some ranks among all sorted ones."""
    keys = _Keys.of(dtype)
    # Of each rank: the digits found so far, as a number, and the rank among the values with them.
    found = {rank: (0, rank) for rank in ranks}
    for shift in range(keys.num_bits - keys.digit_bits, -1, -keys.digit_bits):
        counts = {prefix: np.zeros(1 << keys.digit_bits, np.int64) for prefix, _ in found.values()}
        with open_stream() as stream:
            keys.count(stream, counts, shift=shift, buffers=buffers)
        for rank, (prefix, left) in found.items():
            sums = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(sums, left, side="right"))
            smaller = int(sums[digit - 1]) if digit else 0
            found[rank] = ((prefix << keys.digit_bits) | digit, left - smaller)
    return {rank: keys.value(key) for rank, (key, _) in found.items()}


@dataclass(frozen=True)
class _Keys:
    """Unsigned numbers that are in the order of the values of a dtype.

    Attributes:
        dtype: The dtype, of native byte order.
        num_bits: Bits of a value.
        flip_clear: What is flipped of a value whose highest bit is 0.
        flip_set: What is flipped of a value whose highest bit is 1.
    """

    dtype: np.dtype[Any]
    num_bits: int
    flip_clear: int
    flip_set: int

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> "_Keys":
        num_bits = 8 * dtype.itemsize
        top, every = 1 << (num_bits - 1), (1 << num_bits) - 1
        # Negative floats are stored as sign and magnitude: IEEE 754-2019, 3.4.
        flips = {"u": (0, 0), "i": (top, top), "f": (top, every)}[dtype.kind]
        return cls(dtype.newbyteorder("="), num_bits, *flips)

    @property
    def digit_bits(self) -> int:
        return min(self.num_bits, _DIGIT_BITS)

    def value(self, key: int) -> float:
        """Return the value of a key."""
        top = 1 << (self.num_bits - 1)
        # Either way of flipping changes the highest bit in the same way.
        is_set = bool((key ^ self.flip_clear) & top)
        bits = key ^ (self.flip_set if is_set else self.flip_clear)
        return float(np.array(bits, f"u{self.dtype.itemsize}").view(self.dtype))

    def count(
        self,
        stream: VolumeStream,
        counts: dict[int, npt.NDArray[np.int64]],
        *,
        shift: int,
        buffers: BufferPool,
    ) -> None:
        """Count the digit at a shift of all values of a volume; read it to its end.

        Raises:
            SampleRejectedError: NOT_FINITE.
        """
        from medassets.volumes.grid.percentile_kernel import count_digits

        flips = (np.uint64(self.flip_clear), np.uint64(self.flip_set))
        place = (np.uint64(self.num_bits - 1), np.uint64(shift), np.uint64(self.digit_bits))
        num_not_finite = 0
        for values in _iter_pieces(stream, buffers):
            if self.dtype.kind == "f":
                num_not_finite += int((~np.isfinite(values)).sum())
            bits = values.view(f"u{self.dtype.itemsize}")
            for prefix, found in counts.items():
                count_digits(bits, flips, place, np.uint64(prefix), found)
        stream.finish()
        if num_not_finite:
            total = math.prod(stream.header.shape)
            detail = f"{num_not_finite} of {total} voxels are not finite"
            raise SampleRejectedError(Reason.NOT_FINITE, detail)


def _iter_pieces(stream: VolumeStream, buffers: BufferPool) -> Iterable[npt.NDArray[Any]]:
    """Yield all values in stored order, of native byte order; each is valid until the next."""
    left = math.prod(stream.header.shape)
    with buffers.borrow((min(_PIECE_VALUES, left),), stream.header.dtype) as scratch:
        while left:
            values = scratch[:left]
            stream.read_into(values)
            left -= values.size
            if not values.dtype.isnative:
                values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
            yield values
