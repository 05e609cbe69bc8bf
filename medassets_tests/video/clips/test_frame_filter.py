"""Size and orientation of re-encoded frames."""

from pathlib import Path

import numpy as np
import pytest

from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests.video.clips.shots import decode_all, write_video

LOSSLESS = ClipEncoding(crf=0)


COPY = ClipEncoding(mode="copy")


def test_height_is_scaled_in_proportion_to_an_even_width(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.mp4", range(0, 400, 40), size=(256, 98))
    facts = write_clip(source, Segment(0, 200), ClipEncoding(height=49), tmp_path / "clip.mp4")
    assert (facts.width, facts.height) == (124, 48)
    assert decode_all(tmp_path / "clip.mp4")[0][2].shape == (48, 124)


def test_an_odd_side_loses_its_last_line_and_no_other_pixel_changes(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.webm", [0, 40, 80], coding="vp9", size=(131, 97))
    facts = write_clip(source, Segment(0, None), LOSSLESS, tmp_path / "clip.mp4")
    assert (facts.width, facts.height) == (130, 96)
    for (*_, luma), (*_, made) in zip(
        decode_all(source), decode_all(tmp_path / "clip.mp4"), strict=True
    ):
        np.testing.assert_array_equal(made, luma[:96, :130])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_and_mirroring_are_baked_in(rotation: int, mirrored: bool, tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.mp4", [0, 40], turn=(rotation, mirrored))
    facts = write_clip(source, Segment(0, None), LOSSLESS, tmp_path / "clip.mp4")
    stored, made = decode_all(source)[1][2], decode_all(tmp_path / "clip.mp4")[1][2]
    # The display matrix turns first, and mirrors what was turned.
    shown = np.rot90(stored, -rotation // 90)
    np.testing.assert_array_equal(made, shown[:, ::-1] if mirrored else shown)
    assert (facts.height, facts.width) == shown.shape
    copied = write_clip(source, Segment(0, None), COPY, tmp_path / "copy.mp4")
    assert (copied.height, copied.width) == shown.shape
    np.testing.assert_array_equal(decode_all(tmp_path / "copy.mp4")[1][2], stored)
