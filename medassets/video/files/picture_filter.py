"""Prepare decoded frames: what the container cuts away, and one field of interlaced frames."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from medassets.video.files.cropping import Crop

if TYPE_CHECKING:
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

PROGRESSIVE = "progressive"
UPPER_FIELD = "interlaced, upper field only"
"""How the lines of a frame are used, for the sample's json.

The two fields of an interlaced frame are taken one after the other. Scaled together, what moves
gets combs; the upper field alone is a whole picture, of one moment, and the same on every device.
"""


def describe_scan(frame: "VideoFrame") -> str:
    """Return how the lines of a frame are used."""
    return UPPER_FIELD if frame.interlaced_frame else PROGRESSIVE


def plan_steps(frame: "VideoFrame", crop: Crop | None) -> list[str]:
    """Return the filters that prepare a frame; none if it is shown as it is decoded.

    The upper field is that of the whole frame, also after an odd number of lines was cut away.
    """
    steps: list[str] = []
    top = 0
    if crop is not None and crop.fits(frame.width, frame.height):
        width, height = crop.sides(frame.width, frame.height)
        top = crop.top
        steps.append(f"crop={width}:{height}:{crop.left}:{crop.top}:0:1")
    if frame.interlaced_frame:
        steps.append(f"field={'bottom' if top % 2 else 'top'}")
    return steps


def build_graph(frame: "VideoFrame", steps: Iterable[str]) -> "Graph":
    """Return a graph of filters for frames like this one."""
    from av.filter import Graph

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
    graph.link_nodes(source, *(_add(graph, step) for step in steps), graph.add("buffersink"))
    graph.configure()
    return graph


def _add(graph: "Graph", step: str) -> "FilterContext":
    name, _, args = step.partition("=")
    return graph.add(name, args or None)


class PictureFilter:
    """Prepares the frames of one video; keeps the graph while frames are alike."""

    def __init__(self, crop: Crop | None) -> None:
        """Make a filter.

        Args:
            crop: What the container cuts away.
        """
        self._crop = crop
        self._look: tuple[object, ...] = ()
        self._graph: Graph | None = None

    def apply(self, frame: "VideoFrame") -> "VideoFrame":
        """Return the frame as shown; the same object if nothing is to be done."""
        steps = plan_steps(frame, self._crop)
        if not steps:
            return frame
        size = (frame.width, frame.height, frame.format.name)
        look = (*size, frame.colorspace, frame.color_range, *steps)
        if self._graph is None or look != self._look:
            self._look, self._graph = look, build_graph(frame, steps)
        self._graph.vpush(frame)
        return cast("VideoFrame", self._graph.vpull())
