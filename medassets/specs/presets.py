"""Presets: how stored values become the values of a sample."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice
from medassets.specs.ct import CHEST_AIR_SHARE

Orientation = Literal["as_stored", "LPS", "RAS"]
Intensity = Literal["hu", "stored"]

RAW = "none"
"""Value of `preprocessing` that keeps stored values, as float16."""

LARGEST_VALUE = 65504.0
"""Largest float16. Source: IEEE 754-2019, binary16."""

# `medassets.shards.made_from.ADDED_LATER`: a fact only where it is not the default.
_LATER: dict[str, Any] = {"added_later": True}


@dataclass(frozen=True)
class CTPreprocessing:
    """How a stored volume becomes a sample of float16 voxels, C order of the axes (i, j, k).

    Attributes:
        spacing_mm: Output step along array axis 0, 1, 2, in mm.
        clip_hu: (low, high) in HU, or in units of the file where `intensity` is `stored`; applied
            before interpolation. None where the range is that of `percentiles`.
        scale: Values are divided by this after interpolation; 1 where there is an `output_range`.
        shape: Output shape (i, j, k) after centre crop and pad.
        pad_value: Value of padded voxels, after scaling.
        orientation: Axis order of the output; arrays and affine are turned together.
        air_share: Least and largest share of voxels below -200 HU of the body part it is made for.
        intensity: Whether values are HU, and are judged as such, or those of the file.
        percentiles: (low, high) in percent: of each volume, values outside these percentiles of all its
            stored voxels are clipped.
        output_range: (low, high) that the range is mapped to, linearly, after interpolation.
    """

    spacing_mm: tuple[float, float, float]
    clip_hu: tuple[float, float] | None
    scale: float
    shape: tuple[int, int, int]
    pad_value: float
    orientation: Orientation = "as_stored"
    air_share: tuple[float, float] = CHEST_AIR_SHARE
    intensity: Intensity = field(default="hu", metadata=_LATER)
    percentiles: tuple[float, float] | None = field(default=None, metadata=_LATER)
    output_range: tuple[float, float] | None = field(default=None, metadata=_LATER)

    def __post_init__(self) -> None:
        """Reject a preset that no volume can satisfy."""
        if len(self.spacing_mm) != 3 or not all(0 < s < 1000 for s in self.spacing_mm):
            what = f"expected three steps in mm above 0, got {self.spacing_mm}"
            raise SpecError(field="target_spacing_mm", what=what)
        if len(self.shape) != 3 or not all(0 < n <= 4096 for n in self.shape):
            what = f"expected three sides in 1..4096, got {self.shape}"
            raise SpecError(field="target_shape", what=what)
        check_choice("orientation", self.orientation, get_args(Orientation))
        check_choice("intensity", self.intensity, get_args(Intensity))
        self._check_range()
        if not self.scale > 0:
            raise SpecError(field="scale", what=f"expected a number above 0, got {self.scale}")
        _check_largest("scale", *(self.find_output_range() or ()))
        _check_largest("pad_value", self.pad_value)

    def _check_range(self) -> None:
        if self.percentiles is None:
            check_rising("clip", self.clip_hu)
        elif self.clip_hu is not None:
            what = "a range is either fixed or one of percentiles; leave out one of them"
            raise SpecError(field="clip_percentiles", what=what)
        else:
            check_rising("clip_percentiles", self.percentiles, least=0, most=100)
        if self.output_range is not None:
            check_rising("output_range", self.output_range)
        elif self.percentiles is not None:
            what = "a range of percentiles needs the values that it is mapped to, such as [0, 1]"
            raise SpecError(field="output_range", what=what)

    def find_output_range(self) -> tuple[float, float] | None:
        """Return the least and the largest value of a sample; None only for an invalid preset."""
        if self.output_range is not None:
            return self.output_range
        if self.clip_hu is None:
            return None
        return self.clip_hu[0] / self.scale, self.clip_hu[1] / self.scale


def check_rising(name: str, pair: Any, *, least: float = -math.inf, most: float = math.inf) -> None:
    """Reject what is not a tuple of two finite numbers, the second larger than the first.

    Raises:
        SpecError: Naming the field.
    """
    numbers = isinstance(pair, tuple) and len(pair) == 2
    numbers = numbers and all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in pair
    )
    if not numbers or not least <= pair[0] < pair[1] <= most:
        within = "" if least == -math.inf else f" within {least:g}..{most:g}"
        shown = list(pair) if isinstance(pair, tuple) else pair
        raise SpecError(field=name, what=f"expected [low, high], low < high{within}, got {shown}")


def _check_largest(name: str, *values: float) -> None:
    for value in map(abs, values):
        # The comparison is false for NaN, too.
        if not value <= LARGEST_VALUE:
            what = f"values up to {value:g} do not fit float16 ({LARGEST_VALUE:g})"
            raise SpecError(field=name, what=what)


PRESETS: dict[str, CTPreprocessing] = {
    # CT-CLIP, the model published with CT-RATE, is trained on exactly this grid.
    "ct_clip": CTPreprocessing(
        spacing_mm=(0.75, 0.75, 1.5),
        clip_hu=(-1000.0, 1000.0),
        scale=1000.0,
        shape=(480, 480, 240),
        pad_value=-1.0,
        air_share=CHEST_AIR_SHARE,
    ),
    # The window of `soft_tissue` (width 400, level 50) on 480 x 480 x 512 mm: any part of the trunk.
    "ct_soft_tissue": CTPreprocessing(
        spacing_mm=(1.5, 1.5, 2.0),
        clip_hu=(-150.0, 250.0),
        scale=1.0,
        shape=(320, 320, 256),
        pad_value=0.0,
        air_share=(0.02, 0.95),
        output_range=(0.0, 1.0),
    ),
    # MR has no unit. Source of the percentiles: nnU-Net (Isensee et al., Nature Methods 2021).
    "mr_percentile": CTPreprocessing(
        spacing_mm=(1.0, 1.0, 1.0),
        clip_hu=None,
        scale=1.0,
        shape=(256, 256, 256),
        pad_value=0.0,
        intensity="stored",
        percentiles=(0.5, 99.5),
        output_range=(0.0, 1.0),
    ),
}
