"""Dagster components: dataset declarations in YAML."""

from medassets.components.ct_window_dataset import CTWindowDatasetComponent
from medassets.components.video_clip_dataset import VideoClipDatasetComponent
from medassets.components.volume_dataset import VolumeDatasetComponent

__all__ = ["CTWindowDatasetComponent", "VideoClipDatasetComponent", "VolumeDatasetComponent"]
