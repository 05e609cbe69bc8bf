"""NIfTI files written for tests are what nibabel reads."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medassets.testing.nifti import compress, encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine

AFFINE = make_affine((5, 7, 11), spacing_mm=(0.7, 0.8, 2.5), oblique=True)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint16", "float32", "float64"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_voxels_and_affine_come_back(tmp_path: Path, dtype: str, big_endian: bool) -> None:
    voxels = np.arange(5 * 7 * 11).reshape(5, 7, 11).astype(dtype)
    path = tmp_path / "volume.nii.gz"
    write_nifti(path, encode_nifti(voxels, affine=AFFINE, big_endian=big_endian))
    image = nib.Nifti1Image.from_filename(path)
    assert np.array_equal(np.asarray(image.dataobj), voxels)
    assert image.affine == pytest.approx(AFFINE, abs=1e-5)
    assert image.header.get_data_dtype() == np.dtype(dtype).newbyteorder(">" if big_endian else "<")


def test_scaling_is_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "volume.nii"
    voxels = np.zeros((5, 7, 11), np.int16)
    write_nifti(path, encode_nifti(voxels, affine=AFFINE, slope=2, intercept=-1024))
    assert (nib.Nifti1Image.from_filename(path).get_fdata() == -1024).all()


def test_gzip_tells_no_time_and_no_name() -> None:
    content = compress(b"voxels")
    assert gzip.decompress(content) == b"voxels"
    assert content[3:8] == bytes(5)
