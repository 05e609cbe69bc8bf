"""MetaImage and NRRD as SimpleITK writes and reads them, and files that are not read."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.files.images.reader import is_image_name, list_parts, open_image
from medassets_tests.dicoms import OBLIQUE

sitk: Any = pytest.importorskip("SimpleITK")

SHAPE = (11, 7, 5)
MHA = """\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 1 2 3
DimSize = 2 2 2
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """\
NRRD0004
# a comment
type: short
dimension: 3
space: left-posterior-superior
sizes: 2 2 2
space directions: (1,0,0) (0,2,0) (0,0,3)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)

"""
VOXELS = np.arange(8, dtype="<i2").tobytes()


def read(path: Path) -> tuple[VolumeHeader, np.ndarray]:
    with open_image(path) as stream:
        values = np.empty(int(np.prod(stream.header.shape)), stream.header.dtype)
        for part in (values[:3], values[3:]):
            stream.read_into(part)
        stream.finish()
        return stream.header, values.reshape(stream.header.shape, order="F")


def refuse(path: Path) -> SampleRejectedError:
    with pytest.raises(SampleRejectedError) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("dtype", ["i2", "u1", "u2", "i4", "f4", "f8"])
def test_voxels_and_positions_are_those_of_simpleitk(
    tmp_path: Path, name: str, dtype: str, compressed: bool
) -> None:
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(0, 200, SHAPE[::-1]).astype(dtype))
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-12.5, 3.25, 100.125))
    image.SetDirection(OBLIQUE.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / name), compressed)
    header, values = read(tmp_path / name)
    assert header.shape == SHAPE
    np.testing.assert_array_equal(values, sitk.GetArrayFromImage(image).T)
    again = sitk.ReadImage(str(tmp_path / name))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine
    for index in rng.integers(0, SHAPE, size=(20, 3)):
        expected = again.TransformIndexToPhysicalPoint([int(n) for n in index])
        assert np.abs((affine @ [*index, 1])[:3] - expected).max() < 1e-6
    np.testing.assert_allclose(header.pixdim_mm, (0.7, 0.9, 2.5), rtol=1e-9)
    assert (header.affine_from, header.slope) == ("directions", None)


@pytest.mark.parametrize(
    "space", ["RAS", "right-anterior-superior", "LAS", "left-posterior-superior"]
)
def test_spaces_of_nrrd_are_those_of_simpleitk(tmp_path: Path, space: str) -> None:
    text = NRRD.replace("left-posterior-superior", space).replace("(0,0,0)", "(10,20,30)")
    (tmp_path / "a.nrrd").write_bytes(text.encode() + VOXELS)
    header, values = read(tmp_path / "a.nrrd")
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(values, sitk.GetArrayFromImage(image).T)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine
    for index in ([0, 0, 0], [1, 0, 1], [1, 1, 0]):
        expected = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((affine @ [*index, 1])[:3], expected, atol=1e-9)


@pytest.mark.parametrize(("name", "text"), [("a.mha", MHA), ("a.nrrd", NRRD)])
def test_big_endian_voxels_are_read(tmp_path: Path, name: str, text: str) -> None:
    big = text.replace("MSB = False", "MSB = True").replace("endian: little", "endian: big")
    (tmp_path / name).write_bytes(big.encode() + np.arange(8, dtype=">i2").tobytes())
    np.testing.assert_array_equal(read(tmp_path / name)[1].reshape(-1, order="F"), np.arange(8))


def test_a_header_without_directions_states_no_orientation(tmp_path: Path) -> None:
    bare = "".join(line for line in MHA.splitlines(True) if not line.startswith("Trans"))
    (tmp_path / "a.mha").write_bytes(bare.encode() + VOXELS)
    header, _ = read(tmp_path / "a.mha")
    assert (header.affine_from, header.pixdim_mm) == ("pixdim", (1, 2, 3))
    unnamed = NRRD.replace("space: left-posterior-superior", "space dimension: 3")
    (tmp_path / "a.nrrd").write_bytes(unnamed.encode() + VOXELS)
    header, _ = read(tmp_path / "a.nrrd")
    assert (header.affine_from, header.pixdim_mm) == ("pixdim", (1, 2, 3))


OTHERS = (
    "/etc/passwd",
    "../x.raw",
    "sub/x.raw",
    "LIST",
    "LIST 3",
    "x%02d.raw 1 3 1",
    "..",
    "\\\\host\\x",
)


@pytest.mark.parametrize("other", [*OTHERS, "beside.raw"])
def test_an_attached_header_names_no_file(tmp_path: Path, other: str) -> None:
    (tmp_path / "beside.raw").write_bytes(VOXELS)
    (tmp_path / "a.mha").write_text(MHA.replace("LOCAL", other))
    assert refuse(tmp_path / "a.mha").reason is Reason.BAD_HEADER
    for line in (f"data file: {other}\n", f"datafile:{other}\n", f"data file:\t{other}\n"):
        (tmp_path / "a.nrrd").write_text(NRRD.rstrip("\n") + "\n" + line + "\n")
        assert refuse(tmp_path / "a.nrrd").reason is Reason.BAD_HEADER


@pytest.mark.parametrize("other", OTHERS)
def test_a_detached_header_names_a_bare_name_only(tmp_path: Path, other: str) -> None:
    (tmp_path / "a.mhd").write_text(MHA.replace("LOCAL", other))
    assert refuse(tmp_path / "a.mhd").reason is Reason.BAD_HEADER
    (tmp_path / "a.nhdr").write_text(NRRD.rstrip("\n") + f"\ndata file: {other}\n")
    assert refuse(tmp_path / "a.nhdr").reason is Reason.BAD_HEADER


