"""Slices of one series: copies, phases, and what makes no volume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medassets_tests.dicoms import OBLIQUE, SPACING, make_slice, save, write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_stacks, list_excluded


def add(folder: Path, name: str, k: int, values: np.ndarray, **changes: Any) -> None:
    """Write one more slice of the series 0 at the place of slice k."""
    dataset = make_slice(values, k)
    dataset.SOPInstanceUID = f"1.2.3.{k}.{len(name)}"
    for key, value in changes.items():
        setattr(dataset, key, value)
    save(dataset, folder / name)


def test_names_and_numbers_do_not_order_slices(tmp_path: Path) -> None:
    written = write_series(tmp_path, axes=OBLIQUE)
    (stack,) = find_stacks(tmp_path)
    assert [file.path for file in stack.slices] == [path.name for path in written.paths]


def test_copies_of_slices_are_left_out(tmp_path: Path) -> None:
    written = write_series(tmp_path)
    # At the first place, where the step to its copy would be the first of all.
    add(tmp_path, "x", 0, written.stored[:, :, 0])
    add(tmp_path, "y", 7, written.stored[:, :, 7], PatientName="another")
    (stack,) = find_stacks(tmp_path)
    assert len(stack.slices) == 17
    assert {file.path for file in stack.copies} == {"x", "y"}
    assert list_excluded(tmp_path) == {}


def test_other_pixels_at_a_position_are_a_contradiction(tmp_path: Path) -> None:
    written = write_series(tmp_path)
    add(tmp_path, "x", 3, written.stored[:, :, 4])
    assert list_excluded(tmp_path) == {"duplicate_slice": 18}
    assert find_stacks(tmp_path) == []


def both(folder: Path, **of_second: Any) -> None:
    """Write two phases of one series: other values at the same positions."""
    write_series(folder / "a", num_slices=5)
    for k in range(5):
        values = np.full((26, 21), 100 + k)
        add(folder, f"second-{k}", k, values, **of_second)


def test_acquisitions_of_one_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    def number(_: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber = 1

    write_series(tmp_path / "a", num_slices=5, change=number)
    for k in range(5):
        add(tmp_path, f"second-{k}", k, np.full((26, 21), 100 + k), AcquisitionNumber=2)
    stacks = find_stacks(tmp_path)
    assert [len(stack.slices) for stack in stacks] == [5, 5]
    assert len({stack.key for stack in stacks}) == 2
    assert all(
        {h["acquisition_number"] for h in stack.headers} in ({"1"}, {"2"}) for stack in stacks
    )


def test_an_acquisition_number_alone_does_not_split(tmp_path: Path) -> None:
    def number(k: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber = k

    write_series(tmp_path, change=number)
    assert [len(stack.slices) for stack in find_stacks(tmp_path)] == [17]


def test_acquisitions_that_nothing_tells_apart_are_excluded(tmp_path: Path) -> None:
    both(tmp_path)
    assert list_excluded(tmp_path) == {"several_acquisitions": 10}


def test_a_series_in_time_is_excluded(tmp_path: Path) -> None:
    def early(_: int, dataset: Dataset) -> None:
        dataset.TemporalPositionIdentifier = 1

    write_series(tmp_path / "a", num_slices=5, change=early)
    for k in range(5):
        add(tmp_path, f"s-{k}", k, np.full((26, 21), 9), TemporalPositionIdentifier=2)
    assert list_excluded(tmp_path) == {"four_dimensional": 10}


def tilt(k: int, dataset: Dataset) -> None:
    shift = np.tan(np.radians(15)) * SPACING[2] * k
    dataset.ImagePositionPatient = [-150, round(-140 + shift, 4), 100 + SPACING[2] * k]


def turn(k: int, dataset: Dataset) -> None:
    if k > 8:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("change", "drop", "reason"),
    [
        (tilt, (), {"gantry_tilt": 17}),
        (turn, (), {"mixed_orientation": 17}),
        (None, (4,), {"missing_slice": 16}),
        (None, range(1, 17), {"too_few_slices": 1}),
    ],
)
def test_series_that_are_no_regular_volume_have_a_reason(
    tmp_path: Path, change: Callable[..., None] | None, drop: Any, reason: dict[str, int]
) -> None:
    written = write_series(tmp_path, change=change)
    for k in drop:
        written.paths[k].unlink()
    assert list_excluded(tmp_path) == reason
    assert find_stacks(tmp_path) == []
