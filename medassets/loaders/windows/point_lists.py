"""Lists of points in `.npz` files (`<window>_sparse.npz` and `<window>.npz`), read in pieces."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import WindowFileError
from medassets.loaders.batch_memory import POOL
from medassets.loaders.windows.points import (
    PIECE_BYTES,
    KeptList,
    Pick,
    Points,
    as_index,
    as_values,
    check_index,
)
from medassets.storage.formats.byte_streams import FileWindow, read_bytes
from medassets.storage.formats.npy import NpyHeader, read_npy_header
from medassets.storage.formats.zip_members import ZipMember, read_directory
from medassets.volumes.windows.occupancy import MOST_VOXELS

_NAMES = (("indices", "values"), ("sparse_index", "sparse_sdf"))


@dataclass(frozen=True)
class _Array:
    """One array of a `.npz` file.

    Attributes:
        name: Name of the array.
        header: Its header.
    """

    name: str
    header: NpyHeader

    @property
    def is_fortran(self) -> bool:
        """Whether the first of two axes is contiguous."""
        return self.header.fortran and len(self.header.shape) == 2


@dataclass(frozen=True)
class PointList:
    """Points that a `.npz` file lists one by one.

    Attributes:
        path: The file.
        index: Positions, shape (num, 3).
        values: Values, shape (num,) or (num, 1).
    """

    path: Path
    index: _Array
    values: _Array

    @property
    def num_points(self) -> int:
        """Number of points."""
        return self.index.header.shape[0]

    @property
    def most_bytes(self) -> int:
        """Upper limit of the memory that `keep` takes."""
        return self.index.header.num_bytes + self.values.header.num_bytes

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects; the whole file is inflated for each call.

        Raises:
            WindowFileError: If the file is damaged.
        """
        picked = pick(self.num_points)
        with _errors_name(self.path):
            columns = np.arange(3)
            if self.index.is_fortran:
                where = (picked[None, :] + columns[:, None] * self.num_points).ravel()
                index = _gather(self.path, self.index, where).reshape(3, -1).T
            else:
                where = (picked[:, None] * 3 + columns).ravel()
                index = _gather(self.path, self.index, where).reshape(-1, 3)
            check_index(index)
            values = _gather(self.path, self.values, picked)
            return Points(as_index(index), as_values(values))

    def keep(self, *, sparse: bool) -> KeptList:
        """Return the points in memory.

        Raises:
            WindowFileError: If the file is damaged.
        """
        with _errors_name(self.path):
            order = "F" if self.index.is_fortran else "C"
            index = _read_all(self.path, self.index).reshape(self.index.header.shape, order=order)
            check_index(index)
            values = _read_all(self.path, self.values)
            return KeptList(index, None if (values == 1).all() else values)


def open_point_list(path: Path) -> PointList:
    """Read the headers of a `.npz` file; no array is inflated.

    Raises:
        WindowFileError: If it is not a `.npz` file, or does not hold positions (num, 3) and as many
            values.
    """
    with _errors_name(path):
        with _open_window(path) as window:
            found = {info.filename.removesuffix(".npy") for info in read_directory(window)}
        for names in _NAMES:
            if found.issuperset(names):
                index, values = (_read_header(path, name) for name in names)
                _check(index, values)
                return PointList(path, index, values)
        expected = " or ".join(" and ".join(names) for names in _NAMES)
        msg = f"expected arrays {expected}, got {', '.join(sorted(found)) or 'none'}"
        raise ValueError(msg)


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        msg = f"{path}: not a readable .npz file of points ({error})"
        raise WindowFileError(msg) from error


@contextmanager
def _open_window(path: Path) -> Iterator[FileWindow]:
    with path.open("rb", buffering=0) as file:
        yield FileWindow(file, 0, os.fstat(file.fileno()).st_size)


@contextmanager
def _open_array(path: Path, name: str) -> Iterator[tuple[NpyHeader, ZipMember]]:
    with _open_window(path) as window:
        member = ZipMember(window, name)
        header, offset = read_npy_header(partial(read_bytes, member))
        # Checked before memory is allocated for what the header says.
        if offset + header.num_bytes != member.num_bytes:
            msg = (
                f"{name}: {member.num_bytes:,} bytes are not {header.dtype} of shape {header.shape}"
            )
            raise ValueError(msg)
        yield header, member


def _read_header(path: Path, name: str) -> _Array:
    with _open_array(path, name) as (header, _):
        return _Array(name, header)


def _check(index: _Array, values: _Array) -> None:
    shape, dtype = index.header.shape, index.header.dtype
    num = shape[0] if shape else 0
    if shape != (num, 3) or dtype.kind not in "iu" or num > MOST_VOXELS:
        msg = f"{index.name}: expected integers (num, 3), got {dtype} {shape}"
        raise ValueError(msg)
    if values.header.shape not in ((num,), (num, 1)):
        msg = f"{values.name}: expected ({num},) or ({num}, 1), got {values.header.shape}"
        raise ValueError(msg)


def _gather(path: Path, array: _Array, where: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return some elements of an array, by their ascending numbers in file order."""
    elements = np.empty(len(where), array.header.dtype)
    for start, piece in _iter_pieces(path, array):
        first, last = np.searchsorted(where, [start, start + piece.size])
        elements[first:last] = piece[where[first:last] - start]
    return elements


def _read_all(path: Path, array: _Array) -> npt.NDArray[Any]:
    """Return all elements in file order."""
    elements = np.empty(math.prod(array.header.shape), array.header.dtype)
    for start, piece in _iter_pieces(path, array):
        elements[start : start + piece.size] = piece
    return elements


def _iter_pieces(path: Path, array: _Array) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (number of the first element, elements); a piece is valid until the next one."""
    step = PIECE_BYTES // array.header.dtype.itemsize
    memory = POOL.lend((step,), array.header.dtype)
    with _open_array(path, array.name) as (header, member):
        if header != array.header:
            msg = f"{array.name}: the file changed since it was opened"
            raise ValueError(msg)
        num_elements = math.prod(header.shape)
        for start in range(0, num_elements, step):
            piece = memory[: num_elements - start]
            if member.read_into(piece.view(np.uint8).data) < piece.nbytes:
                msg = f"{array.name}: ends before element {start + len(piece):,}"
                raise ValueError(msg)
            yield start, piece
        if member.read_into(memoryview(bytearray(1))):
            msg = f"{array.name}: is longer than its header says"
            raise ValueError(msg)
        member.verify()
