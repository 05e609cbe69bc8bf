"""The range of values of a volume: fixed or of its percentiles, and what it is mapped to."""

from dataclasses import dataclass, replace
from typing import Any

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import CTPreprocessing
from medassets.storage.buffers import BufferPool
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import VoxelStatistics
from medassets.volumes.grid.percentiles import OpenStream, find_percentile_range


@dataclass(frozen=True)
class ValueMap:
    """How a value becomes that of a sample: `(clip(value) - shift) * factor`.

    Interpolation is linear, so that values are shifted before and multiplied after it.

    Attributes:
        clip: (low, high) of the values.
        shift: Is subtracted from clipped values.
        factor: Is multiplied with interpolated ones.
    """

    clip: tuple[float, float]
    shift: float
    factor: float

    @classmethod
    def of(cls, preset: CTPreprocessing) -> "ValueMap":
        """Return that of a preset with a fixed range.

        Raises:
            ValueError: If its range is one of percentiles, see `fix_range`.
        """
        if preset.clip_hu is None:
            msg = f"preset: the range is of percentiles {preset.percentiles}; expected a fixed one"
            raise ValueError(msg)
        low, high = preset.clip_hu
        if preset.output_range is None:
            return cls((low, high), 0.0, 1.0 / preset.scale)
        first, last = preset.output_range
        factor = (last - first) / (high - low)
        return cls((low, high), low - first / factor, factor)

    @property
    def shifted_clip(self) -> tuple[float, float]:
        """The range of shifted values."""
        return self.clip[0] - self.shift, self.clip[1] - self.shift

    def shift_scaling(self, scaling: HuScaling) -> HuScaling:
        """Return the scaling from stored to shifted values."""
        return replace(scaling, intercept=scaling.intercept - self.shift)


def fix_range(
    preset: CTPreprocessing, open_stream: OpenStream, *, scaling: HuScaling, buffers: BufferPool
) -> CTPreprocessing:
    """Return a preset with the range of one volume; the preset itself where its range is fixed.

    Args:
        preset: The preset.
        open_stream: Opens the volume; called once per pass over it.
        scaling: How stored values become the values of the file, or HU.
        buffers: Where scratch arrays come from.

    Raises:
        SampleRejectedError: See `find_percentile_range`.
    """
    if preset.percentiles is None:
        return preset
    found = find_percentile_range(open_stream, preset.percentiles, scaling=scaling, buffers=buffers)
    return replace(preset, clip_hu=found, percentiles=None)


def check_inside(statistics: VoxelStatistics, *, clip: Any, min_inside_share: float) -> None:
    """Refuse a volume of which too little is inside a fixed range.

    Args:
        statistics: Counts over the whole stored volume, with `inside_ranges`.
        clip: The range.
        min_inside_share: Least share of voxels inside it.

    Raises:
        SampleRejectedError: VALUES_IMPLAUSIBLE.
    """
    if statistics.plausible_share < min_inside_share:
        detail = (
            f"{statistics.plausible_share:.4f} of the voxels are within [{clip[0]:g}, {clip[1]:g}], "
            f"expected at least {min_inside_share:g}, see min_inside_share"
        )
        raise SampleRejectedError(Reason.VALUES_IMPLAUSIBLE, detail)


def describe_intensity(
    scaling: HuScaling, statistics: VoxelStatistics, preset: CTPreprocessing
) -> dict[str, Any]:
    """Return the `intensity` record of a sample whose values are not HU.

    Args:
        scaling: How stored values became the values of the file.
        statistics: Counts, with `inside_ranges`.
        preset: With the range of the volume.
    """
    return {
        "slope": scaling.slope,
        "intercept": scaling.intercept,
        "range": list(ValueMap.of(preset).clip),
        "inside_share": statistics.plausible_share,
    }
