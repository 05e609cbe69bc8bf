"""Synthetic videos: every frame says which one it is, whatever it went through."""

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medassets.testing.videos import (
    MOST_FRAMES,
    VideoRecipe,
    draw_frame_number,
    make_video,
    read_frame_number,
)

if TYPE_CHECKING:
    from av.container import InputContainer


def open_video(path: Path) -> "InputContainer":
    import av

    return av.open(str(path))


def read_frames(container: "InputContainer") -> list[np.ndarray]:
    return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mp4", "libx265"),
        ("a.webm", "libvpx-vp9"),
        ("a.webm", "libvpx"),
        ("a.mkv", "libsvtav1"),
        ("a.avi", "mpeg4"),
    ],
)
def test_frames_still_say_their_numbers_when_decoded(name: str, codec: str, tmp_path: Path) -> None:
    made = make_video(tmp_path / name, VideoRecipe(codec=codec, num_frames=40))
    with open_video(made.path) as container:
        numbers = [read_frame_number(frame) for frame in read_frames(container)]
    assert numbers == list(made.numbers) == list(range(40))


@pytest.mark.parametrize("shape", [(80, 128), (160, 256), (97, 61), (4, 6)])
def test_a_number_is_read_at_any_size_and_aspect(shape: tuple[int, int]) -> None:
    for number in (0, 1, 255, 256, 5432, MOST_FRAMES - 1):
        drawn = draw_frame_number(number, height=shape[0], width=shape[1])
        assert read_frame_number(drawn) == number


def test_a_turned_or_mirrored_picture_hardly_ever_passes_for_itself() -> None:
    num_passed = 0
    for number in range(1000):
        drawn = draw_frame_number(number, height=24, width=24)
        for turn, mirror in product(range(4), (1, -1)):
            if turn or mirror < 0:
                num_passed += _read_or_none(np.rot90(drawn, turn)[:, ::mirror]) == number
    assert num_passed <= 5


def _read_or_none(picture: np.ndarray) -> int | None:
    try:
        return read_frame_number(picture)
    except ValueError:
        return None


def test_a_plain_picture_spells_no_number() -> None:
    for value in (0, 255):
        with pytest.raises(ValueError, match="shows no number"):
            read_frame_number(np.full((160, 256, 3), value, np.uint8))


def test_variable_gaps_are_whole_milliseconds_and_differ(tmp_path: Path) -> None:
    made = make_video(tmp_path / "a.mp4", VideoRecipe(is_variable=True))
    gaps = {b - a for a, b in zip(made.times_s, made.times_s[1:], strict=False)}
    assert len(gaps) > 10
    assert all(gap > 0 and (gap * 1000).denominator == 1 for gap in gaps)
    with open_video(made.path) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        times = [Fraction(frame.pts or 0) * base for frame in container.decode(stream)]
    assert times == list(made.times_s)


def test_an_edit_list_hides_frames_that_are_in_the_file(tmp_path: Path) -> None:
    made = make_video(tmp_path / "a.mp4", VideoRecipe(num_hidden=7, num_frames=30))
    with open_video(made.path) as container:
        assert sum(packet.is_discard for packet in container.demux(video=0)) == 7
    with open_video(made.path) as container:
        numbers = [read_frame_number(frame) for frame in read_frames(container)]
    assert numbers == list(made.numbers) == list(range(7, 37))


def test_an_open_group_has_frames_shown_before_its_key_frame(tmp_path: Path) -> None:
    for is_open in (True, False):
        recipe = VideoRecipe(has_open_gop=is_open, num_frames=90, num_b_frames=3)
        made = make_video(tmp_path / "a.mp4", recipe)
        with open_video(made.path) as container:
            packets = [p for p in container.demux(video=0) if p.pts is not None]
        keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
        leading = [
            packet
            for key in keys[1:]
            for packet in packets[key:]
            if (packet.pts or 0) < (packets[key].pts or 0)
        ]
        assert bool(leading) == is_open


def test_the_first_frame_may_appear_late_and_the_sound_begins_before(tmp_path: Path) -> None:
    late = make_video(tmp_path / "late.mp4", VideoRecipe(start_s=5))
    with open_video(late.path) as container:
        assert container.start_time == 5_000_000
    assert late.times_s[0] == 0
    sounding = make_video(tmp_path / "sounding.mkv", VideoRecipe(start_s=5, has_audio=True))
    with open_video(sounding.path) as container:
        assert container.start_time == 0
        assert len(container.streams.audio) == 1
    assert sounding.times_s[0] == 5


@pytest.mark.parametrize("matrix", ["", "bt601", "bt709"])
@pytest.mark.parametrize("has_full_range", [False, True])
def test_a_plain_colour_is_stored_as_the_file_says(
    matrix: str, has_full_range: bool, tmp_path: Path
) -> None:
    recipe = VideoRecipe(
        colour=(230, 25, 40), matrix=matrix, has_full_range=has_full_range, num_frames=3
    )
    made = make_video(tmp_path / "a.mp4", recipe)
    with open_video(made.path) as container:
        frame = next(container.decode(video=0))
    luma, blue, red = (
        frame.to_ndarray(format="yuv444p")[plane].mean().item() for plane in range(3)
    )
    expected = _to_yuv((230, 25, 40), matrix, full=has_full_range)
    assert (luma, blue, red) == pytest.approx(expected, abs=2)


def _to_yuv(rgb: tuple[int, int, int], matrix: str, *, full: bool) -> tuple[float, float, float]:
    """Source: ITU-R BT.601-7, 2.5; BT.709-6, 3."""
    red_weight, blue_weight = (0.2126, 0.0722) if matrix == "bt709" else (0.299, 0.114)
    red, green, blue = (value / 255 for value in rgb)
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    cb, cr = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    if full:
        return 255 * luma, 255 * cb + 128, 255 * cr + 128
    return 16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr
