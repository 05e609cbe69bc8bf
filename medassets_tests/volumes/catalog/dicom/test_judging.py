"""Files that are no slice of a volume, each with its reason."""

import io
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medassets.errors import Reason
from medassets.volumes.catalog.dicom.judging import SYNTAXES, judge_file
from medassets.volumes.files.dicom.header import SliceHeader, read_slice_header
from medassets_tests.dicoms import WRITTEN, write_series


def make(folder: Path, **changes: Any) -> SliceHeader:
    def change(_: int, dataset: Dataset) -> None:
        for name, value in changes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    content = write_series(folder, num_slices=1, change=change).paths[0].read_bytes()
    found = read_slice_header(io.BytesIO(content))
    assert found is not None
    return found


def judge(header: SliceHeader, *, accept_derived: bool = False) -> Reason | None:
    found = judge_file(header, modalities=("CT",), accept_derived=accept_derived)
    return found and found[0]


def test_a_slice_of_ct_passes(tmp_path: Path) -> None:
    assert judge(make(tmp_path)) is None
    assert judge(make(tmp_path, SOPClassUID="", SOPInstanceUID="", ImageType="")) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Modality": "MR"}, Reason.OTHER_MODALITY),
        ({"Modality": ""}, Reason.OTHER_MODALITY),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALIZER),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, Reason.DERIVED_IMAGE),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, Reason.DERIVED_IMAGE),
        ({"SOPClassUID": EnhancedCTImageStorage}, Reason.ENHANCED_MULTIFRAME),
        ({"NumberOfFrames": 3}, Reason.ENHANCED_MULTIFRAME),
        ({"PixelData": bytes(20)}, Reason.CORRUPT_DICOM),
        ({"PixelData": None}, Reason.CORRUPT_DICOM),
        ({"Rows": None}, Reason.CORRUPT_DICOM),
        ({"SamplesPerPixel": 3, "PixelData": bytes(4000)}, Reason.COLOUR_IMAGE),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.COLOUR_IMAGE),
        ({"Rows": 1, "Columns": 9000, "PixelData": bytes(18000)}, Reason.UNSUPPORTED_PIXELS),
        ({"HighBit": 15}, Reason.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 1}, Reason.UNSUPPORTED_PIXELS),
        ({"BitsStored": 0}, Reason.UNSUPPORTED_PIXELS),
        ({"PixelRepresentation": 1, "PixelPaddingValue": -3024}, Reason.UNSUPPORTED_PIXELS),
        ({"ModalityLUTSequence": [Dataset()]}, Reason.UNSUPPORTED_PIXELS),
        (
            {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 1},
            Reason.UNSUPPORTED_PIXELS,
        ),
        ({"RescaleSlope": 0}, Reason.BAD_HEADER),
        ({"RescaleSlope": "1e-20"}, Reason.BAD_HEADER),
        ({"RescaleIntercept": "1e20"}, Reason.BAD_HEADER),
        ({"ImagePositionPatient": ["1e300", 0, 0]}, Reason.BAD_HEADER),
        ({"PixelSpacing": ["1e-300", 1]}, Reason.SPACING_MISSING),
        ({"PixelSpacing": None}, Reason.SPACING_MISSING),
        ({"PixelSpacing": [0, 1]}, Reason.SPACING_MISSING),
        ({"PixelSpacing": [-1, 1]}, Reason.SPACING_MISSING),
        ({"ImagePositionPatient": None}, Reason.POSITION_MISSING),
        ({"ImageOrientationPatient": None}, Reason.ORIENTATION_MISSING),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, Reason.ORIENTATION_MISSING),
        ({"ImageOrientationPatient": [1, 0.005, 0, 0, 1, 0]}, Reason.ORIENTATION_MISSING),
    ],
)
def test_other_files_have_a_reason(tmp_path: Path, changes: dict[str, Any], reason: Reason) -> None:
    assert judge(make(tmp_path, **changes)) is reason


def test_numbers_with_a_comma_are_a_bad_header(tmp_path: Path) -> None:
    content = write_series(tmp_path, num_slices=1).paths[0].read_bytes()
    changed = content.replace(b"-150.0\\-140.0\\100.0", b"-150,0\\-140,0\\100,0")
    header = read_slice_header(io.BytesIO(changed))
    assert header is not None
    assert judge(header) is Reason.BAD_HEADER


def test_derived_images_can_be_accepted(tmp_path: Path) -> None:
    header = make(tmp_path, ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    assert judge(header, accept_derived=True) is None
    captured = make(tmp_path, SOPClassUID=SecondaryCaptureImageStorage)
    assert judge(captured, accept_derived=True) is Reason.DERIVED_IMAGE


def test_transfer_syntaxes_without_a_decoder_are_named(tmp_path: Path) -> None:
    assert {*WRITTEN, RLELossless, JPEG2000, JPEGLSLossless} <= SYNTAXES
    content = write_series(tmp_path, num_slices=1).paths[0].read_bytes()
    old, new = ExplicitVRLittleEndian.encode(), MPEG2MPML.encode()
    assert len(new) > len(old)
    header = read_slice_header(io.BytesIO(content))
    assert header is not None
    from dataclasses import replace

    found = judge_file(replace(header, syntax=MPEG2MPML), modalities=("CT",), accept_derived=False)
    assert found is not None
    assert found[0] is Reason.UNSUPPORTED_SYNTAX
    assert MPEG2MPML in found[1]
