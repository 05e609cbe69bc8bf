"""Letters at the edges of a picture that say which side of the body is there."""

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

UNKNOWN = "?"
"""Mark of a side that the source does not state."""

OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S", UNKNOWN: UNKNOWN}
"""Side of the body -> the other side."""

# Own letters: those of a font differ from one machine to the next, and so would the bytes.
_ROWS = {
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "A": (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "P": ("####.", "#...#", "#...#", "####.", "#....", "#....", "#...."),
    "S": (".####", "#....", "#....", ".###.", "....#", "....#", "####."),
    "I": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "#####"),
    UNKNOWN: (".###.", "#...#", "....#", "..##.", "..#..", ".....", "..#.."),
}
_LEAST_SIDE_PX = 40
_LARGE_SIDE_PX = 100


@dataclass(frozen=True)
class Marks:
    """Side of the body at each edge of a picture."""

    left: str
    right: str
    top: str
    bottom: str


def make_letter(code: str, *, scale: int) -> npt.NDArray[np.uint8]:
    """Return a letter, white on black with a margin, shape (9 scale, 7 scale)."""
    dots = np.array([[dot == "#" for dot in row] for row in _ROWS[code]])
    framed = np.pad(dots, 1).repeat(scale, axis=0).repeat(scale, axis=1)
    return framed.astype(np.uint8) * np.uint8(255)


def draw_marks(panel: Image.Image, marks: Marks) -> None:
    """Draw four letters in the middle of the edges; pictures of a few pixels have no room for them.

    Args:
        panel: Grey; changed.
        marks: The letters.
    """
    if min(panel.size) < _LEAST_SIDE_PX:
        return
    scale = 2 if min(panel.size) >= _LARGE_SIDE_PX else 1
    letters = [Image.fromarray(make_letter(code, scale=scale)) for code in astuple(marks)]
    width, height = letters[0].size
    right, bottom = panel.width - width, panel.height - height
    places = ((0, bottom // 2), (right, bottom // 2), (right // 2, 0), (right // 2, bottom))
    for letter, place in zip(letters, places, strict=True):
        panel.paste(letter, place)
