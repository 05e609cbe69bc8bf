"""Probe a video: codec, size, orientation and duration."""

from pathlib import Path

from medassets.video.facts import VideoFacts

__all__ = ["VideoFacts", "probe_video"]


def probe_video(path: Path) -> VideoFacts:
    """Return the facts of a video; its first frame is decoded.

    Raises:
        SampleRejectedError: DECODE_FAILED if it is not a video or cannot be decoded,
            NO_VIDEO_STREAM if it has only audio or cover pictures, MISSING_SOURCE if it does not exist.
    """
    from medassets.video.files.reader import VideoReader

    with VideoReader(path) as reader:
        return reader.facts
