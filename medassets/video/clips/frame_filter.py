"""Prepare frames for an encoder: upright, of one size, yuv420p."""

from typing import Any, cast

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from medassets.video.files.orientation import UPRIGHT, Orientation, read_orientation

_FLAGS = "bicubic+accurate_rnd+full_chroma_int+bitexact"
"""swscale's arithmetic without the shortcuts that differ between processors."""

_TURNS = {0: (), 90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}


class FrameFilter:
    """Rotates and scales the frames of one clip; the first frame defines the size.

    Attributes:
        orientation: Orientation of the last frame.
    """

    def __init__(self, *, height: int) -> None:
        """Begin a clip.

        Args:
            height: Height in pixels, rounded to an even number; 0 keeps the source's. The width
                is proportional and even, too, as yuv420p requires.
        """
        self._height = height
        self._size: tuple[int, int] | None = None
        self._look: tuple[Any, ...] = ()
        self.orientation = UPRIGHT
        self._graph = Graph()

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """Return an upright frame in yuv420p; its range and colour matrix are the source's."""
        look = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        orientation = read_orientation(frame)
        if (look, orientation) != (self._look, self.orientation):
            self._look, self.orientation = look, orientation
            self._graph = self._build(frame)
        self._graph.vpush(frame)
        return cast("VideoFrame", self._graph.vpull())

    def _build(self, frame: VideoFrame) -> Graph:
        """Build the filter graph for frames like this one; a video may change its format."""
        graph = Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1000",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        width, height = self._fix_size(frame)
        steps = [
            *self._crop(frame),
            *_turn(self.orientation),
            f"scale={width}:{height}:flags={_FLAGS}",
        ]
        nodes = [source, *(_add(graph, step) for step in [*steps, "format=yuv420p"])]
        graph.link_nodes(*nodes, graph.add("buffersink"))
        graph.configure()
        return graph

    def _fix_size(self, frame: VideoFrame) -> tuple[int, int]:
        if self._size is None:
            sides = (frame.width, frame.height)
            width, height = sides[::-1] if self.orientation.swaps_sides else sides
            wanted = _even(self._height or height)
            self._size = (_even(round(width * wanted / height)), wanted)
            if not self._height:
                self._size = (_even(width), wanted)
        return self._size

    def _crop(self, frame: VideoFrame) -> tuple[str, ...]:
        """Crop the last line of an odd side rather than resample all lines."""
        if self._height or not (frame.width % 2 or frame.height % 2):
            return ()
        return (f"crop={_even(frame.width)}:{_even(frame.height)}:0:0",)


def _add(graph: Graph, step: str) -> FilterContext:
    name, _, args = step.partition("=")
    return graph.add(name, args or None)


def _turn(orientation: Orientation) -> tuple[str, ...]:
    return (*_TURNS[orientation.rotation], *(("hflip",) if orientation.mirrored else ()))


def _even(pixels: int) -> int:
    return max(pixels // 2 * 2, 2)
