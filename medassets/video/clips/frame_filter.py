"""Prepare frames for an encoder: upright, of one size, yuv420p."""

from typing import Any, cast

from av.filter import Graph
from av.video.frame import VideoFrame

from medassets.video.files.cropping import Crop
from medassets.video.files.orientation import UPRIGHT, Orientation, read_orientation
from medassets.video.files.picture_filter import build_graph, describe_scan, plan_steps

_FLAGS = "bicubic+accurate_rnd+full_chroma_int+bitexact"
"""swscale's arithmetic without the shortcuts that differ between processors."""

_TURNS = {0: (), 90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}


class FrameFilter:
    """Rotates and scales the frames of one clip; the first frame defines the size.

    Attributes:
        orientation: Orientation of the last frame.
        scans: How the lines of frames were used, see `describe_scan`.
    """

    def __init__(self, *, height: int, crop: Crop | None = None) -> None:
        """Begin a clip.

        Args:
            crop: What the container cuts away.
            height: Height in pixels, rounded to an even number; 0 keeps the source's. The width
                is proportional and even, too, as yuv420p requires.
        """
        self._height, self._crop = height, crop
        self.scans: set[str] = set()
        self._size: tuple[int, int] | None = None
        self._look: tuple[Any, ...] = ()
        self.orientation = UPRIGHT
        self._graph = Graph()

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """Return an upright frame in yuv420p; its range and colour matrix are the source's.

        Of an interlaced frame, the upper field is scaled to the full height.
        """
        look = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        look = (*look, frame.interlaced_frame)
        orientation = read_orientation(frame)
        if (look, orientation) != (self._look, self.orientation):
            self._look, self.orientation = look, orientation
            self._graph = self._build(frame)
            self.scans.add(describe_scan(frame))
        self._graph.vpush(frame)
        return cast("VideoFrame", self._graph.vpull())

    def _build(self, frame: VideoFrame) -> Graph:
        """Build the filter graph for frames like this one; a video may change its format."""
        sides = self._crop.sides(frame.width, frame.height) if self._crop else None
        sides = sides or (frame.width, frame.height)
        width, height = self._fix_size(sides)
        steps = [
            *plan_steps(frame, self._crop),
            *(() if frame.interlaced_frame else self._crop_odd(sides)),
            *_turn(self.orientation),
            f"scale={width}:{height}:flags={_FLAGS}",
        ]
        return build_graph(frame, [*steps, "format=yuv420p"])

    def _fix_size(self, sides: tuple[int, int]) -> tuple[int, int]:
        if self._size is None:
            width, height = sides[::-1] if self.orientation.swaps_sides else sides
            wanted = _even(self._height or height)
            self._size = (_even(round(width * wanted / height)), wanted)
            if not self._height:
                self._size = (_even(width), wanted)
        return self._size

    def _crop_odd(self, sides: tuple[int, int]) -> tuple[str, ...]:
        """Crop the last line of an odd side rather than resample all lines."""
        width, height = sides
        if self._height or not (width % 2 or height % 2):
            return ()
        return (f"crop={_even(width)}:{_even(height)}:0:0",)


def _turn(orientation: Orientation) -> tuple[str, ...]:
    return (*_TURNS[orientation.rotation], *(("hflip",) if orientation.mirrored else ()))


def _even(pixels: int) -> int:
    return max(pixels // 2 * 2, 2)
