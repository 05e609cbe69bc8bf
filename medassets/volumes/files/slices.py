"""Any stored volume as a stream of slices: the first axis fastest, in dtypes that numba knows."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeStream

# So many planes that a run of int16 fills one cache line.
_NUM_PLANES = 32
_FLOAT16 = np.dtype(np.float16)


@contextmanager
def open_slices(
    opened: AbstractContextManager[VolumeStream], *, buffers: BufferPool
) -> Iterator[VolumeStream]:
    """Open a volume so that it is read with its first axis fastest, in the order of slices.

    Args:
        opened: The stored volume, not yet entered.
        buffers: Where scratch arrays come from; for a volume in C order as large as the volume.

    Raises:
        SampleRejectedError: As opening the volume does.
    """
    with opened as stream:
        if stream.fortran and stream.header.dtype.newbyteorder("=") != _FLOAT16:
            yield stream
            return
        with SliceReader(stream, buffers) as reader:
            yield reader


def count_held_bytes(stream: VolumeStream) -> int:
    """Return the memory that reading a volume in slices takes, beside some slices."""
    header = stream.header
    return 0 if stream.fortran else math.prod(header.shape) * header.dtype.itemsize


class SliceReader:
    """A `VolumeStream` over another one, with the first axis fastest; a context manager.

    Args:
        stream: The stored volume, before its first value.
        buffers: Where scratch arrays come from.

    Attributes:
        header: That of the stored volume. float16 becomes float32, exactly: numba has no float16.
        fortran: True.
    """

    def __init__(self, stream: VolumeStream, buffers: BufferPool) -> None:
        self._stream = stream
        self._buffers = buffers
        self._stack = ExitStack()
        self._voxels: npt.NDArray[Any] | None = None
        self._num_read = 0
        self.header = stream.header
        self.fortran = True
        if stream.header.dtype.newbyteorder("=") == _FLOAT16:
            self.header = replace(stream.header, dtype=np.dtype(np.float32))

    def __enter__(self) -> "SliceReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_into(self, target: np.ndarray) -> None:
        """Read the next values, first axis fastest.

        Args:
            target: C-contiguous, of the header's dtype; filled whole.

        Raises:
            SampleRejectedError: If values are missing or the file is damaged.
        """
        if not self._stream.fortran:
            self._copy_next(target.reshape(-1))
        elif target.dtype == self._stream.header.dtype:
            self._stream.read_into(target)
        else:
            with self._buffers.borrow(target.shape, self._stream.header.dtype) as voxels:
                self._stream.read_into(voxels)
                np.copyto(target, voxels)

    def finish(self) -> None:
        """Read to the end and compare the checksum of the file, where it has one.

        Raises:
            SampleRejectedError: If the checksum is wrong or bytes are left.
        """
        self._stream.finish()

    def _copy_next(self, target: npt.NDArray[Any]) -> None:
        if self._voxels is None:
            self._voxels = self._read_all().reshape(-1)
        end = self._num_read + target.size
        np.copyto(target, self._voxels[self._num_read : end])
        self._num_read = end

    def _read_all(self) -> npt.NDArray[Any]:
        """Read all voxels, k fastest, and return them in the order of slices, shape (k, j, i)."""
        from medassets.volumes.files.transpose_kernel import transpose_planes

        i, j, k = self._stream.header.shape
        dtype = self._stream.header.dtype
        bits = f"u{dtype.itemsize}"
        voxels = self._stack.enter_context(self._buffers.borrow((k, j, i), dtype))
        with self._buffers.borrow((_NUM_PLANES, j, k), dtype) as planes:
            for start in range(0, i, _NUM_PLANES):
                part = planes[: i - start]
                self._stream.read_into(part)
                turned = voxels[:, :, start : start + len(part)]
                transpose_planes(part.view(bits), turned.view(bits))
        return voxels
