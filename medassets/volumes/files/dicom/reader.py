"""A DICOM series as a stream of voxels: slices are decoded on threads, and stacked in their order."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.dicom.decoder import decode_slice
from medassets.volumes.files.dicom.geometry import StackGeometry
from medassets.volumes.files.dicom.header import SliceHeader
from medassets.volumes.files.dicom.padding import mask_padding
from medassets.volumes.files.guarded import guard_volume
from medassets.volumes.files.header import VolumeHeader

# SimpleITK decodes without the interpreter's lock; builds decode several series at a time as well.
_NUM_THREADS = 3

Slice = tuple[Path, SliceHeader]


@guard_volume
@contextmanager
def open_series(
    slices: Sequence[Slice], geometry: StackGeometry, *, is_hu: bool = True
) -> Iterator["SeriesReader"]:
    """Open the slices of a series as one volume, axes (column, row, slice).

    Args:
        slices: Files and headers, in the order of the volume.
        geometry: Where the volume is.
        is_hu: Whether values become HU; padding of others is kept, for nothing says what is less than tissue.

    Raises:
        SampleRejectedError: On every read, if a slice cannot be decoded.
    """
    reader = SeriesReader(slices, geometry, is_hu=is_hu)
    try:
        yield reader
    finally:
        reader.close()


@dataclass(frozen=True)
class StoredKind:
    """How the slices of a series become values of one array.

    Attributes:
        dtype: Of the array.
        slope: HU per value.
        intercept: HU of 0.
        is_rescaled: Whether values are HU, because slices differ in slope or intercept.
    """

    dtype: np.dtype[Any]
    slope: float
    intercept: float
    is_rescaled: bool = field(default=False)


def choose_stored(headers: Sequence[SliceHeader]) -> StoredKind:
    """Return how slices are stacked: as they are stored where all have one scaling, else in HU."""
    scalings = {header.scaling for header in headers}
    if len(scalings) > 1:
        return StoredKind(np.dtype(np.float32), 1.0, 0.0, is_rescaled=True)
    ((slope, intercept),) = scalings
    return StoredKind(_choose_dtype(headers), slope, intercept)


def _choose_dtype(headers: Sequence[SliceHeader]) -> np.dtype[Any]:
    signed = [header.words["bits_stored"] for header in headers if header.is_signed]
    unsigned = [header.words["bits_stored"] for header in headers if not header.is_signed]
    # Bits of a signed type that holds every value.
    bits = max([*signed, *(number + 1 for number in unsigned)])
    if bits <= 16:
        return np.dtype(np.int16)
    return np.dtype(np.uint16) if bits == 17 and not signed else np.dtype(np.int32)


class SeriesReader:
    """One open series, read from its first slice to its last.

    Attributes:
        header: Shape (columns, rows, slices), dtype, affine and scaling.
        fortran: True: slices hold the columns of a row one after another.
    """

    def __init__(
        self, slices: Sequence[Slice], geometry: StackGeometry, *, is_hu: bool = True
    ) -> None:
        self._is_hu = is_hu
        self._kind = choose_stored([header for _, header in slices])
        columns, rows = slices[0][1].shape
        self.header = VolumeHeader(
            shape=(columns, rows, len(slices)),
            dtype=self._kind.dtype,
            pixdim_mm=geometry.spacing_mm,
            affine=geometry.affine,
            affine_from="dicom",
            slope=self._kind.slope,
            intercept=self._kind.intercept,
        )
        self.fortran = True
        self._left = deque(slices)
        self._pending: deque[Future[npt.NDArray[Any]]] = deque()
        self._rest: npt.NDArray[Any] = np.empty(0, self._kind.dtype)
        self._pool: ThreadPoolExecutor | None = None

    def read_into(self, target: np.ndarray) -> None:
        """Read the next voxels, columns fastest.

        Args:
            target: C-contiguous, of the header's dtype; filled whole.

        Raises:
            SampleRejectedError: CORRUPT_DICOM if a slice cannot be decoded.
        """
        flat, filled = target.reshape(-1), 0
        while filled < flat.size:
            if not self._rest.size:
                self._rest = self._next_slice()
            part = self._rest[: flat.size - filled]
            flat[filled : filled + part.size] = part
            self._rest = self._rest[part.size :]
            filled += part.size

    def finish(self) -> None:
        """Decode the slices that were not read; DICOM has no checksum to compare.

        Raises:
            SampleRejectedError: CORRUPT_DICOM if one cannot be decoded.
        """
        while self._left or self._pending:
            self._next_slice()

    def close(self) -> None:
        """Stop decoding."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _next_slice(self) -> npt.NDArray[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="medassets-dicom")
        while self._left and len(self._pending) <= _NUM_THREADS:
            self._pending.append(self._pool.submit(self._decode, *self._left.popleft()))
        if not self._pending:
            raise SampleRejectedError(Reason.CORRUPT_DICOM, "the series has no further slice")
        return self._pending.popleft().result()

    def _decode(self, path: Path, header: SliceHeader) -> npt.NDArray[Any]:
        stored = decode_slice(path, header)
        if self._is_hu:
            mask_padding(stored, header, self._kind.dtype)
        if self._kind.is_rescaled:
            slope, intercept = header.scaling
            stored = stored * slope + intercept
        elif stored.size and not _fits(stored, self._kind.dtype):
            detail = (
                f"decoded values {stored.min():g} to {stored.max():g} do not fit the stored bits"
            )
            raise SampleRejectedError(Reason.CORRUPT_DICOM, detail)
        return stored.astype(self._kind.dtype).reshape(-1)


def _fits(stored: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> bool:
    bounds = np.iinfo(dtype)
    return bool(stored.min() >= bounds.min and stored.max() <= bounds.max)
