import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medassets.datasets.discovery.census import Clock
from medassets.datasets.discovery.volume_samples import (
    NUM_HEADERS,
    describe_looks,
    doubt_looks,
    look_at_volumes,
)
from medassets.volumes.files.nifti import open_nifti
from medassets_tests.trees import make_tree

CLOCK = Clock(600)


def test_a_look_shows_what_nibabel_reads(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii.gz"], axis_codes="LPS", slope=2.0)
    (look,) = look_at_volumes(tmp_path, ["a.nii.gz"], open_nifti, CLOCK)
    image = nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz")
    values = np.asarray(image.dataobj)
    assert look.header is not None
    assert look.header.shape == image.shape
    assert look.codes == "".join(nib.orientations.aff2axcodes(image.affine))
    assert (look.low, look.high) == (values.min(), values.max())
    lines = "\n".join(describe_looks([look]))
    assert "26 x 21 x 17" in lines
    assert "12 x 13 x 16" in lines
    assert doubt_looks([look]) == []


@pytest.mark.parametrize("step", [math.nan, 0.0, math.inf])
def test_spacing_that_no_volume_has_is_a_doubt(tmp_path: Path, step: float) -> None:
    make_tree(tmp_path, ["a.nii"])
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[80:84] = np.array([step], "<f4").tobytes()
    content[252:256] = bytes(4)
    (tmp_path / "b.nii").write_bytes(content)
    looks = look_at_volumes(tmp_path, ["a.nii", "b.nii"], open_nifti, CLOCK)
    assert any("b.nii" in doubt for doubt in doubt_looks(looks))


def test_files_that_cannot_be_read_are_a_doubt(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no volume")
    (look,) = look_at_volumes(tmp_path, ["a.nii.gz"], open_nifti, CLOCK)
    assert look.header is None
    assert "a.nii.gz" in doubt_looks([look])[0]
    assert describe_looks([look]) == []


def test_a_sample_is_looked_at_and_one_file_in_any_time(tmp_path: Path) -> None:
    paths = [f"{n:02d}.nii" for n in range(NUM_HEADERS + 9)]
    make_tree(tmp_path, paths)
    assert len(look_at_volumes(tmp_path, paths, open_nifti, CLOCK)) == NUM_HEADERS
    (first,) = look_at_volumes(tmp_path, paths, open_nifti, Clock(0))
    assert first.header is not None
    assert first.low is None
