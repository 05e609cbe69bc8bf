"""Interlaced films: of frame k, the upper field shows the number 2k, the lower one 2k + 1."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from medassets.testing.videos import draw_frame_number

CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"x264-params": "interlaced=1:tff=1:keyint=12:bframes=2"}),
    "h264 lower first": ("libx264", {"x264-params": "interlaced=1:bff=1:keyint=12:bframes=2"}),
    "mpeg2": ("mpeg2video", {"flags": "+ildct+ilme", "b": "4M", "g": "12"}),
    "mpeg4": ("mpeg4", {"flags": "+ildct+ilme", "b": "4M", "g": "12"}),
}


def make_interlaced(
    path: Path, name: str, *, num_frames: int = 30, height: int = 96, width: int = 128
) -> Path:
    """Encode an interlaced film of 25 frames a second.

    Args:
        path: File to write; its extension selects the container.
        name: Key of `CODECS`.
        num_frames: Number of frames.
        height: Lines of a frame, of both fields together.
        width: Width in pixels.
    """
    import av
    from av.video.frame import VideoFrame

    encoder, options = CODECS[name]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            luma = np.empty((height, width), np.uint8)
            luma[0::2] = draw_frame_number(2 * number, height=height // 2, width=width)
            luma[1::2] = draw_frame_number(2 * number + 1, height=height // 2, width=width)
            grey = np.full((height // 2, width), 128, np.uint8)
            frame = VideoFrame.from_ndarray(np.concatenate([luma, grey]), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
