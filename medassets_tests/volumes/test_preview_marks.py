"""Letters that say which side of the body is at which edge."""

import numpy as np
import pytest
from PIL import Image

from medassets.volumes.preview_marks import OPPOSITE, Marks, draw_marks, make_letter


def test_every_side_has_an_opposite_side() -> None:
    assert all(OPPOSITE[OPPOSITE[code]] == code for code in OPPOSITE)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_letters_differ(scale: int) -> None:
    letters = {code: make_letter(code, scale=scale) for code in OPPOSITE}
    assert {letter.shape for letter in letters.values()} == {(9 * scale, 7 * scale)}
    assert len({letter.tobytes() for letter in letters.values()}) == len(OPPOSITE)


@pytest.mark.parametrize(("size", "scale"), [((176, 100), 2), ((60, 99), 1), ((40, 40), 1)])
def test_letters_are_in_the_middle_of_the_edges(size: tuple[int, int], scale: int) -> None:
    panel = Image.new("L", size, 90)
    draw_marks(panel, Marks(left="L", right="R", top="S", bottom="I"))
    pixels = np.asarray(panel)
    width, height = size
    row, column = (height - 9 * scale) // 2, (width - 7 * scale) // 2
    found = {
        "L": pixels[row:, :],
        "R": pixels[row:, width - 7 * scale :],
        "S": pixels[:, column:],
        "I": pixels[height - 9 * scale :, column:],
    }
    for code, part in found.items():
        letter = make_letter(code, scale=scale)
        np.testing.assert_array_equal(part[: letter.shape[0], : letter.shape[1]], letter)
    assert (pixels != 90).sum() == 4 * 63 * scale**2


def test_a_picture_of_a_few_pixels_has_no_letters() -> None:
    panel = Image.new("L", (39, 200), 90)
    draw_marks(panel, Marks("L", "R", "S", "I"))
    assert set(np.asarray(panel).flat) == {90}
