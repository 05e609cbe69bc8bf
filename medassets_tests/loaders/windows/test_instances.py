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


def test_tables_processed_folders_and_plain_folders_are_found(tmp_path: Path) -> None:
    for dataset in ("x/one", "x/deep/two"):
        write_case(tmp_path / dataset / "processed", "case_001", MASKS[0])
        (tmp_path / dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    write_case(tmp_path / "x/unlisted/processed", "case_009", MASKS[0])
    write_case(tmp_path / "y/processed", "case_002", MASKS[0])
    write_case(tmp_path / "z", "case_003", MASKS[0])
    (tmp_path / "z" / "notes.txt").write_text("not a case")
    roots = f"{tmp_path}/x, {tmp_path}/y/processed/,{tmp_path}/z"
    dataset = CTWindowSparseSDF(roots)
    found = [(Path(i["dataset_root"]).name, i["case_id"]) for i in dataset.instances]
    assert found == [
        ("two", "case_001"),
        ("one", "case_001"),
        ("y", "case_002"),
        ("z", "case_003"),
    ]
    first = dataset.instances[0]
    assert first["case_dir"] == str(tmp_path / "x/deep/two/processed/case_001")
    assert first["window_path"] == f"{first['case_dir']}/windows/{LUNG}.npy"
    assert dataset.metadata == {"case_001": {"case_id": "case_001", "age": 61}}


@pytest.mark.parametrize("where", ["processed", "nested", "cases"])
@pytest.mark.parametrize("stray", ["backup.tar", "manifest.json"])
def test_files_beside_cases_make_no_shards_of_a_folder(
    tmp_path: Path, where: str, stray: str
) -> None:
    top = {"processed": "processed", "nested": "ds/processed", "cases": "."}[where]
    write_case(tmp_path / top, "a", MASKS[0])
    if where == "nested":
        (tmp_path / "ds/metadata.csv").write_text("case_id\na\n")
    (tmp_path / stray).write_text('{"name": "of something else"}')
    assert [i["case_id"] for i in CTWindowSparseSDF(str(tmp_path)).instances] == ["a"]


def test_a_dataset_inside_a_folder_named_processed_is_found(tmp_path: Path) -> None:
    dataset = tmp_path / "root/processed/ds"
    write_case(dataset / "processed", "case_001", MASKS[0])
    (dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    found = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["dataset_root"] for i in found.instances] == [str(dataset)]
    assert (found.metadata["case_001"]["age"], found.left_out) == (61, ())
    write_case(tmp_path / "root/processed", "case_002", MASKS[1])
    (tmp_path / "root/metadata.csv").write_text("case_id\ncase_002\n")
    both = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["case_id"] for i in both.instances] == ["case_002", "case_001"]
    assert both.left_out == ()


@pytest.mark.parametrize("named", [".", "windows"])
def test_a_dataset_of_shards_asks_for_one_of_its_splits(tmp_path: Path, named: str) -> None:
    for split in ("train", "valid"):
        write_shards(tmp_path / "my_windows/windows" / split, {"a": {"lung": MASKS[0]}})
    with pytest.raises(ValueError, match=r"one split: .*/windows/train, .*/windows/valid$"):
        CTWindowSparseSDF(str(tmp_path / "my_windows" / named))
    split = CTWindowSparseSDF(str(tmp_path / "my_windows/windows/train"))
    assert len(split) == 1


def test_cases_named_by_numbers_keep_their_zeros(tmp_path: Path) -> None:
    write_case(tmp_path / "processed", "007", MASKS[0])
    (tmp_path / "metadata.csv").write_text("case_id,age\n007,33\n007,44\n")
    assert CTWindowSparseSDF(str(tmp_path)).metadata == {"007": {"case_id": "007", "age": 33}}


@pytest.mark.parametrize("table", [b"", b"\xff\xfe\x00broken", b"age\n3\n", b'case_id\n"open'])
def test_a_table_that_cannot_be_used_costs_no_case(tmp_path: Path, table: bytes) -> None:
    write_case(tmp_path / "processed", "a", MASKS[0])
    (tmp_path / "metadata.csv").write_bytes(table)
    dataset = CTWindowSparseSDF(str(tmp_path))
    assert (len(dataset), dataset.metadata) == (1, {})


def test_folders_that_link_in_a_circle_end(tmp_path: Path) -> None:
    write_case(tmp_path / "a/processed", "a", MASKS[0])
    (tmp_path / "a/metadata.csv").write_text("case_id\na\n")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert len(CTWindowSparseSDF(str(tmp_path))) == 1


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
