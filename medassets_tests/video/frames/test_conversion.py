"""Pixels of converted frames."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.facts import PixelFacts
from medassets.video.frames.conversion import RESIZE, FrameConverter, describe_pixels
from medassets.video.frames.decoding import (
    DecodedClip,
    FrameRequest,
    Outcome,
    Segment,
    decode_segments,
)

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

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


def make_frame(
    form: str, *, matrix: int = 2, value_range: int = 0, transfer: int = 2
) -> "VideoFrame":
    """Return a frame of one colour: luma 120, chroma 90 and 160; or these as red, green and blue."""
    from av.video.frame import VideoFrame

    if form in ("rgb24", "gbrp"):
        colour = np.full((16, 16, 3), (120, 90, 160), np.uint8)
        return VideoFrame.from_ndarray(colour, "rgb24").reformat(format=form)
    planes = np.full((24, 16), 120, np.uint8)
    planes[16:20], planes[20:] = 90, 160
    frame = VideoFrame.from_ndarray(planes if form != "gray" else planes[:16], form)
    frame.colorspace, frame.color_range, frame.color_trc = matrix, value_range, transfer
    return frame


def to_rgb(kr: float, kb: float, *, is_full: bool) -> list[float]:
    """Return luma 120, chroma 90 and 160 as red, green and blue.

    Source: ITU-T H.273, 8.3.
    """
    luma = 120 / 255 if is_full else (120 - 16) / 219
    blue, red = ((value - 128) / (255 if is_full else 224) for value in (90, 160))
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return [255 * r, 255 * (luma - kr * r - kb * b) / (1 - kr - kb), 255 * b]


MATRICES = {
    1: ("bt709", 0.2126, 0.0722), 5: ("bt470bg", 0.299, 0.114), 6: ("smpte170m", 0.299, 0.114),
    7: ("smpte240m", 0.212, 0.087), 9: ("bt2020nc", 0.2627, 0.0593), 4: ("fcc", 0.3, 0.11),
}  # fmt: skip


@pytest.mark.parametrize("matrix", [*MATRICES, 0, 2])
@pytest.mark.parametrize("value_range", [0, 1, 2])
def test_pixels_are_made_as_the_facts_name_it(matrix: int, value_range: int) -> None:
    frame = make_frame("yuv420p", matrix=matrix, value_range=value_range)
    facts = describe_pixels(frame, None)
    name, kr, kb = MATRICES.get(matrix, MATRICES[6])
    assert (facts.matrix, facts.matrix_stated) == (name, matrix in MATRICES)
    assert facts.range == ("full" if value_range == 2 else "limited")
    assert facts.range_stated == (value_range > 0)
    expected = to_rgb(kr, kb, is_full=facts.range == "full")
    # libswscale's FCC is BT.601.
    tolerance = 2 if name == "fcc" else 1.1
    got = FrameConverter(16, 16).convert(frame)[8, 8]
    assert np.abs(got - np.array(expected)).max() <= tolerance


@pytest.mark.parametrize("matrix", [3, 8, 10, 14])
def test_matrices_that_cannot_be_applied_are_refused(matrix: int) -> None:
    with pytest.raises(SampleRejectedError, match="cannot be converted"):
        FrameConverter(16, 16).convert(make_frame("yuv420p", matrix=matrix))


@pytest.mark.parametrize(
    ("transfer", "name"),
    [(1, "bt709"), (2, "unspecified"), (8, "linear"), (13, "iec61966-2-1"), (16, "smpte2084"),
     (18, "arib-std-b67")],
)  # fmt: skip
def test_the_transfer_is_named_and_not_converted(transfer: int, name: str) -> None:
    frame = make_frame("yuv420p", matrix=1, transfer=transfer)
    assert describe_pixels(frame, None).transfer == name
    plain = FrameConverter(16, 16).convert(make_frame("yuv420p", matrix=1))
    np.testing.assert_array_equal(FrameConverter(16, 16).convert(frame), plain)


@pytest.mark.parametrize("form", ["rgb24", "gbrp"])
def test_rgb_needs_no_matrix(form: str) -> None:
    frame = make_frame(form)
    facts = describe_pixels(frame, None)
    assert (facts.matrix, facts.range) == ("rgb", "full")
    assert FrameConverter(16, 16).convert(frame)[8, 8].tolist() == [120, 90, 160]


@pytest.mark.parametrize(("form", "grey"), [("yuvj420p", 120), ("gray", 120)])
def test_formats_of_full_range_are_full_without_a_tag(form: str, grey: int) -> None:
    frame = make_frame(form)
    facts = describe_pixels(frame, None)
    assert (facts.range, facts.range_stated) == ("full", False)
    expected = [grey] * 3 if form == "gray" else to_rgb(0.299, 0.114, is_full=True)
    got = FrameConverter(16, 16).convert(frame)[8, 8]
    assert np.abs(got - np.array(expected)).max() <= 1.1


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (VideoRecipe(num_frames=5), ("smpte170m", False, "limited", False)),
        (VideoRecipe(num_frames=5, matrix="bt709"), ("bt709", True, "limited")),
        (
            VideoRecipe(num_frames=5, matrix="bt601", has_full_range=True),
            ("smpte170m", True, "full", True),
        ),
    ],
)
def test_a_clip_names_what_its_film_states(
    recipe: VideoRecipe, expected: tuple[str | bool, ...], tmp_path: Path
) -> None:
    (clip,) = decode(make_video(tmp_path / "a.mp4", recipe).path, Segment(0, None))
    facts = clip.pixels
    got = (facts.matrix, facts.matrix_stated, facts.range, facts.range_stated)
    assert got[: len(expected)] == expected
    assert isinstance(facts, PixelFacts)
    assert (facts.scan, facts.crop, facts.filter) == ("progressive", None, "area")
