"""Facts of a video that are known without decoding all of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoFacts:
    """Facts of the first video stream that is not an attached picture.

    Attributes:
        codec: Name of the codec, such as `h264`.
        pixel_format: Name of the stored pixel format, such as `yuv420p`.
        width: Width as displayed, in pixels; the pixel aspect ratio is not applied.
        height: Height as displayed, in pixels.
        rotation: Degrees clockwise by which the stored picture is rotated for display.
        mirrored: Whether left and right are swapped after the rotation.
        duration_ms: Duration stated by the container, rounded; None if not stated.
        fps: Average frame rate stated by the container; None if not stated.
        has_audio: Whether the file has audio.
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
