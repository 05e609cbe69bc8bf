"""Clips copied from a key frame on."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from medassets.errors import SampleRejectedError
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests.video.clips.shots import (
    HEIGHT,
    NOT_COPIED,
    WIDTH,
    draw_number,
    read_number,
    show_clip,
    write_video,
)

COPY = ClipEncoding(mode="copy")


@pytest.mark.parametrize("coding", NOT_COPIED)
def test_what_cannot_be_copied_at_the_frame_is_rejected_with_the_remedy(
    coding: str, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "video", range(0, 400, 40), coding=coding)
    with pytest.raises(SampleRejectedError, match=r"cannot be copied .*; declare clips: reencode"):
        write_clip(source, Segment(0, 200), COPY, tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["video"]


def test_a_copy_may_begin_half_an_hour_behind_its_key_frame(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.mp4"), "w") as output:
        stream: Any = output.add_stream("libx264", rate=1_000_000, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1_000_000)
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")
            frame.pts, frame.time_base = number * 400_000_000, Fraction(1, 1_000_000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    segment = Segment(2_400_000, 2_500_000)
    facts = write_clip(tmp_path / "v.mp4", segment, COPY, tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in show_clip(tmp_path / "clip.mp4", facts)] == [6]
    assert (facts.num_frames, facts.num_hidden) == (1, 6)


def test_every_reader_at_hand_begins_with_the_frame_on_screen(video: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    facts = write_clip(video, Segment(1092, 1214), COPY, tmp_path / "clip.mp4")
    assert facts.num_hidden > 0
    capture, numbers = cv2.VideoCapture(str(tmp_path / "clip.mp4")), []
    while (answer := capture.read())[0]:
        numbers.append(read_number(answer[1][:, :, 1]))
    assert numbers == [27, 28, 29, 30]
