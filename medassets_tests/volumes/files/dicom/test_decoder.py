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
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
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


# The same by libjpeg-turbo 3.1: sequential DCT of 12 bits, all quantization steps 1, which loses nothing here.
JPEG_EXTENDED = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb00430001010101010101010101010101010101010101010101"
    "010101010101010101010101010101010101010101010101010101010101010101010101010101010101ffc1000b0c"
    "0006000801011100ffc4001400010000000000000000000000000000000bffc4001f10000003090000000000000000"
    "00000000000406070a0c232944476466ffda0008010100003f00004803177bd855162726b005898e7f447fffd9"
)
# The same by OpenJPH 0.26: reversible, 16 bits.
HTJ2K = bytes.fromhex(
    "ff4fff5100294000000000080000000600000000000000000000000800000006000000000000000000010f0101ff50"
    "000800020000000aff52000c00020001000504044001ff5c00132088909090909090909090909090888888ff640017"
    "00014f70656e4a50482056657220302e32362e332eff90000a0000000000540001ff93c0002667f4050774000000c0"
    "0012c0001280e8028774003801877400c0001340001180e6cd020274000a3300c0002a60001540bababaa062318276"
    "00482412f9c01081beb600ffd9"
)


@pytest.mark.parametrize(
    ("syntax", "content", "bits"),
    [
        (JPEGLSLossless, JPEG_LS, 12),
        (JPEGExtended12Bit, JPEG_EXTENDED, 12),
        (HTJ2KLossless, HTJ2K, 16),
        (HTJ2KLosslessRPCL, HTJ2K, 16),
        (UID("1.2.840.10008.1.2.4.203"), HTJ2K, 16),
    ],
    ids=lambda one: one.name if isinstance(one, UID) else None,
)
def test_what_others_compressed_is_decoded_exactly(
    tmp_path: Path, syntax: UID, content: bytes, bits: int
) -> None:
    expected = np.arange(48).reshape(8, 6) * 37 + 900
    dataset = make_slice(expected, 0)
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].is_undefined_length = True
    save(dataset, tmp_path / "a", syntax)
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
