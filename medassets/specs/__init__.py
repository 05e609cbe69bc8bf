"""Frozen declarations of datasets; each checks itself when it is made."""

from medassets.specs.ct import (
    CHEST_AIR_SHARE,
    FIELD_ROLES,
    SAMPLE_TEXTS,
    CTSourceSpec,
    HuRule,
)
from medassets.specs.dataset import Automation, DatasetSpec
from medassets.specs.field_rules import FieldRule
from medassets.specs.presets import PRESETS, RAW, CTPreprocessing, Intensity, Orientation
from medassets.specs.video import VideoClipDatasetSpec
from medassets.specs.volumes import SAMPLE_DTYPE, SAMPLE_LAYOUT, VolumeDatasetSpec
from medassets.specs.windows import PADDING_HU, STANDARD_WINDOWS, CTWindow, CTWindowDatasetSpec

__all__ = [
    "CHEST_AIR_SHARE",
    "FIELD_ROLES",
    "PADDING_HU",
    "PRESETS",
    "RAW",
    "SAMPLE_DTYPE",
    "SAMPLE_LAYOUT",
    "SAMPLE_TEXTS",
    "STANDARD_WINDOWS",
    "Automation",
    "CTPreprocessing",
    "CTSourceSpec",
    "CTWindow",
    "CTWindowDatasetSpec",
    "DatasetSpec",
    "FieldRule",
    "HuRule",
    "Intensity",
    "Orientation",
    "VideoClipDatasetSpec",
    "VolumeDatasetSpec",
]
