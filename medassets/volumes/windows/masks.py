"""Windows of a CT volume as masks of bits, made while the file is inflated.

The bits are in the order in which NIfTI stores voxels; see `medassets.volumes.windows.occupancy`. The
padding up to the resolution is not stored: no window may contain its value.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import CTWindow
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.grid.geometry import (
    SourceFrame,
    Spacing,
    check_orientation,
    locate_source,
)
from medassets.volumes.grid.hu import HuDeclaration, HuScaling, choose_scaling
from medassets.volumes.grid.hu_guard import (
    VoxelCounter,
    VoxelStatistics,
    check_statistics,
    list_hu,
)
from medassets.volumes.grid.preprocessing import VolumeLimits, check_num_slices
from medassets.volumes.windows.occupancy import BLOCK_BYTES, count_blocks_of

RESOLUTIONS = (512, 1024)
"""Sides of the cubes that volumes are padded to, at the end of each axis."""

# Pieces that stay in the second-level cache, a whole number of bytes of bits.
_PIECE_VOXELS = 1 << 17
_WINDOWS_PER_TABLE = 8

Shape = tuple[int, int, int]
Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class WindowedVolume:
    """Masks of one volume and the facts about it.

    Attributes:
        bits: uint8 (windows, num_blocks * 512), in the order of the windows.
        frame: Shape, spacing and affine of the stored volume.
        scaling: How stored values became HU.
        statistics: Counts over all voxels.
        dtype: Stored dtype, for example `int16`.
        seconds: Wall seconds per step: `read` (file and inflate), `windows`.
    """

    bits: Bits = field(repr=False)
    frame: SourceFrame
    scaling: HuScaling
    statistics: VoxelStatistics
    dtype: str
    seconds: dict[str, float]


def choose_resolution(shape: Sequence[int]) -> int:
    """Return the side of the cube that a volume is padded to.

    Raises:
        SampleRejectedError: TOO_LARGE, if a side is longer than 1024; nothing is ever shrunk.
    """
    for resolution in RESOLUTIONS:
        if max(shape) <= resolution:
            return resolution
    sides = " x ".join(str(side) for side in shape)
    detail = f"the volume is {sides}; windows take sides of {RESOLUTIONS[-1]} at most"
    raise SampleRejectedError(Reason.TOO_LARGE, detail)


def name_window_file(window: CTWindow) -> str:
    """Return the name that existing tools give a window's file: `lung_w1500_l-600.npy`."""
    width, level = (f"{int(n) if n.is_integer() else n}" for n in (window.width, window.level))
    return f"{window.name}_w{width}_l{level}.npy"


def make_windows(
    file: Path,
    windows: Sequence[CTWindow],
    *,
    lend: Callable[[int], Bits] | None = None,
    hu: HuDeclaration | None = None,
    spacing_mm: Spacing | None = None,
    limits: VolumeLimits | None = None,
    buffers: BufferPool | None = None,
    opener: Callable[[Path], AbstractContextManager[VolumeStream]] = open_nifti,
) -> WindowedVolume:
    """Read a volume once and make the masks of all windows.

    Every byte of the file is read, and its checksum compared. The opened volume as a whole never
    exists in memory.

    Args:
        file: `.nii` or `.nii.gz`, or whatever the opener opens.
        windows: The windows to make.
        lend: Returns memory for the masks, uint8 (bytes,), of any content; allocated if None.
        hu: The dataset's HU rule; stored values are HU if it is left out.
        spacing_mm: Steps along the stored axes from the dataset's table, in mm; None without one.
        limits: What is rejected.
        buffers: Where scratch arrays come from.
        opener: Opens the file with its first axis fastest; see `files.slices` for arrays.

    Raises:
        SampleRejectedError: With the reason: see the opener, `geometry` and `hu`; TOO_LARGE for
            sides longer than 1024.
    """
    limits = limits or VolumeLimits()
    with opener(file) as reader:
        header = reader.header
        check_num_slices(header, limits.min_slices)
        choose_resolution(header.shape)
        frame = locate_source(header, spacing_mm)
        check_orientation(frame, limits.orientation)
        scaling = choose_scaling(hu or HuDeclaration(), header)
        packing = _Packing(windows, scaling, header.dtype.newbyteorder("="))
        num_bytes = len(windows) * count_blocks_of(header.shape) * BLOCK_BYTES
        memory = lend(num_bytes) if lend else np.empty(num_bytes, np.uint8)
        bits = memory.reshape(len(windows), -1)
        seconds = packing.run(reader, bits, buffers or BufferPool())
        reader.finish()
    statistics = packing.statistics()
    check_statistics(
        statistics,
        min_plausible_share=limits.min_plausible_share,
        max_plausible_share=limits.max_plausible_share,
        air_share=limits.air_share,
    )
    return WindowedVolume(bits, frame, scaling, statistics, header.dtype.name, seconds)


