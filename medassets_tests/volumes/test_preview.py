"""The picture of a volume: right way up, right proportions, small."""

import io

import numpy as np
import pytest
from PIL import Image

from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets.volumes.preview import MAX_PREVIEW_BYTES, draw_volume_preview

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


def draw_panels(volume: np.ndarray, axis_codes: str) -> list[np.ndarray]:
    """Draw, decode, and cut the picture at its black gaps into axial, coronal, sagittal."""
    spacing_mm = [STEPS_MM[WORLD[code]] for code in axis_codes]
    affine = make_affine(volume.shape, spacing_mm=spacing_mm, axis_codes=axis_codes)
    picture = np.asarray(Image.open(io.BytesIO(draw_volume_preview(volume, affine))), np.float64)
    # Air is grey (-1000 HU in the lung window); gaps and margins are black.
    is_panel = (picture > 30).mean(axis=0) > 0.25
    edges = np.flatnonzero(np.diff(np.r_[False, is_panel, False]))
    panels = [picture[:, a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [panel[(panel > 30).mean(axis=1) > 0.5] for panel in panels]


def find_bright_spot(panel: np.ndarray) -> tuple[float, float]:
    """Return (row, column) of the bright spot as shares of the panel's sides."""
    rows, columns = np.nonzero(panel > 180)
    return rows.mean() / panel.shape[0], columns.mean() / panel.shape[1]


@pytest.mark.parametrize("axis_codes", AXIS_CODES)
def test_patient_right_is_left_and_front_and_head_are_up(axis_codes: str) -> None:
    panels = draw_panels(make_marked_volume(axis_codes, (0.6, 0.5, 0)), axis_codes)
    assert len(panels) == 3
    assert find_bright_spot(panels[0]) == pytest.approx((0.25, 0.2), abs=0.05)
    panels = draw_panels(make_marked_volume(axis_codes, (-0.4, 0, 0.7)), axis_codes)
    assert find_bright_spot(panels[1]) == pytest.approx((0.15, 0.7), abs=0.06)
    panels = draw_panels(make_marked_volume(axis_codes, (0, 0.5, -0.4)), axis_codes)
    assert find_bright_spot(panels[2]) == pytest.approx((0.7, 0.25), abs=0.06)


@pytest.mark.parametrize("axis_codes", AXIS_CODES)
def test_panels_share_one_scale_in_mm(axis_codes: str) -> None:
    right_mm, front_mm, up_mm = (SIDES[axis] * STEPS_MM[axis] for axis in "RAS")
    panels = draw_panels(make_marked_volume(axis_codes, (0.9, 0.9, 0.9)), axis_codes)
    sizes = np.array([panel.shape for panel in panels], np.float64)
    expected = np.array([(front_mm, right_mm), (up_mm, right_mm), (up_mm, front_mm)])
    assert sizes / sizes.max() == pytest.approx(expected / expected.max(), abs=0.02)


@pytest.mark.parametrize("shape", [(480, 480, 240), (64, 64, 20), (5, 7, 11), (300, 2, 2)])
def test_picture_is_a_small_grey_jpeg(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 0.2, shape).astype(np.float16)
    content = draw_volume_preview(noise, make_affine(shape, spacing_mm=(0.75, 0.75, 1.5)))
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.mode) == ("JPEG", "L")
    assert len(content) <= MAX_PREVIEW_BYTES


def test_a_chest_shows_dark_lungs_and_a_bright_spine() -> None:
    hu = make_chest_phantom((60, 60, 40), axis_codes="LPS").clip(-1000, 1000)
    affine = make_affine(hu.shape, spacing_mm=(6, 6, 8))
    content = draw_volume_preview((hu / 1000).astype(np.float16), affine)
    picture = np.asarray(Image.open(io.BytesIO(content)))
    side = picture.shape[0]
    axial = picture[:, :side]
    assert axial[side // 2, side * 30 // 100] < 110
    assert axial[side * 71 // 100, side // 2] > 200


def test_same_volume_gives_the_same_bytes() -> None:
    volume = make_marked_volume("LPS", (0.5, 0.5, 0))
    affine = make_affine(volume.shape, spacing_mm=(4, 3.6, 9))
    assert draw_volume_preview(volume, affine) == draw_volume_preview(volume.copy(), affine)


def test_a_volume_without_three_axes_has_no_picture() -> None:
    with pytest.raises(ValueError, match="expected three axes along R, A and S"):
        draw_volume_preview(np.zeros((4, 4), np.float16), np.eye(4))
    with pytest.raises(ValueError, match="expected three axes along R, A and S"):
        draw_volume_preview(np.zeros((4, 4, 4), np.float16), np.diag([1.0, 1.0, 0.0, 1.0]))
