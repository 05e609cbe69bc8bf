"""The contact sheet of a shard."""

import io

import numpy as np
import pytest
from PIL import Image

from medassets.video.preview import draw_contact_sheet


def make_frames(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (16, 160, 256, 3))


def test_a_sheet_shows_each_clip_in_its_colours() -> None:
    clips = [(make_frames(c), "text") for c in ((250, 10, 10), (10, 250, 10), (10, 10, 250))]
    with Image.open(io.BytesIO(draw_contact_sheet(clips))) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    height = pixels.shape[0] // 3
    for index in range(3):
        shown = pixels[index * height + 20, 40]
        assert shown.argmax() == index
        assert shown.max() > 200
        assert np.delete(shown, index).max() < 60


def test_noise_stays_small_enough_for_an_event() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 160, 256, 3), np.uint8)
    assert len(draw_contact_sheet([(noise, "x" * 500)] * 5)) <= 10_000


@pytest.mark.parametrize("text", ["", "掘る ⛏️ مرحبا\x00\n", "x" * 10_000])
def test_no_text_stops_a_sheet(text: str) -> None:
    assert draw_contact_sheet([(make_frames((1, 2, 3)), text)])[:2] == b"\xff\xd8"


def test_texts_are_told_apart_in_any_language_of_latin_letters() -> None:
    frames = make_frames((0, 0, 0))
    accented = draw_contact_sheet([(frames, "größere Mühle \u2014 “łódź”…")])
    assert accented == draw_contact_sheet([(frames, 'grossere Muhle - "lodz"...')])
    assert accented != draw_contact_sheet([(frames, "grossere Muhle")])
    # Of other scripts the font has nothing but boxes.
    strange = draw_contact_sheet([(frames, "\u6398\u308b dig \U0001f600\U0001f600!")])
    assert strange == draw_contact_sheet([(frames, "? dig ?!")])


def test_a_long_text_says_that_it_goes_on() -> None:
    frames = make_frames((0, 0, 0))
    long, cut = "word " * 100, ("word " * 100)[:59] + "..."
    assert draw_contact_sheet([(frames, long)]) == draw_contact_sheet([(frames, cut)])


def test_a_clip_of_one_frame_is_shown() -> None:
    assert draw_contact_sheet([(make_frames((9, 9, 9))[:1], "one")])
