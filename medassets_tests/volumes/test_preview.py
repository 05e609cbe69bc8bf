"""The picture of a volume: as a trainer receives it, marked, in right proportions, small."""

import io

import numpy as np
import pytest
from PIL import Image

from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets.volumes.preview import MAX_PREVIEW_BYTES, draw_volume_preview
from medassets.volumes.preview_marks import OPPOSITE, make_letter

# Sides and steps per world axis: all lengths in mm differ.
SIDES = {"R": 60, "A": 50, "S": 30}
STEPS_MM = {"R": 4.0, "A": 3.6, "S": 9.0}
WORLD = {"R": "R", "L": "R", "A": "A", "P": "A", "S": "S", "I": "S"}
AXIS_CODES = ["LPS", "RAS", "SPL", "AIR", "PRI"]


def make_marked_volume(axis_codes: str, *marks: tuple[float, float, float]) -> np.ndarray:
    """Make air with bright cubes; marks are positions in R, A, S as shares of half the volume."""
    shape = [SIDES[WORLD[code]] for code in axis_codes]
    volume = np.full(shape, -1.0, np.float16)
    for mark in marks:
        place = []
        for code, side in zip(axis_codes, shape, strict=True):
            share = mark["RAS".index(WORLD[code])] * (1 if code in "RAS" else -1)
            middle = round((share + 1) / 2 * (side - 1))
            place.append(slice(max(middle - 2, 0), middle + 3))
        volume[tuple(place)] = 0.5
    return volume


