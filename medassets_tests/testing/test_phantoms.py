"""Phantoms: the same chest along any axes, and frames that say so."""

import nibabel as nib
import numpy as np
import pytest

from medassets.testing.phantoms import OUTSIDE_HU, make_affine, make_chest_phantom

SIDES = {"R": 31, "A": 27, "S": 23}
WORLD = {"R": "R", "L": "R", "A": "A", "P": "A", "S": "S", "I": "S"}


@pytest.mark.parametrize("axis_codes", ["LPS", "RAS", "SPL", "AIR"])
def test_a_chest_is_the_same_along_any_axes(axis_codes: str) -> None:
    shape = tuple(SIDES[WORLD[code]] for code in axis_codes)
    hu = make_chest_phantom((shape[0], shape[1], shape[2]), axis_codes=axis_codes)
    affine = make_affine(shape, spacing_mm=(2, 3, 4), axis_codes=axis_codes)
    assert "".join(nib.orientations.aff2axcodes(affine)) == axis_codes
    turn = nib.orientations.io_orientation(affine)
    upright = nib.orientations.apply_orientation(hu, turn)
    expected = make_chest_phantom((31, 27, 23), axis_codes="RAS")
    # Noise of at most 12 HU belongs to the voxel grid, not to the patient.
    assert np.abs(upright.astype(int) - expected).max() <= 24


def test_no_flip_goes_unseen() -> None:
    hu = make_chest_phantom((31, 27, 23), round_field_of_view=False)
    for axis in range(3):
        assert (np.abs(hu.astype(int) - np.flip(hu, axis)) > 100).mean() > 0.01


def test_field_of_view_is_round() -> None:
    assert (make_chest_phantom((40, 40, 6))[0, 0] == OUTSIDE_HU).all()
    assert (make_chest_phantom((40, 40, 6), round_field_of_view=False) != OUTSIDE_HU).all()


@pytest.mark.parametrize("oblique", [False, True])
def test_affine_has_the_asked_steps_and_its_origin_in_the_middle(oblique: bool) -> None:
    affine = make_affine((5, 7, 11), spacing_mm=(0.7, 0.8, 2.5), oblique=oblique)
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx([0.7, 0.8, 2.5])
    assert affine @ [2, 3, 5, 1] == pytest.approx([0, 0, 0, 1])
    assert np.count_nonzero(affine[:3, :3]) == (5 if oblique else 3)
