"""Declarations of datasets of volumes."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.ct import CTSourceSpec, HuRule
from medassets.specs.presets import (
    PRESETS,
    RAW,
    CTPreprocessing,
    Intensity,
    Orientation,
    check_rising,
)

LabelMember = Literal["cls", "labels", "both"]

SAMPLE_DTYPE = "float16"
"""Dtype of the voxels of every sample."""

SAMPLE_LAYOUT = "ijk"
"""Order of the axes of every sample in memory, C order of the named axes."""


_GRID_FIELDS = ("target_spacing_mm", "target_shape")
_VALUE_FIELDS = ("clip", "clip_percentiles", "output_range", "min_inside_share")


@dataclass(frozen=True, kw_only=True)
class VolumeDatasetSpec(CTSourceSpec):
    """A dataset of volumes with reports and labels.

    Attributes:
        preprocessing: Name of a preset in `PRESETS`; `none` keeps stored values, as float16, in the
            shape of each volume.
        intensity: What values are: `hu`, judged as those of a CT, or `stored`, those of the file in any
            unit, of which nothing of HU is asked, checked or counted. Empty means the preset's, and
            `hu` for `preprocessing: none`.
        clip: Replaces the preset's range by a fixed one: [low, high] in HU, or in units of the file with
            `intensity: stored`.
        clip_percentiles: Replaces the preset's range by one of each volume: values outside these
            percentiles of all its stored voxels are clipped, such as [0.5, 99.5].
        scale: Replaces the preset's scaling: clipped values are divided by this.
        output_range: Replaces the preset's scaling: the range is mapped to [low, high], linearly.
        pad_value: Replaces the preset's value of padded voxels, after scaling. Where range or scaling are
            replaced and this is not, it is the least value of a sample.
        min_inside_share: Least share of a volume's voxels that are inside the fixed range.
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
    intensity: Intensity | None = None
    clip: tuple[float, ...] = ()
    clip_percentiles: tuple[float, ...] = ()
    scale: float | None = None
    output_range: tuple[float, ...] = ()
    pad_value: float | None = None
    min_inside_share: float = 0.0
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
        check_choice("intensity", self.effective_intensity, get_args(Intensity))
        _check_number("max_rounding_error", self.max_rounding_error, 0, math.inf)
        if self.is_raw:
            self._check_raw()
        else:
            self._check_values()
            self.preset()

    def _check_raw(self) -> None:
        changed = [name for name in (*_GRID_FIELDS, *_VALUE_FIELDS) if getattr(self, name)]
        if changed:
            what = "preprocessing none keeps stored values; leave it out"
            raise SpecError(field=changed[0], what=what)

    def _check_values(self) -> None:
        for name in ("scale", "pad_value"):
            _check_number(name, getattr(self, name), -math.inf, math.inf)
        check_range("min_inside_share", self.min_inside_share, 0, 1)
        both = [name for name in ("scale", "output_range") if getattr(self, name) not in (None, ())]
        if len(both) == 2:
            raise SpecError(
                field="scale", what="output_range scales already; leave out one of them"
            )
        if self.clip and self.clip_percentiles:
            what = "a range is either fixed or one of percentiles; leave out one of them"
            raise SpecError(field="clip_percentiles", what=what)
        is_other = self.effective_intensity != PRESETS[self.preprocessing].intensity
        if is_other and not (self.clip or self.clip_percentiles):
            what = (
                f"the range of {self.preprocessing} is not one of values that are "
                f"{self.effective_intensity}; declare clip or clip_percentiles"
            )
            raise SpecError(field="clip", what=what)
        if self.min_inside_share and self.preset().percentiles is not None:
            what = "a range of percentiles always holds the same share; leave it out"
            raise SpecError(field="min_inside_share", what=what)

    @property
    def label_suffixes(self) -> tuple[str, ...]:
        """Suffixes of the members with labels, in their order in a shard."""
        return ("cls", "labels") if self.label_member == "both" else (self.label_member,)

    @property
    def is_raw(self) -> bool:
        """Whether stored values are kept as they are."""
        return self.preprocessing == RAW

    @property
    def effective_intensity(self) -> Intensity:
        """The declared one, or the preset's."""
        preset = PRESETS.get(self.preprocessing)
        return self.intensity or (preset.intensity if preset else "hu")

    @property
    def is_hu(self) -> bool:
        """Whether values are HU, and are judged as such."""
        return self.effective_intensity == "hu"

    @property
    def stated_hu_rule(self) -> HuRule | None:
        """The rule that declaration or layout states; None where nothing does, or nothing becomes HU."""
        return super().stated_hu_rule if self.is_hu else None

    @property
    def air_share(self) -> tuple[float, float]:
        """Least and largest share of voxels below -200 HU: the declared one, or the preset's."""
        return super().air_share if self.is_raw else self.preset().air_share

    @property
    def needs_rescaling(self) -> bool:
        """Whether a volume without RescaleSlope and RescaleIntercept is unusable.

        With `preprocessing: none` they are stored for later use, unless `hu_rule` says otherwise.
        """
        unstated = self.is_hu and self.is_raw and self.stated_hu_rule is None
        return super().needs_rescaling or unstated

    def preset(self) -> CTPreprocessing:
        """Return the named preset with this declaration's replacements.

        Raises:
            SpecError: If the result is not a valid preset, or `preprocessing` is `none`.
        """
        if self.is_raw:
            raise SpecError(field="preprocessing", what="none has no preset")
        changes: dict[str, Any] = {"orientation": self.orientation, **self._replace_values()}
        if self.target_spacing_mm:
            changes["spacing_mm"] = tuple(self.target_spacing_mm)
        if self.expected_air_share:
            changes["air_share"] = super().air_share
        if self.target_shape:
            changes["shape"] = tuple(self.target_shape)
        return replace(PRESETS[self.preprocessing], **changes)

    def _replace_values(self) -> dict[str, Any]:
        """Return the fields of the preset that the declaration of values replaces."""
        changes: dict[str, Any] = {"intensity": self.effective_intensity}
        if self.clip:
            changes |= {"clip_hu": self._read_pair("clip"), "percentiles": None}
        if self.clip_percentiles:
            changes |= {"clip_hu": None, "percentiles": self._read_pair("clip_percentiles")}
        if self.output_range:
            changes |= {"output_range": self._read_pair("output_range"), "scale": 1.0}
        if self.scale is not None:
            changes |= {"scale": float(self.scale), "output_range": None}
        if self.pad_value is not None:
            return {**changes, "pad_value": float(self.pad_value)}
        if len(changes) > 1:
            lows = replace(PRESETS[self.preprocessing], **changes).find_output_range() or (0.0,)
            changes["pad_value"] = lows[0]
        return changes

    def _read_pair(self, name: str) -> tuple[float, float]:
        pair = tuple(getattr(self, name))
        check_rising(name, pair)
        return float(pair[0]), float(pair[1])


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise SpecError(field=name, what=f"expected a number, got {value!r}")
    check_range(name, value, least, most)
