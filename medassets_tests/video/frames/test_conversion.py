"""Pixels of converted frames."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.frames.conversion import RESIZE, FrameConverter
from medassets.video.frames.decoding import (
    DecodedClip,
    FrameRequest,
    Outcome,
    Segment,
    decode_segments,
)

REQUEST = FrameRequest(16, 512, 160, 256, 1, 500)


def only(outcomes: list[Outcome]) -> list[DecodedClip]:
    clips = [outcome for outcome in outcomes if isinstance(outcome, DecodedClip)]
    assert len(clips) == len(outcomes), outcomes
    return clips


def decode(path: Path, *segments: Segment, request: FrameRequest = REQUEST) -> list[DecodedClip]:
    return only(list(decode_segments(path, segments, request)))


@pytest.mark.parametrize(
    ("matrix", "has_full_range"), list(product(["", "bt601", "bt709"], [False, True]))
)
@pytest.mark.parametrize("has_ten_bits", [False, True])
def test_a_red_frame_is_red(
    matrix: str, has_full_range: bool, has_ten_bits: bool, tmp_path: Path
) -> None:
    red = (230, 25, 40)
    recipe = VideoRecipe(
        colour=red, num_frames=5, matrix=matrix, has_full_range=has_full_range,
        has_ten_bits=has_ten_bits,
    )  # fmt: skip
    (clip,) = decode(make_video(tmp_path / "a.mp4", recipe).path, Segment(0, None))
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape == (16, 160, 256, 3)
    assert np.abs(clip.frames.astype(int) - red).max() <= 4


def test_fine_detail_does_not_alias() -> None:
    from av.video.frame import VideoFrame

    # Lines of one pixel, white and black, are grey from afar; a filter that skips pixels shows
    # stripes.
    lines = np.zeros((720, 1280, 3), np.uint8)
    lines[::2, ::2] = 255
    lines[1::2, 1::2] = 255
    frame = VideoFrame.from_ndarray(lines, "rgb24").reformat(format="yuv444p")
    small = FrameConverter(160, 256).convert(frame)
    assert np.abs(small.astype(int) - 127).max() <= 3
    assert "area" in RESIZE
