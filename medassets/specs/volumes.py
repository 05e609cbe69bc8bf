"""Declarations of CT volume datasets, and the presets that they refer to."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.ct import CHEST_AIR_SHARE, CTSourceSpec

Orientation = Literal["as_stored", "LPS", "RAS"]

LabelMember = Literal["cls", "labels", "both"]

RAW = "none"
"""Value of `preprocessing` that keeps stored values, as float16."""

SAMPLE_DTYPE = "float16"
"""Dtype of the voxels of every sample."""

SAMPLE_LAYOUT = "ijk"
"""Order of the axes of every sample in memory, C order of the named axes."""


@dataclass(frozen=True)
class CTPreprocessing:
    """How a stored CT volume becomes a sample of float16 voxels, C order of the axes (i, j, k).

    Attributes:
        spacing_mm: Output step along array axis 0, 1, 2, in mm.
        clip_hu: (low, high) in HU; applied before interpolation.
        scale: HU are divided by this after interpolation.
        shape: Output shape (i, j, k) after centre crop and pad.
        pad_value: Value of padded voxels, after scaling.
        orientation: Axis order of the output; arrays and affine are turned together.
        air_share: Least and largest share of voxels below -200 HU of the body part it is made for.
    """

    spacing_mm: tuple[float, float, float]
    clip_hu: tuple[float, float]
    scale: float
    shape: tuple[int, int, int]
    pad_value: float
    orientation: Orientation = "as_stored"
    air_share: tuple[float, float] = CHEST_AIR_SHARE

    def __post_init__(self) -> None:
        """Reject a preset that no volume can satisfy."""
        if len(self.spacing_mm) != 3 or not all(0 < s < 1000 for s in self.spacing_mm):
            what = f"expected three steps in mm above 0, got {self.spacing_mm}"
            raise SpecError(field="target_spacing_mm", what=what)
        if len(self.shape) != 3 or not all(0 < n <= 4096 for n in self.shape):
            what = f"expected three sides in 1..4096, got {self.shape}"
            raise SpecError(field="target_shape", what=what)
        if not self.clip_hu[0] < self.clip_hu[1]:
            what = f"expected low < high, got {self.clip_hu}"
            raise SpecError(field="clip_hu", what=what)
        if not self.scale > 0:
            what = f"expected a number above 0, got {self.scale}"
            raise SpecError(field="scale", what=what)
        check_choice("orientation", self.orientation, get_args(Orientation))


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
}


@dataclass(frozen=True, kw_only=True)
class VolumeDatasetSpec(CTSourceSpec):
    """A dataset of CT volumes with reports and labels.

    Attributes:
        preprocessing: Name of a preset in `PRESETS`; `none` keeps stored values, as float16, in the
            shape of each volume.
        target_spacing_mm: Replaces the preset's spacing, three steps in mm.
        target_shape: Replaces the preset's shape (i, j, k).
        orientation: Replaces the preset's orientation.
        max_rounding_error: `preprocessing: none`: a sample that float16 changes by more, in stored
            units, is rejected; empty only records the error.
        ignored_members: Other arrays of an `.npz`, or suffixes of other members of a WebDataset
            sample, that no shard stores and that may be deleted with their file; a file with any
            other member is kept.
        label_member: Member that holds the labels of a sample: `.cls`, `.labels`, as older loaders read
            them, or `both`.
        delete_sources: Allow `reclaimed_sources` to delete files that are proven to be in a shard.
            Each run still needs the typed confirmation.
    """

    preprocessing: str = "ct_clip"
    target_spacing_mm: tuple[float, ...] = ()
    target_shape: tuple[int, ...] = ()
    orientation: Orientation = "as_stored"
    max_rounding_error: float | None = None
    ignored_members: tuple[str, ...] = ()
    label_member: LabelMember = "cls"
    delete_sources: bool = False

    def __post_init__(self) -> None:
        """Reject values that no source can use."""
        super().__post_init__()
        check_choice("preprocessing", self.preprocessing, (*PRESETS, RAW))
        check_choice("label_member", self.label_member, get_args(LabelMember))
        self._check_max_rounding_error()
        if not self.is_raw:
            self.preset()
        elif self.target_spacing_mm or self.target_shape:
            name = "target_spacing_mm" if self.target_spacing_mm else "target_shape"
            raise SpecError(field=name, what="preprocessing none does not resample; leave it out")

    def _check_max_rounding_error(self) -> None:
        error = self.max_rounding_error
        if error is None:
            return
        if not isinstance(error, int | float) or isinstance(error, bool) or math.isnan(error):
            raise SpecError(field="max_rounding_error", what=f"expected a number, got {error!r}")
        check_range("max_rounding_error", error, 0, math.inf)

    @property
    def label_suffixes(self) -> tuple[str, ...]:
        """Suffixes of the members with labels, in their order in a shard."""
        return ("cls", "labels") if self.label_member == "both" else (self.label_member,)

    @property
    def is_raw(self) -> bool:
        """Whether stored values are kept as they are."""
        return self.preprocessing == RAW

    @property
    def air_share(self) -> tuple[float, float]:
        """Least and largest share of voxels below -200 HU: the declared one, or the preset's."""
        return super().air_share if self.is_raw else self.preset().air_share

    @property
    def needs_rescaling(self) -> bool:
        """Whether a volume without RescaleSlope and RescaleIntercept is unusable.

        With `preprocessing: none` they are stored for later use, unless `hu_rule` says otherwise.
        """
        return super().needs_rescaling or (self.is_raw and self.stated_hu_rule is None)

    def preset(self) -> CTPreprocessing:
        """Return the named preset with this declaration's replacements.

        Raises:
            SpecError: If the result is not a valid preset, or `preprocessing` is `none`.
        """
        if self.is_raw:
            raise SpecError(field="preprocessing", what="none has no preset")
        changes: dict[str, Any] = {"orientation": self.orientation}
        if self.target_spacing_mm:
            changes["spacing_mm"] = tuple(self.target_spacing_mm)
        if self.expected_air_share:
            changes["air_share"] = super().air_share
        if self.target_shape:
            changes["shape"] = tuple(self.target_shape)
        return replace(PRESETS[self.preprocessing], **changes)
