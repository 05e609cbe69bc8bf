"""What a video is: its coding, size, orientation, duration."""

from pathlib import Path

from medassets.video.facts import VideoFacts

__all__ = ["VideoFacts", "probe_video"]


def probe_video(path: Path) -> VideoFacts:
    """Return the facts of a video; its first frame is decoded.

    Raises:
        SampleRejectedError: DECODE_FAILED if it is no video or nothing can be decoded,
            NO_VIDEO_STREAM if it has only sound or cover pictures, MISSING_SOURCE if it is gone.
    """
    from medassets.video.files.reader import VideoReader

    with VideoReader(path) as reader:
        return reader.facts
