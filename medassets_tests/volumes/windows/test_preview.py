"""The picture of a sample's windows: the middle slice, as a trainer receives it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from medassets.volumes.windows.occupancy import pack_mask
from medassets.volumes.windows.preview import draw_windows_preview, read_plane

SHAPE = (50, 70, 11)


def draw(
    *masks: np.ndarray, affine: np.ndarray | None = None, codes: str | None = None
) -> np.ndarray:
    names = [f"w{number}" for number in range(len(masks))]
    source = {"affine": [] if affine is None else affine.tolist(), "axis_codes": codes}
    described = {
        "shape": masks[0].shape,
        "windows": {name: {"encoding": "raw"} for name in names},
        "geometry": None if affine is None else {"source": source},
    }
    members = {
        f"{name}.bits": pack_mask(mask).bits.tobytes()
        for name, mask in zip(names, masks, strict=True)
    }
    members["json"] = json.dumps(described).encode()
    return np.asarray(Image.open(io.BytesIO(draw_windows_preview(members))), np.float64)


def make_mask(i: slice, j: slice, k: int = SHAPE[2] // 2) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[i, j, k] = True
    return mask


def find_spot(picture: np.ndarray) -> tuple[float, float]:
    """Return (row, column) of what is bright as shares of the picture's sides."""
    # Without the letters, which are in the middle of the edges.
    inner = picture.copy()
    inner[:, :16] = inner[:, -16:] = inner[:20] = inner[-20:] = 0
    rows, columns = np.nonzero(inner > 128)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("index", [0, 3, 4])
def test_a_plane_is_that_of_the_dense_mask(axis: int, index: int) -> None:
    mask = np.random.default_rng(0).random((5, 7, 11)) < 0.4
    plane = read_plane(pack_mask(mask).bits, (5, 7, 11), axis, index)
    np.testing.assert_array_equal(plane, mask.take(index, axis))


@pytest.mark.parametrize("codes", ["LPS", "RAS", None])
def test_the_middle_slice_is_drawn_as_it_is_stored(codes: str | None) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) if codes == "LPS" else np.eye(4)
    mask = make_mask(slice(30, 40), slice(14, 28))
    picture = draw(mask, affine=affine if codes else None, codes=codes)
    assert find_spot(picture) == pytest.approx((0.3, 0.7), abs=0.03)


def test_letters_tell_orientations_apart() -> None:
    mask = make_mask(slice(30, 40), slice(14, 28))
    pictures = [draw(mask, affine=np.eye(4), codes=codes) for codes in ("LPS", "RAS", "LAS", None)]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_other_slices_are_not_drawn() -> None:
    picture = draw(make_mask(slice(None), slice(None), k=0))
    inner = picture[20:-20, 16:-16]
    assert inner.max() < 128


def test_proportions_are_those_of_the_voxels_in_mm() -> None:
    picture = draw(make_mask(slice(10, 20), slice(10, 20)), affine=np.diag([2.0, 1.0, 5.0, 1.0]))
    assert picture.shape[1] / picture.shape[0] == pytest.approx(50 * 2 / 70, rel=0.02)


def test_four_windows_are_drawn_side_by_side_and_no_more() -> None:
    mask = make_mask(slice(10, 20), slice(10, 20))
    widths = [draw(*[mask] * number, affine=None).shape[1] for number in (1, 4, 5)]
    assert widths[0] < widths[1] == widths[2]
