"""Headers of DICOM files: what is read, and what is no DICOM or damaged."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.dicom.header import (
    SliceHeader,
    begins_like_dicom,
    hide_name,
    is_keyword,
    read_slice_header,
    read_tags,
)
from medassets_tests.dicoms import NATIVE, ROOT_UID, write_series


def write(folder: Path, syntax: str = ImplicitVRLittleEndian, **changes: Any) -> bytes:
    def change(_: int, dataset: Dataset) -> None:
        for name, value in changes.items():
            setattr(dataset, name, value)

    return write_series(folder, num_slices=1, syntax=syntax, change=change).paths[0].read_bytes()


def read(content: bytes) -> SliceHeader:
    found = read_slice_header(io.BytesIO(content))
    assert found is not None
    return found


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_header_says_the_same_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    header = read(write(tmp_path, syntax, PixelPaddingValue=5))
    assert header.syntax == syntax
    assert header["series_uid"] == f"{ROOT_UID}.0.3"
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert header.position == (-150, -140, 100)
    assert header.orientation == (1, 0, 0, 0, 1, 0)
    assert header.pixel_spacing == (13, 12)
    assert header.scaling == (1, -1024)
    assert header.shape == (26, 21)
    assert (header.words["bits_stored"], header.words["padding"]) == (12, 5)
    assert (header.is_signed, header.num_frames, header.pixel_problem) == (False, 1, "")


def test_empty_uids_fall_back_to_those_of_the_file(tmp_path: Path) -> None:
    header = read(write(tmp_path, SOPClassUID="", SOPInstanceUID="", SeriesInstanceUID=""))
    assert header["sop_class"] == "1.2.840.10008.5.1.4.1.1.2"
    assert header["sop_instance"] == f"{ROOT_UID}.9"
    assert header["series_uid"] == ""


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    content = write(tmp_path)
    found = pydicom.dcmread(io.BytesIO(content))
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, Dataset(found), implicit_vr=True, little_endian=True)
    header = read(bare.getvalue())
    assert header.syntax == ""
    assert (header.shape, header.pixel_problem) == ((26, 21), "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PatientName: nobody\n" * 20,
        bytes(1000),
        b"\x08\x00\x05\x00" + bytes(range(200)),
    ],
)
def test_other_files_are_no_dicom(content: bytes) -> None:
    assert read_slice_header(io.BytesIO(content)) is None


def test_a_directory_of_files_is_no_slice(tmp_path: Path) -> None:
    found = pydicom.dcmread(io.BytesIO(write(tmp_path)))
    found.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    found.save_as(tmp_path / "DICOMDIR")
    assert read_slice_header(io.BytesIO((tmp_path / "DICOMDIR").read_bytes())) is None


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_file_that_is_cut_anywhere_is_not_whole(tmp_path: Path, share: float) -> None:
    content = write(tmp_path)
    with contextlib.suppress(SampleRejectedError):
        assert read(content[: int(len(content) * share)]).pixel_problem


def test_a_header_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    content = write(tmp_path, DeflatedExplicitVRLittleEndian)
    with pytest.raises(SampleRejectedError) as caught:
        read(content[: len(content) // 2])
    assert caught.value.reason is Reason.CORRUPT_DICOM


@pytest.mark.parametrize("text", ["-30,50000000", "nan", "inf", "1e999", "1\\2", "--"])
def test_numbers_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    content = write(tmp_path)
    old = b"-150.0\\-140.0\\100.0"
    assert content.count(old) == 1
    header = read(content.replace(old, text.encode().ljust(len(old))))
    assert header.position is None
    assert header.bad_numbers[0].startswith("position ")


def test_numbers_of_big_endian_files_are_not_swapped(tmp_path: Path) -> None:
    assert read(write(tmp_path, ExplicitVRBigEndian)).words["rows"] == 21


def test_elements_that_are_declared_are_read_as_text(tmp_path: Path) -> None:
    content = write(tmp_path, KVP="120", ConvolutionKernel=["Br38f", "3"], PatientAge="")
    names = ("KVP", "ConvolutionKernel", "PatientAge", "PatientSex")
    assert read_tags(io.BytesIO(content), names) == {
        "KVP": "120",
        "ConvolutionKernel": "Br38f\\3",
        "PatientAge": None,
        "PatientSex": None,
    }


def test_keywords_of_text_and_numbers_are_known() -> None:
    names = ("KVP", "PatientSex", "Kilovolts", "PixelData", "ReferencedImageSequence")
    assert [is_keyword(name) for name in names] == [True, True, False, False, False]


def test_errors_of_files_do_not_name_them() -> None:
    gone = hide_name(FileNotFoundError(2, "No such file or directory", "/archive/Duck"))
    assert isinstance(gone, SampleRejectedError)
    assert gone.reason is Reason.UNREADABLE_SOURCE
    full = hide_name(OSError(24, "Too many open files", "/archive/Duck"))
    assert isinstance(full, OSError)
    assert "Duck" not in f"{gone} {full}"


@pytest.mark.parametrize("syntax", NATIVE)
def test_files_with_and_without_a_preamble_begin_like_dicom(tmp_path: Path, syntax: str) -> None:
    content = write(tmp_path, syntax)
    assert begins_like_dicom(content[:132])
    meta = pydicom.dcmread(tmp_path / "000").file_meta
    without = content[132 + 12 + meta.FileMetaInformationGroupLength :]
    is_known = syntax not in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
    assert begins_like_dicom(without[:132]) == is_known
    assert (read_slice_header(io.BytesIO(without)) is not None) == is_known


@pytest.mark.parametrize(
    "start", [b"", b"PK\x03\x04" * 40, bytes(200), b"\x08\x00\x05\x00\xff\xff\xff\xff" * 20]
)
def test_other_files_do_not_begin_like_dicom(start: bytes) -> None:
    assert not begins_like_dicom(start[:132])
