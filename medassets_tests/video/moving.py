"""Small videos whose frames all differ, for tests that care about processes, not about frames."""

from pathlib import Path

import numpy as np


def make_moving_video(
    path: Path,
    *,
    codec: str = "libx264",
    num_frames: int = 50,
    width: int = 96,
    height: int = 64,
) -> Path:
    """Write a video of 25 frames per second; return its path.

    Args:
        path: Where; the suffix names the container.
        codec: Encoder.
        num_frames: Frames.
        width: Pixels from left to right; a GPU wants more than the default.
        height: Pixels from top to bottom.
    """
    import av

    row, column = np.mgrid[:height, :width]
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            picture = np.stack([row * 2 + number, column + 3 * number, row + column], axis=-1)
            frame = av.VideoFrame.from_ndarray((picture % 256).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
