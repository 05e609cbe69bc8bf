"""Names of the kinds of video sources."""

from medassets.specs import VideoClipDatasetSpec
from medassets.specs.checks import check_choice
from medassets.video.catalog.sources.base import VideoSource
from medassets.video.catalog.sources.cut_clips import CutClips
from medassets.video.catalog.sources.raw_videos import RawVideos

VIDEO_SOURCES: dict[str, type[VideoSource]] = {"videos": RawVideos, "clips": CutClips}
"""Value of `source` in a declaration -> the kind of source."""


def open_video_source(spec: VideoClipDatasetSpec) -> VideoSource:
    """Return the source of a dataset of video clips; opens no file.

    Raises:
        SpecError: If there is no such source.
    """
    check_choice("source", spec.source, tuple(VIDEO_SOURCES))
    return VIDEO_SOURCES[spec.source](spec)
