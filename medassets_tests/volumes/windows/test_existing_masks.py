"""Masks that other tools made: which cases are found, and how their voxels become bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.specs import CTWindowDatasetSpec
from medassets.volumes.windows.existing_masks import pack_nonzero, read_case_rows
from medassets.volumes.windows.occupancy import BLOCK_BYTES, count_blocks_of, pack_mask

FILES = ("lung_w1500_l-600.npy", "air_w200_l-1000.npy")
Rows = Callable[..., list[dict[str, Any]]]


def make_case(folder: Path, *files: str) -> None:
    (folder / "windows").mkdir(parents=True)
    for number, file in enumerate(files or FILES):
        np.save(folder / "windows" / file, np.ones((5, 7, 11 + number), np.uint8))


@pytest.fixture
def read(tmp_path: Path) -> Rows:
    """Return a function that reads the rows of a folder below the test's."""

    def read_it(below: str = "") -> list[dict[str, Any]]:
        spec = CTWindowDatasetSpec(
            name="masks",
            source="processed",
            folder=str(tmp_path),
            splits=("train",),
            windows=("lung", {"name": "air", "width": 200, "level": -1000}),
        )
        return read_case_rows(spec, tmp_path / below).to_pylist()

    return read_it


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float32, ">f8"])
@pytest.mark.parametrize("shape", [(5, 7, 11), (1, 1, 1), (16, 16, 130), (600, 3, 65)])
def test_nonzero_voxels_are_packed_first_axis_fastest(
    shape: tuple[int, int, int], dtype: Any, order: Any
) -> None:
    values = np.random.default_rng(1).integers(-1, 2, shape).astype(dtype)
    bits = np.full(count_blocks_of(shape) * BLOCK_BYTES, 255, np.uint8)
    pack_nonzero(values.copy(order), bits)
    np.testing.assert_array_equal(bits, pack_mask(values != 0).bits)


def test_nan_is_inside_as_numpy_sees_it() -> None:
    values = np.zeros((5, 7, 11), np.float32)
    values[1, 2, 3] = np.nan
    bits = np.zeros(count_blocks_of(values.shape) * BLOCK_BYTES, np.uint8)
    pack_nonzero(values, bits)
    assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == [1 + 5 * (2 + 7 * 3)]


def test_a_row_lists_the_files_of_the_declared_windows(tmp_path: Path, read: Rows) -> None:
    make_case(tmp_path / "processed" / "c1", *FILES, "bone_w1500_l300.npy")
    (row,) = read()
    paths = [f"processed/c1/windows/{file}" for file in FILES]
    sizes = [(tmp_path / path).stat().st_size for path in paths]
    assert (row["key"], row["case"], row["split"]) == ("c1", "c1", "train")
    assert (row["path"], row["window_paths"]) == (paths[0], paths)
    assert (row["window_bytes"], row["num_bytes"]) == (sizes, sum(sizes))
    assert (row["excluded"], row["detail"]) == (None, None)


@pytest.mark.parametrize(
    ("case", "below"),
    [
        ("processed/c1", ""),
        ("processed/c1", "processed"),
        ("c1", ""),
        ("ds/processed/c1", "ds"),
    ],
)
def test_cases_are_found_from_every_folder_above(
    case: str, below: str, tmp_path: Path, read: Rows
) -> None:
    make_case(tmp_path / case)
    assert [row["key"] for row in read(below)] == ["c1"]


def test_several_datasets_are_found_by_their_tables(tmp_path: Path, read: Rows) -> None:
    for dataset in ("one", "two", ".hidden"):
        make_case(tmp_path / dataset / "processed" / "c1")
        (tmp_path / dataset / "metadata.csv").write_text("case_id\nc1\n")
    make_case(tmp_path / "without_table" / "processed" / "c1")
    assert [row["key"] for row in read()] == ["one_c1", "two_c1"]


def test_a_case_without_a_window_is_kept_with_its_reason(tmp_path: Path, read: Rows) -> None:
    make_case(tmp_path / "processed" / "c1", FILES[0])
    (row,) = read()
    assert row["excluded"] == "missing_source"
    assert row["detail"] == f"processed/c1/windows/{FILES[1]} does not exist"


def test_a_name_that_is_no_key_becomes_one_of_its_own(tmp_path: Path, read: Rows) -> None:
    for name in ("a b", "a.b", "c" * 120):
        make_case(tmp_path / "processed" / name)
    keys = [row["key"] for row in read()]
    assert len(set(keys)) == 3
    assert all(key.replace("_", "a").replace("-", "a").isalnum() for key in keys)
    assert max(len(key) for key in keys) <= 90


def test_a_name_with_control_characters_is_excluded(tmp_path: Path, read: Rows) -> None:
    make_case(tmp_path / "processed" / "a\nb")
    (row,) = read()
    assert row["excluded"] == "bad_name"
    assert row["window_paths"] is None


def test_a_row_changes_with_the_time_of_any_of_its_files(tmp_path: Path, read: Rows) -> None:
    make_case(tmp_path / "processed" / "c1")
    before = read()[0]["mtime_ns"]
    file = tmp_path / "processed" / "c1" / "windows" / FILES[1]
    file.touch()
    assert read()[0]["mtime_ns"] != before
