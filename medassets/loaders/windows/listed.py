"""Old lists of points, `<window>_sparse.npz` and `<window>.npz`, read piece by piece."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import WindowFileError
from medassets.loaders.windows.points import (
    PIECE_BYTES,
    KeptList,
    Pick,
    Points,
    as_index,
    as_values,
    check_index,
)
from medassets.storage.formats.npy import read_npy_header
from medassets.volumes.windows.occupancy import MOST_VOXELS

_NAMES = (("indices", "values"), ("sparse_index", "sparse_sdf"))
_DAMAGE = (EOFError, NotImplementedError, OSError, RuntimeError, ValueError, zipfile.BadZipFile)


@dataclass(frozen=True)
class _Array:
    """One array of the archive, as its header describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class ListedFile:
    """Points that an archive lists one by one.

    Attributes:
        path: The `.npz` file.
        index: Positions, shape (num, 3).
        values: One each, shape (num,) or (num, 1).
    """

    path: Path
    index: _Array
    values: _Array

    @property
    def num_points(self) -> int:
        """Points listed."""
        return self.index.shape[0]

    @property
    def most_bytes(self) -> int:
        """What `keep` would take at most."""
        return self.index.num_bytes + self.values.num_bytes

    def draw(self, pick: Pick) -> Points:
        """Return the points that are picked; the whole archive is inflated for each call.

        Raises:
            WindowFileError: If the archive is damaged.
        """
        picked = pick(self.num_points)
        with self._open() as archive:
            columns = np.arange(3)
            if self.index.fortran:
                where = (picked[None, :] + columns[:, None] * self.num_points).ravel()
                index = _gather(archive, self.index, where).reshape(3, -1).T
            else:
                where = (picked[:, None] * 3 + columns).ravel()
                index = _gather(archive, self.index, where).reshape(-1, 3)
            check_index(index)
            values = _gather(archive, self.values, picked)
            return Points(as_index(index), as_values(values))

    def keep(self, *, sparse: bool) -> KeptList:
        """Return the points in memory.

        Raises:
            WindowFileError: If the archive is damaged.
        """
        with self._open() as archive:
            order = "F" if self.index.fortran else "C"
            index = _read(archive, self.index).reshape(self.index.shape, order=order)
            check_index(index)
            values = _read(archive, self.values)
            return KeptList(index, None if (values == 1).all() else values)

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (*_DAMAGE, zlib.error) as error:
            msg = f"{self.path}: {error}"
            raise WindowFileError(msg) from error


def open_listed(path: Path) -> ListedFile:
    """Read the headers of a `.npz` file; no array is inflated, nothing unpickled.

    Raises:
        WindowFileError: If it is none, or does not hold positions (num, 3) and as many values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            for names in _NAMES:
                if there.issuperset(names):
                    index, values = (_read_header(archive, name) for name in names)
                    _check(index, values)
                    return ListedFile(path, index, values)
    except (*_DAMAGE, zlib.error) as error:
        msg = f"{path}: not a readable .npz file of points ({error})"
        raise WindowFileError(msg) from error
    expected = " or ".join(" and ".join(names) for names in _NAMES)
    msg = f"{path}: expected arrays {expected}, got {', '.join(sorted(there)) or 'none'}"
    raise WindowFileError(msg)


def _read_header(archive: zipfile.ZipFile, name: str) -> _Array:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, fortran, dtype = read_npy_header(file)
        array = _Array(member.filename, shape, dtype, fortran and len(shape) == 2)
        # What is not there cannot be asked memory for.
        if array.num_bytes + file.tell() != member.file_size:
            msg = f"{name}: {member.file_size:,} bytes are not an array {dtype} {shape}"
            raise ValueError(msg)
    return array


def _check(index: _Array, values: _Array) -> None:
    num = index.shape[0] if index.shape else 0
    if index.shape != (num, 3) or index.dtype.kind not in "iu" or num > MOST_VOXELS:
        msg = f"{index.name}: expected integers (num, 3), got {index.dtype} {index.shape}"
        raise ValueError(msg)
    if values.shape not in ((num,), (num, 1)):
        msg = f"{values.name}: expected ({num},) or ({num}, 1), got {values.shape}"
        raise ValueError(msg)


def _gather(
    archive: zipfile.ZipFile, array: _Array, where: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return some elements of an array, by their ascending numbers in the order of the file."""
    found = np.empty(len(where), array.dtype)
    start = 0
    for piece in _iter_pieces(archive, array):
        first, last = np.searchsorted(where, [start, start + piece.size])
        found[first:last] = piece[where[first:last] - start]
        start += piece.size
    return found


def _read(archive: zipfile.ZipFile, array: _Array) -> npt.NDArray[Any]:
    """Return all elements in the order of the file."""
    elements = np.empty(math.prod(array.shape), array.dtype)
    start = 0
    for piece in _iter_pieces(archive, array):
        elements[start : start + piece.size] = piece
        start += piece.size
    return elements


def _iter_pieces(archive: zipfile.ZipFile, array: _Array) -> Iterator[npt.NDArray[Any]]:
    with archive.open(array.name) as file:
        read_npy_header(file)
        left = array.num_bytes
        while left:
            size = min(left, PIECE_BYTES - PIECE_BYTES % array.dtype.itemsize)
            content = file.read(size)
            if len(content) != size:
                msg = f"{array.name}: ends {left - len(content):,} bytes too early"
                raise ValueError(msg)
            yield np.frombuffer(content, array.dtype)
            left -= size
        if file.read(1):
            # Reading up to the end is also what compares the archive's checksum.
            msg = f"{array.name}: is longer than its header says"
            raise ValueError(msg)
