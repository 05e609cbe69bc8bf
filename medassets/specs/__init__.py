"""Frozen declarations of datasets; each checks itself when it is made."""

from medassets.specs.array_sources import FIELD_ROLES, RAW, ArraySourceSpec
from medassets.specs.ct import CTSourceSpec, HuRule, VolumeLayout
from medassets.specs.dataset import Automation, DatasetSpec
from medassets.specs.video import VideoClipDatasetSpec
from medassets.specs.volumes import (
    PRESETS,
    CTPreprocessing,
    Orientation,
    VolumeDatasetSpec,
)
from medassets.specs.windows import PADDING_HU, STANDARD_WINDOWS, CTWindow, CTWindowDatasetSpec

__all__ = [
    "FIELD_ROLES",
    "PADDING_HU",
    "PRESETS",
    "RAW",
    "STANDARD_WINDOWS",
    "ArraySourceSpec",
    "Automation",
    "CTPreprocessing",
    "CTSourceSpec",
    "CTWindow",
    "CTWindowDatasetSpec",
    "DatasetSpec",
    "HuRule",
    "Orientation",
    "VideoClipDatasetSpec",
    "VolumeDatasetSpec",
    "VolumeLayout",
]