def draw_panels(volume: np.ndarray, axis_codes: str, *, stated: bool = True) -> list[np.ndarray]:
    """Draw, decode, and cut the picture at its black gaps: across the last, middle and first axis."""
    spacing_mm = [STEPS_MM[WORLD[code]] for code in axis_codes]
    affine = make_affine(volume.shape, spacing_mm=spacing_mm, axis_codes=axis_codes)
    content = draw_volume_preview(volume, affine, axis_codes=axis_codes if stated else None)
    picture = np.asarray(Image.open(io.BytesIO(content)), np.float64)
    # Air is grey (-1000 HU in the lung window); gaps and margins are black.
    is_panel = (picture > 30).mean(axis=0) > 0.25
    edges = np.flatnonzero(np.diff(np.r_[False, is_panel, False]))
    panels = [picture[:, a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [panel[(panel > 30).mean(axis=1) > 0.5] for panel in panels]


def find_bright_spot(panel: np.ndarray) -> tuple[float, float]:
    """Return (row, column) of the bright spot as shares of the panel's sides, without the letters."""
    inner = panel[20:-20, 20:-20]
    rows, columns = np.nonzero(inner > 180)
    return (rows.mean() + 20) / panel.shape[0], (columns.mean() + 20) / panel.shape[1]


def read_letter(panel: np.ndarray, edge: str) -> str:
    """Return the letter at an edge: the one whose dots are there."""
    scale = 2 if min(panel.shape) >= 100 else 1
    height, width = 9 * scale, 7 * scale
    row, column = (panel.shape[0] - height) // 2, (panel.shape[1] - width) // 2
    corner = {
        "left": (row, 0),
        "right": (row, panel.shape[1] - width),
        "top": (0, column),
        "bottom": (panel.shape[0] - height, column),
    }[edge]
    # The panel was cut where it is bright, so that it may begin a pixel late.
    errors = {
        code: min(
            float(np.abs(shift(panel, corner, move, (height, width)) - letter).mean())
            for move in np.ndindex(5, 5)
        )
        for code in OPPOSITE
        if (letter := make_letter(code, scale=scale)).any()
    }
    return min(errors, key=lambda code: errors[code])


def shift(
    panel: np.ndarray, corner: tuple[int, int], move: tuple[int, ...], size: tuple[int, int]
) -> np.ndarray:
    rows, columns = corner[0] + move[0] - 2, corner[1] + move[1] - 2
    padded = np.pad(panel, 4)
    return padded[rows + 4 : rows + 4 + size[0], columns + 4 : columns + 4 + size[1]]


@pytest.mark.parametrize("axis_codes", AXIS_CODES)
def test_the_array_is_drawn_as_a_trainer_receives_it(axis_codes: str) -> None:
    shape = tuple(SIDES[WORLD[code]] for code in axis_codes)
    volume = np.full(shape, -1.0, np.float16)
    i, j, k = (side // 2 for side in shape)
    volume[shape[0] // 4, shape[1] // 3, :] = 0.5
    volume[(shape[0] * 3) // 4, :, shape[2] // 3] = 0.5
    volume[:, (shape[1] * 3) // 4, shape[2] // 4] = 0.5
    panels = draw_panels(volume, axis_codes)
    planes = (volume[:, :, k], volume[:, j, ::-1], volume[i, :, ::-1])
    for panel, plane in zip(panels, planes, strict=True):
        rows, columns = np.nonzero(plane.T > 0)
        middle = ((rows.mean() + 0.5) / plane.shape[1], (columns.mean() + 0.5) / plane.shape[0])
        assert find_bright_spot(panel) == pytest.approx(middle, abs=0.06)


@pytest.mark.parametrize("axis_codes", ["LPS", "RAS", "LAS", "SPL", "AIR", "PRI"])
def test_letters_say_where_the_body_is(axis_codes: str) -> None:
    volume = make_marked_volume(axis_codes)
    i, j, k = axis_codes
    expected = [
        # Edges in the order left, right, top, bottom; the last axis of the array grows up.
        (OPPOSITE[i], i, OPPOSITE[j], j),
        (OPPOSITE[i], i, k, OPPOSITE[k]),
        (OPPOSITE[j], j, k, OPPOSITE[k]),
    ]
    edges = ("left", "right", "top", "bottom")
    panels = draw_panels(volume, axis_codes)
    assert [tuple(read_letter(panel, edge) for edge in edges) for panel in panels] == expected
    unknown = draw_panels(volume, axis_codes, stated=False)
    assert {read_letter(panel, edge) for panel in unknown for edge in edges} == {"?"}


def test_lps_is_drawn_as_radiologists_view_it_and_ras_is_not() -> None:
    # A mark to the right and in front of the patient, above the middle.
    mark = (0.4, 0.4, 0.0)
    lps = draw_panels(make_marked_volume("LPS", mark), "LPS")[0]
    ras = draw_panels(make_marked_volume("RAS", mark), "RAS")[0]
    assert find_bright_spot(lps) == pytest.approx((0.3, 0.3), abs=0.05)
    assert find_bright_spot(ras) == pytest.approx((0.7, 0.7), abs=0.05)


@pytest.mark.parametrize("axis_codes", AXIS_CODES)
def test_panels_share_one_scale_in_mm(axis_codes: str) -> None:
    i_mm, j_mm, k_mm = (SIDES[WORLD[code]] * STEPS_MM[WORLD[code]] for code in axis_codes)
    panels = draw_panels(make_marked_volume(axis_codes), axis_codes)
    sizes = np.array([panel.shape for panel in panels], np.float64)
    expected = np.array([(j_mm, i_mm), (k_mm, i_mm), (k_mm, j_mm)])
    assert sizes / sizes.max() == pytest.approx(expected / expected.max(), abs=0.03)


@pytest.mark.parametrize("shape", [(480, 480, 240), (64, 64, 20), (5, 7, 11), (300, 2, 2)])
def test_picture_is_a_small_grey_jpeg(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 0.2, shape).astype(np.float16)
    affine = make_affine(shape, spacing_mm=(0.75, 0.75, 1.5))
    content = draw_volume_preview(noise, affine, axis_codes="LPS")
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.mode) == ("JPEG", "L")
    assert len(content) <= MAX_PREVIEW_BYTES


def test_a_chest_shows_dark_lungs_and_a_bright_spine() -> None:
    hu = make_chest_phantom((60, 60, 40), axis_codes="LPS").clip(-1000, 1000)
    affine = make_affine(hu.shape, spacing_mm=(6, 6, 8))
    content = draw_volume_preview((hu / 1000).astype(np.float16), affine, axis_codes="LPS")
    picture = np.asarray(Image.open(io.BytesIO(content)))
    side = picture.shape[0]
    axial = picture[:, :side]
    assert axial[side // 2, side * 30 // 100] < 110
    assert axial[side * 71 // 100, side // 2] > 200


def test_same_volume_gives_the_same_bytes() -> None:
    volume = make_marked_volume("LPS", (0.5, 0.5, 0))
    affine = make_affine(volume.shape, spacing_mm=(4, 3.6, 9))
    one, other = (draw_volume_preview(v, affine, axis_codes="LPS") for v in (volume, volume.copy()))
    assert one == other


def test_a_volume_without_three_axes_has_no_picture() -> None:
    with pytest.raises(ValueError, match="expected three axes, each with a step"):
        draw_volume_preview(np.zeros((4, 4), np.float16), np.eye(4), axis_codes=None)
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="expected three axes, each with a step"):
        draw_volume_preview(np.zeros((4, 4, 4), np.float16), flat, axis_codes=None)
