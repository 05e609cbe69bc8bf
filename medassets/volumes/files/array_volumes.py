"""Arrays as volumes for the preprocessing: slices in the order of NIfTI, a header that says little."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.storage.buffers import BufferPool
from medassets.volumes.files.array_files import ArrayStream
from medassets.volumes.files.nifti import NiftiHeader

# So many planes that a run of int16 fills one cache line.
_NUM_PLANES = 32


@contextmanager
def open_array_volume(
    array: AbstractContextManager[ArrayStream], *, buffers: BufferPool
) -> Iterator["ArrayVolumeReader"]:
    """Open an array as a volume; an `opener` of `preprocess_volume` with its file and key filled in.

    Args:
        array: From one of the functions of `array_files`, not yet entered.
        buffers: Where scratch arrays come from; for arrays in C order a whole volume.

    Raises:
        SampleRejectedError: As opening the array does.
    """
    with array as stream, ArrayVolumeReader(stream, buffers) as reader:
        yield reader


class ArrayVolumeReader:
    """One open array, read slice by slice along its last axis; a context manager.

    Args:
        stream: Stands before the first value.
        buffers: Where scratch arrays come from.

    Attributes:
        header: Shape (i, j, k) and dtype of the array; steps of 1 mm, the identity as affine, no
            scaling. float16 becomes float32, exactly: numba knows no float16.
    """

    def __init__(self, stream: ArrayStream, buffers: BufferPool) -> None:
        self._stream = stream
        self._buffers = buffers
        self._stack = ExitStack()
        self._voxels: npt.NDArray[Any] | None = None
        self._next_slice = 0
        i, j, k = stream.shape
        is_half = stream.dtype.kind == "f" and stream.dtype.itemsize == 2
        self.header = NiftiHeader(
            shape=(i, j, k),
            dtype=np.dtype(np.float32) if is_half else stream.dtype,
            pixdim_mm=(1.0, 1.0, 1.0),
            affine=np.eye(4),
            affine_from="pixdim",
            slope=None,
            intercept=None,
            data_offset=0,
        )

    def __enter__(self) -> "ArrayVolumeReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_slice_into(self, target: np.ndarray) -> None:
        """Read the next slice.

        Args:
            target: C-contiguous, shape (j, i), of the header's dtype.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if values are missing or the file is damaged.
        """
        if not self._stream.fortran:
            self._copy_next_slice(target)
        elif target.dtype == self._stream.dtype:
            self._stream.read_into(target)
        else:
            with self._buffers.borrow(target.shape, self._stream.dtype) as voxels:
                self._stream.read_into(voxels)
                np.copyto(target, voxels)

    def finish(self) -> None:
        """Read to the end, so that the checksum of the whole array is verified.

        Raises:
            SampleRejectedError: CORRUPT_NPZ if it is wrong, or bytes are left.
        """
        self._stream.finish()

    def _copy_next_slice(self, target: np.ndarray) -> None:
        if self._voxels is None:
            self._voxels = self._read_all()
        np.copyto(target, self._voxels[self._next_slice])
        self._next_slice += 1

    def _read_all(self) -> npt.NDArray[Any]:
        """Read all voxels, k fastest, and return them in the order of slices, shape (k, j, i)."""
        from medassets.volumes.files.transpose_kernel import transpose_planes

        i, j, k = self._stream.shape
        dtype, bits = self._stream.dtype, f"u{self._stream.dtype.itemsize}"
        voxels = self._stack.enter_context(self._buffers.borrow((k, j, i), dtype))
        with self._buffers.borrow((_NUM_PLANES, j, k), dtype) as planes:
            for start in range(0, i, _NUM_PLANES):
                part = planes[: i - start]
                self._stream.read_into(part)
                turned = voxels[:, :, start : start + len(part)]
                transpose_planes(part.view(bits), turned.view(bits))
        return voxels
