"""Preprocesses a stored CT volume to the voxels of a sample, in one pass over the file."""

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
from medassets.volumes.grid.hu_guard import check_statistics, describe_hu
from medassets.volumes.grid.resampling import resample_stream

_FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class VolumeLimits:
    """Limits that a volume must satisfy to become a sample.

    Attributes:
        min_slices: Least voxels along any stored axis.
        min_plausible_share: Least share of voxels in [-200, 300] HU.
        max_plausible_share: Largest such share.
        air_share: Least and largest share of voxels below -200 HU.
        orientation: Expected axis codes of the stored axes; empty accepts any.
    """

    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98
    air_share: tuple[float, float] = CHEST_AIR_SHARE
    orientation: str = ""


@dataclass(frozen=True)
class PreprocessedVolume:
    """Voxels of a sample with their geometry and HU rule.

    Attributes:
        array: float16, axes (i, j, k) of the output, C-contiguous.
        geometry: JSON-like record of source and output frames.
        hu: JSON-like record of the HU rule.
        dtype: Stored dtype of the source volume, for example `int16`.
        seconds: Wall seconds per step: `read` (file and inflate), `resample`.
    """

    array: VolumeArray = field(repr=False)
    geometry: dict[str, Any] = field(repr=False)
    hu: dict[str, Any]
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

    The file is always read to its end: a sample requires a verified checksum.
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
        statistics, seconds = resample_stream(
            reader, plan, scaling=scaling, preset=preset, out=result, buffers=buffers
        )
        reader.finish()
    check_statistics(
        statistics,
        min_plausible_share=limits.min_plausible_share,
        max_plausible_share=limits.max_plausible_share,
        air_share=limits.air_share,
    )
    return PreprocessedVolume(
        array=result,
        geometry=describe_geometry(plan),
        hu=describe_hu(scaling, statistics),
        dtype=header.dtype.name,
        seconds=seconds,
    )


def _check_out(out: npt.NDArray[Any], preset: CTPreprocessing) -> None:
    if out.shape != preset.shape or out.dtype != np.float16 or not out.flags.c_contiguous:
        msg = (
            f"out: expected C-contiguous float16 of shape {preset.shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
        raise ValueError(msg)
    largest = max(abs(hu) for hu in preset.clip_hu) / preset.scale
    if max(largest, abs(preset.pad_value)) > _FLOAT16_MAX:
        msg = f"preset: values up to {largest:g} do not fit float16 ({_FLOAT16_MAX:g})"
        raise ValueError(msg)


def check_num_slices(header: VolumeHeader, min_slices: int) -> None:
    """Refuse a volume that is too thin.

    Raises:
        SampleRejectedError: TOO_FEW_SLICES.
    """
    if min(header.shape) < min_slices:
        detail = f"the shape is {header.shape}, expected at least {min_slices} along every axis"
        raise SampleRejectedError(Reason.TOO_FEW_SLICES, detail)
