"""Resamples a stored volume in one pass: reads slices and writes blocks of resampled voxels.

Only the slices that a block of the output needs are held, clipped and in HU; the whole stored
volume is never in memory.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.specs import CTPreprocessing
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.grid.geometry import AxisPlan, ResamplingPlan
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import (
    HU_RANGES,
    VoxelCounter,
    VoxelStatistics,
    inside_ranges,
)
from medassets.volumes.grid.value_range import ValueMap

_INT16 = np.iinfo(np.int16)
# Blocks along k are shortened so that no more slices are held.
_MAX_SLAB_BYTES = 1 << 28


@dataclass(frozen=True)
class _Block:
    """Kept output voxels [start, stop) along k and the stored slices they need, ascending."""

    start: int
    stop: int
    slices: tuple[int, ...]


@dataclass(frozen=True)
class _Int16Limits:
    """Limits of int16 voxels in stored units; the intercept in HU."""

    clip: tuple[np.int16, np.int16]
    intercept: np.int16


@dataclass(frozen=True)
class _Window:
    """Stored rows [start, stop) along one axis that the output needs, and tables within it."""

    start: int
    stop: int
    index0: npt.NDArray[np.int64]
    index1: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


def resample_stream(
    reader: VolumeStream,
    plan: ResamplingPlan,
    *,
    scaling: HuScaling,
    preset: CTPreprocessing,
    out: npt.NDArray[np.float16],
    buffers: BufferPool,
) -> tuple[VoxelStatistics, dict[str, float]]:
    """Read all slices of a volume and write the resampled voxels.

    Args:
        reader: Positioned before the first slice; after the last one on return.
        plan: Sampling positions of the volume.
        scaling: How stored values become HU, or values of another unit.
        preset: Range, scaling and pad value; its range is fixed.
        out: Receives the voxels, C-contiguous, of the preset's shape.
        buffers: Where scratch arrays come from.

    Returns:
        Counts over all stored voxels, and wall seconds of `read` and `resample`.
    """
    with ExitStack() as stack:
        target = out
        if plan.is_transposed:
            shape = tuple(axis.num_out for axis in plan.axes)
            target = stack.enter_context(buffers.borrow(shape, np.float16))
        volume_pass = _VolumePass(reader, plan, scaling, preset, target)
        volume_pass.run(buffers)
        if plan.is_transposed:
            np.copyto(out, target.transpose(plan.stored_axis))
    return volume_pass.statistics(), volume_pass.seconds


class _VolumePass:
    """State of one pass over one volume."""

    def __init__(
        self,
        reader: VolumeStream,
        plan: ResamplingPlan,
        scaling: HuScaling,
        preset: CTPreprocessing,
        out: npt.NDArray[np.float16],
    ) -> None:
        self._reader = reader
        self._map = ValueMap.of(preset)
        self._scaling = self._map.shift_scaling(scaling)
        self._clip = self._map.shifted_clip
        self._pad_value = preset.pad_value
        self._out = out
        self._axes = plan.axes
        self._i, self._j = _find_window(plan.axes[0]), _find_window(plan.axes[1])
        self._dtype = _choose_dtype(reader.header.dtype, self._scaling, self._clip)
        slice_bytes = (self._j.stop - self._j.start) * (self._i.stop - self._i.start)
        self._blocks = _plan_blocks(plan.axes[2], slice_bytes * self._dtype.itemsize)
        self._limits = _find_int16_limits(reader.header.dtype, self._scaling, self._clip)
        self._scratch = _make_scratch(self._i.stop - self._i.start)
        ranges = HU_RANGES if preset.intensity == "hu" else inside_ranges(*self._map.clip)
        self._counter = VoxelCounter(scaling, reader.header.dtype, ranges=ranges)
        self._next_slice = 0
        self.seconds = {"read": 0.0, "resample": 0.0}

    def run(self, buffers: BufferPool) -> None:
        """Read every slice, write every output voxel."""
        begin = time.perf_counter()
        _fill_padding(self._out, self._axes, self._pad_value)
        i_size, j_size = self._i.stop - self._i.start, self._j.stop - self._j.start
        num_slots = max(len(block.slices) for block in self._blocks)
        num_i, num_j, _ = self._reader.header.shape
        with (
            buffers.borrow((num_j, num_i), self._reader.header.dtype) as stored,
            buffers.borrow((num_slots, j_size, i_size), self._dtype) as slab,
        ):
            slots: dict[int, int] = {}
            for block in self._blocks:
                self._read_block(block, stored, slab, slots)
                self._write_block(block, slab, slots)
            while self._next_slice < self._reader.header.shape[2]:
                self._read_slice(stored)
        self.seconds["resample"] = time.perf_counter() - begin - self.seconds["read"]

    def statistics(self) -> VoxelStatistics:
        """Return the counts over all slices read."""
        return self._counter.statistics()

    def _read_block(
        self,
        block: _Block,
        stored: npt.NDArray[Any],
        slab: npt.NDArray[Any],
        slots: dict[int, int],
    ) -> None:
        """Read the slices of a block into the slab; slots of unneeded slices are reused."""
        for index in [index for index in slots if index not in block.slices]:
            del slots[index]
        free = sorted(set(range(len(slab))) - set(slots.values()))
        for index in block.slices:
            if index in slots:
                continue
            while self._next_slice < index:
                self._read_slice(stored)
            voxels = self._read_slice(stored)
            slots[index] = free.pop(0)
            self._clip_slice(voxels, slab[slots[index]])

    def _read_slice(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        begin = time.perf_counter()
        self._reader.read_into(stored)
        self.seconds["read"] += time.perf_counter() - begin
        self._next_slice += 1
        voxels = stored
        if not stored.dtype.isnative:
            voxels = stored.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))
        self._counter.add(voxels)
        return voxels

    def _clip_slice(self, voxels: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
        from medassets.volumes.grid import slice_kernel

        j_start, i_start = self._j.start, self._i.start
        if self._limits is not None:
            limits = (*self._limits.clip, self._limits.intercept)
            slice_kernel.clip_int16_slice(voxels, j_start, i_start, limits, target)
        else:
            scaling = (self._scaling.slope, self._scaling.intercept)
            slice_kernel.clip_slice(voxels, j_start, i_start, scaling, self._clip, target)

    def _write_block(self, block: _Block, slab: npt.NDArray[Any], slots: dict[int, int]) -> None:
        from medassets.volumes.grid import resample_kernel as kernel

        i_axis, j_axis, k_axis = self._axes
        voxels = slice(block.start, block.stop)
        slot0 = np.array([slots[index] for index in k_axis.index0[voxels].tolist()])
        slot1 = np.array([slots[index] for index in k_axis.index1[voxels].tolist()])
        kernel.resample_block(
            slab,
            (slot0, slot1, k_axis.weight[voxels]),
            (self._j.index0, self._j.index1, self._j.weight),
            (self._i.index0, self._i.index1, self._i.weight),
            self._map.factor,
            self._scratch,
            self._out.view(np.uint16),
            (i_axis.pad_before, j_axis.pad_before, k_axis.pad_before + block.start),
        )


def _make_scratch(width: int) -> tuple[npt.NDArray[Any], ...]:
    from medassets.volumes.grid import resample_kernel as kernel

    size, rounded = kernel.BLOCK_VOXELS, -(-width // kernel.LANES) * kernel.LANES
    return (
        np.zeros((size, rounded), np.float32),
        np.zeros((rounded, size), np.float32),
        np.zeros(size, np.uint16),
    )


def _find_window(axis: AxisPlan) -> _Window:
    start = int(min(axis.index0.min(), axis.index1.min()))
    stop = int(max(axis.index0.max(), axis.index1.max())) + 1
    return _Window(start, stop, axis.index0 - start, axis.index1 - start, axis.weight)


def _plan_blocks(axis: AxisPlan, slice_bytes: int) -> list[_Block]:
    """Split the kept voxels along k into blocks, in the order of the slices."""
    from medassets.volumes.grid import resample_kernel as kernel

    size = kernel.BLOCK_VOXELS
    while size > 1 and 2 * size * slice_bytes > _MAX_SLAB_BYTES:
        size //= 2
    cuts = [*range(0, axis.num_kept, size), axis.num_kept]
    blocks = [_make_block(axis, start, stop) for start, stop in pairwise(cuts)]
    is_flipped = axis.index0[0] > axis.index0[-1]
    return blocks[::-1] if is_flipped else blocks


def _make_block(axis: AxisPlan, start: int, stop: int) -> _Block:
    needed = np.union1d(axis.index0[start:stop], axis.index1[start:stop])
    return _Block(start, stop, tuple(needed.tolist()))


def _choose_dtype(
    stored: np.dtype[Any], scaling: HuScaling, clip_hu: tuple[float, float]
) -> np.dtype[Any]:
    """Return the smallest dtype that represents clipped HU exactly."""
    low, high = clip_hu
    integral = scaling.is_integral and low.is_integer() and high.is_integer()
    if stored.kind in "iu" and integral and _INT16.min <= low and high <= _INT16.max:
        return np.dtype(np.int16)
    unscaled = (scaling.slope, scaling.intercept) == (1.0, 0.0)
    single = stored.kind == "f" and stored.itemsize == 4 and unscaled and integral
    return np.dtype(np.float32 if single else np.float64)


def _find_int16_limits(
    stored: np.dtype[Any], scaling: HuScaling, clip_hu: tuple[float, float]
) -> _Int16Limits | None:
    """Return the limits of the fast path if stored values are int16 and all limits fit it."""
    if stored.newbyteorder("=") != np.int16 or scaling.slope != 1 or not scaling.is_integral:
        return None
    limits = [*(hu - scaling.intercept for hu in clip_hu), *clip_hu]
    limits.append(scaling.intercept)
    if not all(_INT16.min <= limit <= _INT16.max and limit.is_integer() for limit in limits):
        return None
    values = [np.int16(limit) for limit in limits]
    return _Int16Limits((values[0], values[1]), values[-1])


def _fill_padding(out: npt.NDArray[np.float16], axes: tuple[AxisPlan, ...], value: float) -> None:
    i, j, k = (axis.kept for axis in axes)
    for region in (out[: i.start], out[i.stop :]):
        region[...] = value
    for region in (out[i, : j.start], out[i, j.stop :]):
        region[...] = value
    for region in (out[i, j, : k.start], out[i, j, k.stop :]):
        region[...] = value
