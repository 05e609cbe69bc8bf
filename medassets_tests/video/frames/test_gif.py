"""Films in GIF are films like others."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.videos import draw_frame_number, read_frame_number
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments

ALL = FrameRequest(0, 512, 80, 128, 1, 500)


def make_gif(path: Path, *, num_frames: int, form: str) -> Path:
    import av
    from av.video.frame import VideoFrame

    with av.open(str(path), "w", format="gif") as container:
        stream: Any = container.add_stream("gif", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 80, form
        for number in range(num_frames):
            grey = VideoFrame.from_ndarray(draw_frame_number(number, height=80, width=128), "gray")
            frame = grey.reformat(format=form)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
@pytest.mark.parametrize("form", ["rgb8", "gray"])
def test_frames_of_a_gif_are_those_on_screen(form: str, name: str, tmp_path: Path) -> None:
    path = make_gif(tmp_path / name, num_frames=40, form=form)
    for segment, expected in (
        (Segment(0, None), range(40)),
        (Segment(400, 800), range(10, 20)),
        (Segment(1200, 1600), range(30, 40)),
    ):
        (clip,) = decode_segments(path, [segment], ALL)
        assert isinstance(clip, DecodedClip), clip
        assert [read_frame_number(frame) for frame in clip.frames] == list(expected)
        assert clip.pixels.matrix == "rgb"
