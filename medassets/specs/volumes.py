"""Declarations of CT volume datasets, and the presets they name."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.dataset import DatasetSpec

Orientation = Literal["as_stored", "LPS", "RAS"]
HuRule = Literal["none", "table", "header"]
VolumeLayout = Literal["ct_rate"]


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
            msg = f"target_spacing_mm: expected three steps in mm above 0, got {self.spacing_mm}"
            raise SpecError(msg)
        if len(self.shape) != 3 or not all(0 < n <= 4096 for n in self.shape):
            msg = f"target_shape: expected three sides in 1..4096, got {self.shape}"
            raise SpecError(msg)
        if not self.clip_hu[0] < self.clip_hu[1]:
            msg = f"clip_hu: expected low < high, got {self.clip_hu}"
            raise SpecError(msg)
        if not self.scale > 0:
            msg = f"scale: expected a number above 0, got {self.scale}"
            raise SpecError(msg)
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
class VolumeDatasetSpec(DatasetSpec):
    """A dataset of CT volumes with reports and labels.

    Attributes:
        layout: Names of files and tables inside the source; `ct_rate` is the layout of
            ibrahimhamamci/CT-RATE.
        volumes_dir: Folder of one split's volumes inside the source; `{split}` is replaced.
        hu_rule: How stored values become HU: `none` (they are), `table` (RescaleSlope and
            RescaleIntercept of the metadata table), `header` (scl_slope and scl_inter).
        preprocessing: Name of a preset in `PRESETS`.
        target_spacing_mm: Replaces the preset's spacing, three steps in mm.
        target_shape: Replaces the preset's shape (i, j, k).
        orientation: Replaces the preset's orientation.
        min_slices: Volumes with fewer slices along any axis are rejected.
        min_plausible_share: Least share of voxels in [-200, 300] HU of a believable chest CT.
        max_plausible_share: Largest such share.
    """

    layout: VolumeLayout = "ct_rate"
    volumes_dir: str = "dataset/{split}_fixed"
    hu_rule: HuRule = "none"
    preprocessing: str = "ct_clip"
    target_spacing_mm: tuple[float, ...] = ()
    target_shape: tuple[int, ...] = ()
    orientation: Orientation = "as_stored"
    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        super().__post_init__()
        check_choice("layout", self.layout, get_args(VolumeLayout))
        check_choice("hu_rule", self.hu_rule, get_args(HuRule))
        check_choice("preprocessing", self.preprocessing, tuple(PRESETS))
        check_range("min_slices", self.min_slices, 1, 4096)
        check_range("min_plausible_share", self.min_plausible_share, 0, 1)
        check_range("max_plausible_share", self.max_plausible_share, self.min_plausible_share, 1)
        if "{split}" not in self.volumes_dir:
            msg = f"volumes_dir: expected a path with '{{split}}' in it, got {self.volumes_dir!r}"
            raise SpecError(msg)
        if any(part in ("", ".", "..") for part in self.volumes_dir.rstrip("/").split("/")):
            msg = f"volumes_dir: expected a path inside the source, got {self.volumes_dir!r}"
            raise SpecError(msg)
        self.preset()

    def preset(self) -> CTPreprocessing:
        """Return the named preset with this declaration's replacements."""
        changes: dict[str, Any] = {"orientation": self.orientation}
        if self.target_spacing_mm:
            changes["spacing_mm"] = tuple(self.target_spacing_mm)
        if self.target_shape:
            changes["shape"] = tuple(self.target_shape)
        return replace(PRESETS[self.preprocessing], **changes)
