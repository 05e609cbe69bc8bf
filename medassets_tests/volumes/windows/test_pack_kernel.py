"""Compiled packing and unpacking of masks against numpy."""

from typing import Any

import numpy as np
import pytest

from medassets.volumes.windows.pack_kernel import pack_by_bounds, pack_by_table, unpack_slab

BOUNDS = np.array([[-1350.0, 150.0], [-150.0, 250.0], [-5.0, 75.0], [100.0, 100.0]])
# Whole bytes of bits, and 5, 7 and 3 bits behind them.
SIZES = [5, 7, 8, 11, 800]


def pack(masks: list[np.ndarray]) -> np.ndarray:
    return np.array([np.packbits(mask, bitorder="little") for mask in masks])


@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.5, -600.25), (-2.0, 7.0)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("size", SIZES)
def test_bits_by_bounds_are_those_of_numpy(
    size: int, dtype: Any, scaling: tuple[float, float]
) -> None:
    stored = np.random.default_rng(size).integers(-1500, 1500, size).astype(dtype)
    hu = stored.astype(np.float64) * scaling[0] + scaling[1]
    out = np.zeros((len(BOUNDS), (size + 7) // 8), np.uint8)
    pack_by_bounds(stored, scaling, BOUNDS, 0, out)
    np.testing.assert_array_equal(out, pack([(hu >= low) & (hu <= high) for low, high in BOUNDS]))


def test_nan_is_in_no_window() -> None:
    out = np.zeros((len(BOUNDS), 1), np.uint8)
    pack_by_bounds(np.array([np.nan, 50.0, np.nan], np.float32), (1.0, 0.0), BOUNDS, 0, out)
    assert out[:, 0].tolist() == [2, 2, 2, 0]


@pytest.mark.parametrize("num_windows", [1, 3, 8])
@pytest.mark.parametrize("size", SIZES)
def test_bits_by_table_are_those_of_numpy(size: int, num_windows: int) -> None:
    rng = np.random.default_rng(size)
    stored = rng.integers(0, 1 << 16, size).astype(np.uint16)
    inside = rng.random((num_windows, 1 << 16)) < 0.3
    table = np.zeros((1 << 16, 8), np.uint8)
    table[:, :num_windows] = inside.T
    out = np.zeros((num_windows, (size + 7) // 8), np.uint8)
    pack_by_table(stored, table.view(np.uint64)[:, 0], 0, out)
    np.testing.assert_array_equal(out, pack([mask[stored] for mask in inside]))


def test_pieces_are_written_from_their_first_byte_on() -> None:
    stored = np.random.default_rng(0).integers(-1500, 1500, 29).astype(np.int16)
    whole = np.zeros((len(BOUNDS), 6), np.uint8)
    pack_by_bounds(stored, (1.0, 0.0), BOUNDS, 0, whole)
    pieces = np.zeros_like(whole)
    for start, stop in ((0, 8), (8, 24), (24, 29)):
        pack_by_bounds(stored[start:stop], (1.0, 0.0), BOUNDS, start // 8, pieces)
    np.testing.assert_array_equal(pieces, whole)
    assert not whole[:, 4:].any()


@pytest.mark.parametrize(("start", "num_planes"), [(0, 5), (1, 2), (3, 4)])
def test_planes_of_a_mask_are_unpacked_and_what_lies_beyond_is_kept(
    start: int, num_planes: int
) -> None:
    mask = np.random.default_rng(1).random((5, 7, 11)) < 0.4
    bits = np.packbits(mask.ravel(order="F"), bitorder="little")
    out = np.full((num_planes, 8, 13), 9, np.uint8)
    unpack_slab(bits, (5, 7, 11), start, out)
    expected = np.full((num_planes, 8, 13), 9, np.uint8)
    planes = mask[start : start + num_planes]
    expected[: len(planes), :7, :11] = planes
    np.testing.assert_array_equal(out, expected)