def test_data_behind_a_link_or_a_pipe_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(VOXELS)
    (tmp_path / "a.raw").symlink_to(tmp_path / "secret")
    (tmp_path / "a.mhd").write_text(MHA.replace("LOCAL", "a.raw"))
    assert "is a link" in refuse(tmp_path / "a.mhd").detail
    (tmp_path / "a.raw").unlink()
    assert refuse(tmp_path / "a.mhd").reason is Reason.MISSING_UPSTREAM
    os.mkfifo(tmp_path / "a.raw")
    assert refuse(tmp_path / "a.mhd").reason is Reason.BAD_HEADER


def test_a_detached_header_reads_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / "a.mhd").write_text(MHA.replace("LOCAL", "a.raw"))
    (tmp_path / "a.nhdr").write_text(NRRD.rstrip("\n") + "\ndata file: a.raw\n")
    for name in ("a.mhd", "a.nhdr"):
        np.testing.assert_array_equal(read(tmp_path / name)[1].reshape(-1, order="F"), np.arange(8))
        assert list_parts(tmp_path / name) == [tmp_path / name, tmp_path / "a.raw"]
    assert list_parts(tmp_path / "a.nii") == [tmp_path / "a.nii"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NDims = 3", "NDims = 4"),
        ("NDims = 3\n", ""),
        ("DimSize = 2 2 2", "DimSize = 2 2"),
        ("DimSize = 2 2 2", "DimSize = 2 2 0"),
        ("DimSize = 2 2 2", "DimSize = 99999 2 2"),
        ("DimSize = 2 2 2", "DimSize = 2 2 3"),
        ("DimSize = 2 2 2", "DimSize = 2 2 1"),
        ("MET_SHORT", "MET_SHORT_ARRAY"),
        ("MET_SHORT", "MET_LONG"),
        ("BinaryData = True", "BinaryData = False"),
        ("ElementSpacing = 1 2 3", "ElementSpacing = 1 nan 3"),
        ("ElementSpacing = 1 2 3", "ElementSpacing = 1 2 3\nElementSize = 1 2 4"),
        ("Offset = 0 0 0", "Offset = 0 0 0\nPosition = 1 1 1"),
        ("ElementType", "HeaderSize = 16\nElementType"),
        ("ElementType", "ElementNumberOfChannels = 3\nElementType"),
        ("CompressedData = False", "CompressedData = perhaps"),
        ("ElementDataFile = LOCAL\n", ""),
        ("Offset = 0 0 0", "no equals sign"),
    ],
)
def test_headers_of_metaimage_that_cannot_be_trusted_are_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in MHA
    (tmp_path / "a.mha").write_bytes(MHA.replace(old, new, 1).encode() + VOXELS)
    assert refuse(tmp_path / "a.mha").reason is Reason.BAD_HEADER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NRRD0004", "NRRD0009"),
        ("dimension: 3", "dimension: 4"),
        ("type: short", "type: block"),
        ("encoding: raw", "encoding: bzip2"),
        ("encoding: raw", "encoding: ascii"),
        ("endian: little\n", ""),
        ("sizes: 2 2 2", "sizes: 2 2 3"),
        ("sizes: 2 2 2", "sizes: 2 2 1"),
        ("sizes: 2 2 2", "sizes: 2 2 -2"),
        ("kinds: domain domain domain", "kinds: vector domain domain"),
        ("(1,0,0)", "none"),
        ("(1,0,0)", "(1,0)"),
        ("encoding: raw", "encoding: raw\nbyte skip: -1"),
        ("encoding: raw", "encoding: raw\nline skip: 2"),
        ("encoding: raw", "encoding: raw\nencoding: raw"),
        ("encoding: raw", "encoding raw"),
    ],
)
def test_headers_of_nrrd_that_cannot_be_trusted_are_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in NRRD
    (tmp_path / "a.nrrd").write_bytes(NRRD.replace(old, new, 1).encode() + VOXELS)
    assert refuse(tmp_path / "a.nrrd").reason is Reason.BAD_HEADER


def test_long_headers_and_other_files_are_refused(tmp_path: Path) -> None:
    for name, text in (
        ("a.mha", "Comment = x\n" * 9999),
        ("a.nrrd", "NRRD0004\n" + "# x\n" * 20000),
    ):
        (tmp_path / name).write_text(text)
        assert refuse(tmp_path / name).reason is Reason.BAD_HEADER
    (tmp_path / "b.nrrd").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"
    )
    assert refuse(tmp_path / "b.nrrd").reason is Reason.LFS_POINTER
    (tmp_path / "c.nrrd").write_text(NRRD.rstrip("\n"))
    assert "without a blank line" in refuse(tmp_path / "c.nrrd").detail


def test_damaged_compressed_voxels_are_refused(tmp_path: Path) -> None:
    small = MHA.replace("CompressedData = False", "CompressedData = True")
    packed = zlib.compress(VOXELS)
    (tmp_path / "a.mha").write_bytes(small.encode() + packed[:-1] + bytes([packed[-1] ^ 1]))
    assert refuse(tmp_path / "a.mha").reason is Reason.CORRUPT_GZIP
    (tmp_path / "b.mha").write_bytes(small.encode() + packed[:-6])
    assert refuse(tmp_path / "b.mha").reason is Reason.CORRUPT_GZIP
    zipped = gzip.compress(VOXELS)
    (tmp_path / "a.nrrd").write_bytes(NRRD.replace("raw", "gzip").encode() + zipped[:-1] + b"\xff")
    assert refuse(tmp_path / "a.nrrd").reason is Reason.CORRUPT_GZIP


def test_names_are_known_in_any_case() -> None:
    names = ("a.MHA", "a.mhd", "a.Nrrd", "a.nhdr", "a.raw", "a.nii")
    assert [is_image_name(name) for name in names] == [True, True, True, True, False, False]
