"""Preprocesses a stored volume to the voxels of a sample, in one pass over the file."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.arrays import VolumeArray
from medassets.errors import Reason, SampleRejectedError
from medassets.specs import CHEST_AIR_SHARE, CTPreprocessing
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeHeader, VolumeStream
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.grid.geometry import (
    Spacing,
    check_orientation,
    describe_geometry,
    plan_resampling,
)
from medassets.volumes.grid.hu import HuDeclaration, choose_scaling
from medassets.volumes.grid.hu_guard import (
    VoxelStatistics,
    check_statistics,
    check_values,
    describe_hu,
)
from medassets.volumes.grid.resampling import resample_stream
from medassets.volumes.grid.value_range import ValueMap, check_inside, describe_intensity, fix_range


@dataclass(frozen=True)
class VolumeLimits:
    """Limits that a volume must satisfy to become a sample.

    Attributes:
        min_slices: Least voxels along any stored axis.
        min_plausible_share: Least share of voxels in [-200, 300] HU.
        max_plausible_share: Largest such share.
        air_share: Least and largest share of voxels below -200 HU.
        min_inside_share: Least share of voxels in a fixed range, where values are not HU.
        orientation: Expected axis codes of the stored axes; empty accepts any.
    """

    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98
    air_share: tuple[float, float] = CHEST_AIR_SHARE
    min_inside_share: float = 0.0
    orientation: str = ""


@dataclass(frozen=True)
class PreprocessedVolume:
    """Voxels of a sample with their geometry and the meaning of their values.

    Attributes:
        array: float16, axes (i, j, k) of the output, C-contiguous.
        geometry: JSON-like record of source and output frames.
        hu: JSON-like record of the HU rule; None where values are not HU.
        intensity: JSON-like record of range and scaling where values are not HU, else None.
        dtype: Stored dtype of the source volume, for example `int16`.
        seconds: Wall seconds per step: `range` (of percentiles), `read` (file and inflate), `resample`.
    """

    array: VolumeArray = field(repr=False)
    geometry: dict[str, Any] = field(repr=False)
    hu: dict[str, Any] | None
    intensity: dict[str, Any] | None
    dtype: str
    seconds: dict[str, float]


def preprocess_volume(
    file: Path,
    *,
    preset: CTPreprocessing,
    hu: HuDeclaration | None = None,
    spacing_mm: Spacing | None = None,
    limits: VolumeLimits | None = None,
    out: npt.NDArray[np.float16] | None = None,
    buffers: BufferPool | None = None,
    opener: Callable[[Path], AbstractContextManager[VolumeStream]] = open_nifti,
) -> PreprocessedVolume:
    """Read, scale, clip, resample, crop and pad one volume.

    The file is always read to its end: a sample requires a verified checksum. A range of percentiles
    takes a pass of its own, or several for values of more than 16 bits.
    On an error the content of `out` is undefined.

    Args:
        file: `.nii` or `.nii.gz`, or any file of the opener.
        preset: What the output looks like.
        hu: The dataset's HU rule; stored values are HU if it is left out.
        spacing_mm: Steps along the stored axes from the dataset's table, in mm; None without one.
        limits: What is rejected.
        out: Receives the voxels: float16, C-contiguous, of the preset's shape.
        buffers: Where scratch arrays, and the output if `out` is None, come from.
        opener: Opens the file; see `files.slices` for arrays.

    Raises:
        SampleRejectedError: With the reason; see the opener, `geometry` and `hu`.
        ValueError: If `out` has another shape, dtype or order.
    """
    limits = limits or VolumeLimits()
    buffers = buffers or BufferPool()
    result = buffers.lend(preset.shape, np.float16) if out is None else out
    _check_out(result, preset)
    with opener(file) as reader:
        header = reader.header
        check_num_slices(header, limits.min_slices)
        plan = plan_resampling(header, preset, spacing_mm=spacing_mm)
        check_orientation(plan.source, limits.orientation)
        scaling = choose_scaling(hu or HuDeclaration(), header)
        started = time.perf_counter()
        fixed = fix_range(preset, lambda: opener(file), scaling=scaling, buffers=buffers)
        range_s = time.perf_counter() - started
        statistics, seconds = resample_stream(
            reader, plan, scaling=scaling, preset=fixed, out=result, buffers=buffers
        )
        reader.finish()
    is_hu = preset.intensity == "hu"
    _check_statistics(statistics, fixed, limits)
    return PreprocessedVolume(
        array=result,
        geometry=describe_geometry(plan),
        hu=describe_hu(scaling, statistics) if is_hu else None,
        intensity=None if is_hu else describe_intensity(scaling, statistics, fixed),
        dtype=header.dtype.name,
        seconds=seconds if fixed is preset else {"range": range_s, **seconds},
    )


def _check_statistics(
    statistics: VoxelStatistics, preset: CTPreprocessing, limits: VolumeLimits
) -> None:
    if preset.intensity == "hu":
        check_statistics(
            statistics,
            min_plausible_share=limits.min_plausible_share,
            max_plausible_share=limits.max_plausible_share,
            air_share=limits.air_share,
        )
    else:
        check_values(statistics)
        share = limits.min_inside_share
        check_inside(statistics, clip=ValueMap.of(preset).clip, min_inside_share=share)


def _check_out(out: npt.NDArray[Any], preset: CTPreprocessing) -> None:
    if out.shape != preset.shape or out.dtype != np.float16 or not out.flags.c_contiguous:
        msg = (
            f"out: expected C-contiguous float16 of shape {preset.shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
        raise ValueError(msg)


def check_num_slices(header: VolumeHeader, min_slices: int) -> None:
    """Refuse a volume that is too thin.

    Raises:
        SampleRejectedError: TOO_FEW_SLICES.
    """
    if min(header.shape) < min_slices:
        detail = f"the shape is {header.shape}, expected at least {min_slices} along every axis"
        raise SampleRejectedError(Reason.TOO_FEW_SLICES, detail)
