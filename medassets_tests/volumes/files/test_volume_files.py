"""A file is read as what its ending says."""

from pathlib import Path

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.nifti import encode_nifti
from medassets.volumes.files.volume_files import open_volume_file
from medassets_tests.volumes.files.images.test_reader import MHA, VOXELS


def test_the_ending_says_what_a_file_is(tmp_path: Path) -> None:
    voxels = np.arange(8, dtype="<i2").reshape(2, 2, 2)
    for name, content in (
        ("a.MHA", MHA.encode() + VOXELS),
        ("a.nii", encode_nifti(voxels, affine=np.diag([1.0, 2, 3, 1]))),
    ):
        (tmp_path / name).write_bytes(content)
        with open_volume_file(tmp_path / name) as stream:
            assert stream.header.shape == (2, 2, 2)
    (tmp_path / "b.nrrd").write_bytes((tmp_path / "a.nii").read_bytes())
    with pytest.raises(SampleRejectedError, match="no NRRD"), open_volume_file(tmp_path / "b.nrrd"):
        pass
