"""Order, spacing and affine of slices, compared with SimpleITK; and slices that make no volume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.dicom.geometry import (
    LPS_TO_RAS,
    StackGeometry,
    find_axes,
    stack_slices,
)
from medassets_tests.dicoms import OBLIQUE, SPACING, write_series

sitk: Any = pytest.importorskip("SimpleITK")

STRAIGHT = find_axes([1, 0, 0, 0, 1, 0])
assert STRAIGHT is not None


def place(along: Any, *, sideways: Any = 0.0) -> np.ndarray:
    along = np.asarray(along, float)
    return np.stack([np.zeros_like(along) + sideways, np.zeros_like(along), along], axis=1)


def stack(positions: np.ndarray) -> StackGeometry:
    assert STRAIGHT is not None
    return stack_slices(positions, STRAIGHT, pixel_spacing=(0.9, 0.7))


@pytest.mark.parametrize("decimals", [4, 5, 6])
def test_positions_are_those_of_simpleitk_however_directions_are_rounded(
    tmp_path: Path, decimals: int
) -> None:
    rounded = [round(float(v), decimals) for v in OBLIQUE[:, :2].T.ravel()]

    def change(k: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = rounded
        axes = find_axes(rounded)
        assert axes is not None
        position = axes.normal * SPACING[2] * k
        dataset.ImagePositionPatient = [f"{v:.8f}"[:16] for v in position]

    written = write_series(tmp_path, change=change)
    image = sitk.ReadImage([str(path) for path in written.paths])
    axes = find_axes(rounded)
    assert axes is not None
    positions = np.array([np.array(d.ImagePositionPatient, float) for d in written.datasets])
    mixed = np.random.default_rng(0).permutation(len(positions))
    found = stack_slices(positions[mixed], axes, pixel_spacing=(SPACING[1], SPACING[0]))
    assert [int(mixed[n]) for n in found.order] == list(range(len(positions)))
    np.testing.assert_allclose(found.spacing_mm, image.GetSpacing(), rtol=1e-6)
    affine = LPS_TO_RAS @ found.affine
    # As far away as column 511 of a usual slice.
    for index in np.random.default_rng(1).integers(0, 512, size=(200, 3)):
        expected = image.TransformContinuousIndexToPhysicalPoint([float(n) for n in index])
        assert np.abs((affine @ [*index, 1])[:3] - expected).max() < 1e-3


def test_a_row_is_at_a_right_angle_exactly() -> None:
    axes = find_axes([1, 0.001, 0, 0, 1, 0.0005])
    assert axes is not None
    frame = np.array([axes.row, axes.column, axes.normal])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(frame) > 0


@pytest.mark.parametrize(
    "orientation",
    [
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, float("nan"), 1, 0],
        [1, 0, 0, 0.005, 1, 0],
        [1, 0, 0, 1, 0, 0],
        [2, 0, 0, 0, 1, 0],
    ],
)
def test_what_is_no_pair_of_directions_has_no_axes(orientation: list[float]) -> None:
    assert find_axes(orientation) is None


@pytest.mark.parametrize(
    "positions",
    [
        place(np.arange(20) * 2.5),
        place([0, 1]),
        # Rounded to 0.1 mm.
        place(np.round(np.arange(100) * 0.625, 1)),
        place(np.round(np.arange(30) * 2.25, 1), sideways=np.round(np.arange(30) * 0.003, 1)),
    ],
)
def test_regular_slices_are_stacked(positions: np.ndarray) -> None:
    found = stack(positions[::-1])
    assert found.order == tuple(range(len(positions)))[::-1]
    expected = float(np.linalg.norm(positions[-1] - positions[0])) / (len(positions) - 1)
    np.testing.assert_allclose(found.spacing_mm, (0.7, 0.9, expected))


@pytest.mark.parametrize(
    ("positions", "reason"),
    [
        (place(np.delete(np.arange(20) * 2.5, [4])), Reason.MISSING_SLICE),
        (place(np.delete(np.arange(20) * 2.5, [4, 5, 11])), Reason.MISSING_SLICE),
        (place(np.delete(np.arange(50) * 0.1, [9])), Reason.MISSING_SLICE),
        (place(np.delete(np.round(np.arange(100) * 0.625, 1), [50])), Reason.MISSING_SLICE),
        (place([0, 1, 2, 3, 10.5, 11.5]), Reason.UNEVEN_SLICES),
        (place([0, 5, 10, 15, 17.5, 20, 22.5]), Reason.UNEVEN_SLICES),
        (place(np.cumsum(1 + np.arange(40) * 0.004)), Reason.UNEVEN_SLICES),
        (place(np.arange(20) * 2.5, sideways=np.arange(20) * 0.67), Reason.GANTRY_TILT),
        (place([0, 2, 4, 6], sideways=[0, 0, 5, 0]), Reason.UNEVEN_SLICES),
    ],
)
def test_irregular_slices_are_refused_with_a_reason(positions: np.ndarray, reason: Reason) -> None:
    with pytest.raises(SampleRejectedError) as caught:
        stack(positions)
    assert caught.value.reason is reason


def test_the_number_of_missing_slices_is_said() -> None:
    with pytest.raises(SampleRejectedError, match="3 slices are missing"):
        stack(place(np.delete(np.arange(20) * 2.5, [4, 5, 11])))
