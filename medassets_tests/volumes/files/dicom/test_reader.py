"""Slices stacked to one array, whatever type, slope and intercept each of them has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.files.dicom.reader import choose_stored, open_series
from medassets.volumes.files.header import VolumeHeader
from medassets_tests.dicoms import OBLIQUE, write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_stacks


def read(top: Path, stack: Stack, sizes: Sequence[int] = ()) -> tuple[VolumeHeader, np.ndarray]:
    slices = [
        (top / file.path, header) for file, header in zip(stack.slices, stack.headers, strict=True)
    ]
    with open_series(slices, stack.geometry) as stream:
        values = np.empty(int(np.prod(stream.header.shape)), stream.header.dtype)
        for part in np.split(values, np.cumsum(sizes)):
            stream.read_into(part)
        stream.finish()
        return stream.header, values.reshape(stream.header.shape, order="F")


def vary(k: int, dataset: Dataset) -> None:
    """Give slices slopes of their own; the first unsigned, the others signed."""
    stored = np.frombuffer(dataset.PixelData, "<u2").astype(np.int64)
    dataset.RescaleSlope, dataset.RescaleIntercept = ("1", "-1024") if k == 0 else ("0.5", "0")
    if k:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.PixelData = ((stored - 1024) * 2).astype("<i2").tobytes()


def test_slices_are_read_in_order_in_pieces_of_any_size(tmp_path: Path) -> None:
    written = write_series(tmp_path, axes=OBLIQUE)
    (stack,) = find_stacks(tmp_path)
    header, values = read(tmp_path, stack, sizes=(1, 700, 5000))
    assert (header.dtype, header.slope, header.intercept) == (np.int16, 1, -1024)
    assert header.affine_from == "dicom"
    np.testing.assert_array_equal(values, written.stored)


def test_slices_of_different_scaling_are_stacked_in_hu(tmp_path: Path) -> None:
    written = write_series(tmp_path, change=vary)
    (stack,) = find_stacks(tmp_path)
    header, values = read(tmp_path, stack)
    assert (header.dtype, header.slope, header.intercept) == (np.float32, 1, 0)
    np.testing.assert_array_equal(values, written.stored - 1024)


@pytest.mark.parametrize(
    ("bits", "signed", "dtype"),
    [
        ([12, 12], [0, 0], np.int16),
        ([16, 16], [1, 1], np.int16),
        ([16, 16], [0, 0], np.uint16),
        ([16, 16], [0, 1], np.int32),
        ([15, 16], [0, 1], np.int16),
    ],
)
def test_one_type_holds_what_all_slices_store(
    tmp_path: Path, bits: list[int], signed: list[int], dtype: type
) -> None:
    def change(k: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = bits[k], bits[k] - 1
        dataset.PixelRepresentation = signed[k]

    written = write_series(tmp_path, num_slices=2, change=change)
    (stack,) = find_stacks(tmp_path)
    assert choose_stored(stack.headers).dtype == dtype
    np.testing.assert_array_equal(read(tmp_path, stack)[1], written.stored)


def test_padding_is_masked_before_values_are_rescaled(tmp_path: Path) -> None:
    def change(k: int, dataset: Dataset) -> None:
        vary(k, dataset)
        dataset.PixelPaddingValue = int(
            np.frombuffer(dataset.PixelData, "<i2" if k else "<u2").max()
        )

    written = write_series(tmp_path, change=change)
    (stack,) = find_stacks(tmp_path)
    hu = written.stored - 1024
    expected = np.where(hu == hu.max(axis=(0, 1)), -2048, hu)
    np.testing.assert_array_equal(read(tmp_path, stack)[1], expected)


def test_a_slice_that_is_gone_or_damaged_stops_the_volume(tmp_path: Path) -> None:
    write_series(tmp_path)
    (stack,) = find_stacks(tmp_path)
    gone = tmp_path / stack.slices[5].path
    content = gone.read_bytes()
    gone.write_bytes(content[:400])
    with pytest.raises(SampleRejectedError) as caught:
        read(tmp_path, stack)
    assert caught.value.reason is Reason.CORRUPT_DICOM
    gone.unlink()
    with pytest.raises(SampleRejectedError) as caught:
        read(tmp_path, stack)
    assert caught.value.reason is Reason.UNREADABLE_SOURCE
    assert str(tmp_path) not in str(caught.value)
