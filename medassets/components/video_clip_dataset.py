"""A dataset of video clips, declared in YAML."""

from dataclasses import dataclass

import dagster as dg

from medassets.assets.video import build_video_assets
from medassets.specs import VideoClipDatasetSpec


@dataclass(frozen=True, kw_only=True)
class VideoClipDatasetComponent(VideoClipDatasetSpec, dg.Component, dg.Resolvable):
    """Video clips with what is said in them: catalog, clips, frames, dataset_info.

    The fields are those of `medassets.specs.VideoClipDatasetSpec`.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's assets, checks, jobs and schedule."""
        return build_video_assets(self)
