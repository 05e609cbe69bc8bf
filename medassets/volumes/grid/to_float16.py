"""Converts stored values to float16 in one pass, with the rounding error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.arrays import VolumeArray
from medassets.errors import Reason, SampleRejectedError
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.grid.hu_guard import VoxelCounter

LARGEST_HALF = 65504.0
"""Source: IEEE 754-2019, binary16."""

_INFINITE_BITS = 0x7C00
# A piece is read and rounded while it is in the second-level cache, as float32 and float16.
_PIECE_VALUES = 1 << 17
# This number of planes fills one cache line with float16.
_NUM_PLANES = 32
# Eight million voxels: the error of a share is far below what a guard judges.
_COUNTED_PIECES = 64


@dataclass(frozen=True)
class HalfStatistics:
    """Errors of a conversion to float16.

    Attributes:
        largest: Largest magnitude of a finite stored value; 0 if there is none.
        max_rounding_error: Largest change of a stored value that float16 can hold, exact.
        num_not_finite: NaN and infinities.
        num_overflow: Finite values beyond 65504 or below -65504.
        is_constant: Whether all float16 values are equal; stored ones may differ by less.
    """

    largest: float
    max_rounding_error: float
    num_not_finite: int
    num_overflow: int
    is_constant: bool


def convert_to_half(
    stream: VolumeStream,
    out: VolumeArray,
    *,
    buffers: BufferPool,
    counter: VoxelCounter | None = None,
) -> HalfStatistics:
    """Read an array to its end as float16; every value is rounded once, ties to even.

    Args:
        stream: Stands before the first value. Its checksum is verified.
        out: Receives the values: float16, C-contiguous, axes (i, j, k) whichever of them is stored
            fastest. Values that float16 cannot hold are undefined.
        buffers: Where scratch arrays come from: pieces of a megabyte, 32 planes in Fortran order.
        counter: Counts stored values by HU: all of a small array, of a large one pieces that lie at
            equal distances. All of them would take a tenth of the time of the conversion.

    Returns:
        What `check_half` judges.

    Raises:
        SampleRejectedError: CORRUPT_NPZ if values are missing or the file is damaged.
        ValueError: If `out` has another shape, dtype or order.
    """
    if out.shape != stream.header.shape or out.dtype != np.float16 or not out.flags.c_contiguous:
        msg = (
            f"out: expected C-contiguous float16 of shape {stream.header.shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
        raise ValueError(msg)
    num_scratch, bits = min(_PIECE_VALUES, out.size), out.view(np.uint16)
    step = max(1, out.size // num_scratch // _COUNTED_PIECES)
    rounding = _Rounding(_Sampler(counter, step) if counter is not None else None)
    with buffers.borrow((num_scratch,), stream.header.dtype) as scratch:
        if stream.fortran:
            _convert_planes(stream, bits, scratch=scratch, rounding=rounding, buffers=buffers)
        else:
            _convert_pieces(stream, bits, scratch=scratch, rounding=rounding)
    stream.finish()
    return rounding.statistics()


def check_half(statistics: HalfStatistics, *, max_rounding_error: float | None) -> None:
    """Refuse values that float16 cannot represent accurately enough.

    Args:
        statistics: Of the conversion.
        max_rounding_error: Largest change allowed, in stored units; None allows any.

    Raises:
        SampleRejectedError: NOT_FINITE, PRECISION or CONSTANT_VOLUME, whichever applies first.
    """
    found = statistics
    if found.num_not_finite:
        detail = f"{found.num_not_finite} voxels are not finite"
        raise SampleRejectedError(Reason.NOT_FINITE, detail)
    if found.num_overflow:
        detail = (
            f"{found.num_overflow} voxels beyond {LARGEST_HALF:g}, the largest "
            f"{found.largest:.10g}; float16 cannot hold them"
        )
        raise SampleRejectedError(Reason.PRECISION, detail)
    if max_rounding_error is not None and found.max_rounding_error > max_rounding_error:
        detail = (
            f"float16 changes a voxel by {found.max_rounding_error:.10g}; "
            f"max_rounding_error allows {max_rounding_error:.10g}"
        )
        raise SampleRejectedError(Reason.PRECISION, detail)
    if found.is_constant:
        raise SampleRejectedError(Reason.CONSTANT_VOLUME, "all voxels are equal as float16")


def _convert_pieces(
    stream: VolumeStream,
    bits: npt.NDArray[np.uint16],
    *,
    scratch: npt.NDArray[Any],
    rounding: "_Rounding",
) -> None:
    """Convert the next values in stored order until the output is full."""
    flat = bits.reshape(-1)
    for start in range(0, flat.size, scratch.size):
        target = flat[start : start + scratch.size]
        values = scratch[: target.size]
        stream.read_into(values)
        rounding.convert(values, target)


def _convert_planes(
    stream: VolumeStream,
    bits: npt.NDArray[np.uint16],
    *,
    scratch: npt.NDArray[Any],
    rounding: "_Rounding",
    buffers: BufferPool,
) -> None:
    """Convert values with i fastest, blocks of planes along k."""
    from medassets.volumes.files.transpose_kernel import transpose_planes

    i, j, k = bits.shape
    with buffers.borrow((min(_NUM_PLANES, k), j, i), np.uint16) as planes:
        for start in range(0, k, _NUM_PLANES):
            part = planes[: k - start]
            _convert_pieces(stream, part, scratch=scratch, rounding=rounding)
            transpose_planes(part, bits[:, :, start : start + len(part)])


class _Sampler:
    """Gives every n-th piece to a counter."""

    def __init__(self, counter: VoxelCounter, step: int) -> None:
        self._counter, self._step, self._number = counter, step, 0

    def see(self, values: npt.NDArray[Any]) -> None:
        """Look at the next piece, of native byte order."""
        if self._number % self._step == 0:
            # No kernel is compiled for float16.
            wide = values.astype(np.float32) if values.dtype == np.float16 else values
            self._counter.add(wide.reshape(1, -1))
        self._number += 1


class _Rounding:
    """Rounds values in pieces and counts errors."""

    def __init__(self, sampler: _Sampler | None = None) -> None:
        self._sampler = sampler
        self._largest = self._error = 0.0
        self._num_not_finite = self._num_overflow = 0
        self._first: int | None = None
        self._is_constant = True

    def statistics(self) -> HalfStatistics:
        """Return the counts over all values so far."""
        return HalfStatistics(
            largest=self._largest,
            max_rounding_error=self._error,
            num_not_finite=self._num_not_finite,
            num_overflow=self._num_overflow,
            is_constant=self._is_constant,
        )

    def convert(self, values: npt.NDArray[Any], bits: npt.NDArray[np.uint16]) -> None:
        """Round values, 1-D of any byte order and overwritten, to float16 bits."""
        if not values.dtype.isnative:
            values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
        if self._sampler is not None:
            self._sampler.see(values)
        is_float = values.dtype.kind == "f"
        if is_float and values.dtype.itemsize == 2:
            fits = self._copy(values, bits)
        else:
            # Converting float64 by way of float32 would round twice.
            fits = not (is_float and values.dtype.itemsize == 8) and self._round(values, bits)
        if not fits:
            self._round_by_numpy(values, bits.view(np.float16))
        self._compare(bits)

    def _copy(self, values: npt.NDArray[Any], bits: npt.NDArray[np.uint16]) -> bool:
        np.copyto(bits, values.view(np.uint16))
        largest = (bits & 0x7FFF).max()
        if largest >= _INFINITE_BITS:
            return False
        self._largest = max(self._largest, float(largest.view(np.float16)))
        return True

    def _round(self, values: npt.NDArray[Any], bits: npt.NDArray[np.uint16]) -> bool:
        """Round with the kernel; return False, and count nothing, if its result may be wrong."""
        from medassets.volumes.grid.float16_kernel import round_values

        largest, error = np.array(round_values(values, bits), np.int32).view(np.float32).tolist()
        # NaN fails this comparison too.
        if not largest <= LARGEST_HALF:
            return False
        self._largest, self._error = max(self._largest, largest), max(self._error, error)
        return True

    def _round_by_numpy(self, values: npt.NDArray[Any], out: npt.NDArray[np.float16]) -> None:
        # Overflow and signalling NaN are counted below.
        with np.errstate(all="ignore"):
            wide = values.astype(np.float64, copy=False)
            out[...] = wide
        magnitudes = np.abs(wide)
        if not magnitudes.max() <= LARGEST_HALF:
            is_finite, fits = np.isfinite(wide), magnitudes <= LARGEST_HALF
            self._num_not_finite += int((~is_finite).sum())
            self._num_overflow += int((is_finite & ~fits).sum())
            self._largest = max(self._largest, float(magnitudes[is_finite].max(initial=0.0)))
            wide, out = wide[fits], out[fits]
            magnitudes = magnitudes[fits]
        self._largest = max(self._largest, float(magnitudes.max(initial=0.0)))
        self._error = max(self._error, float(np.abs(wide - out).max(initial=0.0)))

    def _compare(self, bits: npt.NDArray[np.uint16]) -> None:
        if not self._is_constant:
            return
        if self._first is None:
            self._first = int(bits[0])
        # Zeros of both signs are equal.
        mask = 0xFFFF if self._first & 0x7FFF else 0x7FFF
        self._is_constant = not ((bits ^ self._first) & mask).any()
