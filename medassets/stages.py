"""Names of the stages of each kind of dataset: the second part of an asset key."""

from enum import StrEnum


class CommonStage(StrEnum):
    """Stages that datasets of several kinds have."""

    CATALOG = "catalog"
    MANIFEST = "manifest"
    SUMMARY = "summary"


class VolumeStage(StrEnum):
    """Stages of a dataset of CT volumes or windows, beside the common ones."""

    RAW_VOLUMES = "raw_volumes"
    SHARDS = "shards"
    WINDOWS = "windows"
    RECLAIMED_SOURCES = "reclaimed_sources"


class VideoStage(StrEnum):
    """Stages of a dataset of video clips, beside the catalog."""

    CLIPS = "clips"
    FRAMES = "frames"
    DATASET_INFO = "dataset_info"
