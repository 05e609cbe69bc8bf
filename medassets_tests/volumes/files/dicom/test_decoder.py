"""One slice decoded, rescaled once and turned back to what is stored."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.dicom.decoder import decode_slice
from medassets.volumes.files.dicom.header import SliceHeader, read_slice_header
from medassets_tests.dicoms import make_slice, save, write_series


def read(path: Path) -> SliceHeader:
    with path.open("rb") as file:
        found = read_slice_header(file)
    assert found is not None
    return found


def write(folder: Path, syntax: str = ExplicitVRLittleEndian, **changes: Any) -> tuple[Path, Any]:
    def change(_: int, dataset: Dataset) -> None:
        for name, value in changes.items():
            setattr(dataset, name, value)

    written = write_series(folder, num_slices=1, syntax=syntax, change=change)
    return written.paths[0], written.stored[:, :, 0].T


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("1", "-1024"), ("0.5", "-1000.25"), ("1.9999999", "0"), ("0.00244", "-5"), ("-1", "7")],
)
def test_stored_values_are_found_whatever_the_scaling(
    tmp_path: Path, slope: str, intercept: str
) -> None:
    path, expected = write(tmp_path, RescaleSlope=slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(decode_slice(path, read(path)), expected)


# A ramp of 8 columns and 6 rows, 900 + 37 n with the rows fastest, written by pyjpegls.
JPEG_LS = bytes.fromhex(
    "ffd8fff7000b0c0006000801011100ffda000801010000000000000004703db72dbb6ad9b62d7a525242322212025257"
    "ef9ebc76e89091cb86ed8a94232326488907df222279d75c71c210ffd900"
)


def test_jpeg_ls_is_decoded_exactly(tmp_path: Path) -> None:
    expected = np.arange(48).reshape(8, 6) * 37 + 900
    dataset = make_slice(expected, 0)
    dataset.PixelData = encapsulate([JPEG_LS])
    dataset["PixelData"].is_undefined_length = True
    save(dataset, tmp_path / "a", JPEGLSLossless)
    np.testing.assert_array_equal(decode_slice(tmp_path / "a", read(tmp_path / "a")), expected.T)


@pytest.mark.parametrize(("signed", "bits"), [(0, 12), (0, 16), (1, 16)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_values_to_be_shown_inverted_are_what_is_stored(
    tmp_path: Path, signed: int, bits: int, syntax: str
) -> None:
    values = np.arange(546, dtype="<i2") - 200 * signed
    path, _ = write(
        tmp_path,
        syntax,
        PixelRepresentation=signed,
        BitsStored=bits,
        HighBit=bits - 1,
        PhotometricInterpretation="MONOCHROME1",
        PixelData=values.tobytes(),
    )
    np.testing.assert_array_equal(decode_slice(path, read(path)).reshape(-1), values)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1])
def test_a_damaged_stream_is_refused_without_the_name_of_the_file(
    tmp_path: Path, syntax: str
) -> None:
    path, _ = write(tmp_path / "Duck-7313742", syntax)
    header, content = read(path), bytearray(path.read_bytes())
    start = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xfe\xff\x00\xe0") + 8) + 8
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(SampleRejectedError) as caught:
        decode_slice(path, header)
    assert caught.value.reason is Reason.CORRUPT_DICOM
    assert "Duck" not in f"{caught.value} {caught.value.__cause__}"


def test_pixels_of_another_size_than_the_header_are_refused(tmp_path: Path) -> None:
    path, _ = write(tmp_path / "a")
    other, _ = write(tmp_path / "b", Rows=13, Columns=42)
    with pytest.raises(
        SampleRejectedError, match=r"decoded pixels are 26 x 21.*, the header says 42 x 13"
    ):
        decode_slice(path, read(other))


def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    path, _ = write(tmp_path)
    header = read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SampleRejectedError, match=r"cannot be read \(not a regular file\)$"):
        decode_slice(path, header)


def test_a_file_without_preamble_is_decoded(tmp_path: Path) -> None:
    path, expected = write(tmp_path)
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, Dataset(pydicom.dcmread(path)), implicit_vr=True, little_endian=True)
    (tmp_path / "bare").write_bytes(bare.getvalue())
    found = decode_slice(tmp_path / "bare", read(tmp_path / "bare"))
    np.testing.assert_array_equal(found, expected)
