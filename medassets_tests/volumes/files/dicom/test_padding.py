"""Padding is told by stored values, and replaced only where it would be taken for tissue."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from medassets.volumes.files.dicom.header import SliceHeader, read_slice_header
from medassets.volumes.files.dicom.padding import fits_stored_bits, mask_padding, read_padding
from medassets_tests.dicoms import write_series


def make(
    folder: Path, padding: int | None, *, signed: bool, bits: int = 16, **more: Any
) -> SliceHeader:
    def change(_: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = (
            int(signed),
            bits,
            bits - 1,
        )
        if padding is not None:
            dataset.add(
                DataElement(0x00280120, *(("SS", padding) if signed else ("US", padding % 65536)))
            )
        for name, value in more.items():
            setattr(dataset, name, value)

    content = write_series(folder, num_slices=1, change=change).paths[0].read_bytes()
    found = read_slice_header(io.BytesIO(content))
    assert found is not None
    return found


def mask(header: SliceHeader, values: list[float], dtype: type = np.int16) -> list[float]:
    stored = np.array(values, np.float64)
    mask_padding(stored, header, np.dtype(dtype))
    return stored.tolist()


def test_padding_below_air_is_kept(tmp_path: Path) -> None:
    header = make(tmp_path, -2000, signed=True)
    assert read_padding(header) == (-2000, -2000)
    assert mask(header, [-2000, 0, 1064]) == [-2000, 0, 1064]


def test_padding_that_would_be_tissue_becomes_less_than_air(tmp_path: Path) -> None:
    header = make(tmp_path, 4000, signed=False, bits=12)
    assert mask(header, [4000, 3999, 1024]) == [-1024, 3999, 1024]
    assert mask(header, [4000, 1024], np.uint16) == [0, 1024]
    assert mask(header, [4000, 1024], np.float32) == [-1024, 1024]


def test_a_range_of_padding_is_replaced_whole(tmp_path: Path) -> None:
    header = make(tmp_path, 3000, signed=False, bits=12)
    wide = make(tmp_path / "b", 3000, signed=False, bits=12, PixelPaddingRangeLimit=3010)
    assert mask(header, [3000, 3005]) == [-1024, 3005]
    assert read_padding(wide) == (3000, 3010)
    assert mask(wide, [2999, 3000, 3005, 3010, 3011]) == [2999, -1024, -1024, -1024, 3011]


def test_no_padding_changes_nothing(tmp_path: Path) -> None:
    header = make(tmp_path, None, signed=False)
    assert read_padding(header) is None
    assert mask(header, [0, 4000]) == [0, 4000]


@pytest.mark.parametrize(
    ("padding", "signed", "bits", "fits"),
    [
        (-3024, True, 12, False),
        (-2000, True, 12, True),
        (-2000, True, 16, True),
        (-2000, False, 12, False),
        (4096, False, 12, False),
        (0, False, 12, True),
        (None, False, 12, True),
    ],
)
def test_padding_must_fit_the_stored_bits(
    tmp_path: Path, padding: int | None, signed: bool, bits: int, fits: bool
) -> None:
    assert fits_stored_bits(make(tmp_path, padding, signed=signed, bits=bits)) is fits
