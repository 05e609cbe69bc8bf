"""Headers that lie, files that end early, and what is read from good ones."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.nifti import decode_header, open_nifti
from medassets_tests.shared_cases import find_case

STORED = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)


def read_all(path: Path) -> None:
    with open_nifti(path) as reader:
        voxels = np.empty(reader.header.shape[1::-1], reader.header.dtype)
        for _ in range(reader.header.shape[2]):
            reader.read_into(voxels)
        reader.finish()


def reject(path: Path, match: str, reason: Reason = Reason.BAD_HEADER) -> None:
    with pytest.raises(SampleRejectedError, match=match) as caught:
        read_all(path)
    assert caught.value.reason is reason


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_slices_come_in_stored_order(kind: Any, order: str, write_volume: Any) -> None:
    with open_nifti(write_volume(STORED, np.eye(4), kind=kind, order=order)) as reader:
        assert reader.header.shape == (5, 7, 11)
        voxels = np.empty((7, 5), reader.header.dtype)
        for k in range(11):
            reader.read_into(voxels)
            np.testing.assert_array_equal(voxels.T, STORED[:, :, k])
        reader.finish()


@pytest.mark.parametrize("suffix", ["volume.nii", "volume.nii.gz"])
def test_the_header_agrees_with_nibabel(suffix: str, write_volume: Any, make_affine: Any) -> None:
    path = write_volume(STORED, make_affine((1, 2, 3)), name=suffix, scl_slope=2, scl_inter=-5)
    image: Any = nib.load(path)
    with open_nifti(path) as reader:
        np.testing.assert_array_equal(reader.header.affine, image.affine)
        assert (reader.header.slope, reader.header.intercept) == (2.0, -5.0)
        np.testing.assert_allclose(reader.header.pixdim_mm, (1, 2, 3), rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_an_unusable_slope_means_no_scaling(slope: float, write_volume: Any) -> None:
    path = write_volume(STORED, np.eye(4), scl_slope=slope, scl_inter=7)
    with open_nifti(path) as reader:
        assert (reader.header.slope, reader.header.intercept) == (None, None)


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_lengths_are_turned_into_mm(unit: int, factor: float, write_volume: Any) -> None:
    path = write_volume(STORED, np.diag([2.0, 3.0, 4.0, 1.0]), xyzt_units=unit | 8)
    with open_nifti(path) as reader:
        assert reader.header.pixdim_mm == pytest.approx((2 * factor, 3 * factor, 4 * factor))
        np.testing.assert_allclose(np.diag(reader.header.affine)[:3], reader.header.pixdim_mm)


def test_a_qform_is_used_without_an_sform(write_volume: Any, make_affine: Any) -> None:
    header = nib.Nifti1Header()
    header.set_qform(make_affine((1, 2, 3)), code=1)
    fields = {
        name: header[name]
        for name in [
            "qform_code",
            "quatern_b",
            "quatern_c",
            "quatern_d",
            "pixdim",
            "qoffset_x",
            "qoffset_y",
            "qoffset_z",
        ]
    }
    path = write_volume(STORED, np.eye(4), sform_code=0, **fields)
    with open_nifti(path) as reader:
        assert reader.header.affine_from == "qform"
        np.testing.assert_allclose(reader.header.affine, make_affine((1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "claims a shape"),
        ({"dim": [3, 5, 7, 0, 1, 1, 1, 1]}, "claims a shape"),
        ({"dim": [3, 5, 7, -11, 1, 1, 1, 1]}, "claims a shape"),
        ({"dim": [4, 5, 7, 1, 11, 1, 1, 1]}, "expected one 3-D volume"),
        ({"dim": [2, 5, 77, 1, 1, 1, 1, 1]}, "expected one 3-D volume"),
        ({"dim": [9, 5, 7, 11, 1, 1, 1, 1]}, "expected one 3-D volume"),
        ({"dim": [3, 1000, 1000, 1000, 1, 1, 1, 1]}, "a file of this size holds at most"),
        ({"dim": [3, 5, 7, 12, 1, 1, 1, 1]}, "fewer voxels than its header claims"),
        ({"dim": [3, 5, 7, 10, 1, 1, 1, 1]}, "more bytes than its header claims"),
        ({"datatype": 128}, "is not one of CT"),
        ({"datatype": 32}, "is not one of CT"),
        ({"datatype": 1536}, "is not one of CT"),
        ({"datatype": 7777}, "unknown datatype code 7777"),
        ({"vox_offset": 0}, "cannot begin at byte 0"),
        ({"vox_offset": -352}, "cannot begin at byte -352"),
        ({"vox_offset": np.nan}, "cannot begin at byte nan"),
        ({"vox_offset": 352.5}, "cannot begin at byte 352.5"),
        ({"vox_offset": 1e9}, "cannot begin at byte 1e"),
        ({"vox_offset": 4096}, "ends inside its header|at most"),
        ({"magic": b"ni1"}, "single-file NIfTI"),
        ({"magic": b""}, "single-file NIfTI"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "scl_inter is nan"),
    ],
)
@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz"])
def test_a_header_that_cannot_be_is_rejected(
    fields: dict[str, Any], match: str, name: str, write_volume: Any
) -> None:
    if name == "volume.nii" and "fewer" in match:
        match = "at most"
    reject(write_volume(STORED, np.eye(4), name=name, **fields), match)


def test_a_trailing_axis_of_one_is_accepted(write_volume: Any) -> None:
    with open_nifti(write_volume(STORED, np.eye(4), dim=[4, 5, 7, 11, 1, 1, 1, 1])) as reader:
        assert reader.header.shape == (5, 7, 11)


def test_a_nifti2_header_with_huge_sides_is_rejected(write_volume: Any) -> None:
    sides = [3, 1 << 40, 1 << 40, 1 << 40, 1, 1, 1, 1]
    reject(write_volume(STORED, np.eye(4), kind=nib.Nifti2Header, dim=sides), "claims a shape")


@pytest.mark.parametrize("content", [b"", b"\x5c", b"<html>no such file</html>" * 40, bytes(600)])
def test_bytes_that_are_no_nifti_are_rejected(content: bytes, tmp_path: Path) -> None:
    plain, zipped = tmp_path / "volume.nii", tmp_path / "volume.nii.gz"
    plain.write_bytes(content)
    zipped.write_bytes(content)
    reject(plain, "are not those of NIfTI")
    reject(zipped, "do not begin like gzip", Reason.CORRUPT_GZIP)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_an_uncompressed_nifti_named_gz_is_named(
    kind: Any, order: str, write_volume: Any, tmp_path: Path
) -> None:
    plain = write_volume(STORED, np.eye(4), name="volume.nii", kind=kind, order=order)
    path = plain.rename(tmp_path / "volume.nii.gz")
    reject(path, r"an uncompressed NIfTI file whose name ends in \.gz; rename it", Reason.BAD_NAME)


@pytest.mark.parametrize(
    "tail", [b"x", b"\x1f", b"# made by hand\n", b"PK\3\4", b"\0\0tail", b"\x1f\x8a"]
)
def test_bytes_behind_a_whole_gzip_member_are_named(tail: bytes, write_volume: Any) -> None:
    path = write_volume(STORED, np.eye(4))
    path.write_bytes(path.read_bytes() + tail)
    match = "bytes that are not gzip .* follow a whole gzip member" if tail != b"\x1f" else "gzip"
    reject(path, match, Reason.CORRUPT_GZIP)


@pytest.mark.parametrize("tail", [b"", b"\0" * 600, gzip.compress(b"")], ids=len)
def test_padding_and_empty_members_behind_a_gzip_member_are_read(
    tail: bytes, write_volume: Any
) -> None:
    path = write_volume(STORED, np.eye(4))
    path.write_bytes(path.read_bytes() + tail)
    read_all(path)


@pytest.mark.parametrize(
    ("name", "match", "reason"),
    [
        ("plain_nifti_named_gz.nii.gz", "an uncompressed NIfTI file", Reason.BAD_NAME),
        ("gzip_with_tail.nii.gz", "follow a whole gzip member", Reason.CORRUPT_GZIP),
    ],
)
def test_shared_files_are_named_for_what_they_are(name: str, match: str, reason: Reason) -> None:
    path = find_case(f"headers/{name}")
    reject(path, match, reason)


def test_an_analyze_header_is_rejected() -> None:
    with pytest.raises(SampleRejectedError, match="single-file NIfTI"):
        decode_header(struct.pack("<i", 348) + bytes(344))
