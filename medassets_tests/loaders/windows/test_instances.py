"""Which windows are found in folders, tables and shards, and what does not disturb that."""

from pathlib import Path

import numpy as np
import pytest

from medassets.loaders import CTWindowSparseSDF
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    NUM_CASES,
    sorted_points,
    write_case,
    write_form,
    write_shards,
)


@pytest.mark.parametrize("named", [".", "windows"])
def test_a_dataset_of_shards_asks_for_one_of_its_splits(tmp_path: Path, named: str) -> None:
    for split in ("train", "valid"):
        write_shards(tmp_path / "my_windows/windows" / split, {"a": {"lung": MASKS[0]}})
    with pytest.raises(ValueError, match=r"one split: .*/windows/train, .*/windows/valid$"):
        CTWindowSparseSDF(str(tmp_path / "my_windows" / named))
    split = CTWindowSparseSDF(str(tmp_path / "my_windows/windows/train"))
    assert len(split) == 1


def test_roots_of_all_kinds_are_mixed(tmp_path: Path) -> None:
    write_form(tmp_path / "old", "npy")
    manifest = write_form(tmp_path / "shards", "zstd")
    write_form(tmp_path / "tars", "tars")
    roots = (
        f"{tmp_path}/old,{manifest},{tmp_path}/shards,"
        f"{tmp_path}/tars/shard-{{000000,000002}}.tar,{tmp_path}/tars/shard-*1.tar"
    )
    dataset = CTWindowSparseSDF(roots, max_points=100)
    assert len(dataset) == 4 * NUM_CASES
    keys = [instance["case_id"] for instance in dataset.instances]
    assert keys[:15] == [f"case_{n}" for n in range(5)] * 3
    assert keys[15:] == ["case_0", "case_1", "case_4", "case_2", "case_3"]
    for number, key in enumerate(keys):
        assert MASKS[int(key[-1])][tuple(dataset[number]["sparse_index"].T)].all()


def test_a_missing_root_is_logged_and_an_empty_dataset_is_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = CTWindowSparseSDF(f"{tmp_path}/nowhere,{tmp_path}")
    assert len(dataset) == 0
    assert f"{tmp_path}/nowhere: no such folder" in caplog.text
    with pytest.raises(IndexError, match="instance 0 of 0"):
        dataset[0]


def test_an_unknown_window_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    write_case(tmp_path / "old", "a", MASKS[0], stem="vessel_w600_l150")
    manifest = write_shards(tmp_path / "shards", {"a": {"fat": MASKS[0], "lung": MASKS[1]}})
    with pytest.raises(ValueError, match=r"Invalid window_type: limb\. Available: lung, bone, "):
        CTWindowSparseSDF(str(tmp_path / "old"), window_type="limb")
    with pytest.raises(ValueError, match=r"brain, vessel$"):
        CTWindowSparseSDF(str(tmp_path / "old"), window_type="limb")
    with pytest.raises(ValueError, match=r"bone\. Available: fat, lung$"):
        CTWindowSparseSDF(str(manifest), window_type="bone")


def test_a_window_of_ones_own_without_large_instances_is_no_unknown_one(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, {"a": {"vessel": MASKS[0]}, "b": {"vessel": MASKS[1]}})
    dataset = CTWindowSparseSDF(str(manifest), window_type="vessel", min_points=10**6)
    assert (len(dataset), dataset.get_stats()["left_out"]) == (0, {"too_few_points": 2})


def test_windows_of_ones_own_are_read(tmp_path: Path) -> None:
    write_case(tmp_path / "old", "a", MASKS[0], stem="vessel_w600_l150.5")
    write_case(tmp_path / "old", "b", MASKS[1], stem="vessel_wall_w600_l150")
    manifest = write_shards(tmp_path / "shards", {"c": {"vessel": MASKS[2], "lung": MASKS[1]}})
    dataset = CTWindowSparseSDF(f"{tmp_path}/old,{manifest}", window_type="vessel")
    assert [instance["case_id"] for instance in dataset.instances] == ["a", "c"]
    np.testing.assert_array_equal(sorted_points(dataset[1]["sparse_index"]), np.argwhere(MASKS[2]))


def test_the_files_of_a_dataset_are_listed_once(tmp_path: Path) -> None:
    roots = f"{write_form(tmp_path / 'old', 'npy')},{write_form(tmp_path / 'new', 'zstd')}"
    paths = CTWindowSparseSDF(roots).index.paths
    assert [Path(path).name for path in paths] == [f"{LUNG}.npy"] * 5 + [
        f"shard-{number:06d}.tar" for number in range(3)
    ]
