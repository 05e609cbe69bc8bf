"""Real CT files with their traps: int32, 3 mm steps, axes LPS and RAS, scl_inter of -1024."""

from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import PRESETS
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.preprocessing import preprocess_volume
from medassets_tests import shared_data

FOLDER = shared_data.CT
NAMES = (
    "ts_example_ct_3mm_int32.nii.gz",
    "ts_example_ct_small_3mm_int16.nii.gz",
    "lidc0003_chest_512x512x11_scl.nii.gz",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of real CT is not there"),
]


@pytest.mark.parametrize("name", NAMES)
def test_real_volumes_match_torch(name: str, oracle: Any, ulps: Any) -> None:
    preset, image = PRESETS["ct_clip"], nib.load(FOLDER / name)
    assert isinstance(image, nib.Nifti1Image)
    affine = np.asarray(image.affine)
    made = preprocess_volume(FOLDER / name, preset=preset, hu=HuDeclaration("header"))
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    distance = ulps(made.array, oracle(image.get_fdata(), spacing, preset).astype(np.float16))
    assert distance.max() <= 1
    assert (distance == 0).mean() >= 0.999
    assert made.geometry["source"]["axis_codes"] == "".join(nib.aff2axcodes(affine))


def test_a_scaled_real_volume_is_not_taken_for_hu() -> None:
    with pytest.raises(SampleRejectedError, match="but the header says") as caught:
        preprocess_volume(FOLDER / NAMES[2], preset=PRESETS["ct_clip"])
    assert caught.value.reason is Reason.HU_RULE_CONFLICT
