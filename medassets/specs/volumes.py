"""Declarations of CT volume datasets, and the presets they name."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.array_sources import RAW, ArraySourceSpec
from medassets.specs.checks import check_choice

Orientation = Literal["as_stored", "LPS", "RAS"]


@dataclass(frozen=True)
class CTPreprocessing:
    """How a stored CT volume becomes a sample: data, not code.

    Attributes:
        spacing_mm: Output step along array axis 0, 1, 2, in mm.
        clip_hu: (low, high) in HU; applied before interpolation.
        scale: HU are divided by this after interpolation.
        shape: Output shape (i, j, k) after centre crop and pad.
        pad_value: Value of padded voxels, after scaling.
        dtype: Stored dtype of the output; the very last step.
        orientation: Axis order of the output; arrays and affine are turned together.
        layout: Order of the output axes in memory, C order of the named axes.
    """

    spacing_mm: tuple[float, float, float]
    clip_hu: tuple[float, float]
    scale: float
    shape: tuple[int, int, int]
    pad_value: float
    dtype: Literal["float16"] = "float16"
    orientation: Orientation = "as_stored"
    layout: Literal["ijk"] = "ijk"

    def __post_init__(self) -> None:
        """Refuse a preset that no volume could satisfy."""
        if len(self.spacing_mm) != 3 or not all(0 < s < 1000 for s in self.spacing_mm):
            raise SpecError(
                field="target_spacing_mm",
                what=f"expected three steps in mm above 0, got {self.spacing_mm}",
            )
        if len(self.shape) != 3 or not all(0 < n <= 4096 for n in self.shape):
            raise SpecError(
                field="target_shape", what=f"expected three sides in 1..4096, got {self.shape}"
            )
        if not self.clip_hu[0] < self.clip_hu[1]:
            raise SpecError(field="clip_hu", what=f"expected low < high, got {self.clip_hu}")
        if not self.scale > 0:
            raise SpecError(field="scale", what=f"expected a number above 0, got {self.scale}")
        check_choice("dtype", self.dtype, ("float16",))
        check_choice("orientation", self.orientation, get_args(Orientation))
        check_choice("layout", self.layout, ("ijk",))


PRESETS: dict[str, CTPreprocessing] = {
    # CT-CLIP, the model published with CT-RATE, is trained on exactly this grid.
    "ct_clip": CTPreprocessing(
        spacing_mm=(0.75, 0.75, 1.5),
        clip_hu=(-1000.0, 1000.0),
        scale=1000.0,
        shape=(480, 480, 240),
        pad_value=-1.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class VolumeDatasetSpec(ArraySourceSpec):
    """A dataset of CT volumes with reports and labels.

    Attributes:
        preprocessing: Name of a preset in `PRESETS`; `none` keeps stored values, as float16, in the
            shape of each volume (sources `npz` and `webdataset`).
        target_spacing_mm: Replaces the preset's spacing, three steps in mm.
        target_shape: Replaces the preset's shape (i, j, k).
        orientation: Replaces the preset's orientation.
    """

    preprocessing: str = "ct_clip"
    target_spacing_mm: tuple[float, ...] = ()
    target_shape: tuple[int, ...] = ()
    orientation: Orientation = "as_stored"

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        super().__post_init__()
        check_choice("preprocessing", self.preprocessing, (*PRESETS, RAW))
        if self.is_array_source:
            self._check_arrays()
        elif self.is_raw:
            what = f"none is for arrays (npz, webdataset), not for {self.source}"
            raise SpecError(field="preprocessing", what=what)
        if not self.is_raw:
            self.preset()
        elif self.target_spacing_mm or self.target_shape:
            name = "target_spacing_mm" if self.target_spacing_mm else "target_shape"
            raise SpecError(field=name, what="preprocessing none resamples nothing; leave it out")

    @property
    def is_raw(self) -> bool:
        """Whether stored values are kept as they are."""
        return self.preprocessing == RAW

    @property
    def needs_rescaling(self) -> bool:
        """Whether a volume is of no use without RescaleSlope and RescaleIntercept.

        Stored values need them for later, unless `hu_rule: none` says that they are HU already.
        """
        return super().needs_rescaling or (self.is_raw and self.hu_rule is None)

    def preset(self) -> CTPreprocessing:
        """Return the named preset with this declaration's replacements.

        Raises:
            SpecError: If it is none that can be, or values are kept as they are.
        """
        if self.is_raw:
            raise SpecError(field="preprocessing", what="none has no preset")
        changes: dict[str, Any] = {"orientation": self.orientation}
        if self.target_spacing_mm:
            changes["spacing_mm"] = tuple(self.target_spacing_mm)
        if self.target_shape:
            changes["shape"] = tuple(self.target_shape)
        return replace(PRESETS[self.preprocessing], **changes)

    def _check_arrays(self) -> None:
        if self.hu_rule == "header":
            what = f"arrays of source {self.source} have no header; use none or table"
            raise SpecError(field="hu_rule", what=what)
        if self.hu_rule is None and not self.is_raw:
            # Whether values were rescaled already cannot be seen of an array with certainty.
            what = (
                f"source {self.source} must say how stored values become HU: none (they "
                f"are HU already) or table (RescaleSlope and RescaleIntercept apply)"
            )
            raise SpecError(field="hu_rule", what=what)
        if self.orientation != "as_stored":
            raise SpecError(
                field="orientation", what="arrays do not say how they are oriented; use as_stored"
            )
