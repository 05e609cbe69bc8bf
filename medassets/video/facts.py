"""Facts of a video that are known without decoding all of it."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

MIXED = "mixed"
"""Stands for facts that differ between the frames of a clip."""


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


@dataclass(frozen=True)
class PixelFacts:
    """How the pixels of frames were made from what the file stores.

    Attributes:
        matrix: Matrix from luma and chroma to RGB, by FFmpeg's name; `rgb` if none is needed.
        matrix_stated: Whether the file states it; if not, it is BT.601 (`smpte170m`).
        range: `limited` (16 to 235 of 8 bits) or `full`.
        range_stated: Whether the file states it; if not, the pixel format decides, else it is limited.
        transfer: What the file states, else `unspecified`; values are not converted.
        scan: How the lines are used: `progressive`, or one field of interlaced frames.
        crop: Pixels that the container cuts away: left, top, right, bottom; None if none.
        filter: Filter of the resampling.
    """

    matrix: str
    matrix_stated: bool
    range: str
    range_stated: bool
    transfer: str
    scan: str
    crop: tuple[int, int, int, int] | None
    filter: str

    @property
    def summary(self) -> str:
        """What differs between films, in a line that can be counted."""
        matrix = self.matrix if self.matrix_stated else f"{self.matrix} (not stated)"
        value_range = self.range if self.range_stated else f"{self.range} (not stated)"
        return f"{matrix}, {value_range} range, transfer {self.transfer}, {self.scan}"


def join_pixels(facts: Collection[PixelFacts]) -> PixelFacts:
    """Return the facts of several frames: `mixed` where they differ, stated only if all state it."""
    rows = [asdict(one) for one in facts]
    joined = dict(rows[0])
    for name in ("matrix", "range", "transfer", "scan"):
        joined[name] = joined[name] if len({row[name] for row in rows}) == 1 else MIXED
    for name in ("matrix_stated", "range_stated"):
        joined[name] = all(row[name] for row in rows)
    return PixelFacts(**joined)
