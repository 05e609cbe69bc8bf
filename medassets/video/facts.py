"""What is known of a video without decoding all of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoFacts:
    """Facts of the video stream that is used: the first that is no attached picture.

    Attributes:
        codec: Name of the coding, such as `h264`.
        pixel_format: Name of the stored pixel format, such as `yuv420p`.
        width: Pixels from left to right as shown; pixels that are not square count as they are.
        height: Pixels from top to bottom as shown.
        rotation: Degrees clockwise by which the stored picture is turned to be shown.
        mirrored: Whether left and right are swapped after that.
        duration_ms: Duration as the container states it, rounded; None if it does not.
        fps: Average frame rate as the container states it; None if it does not.
        has_audio: Whether there is sound.
    """

    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    mirrored: bool
    duration_ms: int | None
    fps: float | None
    has_audio: bool
