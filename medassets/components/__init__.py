"""Dagster components: dataset declarations in YAML."""

from medassets.components.volume_dataset import VolumeDatasetComponent

__all__ = ["VolumeDatasetComponent"]