class _Packing:
    """One pass over one volume."""

    def __init__(
        self, windows: Sequence[CTWindow], scaling: HuScaling, dtype: np.dtype[Any]
    ) -> None:
        self._scaling, self._dtype = scaling, dtype
        self._bounds = np.array([[w.low_hu, w.high_hu] for w in windows], np.float64)
        self._tables = _make_tables(self._bounds, scaling, dtype)
        self._counter = VoxelCounter(scaling, dtype)
        self._num_voxels = 0

    def run(self, reader: VolumeStream, bits: Bits, buffers: BufferPool) -> dict[str, float]:
        """Read all voxels and write all bits; return wall seconds."""
        begin, read_s = time.perf_counter(), 0.0
        i, j, k = reader.header.shape
        left = i * j * k
        # Set bits after the last voxel would count as points.
        bits[:, left // 8 :] = 0
        with buffers.borrow((min(_PIECE_VOXELS, left),), reader.header.dtype) as memory:
            while left:
                stored = memory[: min(len(memory), left)]
                started = time.perf_counter()
                reader.read_into(stored)
                read_s += time.perf_counter() - started
                self._take(_to_native(stored), bits)
                left -= len(stored)
        return {"read": read_s, "windows": time.perf_counter() - begin - read_s}

    def statistics(self) -> VoxelStatistics:
        """Return the counts over all voxels read."""
        return self._counter.statistics()

    def _take(self, stored: npt.NDArray[Any], bits: Bits) -> None:
        from medassets.volumes.windows import pack_kernel

        self._counter.add(stored.reshape(1, -1))
        first_byte = self._num_voxels // 8
        self._num_voxels += len(stored)
        if not self._tables:
            scaling = (self._scaling.slope, self._scaling.intercept)
            pack_kernel.pack_by_bounds(stored, scaling, self._bounds, first_byte, bits)
        for start, table in self._tables.items():
            some = bits[start : start + _WINDOWS_PER_TABLE]
            unsigned = stored.view(f"u{stored.itemsize}")
            pack_kernel.pack_by_table(unsigned, table, first_byte, some)


def _to_native(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if stored.dtype.isnative:
        return stored
    return stored.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))


def _make_tables(
    bounds: npt.NDArray[np.float64], scaling: HuScaling, dtype: np.dtype[Any]
) -> dict[int, npt.NDArray[Any]]:
    """Return first window -> lookup table over all stored values; empty for large dtypes."""
    hu = list_hu(scaling, dtype)
    tables: dict[int, npt.NDArray[Any]] = {}
    if hu is None:
        return tables
    for start in range(0, len(bounds), _WINDOWS_PER_TABLE):
        some = bounds[start : start + _WINDOWS_PER_TABLE]
        table = np.zeros(len(hu), np.uint32 if len(some) <= 4 else np.uint64)
        for window, (low, high) in enumerate(some):
            inside = (hu >= low) & (hu <= high)
            table |= inside.astype(table.dtype) << table.dtype.type(8 * window)
        tables[start] = table
    return tables
