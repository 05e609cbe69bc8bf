"""Frozen declarations of datasets; each checks itself when it is made."""

from medassets.specs.dataset import Automation, DatasetSpec
from medassets.specs.video import VideoClipDatasetSpec
from medassets.specs.volumes import (
    PRESETS,
    CTPreprocessing,
    HuRule,
    Orientation,
    VolumeDatasetSpec,
    VolumeLayout,
)

__all__ = [
    "PRESETS",
    "Automation",
    "CTPreprocessing",
    "DatasetSpec",
    "HuRule",
    "Orientation",
    "VideoClipDatasetSpec",
    "VolumeDatasetSpec",
    "VolumeLayout",
]
