"""Dense masks of other tools, `windows/<window>_w<width>_l<level>.npy`, read in pieces."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import WindowFileError
from medassets.loaders.batch_memory import POOL
from medassets.loaders.windows.points import PIECE_BYTES, KeptMask, Pick, Points, as_values
from medassets.storage.checksums import byte_view
from medassets.storage.formats.npy import read_npy_header
from medassets.volumes.windows.occupancy import (
    BLOCK_BYTES,
    MOST_VOXELS,
    Occupancy,
    Shape,
    count_blocks,
    count_blocks_of,
)


@dataclass(frozen=True)
class DenseMask:
    """One dense volume; its nonzero voxels are points.

    Attributes:
        path: The `.npy` file.
        shape: Shape (I, J, K).
        dtype: dtype of the voxels.
        fortran: Whether the first axis is contiguous.
        offset: Offset of the first voxel, in bytes.
        voxels: All voxels in file order if they are kept in memory, else None.
    """

    path: Path
    shape: Shape
    dtype: np.dtype[Any]
    fortran: bool
    offset: int
    voxels: npt.NDArray[Any] | None = field(default=None, repr=False)

    @property
    def stored_shape(self) -> Shape:
        """Shape, contiguous axis first."""
        i, j, k = self.shape
        return (i, j, k) if self.fortran else (k, j, i)

    @property
    def num_bytes(self) -> int:
        """Size of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most_bytes(self) -> int:
        """Upper limit of the memory that `keep` takes."""
        return self.num_bytes + count_blocks_of(self.shape) * BLOCK_BYTES

    def count(self, enough: int) -> int:
        """Count points, stopping after the piece in which there are enough."""
        found = 0
        for _, piece in self._iter_pieces():
            if found >= enough:
                break
            found += int(np.count_nonzero(piece))
        return found

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects; the whole file is read for each call.

        Raises:
            WindowFileError: If the file is missing or has become shorter.
        """
        bits = POOL.lend((count_blocks_of(self.shape) * BLOCK_BYTES,), "u1")
        occupancy, is_binary = self._pack(bits)
        picked = pick(occupancy.num_points)
        index = occupancy.select(picked, reverse=not self.fortran)
        return Points(index, None if is_binary else as_values(self._gather(index)))

    def keep(self, *, sparse: bool) -> "DenseMask | KeptMask":
        """Return the mask in memory: one bit per voxel and the values, or all voxels."""
        if not sparse:
            pieces = [piece.copy() for _, piece in self._iter_pieces()]
            return replace(self, voxels=np.concatenate(pieces))
        occupancy, is_binary = self._pack(
            np.empty(count_blocks_of(self.shape) * BLOCK_BYTES, np.uint8)
        )
        values = None
        if not is_binary:
            values = np.concatenate([piece[piece != 0] for _, piece in self._iter_pieces()])
        return KeptMask(occupancy, not self.fortran, values)

    def _pack(self, bits: npt.NDArray[np.uint8]) -> tuple[Occupancy, bool]:
        """Pack the mask into `bits`; return it, and whether all values are 0 or 1."""
        is_binary = True
        end = 0
        for start, piece in self._iter_pieces():
            is_binary = is_binary and _holds_only_0_and_1(piece)
            packed = np.packbits(_as_flags(piece), bitorder="little")
            end = start // 8 + packed.size
            bits[start // 8 : end] = packed
        bits[end:] = 0
        return Occupancy(bits, count_blocks(bits), self.stored_shape), is_binary

    def _gather(self, index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the values at positions that ascend in file order."""
        order = "F" if self.fortran else "C"
        linear = np.asarray(np.ravel_multi_index(tuple(index.T), self.shape, order=order))
        values = np.empty(len(index), self.dtype)
        for start, piece in self._iter_pieces():
            first, last = np.searchsorted(linear, [start, start + piece.size])
            values[first:last] = piece[linear[first:last] - start]
        return values

    def _iter_pieces(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield (index of the first voxel, voxels); a piece is valid until the next one.

        Raises:
            WindowFileError: If the file is missing or has become shorter.
        """
        num_voxels, step = math.prod(self.shape), PIECE_BYTES // self.dtype.itemsize
        if self.voxels is not None:
            yield from ((n, self.voxels[n : n + step]) for n in range(0, num_voxels, step))
            return
        memory = POOL.lend((PIECE_BYTES,), "u1")
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"{self.path}: cannot be read any more ({error.strerror})"
            raise WindowFileError(msg) from error
        try:
            for start in range(0, num_voxels, step):
                size = min(step, num_voxels - start) * self.dtype.itemsize
                buffer, begin = memory[:size], self.offset + start * self.dtype.itemsize
                if os.preadv(fd, [byte_view(buffer)], begin) != size:
                    msg = (
                        f"{self.path}: ends before voxel {start + step:,}; the file became shorter"
                    )
                    raise WindowFileError(msg)
                yield start, buffer.view(self.dtype)
        finally:
            os.close(fd)


def open_dense_mask(path: Path) -> DenseMask:
    """Read the header of a `.npy` file.

    Raises:
        WindowFileError: If it is not a `.npy` file, is cut off, or does not hold a volume of numbers.
    """
    try:
        with path.open("rb") as file:
            (shape, fortran, dtype), offset = read_npy_header(file.read)
            size = file.seek(0, os.SEEK_END)
    except (OSError, ValueError) as error:
        msg = f"{path}: not a readable .npy file ({error})"
        raise WindowFileError(msg) from error
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        msg = f"{path}: expected a volume of at most {MOST_VOXELS:,} voxels, got shape {shape}"
        raise WindowFileError(msg)
    expected = offset + math.prod(shape) * dtype.itemsize
    if size < expected:
        msg = f"{path}: cut off, {size:,} of {expected:,} bytes"
        raise WindowFileError(msg)
    return DenseMask(path, (shape[0], shape[1], shape[2]), dtype, fortran, offset)


def _as_flags(piece: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return piece if piece.dtype in (np.bool_, np.uint8) else piece != 0


def _holds_only_0_and_1(piece: npt.NDArray[Any]) -> bool:
    if piece.dtype.kind == "b":
        return True
    if piece.dtype.kind == "f":
        return np.count_nonzero(piece == 1) == np.count_nonzero(piece)
    return bool(piece.max() <= 1 and (piece.dtype.kind == "u" or piece.min() >= 0))
